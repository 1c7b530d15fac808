//! A worker: one port, one state, one turn after another.
//!
//! The worker owns the loop's order and the rings; the work is in the stages. Time comes from outside, so that tests,
//! the simulator and the benchmarks turn the very same worker on a virtual clock.

mod tables;

use crate::command::{Command, Event};
use crate::handoff::Handoff;
use crate::limits::{BURSTS_PER_TURN, COMMAND_COST, COMMANDS_PER_TURN};
use crate::state::{State, Want};
use crate::terminal::Terminal;
use drover_crypto::Suite;
use drover_nic::ring::{Receiver, Sender};
use drover_nic::{BURST, Port};
use std::convert::Infallible;

/// What paces the turns of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How far ahead of its slot a record is sealed, ns.
    pub horizon: u64,
    /// Bursts taken from the port in one turn.
    pub bursts: usize,
    /// Time between two turns where they come on a grid, ns; 0 where they come as fast as they can. A slot shorter than
    /// this is not late before the next turn.
    pub grain: u64,
}

impl Pace {
    /// A core of its own: one burst a turn, so that transmit comes round quickly.
    pub const SPIN: Pace = Pace { horizon: crate::limits::SPIN_HORIZON_NS, bursts: 1, grain: 0 };
    /// A fixed grid of `tick` ns.
    pub const fn tick(tick: u64) -> Pace {
        let bursts = (BURSTS_PER_TURN as u64 * tick / 1_000_000) as usize;
        let bursts = if bursts == 0 { 1 } else { bursts };
        Pace { horizon: crate::limits::TICK_HORIZON * tick, bursts, grain: tick }
    }
}

/// A worker's ends of the rings to the service thread.
pub struct ServiceEnds<C: Suite, T: Terminal> {
    /// Commands to carry out.
    pub commands: Receiver<Command<C, T::End>>,
    /// What the service thread should know, and what it should free.
    pub events: Sender<Event<C, T::End>>,
}

/// A worker for cells of size `S` over port `P`.
pub struct Worker<P: Port, C: Suite, T: Terminal, const S: usize> {
    /// The port.
    pub port: P,
    /// The state that the stages work on.
    pub state: State<C, S>,
    /// The client's side, if this process has one.
    pub terminal: T,
    handoff: Handoff<S>,
    service: ServiceEnds<C, T>,
    pace: Pace,
}

impl<P: Port, C: Suite, T: Terminal, const S: usize> Worker<P, C, T, S> {
    /// A worker of its parts.
    pub fn new(
        port: P,
        state: State<C, S>,
        terminal: T,
        handoff: Handoff<S>,
        service: ServiceEnds<C, T>,
        pace: Pace,
    ) -> Self {
        let state = State { grain: pace.grain, ..state };
        Worker { port, state, terminal, handoff, service, pace }
    }

    /// The same worker over the port that `wrap` makes of this one. For measuring: a port that stamps what it is given.
    pub fn with_port<Q: Port>(self, wrap: impl FnOnce(P) -> Q) -> Worker<Q, C, T, S> {
        let Ok(worker) = self.try_with_port::<Q, Infallible>(|port| Ok(wrap(port)));
        worker
    }

    /// As [`Worker::with_port`], where the port may be one that cannot be had.
    ///
    /// # Errors
    /// Those of `wrap`.
    pub fn try_with_port<Q: Port, E>(self, wrap: impl FnOnce(P) -> Result<Q, E>) -> Result<Worker<Q, C, T, S>, E> {
        let Worker { port, state, terminal, handoff, service, pace } = self;
        Ok(Worker { port: wrap(port)?, state, terminal, handoff, service, pace })
    }

