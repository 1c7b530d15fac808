//! Reads `.hgrm`, the percentile tables of HdrHistogram: value, percentile, count so far, 1 / (1 − percentile).

/// Lines that are read.
const LINES_MAX: usize = 100_000;

/// A distribution, from its percentile table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// (percentile of 0 to 1, value), rising.
    pub points: Vec<(f64, f64)>,
    /// Values counted.
    pub count: f64,
}

impl Percentiles {
    /// Parses a table. Lines of text and comments are passed over.
    ///
    /// # Errors
    /// It has no line of numbers.
    pub fn parse(bytes: &[u8]) -> Result<Percentiles, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut found = Percentiles::default();
        for line in text.lines().take(LINES_MAX) {
            let mut words = line.split_whitespace();
            let mut number = || words.next()?.parse::<f64>().ok().filter(|number| number.is_finite());
            let (Some(value), Some(percentile), Some(count)) = (number(), number(), number()) else { continue };
            let rises = found.points.last().is_none_or(|last| last.0 <= percentile && last.1 <= value);
            if (0.0..=1.0).contains(&percentile) && rises && count >= found.count {
                found.points.push((percentile, value));
                found.count = count;
            }
        }
        if found.points.is_empty() { Err("it has no line of numbers".to_owned()) } else { Ok(found) }
    }

    /// The least value in the table that at least this part of all does not exceed; `None` beyond the table.
    pub fn at(&self, percentile: f64) -> Option<f64> {
        self.points.iter().find(|point| point.0 >= percentile - 1e-9).map(|point| point.1)
    }

    /// The largest value.
    pub fn max(&self) -> Option<f64> {
        self.points.last().map(|point| point.1)
    }

    /// Points of a plot over nines: log10(1 / (1 − percentile)) and value. The last one stands where the count ends.
    pub fn nines(&self) -> Vec<(f64, f64)> {
        let end = self.count.max(1.0).log10();
        let nines = |percentile: f64| if percentile < 1.0 { -(1.0 - percentile).log10() } else { end };
        self.points.iter().map(|(percentile, value)| (nines(*percentile).min(end).max(0.0), *value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "       Value     Percentile TotalCount 1/(1-Percentile)

        1000.0 0.000000000000          1           1.00
        2000.0 0.500000000000         50           2.00
        9000.0 0.990000000000         99         100.00
       11000.0 1.000000000000        100            inf
#[Mean    =       2100.0, StdDeviation   =        500.0]
#[Max     =      11000.0, Total count    =          100]
";

    #[test]
    fn a_table_is_read() {
        let found = Percentiles::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((found.points.len(), found.count), (4, 100.0));
        assert_eq!((found.at(0.5), found.at(0.9), found.max()), (Some(2000.0), Some(9000.0), Some(11000.0)));
        let nines = found.nines();
        assert_eq!((nines[0].0, nines[3]), (0.0, (2.0, 11000.0)));
        assert!((nines[1].0 - 0.301).abs() < 0.001 && (nines[2].0 - 2.0).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_rise_or_is_no_number_is_left_out() {
        let found =
            Percentiles::parse(b"1 0.1 1 1\n0.5 0.2 2 1\n2 0.05 3 1\nNaN 0.3 4 1\n3 7 5 1\n2 0.5 6 2\n").unwrap();
        assert_eq!(found.points, [(0.1, 1.0), (0.5, 2.0)]);
        assert!(Percentiles::parse(b"Value Percentile\n#[\n").is_err());
        assert!(Percentiles::parse(&[0xff; 64]).is_err());
    }
}
