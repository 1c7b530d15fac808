//! Calls over an in-memory rendezvous, in virtual time. What is lost, cut or slow is said by each test.

use super::*;
use crate::call::choice::Choice;
use crate::circuit::builder::CircuitHandle;
use crate::rendezvous::lookup::Query;
use crate::rendezvous::messages::{Failed, Join, Joined, Reason, Registered, SEALED_MAILBOX_BYTES};
use crate::rendezvous::registration::{Register, Registration};
use crate::zone::{MixEntry, PeerZone, Slots, ZoneDocument};
use drover_wire::control::EndSecret;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::OnceLock;

const UNIX: u64 = 1_800_000_000;
const STEP: u64 = 20_000_000;
const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

struct People {
    north: ZoneDocument,
    south: ZoneDocument,
    mixes: Vec<Identity>,
    clients: Vec<Arc<Identity>>,
    stranger: Certificate,
}

fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let zone = |name| Identity::new_zone(name, UNIX, 30).expect("a zone");
        let (north, south) = (zone("north"), zone("south"));
        let issue = |zone: &Identity, name, role| zone.issue(name, role, UNIX, 30).expect("issued");
        let mixes: Vec<_> = [(&north, "n1"), (&north, "n2"), (&south, "s1"), (&south, "s2")]
            .map(|(zone, name)| issue(zone, name, Role::Mix))
            .into();
        let document = |zone: &Identity, other: &Identity, mixes: &[Identity]| ZoneDocument {
            zone: zone.certificate().zone().to_owned(),
            serial: 1,
            validity: (UNIX - 1000, UNIX + 100_000_000),
            cell: 256,
            rate: 50,
            ratchet_bits: 24,
            rekey_s: 3600,
            epoch_s: 86_400 * 365 * 100,
            client: Slots { slots: 2 },
            within: Slots { slots: 16 },
            pair: Slots { slots: 16 },
            authority: zone.certificate().clone(),
            mixes: mixes
                .iter()
                .enumerate()
                .map(|(at, mix)| MixEntry {
                    name: mix.certificate().name().to_owned(),
                    address: (
                        if zone.certificate().zone() == "north" { [192, 0, 2, 1] } else { [198, 51, 100, 1] },
                        4000 + at as u16,
                    )
                        .into(),
                    certificate: mix.certificate().clone(),
                })
                .collect(),
            peers: vec![PeerZone {
                zone: other.certificate().zone().to_owned(),
                authority: other.certificate().clone(),
            }],
        };
        let clients = [(&north, "alice"), (&south, "bob"), (&south, "carol")];
        People {
            north: document(&north, &south, &mixes[..2]),
            south: document(&south, &north, &mixes[2..]),
            clients: clients.map(|(zone, name)| Arc::new(issue(zone, name, Role::Client))).into(),
            stranger: issue(&zone("nowhere"), "eve", Role::Client).certificate().clone(),
            mixes,
        }
    })
}

struct Circuit {
    who: usize,
    rendezvous: NodeId,
    admitted: bool,
    peer: Option<u32>,
    token: Option<([u8; 16], NodeId)>,
    keys: Option<(EndSecret, EndSecret)>,
}

/// What a test sees of messages: who said what, of how many bytes, to which mix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    who: usize,
    kind: u8,
    len: usize,
}

#[derive(Default)]
struct Net {
    now_ns: u64,
    queue: BTreeMap<(u64, u64), (usize, BuilderEvent)>,
    sequence: u64,
    next: u32,
    circuits: BTreeMap<u32, Circuit>,
    registrations: HashMap<NodeId, Registration>,
    mailboxes: HashMap<(NodeId, Mailbox), u32>,
    words: [VecDeque<Vec<u8>>; 3],
    heard: [u64; 3],
    sent: Vec<Sent>,
    /// Says of the n-th signal in the whole network whether it is lost.
    lose_signal: Option<fn(usize) -> bool>,
    signals: usize,
    no_link: [bool; 3],
    deaf: bool,
    keep_words: bool,
    no_joins: bool,
    no_answers: bool,
}

