//! Programs the nodes of a lab network over their control sockets.
//!
//! Run as often as wanted: what is there stays. After restarts it puts what is missing. A surviving peer of a restarted
//! node still has their link under the old keys, so it is removed there first, and so are the calls through it.
//!
//! A key must never be installed twice in one life of a node, for its numbers would begin anew (W-KEY-2). So a link is
//! removed here only where its other end no longer has it; where both have it and one refuses the put, the file was changed
//! under running nodes, and that is an error.

use super::derive::{CallKeys, LinkKeys, Lives};
use super::network::{Call, Network, NodeKind, PATH};
use crate::socket::{ControlSocket, Fault, OwnedReply, SocketError};
use drover_wire::control::{
    Address, BootId, Direction, ID_LIMIT, Layers, LinkEnd, Owner, Peer, PutCircuit, PutClass, PutEnd, PutLink, Refusal,
    Request, SLOTS_MAX, Welcome,
};
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;

/// The generation of keys that a network is first programmed with.
pub const FIRST_GENERATION: u32 = 1;
/// Room that classes keep for more slots, where the file does not ask for more: their rate may rise this often.
const SLOTS_SPARE: u32 = 4;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Links put where an end lacked it.
    pub links_put: usize,
    /// Links that were there, at both ends.
    pub links_kept: usize,
    /// Links removed at an end whose peer has restarted.
    pub links_removed: usize,
    /// Circuits of mixes and clients' ends programmed or found.
    pub calls: usize,
    /// Calls taken down because a node of their path has restarted.
    pub calls_removed: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { links_put, links_kept, links_removed, calls, calls_removed } = self;
        write!(f, "links: {links_put} put, {links_kept} kept, {links_removed} removed at an old peer; ")?;
        write!(f, "calls: {calls} up, {calls_removed} taken down first")
    }
}

