//! Units, and numbers that a person reads: three digits, and the prefix that makes them few.

use drover_control::report::text::number;

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time, ns.
    Ns,
    /// Time, s.
    Seconds,
    /// Things a second.
    PerSecond(&'static str),
    /// Memory, bytes.
    Bytes,
    /// A quotient of like things.
    Ratio,
    /// A part of 1, shown in percent.
    Share,
    /// Things.
    Count(&'static str),
}

impl Unit {
    /// The steps in which it is shown: name and size, the smallest first.
    fn steps(self) -> Vec<(String, f64)> {
        let named = |steps: &[(&str, f64)]| steps.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        match self {
            Unit::Ns => named(&[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]),
            Unit::Seconds => named(&[("s", 1.0)]),
            Unit::PerSecond(what) => [("", 1.0), ("thousand ", 1e3), ("million ", 1e6)]
                .iter()
                .map(|(name, size)| (format!("{name}{what}/s"), *size))
                .collect(),
            Unit::Bytes => {
                named(&[("B", 1.0), ("KiB", 1024.0), ("MiB", 1024.0 * 1024.0), ("GiB", 1024.0 * 1024.0 * 1024.0)])
            }
            Unit::Ratio => named(&[("", 1.0)]),
            Unit::Share => named(&[("%", 0.01)]),
            Unit::Count(what) => named(&[(what, 1.0)]),
        }
    }

    /// The step whose numbers are the shortest up to `largest`: its name and size.
    pub fn step(self, largest: f64) -> (String, f64) {
        // Up to ten of a step of time the smaller one reads better: 1,830 ns.
        self.step_from(largest, if matches!(self, Unit::PerSecond(_)) { 1.0 } else { 10.0 })
    }

    /// The largest step of which `value` has at least `least`.
    fn step_from(self, value: f64, least: f64) -> (String, f64) {
        let mut steps = self.steps();
        let at = steps.iter().rposition(|(_, size)| value.abs() >= least * size * (1.0 - 1e-12)).unwrap_or(0);
        steps.swap_remove(at)
    }

    /// A round value, as a tick has it.
    pub fn tick(self, value: f64) -> String {
        let (name, size) = self.step_from(value, 1.0);
        // Powers of ten are not exact.
        format!("{} {name}", digits((value / size * 1e6).round() / 1e6)).trim_end().to_owned()
    }

    /// A value with the step that suits it: number and unit.
    pub fn show(self, value: f64) -> (String, String) {
        let (name, size) = self.step(value);
        (digits(value / size), name)
    }

    /// The same as one text.
    pub fn text(self, value: f64) -> String {
        let (number, unit) = self.show(value);
        format!("{number} {unit}").trim_end().to_owned()
    }
}

/// A number with at least three significant digits: 1,234 or 56.7 or 0.891.
pub fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v == 0.0 || v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 4,
    };
    let decimals = if value.fract() == 0.0 { 0 } else { decimals };
    number(value, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (unit, value, text) in [
            (Unit::Ns, 812.4, "812 ns"),
            (Unit::Ns, 1_830.0, "1,830 ns"),
            (Unit::Ns, 18_300.0, "18.3 µs"),
            (Unit::Ns, 2e10, "20 s"),
            (Unit::PerSecond("cells"), 6_234_000.0, "6.23 million cells/s"),
            (Unit::PerSecond("cells"), 16_234_000.0, "16.2 million cells/s"),
            (Unit::Ratio, 1.4567, "1.46"),
            (Unit::Share, 0.005, "0.50 %"),
            (Unit::Bytes, 52_428_800.0, "50 MiB"),
            (Unit::Count("links"), 50_000.0, "50,000 links"),
            (Unit::Count(""), 0.0, "0"),
            (Unit::Ns, f64::NAN, "- ns"),
        ] {
            assert_eq!(unit.text(value), text);
        }
        assert_eq!((Unit::Ns.tick(1e6), Unit::Ns.tick(5e-1 * 1e5)), ("1 ms".to_owned(), "50 µs".to_owned()));
    }
}
