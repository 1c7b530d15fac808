//! Plots as inline SVG: axes with units, bands, lines and dots. Colours are the page's (`style.css`), so that one plot
//! suits light and dark.

use super::html::escape;
use super::unit::{Unit, digits};
use std::fmt::Write;

/// Most points of one mark: beyond it, each stretch shows its lowest and highest.
pub const POINTS_MAX: usize = 2_000;
/// Colours that series have, in turn (`style.css`: `.c0` and so on).
pub const COLOURS: usize = 6;

/// The drawing's width; it is scaled to the page.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 14.0;
/// Below the plot: ticks and the axis's name.
const FOOT: f64 = 52.0;

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
    /// Percentiles as HdrHistogram's plots have them: each nine as wide as the one before. Values are log10(1 / (1 − p)).
    Nines,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    name: String,
    unit: Unit,
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis that has room for `values`; a linear one begins at 0 where `from_zero`.
    pub fn over(name: &str, unit: Unit, scale: Scale, from_zero: bool, values: impl Iterator<Item = f64>) -> Axis {
        let values = values.filter(|value| value.is_finite() && (scale != Scale::Log || *value > 0.0));
        let range = values.fold(None, |range: Option<(f64, f64)>, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = range.unwrap_or((1.0, 10.0));
        let (low, high) = match scale {
            Scale::Nines => (0.0, high.max(1.0)),
            Scale::Log => {
                let (low, high) = (low.log10(), high.log10());
                let pad = ((high - low) * 0.05).max(0.1);
                (low - pad, high + pad)
            }
            Scale::Linear => {
                let low = if from_zero { low.min(0.0) } else { low };
                // One value only still has a scale.
                let span = (high - low).max(high.abs() * 1e-6).max(f64::MIN_POSITIVE);
                (if from_zero && low >= 0.0 { low } else { low - span * 0.06 }, high + span * 0.08)
            }
        };
        Axis { name: name.to_owned(), unit, scale, low, high }
    }

    /// Where a value is, as a part of the axis.
    fn part(&self, value: f64) -> f64 {
        let value = if self.scale == Scale::Log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Ticks: value and label.
    fn ticks(&self, most: f64) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Nines => nines(self.high),
            Scale::Log => self.decades(),
            Scale::Linear => {
                let (_, size) = self.unit.step(self.high.abs().max(self.low.abs()));
                let (low, high) = (self.low / size, self.high / size);
                let step = nice((high - low) / most);
                let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
                let first = (low / step - 1e-9).ceil();
                let at = (0..40).map(|n| (first + f64::from(n)) * step).take_while(|at| *at <= high + step * 1e-9);
                at.map(|at| (at * size, drover_control::report::text::number(at + 0.0, decimals))).collect()
            }
        }
    }

    fn decades(&self) -> Vec<(f64, String)> {
        let (from, to) = (self.low.ceil() as i32, self.high.floor() as i32);
        let stride = ((to - from) / 9 + 1).max(1) as usize;
        let mut ticks: Vec<f64> = (from..=to).step_by(stride).map(|power| 10f64.powi(power)).collect();
        if ticks.len() < 3 {
            // Few decades: 1, 2 and 5 of each.
            let all = (from - 1..=to).flat_map(|power| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(power)));
            ticks = all.filter(|tick| (self.low..=self.high).contains(&tick.log10())).collect();
        }
        ticks.into_iter().map(|tick| (tick, self.unit.tick(tick))).collect()
    }

    /// What stands beside it.
    fn title(&self) -> String {
        let unit = match self.scale {
            Scale::Linear => self.unit.step(self.high.abs().max(self.low.abs())).0,
            // The labels say it.
            Scale::Log | Scale::Nines => String::new(),
        };
        let gap = if unit.is_empty() { "" } else { ", " };
        format!("{}{gap}{unit}", self.name)
    }
}

/// The shortest of 1, 2, 5 times a power of ten that is at least `rough`.
fn nice(rough: f64) -> f64 {
    let rough = rough.max(1e-12);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough * 0.999).unwrap_or(rough)
}

fn nines(high: f64) -> Vec<(f64, String)> {
    let mut ticks = vec![(0.0, "0 %".to_owned()), (std::f64::consts::LOG10_2, "50 %".to_owned())];
    for nine in 1..=12 {
        if f64::from(nine) > high + 1e-9 {
            break;
        }
        let label = match nine {
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            _ => format!("99.{} %", "9".repeat(nine as usize - 2)),
        };
        ticks.push((f64::from(nine), label));
    }
    ticks
}

