//! Tests of [`super`].

use super::super::fft::{Complex, Fft};
use super::*;

const SEEDS: [u64; 6] = [0, 1, 2, 3, 0xfeed, u64::MAX];

/// RMS in dB over full scale of each 20 ms.
fn levels(signal: &[i16]) -> Vec<f64> {
    let level = |frame: &[i16]| {
        let power = frame.iter().map(|&x| (x as f64 / 32_768.0).powi(2)).sum::<f64>() / frame.len() as f64;
        10.0 * (power + 1e-12).log10()
    };
    signal.chunks(160).map(level).collect()
}

#[test]
fn a_seed_is_one_voice_and_longer_begins_with_shorter() {
    assert_eq!(generate(7, 3.0), generate(7, 3.0));
    assert_eq!(generate(7, 3.0), generate(7, 4.0)[..24_000]);
    assert_ne!(generate(7, 3.0), generate(8, 3.0));
    assert_eq!((generate(7, -1.0).len(), generate(7, f64::NAN).len(), generate(7, 0.5).len()), (0, 0, 4_000));
}

#[test]
fn loudness_is_that_of_speech() {
    for seed in SEEDS {
        let signal = generate(seed, 60.0);
        let peak = signal.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0);
        let active: Vec<f64> = levels(&signal).into_iter().filter(|db| *db > -45.0).collect();
        let mean = active.iter().map(|db| 10f64.powf(db / 10.0)).sum::<f64>() / active.len() as f64;
        let db = 10.0 * mean.log10();
        assert!((-27.0..-17.0).contains(&db), "seed {seed}: active level {db:.1} dB");
        assert!((10_000..30_000).contains(&peak), "seed {seed}: peak {peak}");
        // Speech of a minute is active for a half to nine tenths of it.
        let part = active.len() as f64 / 3_000.0;
        assert!((0.5..0.92).contains(&part), "seed {seed}: active {part:.2}");
    }
}

#[test]
fn pauses_vary_and_are_not_digital_silence() {
    for seed in SEEDS {
        let signal = generate(seed, 60.0);
        let mut pauses: Vec<usize> =
            levels(&signal).split(|db| *db > -55.0).map(<[f64]>::len).filter(|frames| *frames >= 5).collect();
        let count = pauses.len();
        pauses.sort_unstable();
        assert!(count >= 8 && pauses[count - 1] > 3 * pauses[0], "seed {seed}: {pauses:?}");
        assert!(signal.chunks(160).all(|frame| frame.iter().any(|&x| x != 0)));
    }
}

#[test]
fn nothing_repeats_beyond_a_second() {
    for seed in SEEDS {
        let signal = generate(seed, 60.0);
        let fft = Fft::new(1 << 20); // twice the length: no wrap
        let mut spectrum = vec![Complex::default(); fft.size()];
        for (to, &x) in spectrum.iter_mut().zip(&signal) {
            *to = Complex::real(x as f64);
        }
        fft.forward(&mut spectrum);
        spectrum.iter_mut().for_each(|x| *x = *x * x.conjugate());
        fft.inverse(&mut spectrum);
        let worst = spectrum[8_000..signal.len()].iter().map(|x| x.re.abs()).fold(0.0, f64::max);
        let ratio = worst / spectrum[0].re;
        assert!(ratio < 0.15, "seed {seed}: autocorrelation {ratio:.3}");
    }
}

#[test]
fn both_voice_and_noise_are_there() {
    // Zero crossings per 20 ms: a vowel has few, a fricative many.
    let signal = generate(1, 30.0);
    let mut counts = [0; 2];
    for (frame, db) in signal.chunks(160).zip(levels(&signal)) {
        let crossings = frame.windows(2).filter(|w| (w[0] < 0) != (w[1] < 0)).count();
        counts[0] += (db > -35.0 && crossings < 40) as usize;
        counts[1] += (db > -50.0 && crossings > 70) as usize;
    }
    assert!(counts[0] > 400 && counts[1] > 60, "{counts:?}");
}
