//! What changes while it runs: calls that go down and come up under new keys, and new generations of all links' keys.

use super::voices::Voices;
use crate::lab::network::{Network, PATH};
use crate::lab::program::{FIRST_GENERATION, Programmer, circuit_id};
use crate::lab::secret::FileSecret;
use crate::socket::ControlSocket;
use drover_wire::control::Request;
use std::time::{Duration, Instant};

/// Shortest and longest time between two changes, s.
const BEAT: (f64, f64) = (3.0, 20.0);
/// Changes in a soak between these limits.
const BEATS: f64 = 12.0;
/// A call stays down for so long: what was on its way is gone by then, whatever it waited for.
const DOWN: Duration = Duration::from_millis(700);
/// Records that do not open so long after a change of keys are its doing.
const MENDING: Duration = Duration::from_secs(1);

/// The network and the state of its keys.
pub struct Net {
    /// With the secrets that calls have now.
    pub network: Network,
    generation: u32,
}

impl Net {
    pub fn new(network: Network) -> Net {
        Net { network, generation: FIRST_GENERATION }
    }

    fn programmer(&self) -> Result<Programmer<'_>, String> {
        Programmer::connect(&self.network, self.generation).map_err(|error| error.to_string())
    }

    /// Programs everything that is missing.
    pub fn program(&mut self) -> Result<(), String> {
        self.programmer()?.all(false).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Every change once, without waiting for anything.
    pub fn change_all(&mut self) -> Result<(), String> {
        for call in 0..self.network.calls.len() {
            self.down(call)?;
            self.up(call)?;
        }
        self.rekey()
    }

    /// Removes a call's ends and circuits.
    fn down(&mut self, call: usize) -> Result<(), String> {
        let mut programmer = self.programmer()?;
        let (call_of, network) = (&self.network.calls[call], &self.network);
        let last = PATH - 1;
        // Ends first: nothing comes in that could go nowhere. Then from the callee to the caller, in no special order.
        for place in [0, last].into_iter().chain(1..last) {
            let node = network.node(&call_of.path[place]).ok_or("a call's path names no node")?;
            let node = &mut programmer.nodes[node];
            let boot = node.welcome.boot;
            let request = match place {
                0 => Request::RemoveEnd { boot, end: call_of.caller_end },
                _ if place == last => Request::RemoveEnd { boot, end: call_of.callee_end },
                _ => Request::RemoveCircuit { boot, circuit: circuit_id(call, place) },
            };
            let what = format!("removal of call {:?}", call_of.name);
            node.socket.done(&what, &request).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Puts a call again, from a new secret: no key that was in use comes back (W-CTL-3).
    fn up(&mut self, call: usize) -> Result<(), String> {
        self.network.calls[call].secret = FileSecret::random()?;
        self.program()
    }

    /// Gives all links a new generation and sends with it.
    fn rekey(&mut self) -> Result<(), String> {
        self.generation += 1;
        self.programmer()?.all(true).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// What is being changed.
enum Now {
    Nothing,
    /// The call's voices come to an end.
    Hushing(usize),
    Down(usize, Instant),
    /// Keys have changed; records that had not opened before.
    Mending(Instant, u64),
}

/// Changes on a rhythm, one at a time.
pub struct Changes {
    every: Duration,
    next: Instant,
    turn: usize,
    now: Now,
    /// Calls that went down and came up.
    pub redials: u64,
    /// Times that all links got new keys.
    pub generations: u64,
    /// Records that no key opened within a second after new keys.
    pub unopened: u64,
}

impl Changes {
    pub fn new(minutes: f64) -> Changes {
        let every = Duration::from_secs_f64((minutes * 60.0 / BEATS).clamp(BEAT.0, BEAT.1));
        let next = Instant::now() + every;
        Changes { every, next, turn: 0, now: Now::Nothing, redials: 0, generations: 0, unopened: 0 }
    }

    /// Counts from now on.
    pub fn begin_count(&mut self) {
        (self.redials, self.generations, self.unopened) = (0, 0, 0);
    }

    /// Changes so far.
    pub fn done(&self) -> u64 {
        self.redials + self.generations
    }

    /// Does what is due.
    pub fn turn(&mut self, net: &mut Net, voices: &mut Voices, sockets: &mut [ControlSocket]) -> Result<(), String> {
        let now = Instant::now();
        if matches!(self.now, Now::Nothing) {
            if now < self.next {
                return Ok(());
            }
            self.next = now + self.every;
            // In turn: the links' keys, a call, the links' keys, the next call.
            let turn = self.turn;
            self.turn += 1;
            if turn.is_multiple_of(2) {
                let before = unopened(sockets)?;
                net.rekey()?;
                self.now = Now::Mending(Instant::now() + MENDING, before);
            } else {
                let call = turn / 2 % net.network.calls.len();
                voices.hold(call);
                self.now = Now::Hushing(call);
            }
            return Ok(());
        }
        self.go_on(net, voices, sockets)
    }

    /// Goes on with what was begun; true when it is done.
    pub fn finish(
        &mut self,
        net: &mut Net,
        voices: &mut Voices,
        sockets: &mut [ControlSocket],
    ) -> Result<bool, String> {
        self.go_on(net, voices, sockets)?;
        Ok(matches!(self.now, Now::Nothing))
    }

    fn go_on(&mut self, net: &mut Net, voices: &mut Voices, sockets: &mut [ControlSocket]) -> Result<(), String> {
        let now = Instant::now();
        match self.now {
            Now::Hushing(call) if voices.idle(call) => {
                net.down(call)?;
                self.now = Now::Down(call, now + DOWN);
            }
            Now::Down(call, until) if now >= until => {
                net.up(call)?;
                voices.release(call);
                self.redials += 1;
                self.now = Now::Nothing;
            }
            Now::Mending(until, before) if now >= until => {
                self.unopened += unopened(sockets)?.saturating_sub(before);
                self.generations += 1;
                self.now = Now::Nothing;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Names of the drops of records that no key opens.
pub const UNOPENED: [&str; 2] = ["record_tag", "record_key"];

/// Records that no key opened, of all nodes.
fn unopened(sockets: &mut [ControlSocket]) -> Result<u64, String> {
    let mut all = 0;
    for socket in sockets {
        let drops = socket.status().map_err(|error| error.to_string())?.drops();
        all += UNOPENED.iter().filter_map(|reason| drops.get(*reason)).sum::<u64>();
    }
    Ok(all)
}
