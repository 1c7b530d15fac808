//! A client with an identity and no mix in reach, as its user's programs and commands meet it.

use drover_control::client::config::ClientConfig;
use drover_control::client::run::{Client, Options};
use drover_control::local::ask;
use drover_control::zone::{MixEntry, Slots, ZoneDocument};
use drover_dtls::certificate::{Identity, Role};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A zone of one mix, whose port is taken by nobody that answers; a client's folder; the configuration's text.
fn world(folder: &Path) -> String {
    let zone = Identity::new_zone("north", now(), 30).expect("a zone");
    let mix = zone.issue("n1", Role::Mix, now(), 30).expect("issued");
    let alice = zone.issue("alice", Role::Client, now(), 30).expect("issued");
    alice.save(&folder.join("alice")).expect("saved");
    mix.save(&folder.join("n1")).expect("saved");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let document = ZoneDocument {
        zone: "north".to_owned(),
        serial: 1,
        validity: (now() - 60, now() + 86_400),
        cell: 256,
        rate: 50,
        ratchet_bits: 24,
        rekey_s: 600,
        epoch_s: 86_400,
        client: Slots { slots: 2 },
        within: Slots { slots: 8 },
        pair: Slots { slots: 8 },
        authority: zone.certificate().clone(),
        mixes: vec![MixEntry {
            name: "n1".to_owned(),
            address: silent.local_addr().expect("bound"),
            certificate: mix.certificate().clone(),
        }],
        peers: Vec::new(),
    };
    std::fs::write(folder.join("north.zone"), document.sign(&zone).expect("right")).expect("written");
    let at = |name: &str| folder.join(name);
    format!(
        "control_socket = {:?}\nlisten = \"127.0.0.1:0\"\nidentity = {:?}\nzones = [{:?}]\nstate = {:?}\nsocket = {:?}\n\
         [[end]]\nend = 1\nrtp_listen = \"127.0.0.1:0\"\n",
        at("data.sock"),
        at("alice"),
        at("north.zone"),
        at("state"),
        at("alice.sock"),
    )
}

fn says(socket: &Path, request: &Value) -> Value {
    serde_json::from_str(&ask(socket, &request.to_string()).expect("an answer")).expect("JSON")
}

#[test]
fn its_socket_answers_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = world(folder.path());
    let client = Client::start(&ClientConfig::parse(&text).expect("right"), Options::default(), |_| {}).expect("runs");
    let socket = folder.path().join("alice.sock");
    assert_eq!(std::fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);
    let status = says(&socket, &json!({ "do": "status" }));
    assert_eq!((status["mix"].as_str(), status["link"].as_bool()), (Some("north/n1"), Some(false)));
    assert_eq!((status["call"]["state"].as_str(), status["call"]["registered"].is_null()), (Some("idle"), true));
    let certificate = |name: &str| folder.path().join(name).join("certificate.pem");
    for (request, error) in [
        (json!({ "do": "call", "certificate": certificate("alice") }), "our own"),
        (json!({ "do": "call", "certificate": certificate("n1") }), "certificate"),
        (json!({ "do": "call", "certificate": "/nowhere" }), "/nowhere"),
        (json!({ "do": "call", "certificate": "-----BEGIN nonsense" }), "certificate"),
        (json!({ "do": "call" }), "a path or PEM"),
        (json!({ "do": "answer" }), "not registered"),
        (json!({ "do": "reject" }), "no such call"),
        (json!({ "do": "hang_up" }), "no such call"),
        (json!({ "do": "explode" }), "no such request"),
        (json!(7), "no such request"),
    ] {
        let answer = says(&socket, &request);
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(error)), "{request}: {answer}");
    }
    assert_eq!(says(&socket, &json!({ "do": "events" })), json!({ "ok": true }));

    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover-client"));
        command.args(arguments).arg("--socket").arg(&socket).output().expect("it runs")
    };
    let status = command(&["status"]);
    assert!(status.status.success());
    assert!(String::from_utf8_lossy(&status.stdout).contains("link          to north/n1, not up"));
    let refused = command(&["answer"]);
    assert_eq!(refused.status.code(), Some(1));
    let waited = command(&["register", "--wait", "0"]);
    assert_eq!(waited.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&waited.stderr).contains("not registered; the link to north/n1 is not up"));

    assert!(client.alive() && client.failure().is_none());
    client.stop();
    assert!(!socket.exists());
    let gone = command(&["status"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("is the client running"));
    // The mix that was drawn is kept.
    assert_eq!(std::fs::read_to_string(folder.path().join("state/mix")).expect("there").trim().len(), 32);
}

#[test]
fn what_does_not_belong_together_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = world(folder.path());
    let foreign = Identity::new_zone("south", now(), 30).expect("a zone");
    foreign.issue("eve", Role::Client, now(), 30).expect("issued").save(&folder.path().join("eve")).expect("saved");
    let path = |name: &str| format!("{:?}", folder.path().join(name));
    for (from, to, why) in [
        (path("alice"), path("eve"), "does not belong to that zone"),
        (path("alice"), path("n1"), "no client's"),
        (path("alice"), path("nobody"), "nobody"),
        (path("north.zone"), path("none.zone"), "none.zone"),
        ("listen".to_owned(), "mix = \"n9\"\nlisten".to_owned(), "it has n1"),
        ("listen".to_owned(), "cell = 512\nlisten".to_owned(), "set cell = 256"),
    ] {
        let text = text.replacen(&from, &to, 1);
        let config = ClientConfig::parse(&text).expect("well formed");
        let error = Client::start(&config, Options::default(), |_| {}).err().expect("refused");
        assert!(error.contains(why), "{error}");
    }
}
