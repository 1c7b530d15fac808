//! The page of a run.

use super::folder::Folder;
use super::html::{escape, pairs, section};
use super::plot;
use super::tools::{self, Figure, Goal, Plan};
use super::unit::digits;
use serde_json::Value;
use std::fmt::Write;

/// Rows of a table of figures.
const ROWS_MAX: usize = 400;
/// Tables that a summary's arrays of objects become.
const TABLES_MAX: usize = 12;
/// Depth to which a value's names are followed.
const DEPTH_MAX: usize = 6;
/// Plots of columns that a tool without a plan has.
const COLUMNS_MAX: usize = 6;

const STYLE: &str = include_str!("style.css");

/// A folder's page: whole HTML.
pub fn page(folder: &Folder) -> String {
    let tool = text_at(&folder.summary, "tool").unwrap_or("unknown tool");
    let plan = tools::plan(tool);
    let mut out = String::new();
    let title = escape(&format!("{tool}: {}", plan.title));
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>drover-perf {title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{}</h1>\n<p class=\"about\">{}</p>\n{}</header>\n",
        escape(plan.title),
        escape(plan.about),
        whereabouts(folder, tool)
    );
    out.push_str(&cards(&plan, &folder.summary));
    out.push_str(&notes(folder));
    for chart in plan.charts {
        let (heading, lead) = chart.words();
        out.push_str(&section(heading, lead, &plot::draw(chart, folder)));
    }
    if plan.charts.is_empty() {
        out.push_str(&plain_plots(folder));
    }
    let mut tables = Vec::new();
    collect_tables("", &folder.summary, 0, &mut tables);
    for (name, rows) in tables.iter().take(TABLES_MAX) {
        out.push_str(&section(&heading(name), "", &table_of(rows)));
    }
    out.push_str(&section(
        "All figures",
        "As in summary.json; units are in the names.",
        &figures(&plan, &folder.summary),
    ));
    out.push_str(&section("Configuration", "", &pairs(&flat(&folder.config))));
    out.push_str(&section(
        "Host",
        "The machine and the build that these figures belong to.",
        &pairs(&flat(&folder.host)),
    ));
    out.push_str(
        "<footer>Written by drover-perf from config.json, host.json, trials.csv, summary.json and the .hgrm files beside \
         this page. Medians unless a figure says otherwise; half of the trials lie between the quartiles. Figures of two \
         runs compare only on one host and in one state of it: drover-perf compare says when they do not.</footer>\n\
         </main>\n</body>\n</html>\n",
    );
    out
}

fn text_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    tools::at(value, key)?.as_str()
}

/// Which tool, when, on what; and the command line.
fn whereabouts(folder: &Folder, tool: &str) -> String {
    let mut places = vec![format!("drover-perf {tool}")];
    places.extend(text_at(&folder.summary, "started").map(str::to_owned));
    places.extend(text_at(&folder.host, "cpu.model").map(str::to_owned));
    for (key, name) in [("kernel", "Linux"), ("build.commit", "commit"), ("build.profile", "build")] {
        places.extend(text_at(&folder.host, key).map(|text| format!("{name} {text}")));
    }
    let mut out = String::from("<p class=\"where\">");
    for place in places {
        let _ = write!(out, "<span>{}</span>", escape(&place));
    }
    out.push_str("</p>\n");
    if let Some(command) = text_at(&folder.host, "command") {
        let _ = writeln!(out, "<pre class=\"command\">{}</pre>", escape(command));
    }
    out
}

fn cards(plan: &Plan, summary: &Value) -> String {
    let mut out = String::new();
    for figure in plan.figures {
        let Some(value) = tools::at(summary, figure.key).and_then(Value::as_f64) else { continue };
        let (number, unit) = figure.unit.show(value);
        let _ = writeln!(
            out,
            "<div class=\"card\" title=\"{}\"><p class=\"label\">{}</p><p class=\"value\">{}<small>{}</small></p>{}</div>",
            escape(figure.meaning),
            escape(figure.label),
            escape(&number),
            escape(&unit),
            beside(figure, value, summary)
        );
    }
    if out.is_empty() { out } else { format!("<div class=\"cards\">\n{out}</div>\n") }
}

/// A card's small print: spread and goal.
fn beside(figure: &Figure, value: f64, summary: &Value) -> String {
    let mut out = String::new();
    let spread = figure.spread.and_then(|(key, words)| Some((tools::spread(tools::at(summary, key)?)?, words)));
    if let Some(((low, high), words)) = spread {
        let range = format!("{} {} to {}", words, figure.unit.text(low), figure.unit.text(high));
        let _ = write!(out, "<p class=\"sub\">{}</p>", escape(&range));
    }
    if let Some(goal) = figure.goal {
        let (words, bound) = match goal {
            Goal::AtMost(bound) => ("at most", bound),
            Goal::AtLeast(bound) => ("at least", bound),
        };
        let (class, verdict) = if goal.is_met(value) { ("met", "met") } else { ("missed", "not met") };
        let bound = figure.unit.text(bound);
        let _ = write!(out, "<p class=\"sub\">goal {words} {} <b class=\"{class}\">{verdict}</b></p>", escape(&bound));
    }
    out
}

