//! A voice that says nothing: a speech-like signal from a seed, for calls without a recording at hand.
//!
//! A source-filter synthesiser: glottal pulses with a moving, jittering pitch, and noise for fricatives and bursts, through
//! resonators that glide from one sound to the next; syllables form phrases with pauses between them. Every length, pitch and
//! resonance is drawn anew, so nothing repeats: the autocorrelation beyond one second is low, and a received copy has
//! one clear lag in [`super::compare`].

use std::collections::VecDeque;
use std::f64::consts::{FRAC_PI_2, PI, TAU};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::SAMPLE_RATE;

/// Longest signal made, in seconds.
pub const MAX_SECONDS: f64 = 3_600.0;

const RATE: f64 = SAMPLE_RATE as f64;
/// Resonances of adult vowels, Hz: F1, F2, F3 of i, e, ɛ, a, ɑ, ɔ, o, u, ʌ, ə.
const VOWELS: [[f64; 3]; 10] = [
    [280.0, 2_250.0, 2_890.0],
    [400.0, 2_050.0, 2_600.0],
    [550.0, 1_800.0, 2_500.0],
    [730.0, 1_350.0, 2_450.0],
    [720.0, 1_100.0, 2_440.0],
    [570.0, 850.0, 2_410.0],
    [440.0, 900.0, 2_300.0],
    [310.0, 870.0, 2_240.0],
    [640.0, 1_190.0, 2_390.0],
    [500.0, 1_450.0, 2_450.0],
];
/// Bandwidths of the four resonators, Hz.
const BANDWIDTHS: [f64; 4] = [70.0, 100.0, 140.0, 220.0];
/// Brings the loudest vowels to about a third of full scale; set by the loudness test.
const GAIN: f64 = 0.62;
/// Amplitude of the breath and room noise that fills the pauses, of full scale: a line is never digitally silent.
const FLOOR: f64 = 0.000_15;

/// `seconds` of speech-like signal, mono 16-bit at 8 kHz. The same seed gives the same samples in one build, and a longer
/// signal begins with the shorter one. Lengths are brought into 0 to [`MAX_SECONDS`]; NaN counts as 0.
pub fn generate(seed: u64, seconds: f64) -> Vec<i16> {
    let count = (seconds.clamp(0.0, MAX_SECONDS) * RATE).round() as usize; // NaN as usize is 0
    let mut voice = Voice::new(StdRng::seed_from_u64(seed));
    (0..count).map(|_| voice.sample()).collect()
}

/// One sound: what the voice moves towards for so many samples.
#[derive(Clone, Copy)]
struct Sound {
    samples: usize,
    /// Amplitudes of the glottal source and of the noise, 0 to 1.
    voicing: f64,
    friction: f64,
    formants: [f64; 3],
    /// Middle of the noise, Hz.
    noise_hz: f64,
    /// Pitch over the speaker's own.
    pitch: f64,
}

struct Voice {
    rng: StdRng,
    /// The speaker: pitch in Hz and length of the vocal tract (resonances are scaled by it).
    base_pitch: f64,
    tract: f64,
    /// Makes low voices as loud as high ones: their pulses are fewer and slower.
    effort: f64,

    plan: VecDeque<Sound>,
    now: Sound,
    left: usize,

    // What glides.
    voicing: f64,
    friction: f64,
    formants: [f64; 3],
    pitch: f64,
    /// A slow random walk of the pitch, and this period's jitter and loudness.
    drift: f64,
    jitter: f64,
    shimmer: f64,

    /// Place in the glottal period, 0 to 1, and the last pulse value (lips radiate the derivative).
    phase: f64,
    last_pulse: f64,
    cascade: [Resonator; 4],
    noise: [Resonator; 2],
}

impl Voice {
    fn new(mut rng: StdRng) -> Self {
        let start =
            Sound { samples: 800, voicing: 0.0, friction: 0.0, formants: VOWELS[9], noise_hz: 2_500.0, pitch: 1.0 };
        let base_pitch: f64 = rng.random_range(95.0..190.0);
        Voice {
            base_pitch,
            effort: (140.0 / base_pitch).powf(1.5),
            tract: rng.random_range(0.96..1.12),
            rng,
            plan: VecDeque::new(),
            now: start,
            left: start.samples,
            voicing: 0.0,
            friction: 0.0,
            formants: start.formants,
            pitch: 1.0,
            drift: 0.0,
            jitter: 1.0,
            shimmer: 1.0,
            phase: 0.0,
            last_pulse: 0.0,
            cascade: [Resonator::default(); 4],
            noise: [Resonator::default(); 2],
        }
    }

