//! G.711 (ITU-T G.711, 1988): 16-bit linear PCM to and from 8-bit µ-law and A-law, 8,000 samples a second.
//!
//! Linear values are the Recommendation's, shifted to the top of 16 bits: its 14-bit µ-law range times 4, its 13-bit
//! A-law range times 8. Both codes are sign, three bits of segment, four bits of step.

use serde::Serialize;

/// Added to a µ-law magnitude so that every segment starts at a power of two (33 of 14 bits).
const MU_BIAS: i32 = 33 << 2;
/// Largest µ-law magnitude before the bias; beyond it the code saturates (8,158 of 14 bits, and the two lost bits).
const MU_CLIP: i32 = (8_158 << 2) + 3;
/// A-law inverts the even bits of every code (G.711 table 1, note 2).
const A_EVEN_BITS: u8 = 0x55;

/// Which of the two laws a stream uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Law {
    /// µ-law (North America, Japan); RTP payload type 0, PCMU.
    Mu,
    /// A-law (elsewhere); RTP payload type 8, PCMA.
    A,
}

impl Law {
    /// The static RTP payload type (RFC 3551 section 6).
    pub const fn payload_type(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    /// The law of a static RTP payload type, if it is a G.711 one.
    pub const fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            _ => None,
        }
    }

    /// One sample to one code.
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => encode_mu(sample),
            Law::A => encode_a(sample),
        }
    }

    /// One code to one sample.
    pub const fn decode(self, code: u8) -> i16 {
        match self {
            Law::Mu => MU_TO_LINEAR[code as usize],
            Law::A => A_TO_LINEAR[code as usize],
        }
    }
}

/// One 16-bit sample to µ-law. Never fails; magnitudes above 32,635 saturate.
pub const fn encode_mu(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, -(sample as i32)) } else { (0, sample as i32) };
    let biased = (if magnitude > MU_CLIP { MU_CLIP } else { magnitude }) + MU_BIAS;
    // biased lies in [2^7, 2^15): its highest bit is the segment, the next four bits the step.
    let segment = (31 - biased.leading_zeros()) - 7;
    let step = (biased >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

/// One µ-law code to 16 bits, within ±32,124.
pub const fn decode_mu(code: u8) -> i16 {
    MU_TO_LINEAR[code as usize]
}

/// One 16-bit sample to A-law. Never fails.
pub const fn encode_a(sample: i16) -> u8 {
    // Negative values mirror about -0.5 of a 13-bit step: ones' complement, as the Recommendation's tables do.
    let (sign, magnitude) = if sample < 0 { (0, !sample >> 3) } else { (0x80, sample >> 3) };
    let code = if magnitude < 32 {
        (magnitude >> 1) as u8
    } else {
        let segment = (15 - magnitude.leading_zeros()) - 4;
        (segment as u8) << 4 | ((magnitude >> segment) & 0x0f) as u8
    };
    (sign | code) ^ A_EVEN_BITS
}

/// One A-law code to 16 bits, within ±32,256.
pub const fn decode_a(code: u8) -> i16 {
    A_TO_LINEAR[code as usize]
}

static MU_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let code = !(i as u8);
        let magnitude = ((((code & 0x0f) as i32) << 3) + MU_BIAS) << ((code >> 4) & 7);
        let value = (magnitude - MU_BIAS) as i16;
        table[i] = if code & 0x80 != 0 { -value } else { value };
        i += 1;
    }
    table
};

