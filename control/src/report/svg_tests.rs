//! Tests of [`super`]: the chart is well-formed XML whatever it is given, and shows what it was given.

use super::*;
use proptest::prelude::*;

/// A link of a constant rate whose real cells rise during the call from 5 to 15 s.
fn link(name: &str, class: &str, rate: f64) -> Series {
    let points = (0..=40).map(|n| n as f64 / 2.0);
    let points = points.map(|t| (t, rate, if (5.0..15.0).contains(&t) { rate / 2.0 } else { 0.0 })).collect();
    Series { name: name.into(), class: class.into(), points }
}

/// Checks the XML that the chart uses: tags balance and nest, attributes are quoted and unique, entities are known, characters
/// are allowed, one root. Returns the texts, entities resolved.
fn check_xml(xml: &str) -> Result<Vec<String>, String> {
    let mut open: Vec<&str> = Vec::new();
    let mut texts = Vec::new();
    let mut rest = xml;
    let mut roots = 0;
    while !rest.is_empty() {
        let Some(content) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            let text = resolve(&rest[..end])?;
            if !text.trim().is_empty() {
                if open.is_empty() {
                    return Err(format!("text outside the root: {text}"));
                }
                texts.push(text);
            }
            rest = &rest[end..];
            continue;
        };
        let end = content.find('>').ok_or("a tag does not end")?;
        let tag = &content[..end];
        rest = &content[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let (tag, alone) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase()) {
            return Err(format!("tag <{tag}>"));
        }
        let mut seen = Vec::new();
        while !attributes.trim().is_empty() {
            let (key, value) = attributes.trim_start().split_once("=\"").ok_or(format!("attribute in <{tag}>"))?;
            let (value, after) = value.split_once('"').ok_or(format!("quotes in <{tag}>"))?;
            if seen.contains(&key) || value.contains('<') || value.contains("NaN") || value.contains("inf") {
                return Err(format!("{key}=\"{value}\""));
            }
            resolve(value)?;
            seen.push(key);
            attributes = after;
        }
        if open.is_empty() {
            roots += 1;
        }
        if !alone {
            open.push(name);
        }
    }
    if open.is_empty() && roots == 1 { Ok(texts) } else { Err(format!("left open: {open:?}, {roots} roots")) }
}

fn resolve(text: &str) -> Result<String, String> {
    if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        return Err(format!("character {c:?}"));
    }
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let (entity, after) = part.split_once(';').ok_or(format!("bare & before {part}"))?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => return Err(format!("entity {other}")),
        });
        out.push_str(after);
    }
    Ok(out)
}

#[test]
fn the_checker_itself_refuses_what_is_wrong() {
    for bad in [
        "<a>",
        "<a></b>",
        "<a x=1/>",
        "<a x=\"1\" x=\"2\"/>",
        "<a>&</a>",
        "<a>\u{1}</a>",
        "<a/><b/>",
        "t<a/>",
        "<a x=\"NaN\"/>",
    ] {
        assert!(check_xml(bad).is_err(), "{bad}");
    }
    assert_eq!(check_xml("<a x=\"1\">b &amp; c<d/></a>\n"), Ok(vec!["b & c".into()]));
}

#[test]
fn names_rates_and_the_call_are_shown() {
    let chart =
        links_chart("A call", (5.0, 15.0), &[link("a → mix 1", "client", 100.0), link("mix 1 → mix 2", "mix", 400.0)]);
    let texts = check_xml(&chart).expect("well-formed");
    for want in [
        "A call",
        "a → mix 1",
        "client",
        "100 /s",
        "0–50 real",
        "mix 1 → mix 2",
        "400 /s",
        "call starts",
        "call ends",
        "time, s",
        "20",
    ] {
        assert!(texts.iter().any(|t| t == want), "{want} is not in {texts:?}");
    }
    assert!(chart.contains("<rect width=\"900\""), "a background of its own");
    assert!(!chart.contains("href") && !chart.contains("script"));
}

