//! Plots of a folder's trials and histograms.

use super::folder::{Folder, Table};
use super::svg::{Axis, Plot, Scale, stack};
use super::tools::{Chart, at};
use super::unit::Unit;
use drover_control::report::stats::quantile;

/// Series that one plot shows.
const SERIES_MAX: usize = 12;
/// Above this quotient of largest and median a scale is by powers of ten.
const WIDE: f64 = 12.0;
/// Heights.
const TRIALS: u32 = 270;
const PERCENTILES: u32 = 380;
const AGAINST: u32 = 330;

/// A chart's body; empty where the folder lacks what it shows.
pub fn draw(chart: &Chart, folder: &Folder) -> String {
    match chart {
        Chart::Trials { y, unit, name, by, x, .. } => trials(&folder.trials, y, *unit, name, *by, *x),
        Chart::Against { x, x_name, x_unit, series, unit, name, .. } => {
            against(&folder.trials, (x, x_name, *x_unit), series, *unit, name)
        }
        Chart::Percentiles { prefix, unit, name, .. } => percentiles(folder, prefix, *unit, name),
        Chart::Parts { unit, parts, whole, .. } => {
            let mut lengths: Vec<_> = parts
                .iter()
                .filter_map(|(key, name, colour)| Some((at(&folder.summary, key)?.as_f64()?, *name, *colour)))
                .collect();
            // What the parts leave of the whole is a part of its own.
            if let Some((key, name)) = whole
                && let Some(whole) = at(&folder.summary, key).and_then(|value| value.as_f64())
            {
                let rest = whole - lengths.iter().map(|part| part.0).sum::<f64>();
                lengths.push((rest.max(0.0), name, 1));
            }
            if lengths.len() < 2 { String::new() } else { stack("how a whole is made up", *unit, &lengths) }
        }
        Chart::Search => search(folder),
    }
}

/// A column of a tool that has no plan.
pub fn plain(table: &Table, column: &str) -> String {
    trials(table, column, Unit::Count(""), &column.replace('_', " "), None, None)
}

/// Quartiles of values.
pub fn quartiles(values: &[f64]) -> Option<[f64; 3]> {
    Some([quantile(values, 0.25)?, quantile(values, 0.5)?, quantile(values, 0.75)?])
}

/// Values of `y` parted by the texts of `by`, in order of appearance; one series without a name where there is no `by`.
fn series(table: &Table, x: Option<&str>, y: &str, by: Option<&str>) -> Vec<(String, Vec<(f64, f64)>)> {
    let Some(values) = table.column(y) else { return Vec::new() };
    let places = x.and_then(|x| table.column(x));
    let names = by.and_then(|by| table.texts(by));
    let mut found: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let place = places.as_ref().map_or(Some((at + 1) as f64), |places| places[at]);
        let Some((place, value)) = place.zip(*value) else { continue };
        let name = names.as_ref().map_or("", |names| names[at]);
        match found.iter().position(|one| one.0 == name) {
            Some(at) => found[at].1.push((place, value)),
            None if found.len() < SERIES_MAX => found.push((name.to_owned(), vec![(place, value)])),
            None => {}
        }
    }
    found
}

fn is_wide(values: &[f64]) -> bool {
    let (Some(median), Some(most)) = (quantile(values, 0.5), quantile(values, 1.0)) else { return false };
    values.iter().all(|value| *value > 0.0) && most > WIDE * median
}

/// Trials in order, each series with its median and quartiles.
fn trials(table: &Table, y: &str, unit: Unit, name: &str, by: Option<&str>, x: Option<(&str, &str, Unit)>) -> String {
    let found = series(table, x.map(|x| x.0), y, by);
    let all: Vec<f64> = found.iter().flat_map(|one| one.1.iter().map(|point| point.1)).collect();
    if all.is_empty() {
        return String::new();
    }
    let (x_name, x_unit) = x.map_or(("trial", Unit::Count("")), |x| (x.1, x.2));
    let places = found.iter().flat_map(|one| one.1.iter().map(|point| point.0));
    let scale = if is_wide(&all) { Scale::Log } else { Scale::Linear };
    let axis_x = Axis::over(x_name, x_unit, Scale::Linear, false, places);
    let mut plot = Plot::new(
        &format!("{name} of every trial"),
        axis_x,
        Axis::over(name, unit, scale, false, all.iter().copied()),
        TRIALS,
    );
    for (colour, (label, points)) in found.iter().enumerate() {
        let values: Vec<f64> = points.iter().map(|point| point.1).collect();
        let Some([low, median, high]) = quartiles(&values) else { continue };
        plot.band(colour, low, high);
        plot.dots(colour, points);
        plot.level(colour, median, &format!("median {}", unit.text(median)));
        if !label.is_empty() {
            plot.name(colour, label);
        }
    }
    plot.finish()
}

/// A place on the horizontal axis, and the quartiles of the values there.
type Place = (f64, [f64; 3]);

