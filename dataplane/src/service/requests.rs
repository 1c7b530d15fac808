//! A message in, a reply out, and the commands that it causes. No socket here: tests and fuzzers call
//! [`Service::answer`] with whatever bytes they like.

use crate::class::Rate;
use crate::command::{Command, Direction, Event, LayerStep, NewIngress, NewLink, Next, StepKey, boxed_class};
use crate::inject::Target;
use crate::keys::{GenerationSecrets, Ratchets, expand};
use crate::limits::CLASSES_MAX;
use crate::owners::Owners;
use crate::punt::{Allowance, PuntRings};
use crate::service::feed::Feed;
use crate::service::hops::Hop;
use crate::service::installed::{Installation, Installed, Use};
use crate::service::shadow::{
    ClassPlan, EndSpec, GenerationIds, LinkPlan, LinkSpec, Place, Plan, Refused, Removal, Shadow, Table, refuse,
};
use crate::status::Status;
use crate::terminal::Terminal;
use drover_crypto::Suite;
use drover_crypto::schedule::{LayerSecret, TrafficSecret, hkdf_sha256};
use drover_nic::Endpoint;
use drover_nic::ring::{Receiver, Sender};
use drover_wire::control::{
    self, BootId, List, Punt, PutClass, PutEnd, PutLink, REQUEST_MAX, Refusal, Reply, Request, Secret,
};
use drover_wire::{cell, record};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{HashMap, HashSet};
use zeroize::Zeroizing;

/// Events taken from one worker before requests have their turn.
const EVENTS_A_TURN: usize = 4096;

/// The rings to and from one worker, this side's ends.
pub struct WorkerEnds<C: Suite, T: Terminal> {
    /// To the worker.
    pub commands: Sender<Command<C, T::End>>,
    /// From the worker.
    pub events: Receiver<Event<C, T::End>>,
    /// What the worker hands over.
    pub punts: PuntRings,
}

/// Everything the service thread knows.
pub struct Service<C: Suite, T: Terminal> {
    pub(super) status: Status,
    pub(super) shadow: Shadow,
    pub(super) feeds: Vec<Feed<C, T::End>>,
    events: Vec<Receiver<Event<C, T::End>>>,
    /// By worker; none while they are read.
    pub(super) punts: Vec<Option<PuntRings>>,
    /// Senders whose datagrams are control's.
    pub(super) expected: HashSet<Endpoint>,
    /// By worker, what the subscriber may be given of datagrams: of strangers, of expected senders.
    pub(super) datagrams: Vec<[Allowance; 2]>,
    /// Datagrams under way to each worker.
    pub(super) raw: Vec<usize>,
    /// Cells of circuits under way to each worker.
    pub(super) cells: Vec<usize>,
    /// The request answered last subscribes its connection.
    pub(super) subscribes: bool,
    /// By link id: a link's generations, oldest first.
    ratchets: HashMap<u32, Vec<Ratchets>>,
    pub(super) installed: Installed,
    /// By circuit id: what the service thread itself needs of circuits that end here, or began by ending here.
    pub(super) hops: HashMap<u32, Hop<C::Layers>>,
    horizon_ns: u64,
    pub(super) rng: StdRng,
}

/// What an accepted request is answered with.
enum Answer {
    Done,
    Welcome,
    Report(Vec<u8>),
}

impl<C: Suite, T: Terminal> Service<C, T> {
    /// A service of these workers. `horizon_ns` is how far ahead they seal.
    pub fn new(status: Status, shadow: Shadow, workers: Vec<WorkerEnds<C, T>>, horizon_ns: u64) -> Self {
        let (mut feeds, mut events, mut punts) = (Vec::new(), Vec::new(), Vec::new());
        for worker in workers {
            feeds.push(Feed::new(worker.commands));
            events.push(worker.events);
            punts.push(Some(worker.punts));
        }
        let (raw, cells) = (vec![0; feeds.len()], vec![0; feeds.len()]);
        Service {
            datagrams: vec![Default::default(); feeds.len()],
            raw,
            cells,
            status,
            shadow,
            feeds,
            events,
            punts,
            expected: HashSet::new(),
            subscribes: false,
            ratchets: HashMap::new(),
            hops: HashMap::new(),
            installed: Installed::default(),
            horizon_ns,
            rng: StdRng::from_os_rng(),
        }
    }