/// Why a network is not programmed.
#[derive(Debug)]
pub enum ProgramError {
    /// A node's socket; the node's name.
    Socket(String, SocketError),
    /// Anything else, with its mend.
    Network(String),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::Socket(node, error) => {
                write!(f, "node {node:?}: {error}")?;
                match &error.fault {
                    Fault::Refused { code: Refusal::WrongBoot, .. } => {
                        f.write_str(" (it has restarted meanwhile: run this again)")
                    }
                    _ => Ok(()),
                }
            }
            ProgramError::Network(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ProgramError {}

/// One node, connected.
pub struct NodeHandle {
    name: String,
    /// Its control socket.
    pub socket: ControlSocket,
    /// What it said of itself.
    pub welcome: Welcome,
    /// Where each worker receives.
    pub listen: Vec<SocketAddr>,
    /// Links that it had when it was asked first.
    had: HashSet<u32>,
}

impl NodeHandle {
    /// Sends what must be done.
    fn done(&mut self, what: &str, request: &Request) -> Result<(), ProgramError> {
        self.socket.done(what, request).map_err(|error| ProgramError::Socket(self.name.clone(), error))
    }
}

/// A lab network and connections to all its nodes.
pub struct Programmer<'n> {
    network: &'n Network,
    /// The nodes, in the file's order.
    pub nodes: Vec<NodeHandle>,
    generation: u32,
}

/// Which end of a link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}

impl<'n> Programmer<'n> {
    /// Connects to every node and asks what it is and which links it has.
    ///
    /// # Errors
    ///
    /// [`ProgramError`]: a node does not answer, has another cell size, fewer workers than the file says, is no lab build,
    /// or is a mix where the file says client.
    pub fn connect(network: &'n Network, generation: u32) -> Result<Programmer<'n>, ProgramError> {
        let mut nodes = Vec::with_capacity(network.nodes.len());
        for node in &network.nodes {
            let fail = |error| ProgramError::Socket(node.name.clone(), error);
            let mut socket = ControlSocket::connect(&node.socket).map_err(fail)?;
            let welcome = socket.hello().map_err(fail)?;
            let odd = |what: String| Err(ProgramError::Network(format!("node {:?}: {what}", node.name)));
            if welcome.cell != network.cell {
                return odd(format!("its cells have {} bytes, the file says {}", welcome.cell, network.cell));
            }
            if !welcome.lab {
                return odd("not a lab build; start one built with: cargo build --features lab".to_owned());
            }
            if welcome.workers.len() < node.listen.len() {
                let (has, says) = (welcome.workers.len(), node.listen.len());
                return odd(format!("it has {has} workers, the file says {says}; change `listen` in one of them"));
            }
            if node.kind == NodeKind::Client && !welcome.ends {
                return odd("the file says client, and this is a mix; start drover-client there".to_owned());
            }
            // A port that the node chose itself is only known to it.
            let real = welcome.workers.iter().map(|w| SocketAddr::from(w.listen));
            let chosen = |(file, real): (&SocketAddr, SocketAddr)| {
                let ip = if file.ip().is_unspecified() { real.ip() } else { file.ip() };
                SocketAddr::new(ip, if file.port() == 0 { real.port() } else { file.port() })
            };
            let listen = node.listen.iter().zip(real).map(chosen).collect();
            let had = socket.links_json().map_err(fail)?.iter().map(|l| l.link).collect();
            nodes.push(NodeHandle { name: node.name.clone(), socket, welcome, listen, had });
        }
        Ok(Programmer { network, nodes, generation })
    }

    /// Programs all: classes, links, circuits, and both ends of every call. With `switch`, links then send with this
    /// generation.
    ///
    /// # Errors
    ///
    /// [`ProgramError`]. What was done until then stays; running it again goes on.
    pub fn all(&mut self, switch: bool) -> Result<Summary, ProgramError> {
        let mut summary = Summary::default();
        self.clear(&mut summary)?;
        self.classes()?;
        self.links(&mut summary)?;
        for call in 0..self.network.calls.len() {
            self.circuits(call)?;
            self.call_up(call)?;
            summary.calls += 1;
        }
        if switch {
            self.switch()?;
        }
        Ok(summary)
    }

    /// Programs classes, links and the mixes' circuits, and no end: until [`Programmer::call_up`] there is chaff only.
    ///
    /// # Errors
    ///
    /// As [`Programmer::all`].
    pub fn without_ends(&mut self) -> Result<Summary, ProgramError> {
        let mut summary = Summary::default();
        self.clear(&mut summary)?;
        self.classes()?;
        self.links(&mut summary)?;
        (0..self.network.calls.len()).try_for_each(|call| self.circuits(call))?;
        Ok(summary)
    }

    /// Removes what restarts have made stale, before anything is put: after it no put meets other keys, and a run that is
    /// cut short leaves nothing that a later one would mistake.
    fn clear(&mut self, summary: &mut Summary) -> Result<(), ProgramError> {
        let mut broken = HashSet::new();
        let mut stale = Vec::new();
        for index in 0..self.network.links.len() {
            let id = Network::link_id(index);
            let [a, b] = self.ends_of(index);
            match (self.nodes[a].had.contains(&id), self.nodes[b].had.contains(&id)) {
                (true, true) => {}
                (false, false) => {
                    broken.insert(index);
                }
                (at_a, _) => {
                    broken.insert(index);
                    stale.push((index, if at_a { Side::A } else { Side::B }));
                }
            }
        }
        let network = self.network;
        for (call, path) in network.calls.iter().enumerate() {
            let through = |pair: &[String]| network.link_between(&pair[0], &pair[1]);
            let affected = path.path.windows(2).filter_map(through).any(|link| broken.contains(&link));
            if affected {
                summary.calls_removed += usize::from(self.remove_call(call)?);
            }
        }
        for (index, side) in stale {
            let put = self.link_put(index, side)?;
            let [a, b] = self.ends_of(index);
            let node = &mut self.nodes[if side == Side::A { a } else { b }];
            let (boot, link) = (node.welcome.boot, Network::link_id(index));
            let what = format!("link {:?}", network.links[index].name);
            let reply = node.socket.call(&put).map_err(|e| ProgramError::Socket(node.name.clone(), e))?;
            if reply == OwnedReply::Done {
                // These very keys: a run that was cut short put one end only. Or a newer generation beside the old one,
                // which the other end no longer knows: it must send with this.
                let generation = self.generation;
                node.done(&what, &Request::SwitchLink { boot, link, generation })?;
                continue;
            }
            node.done(&what, &Request::RemoveLink { boot, link })?;
            node.had.remove(&link);
            summary.links_removed += 1;
        }
        Ok(())
    }

    /// Removes a call wherever it is; says whether any node of its path still had a link for it.
    fn remove_call(&mut self, call: usize) -> Result<bool, ProgramError> {
        let path = self.path_of(call);
        let mut was_up = false;
        for (place, node) in path.into_iter().enumerate() {
            let end = self.end_of(call, place);
            let node = &mut self.nodes[node];
            let boot = node.welcome.boot;
            let request = match end {
                Some(end) => Request::RemoveEnd { boot, end },
                None => Request::RemoveCircuit { boot, circuit: circuit_id(call, place) },
            };
            let reply = node.socket.call(&request).map_err(|e| ProgramError::Socket(node.name.clone(), e))?;
            match reply {
                OwnedReply::Done => was_up |= !node.had.is_empty(),
                OwnedReply::Refused { code: Refusal::Unknown, .. } => {}
                _ => node.done("an old call", &request)?,
            }
        }
        Ok(was_up)
    }

    /// Puts every class at every node.
    fn classes(&mut self) -> Result<(), ProgramError> {
        for class in &self.network.classes {
            let slots_max = class.slots.saturating_mul(SLOTS_SPARE).min(SLOTS_MAX);
            for node in &mut self.nodes {
                let put = PutClass {
                    boot: node.welcome.boot,
                    class: class.id,
                    kind: class.kind.into(),
                    round_ns: self.network.round_ns(class),
                    slots: class.slots,
                    slots_max,
                    at_ns: 0,
                };
                node.done(&format!("class {:?}", class.name), &Request::PutClass(put))?;
            }
        }
        Ok(())
    }

    /// Puts every link at both its ends.
    fn links(&mut self, summary: &mut Summary) -> Result<(), ProgramError> {
        for index in 0..self.network.links.len() {
            let (id, name) = (Network::link_id(index), &self.network.links[index].name);
            let ends = self.ends_of(index);
            let both = ends.iter().all(|end| self.nodes[*end].had.contains(&id));
            for (side, end) in [Side::A, Side::B].into_iter().zip(ends) {
                let put = self.link_put(index, side)?;
                self.nodes[end].done(&format!("link {name:?}"), &put).map_err(|error| match error {
                    ProgramError::Socket(node, SocketError { fault: Fault::Refused { code: Refusal::Exists, text, .. }, .. }) => {
                        ProgramError::Network(format!(
                            "node {node:?}: link {name:?} is there with other keys or numbers, and neither end has restarted \
                             ({text}); was the file changed meanwhile? Restart {node:?}, or give a higher --generation"
                        ))
                    }
                    other => other,
                })?;
            }
            *if both { &mut summary.links_kept } else { &mut summary.links_put } += 1;
        }
        Ok(())
    }

    /// Puts the circuits of a call's four mixes.
    fn circuits(&mut self, call: usize) -> Result<(), ProgramError> {
        let (keys, path) = (self.keys_of(call), self.path_of(call));
        let (forth, back) = (keys.forth(), keys.back());
        // (place in the path, hop's keys, neighbour towards its client, away, forward's first, backward's first)
        let mixes = [
            (1, &keys.caller.hops[0], 0, 2, forth.at_mix[0], back.at_mix[3]),
            (2, &keys.caller.hops[1], 1, 3, forth.at_mix[1], back.at_mix[2]),
            (3, &keys.callee.hops[1], 4, 2, back.at_mix[1], forth.at_mix[2]),
            (4, &keys.callee.hops[0], 5, 3, back.at_mix[0], forth.at_mix[3]),
        ];
        for (place, hop, near, far, forward, backward) in mixes {
            let boot = self.nodes[path[place]].welcome.boot;
            let put = PutCircuit {
                boot,
                circuit: circuit_id(call, place),
                generation: FIRST_GENERATION,
                near: self.link_end(call, place, near)?,
                far: Some(self.link_end(call, place, far)?),
                forward: hop.forward_leg(forward),
                backward: hop.backward_leg(backward),
                hop: None,
                owner: Owner::default(),
            };
            let what = format!("circuit of call {:?}", self.network.calls[call].name);
            self.nodes[path[place]].done(&what, &Request::PutCircuit(put))?;
        }
        Ok(())
    }

    /// Puts both ends of a call: from here on it is up. A call that was taken down does not come up again under the same
    /// lives: its keys are spent.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub fn call_up(&mut self, call: usize) -> Result<(), ProgramError> {
        let (keys, path) = (self.keys_of(call), self.path_of(call));
        let ends = [
            (0, 1, &keys.caller, keys.back().at_end, &keys.from_caller, &keys.from_callee),
            (5, 4, &keys.callee, keys.forth().at_end, &keys.from_callee, &keys.from_caller),
        ];
        for (place, mix, half, receive_first, seal, open) in ends {
            let layers = half.hops.each_ref().map(|hop| hop.layer());
            let put = PutEnd {
                boot: self.nodes[path[place]].welcome.boot,
                end: self.end_of(call, place).unwrap_or_default(),
                generation: FIRST_GENERATION,
                at: self.link_end(call, place, mix)?,
                send_first: half.send_first,
                receive_first: Some(receive_first),
                layers: Layers::from_slice(&layers).unwrap_or_default(),
                seal: seal.clone(),
                open: open.clone(),
            };
            let what = format!("end of call {:?}", self.network.calls[call].name);
            self.nodes[path[place]].done(&what, &Request::PutEnd(put))?;
        }
        Ok(())
    }