/// Medians and quartiles against another column, which has few values.
fn against(
    table: &Table,
    (x, x_name, x_unit): (&str, &str, Unit),
    columns: &[(&str, &str)],
    unit: Unit,
    name: &str,
) -> String {
    let mut found: Vec<(&str, Vec<Place>)> = Vec::new();
    for (column, label) in columns {
        let points = series(table, Some(x), column, None).pop().map(|one| one.1).unwrap_or_default();
        let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
        for (place, value) in points {
            match groups.iter().position(|group| group.0 == place) {
                Some(at) => groups[at].1.push(value),
                None if groups.len() < super::svg::POINTS_MAX => groups.push((place, vec![value])),
                None => {}
            }
        }
        groups.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rows: Vec<_> = groups.iter().filter_map(|(at, values)| Some((*at, quartiles(values)?))).collect();
        if !rows.is_empty() {
            found.push((*label, rows));
        }
    }
    let rows = || found.iter().flat_map(|one| &one.1);
    let places: Vec<f64> = rows().map(|row| row.0).collect();
    if places.is_empty() {
        return String::new();
    }
    let scale = if places.iter().all(|place| *place > 0.0) { Scale::Log } else { Scale::Linear };
    let axis_x = Axis::over(x_name, x_unit, scale, false, places.into_iter());
    let axis_y = Axis::over(name, unit, Scale::Linear, true, rows().flat_map(|row| row.1));
    let mut plot = Plot::new(&format!("{name} against {x_name}"), axis_x, axis_y, AGAINST);
    for (colour, (label, rows)) in found.iter().enumerate() {
        let line: Vec<_> = rows.iter().map(|row| (row.0, row.1[1])).collect();
        plot.line(colour, &line);
        for (at, quartiles) in rows {
            plot.whisker(colour, *at, *quartiles);
        }
        plot.name(colour, label);
    }
    plot.finish()
}

/// Distributions whose names begin with `prefix`.
fn percentiles(folder: &Folder, prefix: &str, unit: Unit, name: &str) -> String {
    let shown: Vec<_> = folder.histograms.iter().filter(|one| one.0.starts_with(prefix)).take(SERIES_MAX).collect();
    let points: Vec<_> = shown.iter().map(|one| one.1.nines()).collect();
    if points.is_empty() {
        return String::new();
    }
    let values: Vec<f64> = points.iter().flatten().map(|point| point.1.max(1.0)).collect();
    let wide = shown.iter().any(|one| {
        let half = one.1.at(0.5).unwrap_or(1.0).max(1.0);
        one.1.max().is_some_and(|max| max > WIDE * half)
    });
    let scale = if wide { Scale::Log } else { Scale::Linear };
    let axis_x = Axis::over("percentile", Unit::Ratio, Scale::Nines, true, points.iter().flatten().map(|p| p.0));
    let axis_y = Axis::over(name, unit, scale, true, values.into_iter());
    let mut plot = Plot::new(&format!("{name} by percentile"), axis_x, axis_y, PERCENTILES);
    for (colour, (one, points)) in shown.iter().zip(&points).enumerate() {
        let points: Vec<_> = points.iter().map(|point| (point.0, point.1.max(1.0))).collect();
        plot.line(colour, &points);
        let label = one.0.strip_prefix(prefix).unwrap_or(&one.0).trim_start_matches('-');
        let label = if label.is_empty() { &one.0 } else { label }.replace('-', " ");
        let at = |percentile| one.1.at(percentile).map_or("-".to_owned(), |value| unit.text(value));
        plot.name(colour, &format!("{label}: 50 % within {}, 99 % {}, 99.9 % {}", at(0.5), at(0.99), at(0.999)));
    }
    plot.finish()
}

/// What a search's trials may come to, and the colour of each.
const VERDICTS: [(&str, usize); 4] = [("no loss", 2), ("partial loss", 4), ("high loss", 1), ("invalid", 5)];

/// The loads that a search tried, in order, by what became of them, and the rates that it found; then the loss of each
/// against its load.
fn search(folder: &Folder) -> String {
    let unit = Unit::PerSecond("cells");
    let colour = |verdict: &str| VERDICTS.iter().find(|known| known.0 == verdict).map_or(5, |known| known.1);
    let loads = series(&folder.trials, None, "load", Some("verdict"));
    let all: Vec<(f64, f64)> = loads.iter().flat_map(|one| one.1.iter().copied()).collect();
    if all.is_empty() {
        return String::new();
    }
    let axis_x = Axis::over("trial", Unit::Count(""), Scale::Linear, false, all.iter().map(|point| point.0));
    let axis_y = Axis::over("offered load", unit, Scale::Linear, false, all.iter().map(|point| point.1));
    let mut plot = Plot::new("offered load of every trial", axis_x, axis_y, AGAINST);
    for (verdict, points) in &loads {
        plot.dots(colour(verdict), points);
        plot.name(colour(verdict), verdict);
    }
    for (key, name, colour) in [("pdr.conditional_throughput", "PDR", 3), ("ndr.conditional_throughput", "NDR", 0)] {
        if let Some(rate) = at(&folder.summary, key).and_then(|value| value.as_f64()) {
            plot.level(colour, rate, &format!("{name} {}", unit.text(rate)));
        }
    }
    let losses = series(&folder.trials, Some("load"), "loss_ratio", Some("verdict"));
    let all = || losses.iter().flat_map(|one| one.1.iter().copied());
    let axis_x = Axis::over("offered load", unit, Scale::Linear, false, all().map(|point| point.0));
    let axis_y = Axis::over("cells lost", Unit::Share, Scale::Linear, true, all().map(|point| point.1));
    let mut loss = Plot::new("loss against offered load", axis_x, axis_y, TRIALS);
    for (verdict, points) in &losses {
        loss.dots(colour(verdict), points);
    }
    plot.finish() + &loss.finish()
}
