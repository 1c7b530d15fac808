//! A radix-2 fast Fourier transform in place, for [`super::compare`].

use std::f64::consts::TAU;
use std::ops::{Add, Mul, Sub};

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Complex {
    pub re: f64,
    pub im: f64,
}

impl Complex {
    pub(super) fn real(re: f64) -> Self {
        Complex { re, im: 0.0 }
    }

    pub(super) fn conjugate(self) -> Self {
        Complex { re: self.re, im: -self.im }
    }
}

impl Add for Complex {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Complex { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for Complex {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Complex { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Mul for Complex {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Complex { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }
}

/// A transform of one size, its factors precomputed.
pub(super) struct Fft {
    /// exp(-2πi k / n) for k < n/2.
    factors: Vec<Complex>,
}

impl Fft {
    /// A transform of `size` values, a power of two and at least 2.
    pub(super) fn new(size: usize) -> Self {
        assert!(size.is_power_of_two() && size >= 2, "FFT of {size} values");
        let factor = |k| {
            let (sin, cos) = (-TAU * k as f64 / size as f64).sin_cos();
            Complex { re: cos, im: sin }
        };
        Fft { factors: (0..size / 2).map(factor).collect() }
    }

    /// Values of one transform.
    pub(super) fn size(&self) -> usize {
        self.factors.len() * 2
    }

    /// X[k] = Σ x[n] exp(-2πi n k / size).
    pub(super) fn forward(&self, data: &mut [Complex]) {
        let size = self.size();
        assert_eq!(data.len(), size);
        let shift = usize::BITS - size.trailing_zeros();
        for i in 0..size {
            let j = i.reverse_bits() >> shift;
            if i < j {
                data.swap(i, j);
            }
        }
        let mut half = 1;
        while half < size {
            let stride = size / (2 * half);
            for block in data.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((a, b), factor) in low.iter_mut().zip(high).zip(self.factors.iter().step_by(stride)) {
                    let turned = *b * *factor;
                    (*a, *b) = (*a + turned, *a - turned);
                }
            }
            half *= 2;
        }
    }

    /// The inverse of [`Fft::forward`], scaled.
    pub(super) fn inverse(&self, data: &mut [Complex]) {
        data.iter_mut().for_each(|x| *x = x.conjugate());
        self.forward(data);
        let scale = 1.0 / self.size() as f64;
        data.iter_mut().for_each(|x| *x = Complex { re: x.re * scale, im: -x.im * scale });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equals_the_sum_it_stands_for(values in prop::collection::vec((-1.0f64..1.0, -1.0f64..1.0), 64), log in 1usize..7) {
            let size = 1 << log;
            let input: Vec<_> = values[..size].iter().map(|&(re, im)| Complex { re, im }).collect();
            let fft = Fft::new(size);
            let mut output = input.clone();
            fft.forward(&mut output);
            for (k, got) in output.iter().enumerate() {
                let want = input.iter().enumerate().fold(Complex::default(), |sum, (n, &x)| {
                    let (sin, cos) = (-TAU * (n * k) as f64 / size as f64).sin_cos();
                    sum + x * Complex { re: cos, im: sin }
                });
                prop_assert!((got.re - want.re).abs() < 1e-9 && (got.im - want.im).abs() < 1e-9);
            }
            fft.inverse(&mut output);
            for (got, want) in output.iter().zip(&input) {
                prop_assert!((got.re - want.re).abs() < 1e-12 && (got.im - want.im).abs() < 1e-12);
            }
        }
    }
}