impl Net {
    fn later(&mut self, who: usize, ms: u64, event: BuilderEvent) {
        self.sequence += 1;
        self.queue.insert((self.now_ns + ms * 1_000_000, self.sequence), (who, event));
    }

    fn tell(&mut self, circuit: u32, kind: u8, bytes: Vec<u8>) {
        let Some(who) = self.circuits.get(&circuit).map(|circuit| circuit.who) else { return };
        self.later(who, 100, BuilderEvent::Message { circuit: CircuitHandle(circuit), hop: 1, kind, bytes });
    }

    /// DESTROY passes to the other half.
    fn cut(&mut self, circuit: u32, tell_owner: bool) {
        let Some(gone) = self.circuits.remove(&circuit) else { return };
        self.mailboxes.retain(|_, at| *at != circuit);
        let why = "cut by the test".to_owned();
        if tell_owner {
            self.later(gone.who, 50, BuilderEvent::Gone { circuit: CircuitHandle(circuit), why: why.clone() });
        }
        if let Some(peer) = gone.peer
            && let Some(who) = self.circuits.remove(&peer).map(|peer| peer.who)
        {
            self.later(who, 500, BuilderEvent::Gone { circuit: CircuitHandle(peer), why });
        }
    }

    fn rendezvous(&mut self, circuit: u32, kind: u8, bytes: &[u8]) {
        let (who, mix) = (self.circuits[&circuit].who, self.circuits[&circuit].rendezvous);
        match kind {
            Register::KIND => {
                let register = Register::decode(bytes).expect("a client's");
                register.check(UNIX + self.now_ns / SECOND).expect("signed now");
                let zone = if who == ALICE { &people().north } else { &people().south };
                register.registration.check(&zone.authority, UNIX + self.now_ns / SECOND).expect("signed");
                let registration = register.registration;
                assert_eq!(registration.rendezvous(), mix);
                let digest = registration.digest();
                self.mailboxes.insert((mix, registration.client().0), circuit);
                self.registrations.insert(registration.client(), registration);
                self.tell(circuit, Registered::KIND, Registered { digest }.encode());
            }
            Lookup::KIND if self.no_answers => {}
            Lookup::KIND => {
                let lookup = Lookup::decode(bytes).expect("a client's");
                let asked = people().mixes.iter().find(|mix| mix.certificate().id() == lookup.mix).expect("a mix");
                let query = Query::open(asked.static_secret(), &lookup.query).expect("sealed to it");
                let answer = query.answer(self.registrations.get(&query.wanted)).expect("sealed");
                let answer = LookupAnswer { request: lookup.request, answer };
                self.tell(circuit, LookupAnswer::KIND, answer.encode());
            }
            SignalOut::KIND => {
                let signal = SignalOut::decode(bytes).expect("a client's");
                if let Some(reply) = signal.reply {
                    self.mailboxes.insert((mix, reply), circuit);
                }
                self.signals += 1;
                if self.lose_signal.is_some_and(|lose| lose(self.signals)) {
                    return;
                }
                let asked = people().mixes.iter().find(|mix| mix.certificate().id() == signal.mix).expect("a mix");
                let mailbox = signal.mailbox.open(asked.static_secret()).expect("sealed to it");
                if let Some(to) = self.mailboxes.get(&(signal.mix, mailbox)) {
                    let sealed = signal.sealed;
                    self.tell(*to, SignalIn::KIND, SignalIn { mailbox, sealed }.encode());
                }
            }
            Join::KIND => {
                assert!(self.circuits[&circuit].admitted, "a call's circuit owns slots");
                if self.no_joins {
                    let failed = Failed { asked: Join::KIND, request: 0, reason: Reason::Timeout };
                    return self.tell(circuit, Failed::KIND, failed.encode());
                }
                let join = Join::decode(bytes).expect("a client's");
                let fits = |other: &Circuit| other.token == Some((join.token.0, mix)) && other.rendezvous == join.mix;
                let other = self.circuits.iter().find(|(_, other)| fits(other)).map(|(id, _)| *id);
                self.circuits.get_mut(&circuit).expect("there").token = Some((join.token.0, join.mix));
                if let Some(other) = other {
                    for (one, two) in [(circuit, other), (other, circuit)] {
                        self.circuits.get_mut(&one).expect("there").peer = Some(two);
                        self.tell(one, Joined::KIND, Joined { token: join.token.clone() }.encode());
                    }
                }
            }
            other => panic!("a client says {other}"),
        }
    }

