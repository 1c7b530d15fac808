use super::*;
use drover_dataplane::config::Policy;
use drover_wire::cell::CellSize;
use proptest::prelude::*;

const WHOLE: &str = r#"
    cell = 512
    control_socket = "c.sock"
    listen = "[::1]:7000"
    tick_us = 500
    core = 0
    [[end]]
    end = 1
    rtp_listen = "127.0.0.1:5004"
    rtp_send_to = "127.0.0.1:6004"
    [[end]]
    end = 2
    rtp_listen = "127.0.0.1:0"
"#;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("a literal address")
}

#[test]
fn a_whole_file() {
    let ClientConfig { data_plane, ends, .. } = ClientConfig::parse(WHOLE).expect("right");
    assert_eq!((data_plane.cell, data_plane.tick_us), (CellSize::S512, 500));
    assert_eq!((data_plane.socket.as_os_str(), data_plane.policy), ("c.sock".as_ref(), Policy::Tick));
    assert_eq!((data_plane.workers[0].listen, data_plane.workers[0].core), (address("[::1]:7000"), Some(0)));
    assert_eq!((data_plane.workers.len(), data_plane.sizes.circuits), (1, END_LIMIT));
    let first = RtpPorts { end: 1, listen: address("127.0.0.1:5004"), send_to: Some(address("127.0.0.1:6004")) };
    assert_eq!(ends, [first, RtpPorts { end: 2, listen: address("127.0.0.1:0"), send_to: None }]);
}

#[test]
fn the_least_file_has_defaults() {
    let ClientConfig { data_plane, ends, .. } = ClientConfig::parse("control_socket = 'x'").expect("right");
    assert_eq!((data_plane.cell, data_plane.tick_us), (CellSize::S256, 1_000));
    assert_eq!((data_plane.workers[0].listen, data_plane.workers[0].core), (address("0.0.0.0:0"), None));
    assert!(ends.is_empty());
}

#[test]
fn every_problem_is_told_at_once() {
    let text = r#"
        cell = 300
        listen = "localhost:1"
        tick_us = 99
        core = "one"
        crypto = "none"
        colour = 3
        [[end]]
        end = -1
        rtp_listen = 5
        rtp_send_to = "0.0.0.0:5"
        loud = true
        [[end]]
    "#;
    let problems = ClientConfig::parse(text).expect_err("wrong").0;
    let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    let end =
        ["end[0].end", "end[0].loud", "end[0].rtp_listen", "end[0].rtp_send_to", "end[1].end", "end[1].rtp_listen"];
    let root = ["cell", "colour", "control_socket", "core", "crypto", "listen", "tick_us"];
    let mut expected = [&root[..], &end].concat();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(problems.iter().all(|p| !p.value.is_empty() && !p.allowed.is_empty() && !p.mend.is_empty()));
}

#[test]
fn ends_do_not_share() {
    let text = r#"
        control_socket = "x"
        listen = "127.0.0.1:9"
        [[end]]
        end = 4
        rtp_listen = "127.0.0.1:9"
        rtp_send_to = "127.0.0.1:9"
        [[end]]
        end = 4
        rtp_listen = "127.0.0.1:9"
    "#;
    let problems = ClientConfig::parse(text).expect_err("wrong").0;
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["end[0].rtp_listen", "end[0].rtp_send_to", "end[1].end", "end[1].rtp_listen"]);
}

#[test]
fn what_is_no_toml_or_of_another_shape() {
    let many = format!("control_socket = 'x'\n{}", "[[end]]\n".repeat(END_LIMIT + 1));
    for text in ["=", "end = 3\ncontrol_socket = 'x'", "end = [3]\ncontrol_socket = 'x'", "control_socket = 3", &many] {
        let problems = ClientConfig::parse(text).expect_err(text).0;
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

proptest! {
    #[test]
    fn any_text_parses_or_not(text in "\\PC{0,80}", cut in 0..WHOLE.len()) {
        let _ = ClientConfig::parse(&text);
        let _ = ClientConfig::parse(&WHOLE[..cut]);
    }
}

#[test]
fn an_identity_brings_calls() {
    let text = r#"
        control_socket = "c.sock"
        identity = "alice"
        zones = ["north.zone", "south.zone"]
        state = "alice-state"
        socket = "alice.sock"
        mix = "n1"
        auto_answer = true
        [[end]]
        end = 1
        rtp_listen = "127.0.0.1:0"
    "#;
    let agent = ClientConfig::parse(text).expect("right").agent.expect("an identity");
    assert_eq!((agent.mix.as_deref(), agent.auto_answer, agent.zones.len()), (Some("n1"), true, 2));
    assert_eq!((agent.identity, agent.socket), (PathBuf::from("alice"), PathBuf::from("alice.sock")));
    let drawn = ClientConfig::parse(&text.replace("n1", "any")).expect("right").agent.expect("an identity");
    assert_eq!(drawn.mix, None);
    let text = "control_socket = 'c'\nidentity = 'a'\nzones = []\nstate = 5\nauto_answer = 'yes'\nmix = ''\n";
    let problems = ClientConfig::parse(text).expect_err("wrong").0;
    let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["auto_answer", "end", "mix", "socket", "state", "zones"]);
    // Without an identity these keys mean nothing.
    let problems = ClientConfig::parse("control_socket = 'c'\nsocket = 's'\n").expect_err("wrong").0;
    assert_eq!(problems[0].key, "socket");
}
