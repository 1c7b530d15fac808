//! A chart of link rates against real cells over time, as SVG: what an observer of each link sees is a flat line, whatever
//! the call inside does.
//!
//! One panel a link under a shared time axis: the frames per second that arrive at the far end as a line, the real cells
//! among them as a filled area. Panels of one class share their scale. 900 px wide, on its own white background, so that it
//! reads alike in light and dark viewers; no script, no font, no outside reference.

use std::fmt::Write;

use super::text::number;

/// Most panels drawn; the chart says how many links it leaves out.
pub const MAX_PANELS: usize = 48;
/// Most points drawn a link; beyond it, each stretch of time shows its lowest and highest.
pub const MAX_POINTS: usize = 1_200;

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 20.0;
/// The plots' left and right ends; names and scale stand to the left, figures to the right.
const LEFT: f64 = 240.0;
const RIGHT: f64 = 780.0;
/// Where names are cut, so that they never meet the scale.
const NAME_WIDTH: f64 = 174.0;
const NAME_CHARS: usize = 22;
const TITLE_CHARS: usize = 90;
/// First panel's top; above it are title, legend and the call's labels.
const TOP: f64 = 112.0;
const PANEL: f64 = 58.0;
const GAP: f64 = 18.0;
/// Below the last panel: the time axis.
const FOOT: f64 = 58.0;

const PAPER: &str = "#ffffff";
const INK: &str = "#1c2733";
const MUTED: &str = "#5c6b7a";
const GRID: &str = "#dfe5eb";
const RATE: &str = "#1d4f91";
const CHAFF: &str = "#dce8f6";
const REAL: &str = "#ec9347";
const REAL_INK: &str = "#a84c08";

/// One link's rates over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The link, as in "client a → mix 1".
    pub name: String,
    /// Its class; all links of a class have one rate.
    pub class: String,
    /// (time in s, frames per s received at the far end, real cells per s among them). Any order; points with a value that
    /// is not finite are left out, negative rates count as 0.
    pub points: Vec<(f64, f64, f64)>,
}

/// The chart. `call` is when the call starts and ends, in s on the points' clock; an end that is not finite is not marked.
pub fn links_chart(title: &str, call: (f64, f64), series: &[Series]) -> String {
    let shown = &series[..series.len().min(MAX_PANELS)];
    let panels: Vec<Panel> = shown.iter().map(|one| Panel::new(one, shown)).collect();
    let bottom = TOP + panels.len().max(1) as f64 * (PANEL + GAP) - GAP;
    let height = bottom + FOOT;
    let time = Axis::over(panels.iter().flat_map(|p| &p.points).map(|p| p.0));

    let mut out = String::new();
    let _ = write_chart(&mut out, title, call, &panels, &time, (bottom, height), series.len());
    out
}