    /// The circuit that a client's call is on, once both have handed theirs over under the same keys.
    fn call_of(&self, who: usize) -> Option<u32> {
        let (id, circuit) = self.circuits.iter().find(|(_, circuit)| circuit.who == who && circuit.keys.is_some())?;
        let (seal, open) = circuit.keys.as_ref()?;
        let (their_seal, their_open) = self.circuits.get(&circuit.peer?)?.keys.as_ref()?;
        assert_eq!((seal.key.0, open.key.0), (their_open.key.0, their_seal.key.0), "both ends have the same keys");
        assert_ne!(seal.key.0, open.key.0);
        Some(*id)
    }
}

struct Port {
    net: Rc<RefCell<Net>>,
    who: usize,
}

impl Halves for Port {
    fn open(&mut self, _: Now, rendezvous: NodeId, admitted: bool) -> Option<CircuitHandle> {
        let net = &mut *self.net.borrow_mut();
        if net.no_link[self.who] {
            return None;
        }
        net.next += 1;
        let id = net.next;
        let circuit = Circuit { who: self.who, rendezvous, admitted, peer: None, token: None, keys: None };
        net.circuits.insert(id, circuit);
        net.later(self.who, 300, BuilderEvent::Ready { circuit: CircuitHandle(id), took_ms: 300.0 });
        Some(CircuitHandle(id))
    }
    fn send(&mut self, _: Now, circuit: CircuitHandle, kind: u8, bytes: &[u8]) -> bool {
        let net = &mut *self.net.borrow_mut();
        if !net.circuits.contains_key(&circuit.0) {
            return false;
        }
        net.sent.push(Sent { who: self.who, kind, len: bytes.len() });
        net.rendezvous(circuit.0, kind, bytes);
        true
    }
    fn hand_over(&mut self, circuit: CircuitHandle, seal: EndSecret, open: EndSecret) -> Result<(), String> {
        let net = &mut *self.net.borrow_mut();
        net.circuits.get_mut(&circuit.0).ok_or("no such circuit")?.keys = Some((seal, open));
        Ok(())
    }
    fn close(&mut self, _: Now, circuit: CircuitHandle) {
        self.net.borrow_mut().cut(circuit.0, false);
    }
    fn say(&mut self, word: &[u8]) -> bool {
        let net = &mut *self.net.borrow_mut();
        let other = net.call_of(self.who).and_then(|call| net.circuits[&call].peer).map(|peer| net.circuits[&peer].who);
        if let Some(other) = other.filter(|_| !net.keep_words) {
            net.words[other].push_back(word.to_vec());
        }
        true
    }
    fn hear(&mut self) -> Option<Vec<u8>> {
        self.net.borrow_mut().words[self.who].pop_front()
    }
    fn heard(&self) -> u64 {
        self.net.borrow().heard[self.who]
    }
}

struct Client {
    calls: Calls,
    port: Port,
    events: Vec<CallEvent>,
    _state: tempfile::TempDir,
}

struct World {
    net: Rc<RefCell<Net>>,
    clients: Vec<Client>,
}

impl World {
    /// Alice in the north, Bob and Carol in the south, all registered.
    fn new() -> World {
        let mut world = World::cold();
        world.run(3_000);
        for client in &mut world.clients {
            assert!(matches!(client.events[..], [CallEvent::Registered { .. }]), "{:?}", client.events);
            client.events.clear();
        }
        world.net.borrow_mut().sent.clear();
        world
    }

