//! Where calls end: seals speech end to end, puts the layers on, and back.

use super::counters::{ClientCounters, EndCounters};
use super::layers::{EndLayers, Scratch};
use super::line::{Inside, RTP_MAX};
use super::spent::Claim;
use drover_crypto::Layers;
use drover_crypto::end::{EndKey, Kind};
use drover_crypto::reference::CtrLayers;
use drover_dataplane::drops::DropReason;
use drover_dataplane::terminal::Terminal;
use drover_dataplane::window::Window;
use drover_wire::cell::CellSize;
use drover_wire::control::PutEnd;
use std::sync::Arc;

/// End-to-end numbers that an end remembers: 1,024, as a link does. Cells are reordered by no more than mixes delay them.
type NumberWindow = Window<17>;

/// Ends that may be up at once. A client has one call, or few.
pub const ENDS_MAX: usize = 1024;

/// One end of a call: keys, numbers, window. Zeroized when dropped.
pub struct EndState<L: Layers> {
    id: u32,
    /// Index of its line, once it is added; none for an end that the configuration does not know.
    line: Option<usize>,
    layers: EndLayers<L>,
    seal: EndKey,
    open: EndKey,
    /// The counter of the next cell sent (W-CIR-6).
    counter: u64,
    /// The end-to-end number of the next cell sent (W-END-3).
    number: u64,
    received: NumberWindow,
    /// One past the highest number received, once there is any.
    expected: Option<u64>,
    claim: Claim,
}

impl<L: Layers> Drop for EndState<L> {
    fn drop(&mut self) {
        if self.number == 0 {
            self.claim.unused();
        }
    }
}

/// The client's [`Terminal`], run by the pacing thread.
pub struct ClientTerminal<L: Layers = CtrLayers> {
    lines: Vec<Inside>,
    /// Of each line, then of the ends that have none.
    counters: Vec<Arc<EndCounters>>,
    ends: Vec<Option<Box<EndState<L>>>>,
    scratch: Scratch,
    packet: [u8; RTP_MAX],
}

impl<L: Layers> ClientTerminal<L> {
    /// A terminal with these lines; `counters` takes what belongs to none of them. Allocates all it will ever need.
    pub fn new(lines: Vec<Inside>, counters: &ClientCounters) -> Self {
        let of_lines = lines.iter().map(Inside::counters);
        ClientTerminal {
            counters: of_lines.chain([counters.unmapped()]).map(Arc::clone).collect(),
            lines,
            ends: (0..ENDS_MAX).map(|_| None).collect(),
            scratch: Scratch::default(),
            packet: [0; RTP_MAX],
        }
    }
}

impl<L: Layers> Terminal for ClientTerminal<L> {
    type End = EndState<L>;
    const SERVES: bool = true;

    fn expand(put: &PutEnd, body: usize) -> Result<Box<EndState<L>>, String> {
        if !CellSize::ALL.iter().any(|size| size.body_len() == body) {
            return Err(format!("no cell has a body of {body} bytes"));
        }
        if drover_crypto::schedule::equal(&put.seal.key.0, &put.open.key.0) {
            // Both ends number from 0: one key for both directions would use every nonce twice.
            return Err("seal, open: one key for both directions".to_owned());
        }
        Ok(Box::new(EndState {
            id: put.end,
            line: None,
            layers: EndLayers::new(&put.layers),
            seal: EndKey::new(&put.seal.key.0, &put.seal.iv.0),
            open: EndKey::new(&put.open.key.0, &put.open.iv.0),
            counter: put.send_first,
            number: 0,
            received: NumberWindow::starting_at(0),
            expected: None,
            claim: Claim::of(&put.seal.key.0)?,
        }))
    }

    fn add(&mut self, end: u32, mut keys: Box<EndState<L>>) {
        keys.line = self.lines.iter().position(|line| line.id() == keys.id);
        if let Some(line) = keys.line {
            self.lines[line].set_up(true);
        }
        // The service thread's indices are dense and far below the limit; `fill` copes where one is not.
        if let Some(place) = self.ends.get_mut(end as usize) {
            *place = Some(keys);
        }
    }

