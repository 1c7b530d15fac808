//! A running network of real processes, two zones of two mixes and two clients, and what befalls it: loss, curiosity,
//! kills, floods. What a process knows is read from its memory.
//!
//! One network for all of it: steps follow one another, each begins with a call that is up, and what fails is told at the
//! end.
#![cfg(feature = "lab")]

#[path = "town/flood.rs"]
mod flood;
#[path = "town/memory.rs"]
mod memory;
#[path = "town/relay.rs"]
mod relay;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drover_control::demo::DemoArgs;
use drover_control::demo::cast::{Cast, choices};
use drover_control::demo::host::Host;
use drover_control::demo::network::{Network, PortChoice};
use drover_control::demo::phone::{DaemonStatus, Phone};
use drover_control::demo::topology::{End, Topology};
use drover_control::plane::Now;
use drover_control::socket::{ControlSocket, OwnedReply};
use drover_control::supervise::Which;
use drover_dtls::certificate::Certificate;
use drover_wire::control::{Dump, Request};
use memory::Needle;
use relay::Relay;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

/// Steps between two looks at the processes.
const LOOK: Duration = Duration::from_millis(30);
/// Time for what needs handshakes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The mixes' links renew their keys about this often, s.
const REKEY_S: f64 = 4.0;
/// Memory that a control daemon may gain by a flood, bytes.
const GROWTH: u64 = 8 << 20;
/// Cells of a call that may be lost beside a flood, of all.
const LOSS: f64 = 0.05;
/// A packet may take this long: rounds, the horizon, and a busy machine.
const PACKET: Duration = Duration::from_millis(500);

