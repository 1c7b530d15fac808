//! The page of a run: well-formed, self-contained, escaped, and whole for every tool's folder.
#![recursion_limit = "256"]

use drover_perf::report;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Tools whose runs have a page of their own.
const TOOLS: [&str; 12] =
    ["hop", "floor", "links", "chaff", "forward", "relay", "generate", "pace", "latency", "ndr", "cores", "circuits"];

/// A folder as a tool's run might leave it. `text` stands wherever a folder holds text.
fn folder(dir: &Path, tool: &str, text: &str) {
    let put = |name: &str, value: &Value| std::fs::write(dir.join(name), value.to_string()).unwrap();
    put("config.json", &json!({"cell": 512, "links": 1000, text: text}));
    put(
        "host.json",
        &json!({
            "cpu": {"model": text, "cores": 2}, "kernel": text, "build": {"commit": "0123abc", "profile": "debug"},
            "command": format!("drover-perf {tool} {text}"), "mitigations": {text: text},
        }),
    );
    put(
        "summary.json",
        &json!({
            "schema": "drover-perf/1", "tool": tool, "started": text, "config": {"cell": 512, "links": 1000},
            "probe": {"quiet": false, "noise": [text], "ghz": 4.1},
            "cells_per_second": 6.1e6, "ns_per_cell": 163.0, "floor_ns_per_cell": 101.0, "floor_ratio": 1.61,
            "floor_ratio_iqr": [1.58, 1.66], "records_per_second": 2e7, "ns_per_record": 48.0, "floor_ns_per_record": 40.0,
            "p50_ns": 812, "p99_ns": 40_100, "p999_ns": 93_000, "max_ns": 2_400_000, "missed": 0,
            "one": {"p50_ns": 10_100_000, "p99_ns": 20_300_000, "cells_per_second": 5e6}, "machine": {"p99_ns": 31_000},
            "apart": {"cells_per_second": 9.6e6, "scaling": 1.92, "scaling_iqr": [1.9, 1.94]},
            "ndr": {"conditional_throughput": 4.2e6, "lower": 4.2e6}, "pdr": {"conditional_throughput": 4.4e6},
            "set_ups": {"per_second": 18_000, "ns_each": 55_000, "floor_ns_each": 47_000, "rate_of_primitives": 0.85},
            "departures": {"p99_ratio": {"mean": 1.02, "low": 0.97, "high": 1.08}},
            "packets_per_second": 1.1e6, "ns_per_packet": 906.0, "ns_per_packet_iqr": [885.0, 938.0],
            "forward_ns_per_packet": 906.0, "hop_ns_per_cell": 437.0, "relay_ratio": 1.01, "relay_ratio_iqr": [0.94, 1.08],
            "ceiling_packets_per_second": 3.9e6, "notes": [text], "relative": 1.07, "relative_iqr": [1.01, 1.12], "hop_ratio": 1.9, "seal_only": {"floor_ratio": 1.5},
            "rows": [{"name": text, "value": 1.5}, {"value": 2, "other": null}], "text": text,
        }),
    );
    let mut trials = String::from(
        "trial,at_s,kind,arrangement,backend,verdict,links,worker_ns,floor_ns,cells,relayed,records,ns,p99_ns,ns_each,load,\
         loss_ratio,cells_per_second,duplex,forwarded,relay_ns,relay_cells,sent\n",
    );
    let quoted = text.replace('"', "\"\"");
    for n in 0..60u32 {
        // A wave for a plot to show, and one trial that the machine hit.
        let wave = f64::from(n * 37 % 17) - 8.0 + if n == 31 { 400.0 } else { 0.0 };
        let kind = if n % 2 == 0 { "worker".to_owned() } else { format!("\"{quoted}\"") };
        let verdict = ["no loss", "partial loss", "high loss", "invalid"][(n * 7 % 4) as usize];
        let links = [500, 5_000, 50_000][(n % 3) as usize];
        let (cell, floor) = (160.0 + wave + f64::from(links) / 1e3, 100.0 + wave / 2.0 + f64::from(links) / 2e3);
        let (load, loss) = (4.2e6 + 1e4 * wave, f64::from(n * 7 % 4) * 0.003);
        writeln!(
            trials,
            "{n},{},{kind},{kind},{kind},{verdict},{links},{},{},100,100,300,{},{},{},{load},{loss},{},{},100,{},100,100",
            f64::from(n) / 4.0,
            cell * 100.0,
            floor * 100.0,
            floor * 100.0,
            40_000.0 + 100.0 * wave,
            55_000.0 + 10.0 * wave,
            1e9 / cell,
            n % 2 == 0,
            cell * 100.0
        )
        .unwrap();
    }
    std::fs::write(dir.join("trials.csv"), trials).unwrap();
    let safe: String = text.chars().filter(|c| !"/\0".contains(*c)).take(60).collect();
    for name in ["lateness", "machine", "total-1-10", "total-1-90", "total-chain-50", "late-1-50", "taken-1-50", &safe]
    {
        let mut table = String::from("Value Percentile TotalCount 1/(1-Percentile)\n\n");
        for step in 0..60u32 {
            let nines = f64::from(step) / 10.0;
            let part = 1.0 - 10f64.powf(-nines);
            writeln!(
                table,
                "{:.1} {part:.9} {} {:.2}",
                300.0 * 1.17f64.powf(f64::from(step)),
                (part * 1e6) as u64 + 1,
                1.0 / (1.0 - part)
            )
            .unwrap();
        }
        table.push_str("90000000.0 1.000000000 1000001 inf\n#[Max = 1, Total count = 2]\n");
        std::fs::write(dir.join(format!("{name}.hgrm")), table).unwrap();
    }
}