    fn sample(&mut self) -> i16 {
        if self.left == 0 {
            self.next_sound();
        }
        self.left -= 1;
        self.glide();

        let white = self.rng.random_range(-1.0..1.0);
        let pulse = self.pulse();
        let breath = 0.02 * white * if self.phase < 0.6 { 1.0 } else { 0.3 };
        let mut voice = (pulse - self.last_pulse + 0.1 * breath) * self.effort * self.voicing;
        self.last_pulse = pulse;
        for resonator in &mut self.cascade {
            voice = resonator.step(voice);
        }
        let noise = self.noise.iter_mut().fold(white * self.friction, |x, resonator| resonator.step(x));

        let level = GAIN * (voice + noise) + FLOOR * white;
        (30_000.0 * level.tanh()) as i16
    }

    /// Moves the parameters towards the present sound; the resonators follow every 2 ms.
    fn glide(&mut self) {
        // Voices start slower than they stop; a burst starts at once.
        toward(&mut self.voicing, self.now.voicing, (18.0, 10.0));
        toward(&mut self.friction, self.now.friction, (6.0, 8.0));
        toward(&mut self.pitch, self.now.pitch, (55.0, 55.0));
        for (formant, goal) in self.formants.iter_mut().zip(self.now.formants) {
            toward(formant, goal, (28.0, 28.0));
        }
        if self.left.is_multiple_of(16) {
            let [f1, f2, f3] = self.formants.map(|f| f * self.tract);
            let goals = [f1, f2, f3.min(3_300.0), (3_450.0 * self.tract).min(3_700.0)];
            for ((resonator, hertz), width) in self.cascade.iter_mut().zip(goals).zip(BANDWIDTHS) {
                resonator.tune_unit_dc(hertz, width);
            }
            self.noise[0].tune_unit_peak(self.now.noise_hz, 900.0);
            self.noise[1].tune_unit_peak((self.now.noise_hz * 1.25).min(3_800.0), 1_400.0);
        }
    }

    /// The glottal flow (Rosenberg's pulse: opens for 0.4 of the period, closes in 0.16).
    fn pulse(&mut self) -> f64 {
        self.phase += self.base_pitch * self.pitch * self.jitter / RATE;
        if self.phase >= 1.0 {
            self.phase -= 1.0;
            self.drift = 0.97 * self.drift + self.rng.random_range(-0.012..0.012);
            self.jitter = 1.0 + self.drift + self.rng.random_range(-0.015..0.015);
            self.shimmer = self.rng.random_range(0.88..1.12);
        }
        self.shimmer
            * match self.phase {
                p if p < 0.4 => 0.5 - 0.5 * (PI * p / 0.4).cos(),
                p if p < 0.56 => (FRAC_PI_2 * (p - 0.4) / 0.16).cos(),
                _ => 0.0,
            }
    }

    fn next_sound(&mut self) {
        if self.plan.is_empty() {
            self.plan_phrase();
        }
        if let Some(sound) = self.plan.pop_front() {
            self.left = sound.samples.max(1);
            self.now = sound;
        }
    }

    /// Plans some syllables, the pitch falling over them, and the pause after them.
    fn plan_phrase(&mut self) {
        let syllables = self.rng.random_range(3..=11);
        let (top, bottom) = (self.rng.random_range(1.10..1.35), self.rng.random_range(0.78..0.95));
        let question = self.rng.random_bool(0.2);
        for index in 0..syllables {
            let place = index as f64 / syllables as f64;
            let accent = if self.rng.random_bool(0.3) { self.rng.random_range(0.05..0.25) } else { 0.0 };
            let rise = if question && index + 2 >= syllables { 0.3 } else { 0.0 };
            self.plan_syllable(top + (bottom - top) * place + accent + rise, 1.0 + accent);
        }
        // Most pauses are short; some are the thinking kind.
        let pause = if self.rng.random_bool(0.25) { 600.0..1_400.0 } else { 150.0..500.0 };
        let last = self.plan.back().copied().unwrap_or(self.now);
        let silence = Sound { voicing: 0.0, friction: 0.0, ..last };
        self.say(pause, silence);
    }

