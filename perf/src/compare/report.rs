//! Two runs' figures beside each other.

use super::figures::{Figure, figures};
use super::{Difference, Summary};
use serde::Serialize;
use std::fmt;

/// Two runs beside each other.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The first run.
    pub a: Side,
    /// The second run.
    pub b: Side,
    /// What differs beside the figures, and was allowed to.
    pub differences: Vec<Difference>,
    /// Every figure that both have and that is not one and the same whole number.
    pub figures: Vec<Line>,
    /// Figures that only one of them has.
    pub only_one_has: Vec<String>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Where it was read from.
    pub path: String,
    /// The tool.
    pub tool: String,
    /// The commit.
    pub commit: String,
    /// The host's id.
    pub host: String,
    /// When it began, UTC.
    pub started: String,
    /// Its probe found the core quiet; null when it could not tell.
    pub quiet: Option<bool>,
}

/// One figure of both.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its path in the summary.
    pub figure: String,
    /// Of the first run.
    pub a: f64,
    /// Quartiles or interval.
    pub a_spread: Option<[f64; 2]>,
    /// Of the second run.
    pub b: f64,
    /// Quartiles or interval.
    pub b_spread: Option<[f64; 2]>,
    /// b / a; null where a is 0.
    pub ratio: Option<f64>,
    /// The spreads have values in common; null where one has no spread.
    pub overlap: Option<bool>,
}

impl Report {
    /// Puts them beside each other.
    pub fn new(a: &Summary, b: &Summary, differences: Vec<Difference>) -> Report {
        let (of_a, of_b) = (figures(&a.value), figures(&b.value));
        let both = of_a.iter().filter_map(|(path, a)| Some(line(path, a, of_b.get(path)?)));
        let only = |of: &std::collections::BTreeMap<String, Figure>,
                    other: &std::collections::BTreeMap<String, Figure>| {
            of.keys().filter(|path| !other.contains_key(*path)).cloned().collect::<Vec<_>>()
        };
        Report {
            a: Side::of(a),
            b: Side::of(b),
            differences,
            figures: both.filter(|line| line.a != line.b || line.a.fract() != 0.0).collect(),
            only_one_has: [only(&of_a, &of_b), only(&of_b, &of_a)].concat(),
        }
    }
}

impl Side {
    fn of(summary: &Summary) -> Side {
        let [tool, commit, host, started] = ["tool", "commit", "host", "started"].map(|name| summary.field(name));
        Side { path: summary.path.clone(), tool, commit, host, started, quiet: summary.quiet() }
    }
}

fn line(path: &str, a: &Figure, b: &Figure) -> Line {
    let overlap = a.spread.zip(b.spread).map(|(a, b)| a[0] <= b[1] && b[0] <= a[1]);
    Line {
        figure: path.to_owned(),
        a: a.value,
        a_spread: a.spread,
        b: b.value,
        b_spread: b.spread,
        ratio: (a.value != 0.0).then(|| b.value / a.value),
        overlap,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Side { path, tool, commit, host, started, quiet }) in [("A", &self.a), ("B", &self.b)] {
            let noise = match quiet {
                Some(true) => "",
                Some(false) => ", not quiet",
                None => ", quiet or not is unknown",
            };
            writeln!(f, "{name}  {tool} of {commit} on {host}, {started}{noise}: {path}")?;
        }
        for Difference { what, a, b, .. } in &self.differences {
            writeln!(f, "   {what} differs: {a}; {b}")?;
        }
        let width = self.figures.iter().map(|line| line.figure.len()).max().unwrap_or(0).max(6);
        writeln!(
            f,
            "{:<width$}  {:>12} {:<21}  {:>12} {:<21}  {:>7}",
            "figure", "A", "(half in)", "B", "(half in)", "B/A"
        )?;
        for Line { figure, a, a_spread, b, b_spread, ratio, overlap } in &self.figures {
            let spread = |spread: &Option<[f64; 2]>| {
                spread.map_or(String::new(), |[l, h]| format!("{}..{}", short(l), short(h)))
            };
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let overlap = match overlap {
                Some(true) => "  spreads overlap",
                Some(false) => "  spreads apart",
                None => "",
            };
            let (a, b, of_a, of_b) = (short(*a), short(*b), spread(a_spread), spread(b_spread));
            writeln!(f, "{figure:<width$}  {a:>12} {of_a:<21}  {b:>12} {of_b:<21}  {ratio:>7}{overlap}")?;
        }
        match self.only_one_has.as_slice() {
            [] => write!(f, "Both have all of these figures."),
            only => write!(f, "Only one of them has: {}", only.join(", ")),
        }
    }
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e7 => format!("{value:.3e}"),
        size if size >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_have_ratios_and_say_whether_spreads_overlap() {
        let summary = |value| Summary { path: "p".to_owned(), value };
        let a = summary(json!({"tool": "hop", "ns": 100.0, "ns_iqr": [90.0, 110.0], "zero": 0, "same": 5, "x": 1.5}));
        let b = summary(json!({"tool": "hop", "ns": 130.0, "ns_iqr": [111.0, 140.0], "zero": 1, "same": 5, "y": 2}));
        let report = Report::new(&a, &b, Vec::new());
        assert_eq!(report.figures.len(), 2);
        assert_eq!((report.figures[0].ratio, report.figures[0].overlap), (Some(1.3), Some(false)));
        assert_eq!((report.figures[1].ratio, report.figures[1].overlap), (None, None));
        assert_eq!(report.only_one_has, ["x", "y"]);
        let near = summary(json!({"ns": 105.0, "ns_iqr": [95.0, 115.0]}));
        assert_eq!(Report::new(&a, &near, Vec::new()).figures[0].overlap, Some(true));
        let text = report.to_string();
        assert!(text.contains("1.300  spreads apart") && text.contains("Only one of them has: x, y"), "{text}");
    }
}