/// Writing to a `String` does not fail.
fn write_chart(
    out: &mut String,
    title: &str,
    call: (f64, f64),
    panels: &[Panel],
    time: &Axis,
    (bottom, height): (f64, f64),
    links: usize,
) -> std::fmt::Result {
    let whole = escape(title, usize::MAX);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12" fill="{INK}">
<title>{whole}</title>
<desc>For each of {links} links: frames per second at its far end, and the real cells among them, over time.</desc>
<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>
<text x="{MARGIN}" y="36" font-size="18" font-weight="600">{}</text>"#,
        escape(title, TITLE_CHARS)
    )?;
    write_legend(out)?;
    if panels.is_empty() {
        let y = TOP + PANEL / 2.0;
        writeln!(out, r#"<text x="{MARGIN}" y="{y}" fill="{MUTED}">No links to show.</text>"#)?;
    } else {
        write_times(out, time, bottom)?;
    }
    for (index, panel) in panels.iter().enumerate() {
        panel.write(out, time, TOP + index as f64 * (PANEL + GAP))?;
    }
    if !panels.is_empty() {
        write_call(out, time, call, bottom)?;
    }
    if links > panels.len() {
        let (more, y) = (links - panels.len(), bottom + FOOT - 14.0);
        writeln!(out, r#"<text x="{MARGIN}" y="{y}" fill="{MUTED}">{more} more links are not drawn.</text>"#)?;
    }
    writeln!(out, "</svg>")
}

fn write_legend(out: &mut String) -> std::fmt::Result {
    const Y: f64 = 64.0;
    let square = Y - 10.0;
    writeln!(
        out,
        r#"<g fill="{MUTED}"><path d="M{MARGIN} {0}h22" stroke="{RATE}" stroke-width="2"/><text x="50" y="{Y}">frames per second at the far end</text>
<rect x="280" y="{square}" width="22" height="12" fill="{REAL}"/><text x="310" y="{Y}">real cells</text>
<rect x="400" y="{square}" width="22" height="12" fill="{CHAFF}"/><text x="430" y="{Y}">all the rest: chaff and control</text></g>"#,
        Y - 4.0
    )
}

/// Grid lines and labels of the shared time axis.
fn write_times(out: &mut String, time: &Axis, bottom: f64) -> std::fmt::Result {
    for tick in time.ticks() {
        let x = time.place(tick, LEFT, RIGHT);
        writeln!(
            out,
            r#"<path d="M{x:.1} {TOP}V{bottom}" stroke="{GRID}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="{MUTED}">{}</text>"#,
            bottom + 18.0,
            number(tick, time.decimals()),
        )?;
    }
    let (x, y) = ((LEFT + RIGHT) / 2.0, bottom + 38.0);
    writeln!(out, r#"<text x="{x}" y="{y}" text-anchor="middle" fill="{MUTED}">time, s</text>"#)
}

/// Dashed lines through all panels where the call starts and ends. The labels point away from each other, so that they do
/// not meet however short the call is.
fn write_call(out: &mut String, time: &Axis, call: (f64, f64), bottom: f64) -> std::fmt::Result {
    for (at, label, shift, anchor) in [(call.0, "call starts", -4, "end"), (call.1, "call ends", 4, "start")] {
        if !(time.low..=time.high).contains(&at) {
            continue;
        }
        let x = time.place(at, LEFT, RIGHT);
        let (text_x, text_y, top) = (x + shift as f64, TOP - 14.0, TOP - 24.0);
        writeln!(
            out,
            r#"<path d="M{x:.1} {top}V{bottom}" stroke="{MUTED}" stroke-dasharray="4 3"/><text x="{text_x:.1}" y="{text_y}" text-anchor="{anchor}" fill="{MUTED}">{label}</text>"#
        )?;
    }
    Ok(())
}

/// One link, ready to draw.
struct Panel<'a> {
    series: &'a Series,
    points: Vec<(f64, f64, f64)>,
    /// The highest rate in the link's class.
    full: f64,
}

impl<'a> Panel<'a> {
    fn new(series: &'a Series, all: &[Series]) -> Self {
        let class = all.iter().filter(|other| other.class == series.class);
        let full = class.flat_map(|s| usable(&s.points)).map(|(_, f, r)| f.max(r)).fold(0.0, f64::max);
        let mut points: Vec<_> = usable(&series.points).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Panel { series, points: thin(&points), full: if full > 0.0 { full } else { 1.0 } }
    }

    fn write(&self, out: &mut String, time: &Axis, top: f64) -> std::fmt::Result {
        let bottom = top + PANEL;
        // A quarter of headroom keeps a flat line off the panel's edge.
        let y = |rate: f64| bottom - rate / (self.full * 1.25) * PANEL;
        let x = |at: f64| time.place(at, LEFT, RIGHT);
        let full_y = y(self.full);

        let (name, class) = (escape(&self.series.name, NAME_CHARS), escape(&self.series.class, NAME_CHARS));
        writeln!(
            out,
            r#"<g><title>{}</title><svg x="{MARGIN}" y="{top}" width="{NAME_WIDTH}" height="{PANEL}" overflow="hidden"><text x="0" y="26" font-weight="600">{name}</text><text x="0" y="43" font-size="11" fill="{MUTED}">{class}</text></svg>"#,
            escape(&self.series.name, usize::MAX)
        )?;
        for (rate, at) in [(0.0, bottom), (self.full, full_y)] {
            writeln!(
                out,
                r#"<path d="M{LEFT} {at:.1}H{RIGHT}" stroke="{GRID}"/><text x="{:.1}" y="{:.1}" text-anchor="end" font-size="11" fill="{MUTED}">{}</text>"#,
                LEFT - 6.0,
                at + 4.0,
                short(rate)
            )?;
        }
        if let (Some(first), Some(last)) = (self.points.first(), self.points.last()) {
            let trace = |rate: fn(&(f64, f64, f64)) -> f64| {
                let mut path = String::new();
                for point in &self.points {
                    let _ = write!(
                        path,
                        "{}{:.1} {:.1}",
                        if path.is_empty() { "M" } else { "L" },
                        x(point.0),
                        y(rate(point))
                    );
                }
                path
            };
            let (frames, real) = (trace(|p| p.1), trace(|p| p.2));
            let close = format!("L{:.1} {bottom}L{:.1} {bottom}Z", x(last.0), x(first.0));
            writeln!(
                out,
                r#"<path d="{frames}{close}" fill="{CHAFF}"/><path d="{real}{close}" fill="{REAL}"/><path d="{frames}" fill="none" stroke="{RATE}" stroke-width="2" stroke-linejoin="round"/>"#
            )?;
        }
        self.write_figures(out, top)?;
        writeln!(out, "</g>")
    }

    /// The range of both rates, in words at the right end.
    fn write_figures(&self, out: &mut String, top: f64) -> std::fmt::Result {
        let x = RIGHT + 10.0;
        for (rate, word, ink, y) in [
            (range(self.points.iter().map(|p| p.1)), "/s", RATE, top + 26.0),
            (range(self.points.iter().map(|p| p.2)), "real", REAL_INK, top + 43.0),
        ] {
            let text = match rate {
                Some((low, high)) if short(low) == short(high) => format!("{} {word}", short(low)),
                Some((low, high)) => format!("{}–{} {word}", short(low), short(high)),
                None => continue,
            };
            writeln!(out, r#"<text x="{x}" y="{y}" font-size="11" fill="{ink}">{text}</text>"#)?;
        }
        Ok(())
    }
}

/// Finite points with rates not below 0.
fn usable(points: &[(f64, f64, f64)]) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
    /// Beyond it a rate or a time is no measurement, and sums of it would not be finite.
    const LARGEST: f64 = 1e15;
    let good = |x: f64| x.abs() <= LARGEST; // false for NaN
    points.iter().filter(move |p| good(p.0) && good(p.1) && good(p.2)).map(|p| (p.0, p.1.max(0.0), p.2.max(0.0)))
}

/// At most [`MAX_POINTS`], no dip and no peak of the frames lost.
fn thin(points: &[(f64, f64, f64)]) -> Vec<(f64, f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MAX_POINTS / 2);
    let mut kept = Vec::with_capacity(MAX_POINTS);
    for part in points.chunks(stretch) {
        let by_frames = |a: &&(f64, f64, f64), b: &&(f64, f64, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (part.iter().min_by(by_frames), part.iter().max_by(by_frames)) else {
            continue;
        };
        kept.extend(if low.0 <= high.0 { [*low, *high] } else { [*high, *low] });
    }
    kept
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, x| {
        let (low, high) = range.unwrap_or((x, x));
        Some((x.min(low), x.max(high)))
    })
}

