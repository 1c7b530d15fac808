//! The whole demo, shortened: processes, a voice, the report; and the report's schema against its documentation.
#![cfg(feature = "lab")]

use drover_control::demo::report::{KillControl, LinkRates, OneWay, Report, Times};
use drover_control::media::wav;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// All fields of a JSON value, as `links[].name`.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                found.insert(at.clone());
                // Reasons are names, not fields.
                if key != "drops" {
                    fields(value, &at, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, &format!("{at}[]"), found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_report_is_documented_and_every_documented_one_is_there() {
    let links = vec![LinkRates::default()];
    let difference = Some(Default::default());
    let kill_control = Some(KillControl { lateness_p99_difference_us: difference, ..KillControl::default() });
    let (one_way_ms, handshakes_ms) = (Some(OneWay::default()), Some(Times::default()));
    let (lateness_p99_us, missed_slots) = (Some(Default::default()), Some(Default::default()));
    let report =
        Report { one_way_ms, handshakes_ms, links, kill_control, lateness_p99_us, missed_slots, ..Report::default() };
    let mut in_report = BTreeSet::new();
    fields(&serde_json::to_value(report).expect("JSON"), "", &mut in_report);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/demo.md");
    let docs = std::fs::read_to_string(docs).expect("docs/demo.md");
    let documented: BTreeSet<String> = docs
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split_once('`'))
        .map(|(field, _)| field.to_owned())
        .collect();
    assert_eq!(in_report, documented);
}

#[test]
fn a_short_demo() {
    let drover = Path::new(env!("CARGO_BIN_EXE_drover"));
    assert!(
        drover.with_file_name("drover-dataplane").is_file(),
        "this test starts drover-dataplane; build it first: cargo build --workspace --bins --features lab"
    );
    let dir = tempfile::tempdir().expect("a folder");
    let tmp = dir.path().join("t");
    std::fs::create_dir(&tmp).expect("made");
    let out = dir.path().join("out");
    let run = Command::new(drover)
        .args(["demo", "--seconds", "4", "--seed", "7", "--json", "--out"])
        .arg(&out)
        .env("TMPDIR", &tmp)
        .output()
        .expect("runs");
    let errors = String::from_utf8_lossy(&run.stderr);
    let report: Report = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}; {errors}"));
    let written = std::fs::read(out.join("report.json")).expect("written");
    assert_eq!(serde_json::from_slice::<Report>(&written).expect("a report"), report);

    // The exit status says whether the voice arrived. Beside other tests on few cores a packet in a hundred may well be
    // lost; that most are is no matter of load.
    assert_eq!(run.status.success(), report.failure().is_none(), "{errors}");
    assert_eq!((report.seed, report.cell, report.rate, report.seconds), (7, 256, 50, 4.0));
    assert_eq!((report.rtp_sent, report.reverse.rtp_sent), (200, 200));
    assert!(report.rtp_received > 150 && report.reverse.rtp_received > 150, "{report:?}");
    assert!(report.rtp_intact == report.rtp_received, "{report:?}");
    assert!(report.reverse.rtp_intact == report.reverse.rtp_received, "{report:?}");
    assert_eq!(report.hops, 5, "{report:?}");
    let path = &report.path_links;
    assert!(path[0].starts_with("caller=a") && path[4].starts_with('b') && path[4].ends_with("=callee"), "{path:?}");
    for pair in path.windows(2) {
        let ([_, end], [begin, _]) =
            ([0, 1].map(|n| pair[0].split('=').nth(n)), [0, 1].map(|n| pair[1].split('=').nth(n)));
        assert!(end.is_some() && end == begin, "{path:?}");
    }
    assert!(report.sas.len() == 6 && report.sas.bytes().all(|digit| digit.is_ascii_digit()), "{report:?}");
    let (circuit, call) = (report.circuit_setup_ms.expect("built"), report.call_setup_ms.expect("up"));
    assert!(circuit > 0.0 && call > circuit, "{report:?}");
    // Eight links of two ends each.
    assert!(report.handshakes_ms.is_some_and(|times| times.count >= 8 && times.max >= times.p50), "{report:?}");
    assert!(report.rekeys > 0 && report.kill_control.is_none(), "{report:?}");
    assert_eq!(report.links.len(), 8);
    assert!(report.one_way_ms.is_some_and(|delay| delay.p50 > 5.0 && delay.p50 < 300.0), "{report:?}");
    assert!(report.cells_real > 1_000 && report.cells_chaff > report.cells_real, "{report:?}");
    for link in &report.links {
        let nominal = if link.class == "client" { 100.0 } else { 200.0 };
        for rate in [link.rate_before, link.rate_during, link.rate_after] {
            // Missed slots are the machine's; more than the rate would be a fault.
            assert!(rate > 0.7 * nominal && rate < 1.05 * nominal, "{link:?}");
        }
    }
    assert_eq!(wav::load(&out.join("caller.wav")).expect("a recording").len(), 4 * 8_000);
    assert!(wav::load(&out.join("callee.wav")).expect("a recording").len() > 3 * 8_000);
    let chart = std::fs::read_to_string(out.join("links.svg")).expect("a chart");
    assert!(chart.contains("caller → a") && chart.contains("</svg>"));
    // Sockets, configurations and keys are gone.
    assert_eq!(std::fs::read_dir(&tmp).expect("there").count(), 0);
}