static A_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let code = i as u8 ^ A_EVEN_BITS;
        let (segment, step) = ((code >> 4) & 7, (code & 0x0f) as i32);
        // The middle of the step: half a step is added. Segments 0 and 1 have the same step.
        let value = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
        table[i] = if code & 0x80 != 0 { value as i16 } else { -(value as i16) };
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Half the step of the segment that holds `sample`, in 16-bit units, from the Recommendation's tables.
    fn half_step(law: Law, sample: i16) -> i32 {
        // A-law mirrors about -0.5: a segment of negative values ends one earlier.
        let magnitude = if law == Law::A && sample < 0 { !sample as i32 } else { (sample as i32).abs() };
        match law {
            // Segment ends 31, 95, 223, 479, 991, 2015, 4063, 8159 of 14 bits; steps 2, 4, ..., 256.
            Law::Mu => {
                let ends = [31, 95, 223, 479, 991, 2015, 4063, 8159];
                let segment = ends.iter().position(|e| magnitude < e * 4).unwrap_or(7);
                4 << segment
            }
            // Segment ends 64, 128, ..., 4096 of 13 bits; steps 2, 4, ..., 128.
            Law::A => {
                let segment = (0..7).find(|s| magnitude < (64 << s) * 8).unwrap_or(6);
                8 << segment
            }
        }
    }

    #[test]
    fn known_answers_of_mu_law() {
        // G.711 table 2a: the values y at the start of each segment, and their codes.
        let table = [
            (0x80, 8031),
            (0x8f, 4191),
            (0x9f, 2079),
            (0xaf, 1023),
            (0xbf, 495),
            (0xcf, 231),
            (0xdf, 99),
            (0xef, 33),
            (0xfe, 2),
            (0xff, 0),
        ];
        for (code, y) in table {
            assert_eq!(decode_mu(code), y * 4, "{code:#x}");
            assert_eq!(decode_mu(code & 0x7f), -y * 4, "{code:#x} negative");
            assert_eq!(encode_mu(y * 4), code);
        }
        assert_eq!(encode_mu(i16::MAX), 0x80);
        assert_eq!(encode_mu(i16::MIN), 0x00);
        // Decision values x: 4,063 begins the top segment, 1 the second step.
        assert_eq!((encode_mu(4063 * 4), encode_mu(4063 * 4 - 1)), (0x8f, 0x90));
        assert_eq!((encode_mu(4), encode_mu(3)), (0xfe, 0xff));
    }

    #[test]
    fn known_answers_of_a_law() {
        // G.711 table 1a, before the even bits are inverted.
        let table =
            [(0xff, 4032), (0xf0, 2112), (0xe0, 1056), (0xd0, 528), (0xc0, 264), (0xb0, 132), (0xa0, 66), (0x80, 1)];
        for (code, y) in table {
            assert_eq!(decode_a(code ^ A_EVEN_BITS), y * 8, "{code:#x}");
            assert_eq!(decode_a(code ^ A_EVEN_BITS ^ 0x80), -y * 8, "{code:#x} negative");
            assert_eq!(encode_a(y * 8), code ^ A_EVEN_BITS);
        }
        assert_eq!((encode_a(0), encode_a(-1)), (0xd5, 0x55));
        assert_eq!((encode_a(i16::MAX), encode_a(i16::MIN)), (0xaa, 0x2a));
    }

    #[test]
    fn every_sample_round_trips_within_half_a_step_and_settles() {
        for law in [Law::Mu, Law::A] {
            let mut last = i16::MIN;
            for sample in i16::MIN..=i16::MAX {
                let decoded = law.decode(law.encode(sample));
                let saturated = law == Law::Mu && (sample as i32).abs() > MU_CLIP;
                let bound = if saturated { 644 } else { half_step(law, sample) };
                let error = (decoded as i32 - sample as i32).abs();
                assert!(error <= bound, "{law:?} {sample} came back as {decoded}");
                assert_eq!(law.decode(law.encode(decoded)), decoded, "{law:?} {sample} does not settle");
                assert!(decoded >= last, "{law:?} is not monotonic at {sample}");
                last = decoded;
            }
        }
    }

    #[test]
    fn every_code_is_its_own_but_negative_zero() {
        for code in 0..=255u8 {
            assert_eq!(encode_a(decode_a(code)), code);
            let back = encode_mu(decode_mu(code));
            assert_eq!(back, if code == 0x7f { 0xff } else { code });
        }
    }

    #[test]
    fn signal_to_distortion_of_a_sine_meets_the_usual_floor() {
        // A 1,020 Hz tone 3 dB below full scale quantises at 38 dB or better in both laws (G.712 asks 33 dB).
        for law in [Law::Mu, Law::A] {
            let (mut signal, mut noise) = (0.0f64, 0.0);
            for n in 0..8_000 {
                let x = 23_000.0 * (n as f64 * 1020.0 / 8000.0 * std::f64::consts::TAU).sin();
                let e = law.decode(law.encode(x as i16)) as f64 - x;
                signal += x * x;
                noise += e * e;
            }
            let db = 10.0 * (signal / noise).log10();
            assert!(db > 36.0, "{law:?}: {db:.1} dB");
        }
    }

    #[test]
    fn payload_types_are_the_static_ones() {
        for law in [Law::Mu, Law::A] {
            assert_eq!(Law::from_payload_type(law.payload_type()), Some(law));
        }
        assert_eq!(Law::from_payload_type(96), None);
    }
}