    /// One turn at `now` (monotonic ns): what is due leaves first, then everything else, each bounded. Returns whether
    /// anything came in or went out.
    pub fn turn(&mut self, now: u64) -> bool {
        self.state.now = now;
        self.state.counters.turns += 1;
        self.state.refill_trials();
        self.state.refill_punts();
        let sent = self.state.counters.sent;
        self.state.transmit(&mut self.port);
        self.commands();
        let mut received = 0;
        for _ in 0..self.pace.bursts {
            let burst = self.port.receive(BURST);
            let frames = burst.len();
            if frames == 0 {
                break;
            }
            received += frames;
            let opened = self.state.receive(&burst);
            drop(burst);
            self.state.relay(opened, &mut self.handoff, &mut self.terminal);
            if frames < BURST {
                break;
            }
        }
        self.state.cross(&mut self.handoff, &mut self.terminal);
        self.state.take_handed(&mut self.handoff);
        self.state.mix();
        self.state.watch();
        self.state.seal(now + self.pace.horizon, &mut self.port, &mut self.terminal);
        self.ask();
        #[cfg(all(feature = "lab", debug_assertions))]
        self.state.assert_conserved();
        received > 0 || self.state.counters.sent != sent
    }

    /// Cells on their way to this worker in hand-off rings.
    pub fn handed_waiting(&mut self) -> usize {
        self.handoff.waiting()
    }

    /// Sends the wants that the events ring has room for, then what else the service thread should know; it frees what
    /// comes back first.
    fn ask(&mut self) {
        while let Some(want) = self.state.wants.pop() {
            let Want { link, generation, direction, step } = want;
            if self.service.events.send(Event::WantStep { link, generation, direction, step }).is_err() {
                self.state.wants.push(want);
                return;
            }
        }
        while let Some(link) = self.state.left.pop_front() {
            let count = self.state.tx[link as usize].left;
            if self.service.events.send(Event::Left { link, count }).is_err() {
                self.state.left.push_front(link);
                return;
            }
            self.state.tx[link as usize].left = 0;
        }
    }

    /// Carries out a few commands. Each goes back as spent: memory is freed by the service thread.
    pub(crate) fn commands(&mut self) {
        let mut cost = 0;
        while cost < COMMANDS_PER_TURN && self.service.events.free() > 0 {
            let Some(mut command) = self.service.commands.recv() else { break };
            let copies = matches!(command, Command::Inject(_) | Command::SendRaw(_));
            cost += if copies { 1 } else { COMMAND_COST };
            self.carry_out(&mut command);
            // There is room: this worker is the ring's only writer.
            let sent = self.service.events.send(Event::Spent(command));
            debug_assert!(sent.is_ok());
        }
    }

    fn carry_out(&mut self, command: &mut Command<C, T::End>) {
        match command {
            Command::AddClass { class, .. } => self.state.classes.extend(class.take()),
            Command::ChangeClass { index, at, rate } => self.state.classes[usize::from(*index)].change_at(*at, *rate),
            Command::AddLink(new) => self.state.add_link(new),
            Command::AddLoop(new) => self.state.add_loop(new),
            Command::AddGeneration { link, keys } => self.state.add_generation(*link, keys.as_mut().as_mut()),
            Command::Advance { link, direction, epoch, limit_bits, keys } => {
                self.state.advance(*link, *direction, *epoch, *limit_bits, keys);
            }
            Command::Switch { link, generation } => self.state.switch(*link, *generation),
            Command::RemoveLink { link, spent } => *spent = self.state.remove_link(*link),
            Command::AddStep(step) => self.state.add_step(step),
            Command::AddIngress(new) => self.state.add_ingress(new),
            Command::SetNext { index, next } => self.state.ingress[*index as usize].next = *next,
            Command::RemoveIngress { index } => self.state.remove_ingress(*index),
            Command::AddEgress(new) => self.state.add_egress(new),
            Command::RemoveEgress { index } => self.state.remove_egress(*index),
            Command::AddEnd { end, keys } => {
                if let Some(keys) = keys.take() {
                    self.terminal.add(*end, keys);
                }
            }
            Command::RemoveEnd { end, spent } => *spent = self.terminal.remove(*end),
            Command::Inject(injected) => self.state.inject(injected),
            Command::SendRaw(raw) => self.state.send_raw(raw, &mut self.port),
            Command::Expect { remote, expected } => self.state.expect(*remote, *expected),
            Command::Listen(yes) => self.state.listen(*yes),
        }
    }
}