    fn cold() -> World {
        let net = Rc::new(RefCell::new(Net::default()));
        let people = people();
        let clients = people.clients.iter().enumerate().map(|(who, identity)| {
            let (own, other) =
                if who == ALICE { (&people.north, &people.south) } else { (&people.south, &people.north) };
            let zones = Arc::new(Zones::new(own.clone(), vec![other.clone()]).expect("they fit"));
            let state = tempfile::tempdir().expect("a folder");
            let choice = Choice::load(state.path()).expect("none yet");
            let signalling = Signalling::new(Arc::clone(identity), Arc::clone(&zones), choice, None);
            let calls = Calls::new(Arc::clone(identity), zones, signalling, CallConfig::default());
            Client { calls, port: Port { net: Rc::clone(&net), who }, events: Vec::new(), _state: state }
        });
        World { clients: clients.collect(), net }
    }

    fn now(&self) -> Now {
        let now_ns = self.net.borrow().now_ns;
        Now { mono_ns: now_ns, unix_s: UNIX + now_ns / SECOND }
    }

    fn run(&mut self, ms: u64) {
        let until = self.net.borrow().now_ns + ms * 1_000_000;
        while self.net.borrow().now_ns < until {
            self.net.borrow_mut().now_ns += STEP;
            let now = self.now();
            loop {
                let due = {
                    let net = &mut *self.net.borrow_mut();
                    let due = net.queue.first_entry().filter(|entry| entry.key().0 <= now.mono_ns);
                    due.map(|entry| entry.remove())
                };
                let Some((who, event)) = due else { break };
                let client = &mut self.clients[who];
                client.calls.on_circuit(&mut client.port, now, &event);
            }
            for client in &mut self.clients {
                let net = &mut *self.net.borrow_mut();
                if !net.deaf && net.call_of(client.port.who).is_some() {
                    net.heard[client.port.who] += 1;
                }
            }
            for client in &mut self.clients {
                // As the agent does: what is not due is not done.
                if client.calls.deadline().is_some_and(|due| due <= now.mono_ns) {
                    client.calls.on_tick(&mut client.port, now);
                }
                while let Some(event) = client.calls.poll() {
                    client.events.push(event);
                }
            }
        }
    }

    fn does<T>(&mut self, who: usize, what: impl FnOnce(&mut Calls, &mut Port, Now) -> T) -> T {
        let now = self.now();
        let client = &mut self.clients[who];
        what(&mut client.calls, &mut client.port, now)
    }

    fn call(&mut self, from: usize, to: usize) {
        let callee = people().clients[to].certificate();
        self.does(from, |calls, port, now| calls.call(port, now, callee)).expect("it begins");
    }

    fn answer(&mut self, who: usize) {
        self.does(who, |calls, port, now| calls.answer(port, now)).expect("it rings");
    }

    fn hang_up(&mut self, who: usize) {
        self.does(who, |calls, port, now| calls.hang_up(port, now)).expect("there is a call");
    }

    fn state(&mut self, who: usize) -> CallState {
        self.does(who, |calls, _, now| calls.view(now)).state
    }

    fn sas(&mut self, who: usize) -> Option<String> {
        self.does(who, |calls, _, now| calls.view(now)).sas
    }

