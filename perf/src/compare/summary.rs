//! A run's summary, and how two differ in what is not measured.

use crate::run::SCHEMA;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A summary that was read.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where it was read from.
    pub path: String,
    /// All of it.
    pub value: Value,
}

/// Something in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `host`, `commit`, `build`, `tool`, `backend`, `config`.
    pub what: &'static str,
    /// Of the first run.
    pub a: String,
    /// Of the second run.
    pub b: String,
    /// The flag that allows it, as it is typed.
    pub flag: &'static str,
}

/// Members of a configuration that name back ends.
const BACKENDS: [&str; 2] = ["backend", "backends"];

impl Summary {
    /// Reads a run's folder, its `summary.json`, or what the tool printed with `--json`.
    ///
    /// # Errors
    /// No such file, no JSON, or another schema: the text names the file.
    pub fn read(path: &Path) -> Result<Summary, String> {
        let file = if path.is_dir() { path.join("summary.json") } else { path.to_owned() };
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read(&file).map_err(|error| failed(&error))?;
        let value: Value = serde_json::from_slice(&text).map_err(|error| failed(&format!("no JSON: {error}")))?;
        match value["schema"].as_str() {
            Some(SCHEMA) => Ok(Summary { path: path.display().to_string(), value }),
            Some(other) => Err(failed(&format!("schema {other:?}; this program reads {SCHEMA:?}"))),
            None => Err(failed(&"no summary of a run: it has no field schema")),
        }
    }

    /// A field of the envelope, as text.
    pub fn field(&self, name: &str) -> String {
        text(&self.value[name])
    }

    /// Whether the run was quiet, as its probe says.
    pub fn quiet(&self) -> Option<bool> {
        self.value["probe"]["quiet"].as_bool()
    }

    /// The back ends: of a run that chooses among several, those asked for.
    fn backends(&self) -> String {
        let named = BACKENDS.iter().find_map(|name| self.value["config"].get(name));
        named.or_else(|| self.value.get("backend")).map_or_else(|| "none".to_owned(), text)
    }

    /// What the build was made with, the commit apart.
    fn build(&self) -> String {
        let of = |name: &str| text(&self.value["build"][name]);
        let lab = if self.value["build"]["lab"] == true { ", lab" } else { "" };
        format!("{}{lab}, {}, {}", of("profile"), of("target"), of("rustc"))
    }
}

/// How `a` and `b` differ, worst first.
pub fn differences(a: &Summary, b: &Summary) -> Vec<Difference> {
    let (config_a, config_b) = configurations(&a.value["config"], &b.value["config"]);
    let all = [
        ("tool", a.field("tool"), b.field("tool"), "--across-tools"),
        ("host", a.field("host"), b.field("host"), "--across-hosts"),
        ("build", a.build(), b.build(), "--across-builds"),
        ("commit", a.field("commit"), b.field("commit"), "--across-commits"),
        ("backend", a.backends(), b.backends(), "--across-backends"),
        ("config", config_a, config_b, "--across-configs"),
    ];
    let differ = all.into_iter().filter(|(_, a, b, _)| a != b);
    let mut found: Vec<_> = differ.map(|(what, a, b, flag)| Difference { what, a, b, flag }).collect();
    // Two trees that nobody can name may be any two.
    let commit = a.field("commit");
    if commit == "unknown" && commit == b.field("commit") {
        found.push(Difference { what: "commit", a: commit.clone(), b: commit, flag: "--across-commits" });
    }
    found
}

/// The members in which two configurations differ, back ends apart.
fn configurations(a: &Value, b: &Value) -> (String, String) {
    let names = |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<BTreeSet<_>>());
    let all: BTreeSet<String> = names(a).unwrap_or_default().union(&names(b).unwrap_or_default()).cloned().collect();
    let differ: Vec<_> = all.iter().filter(|name| !BACKENDS.contains(&name.as_str()) && a[*name] != b[*name]).collect();
    let of = |value: &Value| differ.iter().map(|name| format!("{name} {}", text(&value[*name]))).collect::<Vec<_>>();
    (of(a).join(", "), of(b).join(", "))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summary(changes: &[(&str, Value)]) -> Summary {
        let mut value = json!({
            "schema": SCHEMA, "tool": "hop", "commit": "1234", "host": "abcd",
            "build": {"profile": "release", "lab": false, "target": "t", "rustc": "r"},
            "config": {"links": 10, "seconds": 5, "backend": "x"},
        });
        for (pointer, change) in changes {
            *value.pointer_mut(pointer).unwrap() = change.clone();
        }
        Summary { path: String::new(), value }
    }

    #[test]
    fn each_difference_has_a_flag_of_its_own() {
        let plain = summary(&[]);
        assert_eq!(differences(&plain, &plain.clone()), []);
        for (pointer, value, what, flag) in [
            ("/tool", json!("chaff"), "tool", "--across-tools"),
            ("/host", json!("ef"), "host", "--across-hosts"),
            ("/commit", json!("5678"), "commit", "--across-commits"),
            ("/build/lab", json!(true), "build", "--across-builds"),
            ("/build/profile", json!("debug"), "build", "--across-builds"),
            ("/config/backend", json!("y"), "backend", "--across-backends"),
            ("/config/links", json!(11), "config", "--across-configs"),
        ] {
            let found = differences(&plain, &summary(&[(pointer, value)]));
            assert_eq!(found.iter().map(|d| (d.what, d.flag)).collect::<Vec<_>>(), [(what, flag)], "{pointer}");
        }
        let found = differences(&plain, &summary(&[("/config/links", json!(11)), ("/host", json!("ef"))]));
        assert_eq!((found[0].what, found[1].b.as_str()), ("host", "links 11"));
        let unknown = summary(&[("/commit", json!("unknown"))]);
        assert_eq!(differences(&unknown, &unknown.clone())[0].flag, "--across-commits");
    }

    #[test]
    fn what_is_no_summary_is_named() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("summary.json");
        let read = |path: &Path| Summary::read(path).unwrap_err();
        assert!(read(place.path()).contains("summary.json: No such file"));
        for (text, words) in [
            ("{", "no JSON"),
            ("[1]", "no summary of a run"),
            ("{\"schema\": \"drover-perf/2\"}", "schema \"drover-perf/2\""),
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).contains(words) && read(place.path()).contains(words));
        }
        std::fs::write(&file, format!("{{\"schema\": \"{SCHEMA}\"}}")).unwrap();
        assert!(Summary::read(place.path()).is_ok());
    }
}
