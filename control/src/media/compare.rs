//! Is what was recorded what was said? The peak of the normalised cross-correlation of two signals, and its lag.
//!
//! For a lag L, over the samples where both signals exist:
//! r(L) = Σ sent[i] · received[i + L] / sqrt(Σ sent[i]² · Σ received[i + L]²), each signal's mean removed. An identical
//! signal has r = 1 at its delay, G.711 alone costs less than 0.001, unrelated speech stays near 0. Lost packets, noise and
//! wrong order all lower it; loudness does not.

use std::fmt;

use serde::Serialize;

use super::SAMPLE_RATE;
use super::fft::{Complex, Fft};

/// Largest lag searched, in samples, either way: two seconds.
pub const MAX_LAG: usize = 2 * SAMPLE_RATE as usize;
/// Longest signal compared, in samples: one hour.
pub const MAX_SAMPLES: usize = 3_600 * SAMPLE_RATE as usize;

/// Part of each signal's energy that must lie where they overlap, so that a few loud samples at an end do not make a peak.
const MIN_OVERLAP_ENERGY: f64 = 0.5;
/// Values of one transform: a block of the sent signal and the lags to both sides.
const FFT_SIZE: usize = 1 << 16;
/// Samples of the sent signal in one block; the rest keeps the wanted lags clear of the transform's wrap.
const BLOCK: usize = FFT_SIZE - 2 * MAX_LAG;
/// Lags whose r is within this of the highest are as good; the shortest of them is taken. A periodic signal has many.
const TIE: f64 = 1e-6;

/// The best alignment of two signals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Alignment {
    /// How many samples later the received signal is than the sent one; negative if earlier. Within ±[`MAX_LAG`].
    pub lag: i64,
    /// r at that lag, -1 to 1.
    pub peak: f64,
}

impl Alignment {
    /// The lag in ms.
    pub fn lag_ms(&self) -> f64 {
        self.lag as f64 * 1e3 / SAMPLE_RATE as f64
    }
}

/// Why two signals cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareError {
    /// One has no samples, or all its samples are alike.
    Silent {
        /// "sent" or "received".
        which: &'static str,
    },
    /// One is longer than [`MAX_SAMPLES`].
    TooLong {
        /// "sent" or "received".
        which: &'static str,
        /// Its samples.
        length: usize,
    },
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompareError::Silent { which } => write!(f, "the {which} signal is empty or silent: nothing to compare"),
            CompareError::TooLong { which, length } => {
                write!(f, "the {which} signal has {length} samples, at most {MAX_SAMPLES} are compared")
            }
        }
    }
}

impl std::error::Error for CompareError {}

/// Finds the lag at which `received` is most like `sent`; both at 8 kHz. Cost grows with the longer length; a minute takes
/// about 0.1 s.
pub fn align(sent: &[i16], received: &[i16]) -> Result<Alignment, CompareError> {
    let sent = Signal::new("sent", sent)?;
    let received = Signal::new("received", received)?;
    let products = cross_products(&sent.samples, &received.samples);

    let ratios: Vec<(i64, f64)> = (-(MAX_LAG as i64)..=MAX_LAG as i64)
        .zip(products)
        .filter_map(|(lag, product)| Some((lag, normalise(&sent, &received, lag, product)?)))
        .collect();
    let highest = ratios.iter().map(|&(_, r)| r).fold(f64::NEG_INFINITY, f64::max);
    let best = ratios.iter().filter(|&&(_, r)| r >= highest - TIE).min_by_key(|(lag, _)| lag.unsigned_abs());
    // Lag 0 may be excluded, where one signal's energy begins after the other's end: nothing then is alike.
    let &(lag, peak) = best.unwrap_or(&(0, 0.0));
    Ok(Alignment { lag, peak: peak.clamp(-1.0, 1.0) })
}

/// A signal without its mean, and the energy of its first n samples for every n.
struct Signal {
    samples: Vec<f64>,
    energy_before: Vec<f64>,
}