/// Checks a page as a strict reader would, and that it names nothing outside itself.
fn check(page: &str) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(page, options).expect("a well-formed page");
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let tag = node.tag_name().name();
        assert!(
            !["script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "image", "use"].contains(&tag),
            "{tag}"
        );
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!name.starts_with("on") && !["src", "href", "style", "srcset"].contains(&name), "{tag} {name}");
        }
    }
    for word in ["http:", "https:", "url(", "@import", "//"] {
        let rest = page.replace("http://www.w3.org/1999/xhtml", "").replace("http://www.w3.org/2000/svg", "");
        assert!(!rest.contains(word), "{word}");
    }
}

#[test]
fn every_tools_page_is_whole() {
    for tool in TOOLS.into_iter().chain(["a tool of tomorrow"]) {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), tool, "plain text");
        let page = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
        check(&page);
        for part in
            ["<svg", "Configuration", "Host", "All figures", "A debug build", "0123abc", "plain text", "class=\"grid\""]
        {
            assert!(page.contains(part), "{tool}: {part}");
        }
        if TOOLS.contains(&tool) {
            assert!(page.contains("class=\"card\""), "{tool}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf\""), "{tool}");
    }
}

#[test]
fn hostile_text_is_escaped_everywhere() {
    let evil = "</style></svg><script src=http:evil>alert(1)</script>\"'&\u{202e}]]>";
    for tool in TOOLS.into_iter().chain([evil]) {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), tool, evil);
        let page = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
        assert!(page.contains("&lt;script"));
        assert!(!page.contains("<script") && !page.contains("\u{202e}"));
        assert_eq!(page.matches("</style>").count(), 1);
        let rest = page.replace("src=http:evil", "");
        check(&rest);
    }
}

#[test]
fn a_folder_with_nothing_but_a_summary_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("summary.json"), "{\"tool\": \"hop\", \"floor_ratio\": 2.5}").unwrap();
    let page = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
    check(&page);
    for part in ["not met", "trials.csv: ", "config.json: "] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn huge_values_and_tables_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<Value> = (0..5_000).map(|n| json!({"n": n, "x": "y".repeat(100)})).collect();
    let fields: serde_json::Map<_, _> = (0..5_000).map(|n| (format!("f{n}"), json!("z".repeat(5_000)))).collect();
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    std::fs::write(dir.path().join("summary.json"), json!({"tool": "no plan", "many": many}).to_string()).unwrap();
    std::fs::write(dir.path().join("config.json"), format!("{{\"deep\": {deep}}}")).unwrap();
    std::fs::write(dir.path().join("host.json"), Value::Object(fields.into_iter().take(700).collect()).to_string())
        .unwrap();
    let mut trials = String::from("floor_ratio,ns_per_cell\n");
    for n in 0..200_000 {
        writeln!(trials, "1.{n},1e{}", n % 400).unwrap();
    }
    std::fs::write(dir.path().join("trials.csv"), trials).unwrap();
    let page = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
    check(&page);
    assert!(page.len() < 3 << 20, "{} bytes", page.len());
}

#[test]
fn the_command_says_where_the_page_is_or_why_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_drover-perf")).arg("report").arg(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, error) = run();
    assert!(code == Some(1) && error.contains("is not the folder of a run"), "{error}");
    folder(dir.path(), "hop", "x");
    let (code, out, error) = run();
    assert!(code == Some(0) && out.trim().ends_with("report.html"), "{error}");
}

/// Chromium, where there is one, draws the page: what it made of it has every plot, and it had nothing to say.
#[test]
fn a_browser_draws_it() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
    else {
        return drover_nic::skip::skipped("no chromium here: the report is not loaded in a browser");
    };
    let (dir, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    folder(dir.path(), "pace", "x");
    let page = report::write(dir.path()).unwrap();
    let shot = dir.path().join("shot.png");
    let profile = format!("--user-data-dir={}", profile.path().display());
    let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                 --disable-component-update --disable-sync --enable-logging=stderr --v=0 --window-size=1200,1600";
    let output = Command::new(browser)
        .args(flags.split_whitespace())
        .args([&profile, "--dump-dom", &format!("--screenshot={}", shot.display())])
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let (dom, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_to_string(&page).unwrap();
    for tag in ["<svg", "<section", "<circle", "class=\"card\""] {
        assert_eq!(dom.matches(tag).count(), written.matches(tag).count(), "{tag}\n{said}");
    }
    assert!(!said.contains("CONSOLE"), "{said}");
    assert!(!dom.contains("parsererror"));
}
