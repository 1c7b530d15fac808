//! Takes down one RTP stream: a timeline of samples for a WAV file, and how well the stream arrived.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;

use super::SAMPLE_RATE;
use super::g711::Law;
use super::rtp::{Packet, RtpError};

/// Longest timeline, in samples: one hour.
pub const MAX_SAMPLES: usize = 3_600 * SAMPLE_RATE as usize;
/// Most packets taken: an hour of 20 ms packets.
pub const MAX_PACKETS: usize = 180_000;
/// How much older than the first packet to arrive a packet may be, in samples: one second.
const LEAD_SAMPLES: usize = SAMPLE_RATE as usize;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// New; its samples are in the timeline.
    Stored,
    /// Its sequence number had been seen; ignored.
    Duplicate,
    /// Not of this stream or beyond a limit; ignored.
    Refused(Refusal),
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No RTP packet.
    Malformed(RtpError),
    /// Neither PCMU nor PCMA; the payload type found.
    PayloadType(u8),
    /// Another source than the first packet's.
    Source,
    /// More than a second before the first packet, or an hour after it.
    Timestamp,
    /// [`MAX_PACKETS`] have been taken.
    Full,
}

/// How a stream arrived. Counts are packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Reception {
    /// Taken, each number once.
    pub received: u64,
    /// Came again.
    pub duplicates: u64,
    /// Refused, whatever the reason.
    pub refused: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// From the lowest to the highest number seen. Packets lost before the first and after the last do not show; who
    /// knows how many were sent does not need this.
    pub expected: u64,
    /// `expected` less `received`.
    pub lost: u64,
    /// Interarrival jitter, ms, smoothed (RFC 3550 section 6.4.1).
    pub jitter_ms: f64,
}

/// Takes packets in the order of their arrival. Memory is bounded by [`MAX_SAMPLES`] and [`MAX_PACKETS`] whatever comes.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    stream: Option<Stream>,
    refused: u64,
}

/// What is known from the first packet on.
#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    /// The highest packet's number, extended beyond 16 bits, and its low bits on the wire.
    highest: (i64, u16),
    lowest: i64,
    seen: HashSet<i64>,
    /// The latest timestamp in samples after the first packet's, and its 32 bits on the wire.
    latest: (i64, u32),
    /// Sample at index i lies i - LEAD_SAMPLES after the first packet's first.
    timeline: Vec<i16>,
    /// Index of the earliest sample heard.
    start: usize,
    /// Seconds from a packet's timestamp to its arrival, in order of arrival. The clocks' offset is in it.
    transits: Vec<f64>,
    jitter: f64,
    duplicates: u64,
    reordered: u64,
}

impl Recorder {
    /// An empty recorder; the first G.711 packet settles the source.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet that arrived at `arrival` after any fixed instant.
    pub fn push(&mut self, arrival: Duration, packet: &[u8]) -> Outcome {
        let outcome = self.take(arrival, packet);
        if let Err(refusal) = outcome {
            self.refused += 1;
            return Outcome::Refused(refusal);
        }
        outcome.unwrap_or(Outcome::Duplicate)
    }

    fn take(&mut self, arrival: Duration, packet: &[u8]) -> Result<Outcome, Refusal> {
        let Packet { header, payload } = Packet::parse(packet).map_err(Refusal::Malformed)?;
        let law = Law::from_payload_type(header.payload_type).ok_or(Refusal::PayloadType(header.payload_type))?;
        let stream = self.stream.get_or_insert_with(|| Stream {
            ssrc: header.ssrc,
            highest: (0, header.sequence),
            lowest: 0,
            seen: HashSet::new(),
            latest: (0, header.timestamp),
            timeline: Vec::new(),
            start: LEAD_SAMPLES,
            transits: Vec::new(),
            jitter: 0.0,
            duplicates: 0,
            reordered: 0,
        });
        if header.ssrc != stream.ssrc {
            return Err(Refusal::Source);
        }

        // Both numbers are read as the nearest to the highest so far.
        let (highest, highest_wire) = stream.highest;
        let number = highest + header.sequence.wrapping_sub(highest_wire) as i16 as i64;
        if stream.seen.contains(&number) {
            stream.duplicates += 1;
            return Ok(Outcome::Duplicate);
        }
        if stream.seen.len() >= MAX_PACKETS {
            return Err(Refusal::Full);
        }
        let (latest, latest_wire) = stream.latest;
        let instant = latest + header.timestamp.wrapping_sub(latest_wire) as i32 as i64;
        let start = usize::try_from(instant + LEAD_SAMPLES as i64).map_err(|_| Refusal::Timestamp)?;
        let end = start.saturating_add(payload.len());
        if end > LEAD_SAMPLES + MAX_SAMPLES {
            return Err(Refusal::Timestamp);
        }

        stream.seen.insert(number);
        stream.lowest = stream.lowest.min(number);
        if number > highest {
            stream.highest = (number, header.sequence);
        } else if number < highest {
            stream.reordered += 1;
        }
        if instant > latest {
            stream.latest = (instant, header.timestamp);
        }
        if stream.timeline.len() < end {
            stream.timeline.resize(end, 0); // a gap is silence until it is filled
        }
        for (sample, code) in stream.timeline[start..end].iter_mut().zip(payload) {
            *sample = law.decode(*code);
        }
        stream.start = stream.start.min(start);
        stream.arrived(arrival.as_secs_f64() - instant as f64 / SAMPLE_RATE as f64);
        Ok(Outcome::Stored)
    }

    /// The recording, from the earliest sample heard to the latest; gaps are silence.
    pub fn samples(&self) -> &[i16] {
        self.stream.as_ref().and_then(|s| s.timeline.get(s.start..)).unwrap_or(&[])
    }

    /// How the stream arrived so far.
    pub fn reception(&self) -> Reception {
        let Some(stream) = &self.stream else {
            return Reception { refused: self.refused, ..Reception::default() };
        };
        let received = stream.seen.len() as u64;
        let expected = if received == 0 { 0 } else { (stream.highest.0 - stream.lowest + 1) as u64 };
        Reception {
            received,
            duplicates: stream.duplicates,
            refused: self.refused,
            reordered: stream.reordered,
            expected,
            lost: expected - received,
            jitter_ms: stream.jitter * 1e3,
        }
    }

    /// Packets that came too late for a jitter buffer of `buffer_ms` that plays the fastest packet after its whole length.
    pub fn late(&self, buffer_ms: f64) -> u64 {
        let transits = self.stream.as_ref().map_or(&[][..], |s| &s.transits);
        let fastest = transits.iter().copied().fold(f64::INFINITY, f64::min);
        transits.iter().filter(|&&t| (t - fastest) * 1e3 > buffer_ms).count() as u64
    }

    /// The fraction of `sent` packets that a listener with such a buffer did not hear, lost and late alike: what
    /// [`super::emodel::rate`] asks for. 0 if none were sent.
    pub fn unheard(&self, sent: u64, buffer_ms: f64) -> f64 {
        if sent == 0 {
            return 0.0;
        }
        let heard = self.reception().received - self.late(buffer_ms);
        sent.saturating_sub(heard) as f64 / sent as f64
    }
}

impl Stream {
    /// RFC 3550 section 6.4.1: J += (|D| - J) / 16 for successive arrivals.
    fn arrived(&mut self, transit: f64) {
        if let Some(last) = self.transits.last() {
            self.jitter += ((transit - last).abs() - self.jitter) / 16.0;
        }
        self.transits.push(transit);
    }
}

#[cfg(test)]
#[path = "rtp_record_tests.rs"]
mod tests;