impl Signal {
    fn new(which: &'static str, samples: &[i16]) -> Result<Self, CompareError> {
        if samples.len() > MAX_SAMPLES {
            return Err(CompareError::TooLong { which, length: samples.len() });
        }
        if samples.windows(2).all(|pair| pair[0] == pair[1]) {
            return Err(CompareError::Silent { which });
        }
        let mean = samples.iter().map(|&x| x as f64).sum::<f64>() / samples.len() as f64;
        let samples: Vec<f64> = samples.iter().map(|&x| x as f64 - mean).collect();
        let mut sum = 0.0;
        let mut energy_before = vec![0.0];
        energy_before.extend(samples.iter().map(|x| {
            sum += x * x;
            sum
        }));
        Ok(Signal { samples, energy_before })
    }

    fn energy(&self, from: usize, to: usize) -> f64 {
        self.energy_before[to] - self.energy_before[from]
    }

    fn total(&self) -> f64 {
        self.energy(0, self.samples.len())
    }
}

/// r of one lag; `None` where too little of either signal overlaps.
fn normalise(sent: &Signal, received: &Signal, lag: i64, product: f64) -> Option<f64> {
    let from = (-lag).max(0) as usize;
    let to = (received.samples.len() as i64 - lag).clamp(0, sent.samples.len() as i64) as usize;
    if from >= to {
        return None;
    }
    let shifted = |i: usize| (i as i64 + lag) as usize;
    let (a, b) = (sent.energy(from, to), received.energy(shifted(from), shifted(to)));
    let enough = a >= MIN_OVERLAP_ENERGY * sent.total() && b >= MIN_OVERLAP_ENERGY * received.total();
    enough.then(|| product / (a * b).sqrt())
}

