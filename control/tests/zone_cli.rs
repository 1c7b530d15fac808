//! `drover zone`, from nothing to documents, and its errors.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

struct Shell(tempfile::TempDir);

impl Shell {
    fn new() -> Shell {
        Shell(tempfile::tempdir().expect("a folder"))
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        command.arg("zone").args(line.split_whitespace()).current_dir(self.0.path()).output().expect("runs")
    }

    fn good(&self, line: &str) -> String {
        let out = self.run(line);
        assert!(out.status.success(), "{line}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    /// Fails with status 2 and all these words.
    fn bad(&self, line: &str, words: &[&str]) -> String {
        let out = self.run(line);
        let error = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{line}: {error}");
        assert!(out.stdout.is_empty() || line.contains("--json"), "{line}");
        for word in words {
            assert!(error.contains(word), "{line}: {word} lacks in {error}");
        }
        text(&out.stdout)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").mode() & 0o7777
}

#[test]
fn from_nothing_to_two_zones() {
    let sh = Shell::new();
    for (zone, port) in [("north", 4001), ("south", 4101)] {
        assert!(sh.good(&format!("new {zone} --out {zone}")).contains("keep identity.key offline"));
        for (mix, port) in [("m1", port), ("m2", port + 1)] {
            let said = sh.good(&format!("mix {mix} --zone {zone} --out {zone}-{mix} --address 127.0.0.1:{port}"));
            assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("drover zone document"), "{said}");
        }
    }
    sh.good("client alice --zone north --out alice");
    assert_eq!((mode(&sh.path("north")), mode(&sh.path("north/identity.key"))), (0o700, 0o600));
    assert_eq!(mode(&sh.path("alice/identity.key")), 0o600);

    let said = sh.good("document --zone north --mix north-m1 --mix north-m2 --peer south --serial 5 --out north.zone");
    assert!(said.contains("100 cells/s (2 slots)") && said.contains("peer          south"), "{said}");
    let plan = "rate = 50\n[[mix]]\nfolder = \"south-m1\"\n[[mix]]\ncertificate = \"south-m2/certificate.pem\"\n\
                address = \"127.0.0.1:4102\"\n[[peer]]\ncertificate = \"north/certificate.pem\"\n";
    std::fs::write(sh.path("south.toml"), plan).expect("written");
    sh.good("document --zone south --plan south.toml --within 16 --out south.zone");
    assert!(sh.good("check north.zone --authority north").contains("signed by the given authority"));
    assert!(sh.good("check south.zone").contains("give --authority"));
    let json: serde_json::Value = serde_json::from_str(&sh.good("check south.zone --json")).expect("JSON");
    assert_eq!((&json["sound"], &json["slots"]["within"], &json["trusted"]), (&true.into(), &16.into(), &false.into()));
    assert_eq!(json["mixes"][1]["address"], "127.0.0.1:4102");
    assert_eq!(mode(&sh.path("north.zone")), 0o644);

    // A newer one takes its place; an older or another zone's does not.
    sh.good("document --zone north --mix north-m1 --out north.zone");
    sh.bad("document --zone north --mix north-m1 --serial 9 --out north.zone", &["larger --serial"]);
    sh.bad("document --zone north --mix north-m1 --out south.zone", &["another zone's"]);
    sh.bad("document --zone north --mix north-m1 --out south.toml", &["no zone document", "south.toml"]);
    let left: Vec<_> =
        std::fs::read_dir(sh.0.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}

#[test]
fn errors_say_what_where_and_how_to_mend() {
    let sh = Shell::new();
    sh.good("new north --out north");
    sh.good("mix m1 --zone north --out m1 --address 127.0.0.1:4001");
    sh.bad("new North! --out other", &["North!"]);
    assert!(!sh.path("other").exists());
    for address in ["nowhere:5", "127.0.0.1:0", "0.0.0.0:4001"] {
        sh.bad(&format!("mix m2 --zone north --out m2 --address {address}"), &["--address", address, "192.0.2.1:4001"]);
    }
    sh.bad("mix m2 --zone gone --out m2 --address 127.0.0.1:1", &["--zone gone", "drover zone new"]);
    sh.bad("mix m2 --zone m1 --out m2 --address 127.0.0.1:1", &["--zone m1", "a mix", "name the zone's"]);
    sh.bad("document --zone north --out x.zone", &["without mixes", "--mix FOLDER"]);
    sh.bad(
        "document --zone north --mix m1 --cell 300 --rate 0 --out x.zone",
        &["cell = 300", "rate = 0", "2 problems"],
    );
    sh.bad("document --zone north --mix m1 --days 399 --out x.zone", &["m1: it ends", "--days"]);
    sh.bad("document --zone north --mix m1 --days 4000 --out x.zone", &["--days 4000"]);
    sh.bad("document --zone north --mix m1 --mix m1 --out x.zone", &["mix[1].name", "mix[0] has it"]);
    sh.bad("document --zone north --mix m1 --peer north --out x.zone", &["peer[0].zone", "no peer of itself"]);
    sh.bad("document --zone north --mix m1@here --out x.zone", &["m1@here", "CERTIFICATE@ADDRESS:PORT"]);
    assert!(!sh.path("x.zone").exists());

    // Nothing is overwritten.
    let before = std::fs::read(sh.path("m1/identity.key")).expect("there");
    let out = sh.run("mix m1 --zone north --out m1 --address 127.0.0.1:4001");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    assert_eq!(std::fs::read(sh.path("m1/identity.key")).expect("there"), before);

    sh.good("document --zone north --mix m1 --out north.zone");
    sh.bad("check gone.zone", &["gone.zone"]);
    sh.bad("check north.zone --authority m1", &["--authority", "a mix", "certificate.pem"]);
    let whole = std::fs::read_to_string(sh.path("north.zone")).expect("there");
    std::fs::write(sh.path("north.zone"), whole.replace("rate = 50", "rate = 60")).expect("written");
    sh.bad("check north.zone", &["north.zone", "signature", "changed or cut"]);
    let json = sh.bad("check north.zone --json", &["1 problem"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["sound"], &json["problems"][0]["key"]), (&false.into(), &"signature".into()));
}

#[test]
fn help_is_worth_reading() {
    let sh = Shell::new();
    let help = sh.good("--help");
    for words in ["it offline", "drover zone mix m1 --zone north", "exit status"] {
        assert!(help.contains(words), "{words}: {help}");
    }
    let help = sh.good("document --help");
    assert!(help.contains("CERTIFICATE@ADDRESS:PORT") && help.contains("agree on --cell"), "{help}");
}