    fn remove(&mut self, end: u32) -> Option<Box<EndState<L>>> {
        let keys = self.ends.get_mut(end as usize)?.take()?;
        // A newer put of the same end may already be there.
        if let Some(line) = keys.line
            && !self.ends.iter().flatten().any(|other| other.line == keys.line)
        {
            self.lines[line].set_up(false);
        }
        Some(keys)
    }

    fn fill(&mut self, end: u32, _now: u64, body: &mut [u8]) -> u64 {
        let Some(state) = self.ends.get_mut(end as usize).and_then(Option::as_deref_mut) else {
            // No slot belongs to an end that is not there. The cell goes to a mix that knows no such circuit any more.
            body.fill(0);
            return 0;
        };
        let packet = &mut self.packet[..rtp_room(body.len())];
        let counters = &self.counters[state.line.unwrap_or(self.lines.len())];
        let mut kind = Kind::Control;
        let mut len = state.line.map_or(0, |line| self.lines[line].take_control(packet));
        if len == 0 {
            kind = Kind::Media;
            len = state.line.map_or(0, |line| self.lines[line].take(packet));
        }
        if len > packet.len() {
            // The RTP thread lets nothing larger through.
            counters.rtp_too_large.add(1);
            len = 0;
        }
        let number = state.number;
        if state.seal.seal_kind(number, kind, &packet[..len], body).is_err() {
            // A body too short for any payload: `expand` refuses it.
            body.fill(0);
        }
        let (said, control) = (u64::from(len > 0), u64::from(kind == Kind::Control));
        counters.rtp_sent.add(said - control);
        counters.control_sent.add(control);
        counters.fillers_sent.add(1 - said);
        state.number = number.wrapping_add(1);
        let counter = state.counter;
        state.counter = counter.wrapping_add(1);
        state.layers.add(counter, body, &mut self.scratch);
        counter
    }

    fn deliver(&mut self, end: u32, _now: u64, counter: u64, body: &mut [u8]) -> Result<(), DropReason> {
        let state = self.ends.get_mut(end as usize).and_then(Option::as_deref_mut);
        let state = state.ok_or(DropReason::UnknownCircuit)?;
        state.layers.peel(counter, body, &mut self.scratch);
        let counters = &self.counters[state.line.unwrap_or(self.lines.len())];
        let Ok((number, kind, payload)) = state.open.open(body) else {
            counters.end_broken.add(1);
            return Err(DropReason::EndBroken);
        };
        // Only what opened may move the window (W-END-3).
        if !state.received.commit(number) {
            counters.end_replay.add(1);
            return Err(DropReason::EndReplay);
        }
        // What the peer sent before this end was there is nobody's loss.
        match number.checked_sub(state.expected.unwrap_or(number)) {
            Some(passed) => {
                counters.cells_lost.add(passed);
                state.expected = Some(number.saturating_add(1));
            }
            None => counters.cells_lost.take_back(),
        }
        if payload.is_empty() {
            counters.fillers_received.add(1);
            return Ok(());
        }
        let line = state.line.and_then(|line| self.lines.get_mut(line));
        let given = match kind {
            Kind::Media => {
                counters.rtp_received.add(1);
                line.is_some_and(|line| line.give(&body[payload]))
            }
            Kind::Control => {
                counters.control_received.add(1);
                line.is_some_and(|line| line.give_control(&body[payload]))
            }
        };
        if !given {
            counters.end_full.add(1);
            return Err(DropReason::EndFull);
        }
        Ok(())
    }
}

/// Bytes of the largest payload of a body of `len` bytes (W-CELL-1).
const fn rtp_room(len: usize) -> usize {
    let room = len.saturating_sub(CellSize::S256.body_len() - CellSize::S256.rtp_max());
    if room < RTP_MAX { room } else { RTP_MAX }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