/// Σ sent[i] · received[i + lag] for every lag from -MAX_LAG to MAX_LAG. Spectra of blocks add up; one inverse at the end.
fn cross_products(sent: &[f64], received: &[f64]) -> Vec<f64> {
    let fft = Fft::new(FFT_SIZE);
    let mut sum = vec![Complex::default(); FFT_SIZE];
    for (index, block) in sent.chunks(BLOCK).enumerate() {
        // received[start - MAX_LAG ..] lies at 0, so that lag L of this block comes out at L + MAX_LAG.
        let start = index * BLOCK;
        let mut a = vec![Complex::default(); FFT_SIZE];
        let mut b = vec![Complex::default(); FFT_SIZE];
        for (to, &x) in a.iter_mut().zip(block) {
            *to = Complex::real(x);
        }
        let front = MAX_LAG.saturating_sub(start);
        let from = (start + front - MAX_LAG).min(received.len());
        for (to, &x) in b[front..BLOCK + 2 * MAX_LAG].iter_mut().zip(&received[from..]) {
            *to = Complex::real(x);
        }
        fft.forward(&mut a);
        fft.forward(&mut b);
        for ((s, a), b) in sum.iter_mut().zip(&a).zip(&b) {
            *s = *s + a.conjugate() * *b;
        }
    }
    fft.inverse(&mut sum);
    sum[..=2 * MAX_LAG].iter().map(|x| x.re).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{g711, speech};
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn noise(seed: u64, length: usize) -> Vec<i16> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..length).map(|_| rng.random_range(-8_000..=8_000)).collect()
    }

    fn delayed(signal: &[i16], by: usize) -> Vec<i16> {
        let mut out = vec![0; by];
        out.extend_from_slice(signal);
        out
    }

    fn tone(length: usize) -> Vec<i16> {
        (0..length).map(|n| ((n as f64 * std::f64::consts::TAU / 40.0).sin() * 9_000.0) as i16).collect()
    }

    #[track_caller]
    fn assert_aligned(sent: &[i16], received: &[i16], lag: i64) {
        let got = align(sent, received).expect("comparable");
        assert_eq!(got.lag, lag);
        assert!(got.peak > 0.9999, "{got:?}");
    }

    #[test]
    fn identical_and_delayed_signals_peak_at_one() {
        let signal = noise(1, 100_000);
        assert_aligned(&signal, &signal, 0);
        for by in [1, 160, 7_999, MAX_LAG] {
            assert_aligned(&signal, &delayed(&signal, by), by as i64);
            assert_aligned(&signal, &delayed(&signal, by)[..signal.len()], by as i64);
            assert_aligned(&delayed(&signal, by), &signal, -(by as i64));
        }
    }

    #[test]
    fn a_lag_beyond_the_bound_is_not_found() {
        let signal = noise(2, 100_000);
        let got = align(&signal, &delayed(&signal, MAX_LAG + 1)).expect("comparable");
        assert!(got.peak < 0.1, "{got:?}");
    }

    #[test]
    fn loudness_and_offset_do_not_matter_and_inversion_is_no_likeness() {
        let signal = noise(3, 20_000);
        let louder: Vec<i16> = signal.iter().map(|x| x * 3 + 1_000).collect();
        assert_aligned(&signal, &louder, 0);
        let inverted: Vec<i16> = signal.iter().map(|x| -x).collect();
        assert!(align(&signal, &inverted).expect("comparable").peak < 0.1);
    }

    #[test]
    fn unrelated_signals_stay_near_zero() {
        let got = align(&noise(4, 80_000), &noise(5, 80_000)).expect("comparable");
        assert!(got.peak.abs() < 0.05, "{got:?}");
        let (one, other) = (speech::generate(1, 60.0), speech::generate(2, 60.0));
        let got = align(&one, &other).expect("comparable");
        assert!(got.peak.abs() < 0.2, "{got:?}");
    }

    #[test]
    fn a_periodic_signal_takes_the_shortest_lag() {
        assert_aligned(&tone(40_000), &tone(40_000), 0);
        assert_aligned(&tone(40_000), &delayed(&tone(40_000), 15), 15);
        assert_aligned(&delayed(&tone(40_000), 15), &tone(40_000), -15);
    }

    #[test]
    fn speech_through_mu_law_and_loss() {
        let sent = speech::generate(3, 20.0);
        let mut received: Vec<i16> = sent.iter().map(|&x| g711::decode_mu(g711::encode_mu(x))).collect();
        let got = align(&sent, &delayed(&received, 1_234)).expect("comparable");
        assert!(got.lag == 1_234 && got.peak > 0.999, "{got:?}");
        // A tenth of the packets lost.
        for lost in received.chunks_mut(160).step_by(10) {
            lost.fill(0);
        }
        let got = align(&sent, &received).expect("comparable");
        assert!(got.lag == 0 && (0.90..0.98).contains(&got.peak), "{got:?}");
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        let signal = noise(6, 100);
        let silent = |which| Err(CompareError::Silent { which });
        assert_eq!(align(&[], &signal), silent("sent"));
        assert_eq!(align(&signal, &[]), silent("received"));
        assert_eq!(align(&signal, &[7; 500]), silent("received"));
        assert_eq!(align(&signal, &[7]), silent("received"));
        let long = vec![0; MAX_SAMPLES + 1];
        assert!(matches!(align(&signal, &long), Err(CompareError::TooLong { which: "received", .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equals_the_definition(
            sent in prop::collection::vec(-100i16..100, 2..120), received in prop::collection::vec(-100i16..100, 2..120),
        ) {
            let (Ok(a), Ok(b)) = (Signal::new("sent", &sent), Signal::new("received", &received)) else { return Ok(()) };
            let mut highest = f64::NEG_INFINITY;
            for lag in -120i64..=120 {
                let product: f64 = (0..sent.len() as i64)
                    .filter(|i| (0..received.len() as i64).contains(&(i + lag)))
                    .map(|i| a.samples[i as usize] * b.samples[(i + lag) as usize])
                    .sum();
                highest = highest.max(normalise(&a, &b, lag, product).unwrap_or(f64::NEG_INFINITY));
            }
            let got = align(&sent, &received).expect("comparable");
            if highest.is_finite() {
                prop_assert!((got.peak - highest.clamp(-1.0, 1.0)).abs() < 1e-5, "{} {}", got.peak, highest);
            }
            prop_assert!((-1.0..=1.0).contains(&got.peak));
        }
    }
}