    /// Removes both ends of a call; the mixes' circuits stay.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub fn call_down(&mut self, call: usize) -> Result<(), ProgramError> {
        let path = self.path_of(call);
        for place in [0, PATH - 1] {
            let Some(end) = self.end_of(call, place) else { continue };
            let node = &mut self.nodes[path[place]];
            let boot = node.welcome.boot;
            node.done(&format!("end {end}"), &Request::RemoveEnd { boot, end })?;
        }
        Ok(())
    }

    /// Lets every link send with this generation. All ends have its read keys by now, so no record is lost.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub fn switch(&mut self) -> Result<(), ProgramError> {
        let generation = self.generation;
        for (index, link) in self.network.links.iter().enumerate() {
            for end in self.ends_of(index) {
                let node = &mut self.nodes[end];
                let request =
                    Request::SwitchLink { boot: node.welcome.boot, link: Network::link_id(index), generation };
                node.done(&format!("switch of link {:?}", link.name), &request)?;
            }
        }
        Ok(())
    }

    /// The put of a link at one of its ends.
    fn link_put(&self, index: usize, side: Side) -> Result<Request, ProgramError> {
        let link = &self.network.links[index];
        let [a, b] = self.ends_of(index);
        let keys = LinkKeys::new(link, self.lives(a, b), self.generation);
        let class = self.network.class(&link.class).map(|class| class.id);
        let class = class.ok_or_else(|| ProgramError::Network(format!("no class is called {:?}", link.class)))?;
        let at = |node: usize, worker: u16| self.nodes[node].listen[usize::from(worker)];
        let (here, there) = ((a, link.a_worker), (b, link.b_worker));
        let ((here, there), (send, receive)) = match side {
            Side::A => ((here, there), (keys.a_to_b, keys.b_to_a)),
            Side::B => ((there, here), (keys.b_to_a, keys.a_to_b)),
        };
        // The port as the node itself knows it: behind a translator the file's is another.
        let local = self.nodes[here.0].welcome.workers.get(usize::from(here.1)).map_or(0, |w| w.listen.port);
        Ok(Request::PutLink(PutLink {
            boot: self.nodes[here.0].welcome.boot,
            link: Network::link_id(index),
            generation: self.generation,
            local_port: local,
            remote: Address::from(at(there.0, there.1)),
            class,
            peer: Peer::Drover,
            ratchet_bits: link.ratchet_bits,
            send: Direction { secret: send, first: 0 },
            receive: Direction { secret: receive, first: 0 },
            owner: Owner::default(),
        }))
    }

    /// Boot ids of two nodes in the file's order.
    fn lives(&self, x: usize, y: usize) -> Lives {
        let boot = |node: usize| self.nodes[node].welcome.boot;
        Lives { first: boot(x.min(y)), second: boot(x.max(y)) }
    }

    fn ends_of(&self, link: usize) -> [usize; 2] {
        let link = &self.network.links[link];
        // A checked network names nodes that are there.
        [&link.a, &link.b].map(|name| self.network.node(name).unwrap_or_default())
    }

    fn path_of(&self, call: usize) -> [usize; PATH] {
        let path = &self.network.calls[call].path;
        std::array::from_fn(|place| self.network.node(&path[place]).unwrap_or_default())
    }

    fn keys_of(&self, call: usize) -> CallKeys {
        let path = self.path_of(call);
        let boots: [BootId; PATH] = path.map(|node| self.nodes[node].welcome.boot);
        CallKeys::new(&self.network.calls[call], &boots, &path, FIRST_GENERATION)
    }

    /// The end's number at a client of the path; none at a mix.
    fn end_of(&self, call: usize, place: usize) -> Option<u32> {
        let Call { caller_end, callee_end, .. } = &self.network.calls[call];
        match place {
            0 => Some(*caller_end),
            place if place == PATH - 1 => Some(*callee_end),
            _ => None,
        }
    }

    /// The link from the node at `place` of a call's path to the one at `neighbour`, and the call's circuit id on it.
    fn link_end(&self, call: usize, place: usize, neighbour: usize) -> Result<LinkEnd, ProgramError> {
        let path = &self.network.calls[call].path;
        let (x, y) = (place.min(neighbour), place.max(neighbour));
        let link = self.network.link_between(&path[x], &path[y]);
        let link =
            link.ok_or_else(|| ProgramError::Network(format!("no link joins {:?} and {:?}", path[x], path[y])))?;
        // Whoever builds a circuit further names it: the node nearer to its client; at the splice, the caller's side.
        let chooser = if x <= 2 { x } else { y };
        let other = if chooser == x { y } else { x };
        let nodes = self.path_of(call);
        Ok(LinkEnd { link: Network::link_id(link), id: on_link(call, x, nodes[chooser] < nodes[other]) })
    }
}

/// A circuit's id at the mix at `place` of a call's path: unique also where two places are one mix.
pub fn circuit_id(call: usize, place: usize) -> u32 {
    (call * PATH + place) as u32 + 1
}

/// A circuit's id on the link after `place`: from the lower half of the space where the node that the file names first
/// chooses it, else from the upper (W-CELL-5).
pub fn on_link(call: usize, place: usize, first_chooses: bool) -> u32 {
    circuit_id(call, place) | if first_chooses { 0 } else { ID_LIMIT }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