#[test]
fn markup_in_names_is_text() {
    let name = "</text><script>alert('1')</script> & \"q\" \u{0}\u{202e}";
    let texts = check_xml(&links_chart(name, (0.0, 1.0), &[link(name, name, 10.0)])).expect("well-formed");
    let whole = "</text><script>alert('1')</script> & \"q\" \u{fffd}\u{fffd}";
    assert!(texts.iter().any(|t| t == whole), "{texts:?}");
    assert!(texts.iter().any(|t| t.starts_with("</text><script>") && t.ends_with('…')), "long names are cut");
}

#[test]
fn a_flat_line_is_flat_and_a_dip_is_seen_even_among_many_points() {
    let mut long = link("long", "c", 100.0);
    long.points = (0..100_000).map(|n| (n as f64 / 100.0, if n == 54_321 { 40.0 } else { 100.0 }, 0.0)).collect();
    let chart = links_chart("t", (f64::NAN, f64::NAN), &[link("flat", "c", 100.0), long]);
    let texts = check_xml(&chart).expect("well-formed");
    assert!(texts.contains(&"100 /s".to_string()) && texts.contains(&"40–100 /s".to_string()), "{texts:?}");
    assert!(!texts.contains(&"call starts".to_string()));
    assert!(chart.len() < 100_000, "{} bytes", chart.len());
    let lines: Vec<_> = chart.lines().filter(|l| l.contains("stroke-linejoin")).collect();
    let line = |n: usize| lines[n].rsplit_once("<path d=\"M").unwrap().1.split_once('"').unwrap().0;
    let heights = |n: usize| -> std::collections::BTreeSet<&str> {
        line(n).split('L').map(|p| p.split_once(' ').unwrap().1).collect()
    };
    assert_eq!((heights(0).len(), heights(1).len()), (1, 2));
}

#[test]
fn panels_of_a_class_share_their_scale() {
    let chart = links_chart(
        "t",
        (0.0, 1.0),
        &[link("one", "same", 50.0), link("two", "same", 200.0), link("three", "other", 7.0)],
    );
    let texts = check_xml(&chart).expect("well-formed");
    assert_eq!(texts.iter().filter(|t| *t == "200").count(), 2);
    assert_eq!(texts.iter().filter(|t| *t == "7").count(), 1);
}

#[test]
fn too_many_links_and_none_are_said() {
    let many: Vec<_> = (0..MAX_PANELS + 3).map(|n| link(&format!("link {n}"), "c", 10.0)).collect();
    let texts = check_xml(&links_chart("t", (5.0, 15.0), &many)).expect("well-formed");
    assert!(texts.contains(&"3 more links are not drawn.".to_string()));
    assert!(texts.contains(&format!("link {}", MAX_PANELS - 1)) && !texts.contains(&format!("link {MAX_PANELS}")));
    let texts = check_xml(&links_chart("t", (5.0, 15.0), &[])).expect("well-formed");
    assert!(texts.contains(&"No links to show.".to_string()));
}

#[test]
fn time_ticks_are_round_and_few() {
    for (low, high, first, step) in
        [(0.0, 20.0, 0.0, 5.0), (0.3, 61.0, 10.0, 10.0), (0.0, 0.7, 0.0, 0.1), (1e6, 1e6 + 90.0, 1e6, 20.0)]
    {
        let axis = Axis::over([low, high].into_iter());
        let ticks: Vec<f64> = axis.ticks().collect();
        assert!((ticks[0] - first).abs() < 1e-6 && (ticks[1] - ticks[0] - step).abs() < 1e-6, "{ticks:?}");
        assert!((2..=9).contains(&ticks.len()), "{ticks:?}");
    }
}

fn any_rate() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..1_000.0f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_input_is_well_formed(
        title in any::<String>(),
        call in (any_rate(), any_rate()),
        series in prop::collection::vec(
            (any::<String>(), any::<String>(), prop::collection::vec((any_rate(), any_rate(), any_rate()), 0..20)), 0..14),
    ) {
        let series: Vec<_> = series.into_iter().map(|(name, class, points)| Series { name, class, points }).collect();
        let checked = check_xml(&links_chart(&title, call, &series));
        prop_assert!(checked.is_ok(), "{:?}", checked);
    }
}
