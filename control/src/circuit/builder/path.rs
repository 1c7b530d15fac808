//! One circuit of a client: the layers of its hops, a channel with each, cells there and back. One cell a round leaves at
//! most, under one sequence of counters, whichever hop it is for (`docs/wire.md`, W-HOP-4, W-CRT-10).

use crate::channel::{Channel, Delivery, SendError};
use crate::circuit::PATH;
use crate::circuit::limits::{BUILD_NS, hop_channel, random};
use crate::circuit::messages::FRAME;
use crate::circuit::ntor::{Client, HopSecrets};
use crate::client::layers::{EndLayers, Scratch};
use crate::plane::{Now, Plane};
use drover_crypto::hop::HopMac;
use drover_crypto::reference::CtrLayers;
use drover_dataplane::limits::COUNTER_JUMP;
use drover_dataplane::window::CellWindow;
use drover_dtls::certificate::NodeId;
use drover_wire::cell::{body_len, hop::CHECK};
use drover_wire::control::{Bytes, EndLayer, Inject, LinkEnd, Request};

/// How far apart the counter ranges of hops must begin: more cells than a circuit ever carries.
const APART: u64 = 1 << 48;

/// How far a circuit has come.
pub(super) enum State {
    /// The next hop's short-term key is awaited, or its turn.
    Waiting,
    /// CREATE or EXTEND was sent.
    Asked(Box<Client>),
    /// All hops are there.
    Ready,
    /// The data plane has it.
    Handed {
        /// As this end.
        end: u32,
    },
}

/// A hop of the circuit.
struct Hop {
    layer: EndLayer,
    forward_mac: HopMac,
    backward_mac: HopMac,
    /// The counter of its first own cell, as it arrives here.
    first: u64,
    window: CellWindow,
    /// When the highest counter came, monotonic ns.
    last_ns: u64,
    channel: Channel,
}

/// A circuit.
pub(super) struct Path {
    /// The link to the first hop.
    pub link: u32,
    /// The hops.
    pub path: [NodeId; PATH],
    /// It owns slots all along.
    pub admitted: bool,
    /// Its place on the link, once CREATE was sent.
    pub at: Option<LinkEnd>,
    /// How far it has come.
    pub state: State,
    /// The counter of the next cell that leaves.
    pub counter: u64,
    /// When it was opened.
    pub opened: Now,
    /// Wrong short-term keys so far.
    pub wrong_keys: u8,
    /// When to look again for what it waits for, monotonic ns.
    pub look_ns: u64,
    cell: u16,
    round_ns: u64,
    hops: Vec<Hop>,
    layers: EndLayers<CtrLayers>,
    scratch: Box<Scratch>,
    next_ns: u64,
    turn: usize,
}

impl Path {
    pub fn new(link: u32, path: [NodeId; PATH], admitted: bool, now: Now) -> Path {
        Path {
            link,
            path,
            admitted,
            at: None,
            state: State::Waiting,
            counter: random(),
            opened: now,
            wrong_keys: 0,
            look_ns: now.mono_ns,
            cell: 0,
            round_ns: 0,
            hops: Vec::new(),
            layers: EndLayers::new(&[]),
            scratch: Box::default(),
            next_ns: 0,
            turn: 0,
        }
    }

    /// The hop whose keys are to be agreed next; [`PATH`] when all are.
    pub fn hop(&self) -> usize {
        self.hops.len()
    }

    /// When it is too late for it to become ready, monotonic ns.
    pub fn too_late_ns(&self) -> u64 {
        self.opened.mono_ns.saturating_add(BUILD_NS)
    }

    /// Draws the first counter of the next hop's own cells, as they leave it, far from those of the hops before.
    pub fn draw_first(&self) -> u64 {
        loop {
            let first = random();
            let arrives = first.wrapping_add(self.backward_offset());
            let apart = |hop: &Hop| arrives.wrapping_sub(hop.first).min(hop.first.wrapping_sub(arrives)) > APART;
            if self.hops.iter().all(apart) {
                return first;
            }
        }
    }

    /// What the hops so far add to a counter on its way here.
    fn backward_offset(&self) -> u64 {
        self.hops.iter().fold(0, |sum, hop| sum.wrapping_add(hop.layer.backward_offset))
    }

    /// Takes the next hop in, whose own cells leave it with counters from `first` on.
    pub fn add_hop(&mut self, secrets: &HopSecrets, first: u64, cell: u16, round_ns: u64, now_ns: u64) {
        (self.cell, self.round_ns) = (cell, round_ns);
        self.hops.push(Hop {
            layer: secrets.layer.clone(),
            forward_mac: HopMac(secrets.forward_mac.0),
            backward_mac: HopMac(secrets.backward_mac.0),
            first: first.wrapping_add(self.backward_offset()),
            window: CellWindow::starting_at(0),
            last_ns: now_ns,
            channel: Channel::new(hop_channel(cell, round_ns), random() as u32),
        });
        let layers: Vec<_> = self.layers().collect();
        self.layers = EndLayers::new(&layers);
    }

