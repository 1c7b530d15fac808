//! What each tool's page shows: headline figures with their meaning, and plots.

use super::unit::Unit;
use serde_json::Value;

mod plans;

/// A figure of a summary.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Where it is in the summary: names parted by dots.
    pub key: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// What it says.
    pub meaning: &'static str,
    /// Where its spread is: an array of two, or an object with `low` and `high`.
    pub spread: Option<(&'static str, &'static str)>,
    /// What it should be.
    pub goal: Option<Goal>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// No more.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
}

impl Goal {
    /// Whether a value is as it should be.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
        }
    }
}

/// A plot with its heading and what is seen in it.
#[derive(Clone, Copy, Debug)]
pub enum Chart {
    /// A column of the trials, in order, with medians and quartiles.
    Trials {
        /// Heading.
        heading: &'static str,
        /// What is seen.
        lead: &'static str,
        /// The column.
        y: &'static str,
        /// Its unit.
        unit: Unit,
        /// What it is.
        name: &'static str,
        /// The column that parts the trials into series.
        by: Option<&'static str>,
        /// The column, name and unit of the horizontal axis; the trials' numbers otherwise.
        x: Option<(&'static str, &'static str, Unit)>,
    },
    /// Medians and quartiles of columns against another column.
    Against {
        /// Heading.
        heading: &'static str,
        /// What is seen.
        lead: &'static str,
        /// The other column.
        x: &'static str,
        /// What it is.
        x_name: &'static str,
        /// Its unit.
        x_unit: Unit,
        /// Columns and what they are.
        series: &'static [(&'static str, &'static str)],
        /// Their unit.
        unit: Unit,
        /// What is measured.
        name: &'static str,
    },
    /// Distributions.
    Percentiles {
        /// Heading.
        heading: &'static str,
        /// What is seen.
        lead: &'static str,
        /// How the names of the histograms begin.
        prefix: &'static str,
        /// Their unit.
        unit: Unit,
        /// What is measured.
        name: &'static str,
    },
    /// A whole and its parts.
    Parts {
        /// Heading.
        heading: &'static str,
        /// What is seen.
        lead: &'static str,
        /// Unit of all.
        unit: Unit,
        /// Key in the summary, name and colour.
        parts: &'static [(&'static str, &'static str, usize)],
        /// Key of the whole, and the name of what the parts leave of it.
        whole: Option<(&'static str, &'static str)>,
    },
    /// A search's loads.
    Search,
}

impl Chart {
    /// Heading and lead.
    pub fn words(&self) -> (&'static str, &'static str) {
        match self {
            Chart::Trials { heading, lead, .. }
            | Chart::Against { heading, lead, .. }
            | Chart::Percentiles { heading, lead, .. }
            | Chart::Parts { heading, lead, .. } => (heading, lead),
            Chart::Search => (
                "The search",
                "Every trial in order. The search halves the way between loads that lose too much and loads that do not, \
                 and repeats a load until no further trial could change the verdict. Below: the loss of each trial.",
            ),
        }
    }
}

/// What a tool's page shows.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The tool's name, as on the command line.
    pub tool: &'static str,
    /// What was measured.
    pub title: &'static str,
    /// How, in a sentence or two.
    pub about: &'static str,
    /// Headline figures.
    pub figures: &'static [Figure],
    /// Plots.
    pub charts: &'static [Chart],
}

/// The page of a tool; of a tool that has none, one that shows what there is.
pub fn plan(tool: &str) -> Plan {
    plans::PLANS.iter().copied().find(|plan| plan.tool == tool).unwrap_or(plans::OTHER)
}

/// The value at a dotted key.
pub fn at<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(value, |value, name| value.get(name))
}

/// A spread: an array of two numbers, or an object with `low` and `high`.
pub fn spread(value: &Value) -> Option<(f64, f64)> {
    match value {
        Value::Array(ends) if ends.len() == 2 => Some((ends[0].as_f64()?, ends[1].as_f64()?)),
        _ => Some((value.get("low")?.as_f64()?, value.get("high")?.as_f64()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_and_spreads_are_found() {
        let value = json!({"a": {"b": 3}, "s": [1, 2.5], "i": {"low": 1, "high": 2}, "t": [1]});
        assert_eq!(at(&value, "a.b"), Some(&json!(3)));
        assert_eq!((at(&value, "a.c"), at(&value, "x.y")), (None, None));
        assert_eq!(spread(&value["s"]), Some((1.0, 2.5)));
        assert_eq!(spread(&value["i"]), Some((1.0, 2.0)));
        assert_eq!((spread(&value["t"]), spread(&Value::Null)), (None, None));
        assert!(Goal::AtMost(1.0).is_met(1.0) && !Goal::AtLeast(1.1).is_met(1.0));
    }

    #[test]
    fn every_tool_has_one_plan() {
        let mut names: Vec<_> = plans::PLANS.iter().map(|plan| plan.tool).collect();
        assert!(names.contains(&"hop") && plan("hop").tool == "hop" && plan("nothing").figures.is_empty());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), plans::PLANS.len());
    }
}
