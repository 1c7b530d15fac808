//! Medians and their spread.

use serde::Serialize;

/// Median and quartiles of one figure's values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// A quarter is below.
    pub q1: f64,
    /// Half is below.
    pub median: f64,
    /// A quarter is above.
    pub q3: f64,
    /// Values.
    pub count: usize,
}

impl Spread {
    /// Of values in any order. All NaN of nothing.
    pub fn of(values: Vec<f64>) -> Spread {
        let count = values.len();
        let [q1, median, q3] = quartiles(values);
        Spread { q1, median, q3, count }
    }
}

/// First quartile, median and third quartile, interpolated. NaN of nothing.
pub fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|q| {
        let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
        let at = q * last as f64;
        let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
        below + (above - below) * at.fract()
    })
}

/// The median, interpolated. NaN of nothing.
pub fn median(values: Vec<f64>) -> f64 {
    quartiles(values)[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        assert_eq!(quartiles(vec![5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(vec![2.0, 1.0]), [1.25, 1.5, 1.75]);
        assert_eq!(quartiles(vec![7.0]), [7.0; 3]);
        assert!(quartiles(Vec::new())[1].is_nan());
        assert_eq!(Spread::of(vec![1.0, 2.0, 3.0]), Spread { q1: 1.5, median: 2.0, q3: 2.5, count: 3 });
    }
}
