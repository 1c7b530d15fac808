//! Terminal text: aligned tables, numbers and sizes that a person can read, and a line of progress.
//!
//! Widths are counted in characters. Control characters in what is shown are replaced, so that no name or error can move the
//! cursor or change colours.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between plain progress lines where the output is no terminal.
pub const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Shortest time between two redraws on a terminal.
pub const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// Longest progress line on a terminal, in characters: a wrapped line could not be redrawn in place.
pub const LINE_CHARS: usize = 79;
/// Spaces between the columns of a table.
const COLUMN_GAP: usize = 2;

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table that is as wide as its content.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns, without rows.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Table { columns: columns.iter().map(|(head, align)| (clean(head), *align)).collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells that lack are empty, cells too many are left out.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().take(self.columns.len()).map(|c| clean(c.as_ref())).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
        self
    }

    /// True if no row has been added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Heads, a rule, rows; each line ends in a newline and never in spaces.
impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chars = |s: &String| s.chars().count();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| self.rows.iter().map(|row| chars(&row[i])).chain([chars(&self.columns[i].0)]).max().unwrap_or(0))
            .collect();
        let heads: Vec<String> = self.columns.iter().map(|(head, _)| head.clone()).collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        for row in [&heads, &rule].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                let fill = " ".repeat(width - chars(cell));
                match align {
                    Align::Left => line.extend([cell.as_str(), &fill]),
                    Align::Right => line.extend([fill.as_str(), cell]),
                }
                line.push_str(&" ".repeat(COLUMN_GAP));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number with so many decimals, its thousands parted by commas: 1,234,567.8. "-" if it is not finite.
pub fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let plain = format!("{:.*}", decimals, value.abs());
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), ""), |(w, f)| (w, f));
    // What rounds to zero has no sign.
    let negative = value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b));
    let mut out = String::from(if negative { "-" } else { "" });
    out.push_str(&count_digits(whole));
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A count with its thousands parted by commas: 1,234,567.
pub fn count(value: u64) -> String {
    count_digits(&value.to_string())
}

fn count_digits(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in bytes in binary units: 512 B, 1.5 KiB, 2.0 GiB.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1_024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1_024.0;
    let mut unit = 0;
    // 1,023.95 would print as 1024.0.
    while scaled >= 1_023.95 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A length of time in the unit that suits it: 850 ns, 12.3 µs, 4.56 ms, 7.9 s, 3 min 05 s, 2 h 03 min.
pub fn duration(value: Duration) -> String {
    let ns = value.as_nanos();
    let seconds = value.as_secs_f64();
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_950 => format!("{:.1} µs", seconds * 1e6),
        999_950..999_995_000 => format!("{:.2} ms", seconds * 1e3),
        999_995_000..59_950_000_000 => format!("{seconds:.1} s"),
        _ => {
            let whole = (ns + 500_000_000) / 1_000_000_000;
            match whole {
                0..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
                _ => format!("{} h {:02} min", whole / 3_600, whole / 60 % 60),
            }
        }
    }
}

/// The text without control characters and marks of writing direction; each becomes U+FFFD.
pub fn clean(text: &str) -> String {
    let unsafe_char = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if unsafe_char(c) { '\u{fffd}' } else { c }).collect()
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One line, redrawn in place.
    Terminal,
    /// A line every [`PLAIN_EVERY`], for logs.
    Plain,
    /// Nothing: under `--json` or `--quiet`.
    Silent,
}

/// A line that says how far something is. Write errors are ignored: progress is no result.
#[derive(Debug)]
pub struct Progress<W: Write> {
    mode: Mode,
    out: W,
    started: Instant,
    shown: Option<Duration>,
    /// The newest line, if it has not been shown.
    waiting: Option<String>,
    drawn: bool,
}

impl Progress<io::Stderr> {
    /// Progress on standard error, which leaves standard output to the result; `silent` for `--json` and `--quiet`.
    pub fn stderr(silent: bool) -> Self {
        let out = io::stderr();
        let mode = match (silent, out.is_terminal()) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::Terminal,
            (false, false) => Mode::Plain,
        };
        Progress::new(mode, out)
    }
}

impl<W: Write> Progress<W> {
    /// Progress on any output.
    pub fn new(mode: Mode, out: W) -> Self {
        Progress { mode, out, started: Instant::now(), shown: None, waiting: None, drawn: false }
    }

    /// Shows `line`, or keeps it for later if the last one was shown a moment ago.
    pub fn update(&mut self, line: &str) {
        self.update_at(self.started.elapsed(), line);
    }

    fn update_at(&mut self, now: Duration, line: &str) {
        let every = match self.mode {
            Mode::Terminal => REDRAW_EVERY,
            Mode::Plain => PLAIN_EVERY,
            Mode::Silent => return,
        };
        if self.shown.is_some_and(|shown| now < shown + every) {
            self.waiting = Some(line.to_string());
            return;
        }
        self.shown = Some(now);
        self.waiting = None;
        self.draw(line);
    }

    /// Prints a line that stays, above the progress line if there is one. For warnings on the way.
    pub fn note(&mut self, line: &str) {
        let line = clean(line);
        match self.mode {
            Mode::Terminal => {
                let _ = writeln!(self.out, "{}{line}", if self.drawn { "\r\x1b[2K" } else { "" });
                self.drawn = false;
                self.shown = None; // draws again at the next update
            }
            Mode::Plain => {
                let _ = writeln!(self.out, "{line}");
            }
            Mode::Silent => {}
        }
        let _ = self.out.flush();
    }

    /// Shows the newest line if it has not been, and leaves the cursor at the start of the next line.
    pub fn finish(mut self) {
        if let Some(line) = self.waiting.take() {
            self.draw(&line);
        }
        if self.drawn {
            let _ = writeln!(self.out);
            let _ = self.out.flush();
        }
    }

    fn draw(&mut self, line: &str) {
        let line = clean(line);
        if self.mode == Mode::Terminal {
            let fits: String = line.chars().take(LINE_CHARS).collect();
            let _ = write!(self.out, "\r\x1b[2K{fits}");
            self.drawn = true;
        } else {
            let _ = writeln!(self.out, "{line}");
        }
        let _ = self.out.flush();
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
