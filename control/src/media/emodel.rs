//! How good a call was: the E-model (ITU-T G.107, 2015) from delay and loss, for G.711 without loss concealment.
//!
//! R = Ro - Is - Id - Ie-eff + A. Every parameter but delay and loss has its default of G.107 table 2, so Ro and A are
//! constants and Is moves by less than 0.001; R is 93.2 with no delay and no loss. What is left:
//!
//! - `Idte`, talker echo. The default TELR of 65 dB is kept: 0 at no delay, 2.8 at 150 ms. A path without any echo
//!   (digital end to end, headsets) has none of it, so our figure is the careful one.
//! - `Idle`, listener echo, WEPL 110 dB: 0.1 at no delay, 0.8 at 150 ms.
//! - `Idd`, delay as such: 0 up to 100 ms.
//! - `Ie-eff`, loss: Ie = 0, Bpl = 4.3 (G.113 appendix I, G.711 without concealment), BurstR = 1 (losses independent).
//!
//! The echo path is symmetric: T = Ta (one way) and Tr = 2 Ta.

use serde::Serialize;

/// Delay that a receiver's jitter buffer adds to a one-way delay, in ms. Three packets of 20 ms.
pub const JITTER_BUFFER_MS: f64 = 60.0;

/// Send loudness rating, dB.
const SLR: f64 = 8.0;
/// Receive loudness rating, dB.
const RLR: f64 = 2.0;
/// Overall loudness rating, dB.
const OLR: f64 = SLR + RLR;
/// Sidetone masking rating, dB.
const STMR: f64 = 15.0;
/// D-value of the telephone at the send side.
const DS: f64 = 3.0;
/// D-value of the telephone at the receive side.
const DR: f64 = 3.0;
/// Talker echo loudness rating, dB.
const TELR: f64 = 65.0;
/// Weighted echo path loss, dB.
const WEPL: f64 = 110.0;
/// Quantising distortion units: one G.711 codec pair.
const QDU: f64 = 1.0;
/// Circuit noise referred to the 0 dBr point, dBm0p.
const NC: f64 = -70.0;
/// Noise floor at the receive side, dBmp.
const NFOR: f64 = -64.0;
/// Room noise at the send side, dB(A).
const PS: f64 = 35.0;
/// Room noise at the receive side, dB(A).
const PR: f64 = 35.0;
/// Equipment impairment factor of G.711.
const IE: f64 = 0.0;
/// Packet-loss robustness factor of G.711 without concealment (G.113 appendix I).
const BPL: f64 = 4.3;
/// Burst ratio: 1 where losses are independent.
const BURST_R: f64 = 1.0;

/// A rating of a call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rating {
    /// Transmission rating R, 0 (worst) to 100. 90 is "very satisfied", 80 "satisfied", below 60 "nearly all
    /// dissatisfied" (G.109 table 1).
    pub r_factor: f64,
    /// Estimated mean opinion score of conversation, 1 to 4.5 (G.107 annex B).
    pub mos: f64,
}

impl Rating {
    /// What users of such a call say (G.109 table 1).
    pub fn verdict(&self) -> &'static str {
        match self.r_factor {
            r if r >= 90.0 => "users very satisfied",
            r if r >= 80.0 => "users satisfied",
            r if r >= 70.0 => "some users dissatisfied",
            r if r >= 60.0 => "many users dissatisfied",
            r if r >= 50.0 => "nearly all users dissatisfied",
            _ => "not recommended",
        }
    }
}

