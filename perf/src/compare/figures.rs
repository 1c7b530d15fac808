//! A summary's figures: its numbers, each with its spread where it has one.

use crate::run::ENVELOPE;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The figure, as a rule a median.
    pub value: f64,
    /// Its quartiles, or the ends of its interval.
    pub spread: Option<[f64; 2]>,
}

/// What marks a figure's quartiles: `x_iqr` are those of `x`.
const IQR: &str = "_iqr";
/// Objects that are one figure: its own name, and those of its spread's ends.
const FORMS: [[&str; 3]; 2] = [["median", "q1", "q3"], ["mean", "low", "high"]];
/// What tells the objects of an array apart, where they have it.
const KEYS: [&str; 4] = ["backend", "name", "links", "kind"];

/// All figures of a summary, the envelope's apart, by their paths: `rows[vaes512].ns_per_cell`.
pub fn figures(summary: &Value) -> BTreeMap<String, Figure> {
    let mut figures = BTreeMap::new();
    if let Value::Object(members) = summary {
        let own = members.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str()));
        object("", &own.map(|(name, value)| (name.clone(), value.clone())).collect(), &mut figures);
    }
    figures
}

fn object(path: &str, members: &Map<String, Value>, figures: &mut BTreeMap<String, Figure>) {
    for [value, low, high] in FORMS {
        let number = |name: &str| members.get(name).and_then(Value::as_f64);
        if let (Some(value), Some(low), Some(high)) = (number(value), number(low), number(high)) {
            figures.insert(path.to_owned(), Figure { value, spread: Some([low, high]) });
            return;
        }
    }
    for (name, value) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Number(number) => {
                let spread = members.get(&format!("{name}{IQR}")).and_then(pair);
                if let Some(value) = number.as_f64() {
                    figures.insert(path, Figure { value, spread });
                }
            }
            Value::Object(members) => object(&path, members, figures),
            Value::Array(items) => array(&path, items, figures),
            _ => {}
        }
    }
}

fn array(path: &str, items: &[Value], figures: &mut BTreeMap<String, Figure>) {
    for (at, item) in items.iter().enumerate() {
        let Value::Object(members) = item else { continue };
        let key = KEYS.iter().find_map(|key| members.get(*key)).map(|key| key.to_string().replace('"', ""));
        object(&format!("{path}[{}]", key.unwrap_or_else(|| at.to_string())), members, figures);
    }
}

fn pair(value: &Value) -> Option<[f64; 2]> {
    match value.as_array()?.as_slice() {
        [low, high] => Some([low.as_f64()?, high.as_f64()?]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_have_paths_and_spreads() {
        let summary = json!({
            "schema": "x", "probe": {"spread": 1.0}, "wall_seconds": 3.0,
            "ns": 2.0, "ns_iqr": [1.0, 3.0], "cells": 7, "name": "text", "none": null,
            "rows": [{"backend": "b", "ns": 4.0}, {"links": 500, "ns": 5.0}, {"ns": 6.0}],
            "lateness": {"p99": {"mean": 1.5, "low": 1.0, "high": 2.0}, "p50": {"median": 1, "q1": 1, "q3": 1, "count": 9}},
            "pair": [1.0, 2.0],
        });
        let found = figures(&summary);
        let plain = |value| Figure { value, spread: None };
        let with = |value, low, high| Figure { value, spread: Some([low, high]) };
        let expected = [
            ("cells", plain(7.0)),
            ("lateness.p50", with(1.0, 1.0, 1.0)),
            ("lateness.p99", with(1.5, 1.0, 2.0)),
            ("ns", with(2.0, 1.0, 3.0)),
            ("rows[2].ns", plain(6.0)),
            ("rows[500].links", plain(500.0)),
            ("rows[500].ns", plain(5.0)),
            ("rows[b].ns", plain(4.0)),
        ];
        assert_eq!(found, expected.map(|(path, figure)| (path.to_owned(), figure)).into());
    }
}