    fn ended(&self, who: usize) -> Option<EndReason> {
        self.clients[who].events.iter().rev().find_map(|event| match event {
            CallEvent::Ended { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    /// Signals of a client since the last look: how many, and their sizes.
    fn signals(&self, who: usize) -> Vec<usize> {
        let of = |sent: &&Sent| sent.who == who && sent.kind == hop::SIGNAL;
        self.net.borrow().sent.iter().filter(of).map(|sent| sent.len).collect()
    }

    /// Alice calls Bob, who answers.
    fn up(&mut self) {
        self.call(ALICE, BOB);
        self.run(1_500);
        assert_eq!((self.state(ALICE), self.state(BOB)), (CallState::Ringing, CallState::Incoming));
        self.answer(BOB);
        self.run(2_000);
        assert_eq!((self.state(ALICE), self.state(BOB)), (CallState::Up, CallState::Up));
        assert!(self.net.borrow().call_of(ALICE).is_some());
    }

    fn nothing_left(&mut self) {
        self.run(2_000);
        for who in [ALICE, BOB, CAROL] {
            assert_eq!(self.state(who), CallState::Idle);
            let left = self.net.borrow().circuits.values().filter(|circuit| circuit.who == who).count();
            assert_eq!(left, 1, "the signalling circuit alone is left");
        }
    }
}

const SIGNAL_LEN: usize = 16 + SEALED_MAILBOX_BYTES + 16 + SIGNAL_BYTES;

#[test]
fn a_call_is_made_and_ended() {
    for who in [ALICE, BOB] {
        let mut world = World::new();
        world.up();
        let sas = world.sas(ALICE).expect("agreed");
        assert_eq!((sas.len(), Some(sas)), (6, world.sas(BOB)));
        let view = world.does(BOB, |calls, _, now| calls.view(now));
        assert_eq!(view.peer.expect("a call").name, "alice");
        world.run(30_000);
        assert_eq!(world.state(BOB), CallState::Up, "it stays");
        world.hang_up(who);
        world.nothing_left();
        assert_eq!((world.ended(ALICE), world.ended(BOB)), (Some(EndReason::HungUp), Some(EndReason::HungUp)));
        // And again, with other digits' chance of one in a million to be the same.
        world.up();
    }
}

#[test]
fn a_call_may_be_rejected_or_missed_or_given_up() {
    let mut world = World::new();
    world.call(ALICE, BOB);
    world.run(1_500);
    world.does(BOB, |calls, port, now| calls.reject(port, now)).expect("it rings");
    world.nothing_left();
    assert_eq!((world.ended(ALICE), world.ended(BOB)), (Some(EndReason::Rejected), Some(EndReason::Rejected)));
    world.call(ALICE, BOB);
    world.run(50_000);
    assert_eq!((world.ended(ALICE), world.ended(BOB)), (Some(EndReason::NoAnswer), Some(EndReason::Missed)));
    world.nothing_left();
    world.call(ALICE, BOB);
    world.run(1_500);
    world.hang_up(ALICE);
    world.run(500);
    assert_eq!((world.ended(ALICE), world.ended(BOB)), (Some(EndReason::HungUp), Some(EndReason::Missed)));
    world.nothing_left();
}

#[test]
fn a_second_caller_gets_busy() {
    let mut world = World::new();
    world.up();
    world.call(CAROL, BOB);
    world.run(1_500);
    assert_eq!(world.ended(CAROL), Some(EndReason::Busy));
    assert_eq!(
        (world.state(ALICE), world.state(BOB), world.state(CAROL)),
        (CallState::Up, CallState::Up, CallState::Idle)
    );
    let callee = people().clients[CAROL].certificate();
    let refused = world.does(BOB, |calls, port, now| calls.call(port, now, callee));
    assert_eq!(refused, Err(CommandError::Busy));
}

#[test]
fn an_attempt_to_call_sends_the_same_whatever_happens() {
    let mut counts = BTreeMap::new();
    let mut count = |world: &World, name: &'static str| {
        assert!(world.signals(ALICE).iter().all(|len| *len == SIGNAL_LEN), "one size");
        counts.insert(name, world.signals(ALICE).len());
    };
    let mut world = World::new();
    world.up();
    count(&world, "answered");
    let mut world = World::new();
    world.call(ALICE, BOB);
    world.run(1_500);
    world.does(BOB, |calls, port, now| calls.reject(port, now)).expect("it rings");
    world.nothing_left();
    count(&world, "rejected");
    assert_eq!(world.signals(BOB), [SIGNAL_LEN; 2], "ringing, rejected");
    let mut world = World::new();
    world.call(CAROL, BOB);
    world.run(1_500);
    world.net.borrow_mut().sent.clear();
    world.call(ALICE, BOB);
    world.run(2_000);
    assert_eq!(world.ended(ALICE), Some(EndReason::Busy));
    count(&world, "busy");
    assert_eq!(world.signals(BOB), [SIGNAL_LEN; 2], "as many as ringing and rejecting");
    let mut world = World::new();
    world.call(ALICE, BOB);
    world.run(50_000);
    count(&world, "no answer");
    let mut world = World::new();
    world.net.borrow_mut().registrations.clear();
    world.call(ALICE, BOB);
    world.run(2_000);
    assert_eq!(world.ended(ALICE), Some(EndReason::Unknown));
    count(&world, "unknown");
    let mut world = World::new();
    world.net.borrow_mut().no_answers = true;
    world.call(ALICE, BOB);
    world.run(30_000);
    assert_eq!(world.ended(ALICE), Some(EndReason::Unreachable));
    count(&world, "no mix answers");
    assert!(counts.values().all(|count| *count == 2), "{counts:?}");
}

#[test]
fn two_who_call_each_other_talk() {
    let mut world = World::new();
    world.call(ALICE, BOB);
    world.call(BOB, ALICE);
    world.run(6_000);
    assert_eq!((world.state(ALICE), world.state(BOB)), (CallState::Up, CallState::Up));
    assert_eq!(world.sas(ALICE), world.sas(BOB));
    assert!(world.net.borrow().call_of(ALICE).is_some());
    world.hang_up(BOB);
    world.nothing_left();
}

#[test]
fn lost_signals_are_said_again() {
    // Signals of a call that is answered: introduction, ringing, answer, reveal; repeats in between.
    let losses: [fn(usize) -> bool; 5] = [|n| n == 1, |n| n == 2, |n| n == 3, |n| n == 4, |n| n % 3 == 1];
    for (at, lose) in losses.into_iter().enumerate() {
        let mut world = World::new();
        world.net.borrow_mut().lose_signal = Some(lose);
        world.call(ALICE, BOB);
        world.run(12_000);
        assert_eq!(world.state(BOB), CallState::Incoming, "loss {at}");
        world.answer(BOB);
        world.run(14_000);
        assert_eq!((world.state(ALICE), world.state(BOB)), (CallState::Up, CallState::Up), "loss {at}");
    }
    let mut world = World::new();
    world.net.borrow_mut().lose_signal = Some(|_| true);
    world.call(ALICE, BOB);
    world.run(25_000);
    assert_eq!((world.ended(ALICE), world.state(BOB)), (Some(EndReason::Unreachable), CallState::Idle));
}

#[test]
fn a_replayed_introduction_does_not_ring_again() {
    let mut world = World::new();
    let introduced = |world: &mut World| {
        world.call(ALICE, BOB);
        world.run(160);
        let signal = |event: &BuilderEvent| matches!(event, BuilderEvent::Message { kind: hop::SIGNAL, .. });
        let introduction = {
            let net = world.net.borrow();
            let found = net.queue.values().find(|(who, event)| *who == BOB && signal(event));
            found.expect("on its way to Bob").1.clone()
        };
        world.run(1_500);
        assert_eq!(world.state(BOB), CallState::Incoming);
        introduction
    };
    let introduction = introduced(&mut world);
    world.hang_up(ALICE);
    world.nothing_left();
    let said = world.signals(BOB).len();
    world.does(BOB, |calls, port, now| calls.on_circuit(port, now, &introduction));
    assert_eq!((world.state(BOB), world.signals(BOB).len()), (CallState::Idle, said));
    // After a rejection a repeat is answered as before: the caller may not have heard it.
    let introduction = introduced(&mut world);
    world.does(BOB, |calls, port, now| calls.reject(port, now)).expect("it rings");
    let said = world.signals(BOB).len();
    world.does(BOB, |calls, port, now| calls.on_circuit(port, now, &introduction));
    assert_eq!((world.state(BOB), world.signals(BOB).len()), (CallState::Idle, said + 1));
}

#[test]
fn a_broken_call_is_mended() {
    for who in [ALICE, BOB] {
        let mut world = World::new();
        world.up();
        let sas = world.sas(ALICE);
        for round in 1..=3 {
            let circuit = world.net.borrow().call_of(who).expect("up");
            world.net.borrow_mut().cut(circuit, true);
            world.run(200);
            assert_eq!(world.state(who), CallState::Mending);
            world.run(4_000);
            assert_eq!((world.state(ALICE), world.state(BOB)), (CallState::Up, CallState::Up), "round {round}");
            assert!(world.net.borrow().call_of(ALICE).is_some());
            let mended = |event: &&CallEvent| matches!(event, CallEvent::Mended { .. });
            assert_eq!(world.clients[who].events.iter().filter(mended).count(), round);
            world.run(10_000);
        }
        assert_eq!((world.sas(ALICE), world.sas(BOB)), (sas.clone(), sas), "the same call");
    }
}

#[test]
fn silence_is_a_break_too() {
    let mut world = World::new();
    world.up();
    world.net.borrow_mut().deaf = true;
    world.run(4_900);
    assert_eq!(world.state(ALICE), CallState::Up);
    world.run(300);
    assert_eq!(world.state(ALICE), CallState::Mending);
    world.net.borrow_mut().deaf = false;
    world.run(10_000);
    assert_eq!((world.state(ALICE), world.state(BOB)), (CallState::Up, CallState::Up));
}

#[test]
fn what_cannot_be_mended_ends() {
    let mut world = World::new();
    world.up();
    world.net.borrow_mut().no_joins = true;
    let circuit = world.net.borrow().call_of(ALICE).expect("up");
    world.net.borrow_mut().cut(circuit, true);
    world.run(25_000);
    assert_eq!((world.ended(ALICE), world.ended(BOB).is_some()), (Some(EndReason::Broken), true));
    let tries = world.clients[ALICE].events.iter().filter(|event| matches!(event, CallEvent::Mending { .. })).count();
    assert!(tries <= 3, "{tries}");
    world.nothing_left();
    // A link that stays away: 20 s, and no more.
    let mut world = World::new();
    world.up();
    world.net.borrow_mut().no_link[ALICE] = true;
    let circuit = world.net.borrow().call_of(ALICE).expect("up");
    world.net.borrow_mut().cut(circuit, true);
    world.run(18_000);
    assert_eq!(world.state(ALICE), CallState::Mending);
    world.run(3_000);
    assert_eq!(world.ended(ALICE), Some(EndReason::Broken));
    // One that comes back in time.
    let mut world = World::new();
    world.up();
    world.net.borrow_mut().no_link[ALICE] = true;
    let circuit = world.net.borrow().call_of(ALICE).expect("up");
    world.net.borrow_mut().cut(circuit, true);
    world.run(6_000);
    world.net.borrow_mut().no_link[ALICE] = false;
    world.run(8_000);
    assert_eq!((world.state(ALICE), world.state(BOB)), (CallState::Up, CallState::Up));
}

#[test]
fn hanging_up_needs_no_word_to_arrive() {
    let mut world = World::new();
    world.up();
    world.net.borrow_mut().keep_words = true;
    world.hang_up(ALICE);
    world.nothing_left();
    assert_eq!(world.ended(BOB), Some(EndReason::HungUp));
    // Nor a signal.
    let mut world = World::new();
    world.up();
    world.net.borrow_mut().lose_signal = Some(|_| true);
    world.hang_up(BOB);
    world.run(1_000);
    assert_eq!(world.ended(ALICE), Some(EndReason::HungUp));
}

#[test]
fn a_signalling_circuit_that_breaks_is_built_again_and_a_call_goes_on() {
    let mut world = World::new();
    world.up();
    let signalling: Vec<_> =
        world.net.borrow().circuits.iter().filter(|(_, circuit)| !circuit.admitted).map(|(id, _)| *id).collect();
    for circuit in signalling {
        world.net.borrow_mut().cut(circuit, true);
    }
    world.run(3_000);
    for who in [ALICE, BOB] {
        let events = &world.clients[who].events;
        assert!(events.iter().any(|event| matches!(event, CallEvent::Unregistered { .. })));
        assert!(matches!(events.last(), Some(CallEvent::Registered { .. })), "{:?}", events.last());
        assert_eq!(world.state(who), CallState::Up);
    }
    // The caller's mailbox is open again: a break that only the callee sees is mended.
    let circuit = world.net.borrow().call_of(BOB).expect("up");
    world.net.borrow_mut().cut(circuit, true);
    world.run(4_000);
    assert_eq!((world.state(ALICE), world.state(BOB)), (CallState::Up, CallState::Up));
}

#[test]
fn signalling_circuits_are_renewed_and_the_old_ones_closed() {
    let mut world = World::new();
    let before: Vec<_> = world.net.borrow().circuits.keys().copied().collect();
    world.run(40 * 60 * 1000);
    let after: Vec<_> = world.net.borrow().circuits.keys().copied().collect();
    assert_eq!(after.len(), 3);
    assert!(before.iter().all(|circuit| !after.contains(circuit)));
    let refreshed = world.net.borrow().sent.iter().filter(|sent| sent.who == BOB && sent.kind == hop::REGISTER).count();
    assert!((70..=90).contains(&refreshed), "every 30 s: {refreshed}");
}

#[test]
fn commands_that_do_not_fit_are_refused() {
    let mut world = World::cold();
    let (alice, bob) = (people().clients[ALICE].certificate(), people().clients[BOB].certificate());
    let call = |world: &mut World, to| world.does(ALICE, |calls, port, now| calls.call(port, now, to));
    assert_eq!(call(&mut world, bob), Err(CommandError::NotRegistered));
    world.run(3_000);
    assert_eq!(call(&mut world, alice), Err(CommandError::Self_));
    assert_eq!(call(&mut world, &people().stranger), Err(CommandError::Certificate));
    assert_eq!(call(&mut world, people().mixes[0].certificate()), Err(CommandError::Certificate));
    assert_eq!(world.does(ALICE, |calls, port, now| calls.answer(port, now)), Err(CommandError::NoCall));
    assert_eq!(world.does(ALICE, |calls, port, now| calls.reject(port, now)), Err(CommandError::NoCall));
    assert_eq!(world.does(ALICE, |calls, port, now| calls.hang_up(port, now)), Err(CommandError::NoCall));
}

#[test]
fn floods_and_nonsense_are_counted() {
    let mut world = World::new();
    let (circuit, _) = world.clients[BOB].calls.signalling.circuit().expect("registered");
    let signal = SignalIn { mailbox: people().clients[BOB].certificate().id().0, sealed: vec![7; SIGNAL_BYTES] };
    for (kind, bytes) in [
        (hop::SIGNAL, signal.encode()),
        (hop::SIGNAL, vec![]),
        (hop::FAILED, vec![9]),
        (hop::LOOKUP_ANSWER, vec![]),
        (200, vec![1]),
    ] {
        let event = BuilderEvent::Message { circuit, hop: 1, kind, bytes };
        for _ in 0..20 {
            world.does(BOB, |calls, port, now| calls.on_circuit(port, now, &event));
        }
    }
    let counters = *world.clients[BOB].calls.counters();
    assert_eq!((counters.refused, counters.flooded), (16 + 20, 4), "{counters:?}");
    assert_eq!(world.state(BOB), CallState::Idle);
    // The allowance comes back.
    world.run(5_000);
    world.up();
}