    /// True when no worker can have anything to say.
    pub fn quiet(&self) -> bool {
        self.shadow.counts().0 == 0 && self.feeds.iter().all(|feed| feed.outstanding() == 0)
    }

    /// Takes what the workers say: makes the keys they ask for, frees what is spent, and hands to `sink` what is for the
    /// subscriber.
    pub fn serve_workers(&mut self, mut sink: impl FnMut(&Punt<'_>)) {
        for worker in 0..self.events.len() {
            for _ in 0..EVENTS_A_TURN {
                let Some(event) = self.events[worker].recv() else { break };
                match event {
                    Event::WantStep { link, generation, direction, step } => {
                        self.make_step(worker as u8, link, generation, direction, step);
                    }
                    Event::Spent(command) => self.spent(worker as u8, &command),
                    Event::Left { link, count } => {
                        self.shadow.control_left(Place { worker: worker as u8, index: link }, count)
                    }
                }
            }
            // Behind the events: a spent removal lets its index be used again.
            self.take_punts(worker as u8, &mut sink);
            self.feeds[worker].flush();
        }
    }

    fn make_step(&mut self, worker: u8, link: u32, generation: u32, direction: Direction, step: u64) {
        let Some(id) = self.shadow.link_at(Place { worker, index: link }) else { return };
        let Some(ratchets) = self.ratchets.get_mut(&id) else { return };
        let Some(found) = ratchets.iter_mut().find(|r| r.generation == generation) else { return };
        let ratchet = match direction {
            Direction::Send => &mut found.send,
            Direction::Receive => &mut found.receive,
        };
        if let Some(key) = ratchet.key_at::<C::Records>(step) {
            let step = StepKey { link, generation, direction, step, key: Some(key) };
            self.feeds[usize::from(worker)].push_step(Box::new(step));
        }
    }

    /// A command came back; what memory it holds is dropped with it.
    fn spent(&mut self, worker: u8, command: &Command<C, T::End>) {
        self.feeds[usize::from(worker)].spent();
        let (table, index) = match command {
            Command::RemoveLink { link, .. } => (Table::Link, *link),
            Command::RemoveIngress { index } => (Table::Ingress, *index),
            Command::RemoveEgress { index } => (Table::Egress, *index),
            Command::RemoveEnd { end, .. } => (Table::End, *end),
            Command::SendRaw(_) => return self.raw[usize::from(worker)] -= 1,
            Command::Inject(injected) if !matches!(injected.target, Target::Link { .. }) => {
                return self.cells[usize::from(worker)] -= 1;
            }
            _ => return,
        };
        self.shadow.spent(table, Place { worker, index });
    }

    /// Answers one message: writes the reply into `out`, which holds the longest message, and returns its length.
    pub fn answer(&mut self, message: &[u8], out: &mut [u8]) -> usize {
        let id = control::request_id_of(message);
        let answer = match Request::decode(message) {
            Ok((_, request)) => self.carry_out(request),
            Err(error) => Err(Refused(Refusal::Malformed, error.to_string())),
        };
        let encoded = match &answer {
            Ok(Answer::Done) => Reply::Done.encode(id, out),
            Ok(Answer::Welcome) => Reply::Welcome(self.status.welcome(T::SERVES)).encode(id, out),
            Ok(Answer::Report(json)) => Reply::Report(json).encode(id, out),
            Err(Refused(code, text)) => Reply::Refused { code: *code, text }.encode(id, out),
        };
        encoded.unwrap_or_else(|_| {
            let text = "the answer does not fit into one message";
            Reply::Refused { code: Refusal::Limit, text }.encode(id, out).unwrap_or(0)
        })
    }

    fn carry_out(&mut self, request: Request) -> Result<Answer, Refused> {
        match request {
            Request::Hello => return Ok(Answer::Welcome),
            Request::QueryStatus => return Ok(Answer::Report(self.status.report(&self.shadow))),
            Request::Dump { what, from } => return Ok(Answer::Report(super::dump::page(&self.shadow, what, from))),
            Request::QueryLinks { from } => return self.query_links(from).map(Answer::Report),
            Request::PutClass(put) => self.put_class(&put)?,
            Request::PutLink(put) => self.put_link(&put)?,
            Request::SwitchLink { boot, link, generation } => self.switch_link(boot, link, generation)?,
            Request::RemoveLink { boot, link } => {
                self.check_boot(boot)?;
                self.check_backlog()?;
                self.remove_link(link);
            }
            Request::PutCircuit(put) => self.put_circuit(&put)?,
            Request::RemoveCircuit { boot, circuit } => {
                self.check_boot(boot)?;
                self.check_backlog()?;
                self.hops.remove(&circuit);
                let removals = self.shadow.remove_circuit(circuit);
                self.remove(removals);
            }
            Request::ExtendCircuit(put) => self.extend_circuit(&put)?,
            Request::PutLoop(put) => self.put_loop(&put)?,
            Request::PutTap { boot, at } => self.put_tap(boot, at)?,
            Request::RemoveTap { boot, at } => {
                self.check_boot(boot)?;
                self.check_backlog()?;
                let removals = self.shadow.remove_tap(at);
                self.remove(removals);
            }
            Request::PutEnd(put) => self.put_end(put)?,
            Request::RemoveEnd { boot, end } => {
                self.check_boot(boot)?;
                self.check_backlog()?;
                let removals = self.shadow.remove_end(end);
                self.remove(removals);
            }
            Request::AdvanceEpoch { boot, link, send } => self.advance_epoch(boot, link, send)?,
            Request::Subscribe { boot } => {
                self.check_boot(boot)?;
                self.check_backlog()?;
                self.subscribe();
            }
            Request::Expect { boot, remote, expected } => {
                self.check_boot(boot)?;
                self.expect(remote, expected)?;
            }
            Request::Raw(raw) => self.raw(raw)?,
            Request::Inject(inject) => self.inject(inject)?,
        }
        Ok(Answer::Done)
    }

    #[cfg(feature = "lab")]
    fn query_links(&mut self, from: u32) -> Result<Vec<u8>, Refused> {
        Ok(self.status.links(&self.shadow, from))
    }

    #[cfg(not(feature = "lab"))]
    fn query_links(&mut self, _: u32) -> Result<Vec<u8>, Refused> {
        refuse!(
            Unsupported,
            "counts of single links are told by builds with the feature lab only, and this is not one"
        );
    }

    pub(super) fn check_boot(&self, boot: BootId) -> Result<(), Refused> {
        if boot != self.status.boot {
            let ours = self.status.boot;
            refuse!(
                WrongBoot,
                "meant for boot {boot}, this is {ours}: keys of another life are never used; begin anew"
            );
        }
        Ok(())
    }

    pub(super) fn check_backlog(&self) -> Result<(), Refused> {
        if let Some(worker) = self.feeds.iter().position(Feed::is_full) {
            refuse!(Busy, "worker {worker} has not yet carried out what it was told: try again");
        }
        Ok(())
    }

    pub(super) fn push(&mut self, worker: u8, command: Command<C, T::End>) {
        self.feeds[usize::from(worker)].push(command);
    }

    fn remove(&mut self, removals: Vec<Removal>) {
        for (table, Place { worker, index }) in removals {
            let command = match table {
                Table::Link => Command::RemoveLink { link: index, spent: None },
                Table::Ingress => Command::RemoveIngress { index },
                Table::Egress => Command::RemoveEgress { index },
                Table::End => Command::RemoveEnd { end: index, spent: None },
            };
            self.push(worker, command);
        }
    }

    /// Removes a link with all that uses it: a link of this mix to itself with both ends.
    fn remove_link(&mut self, link: u32) {
        self.ratchets.remove(&link);
        for circuit in self.shadow.circuits_on(link) {
            self.hops.remove(&circuit);
        }
        let removals = self.shadow.remove_link(link);
        self.remove(removals);
    }

    fn put_class(&mut self, put: &PutClass) -> Result<(), Refused> {
        self.check_boot(put.boot)?;
        let now = crate::run::now();
        let Plan::Do(plan) = self.shadow.check_class(put, now, self.horizon_ns)? else { return Ok(()) };
        self.check_backlog()?;
        let index = self.shadow.commit_class(put, plan, now);
        let rate = Rate { round_ns: put.round_ns, slots: put.slots };
        for worker in 0..self.feeds.len() as u8 {
            let command = match plan {
                ClassPlan::New => {
                    debug_assert!(usize::from(index) < CLASSES_MAX);
                    let capacity = self.status.sizes.links;
                    let class = Some(boxed_class(put.class, put.kind, rate, now, capacity));
                    Command::AddClass { index, class }
                }
                ClassPlan::Change { at, .. } => Command::ChangeClass { index, at, rate },
            };
            self.push(worker, command);
        }
        Ok(())
    }

    fn put_link(&mut self, put: &PutLink) -> Result<(), Refused> {
        self.check_boot(put.boot)?;
        let most = record::ratchet_bits_max(self.status.cell.bytes());
        if put.ratchet_bits > most {
            let (link, cell) = (put.link, self.status.cell);
            refuse!(
                Limit,
                "link {link}: ratchet_bits {} is too much for cells of {cell} bytes: at most {most}",
                put.ratchet_bits
            );
        }
        let secret = |secret: &Secret<32>| TrafficSecret(secret.0);
        let (send, receive) = (secret(&put.send.secret), secret(&put.receive.secret));
        let spec = LinkSpec {
            local_port: put.local_port,
            remote: Endpoint { ip: put.remote.ip, port: put.remote.port },
            class: put.class,
            peer: put.peer,
            ratchet_bits: put.ratchet_bits,
        };
        let ids = GenerationIds {
            generation: put.generation,
            keys: [send.key_id(), receive.key_id()],
            first: [put.send.first, put.receive.first],
        };
        let now = crate::run::now();
        if ids.keys[0] == ids.keys[1] {
            refuse!(Malformed, "link {}: send, receive: one secret for both directions", put.link);
        }
        let Plan::Do(plan) = self.shadow.check_link(put.link, &spec, &put.owner, &ids, now)? else { return Ok(()) };
        self.check_backlog()?;
        let keys = [(Use::Send, ids.keys[0]), (Use::Receive, ids.keys[1])];
        self.installed.check(&format!("link {}", put.link), &keys)?;
        self.installed.add(&keys);
        let secrets = GenerationSecrets {
            generation: put.generation,
            ratchet_bits: put.ratchet_bits,
            send: (send, put.send.first),
            receive: (receive, put.receive.first),
        };
        let (keys, ratchets) = expand::<C::Records>(secrets, put.peer);
        match plan {
            LinkPlan::New { worker, class } => {
                let place = self.shadow.commit_link(put.link, (worker, class), spec, put.owner, ids);
                let entry = &self.shadow.classes()[usize::from(class)];
                let new = NewLink {
                    index: place.index,
                    id: put.link,
                    remote: spec.remote,
                    class,
                    peer: put.peer,
                    phase: self.rng.random(),
                    owners: Some(Owners::new(entry.room_at(now), entry.slots_max)),
                    keys: Some(keys),
                };
                self.ratchets.insert(put.link, vec![ratchets]);
                self.push(worker, Command::AddLink(Box::new(new)));
            }
            LinkPlan::Generation => {
                let Some((place, kept)) = self.shadow.commit_generation(put.link, put.owner, ids) else {
                    return Ok(());
                };
                let all = self.ratchets.entry(put.link).or_default();
                all.retain(|r| kept.contains(&r.generation));
                all.push(ratchets);
                let (link, keys) = (place.index, Box::new(Some(keys)));
                self.push(place.worker, Command::AddGeneration { link, keys });
            }
        }
        Ok(())
    }

    /// A foreign peer's next epoch, one way.
    fn advance_epoch(&mut self, boot: BootId, link: u32, send: bool) -> Result<(), Refused> {
        self.check_boot(boot)?;
        self.check_backlog()?;
        let limit_bits = self.shadow.check_advance(link)?;
        let Some(ratchets) = self.ratchets.get_mut(&link).and_then(|all| all.last_mut()) else { return Ok(()) };
        let (ratchet, purpose, direction) = match send {
            true => (&mut ratchets.send, Use::Send, Direction::Send),
            false => (&mut ratchets.receive, Use::Receive, Direction::Receive),
        };
        let id = ratchet.next_key_id();
        let installation = [(purpose, id)];
        self.installed.check(&format!("link {link}"), &installation)?;
        self.installed.add(&installation);
        let keys = Box::new(ratchet.next_epoch::<C::Records>());
        if let Some((place, epoch)) = self.shadow.commit_advance(link, send, id) {
            let link = place.index;
            self.push(place.worker, Command::Advance { link, direction, epoch, limit_bits, keys });
        }
        Ok(())
    }

    fn switch_link(&mut self, boot: BootId, link: u32, generation: u32) -> Result<(), Refused> {
        self.check_boot(boot)?;
        self.check_backlog()?;
        if let Plan::Do(place) = self.shadow.switch(link, generation)? {
            self.push(place.worker, Command::Switch { link: place.index, generation });
            // Nothing is sealed with the older generations any more. What the worker still asks for gets no answer.
            let older = self.ratchets.get_mut(&link).into_iter().flatten().filter(|r| r.generation != generation);
            older.for_each(|r| r.send.forget());
        }
        Ok(())
    }

    fn put_end(&mut self, put: PutEnd) -> Result<(), Refused> {
        self.check_boot(put.boot)?;
        if !T::SERVES {
            refuse!(Unsupported, "end {}: this data plane is a mix's: no circuit ends here; ask a client's", put.end);
        }
        let spec = EndSpec { generation: put.generation, at: put.at, id: fingerprint(&put) };
        let Plan::Do(()) = self.shadow.check_end(put.end, &spec, crate::run::now())? else { return Ok(()) };
        self.check_backlog()?;
        let installations = installations(&put);
        self.installed.check(&format!("end {}", put.end), &installations)?;
        let keys = match T::expand(&put, cell::body_len(self.status.cell.bytes())) {
            Ok(keys) => keys,
            Err(text) => refuse!(Malformed, "end {}: {text}", put.end),
        };
        self.installed.add(&installations);
        let Some(places) = self.shadow.commit_end(put.end, spec) else { return Ok(()) };
        let (end, side) = (places.end.index, places.side);
        self.push(places.end.worker, Command::AddEnd { end, keys: Some(keys) });
        self.add_egress(&side, put.at.link, true, Some((end, put.at.id)));
        let new = NewIngress {
            index: side.ingress.index,
            link: 0,
            circuit: put.at.id,
            step: LayerStep::End,
            key: None,
            first: put.receive_first,
            offset: 0,
            next: Next::End { end },
            others: List::default(),
        };
        self.add_ingress(side.ingress.worker, put.at.link, new);
        Ok(())
    }
}

/// The keys in a put of an end, and what they do.
fn installations(put: &PutEnd) -> Vec<Installation> {
    let id = |key: &Secret<16>| LayerSecret(key.0).key_id();
    let layers = put.layers.iter().flat_map(|layer| [&layer.forward, &layer.backward]);
    let layers = layers.map(|key| (Use::EndLayer, id(key)));
    layers.chain([(Use::EndSeal, id(&put.seal.key)), (Use::EndOpen, id(&put.open.key))]).collect()
}

/// A fingerprint of everything in a put of an end, keys and all.
fn fingerprint(put: &PutEnd) -> [u8; 8] {
    let mut id = [0; 8];
    let mut encoded = Zeroizing::new([0; REQUEST_MAX]);
    let len = Request::PutEnd(put.clone()).encode(0, &mut *encoded).unwrap_or(REQUEST_MAX);
    hkdf_sha256(b"drover end put id", &encoded[..len], &[], &mut id);
    id
}