/// What a reader must know before believing a figure.
fn notes(folder: &Folder) -> String {
    let mut notes: Vec<String> = Vec::new();
    if text_at(&folder.host, "build.profile") == Some("debug") {
        notes.push("A debug build: its figures are worth nothing.".to_owned());
    }
    if let Some(noise) = tools::at(&folder.summary, "probe.noise").and_then(Value::as_array) {
        let noise: Vec<_> = noise.iter().filter_map(Value::as_str).collect();
        if !noise.is_empty() {
            notes.push(format!("The machine was not quiet: {}.", noise.join("; ")));
        }
    }
    if let Some(told) = folder.summary.get("notes").and_then(Value::as_array) {
        notes.extend(told.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    notes.extend(folder.notes.iter().cloned());
    let mut out = String::new();
    for note in notes.iter().take(ROWS_MAX) {
        let _ = writeln!(out, "<p>{}</p>", escape(note));
    }
    if out.is_empty() { out } else { format!("<div class=\"notes\">\n{out}</div>\n") }
}

/// Trials of a tool that has no plan: its first columns of numbers.
fn plain_plots(folder: &Folder) -> String {
    let mut out = String::new();
    for head in folder.trials.heads.iter().take(COLUMNS_MAX) {
        let values: Vec<f64> = folder.trials.column(head).unwrap_or_default().into_iter().flatten().collect();
        if let Some([low, median, high]) = plot::quartiles(&values) {
            let text = format!("median {}, quartiles {} and {}", digits(median), digits(low), digits(high));
            out.push_str(&section(&heading(head), &text, &plot::plain(&folder.trials, head)));
        }
    }
    out
}

/// Every scalar of a value by its dotted name.
fn flat(value: &Value) -> Vec<(String, String, String)> {
    fn walk(name: &str, value: &Value, depth: usize, rows: &mut Vec<(String, String, String)>) {
        if rows.len() >= ROWS_MAX {
            return;
        }
        match value {
            Value::Object(fields) if depth < DEPTH_MAX => {
                for (field, value) in fields {
                    let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                    walk(&name, value, depth + 1, rows);
                }
            }
            Value::Null if name.is_empty() => {}
            _ => rows.push((words(name), show(value), String::new())),
        }
    }
    let mut rows = Vec::new();
    walk("", value, 0, &mut rows);
    rows
}

/// A scalar, or an array of them, as text.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), digits_exact),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.iter().all(|value| !value.is_object() && !value.is_array()) => {
            let shown: Vec<_> = values.iter().take(ROWS_MAX).map(show).collect();
            let more = if values.len() > ROWS_MAX { ", …" } else { "" };
            format!("{}{more}", shown.join(", "))
        }
        other => other.to_string().chars().take(super::html::TEXT_MAX).collect(),
    }
}

/// Whole numbers whole, others with five significant digits.
fn digits_exact(value: f64) -> String {
    let decimals = match value.abs() {
        v if v.fract() == 0.0 || v >= 1e4 => 0,
        v => (4 - v.max(1e-9).log10().floor() as i32).clamp(0, 9) as usize,
    };
    let text = drover_control::report::text::number(value, decimals);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A name of JSON for people.
fn words(name: &str) -> String {
    name.replace('_', " ").replace('.', ", ")
}

fn heading(name: &str) -> String {
    let words = words(name);
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// All scalars of the summary, with the meaning of those that the plan knows.
fn figures(plan: &Plan, summary: &Value) -> String {
    let mut rows = flat(&without_tables(summary));
    for figure in plan.figures {
        let name = words(figure.key);
        if let Some(row) = rows.iter_mut().find(|row| row.0 == name) {
            row.2 = figure.meaning.to_owned();
        }
    }
    pairs(&rows)
}

fn is_table(value: &Value) -> bool {
    value.as_array().is_some_and(|rows| !rows.is_empty() && rows.iter().all(Value::is_object))
}

fn without_tables(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            // The configuration, the notes and the build have their own places.
            let kept = fields
                .iter()
                .filter(|(name, value)| !is_table(value) && !["notes", "config", "build"].contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name.clone(), without_tables(value))).collect())
        }
        other => other.clone(),
    }
}

fn collect_tables<'a>(name: &str, value: &'a Value, depth: usize, tables: &mut Vec<(String, &'a [Value])>) {
    match value {
        Value::Array(rows) if is_table(value) => tables.push((name.to_owned(), rows)),
        Value::Object(fields) if depth < DEPTH_MAX => {
            for (field, value) in fields.iter().filter(|field| field.0 != "config") {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                collect_tables(&name, value, depth + 1, tables);
            }
        }
        _ => {}
    }
}

/// Objects as a table: a column a name.
fn table_of(rows: &[Value]) -> String {
    let mut heads: Vec<String> = Vec::new();
    let rows: Vec<_> = rows.iter().take(ROWS_MAX).map(flat).collect();
    for (name, _, _) in rows.iter().flatten() {
        if heads.len() < 24 && !heads.contains(name) {
            heads.push(name.clone());
        }
    }
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for head in &heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &rows {
        out.push_str("<tr>");
        for head in &heads {
            let value = row.iter().find(|cell| cell.0 == *head).map_or("", |cell| &cell.1);
            let _ = write!(out, "<td>{}</td>", escape(value));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}