/// A rate in few characters: what fits beside a panel.
fn short(rate: f64) -> String {
    match rate {
        r if r >= 999_500.0 => format!("{:.2e}", r),
        r if r >= 100.0 || r.fract() == 0.0 => number(r, 0),
        r => number(r, 1),
    }
}

/// The time axis.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    fn over(times: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(times).unwrap_or((0.0, 1.0));
        // One instant only, or so many digits that the span is lost in them: show a second.
        let high = if high - low > low.abs() * 1e-9 { high } else { low + (low.abs() * 1e-6).max(1.0) };
        // The shortest of 1, 2, 5 times a power of ten that gives at most eight steps.
        let rough = (high - low) / 8.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        Axis { low, high, step }
    }

    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        from + (value - self.low) / (self.high - self.low) * (to - from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        let first = (self.low / self.step - 1e-9).ceil();
        (0..10).map(move |n| (first + n as f64) * self.step).take_while(|t| *t <= self.high + self.step * 1e-9)
    }

    /// Decimals that the steps need.
    fn decimals(&self) -> usize {
        (-self.step.log10().floor()).clamp(0.0, 6.0) as usize
    }
}

/// Text for XML content and attributes, at most `most` characters; what XML 1.0 does not allow becomes U+FFFD.
fn escape(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let cut = text.chars().nth(most).is_some();
    for c in text.chars().take(if cut { most - 1 } else { most }) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            // Marks that turn the writing direction would reorder what stands beside them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    if cut {
        out.push('…');
    }
    out
}

#[cfg(test)]
#[path = "svg_tests.rs"]
mod tests;