    fn plan_syllable(&mut self, pitch: f64, stress: f64) {
        let mut vowel = VOWELS[self.rng.random_range(0..VOWELS.len())];
        vowel.iter_mut().for_each(|f| *f *= self.rng.random_range(0.94..1.06));
        let voicing = self.rng.random_range(0.65..0.95) * stress.min(1.1);
        let open = Sound { samples: 0, voicing, friction: 0.0, formants: vowel, noise_hz: 2_500.0, pitch };

        self.consonant(open);
        if self.rng.random_bool(0.25) {
            // A diphthong: a second target half way.
            self.say(60.0..120.0, open);
            let mut glide = VOWELS[self.rng.random_range(0..VOWELS.len())];
            glide.iter_mut().zip(vowel).for_each(|(to, from)| *to = 0.6 * *to + 0.4 * from);
            self.say(60.0..140.0, Sound { formants: glide, pitch: pitch * 0.97, ..open });
        } else {
            self.say(70.0..190.0, open);
        }
        if self.rng.random_bool(0.3) {
            self.consonant(Sound { pitch: pitch * 0.95, ..open });
        }
    }

    fn consonant(&mut self, vowel: Sound) {
        let noise_hz = self.rng.random_range(1_500.0..3_500.0);
        match self.rng.random_range(0..10) {
            0..=2 => {
                let friction = self.rng.random_range(0.10..0.28);
                self.say(60.0..150.0, Sound { voicing: 0.0, friction, noise_hz, ..vowel });
            }
            3 => {
                let friction = self.rng.random_range(0.04..0.10);
                self.say(50.0..90.0, Sound { voicing: 0.35, friction, noise_hz, ..vowel });
            }
            4..=6 => {
                // A stop: closed, burst, and breath until the voice sets in.
                let friction = self.rng.random_range(0.25..0.5);
                self.say(35.0..80.0, Sound { voicing: 0.0, friction: 0.0, ..vowel });
                self.say(8.0..20.0, Sound { voicing: 0.0, friction, noise_hz, ..vowel });
                self.say(5.0..50.0, Sound { voicing: 0.05, friction: 0.06, noise_hz, ..vowel });
            }
            7 | 8 => {
                let f2 = self.rng.random_range(1_000.0..1_700.0);
                let formants = [270.0, f2, 2_300.0];
                self.say(50.0..100.0, Sound { voicing: 0.35 * vowel.voicing, formants, ..vowel });
            }
            _ => {}
        }
    }

    /// Appends a sound of a length drawn from `ms`.
    fn say(&mut self, ms: std::ops::Range<f64>, sound: Sound) {
        let samples = (self.rng.random_range(ms) * RATE / 1_000.0) as usize;
        self.plan.push_back(Sound { samples, ..sound });
    }
}

/// Moves a value a sample nearer to its goal, with a time constant in ms for (rising, falling).
fn toward(value: &mut f64, goal: f64, (rising, falling): (f64, f64)) {
    let ms = if goal > *value { rising } else { falling };
    *value += (goal - *value) * 1_000.0 / (ms * RATE);
}

/// A two-pole resonator: y[n] = a x[n] + b y[n-1] + c y[n-2].
#[derive(Clone, Copy, Default)]
struct Resonator {
    a: f64,
    b: f64,
    c: f64,
    y1: f64,
    y2: f64,
}

impl Resonator {
    /// Gain 1 at 0 Hz: such resonators in a row make a vowel of natural balance.
    fn tune_unit_dc(&mut self, hertz: f64, width: f64) {
        self.poles(hertz, width);
        self.a = 1.0 - self.b - self.c;
    }

    /// Gain of about 1 at the resonance.
    fn tune_unit_peak(&mut self, hertz: f64, width: f64) {
        self.poles(hertz, width);
        self.a = (1.0 + self.c) * (TAU * hertz / RATE).sin().abs().max(0.1);
    }

    fn poles(&mut self, hertz: f64, width: f64) {
        let radius = (-PI * width / RATE).exp();
        self.c = -radius * radius;
        self.b = 2.0 * radius * (TAU * hertz / RATE).cos();
    }

    fn step(&mut self, x: f64) -> f64 {
        let y = self.a * x + self.b * self.y1 + self.c * self.y2;
        (self.y2, self.y1) = (self.y1, y);
        y
    }
}

#[cfg(test)]
#[path = "speech_tests.rs"]
mod tests;
