//! Messages of the peer until they are whole, and what of it is to be acknowledged.

use super::frame::{self, Fragment};
use super::outgoing::SPAN;
use super::{BadFrame, Limits};

/// Earlier sessions of the peer whose late frames are known as such.
const RETIRED: usize = 4;
const WORDS: usize = SPAN as usize / 64;

/// Receiving side.
#[derive(Default)]
pub(super) struct Incoming {
    /// The peer's session; none heard of yet.
    session: Option<u32>,
    retired: [Option<u32>; RETIRED],
    have: Have,
    parts: Vec<Part>,
    /// Messages to be acknowledged: number and bits, the latest last.
    acks: Vec<(u32, u64)>,
    ack_due: u64,
}

/// Which messages came whole: the last [`SPAN`] numbers.
#[derive(Default)]
struct Have {
    highest: Option<u32>,
    bits: [u64; WORDS],
}

struct Part {
    number: u32,
    kind: u8,
    count: u8,
    have: u64,
    bytes: Vec<u8>,
    until: u64,
}

/// What became of a fragment.
pub(super) enum Taken {
    /// Its message is whole now.
    Whole(u8, Vec<u8>),
    /// Noted, or known already.
    Noted,
    /// Of a session that is over.
    Late,
}

impl Have {
    fn at(number: u32) -> (usize, u64) {
        let at = number % SPAN;
        ((at / 64) as usize, 1 << (at % 64))
    }
    /// `None` for a number that is too old to know.
    fn has(&self, number: u32) -> Option<bool> {
        let Some(highest) = self.highest else { return Some(false) };
        let ahead = number.wrapping_sub(highest);
        if ahead != 0 && ahead < u32::MAX / 2 {
            return Some(false);
        }
        let (word, bit) = Have::at(number);
        (highest.wrapping_sub(number) < SPAN).then(|| self.bits[word] & bit != 0)
    }
    /// Moves the window so that `number` is in it.
    fn reach(&mut self, number: u32) {
        let highest = *self.highest.get_or_insert(number);
        let ahead = number.wrapping_sub(highest);
        if ahead == 0 || ahead >= u32::MAX / 2 {
            return;
        }
        for step in 1..=ahead.min(SPAN) {
            let (word, bit) = Have::at(highest.wrapping_add(step));
            self.bits[word] &= !bit;
        }
        if ahead >= SPAN {
            self.bits = [0; WORDS];
        }
        self.highest = Some(number);
    }
    fn set(&mut self, number: u32) {
        let (word, bit) = Have::at(number);
        self.bits[word] |= bit;
    }
}

impl Incoming {
    /// Notes the peer's session; whether it is another than before. `None`: one that is over.
    pub(super) fn heard(&mut self, session: u32) -> Option<bool> {
        if self.session == Some(session) {
            return Some(false);
        }
        if self.retired.contains(&Some(session)) {
            return None;
        }
        let retired = self.retired;
        let before = self.session;
        *self = Incoming { session: Some(session), retired, ..Incoming::default() };
        if before.is_some() {
            self.retired.rotate_right(1);
            self.retired[0] = before;
        }
        Some(before.is_some())
    }

    /// Takes a fragment of the session that was [`Incoming::heard`] last.
    pub(super) fn take(&mut self, limits: &Limits, now: u64, fragment: &Fragment<'_>) -> Result<Taken, BadFrame> {
        let Fragment { message: number, index, count, kind, data, .. } = *fragment;
        let chunk = frame::chunk(limits.frame);
        if usize::from(count - 1) * chunk + usize::from(count > 1) > limits.message || data.len() > limits.message {
            return Err(BadFrame);
        }
        match self.have.has(number) {
            None => return Ok(Taken::Late),
            Some(true) => {
                self.acknowledge(now, number, u64::MAX, true, limits);
                return Ok(Taken::Noted);
            }
            Some(false) => {}
        }
        if count == 1 {
            self.whole(now, number, limits);
            return Ok(Taken::Whole(kind, data.to_vec()));
        }
        let at = match self.parts.iter().position(|part| part.number == number) {
            Some(at) => at,
            None if self.parts.len() >= limits.incoming => return Err(BadFrame),
            None => {
                let until = now.saturating_add(limits.patience_ns);
                let bytes = vec![0; usize::from(count) * chunk];
                self.have.reach(number);
                self.parts.push(Part { number, kind, count, have: 0, bytes, until });
                self.parts.len() - 1
            }
        };
        let part = &mut self.parts[at];
        if (part.kind, part.count) != (kind, count) {
            return Err(BadFrame);
        }
        let bit = 1u64 << index;
        if part.have & bit == 0 {
            let from = usize::from(index) * chunk;
            let end = from + data.len();
            part.bytes.get_mut(from..end).ok_or(BadFrame)?.copy_from_slice(data);
            part.have |= bit;
            if index + 1 == count {
                // The last fragment says where the message ends.
                part.bytes.truncate(end);
                if end > limits.message {
                    self.parts.swap_remove(at);
                    return Err(BadFrame);
                }
            }
        }
        let have = part.have;
        if have != u64::MAX >> (64 - u32::from(count)) {
            self.acknowledge(now, number, have, false, limits);
            return Ok(Taken::Noted);
        }
        let part = self.parts.swap_remove(at);
        self.whole(now, number, limits);
        Ok(Taken::Whole(part.kind, part.bytes))
    }

    fn whole(&mut self, now: u64, number: u32, limits: &Limits) {
        self.have.reach(number);
        self.have.set(number);
        self.acknowledge(now, number, u64::MAX, true, limits);
    }

    fn acknowledge(&mut self, now: u64, number: u32, bits: u64, at_once: bool, limits: &Limits) {
        let due = if at_once { now } else { now.saturating_add(limits.retransmit_ns / 4) };
        self.ack_due = if self.acks.is_empty() { due } else { self.ack_due.min(due) };
        if let Some(entry) = self.acks.iter_mut().find(|entry| entry.0 == number) {
            entry.1 |= bits;
            return;
        }
        // An acknowledgement that has no room is owed again when the fragment comes again.
        if self.acks.len() >= frame::entries_max(limits.frame) {
            self.acks.remove(0);
        }
        self.acks.push((number, bits));
    }

    /// When an acknowledgement is due.
    pub(super) fn ack_due(&self) -> Option<u64> {
        (!self.acks.is_empty()).then_some(self.ack_due)
    }

    /// Writes all acknowledgements that are owed, as session `from`.
    pub(super) fn take_acks(&mut self, from: u32, out: &mut [u8]) -> Option<()> {
        frame::write_ack(from, self.session?, &self.acks, out)?;
        self.acks.clear();
        Some(())
    }

    /// Forgets messages that never became whole; how many.
    pub(super) fn expire(&mut self, now: u64) -> u64 {
        let before = self.parts.len();
        self.parts.retain(|part| now < part.until);
        (before - self.parts.len()) as u64
    }

    /// When a message is next forgotten.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.parts.iter().map(|part| part.until).min()
    }
    /// Messages that are incomplete.
    pub(super) fn incomplete(&self) -> u64 {
        self.parts.len() as u64
    }
}