/// Rates a G.711 call by its mouth-to-ear delay in ms, the jitter buffer's [`JITTER_BUFFER_MS`] and the packet's own 20 ms
/// included, and the fraction of packets lost or too late to be played, 0 to 1.
///
/// Values out of range are brought into it; a NaN gets the worst rating, never a good one.
pub fn rate(one_way_ms: f64, loss_fraction: f64) -> Rating {
    if one_way_ms.is_nan() || loss_fraction.is_nan() {
        return Rating { r_factor: 0.0, mos: mos(0.0) };
    }
    // A minute of delay is far beyond where R reaches 0; the bound keeps the sixth powers finite.
    let ta = one_way_ms.clamp(0.0, 60_000.0);
    let ppl = loss_fraction.clamp(0.0, 1.0) * 100.0;
    let no = noise();
    let ro = 15.0 - 1.5 * (SLR + no);
    let id = idte(ta, no) + idle(2.0 * ta, ro) + idd(ta);
    let r_factor = (ro - is(ta, ro, no) - id - ie_eff(ppl)).clamp(0.0, 100.0);
    Rating { r_factor, mos: mos(r_factor) }
}

/// MOS of a transmission rating R (G.107 annex B). The cubic dips below 1 for small R; it is held at 1.
pub fn mos(r: f64) -> f64 {
    if r.is_nan() || r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

/// `Idd`, the impairment of an absolute one-way delay `ta` in ms, echo apart (G.107 equations 7-27 and 7-28, the default
/// delay sensitivity sT = 1 and mT = 100 ms).
pub fn idd(ta: f64) -> f64 {
    if ta <= 100.0 {
        return 0.0;
    }
    let x = (ta / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// `Ie-eff` of a packet loss in per cent.
fn ie_eff(ppl: f64) -> f64 {
    IE + (95.0 - IE) * ppl / (ppl / BURST_R + BPL)
}

/// `Idte`, talker echo after a one-way delay `t` of the echo path, for 9 dB <= STMR <= 20 dB. Below 1 ms it is sidetone.
fn idte(t: f64, no: f64) -> f64 {
    if t < 1.0 {
        return 0.0;
    }
    let roe = -1.5 * (no - RLR);
    let terv = TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
    let re = 80.0 + 2.5 * (terv - 14.0);
    let half = (roe - re) / 2.0;
    (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp())
}

/// `Idle`, listener echo after a round trip `tr`.
fn idle(tr: f64, ro: f64) -> f64 {
    let rle = 10.5 * (WEPL + 7.0) * (tr + 1.0).powf(-0.25);
    let half = (ro - rle) / 2.0;
    half + (half * half + 169.0).sqrt()
}

/// `No`, the sum of all noise at the 0 dBr point, dBm0p.
fn noise() -> f64 {
    let nos = PS - SLR - DS - 100.0 + 0.004 * (PS - OLR - DS - 14.0).powi(2);
    let lstr = STMR + DR;
    let pre = PR + 10.0 * (1.0 + power((10.0 - lstr) / 10.0)).log10();
    let nor = RLR - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
    let nfo = NFOR + RLR;
    10.0 * [NC, nos, nor, nfo].iter().map(|db| power(db / 10.0)).sum::<f64>().log10()
}

/// `Is`: too loud (Iolr), sidetone (Ist), quantising distortion (Iq).
fn is(t: f64, ro: f64, no: f64) -> f64 {
    let xolr = OLR + 0.2 * (64.0 + no - RLR);
    let iolr = 20.0 * ((1.0 + (xolr / 8.0).powi(8)).powf(1.0 / 8.0) - xolr / 8.0);

    let stmro = -10.0 * (power(-STMR / 10.0) + (-t / 4.0).exp() * power(-TELR / 10.0)).log10();
    let ist = 12.0 * (1.0 + ((stmro - 13.0) / 6.0).powi(8)).powf(1.0 / 8.0)
        - 28.0 * (1.0 + ((stmro + 1.0) / 19.4).powi(35)).powf(1.0 / 35.0)
        - 13.0 * (1.0 + ((stmro - 3.0) / 33.0).powi(13)).powf(1.0 / 13.0)
        + 29.0;

    let q = 37.0 - 15.0 * QDU.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    let iq = 15.0 * (1.0 + power(y) + power(z)).log10();

    iolr + ist + iq
}

fn power(exponent: f64) -> f64 {
    10f64.powf(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// R without loss by one-way delay in ms, computed from the same formulas written down by others.
    const DELAYS: [(f64, f64); 7] = [
        (0.0, 93.2062),
        (50.0, 91.7562),
        (100.0, 90.6637),
        (150.0, 89.5391),
        (200.0, 85.8047),
        (300.0, 72.6664),
        (400.0, 62.2468),
    ];

    fn near(got: f64, want: f64, within: f64) {
        assert!((got - want).abs() <= within, "{got} is not {want} ± {within}");
    }

    #[test]
    fn all_defaults_give_the_recommendations_93_2() {
        let best = rate(0.0, 0.0);
        near(best.r_factor, 93.2, 0.05);
        // Another implementation of the whole model prints 93.206208 for the same parameters.
        near(best.r_factor, 93.206_208, 1e-6);
        near(best.mos, 4.41, 0.005);
    }

    #[test]
    fn mos_of_the_borders_of_g_109() {
        // G.109 table 1 and G.107 annex B: R to MOS.
        for (r, want) in
            [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58), (0.0, 1.0), (100.0, 4.5)]
        {
            near(mos(r), want, 0.0061); // the table's own rounding
        }
        near(mos(3.0), 1.0, 0.0);
        near(mos(f64::NAN), 1.0, 0.0);
    }

    #[test]
    fn pure_delay_by_hand() {
        assert_eq!(idd(0.0), 0.0);
        assert_eq!(idd(100.0), 0.0);
        // X = 1 at 200 ms: 25 (2^(1/6) - 3 (730/729)^(1/6) + 2). X = 2 at 400 ms: 25 (65^(1/6) - 3 (793/729)^(1/6) + 2).
        near(idd(200.0), 25.0 * (1.122_462_048 - 3.0 * 1.000_228_494 + 2.0), 1e-5);
        near(idd(400.0), 25.0 * (2.005_174_9 - 3.0 * 1.014_123 + 2.0), 1e-2);
        // X = log2(1.5) at 150 ms and log2(3) at 300 ms.
        near(idd(150.0), 0.158, 0.01);
        near(idd(300.0), 14.8, 0.1);
    }

    #[test]
    fn constants_and_delays_of_another_implementation() {
        near(noise(), -61.179_214_386_241_69, 1e-12);
        near(is(150.0, 15.0 - 1.5 * (SLR + noise()), noise()), 1.413_568_081_343_861_6, 1e-5);
        for (ms, want) in DELAYS {
            near(rate(ms, 0.0).r_factor, want, 1e-3);
        }
    }

    #[test]
    fn loss_costs_what_g_113_says() {
        // Ie-eff = 95 p / (p + 4.3).
        let best = rate(0.0, 0.0).r_factor;
        for (fraction, cost) in [(0.01, 17.92), (0.02, 30.16), (0.05, 51.08)] {
            near(best - rate(0.0, fraction).r_factor, cost, 0.01);
        }
    }

    #[test]
    fn verdicts_follow_the_rating() {
        assert_eq!(rate(20.0, 0.0).verdict(), "users very satisfied");
        assert_eq!(rate(2_000.0, 0.5).verdict(), "not recommended");
    }

    proptest! {
        #[test]
        fn any_input_gives_a_rating_in_range(ms in any::<f64>(), loss in any::<f64>()) {
            let rating = rate(ms, loss);
            prop_assert!((0.0..=100.0).contains(&rating.r_factor));
            prop_assert!((1.0..=4.5).contains(&rating.mos));
            if ms.is_nan() || loss.is_nan() {
                prop_assert_eq!(rating.r_factor, 0.0);
            }
        }

        #[test]
        fn more_loss_or_delay_is_never_better(ms in 0.0..2_000.0f64, loss in 0.0..1.0f64, more in 0.0..0.5f64) {
            let rating = rate(ms, loss);
            prop_assert!(rate(ms, loss + more).r_factor <= rating.r_factor + 1e-9);
            prop_assert!(rate(ms + 1_000.0 * more, loss).r_factor <= rating.r_factor + 1e-9);
        }
    }
}
