use super::super::make::{Plan, network};
use super::*;
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn demo() -> Network {
    network(&Plan { mixes: 4, calls: 1, cell: 256, rate: 50, idle: 3, workers: 2, ipv6: false }).expect("a network")
}

fn parse(text: &str) -> Result<Network, NetworkError> {
    file::parse(Path::new("dir/net.toml"), text)
}

/// The demo's network after a change, and the problems found.
fn problems(change: impl FnOnce(&mut Network)) -> String {
    let mut network = demo();
    change(&mut network);
    network.problems().join("\n")
}

#[test]
fn a_file_goes_there_and_back() {
    let network = demo();
    let text = file::text(&network);
    let again = parse(&text).expect("sound");
    assert_eq!(*file::text(&again).replace("dir/run", "run"), **text);
    assert_eq!(again.nodes[0].socket, Path::new("dir/run/m1.sock"), "relative to the file's folder");
    assert!(again.links[0].secret.same(&network.links[0].secret));
    // No larger buffer was needed on the way: a smaller one would have kept secrets.
    assert!(text.capacity() >= text.len() && text.len() > 1024);
}

#[test]
fn files_are_private() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("net.toml");
    write(&path, &demo()).expect("written");
    assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
    read(&path).expect("private");
    for mode in [0o640, 0o604, 0o660, 0o610, 0o644] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let error = read(&path).expect_err("others may read it").to_string();
        assert!(error.contains("chmod 600") && error.contains(&format!("{mode:04o}")), "{error}");
    }
    let error = write(&path, &demo()).expect_err("is there").to_string();
    assert!(error.contains("exists"), "{error}");
    assert!(read(&dir.path().join("none")).expect_err("none").to_string().contains("lab keys"));
    assert!(read(dir.path()).is_err());
}

#[test]
fn each_fault_is_named() {
    let name = |text: &str| text.to_owned();
    let secret = || FileSecret::random().expect("random");
    let cases: Vec<(String, &str)> = vec![
        (problems(|_| ()), ""),
        (problems(|n| n.cell = 300), "cell = 300"),
        (problems(|n| n.rate = 1001), "rate = 1001"),
        (problems(|n| n.nodes[1].name = name("m1")), "node \"m1\": there are two"),
        (problems(|n| n.nodes[0].name = name("m 1")), "a name has 1 to 64 letters"),
        (problems(|n| n.nodes[0].socket = "x".repeat(108).into()), "108 bytes"),
        (problems(|n| n.nodes[0].listen.clear()), "listen names 0 workers"),
        (problems(|n| n.classes[1].id = 1), "id = 1 is another's too"),
        (problems(|n| n.classes[1].slots = 0), "slots = 0"),
        (problems(|n| n.classes[1].rounds = Some(0)), "rounds"),
        (problems(|n| n.classes[1].slots = 1), "1 circuits need 2 slots"),
        (problems(|n| n.links[1].a = name("m9")), "no node is called \"m9\""),
        (problems(|n| n.links[1].a_worker = 2), "has no worker 2"),
        (problems(|n| n.links[1].b = name("m1")), "to itself"),
        (problems(|n| n.links[1].class = name("zzz")), "no class is called \"zzz\""),
        (problems(|n| n.links[1].class = name("client")), "is not what it joins"),
        (problems(|n| n.links[0].class = name("mix")), "is not what it joins"),
        (problems(|n| n.links[0].b = name("callee")), "joins two clients"),
        (problems(|n| n.links[1].ratchet_bits = 31), "ratchet_bits = 31: 4 to 30"),
        (problems(|n| n.links[1].ratchet_bits = 3), "ratchet_bits = 3"),
        (problems(|n| n.links[1].secret = n.links[2].secret.clone()), "share a secret"),
        (problems(|n| n.calls[0].secret = n.crowds[0].secret.clone()), "share a secret"),
        (
            problems(|n| n.links.push(Link { name: name("again"), secret: secret(), ..n.links[1].clone() })),
            "another link joins the same workers",
        ),
        (problems(|n| n.calls[0].path.truncate(5)), "this has 5"),
        (problems(|n| n.calls[0].path.swap(0, 1)), "\"m1\" must be a client"),
        (problems(|n| n.calls[0].path.swap(2, 3)), "no link joins \"m1\" and \"m3\""),
        (problems(|n| n.calls[0].path[5] = name("caller")), "are one client"),
        (problems(|n| n.calls[0].caller_end = 1 << 31), "below 2^31"),
        (
            problems(|n| n.calls.push(Call { name: name("b"), secret: secret(), ..n.calls[0].clone() })),
            "end 1 of \"caller\" is another call's too",
        ),
        (problems(|n| n.crowds[0].links = 1001), "links = 1001"),
        (problems(|n| n.crowds[0].mix = name("caller")), "is no mix"),
        (problems(|n| n.crowds[0].worker = 7), "has no worker 7"),
    ];
    for (found, wanted) in cases {
        assert!(found.contains(wanted) && found.is_empty() == wanted.is_empty(), "{wanted:?} is not in {found:?}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let mut network = demo();
    (network.cell, network.rate) = (1, 0);
    network.crowds[0].links = 0;
    let text = file::text(&network);
    let error = parse(&text).expect_err("three faults");
    assert_eq!(error.problems.len(), 3, "{error}");
    assert!(error.to_string().starts_with("dir/net.toml: 3 faults:\n"), "{error}");
}

#[test]
fn unknown_fields_are_refused_and_secrets_not_shown() {
    let text = file::text(&demo());
    let error = parse(&text.replace("rate = 50", "rate = 50\ncolour = 3")).expect_err("unknown").to_string();
    assert!(error.contains("line 4") && error.contains("colour"), "{error}");
    for (from, to) in [("secret = \"", "secret = \"zz"), ("secret = \"", "secret = \"\\q"), ("ratchet_bits", "secret")]
    {
        let error = parse(&text.replacen(from, to, 1)).expect_err("broken").to_string();
        let mut hex = String::new();
        demo().links[0].secret.push_hex(&mut hex);
        let shown = text.lines().filter_map(|l| l.strip_prefix("secret = \"")).any(|s| error.contains(&s[..16]));
        assert!(!shown, "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_text_is_a_network_or_an_error(text in "\\PC{0,200}", cut in 0usize..4000) {
        let _ = parse(&text);
        let whole = file::text(&demo());
        let _ = parse(&whole[..cut.min(whole.len())]);
    }
}