type Step = Result<(), String>;
/// A step's name, and what it does.
type Named = (&'static str, fn(&mut Town) -> Step);

struct Town {
    host: Host,
    cast: Cast,
    relays: Vec<Relay>,
    phones: [Phone; 2],
    /// Where the callee's voice comes out.
    ear: UdpSocket,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Step {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Town {
    /// caller - a1 - a2 - b2 - b1 - callee; b1 and b2 are reached through relays.
    fn start() -> Result<Town, String> {
        let args = DemoArgs {
            seconds: None,
            cell: 256,
            rate: 50,
            wav: None,
            out: "out".into(),
            seed: None,
            json: true,
            ipv6: false,
            port: PortChoice::Udp,
            tick_us: 1000,
            kill_control: None,
        };
        let seed = (0..).find(|seed| choices(*seed) == [[0, 1], [2, 3]]).ok_or("no seed")?;
        let (mouth, ear) =
            (UdpSocket::bind("127.0.0.1:0").map_err(text)?, UdpSocket::bind("127.0.0.1:0").map_err(text)?);
        ear.set_read_timeout(Some(PACKET)).map_err(text)?;
        let hears = [mouth.local_addr().map_err(text)?, ear.local_addr().map_err(text)?];
        let mut relays = Vec::new();
        let network = Network::loopback(false);
        let cast = Cast::make_behind(&args, &network, seed, Now::read().unix_s, hears, |name, address| {
            if !name.starts_with('b') {
                return Ok(address);
            }
            relays.push(Relay::start(address, relays.len() as u64).map_err(text)?);
            Ok(relays[relays.len() - 1].front)
        })?;
        for mix in &cast.mixes {
            let key_log = cast.folder().join(format!("{}.keys", mix.name));
            prepend(&mix.control, &format!("rekey_s = {REKEY_S}\nlab_key_log = {key_log:?}\n"))?;
        }
        let host = Host::start(&cast, &network)?;
        let phones = [0, 1].map(|at| Phone::new(&cast.clients[at].name, &cast.clients[at].socket));
        Ok(Town { host, cast, relays, phones, ear })
    }

    /// Looks until there is something.
    fn wait<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&mut Town) -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + patience;
        loop {
            self.host.turn()?;
            let last = match look(self) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => String::new(),
                Err(error) => format!(" ({error})"),
            };
            if Instant::now() > deadline {
                let states = [0, 1].map(|at| self.phones[at].status().map_or_else(text, |s| s.json().to_string()));
                return Err(self.host.fault(&format!("in vain: {what}{last}; {states:?}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn registered(&mut self) -> Step {
        self.wait("both clients registered", PATIENCE, |town| {
            let both = [town.phones[0].status()?, town.phones[1].status()?];
            Ok(both.iter().all(|status| status.registered().is_some()).then_some(()))
        })
    }

    /// A call that is up at both ends, with its digits: the one there is, or a new one.
    fn call(&mut self) -> Result<String, String> {
        self.registered()?;
        self.wait("no call half up", PATIENCE, |town| {
            let states = [town.phones[0].status()?, town.phones[1].status()?];
            let [a, b] = [states[0].state(), states[1].state()];
            Ok((a == b && ["idle", "up"].contains(&a)).then_some(()))
        })?;
        // Right after the last call the client may still be busy with its end; right after its registration the callee may
        // be unknown at the other mix.
        self.wait("the call is up", PATIENCE, |town| {
            let [caller, callee] = [town.phones[0].status()?, town.phones[1].status()?];
            match (caller.state(), callee.state()) {
                ("up", "up") => return Ok(Some(())),
                ("idle", "idle") => town.phones[0].call(&town.cast.callee_certificate())?,
                _ => {}
            }
            Ok(None)
        })?;
        self.up()
    }

    fn up(&mut self) -> Result<String, String> {
        self.wait("the call is up", PATIENCE, |town| {
            let [caller, callee] = [town.phones[0].status()?, town.phones[1].status()?];
            if [&caller, &callee].iter().any(|status| status.state() != "up") {
                return Ok(None);
            }
            let (here, there) = (caller.sas().unwrap_or("none"), callee.sas().unwrap_or("nothing"));
            ensure(here == there, || format!("the digits differ: {here}, {there}"))?;
            Ok(Some(here.to_owned()))
        })
    }

    fn hang_up(&mut self) -> Step {
        self.phones[0].hang_up()?;
        self.wait("both clients idle", PATIENCE, |town| {
            let both = [town.phones[0].status()?, town.phones[1].status()?];
            Ok(both.iter().all(|status| status.state() == "idle").then_some(()))
        })
    }

    /// Cells that arrived and that did not, of the call, at both ends.
    fn cells(&self) -> Result<[(u64, u64); 2], String> {
        let of = |at: usize| -> Result<(u64, u64), String> {
            let status = self.phones[at].status()?;
            let count = |key: &str| status.json()["packets"][key].as_u64().ok_or(format!("no packets.{key}"));
            Ok((count("cells")?, count("lost")?))
        };
        Ok([of(0)?, of(1)?])
    }

    /// Waits until this many more cells have arrived at both ends.
    fn more_cells(&mut self, more: u64) -> Step {
        let before = self.cells()?;
        self.wait("cells at both ends", PATIENCE, |town| {
            let now = town.cells()?;
            Ok(now.iter().zip(before).all(|(now, before)| now.0 >= before.0 + more).then_some(()))
        })
    }

    /// Packets that the caller says and the callee hears, of so many.
    fn speak(&mut self, packets: u16) -> Result<usize, String> {
        let mouth = UdpSocket::bind("127.0.0.1:0").map_err(text)?;
        let mut heard = 0;
        let mut buffer = [0; 2048];
        for sequence in 0..packets {
            let mut packet = vec![0x80, 0];
            packet.extend(sequence.to_be_bytes());
            packet.extend((0..168_u16).map(|at| (at * 7 + sequence) as u8));
            mouth.send_to(&packet, self.cast.clients[0].takes).map_err(text)?;
            if let Ok(length) = self.ear.recv(&mut buffer) {
                ensure(buffer[4..length] == packet[4..] || heard < usize::from(sequence), || {
                    "a packet changed".to_owned()
                })?;
                heard += 1;
            }
        }
        Ok(heard)
    }

    /// A page-wise dump of a mix's or client's data plane, and all that came as text.
    fn dump(&self, node: usize, what: Dump, list: &str) -> Result<(Vec<Value>, String), String> {
        let paths = self.cast.mixes.iter().map(|mix| &mix.data_plane_socket);
        let mut paths = paths.chain(self.cast.clients.iter().map(|client| &client.data_plane_socket));
        let mut socket = ControlSocket::connect(paths.nth(node).ok_or("no such node")?).map_err(text)?;
        let (mut all, mut raw, mut from) = (Vec::new(), String::new(), 0);
        loop {
            let OwnedReply::Report(json) = socket.call(&Request::Dump { what, from }).map_err(text)? else {
                return Err(format!("no dump of {list}"));
            };
            raw += &json;
            let page: Value = serde_json::from_str(&json).map_err(text)?;
            all.extend(page[list].as_array().ok_or("no list")?.iter().cloned());
            match page["next"].as_u64() {
                Some(next) => from = u32::try_from(next).map_err(text)?,
                None => return Ok((all, raw)),
            }
        }
    }

    fn topology(&self) -> Result<Topology, String> {
        let mut sockets = Host::connect(&self.cast)?;
        let dumps: Result<Vec<_>, _> = sockets.iter_mut().map(ControlSocket::dump_links).collect();
        Ok(Topology::of(&self.cast.known, &dumps.map_err(text)?, |class| class.to_string()))
    }

    fn daemon(&self, mix: usize) -> Result<DaemonStatus, String> {
        DaemonStatus::of(&self.cast.mixes[mix].control_socket)
    }

    /// Refusals of a mix's links, by reason.
    fn refused(&self, mix: usize) -> Result<BTreeMap<String, u64>, String> {
        let status = self.daemon(mix)?;
        let refused = status.json()["totals"]["links"]["refused"].as_object().ok_or("no refusals")?;
        Ok(refused.iter().map(|(reason, n)| (reason.clone(), n.as_u64().unwrap_or(0))).collect())
    }
}

fn prepend(path: &Path, lines: &str) -> Step {
    let old = std::fs::read_to_string(path).map_err(text)?;
    std::fs::write(path, lines.to_owned() + &old).map_err(text)
}

/// Links, registration and the ends' agreement while a fifth of what crosses the relays is lost; then the voice without
/// loss. Whether the call is up under loss depends on when its two halves were joined: it may be in mending.
fn loss(town: &mut Town) -> Step {
    town.registered()?;
    town.wait("the same digits at both ends", PATIENCE, |town| {
        let [caller, callee] = [town.phones[0].status()?, town.phones[1].status()?];
        if caller.state() == "idle" && callee.state() == "idle" {
            town.phones[0].call(&town.cast.callee_certificate())?;
        }
        Ok(caller.sas().is_some_and(|sas| callee.sas() == Some(sas)).then_some(()))
    })?;
    let lost: Vec<_> = town.relays.iter().map(Relay::lost).collect();
    // Who dials whom depends on ids: a mix with the smallest is reached by none through its relay.
    ensure(lost.iter().sum::<u64>() > 100, || format!("too little was lost: {lost:?}"))?;
    town.relays.iter().for_each(|relay| relay.trouble(false));
    town.call()?;
    town.more_cells(50)?;
    let heard = town.speak(40)?;
    ensure(heard >= 30, || format!("{heard} of 40 packets were heard"))
}

/// I2 to I4: who knows what of a call that is up.
fn knowledge(town: &mut Town) -> Step {
    town.call()?;
    let topology = town.topology()?;
    let ids: Vec<_> = town.cast.known.iter().map(|known| known.id.clone()).collect();
    let mut faults = Vec::new();
    let mut circuits = Vec::new();
    for node in 0..4 {
        let name = &town.cast.mixes[node].name;
        let (rows, raw) = town.dump(node, Dump::Circuits, "circuits")?;
        let mut sides = BTreeSet::new();
        for row in &rows {
            let far = (!row["far"].is_null()).then(|| side(&row["far"])).transpose()?;
            // One near and at most one far, of no other circuit.
            for side in [Some(side(&row["near"])?), far].into_iter().flatten() {
                if !sides.insert(side) {
                    faults.push(format!("{name}: two circuits at link {} id {}", side.0, side.1));
                }
            }
            let admitted = row["admitted"].as_array().is_some_and(|flags| flags.iter().all(|flag| flag == true));
            if admitted && far.is_none() {
                faults.push(format!("{name}: a call's circuit without a far side: {row}"));
            }
            circuits.push((node, side(&row["near"])?, far, admitted));
        }
        let (_, links) = town.dump(node, Dump::Links, "links")?;
        for (client, [first, _]) in [0, 1].into_iter().zip(town.cast.choices) {
            let names = [&raw, &links].iter().any(|text| text.contains(&ids[4 + client]));
            if names != (node == first) {
                let does = if names { "names" } else { "does not name" };
                faults.push(format!("the data plane of {name} {does} the {}", town.cast.clients[client].name));
            }
        }
    }
    match way(&topology, &circuits) {
        Ok(way) if way == [0, 1, 3, 2] => {}
        Ok(way) => faults.push(format!("the call passes by {way:?}, not by a1, a2, b2, b1")),
        Err(error) => faults.push(error),
    }
    faults.extend(memories(town)?);
    ensure(faults.is_empty(), || faults.join("\n  "))
}

fn side(value: &Value) -> Result<(u32, u32), String> {
    let number =
        |key: &str| value[key].as_u64().and_then(|n| u32::try_from(n).ok()).ok_or(format!("no {key}: {value}"));
    Ok((number("link")?, number("id")?))
}

/// One circuit of one node: near side, far side, whether it is a call's.
type Passing = (usize, (u32, u32), Option<(u32, u32)>, bool);

/// The mixes that the caller's call passes, from link to link.
fn way(topology: &Topology, circuits: &[Passing]) -> Result<Vec<usize>, String> {
    let (caller, callee) = (4, 5);
    let across = |node: usize, link: u32| {
        let end = End { node, link };
        topology.links.iter().find_map(|named| match named.ends {
            [a, b] if a == end => Some(b),
            [a, b] if b == end => Some(a),
            _ => None,
        })
    };
    let mut way = Vec::new();
    let begin =
        circuits.iter().find(|(node, near, _, call)| *call && across(*node, near.0).is_some_and(|e| e.node == caller));
    let &(node, near, ..) = begin.ok_or("no call's circuit at the caller's mix")?;
    let mut at = (node, near);
    for _ in 0..8 {
        let next = circuits.iter().find_map(|(node, near, far, call)| {
            let here = *call && *node == at.0;
            let far = (*far)?;
            if here && *near == at.1 { Some(far) } else { (here && far == at.1).then_some(*near) }
        });
        let (link, id) = next.ok_or(format!("the call's circuit ends at {at:?} after {way:?}"))?;
        way.push(at.0);
        let end = across(at.0, link).ok_or(format!("link {link} of {} leads nowhere", at.0))?;
        if end.node == callee {
            return Ok(way);
        }
        at = (end.node, (end.link, id));
    }
    Err(format!("the call goes in a ring: {way:?}"))
}

/// What processes have in their memory of callers and callees.
fn memories(town: &Town) -> Result<Vec<String>, String> {
    let mut needles = Vec::new();
    for known in &town.cast.known {
        let certificate =
            Certificate::load(&town.cast.folder().join(&known.name).join("certificate.pem")).map_err(text)?;
        let mut add = |what: &str, bytes: &[u8]| {
            needles.push(Needle { name: format!("{}'s {what}", known.name), bytes: bytes.to_vec() });
        };
        add("id", &certificate.id().0);
        add("id in hex", known.id.as_bytes());
        add("static key", &certificate.static_key());
        // SubjectPublicKeyInfo: a bit string with an uncompressed point.
        let der = certificate.der();
        let point = der.windows(4).position(|four| four == [3, 0x42, 0, 4]).ok_or("a certificate without a point")?;
        add("public key", &der[point + 4..point + 68]);
    }
    let mut faults = Vec::new();
    for (node, mix) in town.cast.mixes.iter().enumerate() {
        for (which, process) in [(Which::DataPlane, "data plane"), (Which::Control, "control daemon")] {
            let pid = town.host.pid(node, which).ok_or(format!("{}: no {process}", mix.name))?;
            let (found, read) = match memory::known(pid, &needles) {
                Ok(read) => read,
                Err(error) => {
                    drover_nic::skip::skipped(format!("memory of processes cannot be read: {error}"));
                    return Ok(faults);
                }
            };
            let who = format!("the {process} of {} ({read} bytes)", mix.name);
            let has = |what: &str| found.iter().any(|name| name.starts_with(what));
            let zone = node / 2;
            let (own, other) = (&town.cast.clients[zone].name, &town.cast.clients[1 - zone].name);
            let of_other: Vec<_> = found.iter().filter(|name| name.starts_with(other.as_str())).collect();
            if !of_other.is_empty() {
                faults.push(format!("{who} knows {of_other:?}"));
            }
            // The search finds what must be there.
            if which == Which::Control {
                let all_mixes = town.cast.mixes.iter().all(|mix| has(&format!("{}'s", mix.name)));
                if !all_mixes || !has(&format!("{own}'s id")) || !has(&format!("{own}'s public key")) {
                    faults.push(format!("{who} should know all mixes and the {own}, has {found:?}"));
                }
            } else if town.cast.choices[zone][0] == node && !has(&format!("{own}'s id")) {
                faults.push(format!("{who} should know the {own}'s id, has {found:?}"));
            }
        }
    }
    Ok(faults)
}

/// A control daemon dies during the call: nothing of the call does; it takes up what is there.
fn control_dies(town: &mut Town) -> Step {
    let sas = town.call()?;
    let mix = town.cast.choices[0][0];
    let links = town.dump(mix, Dump::Links, "links")?.0;
    let links = links.iter().filter(|link| link["loop_to"].is_null()).count();
    let before = town.cells()?;
    town.host.kill(mix, Which::Control);
    town.wait("the death is noticed", PATIENCE, |town| Ok((!town.host.ready(mix)).then_some(())))?;
    town.more_cells(100)?;
    ensure(!town.host.ready(mix), || "the control daemon came back too early".to_owned())?;
    let after = town.cells()?;
    for (before, after) in before.iter().zip(after) {
        let (came, lost) = (after.0 - before.0, after.1 - before.1);
        ensure((lost as f64) < LOSS * (came + lost) as f64, || format!("{lost} cells lost, {came} came"))?;
    }
    town.wait("the control daemon is back", PATIENCE, |town| Ok(town.host.ready(mix).then_some(())))?;
    let adopted = town.wait("links are adopted", PATIENCE, |town| Ok(town.daemon(mix)?.adopted()))?;
    ensure(adopted as usize == links, || format!("{adopted} of {links} links adopted"))?;
    town.wait("keys are renewed", PATIENCE, |town| Ok((town.daemon(mix)?.rekeys() > 0).then_some(())))?;
    let now = town.up()?;
    ensure(now == sas, || format!("the digits were {sas}, are {now}"))?;
    town.hang_up()?;
    town.call()?;
    town.more_cells(25)
}

/// Far more ClientHellos than a mix answers, replays and garbage.
fn floods(town: &mut Town) -> Step {
    town.call()?;
    let mix = town.cast.choices[0][0];
    let pid = town.host.pid(mix, Which::Control).ok_or("no control daemon")?;
    let flight = flood::hello(&town.cast.folder().join(&town.cast.clients[0].name))?;
    let (refused, memory) = (town.refused(mix)?, memory::resident(pid).ok_or("no memory")?);
    let (refused_b, before, begin) = ([town.refused(2)?, town.refused(3)?], town.cells()?, Instant::now());
    let flood = flood::Flood::start(town.cast.mixes[mix].address, flight)?;
    let mut number = 0;
    let seconds = Duration::from_secs(4);
    town.wait("the flood goes on", seconds * 4, |town| {
        // Replays of first datagrams of mixes and clients, and garbage in their name.
        number += 1;
        for relay in &town.relays {
            relay.replay();
            let mut garbage = [number as u8; 287];
            for first in [22, 25, 0x2c, 0x2f, 0xd7] {
                garbage[0] = first;
                relay.inject(&garbage);
            }
        }
        town.up_now()?;
        Ok((begin.elapsed() >= seconds).then_some(()))
    })?;
    let after = town.cells()?;
    let elapsed = begin.elapsed().as_secs_f64();
    for (before, after) in before.iter().zip(after) {
        let (came, lost) = (after.0 - before.0, after.1 - before.1);
        ensure((lost as f64) < LOSS * (came + lost) as f64 && came as f64 > 35.0 * elapsed, || {
            format!("beside the flood {lost} cells were lost and {came} came in {elapsed} s")
        })?;
    }
    // While it lasts, a client comes.
    let sent = flood.sent();
    town.host.restart_client(&town.cast, 0)?;
    let came = town.registered();
    drop(flood);
    came.map_err(|error| {
        let statuses = [0, 1].map(|mix| town.daemon(mix).map_or_else(text, |status| status.json().to_string()));
        format!("{error}; {statuses:?}")
    })?;
    let new = |before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
        let grown = after.iter().map(|(reason, n)| (reason.clone(), n - before.get(reason).unwrap_or(&0)));
        grown.filter(|(_, n)| *n > 0).collect()
    };
    let refusals = new(&refused, &town.refused(mix)?);
    let at_b = [new(&refused_b[0], &town.refused(2)?), new(&refused_b[1], &town.refused(3)?)];
    ensure(refusals.values().sum::<u64>() > 200, || format!("{sent} ClientHellos, refused: {refusals:?}"))?;
    ensure(at_b.iter().flat_map(BTreeMap::values).sum::<u64>() > 0, || {
        "replays at b1 and b2: none refused".to_owned()
    })?;
    let grown = memory::resident(pid).ok_or("no memory")?.saturating_sub(memory);
    eprintln!("flood: {sent} ClientHellos; refused {refusals:?}; at b1, b2 {at_b:?}; memory grew by {grown} bytes");
    ensure(grown < GROWTH, || format!("the control daemon grew by {grown} bytes"))?;
    town.call()?;
    town.more_cells(25)
}

impl Town {
    fn up_now(&self) -> Step {
        let state = self.phones[0].status()?.state().to_owned();
        ensure(state == "up", || format!("the call is {state}"))
    }
}

/// The data plane of a mix inside the call's way dies: the ends mend their call, or say how it ended.
fn data_plane_dies(town: &mut Town) -> Step {
    let sas = town.call()?;
    let mix = town.cast.choices[0][1];
    town.host.kill(mix, Which::DataPlane);
    town.wait("the death is noticed", PATIENCE, |town| Ok((!town.host.ready(mix)).then_some(())))?;
    town.wait("both processes are back", PATIENCE, |town| Ok(town.host.ready(mix).then_some(())))?;
    let outcome = town.wait("the call is mended or over", PATIENCE, |town| {
        let [caller, callee] = [town.phones[0].status()?, town.phones[1].status()?];
        let mended = |status: &Value| status["call"]["mended"].as_u64().unwrap_or(0);
        Ok(match (caller.state(), callee.state()) {
            ("up", "up") if mended(caller.json()) > 0 && mended(callee.json()) > 0 => {
                Some(Ok(caller.sas().map(str::to_owned)))
            }
            ("idle", "idle") => Some(Err([caller.last().map(str::to_owned), callee.last().map(str::to_owned)])),
            _ => None,
        })
    })?;
    match outcome {
        Ok(now) => {
            ensure(now.as_deref() == Some(&*sas), || format!("the digits were {sas}, are {now:?}"))?;
            town.more_cells(25)?;
            eprintln!("the call was mended");
            town.hang_up()?;
        }
        Err(last) => {
            ensure(last.iter().all(Option::is_some), || format!("the call ended without a word: {last:?}"))?;
            eprintln!("the call ended: {last:?}");
        }
    }
    town.wait("its links are back", PATIENCE, |town| {
        let topology = town.topology()?;
        let name = &town.cast.mixes[mix].name;
        let others = town.cast.mixes.iter().filter(|other| other.name != *name);
        Ok(others.into_iter().all(|other| topology.linked(name, &other.name)).then_some(()))
    })?;
    town.call()?;
    town.more_cells(25)
}

/// No private key and no traffic secret is in anything that a process has put out.
fn secrets(town: &mut Town) -> Step {
    town.call()?;
    let folder = town.cast.folder();
    let mut needles = Vec::new();
    let mut add = |name: String, secret: &[u8]| {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        needles.push(Needle { name: format!("{name}, upper case"), bytes: hex.to_uppercase().into_bytes() });
        // In the middle of something else it has one of three forms; the first and last digits depend on neighbours.
        for skip in 0..3 {
            let base64 = STANDARD.encode([&vec![0; skip], secret].concat());
            needles.push(Needle { name: format!("{name}, base64"), bytes: base64.as_bytes()[4..40].to_vec() });
        }
        needles.push(Needle { name: format!("{name}, hex"), bytes: hex.into_bytes() });
        needles.push(Needle { name, bytes: secret.to_vec() });
    };
    let mut counts = [0; 2];
    for known in &town.cast.known {
        let pem = std::fs::read_to_string(folder.join(&known.name).join("identity.key")).map_err(text)?;
        for (number, block) in pem.split("-----END").filter(|block| block.contains("BEGIN")).enumerate() {
            let base64: String = block.lines().filter(|line| !line.contains("-----")).collect();
            let der = STANDARD.decode(base64).map_err(text)?;
            let at = der.windows(2).position(|two| two == [4, 32]).ok_or("a key without 32 bytes")?;
            add(format!("private key {number} of {}", known.name), &der[at + 2..at + 34]);
            counts[0] += 1;
        }
    }
    for mix in &town.cast.mixes {
        let log = std::fs::read_to_string(folder.join(format!("{}.keys", mix.name))).map_err(text)?;
        for line in log.lines() {
            let mut words = line.split(' ');
            let (Some(label), Some(hex)) = (words.next(), words.nth(1)) else { continue };
            let byte = |at: usize| u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap_or("x"), 16);
            let secret: Result<Vec<_>, _> = (0..hex.len() / 2).map(byte).collect();
            add(format!("{label} of {}", mix.name), &secret.map_err(text)?);
            counts[1] += 1;
        }
    }
    ensure(counts[0] == 12 && counts[1] >= 20, || format!("keys, secrets: {counts:?}"))?;
    let mut outputs: Vec<(String, Vec<u8>)> = Vec::new();
    for mix in &town.cast.mixes {
        for path in [&mix.data_plane, &mix.control] {
            let path = path.with_extension("log");
            outputs.push((path.display().to_string(), std::fs::read(&path).map_err(text)?));
        }
        outputs.push((
            format!("status of {}", mix.name),
            DaemonStatus::of(&mix.control_socket)?.json().to_string().into(),
        ));
    }
    for (at, client) in town.cast.clients.iter().enumerate() {
        outputs.push((format!("status of {}", client.name), town.phones[at].status()?.json().to_string().into()));
    }
    for node in 0..6 {
        let kinds =
            [(Dump::Links, "links"), (Dump::Circuits, "circuits"), (Dump::Classes, "classes"), (Dump::Ends, "ends")];
        for (what, list) in kinds {
            outputs.push((format!("dump of {list} of node {node}"), town.dump(node, what, list)?.1.into()));
        }
    }
    for (socket, node) in Host::connect(&town.cast)?.iter_mut().zip(0..) {
        outputs.push((format!("data plane's status of node {node}"), socket.status_json().map_err(text)?.into()));
    }
    outputs.push(("words".to_owned(), town.host.words().join("\n").into()));
    let mut faults = Vec::new();
    for (name, bytes) in &outputs {
        let found = memory::found(bytes, &needles);
        if !found.is_empty() {
            faults.push(format!("{name}: {found:?}"));
        }
    }
    // The search finds what is there.
    let log = std::fs::read(folder.join(format!("{}.keys", town.cast.mixes[0].name))).map_err(text)?;
    ensure(!memory::found(&log, &needles).is_empty(), || "secrets are not found where they are".to_owned())?;
    ensure(faults.is_empty(), || faults.join("\n  "))
}

#[test]
fn a_town_and_what_befalls_it() {
    let drover = Path::new(env!("CARGO_BIN_EXE_drover"));
    assert!(
        drover.with_file_name("drover-dataplane").is_file(),
        "this test starts drover-dataplane; build it first: cargo build --workspace --bins --features lab"
    );
    let mut town = Town::start().unwrap_or_else(|error| panic!("{error}"));
    let steps: [Named; 6] = [
        ("loss", loss),
        ("knowledge", knowledge),
        ("control dies", control_dies),
        ("floods", floods),
        ("data plane dies", data_plane_dies),
        ("secrets", secrets),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        let begin = Instant::now();
        let done = step(&mut town);
        town.relays.iter().for_each(|relay| relay.trouble(false));
        let verdict = if done.is_ok() { "right" } else { "WRONG" };
        eprintln!("{name}: {verdict} after {:.1} s", begin.elapsed().as_secs_f64());
        failed.extend(done.err().map(|error| format!("{name}: {error}")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