    /// The hops' layers, nearest first.
    pub fn layers(&self) -> impl Iterator<Item = EndLayer> {
        self.hops.iter().map(|hop| hop.layer.clone())
    }

    /// The data plane has it from now on: no key of its stays here.
    pub fn hand_over(&mut self, end: u32) {
        self.state = State::Handed { end };
        self.hops.clear();
        self.layers = EndLayers::new(&[]);
    }

    /// Queues a message for a hop.
    pub fn send(&mut self, now_ns: u64, hop: usize, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>> {
        let hop = self.hops.get_mut(hop).ok_or(None)?;
        hop.channel.send(now_ns, kind, bytes).map_err(Some)
    }

    /// What a hop has said.
    pub fn poll(&mut self, now_ns: u64) -> Option<(usize, Delivery)> {
        let mut hops = self.hops.iter_mut().enumerate();
        hops.find_map(|(at, hop)| hop.channel.poll(now_ns).map(|delivery| (at, delivery)))
    }

    /// When it next has something to do by itself, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        let frames = self.hops.iter().filter_map(|hop| hop.channel.deadline()).min().map(|at| at.max(self.next_ns));
        let look = match self.state {
            State::Waiting => Some(self.look_ns.min(self.too_late_ns())),
            State::Asked(_) => Some(self.too_late_ns()),
            State::Ready | State::Handed { .. } => None,
        };
        [frames, look].into_iter().flatten().min()
    }

    /// Sends the frame that is due, if a round has gone by since the last.
    pub fn send_due(&mut self, plane: &mut dyn Plane, now_ns: u64) {
        let Some(at) = self.at.filter(|_| !self.hops.is_empty() && now_ns >= self.next_ns) else { return };
        let mut frame = vec![0; hop_channel(self.cell, 0).frame];
        let count = self.hops.len();
        let mut due = |hop: &usize| self.hops[*hop].channel.take_frame(now_ns, &mut frame);
        let Some(hop) = (0..count).map(|n| (self.turn + n) % count).find(|hop| due(hop)) else { return };
        self.turn = hop + 1;
        self.next_ns = now_ns.saturating_add(self.round_ns);
        let counter = self.counter;
        self.counter = counter.wrapping_add(1);
        let mut body = vec![0; body_len(usize::from(self.cell))];
        let check = self.layers.check(hop, counter, body.len(), &mut self.scratch);
        if self.hops[hop].forward_mac.seal(&mut body, check, FRAME, &frame).is_err() {
            return;
        }
        self.layers.add_to(hop, counter, &mut body, &mut self.scratch);
        let Some(body) = Bytes::new(&body) else { return };
        let boot = plane.welcome().boot;
        // A cell that the data plane does not take is lost as on a wire: the channel sends its frame again.
        let _ = plane.ask(&Request::Inject(Inject::Relay { boot, at, counter, body }));
    }

    /// Takes a cell of the circuit: its counter says which hop has made it (W-CRT-10).
    pub fn on_cell(&mut self, now_ns: u64, counter: u64, body: &[u8]) -> Result<(), &'static str> {
        if self.hops.is_empty() || body.len() != body_len(usize::from(self.cell)) {
            return Err("cell before its time");
        }
        let round_ns = self.round_ns.max(1);
        let made = self.hops.iter().position(|hop| {
            let elapsed = now_ns.saturating_sub(hop.last_ns) / round_ns;
            let ahead = COUNTER_JUMP.saturating_add(elapsed.saturating_mul(2));
            counter.wrapping_sub(hop.first) < hop.window.next().saturating_add(ahead)
        });
        let Some(at) = made else { return Err("cell of no hop") };
        let relative = counter.wrapping_sub(self.hops[at].first);
        if !self.hops[at].window.is_new(relative) {
            return Err("replayed cell");
        }
        let mut body = body.to_vec();
        self.layers.peel_to(at, counter, &mut body, &mut self.scratch);
        let hop = &mut self.hops[at];
        let opened = hop.backward_mac.open(&body).filter(|_| body[..CHECK] == [0; CHECK]);
        let Some((FRAME, frame)) = opened else { return Err("forged cell") };
        if relative >= hop.window.next() {
            hop.last_ns = now_ns;
        }
        hop.window.commit(relative);
        hop.channel.on_frame(now_ns, frame).map_err(|_| "bad frame")
    }
}
