//! Changes the sample rate: a polyphase windowed-sinc low-pass filter.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side of its middle. With the window below: 80 dB stop band, transition of about
/// a twentieth of the lower of both rates.
const CROSSINGS: usize = 48;
/// Shape of the Kaiser window; 8 gives about 80 dB.
const KAISER_BETA: f64 = 8.0;
/// Half-power frequency as a fraction of half the lower rate, so that the stop band begins at half that rate: at 8 kHz,
/// flat to 3.5 kHz, silent from 4 kHz.
const CUTOFF: f64 = 0.94;

/// `input` at `from` samples a second, at `to` samples a second; length is `input.len() · to / from`, rounded up. Both
/// rates are at least 1. Ends are treated as if silence surrounded the input.
pub fn resample(input: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return input.to_vec();
    }
    let divisor = gcd(from, to);
    // Output n lies at input position n · step / phases.
    let (step, phases) = ((from / divisor) as usize, (to / divisor) as usize);
    let length = (input.len() * phases).div_ceil(step);

    // Going down, the filter is stretched so that it cuts at the output's half rate.
    let stretch = (from as f64 / to as f64).max(1.0);
    let reach = (CROSSINGS as f64 * stretch).ceil() as usize;
    // The filters for a short input are fewer than its phases: output n uses phase n · step mod phases.
    let bank: Vec<Vec<f32>> =
        (0..phases.min(length)).map(|n| filter((n * step % phases) as f64 / phases as f64, reach, stretch)).collect();

    (0..length)
        .map(|n| {
            let middle = n * step / phases;
            let taps = &bank[n % phases];
            // Tap k weighs input[middle - reach + 1 + k].
            let skip = (reach - 1).saturating_sub(middle);
            let first = (middle + skip + 1) - reach;
            let here = &input[first.min(input.len())..];
            here.iter().zip(&taps[skip..]).map(|(x, tap)| x * tap).sum()
        })
        .collect()
}

/// The 2 · `reach` taps for an output that lies `fraction` of an input sample after the middle one. They sum to 1.
fn filter(fraction: f64, reach: usize, stretch: f64) -> Vec<f32> {
    let taps: Vec<f64> = (0..2 * reach)
        .map(|k| {
            let x = (k as f64 - (reach as f64 - 1.0) - fraction) / stretch;
            sinc(x * CUTOFF) * kaiser(x / CROSSINGS as f64)
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum) as f32).collect()
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window at `x`, 0 outside ±1.
fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { bessel_i0(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel_i0(KAISER_BETA) }
}

/// The modified Bessel function I0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / (2.0 * k as f64)).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(rate: u32, hertz: f64, length: usize) -> Vec<f32> {
        (0..length).map(|n| (n as f64 * hertz / rate as f64 * 2.0 * PI).sin() as f32).collect()
    }

    /// Root mean square of the middle half, in dB over that of a full-scale sine.
    fn level(signal: &[f32]) -> f64 {
        let middle = &signal[signal.len() / 4..signal.len() * 3 / 4];
        let power = middle.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / middle.len() as f64;
        10.0 * (2.0 * power + 1e-30).log10()
    }

    #[test]
    fn passes_speech_and_stops_aliases() {
        for from in [11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000] {
            let seconds = |hertz| resample(&tone(from, hertz, from as usize / 2), from, 8_000);
            for hertz in [100.0, 1_000.0, 3_000.0, 3_500.0] {
                let db = level(&seconds(hertz));
                assert!(db.abs() < 0.1, "{from} Hz: {hertz} Hz passes at {db:.2} dB");
            }
            for hertz in [4_050.0, 4_500.0, 5_400.0] {
                let db = level(&seconds(hertz));
                assert!(db < -60.0, "{from} Hz: {hertz} Hz leaks at {db:.1} dB");
            }
        }
    }

    #[test]
    fn keeps_phase() {
        let got = resample(&tone(48_000, 700.0, 48_000), 48_000, 8_000);
        let want = tone(8_000, 700.0, 8_000);
        for n in 100..7_900 {
            assert!((got[n] - want[n]).abs() < 1e-3, "sample {n}");
        }
    }

    #[test]
    fn a_constant_stays_constant() {
        let got = resample(&vec![0.5; 20_000], 44_100, 8_000);
        for x in &got[100..got.len() - 100] {
            assert!((x - 0.5).abs() < 1e-5, "{x}");
        }
    }

    #[test]
    fn goes_up_as_well() {
        let got = resample(&tone(8_000, 1_000.0, 8_000), 8_000, 11_025);
        assert_eq!(got.len(), 11_025);
        assert!(level(&got).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn any_input_has_its_length_and_stays_bounded(
            input in prop::collection::vec(-1.0f32..=1.0, 0..300), from in 8_000u32..=192_000,
        ) {
            let got = resample(&input, from, 8_000);
            prop_assert_eq!(got.len(), (input.len() * 8_000).div_ceil(from as usize));
            prop_assert!(got.iter().all(|x| x.abs() < 4.0));
        }
    }
}
