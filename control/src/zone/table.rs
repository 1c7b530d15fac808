//! A TOML table read key by key: what is wrong is collected, with key, value, what is allowed and the mend, and whatever
//! nobody took is unknown. Files come from others: values are shown escaped and cut.

use super::Problem;
use std::fmt;
use std::ops::RangeInclusive;
use toml::{Table, Value};

/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// A value as it may be shown: one line, nothing that a terminal takes for more than text, not too long.
pub(super) fn shown(value: impl fmt::Display) -> String {
    let text = value.to_string();
    let mut out: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    // Quotes need no escape here, and with them a path or an address reads as it was written.
    out = out.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// Parses TOML.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Table> {
    let error = match text.parse::<Table>() {
        Ok(table) => return Some(table),
        Err(error) => error,
    };
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
    let line = before.matches('\n').count();
    problems.push(Problem {
        key: format!("line {}", line + 1),
        value: shown(text.lines().nth(line).unwrap_or("").trim()),
        allowed: shown(error.message().trim()),
        mend: "mend the syntax (https://toml.io)".to_owned(),
    });
    None
}

/// One table and where it lies.
pub(super) struct Reader<'p> {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Reader<'p> {
    /// `path` comes before the keys' names.
    pub fn new(path: &str, table: Table, problems: &'p mut Vec<Problem>) -> Self {
        Reader { path: path.to_owned(), table, known: Vec::new(), problems }
    }

    pub fn problem(
        &mut self,
        key: &str,
        value: impl fmt::Display,
        allowed: impl fmt::Display,
        mend: impl fmt::Display,
    ) {
        self.problems.push(Problem {
            key: format!("{}{}", self.path, shown(key)),
            value: shown(value),
            allowed: allowed.to_string(),
            mend: mend.to_string(),
        });
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// A number that must be there, or `default` where there is one.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u64>, default: Option<u64>, mend: &str) -> u64 {
        let value = self.take(key);
        let least = *range.start();
        let value = match (value, default) {
            (None, Some(default)) => return default,
            (None, None) => {
                self.problem(key, "(missing)", whole(&range), mend);
                return least;
            }
            (Some(value), _) => value,
        };
        match value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| range.contains(n)) {
            Some(number) => number,
            None => {
                self.problem(key, &value, whole(&range), mend);
                default.unwrap_or(least)
            }
        }
    }

    /// A text that must be there.
    pub fn text(&mut self, key: &'static str, allowed: &str, mend: &str) -> Option<String> {
        match self.take(key) {
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.problem(key, other, allowed, mend);
                None
            }
            None => {
                self.problem(key, "(missing)", allowed, mend);
                None
            }
        }
    }

    /// A table; an empty one where there is none.
    pub fn section(&mut self, key: &'static str) -> Table {
        match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.problem(key, other, format!("a table, [{key}]"), format!("write its keys below a line [{key}]"));
                Table::new()
            }
        }
    }

    /// A list of tables, `[[key]]`, at most `most`.
    pub fn list(&mut self, key: &'static str, most: usize) -> Vec<Table> {
        let values = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) if values.iter().all(Value::is_table) => values,
            Some(other) => {
                self.problem(key, other, format!("tables, [[{key}]]"), format!("write a line [[{key}]] above each"));
                return Vec::new();
            }
        };
        if values.len() > most {
            self.problem(key, format!("({} of them)", values.len()), format!("at most {most}"), "remove some");
        }
        values.into_iter().take(most).filter_map(|value| value.try_into().ok()).collect()
    }

    /// Whatever nobody took is unknown.
    pub fn finish(mut self) {
        let known = self.known.join(", ");
        for (key, value) in std::mem::take(&mut self.table) {
            self.problem(&key, value, format!("known here: {known}"), "remove it, or mend its spelling");
        }
    }
}

fn whole(range: &RangeInclusive<u64>) -> String {
    format!("a whole number, {} to {}", range.start(), range.end())
}
