//! What a lab network must be.

use super::{CALLS_MAX, CROWD_MAX, Kind, LINKS_MAX, Network, Node, NodeKind, PATH};
use drover_dataplane::limits::{CLASSES_MAX, WORKERS_MAX};
use drover_wire::cell::CellSize;
use drover_wire::control::{ID_LIMIT, RATCHET_BITS_MIN, SLOTS_MAX};
use drover_wire::record::ratchet_bits_max;
use std::collections::{HashMap, HashSet};

/// Longest name of anything.
const NAME_MAX: usize = 64;
/// Longest path of a Unix socket, bytes.
const SOCKET_PATH_MAX: usize = 107;
/// Most rounds a second: a round is 1 ms at least.
const ROUNDS_MAX: u32 = 1_000;

impl Network {
    /// All that is wrong; nothing when it is empty.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if CellSize::try_from(self.cell).is_err() {
            found.push(format!("cell = {}: cells have 256, 512 or 1024 bytes", self.cell));
        }
        if !(1..=ROUNDS_MAX).contains(&self.rate) {
            found.push(format!("rate = {}: 1 to {ROUNDS_MAX} rounds a second", self.rate));
        }
        self.check_names(&mut found);
        self.check_secrets(&mut found);
        self.nodes.iter().for_each(|node| check_node(node, &mut found));
        self.check_classes(&mut found);
        self.check_links(&mut found);
        self.check_calls(&mut found);
        self.check_crowds(&mut found);
        found
    }

    fn check_names(&self, found: &mut Vec<String>) {
        let lists: [(&str, Vec<&String>); 5] = [
            ("node", self.nodes.iter().map(|n| &n.name).collect()),
            ("class", self.classes.iter().map(|c| &c.name).collect()),
            ("link", self.links.iter().map(|l| &l.name).collect()),
            ("call", self.calls.iter().map(|c| &c.name).collect()),
            ("crowd", self.crowds.iter().map(|c| &c.name).collect()),
        ];
        for (what, names) in lists {
            let mut seen = HashSet::new();
            for name in names {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.=".contains(&b);
                if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
                    let shown: String = name.chars().take(NAME_MAX).collect();
                    found.push(format!(
                        "{what} {shown:?}: a name has 1 to {NAME_MAX} letters, digits, '-', '_', '.', '='"
                    ));
                }
                if !seen.insert(name) {
                    found.push(format!("{what} {name:?}: there are two; give one another name"));
                }
            }
        }
    }

    /// Two objects that shared a secret would differ by their labels only.
    fn check_secrets(&self, found: &mut Vec<String>) {
        let links = self.links.iter().map(|l| (format!("link {:?}", l.name), &l.secret));
        let calls = self.calls.iter().map(|c| (format!("call {:?}", c.name), &c.secret));
        let crowds = self.crowds.iter().map(|c| (format!("crowd {:?}", c.name), &c.secret));
        let mut all: Vec<_> = links.chain(calls).chain(crowds).collect();
        all.sort_by(|x, y| x.1.bytes().cmp(y.1.bytes()));
        for pair in all.windows(2) {
            if pair[0].1.same(pair[1].1) {
                found.push(format!("{} and {} share a secret: give each its own", pair[0].0, pair[1].0));
            }
        }
    }

    fn check_classes(&self, found: &mut Vec<String>) {
        if self.classes.len() > CLASSES_MAX {
            found.push(format!("{} classes: a data plane has at most {CLASSES_MAX}", self.classes.len()));
        }
        let mut ids = HashSet::new();
        for class in &self.classes {
            let name = &class.name;
            if !ids.insert(class.id) {
                found.push(format!("class {name:?}: id = {} is another's too", class.id));
            }
            if !(1..=SLOTS_MAX).contains(&class.slots) {
                found.push(format!("class {name:?}: slots = {}: 1 to {SLOTS_MAX}", class.slots));
            }
            if class.rounds.is_some_and(|rounds| !(1..=ROUNDS_MAX).contains(&rounds)) {
                found.push(format!("class {name:?}: rounds: 1 to {ROUNDS_MAX} a second"));
            }
        }
    }

    fn check_links(&self, found: &mut Vec<String>) {
        if self.links.len() > LINKS_MAX {
            found.push(format!("{} links: at most {LINKS_MAX}", self.links.len()));
        }
        let mut pairs = HashSet::new();
        for link in &self.links {
            let at = format!("link {:?}", link.name);
            let mut kinds = Vec::new();
            for (name, worker) in [(&link.a, link.a_worker), (&link.b, link.b_worker)] {
                match self.nodes.iter().find(|n| n.name == *name) {
                    None => found.push(format!("{at}: no node is called {name:?}")),
                    Some(node) => {
                        kinds.push(node.kind);
                        check_worker(&at, node, worker, found);
                    }
                }
            }
            if link.a == link.b {
                found.push(format!("{at}: joins {:?} to itself", link.a));
            }
            let (x, y) = ((&link.a, link.a_worker), (&link.b, link.b_worker));
            if !pairs.insert((x.min(y), x.max(y))) {
                found.push(format!("{at}: another link joins the same workers, and a link is known by its addresses"));
            }
            if kinds == [NodeKind::Client; 2] {
                found.push(format!("{at}: joins two clients; a client has links to mixes"));
            }
            match self.class(&link.class) {
                None => found.push(format!("{at}: no class is called {:?}", link.class)),
                Some(class) => {
                    if kinds.len() == 2 && kinds.contains(&NodeKind::Client) != (class.kind == Kind::Client) {
                        let kind = class.kind.name();
                        found.push(format!(
                            "{at}: class {:?} is of kind {kind}, which is not what it joins",
                            link.class
                        ));
                    }
                }
            }
            let most = ratchet_bits_max(usize::from(self.cell));
            if !(RATCHET_BITS_MIN..=most).contains(&link.ratchet_bits) {
                found.push(format!("{at}: ratchet_bits = {}: {RATCHET_BITS_MIN} to {most}", link.ratchet_bits));
            }
        }
    }

    fn check_calls(&self, found: &mut Vec<String>) {
        if self.calls.len() > CALLS_MAX {
            found.push(format!("{} calls: at most {CALLS_MAX}", self.calls.len()));
        }
        let (mut load, mut ends) = (HashMap::new(), HashSet::new());
        for call in &self.calls {
            let at = format!("call {:?}", call.name);
            if call.path.len() != PATH {
                found.push(format!("{at}: a path is caller, mix, mix, mix, mix, callee; this has {}", call.path.len()));
                continue;
            }
            for (place, name) in call.path.iter().enumerate() {
                let wanted = if place == 0 || place == PATH - 1 { NodeKind::Client } else { NodeKind::Mix };
                match self.nodes.iter().find(|n| n.name == *name) {
                    None => found.push(format!("{at}: no node is called {name:?}")),
                    Some(node) if node.kind != wanted => {
                        found.push(format!("{at}: {name:?} must be a {}", format!("{wanted:?}").to_lowercase()));
                    }
                    Some(_) => {}
                }
            }
            if call.path[0] == call.path[PATH - 1] {
                found.push(format!("{at}: caller and callee are one client"));
            }
            for (node, end) in [(&call.path[0], call.caller_end), (&call.path[PATH - 1], call.callee_end)] {
                if end >= ID_LIMIT {
                    found.push(format!("{at}: end {end}: below 2^31"));
                }
                if !ends.insert((node, end)) {
                    found.push(format!("{at}: end {end} of {node:?} is another call's too"));
                }
            }
            for hop in call.path.windows(2) {
                match self.link_between(&hop[0], &hop[1]) {
                    None => found.push(format!("{at}: no link joins {:?} and {:?}", hop[0], hop[1])),
                    Some(link) => *load.entry(link).or_insert(0u32) += 1,
                }
            }
        }
        // One slot of a round belongs to no circuit.
        for (link, circuits) in load {
            let link = &self.links[link];
            if let Some(class) = self.class(&link.class).filter(|class| circuits >= class.slots) {
                found.push(format!(
                    "link {:?}: {circuits} circuits need {} slots a round, class {:?} has {}",
                    link.name,
                    circuits + 1,
                    class.name,
                    class.slots
                ));
            }
        }
    }

    fn check_crowds(&self, found: &mut Vec<String>) {
        for crowd in &self.crowds {
            let at = format!("crowd {:?}", crowd.name);
            match self.nodes.iter().find(|n| n.name == crowd.mix) {
                None => found.push(format!("{at}: no node is called {:?}", crowd.mix)),
                Some(node) if node.kind == NodeKind::Client => found.push(format!("{at}: {:?} is no mix", crowd.mix)),
                Some(node) => check_worker(&at, node, crowd.worker, found),
            }
            if self.class(&crowd.class).is_none() {
                found.push(format!("{at}: no class is called {:?}", crowd.class));
            }
            if !(1..=CROWD_MAX).contains(&crowd.links) {
                found.push(format!("{at}: links = {}: 1 to {CROWD_MAX}", crowd.links));
            }
        }
    }
}

fn check_node(node: &Node, found: &mut Vec<String>) {
    let at = format!("node {:?}", node.name);
    let socket = node.socket.as_os_str().len();
    if socket == 0 || socket > SOCKET_PATH_MAX {
        found.push(format!("{at}: the socket's path has {socket} bytes; 1 to {SOCKET_PATH_MAX}"));
    }
    let workers = node.listen.len();
    let most = if node.kind == NodeKind::Client { 1 } else { WORKERS_MAX };
    if !(1..=most).contains(&workers) {
        found.push(format!("{at}: listen names {workers} workers; 1 to {most}"));
    }
}

fn check_worker(at: &str, node: &Node, worker: u16, found: &mut Vec<String>) {
    if usize::from(worker) >= node.listen.len() {
        found.push(format!("{at}: {:?} has no worker {worker}: listen names {}", node.name, node.listen.len()));
    }
}