/// A plot under construction: later marks lie over earlier ones.
pub struct Plot {
    x: Axis,
    y: Axis,
    height: f64,
    about: String,
    marks: String,
    legend: Vec<(usize, String)>,
    /// Where levels have their labels.
    labels: Vec<f64>,
}

impl Plot {
    /// A plot `height` high of a page 960 wide. `about` is what a screen reader says.
    pub fn new(about: &str, x: Axis, y: Axis, height: u32) -> Plot {
        let height = f64::from(height);
        Plot { x, y, height, about: about.to_owned(), marks: String::new(), legend: Vec::new(), labels: Vec::new() }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let bottom = self.height - FOOT;
        (LEFT + self.x.part(x) * (RIGHT - LEFT), bottom - self.y.part(y) * (bottom - TOP))
    }

    /// Names a series in the legend.
    pub fn name(&mut self, colour: usize, text: &str) {
        self.legend.push((colour % COLOURS, text.to_owned()));
    }

    /// A line through points.
    pub fn line(&mut self, colour: usize, points: &[(f64, f64)]) {
        let mut path = String::new();
        for point in thin(points) {
            let (x, y) = self.at(point.0, point.1);
            let pen = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{pen}{x:.1} {y:.1}");
        }
        if !path.is_empty() {
            let _ = writeln!(self.marks, r#"<path class="line c{}" d="{path}"/>"#, colour % COLOURS);
        }
    }

    /// A level across the plot, with what it is at its right end.
    pub fn level(&mut self, colour: usize, value: f64, text: &str) {
        if !value.is_finite() {
            return;
        }
        let (_, y) = self.at(0.0, value);
        // Above the line; below it at the top's edge, and where another label is.
        let (above, below) = (y - 6.0, y + 15.0);
        let is_free = |at: f64| at > TOP + 10.0 && self.labels.iter().all(|other| (other - at).abs() > 14.0);
        let label = if is_free(above) { above } else { below };
        self.labels.push(label);
        let (colour, text) = (colour % COLOURS, escape(text));
        let _ = writeln!(
            self.marks,
            r#"<path class="level c{colour}" d="M{LEFT} {y:.1}H{RIGHT}"/><text class="tag t{colour}" x="{RIGHT}" y="{label:.1}" text-anchor="end">{text}</text>"#
        );
    }

    /// A band across the plot.
    pub fn band(&mut self, colour: usize, low: f64, high: f64) {
        if !(low.is_finite() && high.is_finite()) {
            return;
        }
        let ((_, bottom), (_, top)) = (self.at(0.0, low), self.at(0.0, high));
        let (width, height) = (RIGHT - LEFT, (bottom - top).max(1.0));
        let _ = writeln!(
            self.marks,
            r#"<rect class="band c{}" x="{LEFT}" y="{top:.1}" width="{width}" height="{height:.1}"/>"#,
            colour % COLOURS
        );
    }

    /// Dots.
    pub fn dots(&mut self, colour: usize, points: &[(f64, f64)]) {
        let points = thin(points);
        let radius = if points.len() > 300 { 2.0 } else { 3.0 };
        let _ = write!(self.marks, r#"<g class="dots c{}">"#, colour % COLOURS);
        for point in points {
            let (x, y) = self.at(point.0, point.1);
            let _ = write!(self.marks, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
        }
        self.marks.push_str("</g>\n");
    }

    /// A value with its quartiles: a dot and a whisker.
    pub fn whisker(&mut self, colour: usize, x: f64, [low, middle, high]: [f64; 3]) {
        if ![low, middle, high].iter().all(|value| value.is_finite()) {
            return;
        }
        let ((x, from), (_, to)) = (self.at(x, low), self.at(x, high));
        let (_, y) = self.at(0.0, middle);
        let colour = colour % COLOURS;
        let _ = writeln!(
            self.marks,
            r#"<path class="whisker c{colour}" d="M{x:.1} {from:.1}V{to:.1}"/><circle class="dot c{colour}" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#
        );
    }

    /// The SVG, with its legend above it.
    pub fn finish(self) -> String {
        let mut out = String::new();
        if !self.legend.is_empty() {
            out.push_str(r#"<p class="legend">"#);
            for (colour, text) in &self.legend {
                let _ = write!(out, r#"<span><i class="k{colour}"></i>{}</span>"#, escape(text));
            }
            out.push_str("</p>\n");
        }
        let (height, bottom) = (self.height, self.height - FOOT);
        let _ =
            writeln!(out, r#"<svg viewBox="0 0 {WIDTH} {height}" role="img"><title>{}</title>"#, escape(&self.about));
        for (value, label) in self.y.ticks((self.height / 55.0).max(3.0)) {
            let (_, y) = self.at(0.0, value);
            let _ = writeln!(
                out,
                r#"<path class="grid" d="M{LEFT} {y:.1}H{RIGHT}"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                y + 4.0,
                escape(&label)
            );
        }
        // Without a number at all the axis is only a line.
        for (value, label) in self.x.ticks(10.0) {
            let x = LEFT + self.x.part(value) * (RIGHT - LEFT);
            // A long label at the right edge would be cut.
            let (label_x, anchor) = if x > RIGHT - 12.0 { (WIDTH - 1.0, "end") } else { (x, "middle") };
            let _ = writeln!(
                out,
                r#"<path class="grid" d="M{x:.1} {TOP}V{bottom}"/><text x="{label_x:.1}" y="{}" text-anchor="{anchor}">{}</text>"#,
                bottom + 18.0,
                escape(&label)
            );
        }
        out.push_str(&self.marks);
        let middle = (TOP + bottom) / 2.0;
        let _ = writeln!(
            out,
            r#"<path class="axis" d="M{LEFT} {TOP}V{bottom}H{RIGHT}"/><text class="name" x="{}" y="{}" text-anchor="middle">{}</text><text class="name" x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{}</text></svg>"#,
            (LEFT + RIGHT) / 2.0,
            height - 10.0,
            escape(&self.x.title()),
            escape(&self.y.title())
        );
        out
    }
}

/// One bar from parts that add up: each a length, a name and a colour.
pub fn stack(about: &str, unit: Unit, parts: &[(f64, &str, usize)]) -> String {
    let whole: f64 = parts.iter().map(|part| part.0.max(0.0)).sum();
    if !whole.is_finite() || whole <= 0.0 {
        return String::new();
    }
    let mut out = String::new();
    out.push_str(r#"<p class="legend">"#);
    for (length, name, colour) in parts {
        let (text, share) = (unit.text(*length), digits((1000.0 * length / whole).round() / 10.0));
        let _ = write!(out, r#"<span><i class="k{colour}"></i>{}: {} ({share} %)</span>"#, escape(name), escape(&text));
    }
    let _ = writeln!(out, "</p>\n<svg viewBox=\"0 0 {WIDTH} 34\" role=\"img\"><title>{}</title>", escape(about));
    let mut x = 0.0;
    for (length, _, colour) in parts {
        let width = length.max(0.0) / whole * WIDTH;
        let _ = write!(out, r#"<rect class="bar c{colour}" x="{x:.1}" y="3" width="{width:.1}" height="28"/>"#);
        x += width;
    }
    out.push_str("</svg>\n");
    out
}

/// Finite points, at most [`POINTS_MAX`] and no dip and no peak lost.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let points: Vec<_> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if points.len() <= POINTS_MAX {
        return points;
    }
    let mut kept = Vec::with_capacity(POINTS_MAX);
    for part in points.chunks(points.len().div_ceil(POINTS_MAX / 2)) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        if let Some((low, high)) = part.iter().min_by(by_value).zip(part.iter().max_by(by_value)) {
            kept.extend(if low.0 <= high.0 { [*low, *high] } else { [*high, *low] });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks_with_units() {
        let axis = Axis::over("time", Unit::Ns, Scale::Linear, true, [0.0, 47_000.0].into_iter());
        let labels: Vec<_> = axis.ticks(6.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!((axis.title().as_str(), labels.join(" ").as_str()), ("time, µs", "0 10 20 30 40 50"));
        let axis = Axis::over("time", Unit::Ns, Scale::Log, false, [90.0, 2e6, 0.0].into_iter());
        let labels: Vec<_> = axis.ticks(6.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels.join(", "), "100 ns, 1 µs, 10 µs, 100 µs, 1 ms");
        assert_eq!(nines(3.5).last().map(|tick| tick.1.clone()), Some("99.9 %".to_owned()));
        let one = Axis::over("", Unit::Ratio, Scale::Linear, false, [1.5].into_iter());
        assert!(one.low < 1.5 && one.high > 1.5 && !one.ticks(5.0).is_empty());
        let none = Axis::over("", Unit::Ratio, Scale::Linear, false, [f64::NAN].into_iter());
        assert!(none.low < none.high);
    }

    #[test]
    fn thinning_keeps_peaks_and_drops_what_is_no_number() {
        let mut points: Vec<_> = (0..100_000).map(|n| (f64::from(n), 1.0)).collect();
        points[77_777].1 = 9.0;
        points[5].1 = f64::NAN;
        let thin = thin(&points);
        assert!(thin.len() <= POINTS_MAX && thin.contains(&(77_777.0, 9.0)));
        assert!(thin.iter().all(|(_, y)| y.is_finite()));
    }
}
