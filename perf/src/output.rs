//! What all tools print and how they end.

use crate::run::Finished;
use drover_nic::{OpenError, OpenErrorKind};
use std::fmt::Display;
use std::path::PathBuf;

/// Flags of every tool that measures.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Output {
    /// Print one JSON object, the run's summary.json, instead of text.
    #[arg(long)]
    pub json: bool,
    /// The run's folder, new or empty. Without it: drover-perf-results/TOOL-TIME in the working directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Output {
    /// What a tool prints on standard output: its report as text with what the probe found, or as JSON.
    pub fn text(&self, report: &impl Display, finished: &Finished) -> String {
        if self.json { finished.json.clone() } else { format!("{report}\n  probe      {}", finished.probe) }
    }
}

/// Why a tool gives no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It was asked for what it does not do: exit code 2.
    Usage(String),
    /// Something went wrong: exit code 1.
    Failed(String),
    /// The machine lacks what was asked for: exit code 3.
    Environment(String),
}

impl Error {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Error::Failed(_) => 1,
            Error::Usage(_) => 2,
            Error::Environment(_) => 3,
        }
    }
}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::Failed(text)
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Error {
        match error.kind {
            OpenErrorKind::Environment => Error::Environment(error.to_string()),
            OpenErrorKind::Configuration => Error::Usage(error.to_string()),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Error::Usage(text) | Error::Failed(text) | Error::Environment(text)) = self;
        f.write_str(text)
    }
}

/// A flag's value within its range.
///
/// # Errors
/// Wrong usage; the text names flag, value and range.
pub fn within<T: PartialOrd + Display>(flag: &str, value: T, range: std::ops::RangeInclusive<T>) -> Result<T, Error> {
    match range.contains(&value) {
        true => Ok(value),
        false => Err(Error::Usage(format!("--{flag} {value} is not in {}..={}", range.start(), range.end()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_wrong_usage() {
        assert_eq!(within("links", 5, 1..=5), Ok(5));
        let error = within("links", 6, 1..=5).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), ("--links 6 is not in 1..=5", 2));
        assert_eq!(Error::from("x".to_owned()).code(), 1);
    }
}
