//! HdrHistogram's percentile log, as its Java and C libraries print it (`outputPercentileDistribution`) and its plotters
//! read it.

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Lines for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// The log of a histogram; values as recorded.
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for step in histogram.iter_quantiles(TICKS) {
        let (value, quantile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        // Writing to a string does not fail.
        let _ = write!(text, "{value:12.3} {quantile:2.12} {:10}", cumulated(histogram, step.value_iterated_to()));
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let (mean, deviation) = (histogram.mean(), histogram.stdev());
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let (max, count) = (histogram.max() as f64, histogram.len());
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let buckets = usize::from(histogram.buckets());
    // All buckets but the first have half as many sub-buckets of their own.
    let sub_buckets = 2 * histogram.distinct_values() / (buckets + 1);
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    text
}

/// Values up to this one.
fn cumulated(histogram: &Histogram<u64>, value: u64) -> u64 {
    histogram.count_between(0, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_form_that_plotters_read() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        (1..=1000u64).for_each(|value| histogram.record(value * 10).unwrap());
        let text = text(&histogram);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]);
        let rows: Vec<Vec<f64>> = lines[2..lines.len() - 3]
            .iter()
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        let (last, rows) = rows.split_last().unwrap();
        assert_eq!(last[1..], [1.0, 1000.0], "the last line has no fourth column");
        assert!((last[0] - 10_000.0).abs() < 10.0);
        for row in rows {
            assert_eq!(row.len(), 4, "{row:?}");
            // 1,000 values: the count is the percentile's, to the resolution of the histogram.
            assert!((row[2] / 1000.0 - row[1]).abs() < 0.02, "{row:?}");
            assert!((row[0] - 10.0 * row[2]).abs() <= 10.0, "{row:?}");
        }
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] < pair[1][1]), "ascending");
        assert!(lines.contains(&"#[Max     =    10007.000, Total count    =         1000]"), "{text}");
        assert!(lines.contains(&"#[Buckets =           10, SubBuckets     =         2048]"), "{text}");
    }

    #[test]
    fn an_empty_histogram_has_a_log() {
        let text = text(&Histogram::new(3).unwrap());
        assert!(text.contains("Total count    =            0"), "{text}");
    }
}
