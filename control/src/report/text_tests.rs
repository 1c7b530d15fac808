//! Tests of [`super`].

use super::*;
use proptest::prelude::*;

#[test]
fn a_table_is_aligned_and_has_no_trailing_spaces() {
    let mut table = Table::new(&[("link", Align::Left), ("cells", Align::Right), ("note", Align::Left)]);
    assert!(table.is_empty());
    table.row(["a → b", "1,200", ""]).row(["longer name", "7"]).row(["x", "1", "ok", "extra"]);
    let want = "\
link         cells  note
-----------  -----  ----
a → b        1,200
longer name      7
x                1  ok
";
    assert_eq!(table.to_string(), want);
    assert!(!table.is_empty());
}

#[test]
fn numbers_have_commas_and_no_negative_zero() {
    let cases = [
        (0.0, 0, "0"),
        (999.0, 0, "999"),
        (1_000.0, 0, "1,000"),
        (1_234_567.89, 1, "1,234,567.9"),
        (-1_234.5, 2, "-1,234.50"),
        (-0.04, 1, "0.0"),
        (999.96, 1, "1,000.0"),
        (f64::NAN, 1, "-"),
        (f64::NEG_INFINITY, 1, "-"),
    ];
    for (value, decimals, want) in cases {
        assert_eq!(number(value, decimals), want);
    }
    assert_eq!(
        (count(0).as_str(), count(123_456).as_str(), count(u64::MAX).as_str()),
        ("0", "123,456", "18,446,744,073,709,551,615")
    );
}

#[test]
fn sizes_and_times_take_the_unit_that_suits() {
    let cases = [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (1_536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (2 << 30, "2.0 GiB"),
        (u64::MAX, "16.0 EiB"),
    ];
    for (value, want) in cases {
        assert_eq!(bytes(value), want);
    }
    let cases = [
        (0, "0 ns"),
        (850, "850 ns"),
        (12_340, "12.3 µs"),
        (999_949, "999.9 µs"),
        (999_950, "1.00 ms"),
        (4_560_000, "4.56 ms"),
        (7_940_000_000, "7.9 s"),
        (59_960_000_000, "1 min 00 s"),
        (185_000_000_000, "3 min 05 s"),
        (3_599_600_000_000, "1 h 00 min"),
        (7_380_000_000_000, "2 h 03 min"),
    ];
    for (ns, want) in cases {
        assert_eq!(duration(Duration::from_nanos(ns)), want);
    }
}

fn shown(mode: Mode, steps: impl FnOnce(Progress<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    steps(Progress::new(mode, &mut out));
    String::from_utf8(out).expect("UTF-8")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_terminal_line_is_redrawn_in_place_not_too_often() {
    let text = shown(Mode::Terminal, |mut progress| {
        progress.update_at(ms(0), "one");
        progress.update_at(ms(50), "two");
        progress.update_at(ms(100), &"3".repeat(200));
        progress.update_at(ms(150), "four");
        progress.finish();
    });
    assert_eq!(text, format!("\r\x1b[2Kone\r\x1b[2K{}\r\x1b[2Kfour\n", "3".repeat(79)));
}

#[test]
fn plain_lines_come_every_five_seconds_and_at_the_end() {
    let text = shown(Mode::Plain, |mut progress| {
        for (at, line) in [(0, "a"), (1_000, "b"), (4_999, "c"), (5_000, "d"), (9_000, "e")] {
            progress.update_at(ms(at), line);
        }
        progress.finish();
    });
    assert_eq!(text, "a\nd\ne\n");
    let text = shown(Mode::Plain, |mut progress| {
        progress.update_at(ms(0), "a");
        progress.finish();
    });
    assert_eq!(text, "a\n");
}

#[test]
fn silence_is_silent_and_notes_stay() {
    let steps = |mut progress: Progress<&mut Vec<u8>>| {
        progress.update_at(ms(0), "one");
        progress.note("careful");
        progress.update_at(ms(1), "two");
        progress.finish();
    };
    assert_eq!(shown(Mode::Silent, steps), "");
    assert_eq!(shown(Mode::Plain, steps), "one\ncareful\ntwo\n");
    assert_eq!(shown(Mode::Terminal, steps), "\r\x1b[2Kone\r\x1b[2Kcareful\n\r\x1b[2Ktwo\n");
    assert_eq!(shown(Mode::Terminal, |progress| progress.finish()), "");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = shown(Mode::Terminal, |mut progress| {
        progress.update_at(ms(0), "a\x1b[31mb\nc\u{202e}");
        progress.finish();
    });
    assert_eq!(text, "\r\x1b[2Ka\u{fffd}[31mb\u{fffd}c\u{fffd}\n");
}

proptest! {
    #[test]
    fn any_cells_make_lines_of_their_own(rows in prop::collection::vec(prop::collection::vec(any::<String>(), 0..5), 0..6)) {
        let mut table = Table::new(&[("a", Align::Left), ("b", Align::Right), ("c", Align::Left)]);
        for row in &rows {
            table.row(row);
        }
        let text = table.to_string();
        prop_assert_eq!(text.matches('\n').count(), rows.len() + 2);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn numbers_read_back(value in -1e12f64..1e12, decimals in 0usize..6) {
        let back: f64 = number(value, decimals).replace(',', "").parse().expect("a number");
        // What is shown is rounded; what is read back is rounded again, to a double.
        let rounding = 0.5 * 10f64.powi(-(decimals as i32)) + 4.0 * f64::EPSILON * value.abs();
        prop_assert!((back - value).abs() <= rounding);
    }
}
