//! Speech for the demo: from a WAV file or a seed to G.711 RTP packets, and from what arrives back to a WAV file,
//! with a rating of what a listener would have heard.
//!
//! Samples are mono 16-bit PCM at [`SAMPLE_RATE`] everywhere but inside [`wav`]. Nothing here touches a socket.

pub mod compare;
pub mod emodel;
mod fft;
pub mod g711;
pub mod resample;
pub mod rtp;
mod rtp_record;
pub mod speech;
pub mod wav;

/// Samples per second of telephone speech, the only rate that travels (G.711).
pub const SAMPLE_RATE: u32 = 8_000;
