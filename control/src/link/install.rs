//! What a finished handshake becomes: a link on the data plane. And links taken up again after a restart of control.

use super::foreign::Foreign;
use super::links::Links;
use super::outer::Attempt;
use super::owner::Note;
use super::table::{Link, Talk};
use super::{LinkEvent, PeerInfo, class};
use crate::plane::{Now, Plane};
use drover_dtls::certificate::{Certificate, NodeId, Role};
use drover_dtls::handshake::{Side, TakeOver};
use drover_wire::control::{Direction, Owner, Peer, PutLink, Request, Secret};
use rand::Rng;
use std::net::SocketAddr;

/// The first generation of a foreign peer's link: its epoch (RFC 9147, 6.1).
const FOREIGN_GENERATION: u32 = 3;

impl Links {
    /// Makes the link of a finished handshake, in the place of one that is there. Returns the last flight.
    ///
    /// # Errors
    /// What it is counted as.
    pub(super) fn install(
        &mut self,
        plane: &mut dyn Plane,
        now: Now,
        attempt: Attempt,
    ) -> Result<Vec<Vec<u8>>, &'static str> {
        let Attempt { handshake, side, remote, worker, known, began, .. } = attempt;
        let taken = handshake.take_over().map_err(|_| "system")?;
        // Not what the first datagram looked like: anybody on the way can change that.
        let foreign = !taken.drover;
        if foreign && !self.config.foreign {
            return Err("foreign");
        }
        self.log_keys(&taken);
        let (role, class) = self.accept(&taken.peer, side, known)?;
        let peer = PeerInfo { id: taken.peer.id(), role, foreign };
        let workers = &plane.welcome().workers;
        let local_port = workers.get(usize::from(worker)).ok_or("plane")?.listen.port;
        // A peer that restarted, or an address that somebody else has now.
        if let Some(other) = self.table.of_remote(remote, local_port).filter(|link| link.peer.id != peer.id) {
            let number = other.number;
            if other.silent.is_none() {
                return Err("restart_identity");
            }
            self.drop_link(plane, number);
        }
        if let Some(before) = self.table.of_peer(peer.id) {
            let number = before.number;
            self.drop_link(plane, number);
        }
        if role == Role::Client && self.table.clients() >= self.config.clients {
            return Err("clients");
        }
        let number = self.table.number().ok_or("numbers")?;
        let ratchet_bits = self.ratchet_bits(&taken.peer);
        let talk = match foreign {
            true => {
                let update_at = now.mono_ns.saturating_add(self.key_update_wait(class, ratchet_bits));
                Talk::Foreign(Foreign::new(taken.messages, FOREIGN_GENERATION, update_at))
            }
            false => self.talk(plane, now, class, side == Side::Client, 1.0),
        };
        let mut link = Link::new(number, peer, (remote, local_port), (class, ratchet_bits), talk);
        (link.dialler, link.binder) = (side == Side::Client, taken.binder.clone());
        link.generation = if foreign { FOREIGN_GENERATION } else { 1 };
        link.highest = link.generation;
        let owner = link.note(taken.messages);
        let request = put_link(plane, &link, link.generation, &taken, owner);
        plane.ask(&request).map_err(|_| "plane")?;
        self.table.insert(link);
        self.there(peer.id);
        self.counters.handshakes += 1;
        // 0 means "adopted".
        let took_ms = (now.mono_ns.saturating_sub(began) as f64 / 1e6).max(0.001);
        self.events.push_back(LinkEvent::Up { link: number, peer, took_ms });
        Ok(taken.last_flight)
    }

    /// Whether a link with the holder of this certificate may be: its role, and the link's class.
    pub(super) fn accept(
        &self,
        peer: &Certificate,
        side: Side,
        known: Option<NodeId>,
    ) -> Result<(Role, u16), &'static str> {
        let id = peer.id();
        if id == self.id || known.is_some_and(|known| known != id) {
            return Err("wrong_peer");
        }
        let ours = self.identity.certificate().zone();
        match (self.role(), peer.role()) {
            (Role::Mix, Role::Client) if side == Side::Server => match peer.zone() == ours {
                true => Ok((Role::Client, class::CLIENT)),
                false => Err("client_of_another_zone"),
            },
            (Role::Client, Role::Mix) if side == Side::Client => Ok((Role::Mix, class::CLIENT)),
            (Role::Mix, Role::Mix) => match self.zones.mix(id) {
                Some((zone, _)) if zone.zone == ours => Ok((Role::Mix, class::ZONE)),
                Some(_) => Ok((Role::Mix, class::PAIR)),
                None => Err("unlisted"),
            },
            _ => Err("wrong_role"),
        }
    }

    /// r of a link: both ends' zones have a say, and the smaller is the same at both.
    fn ratchet_bits(&self, peer: &Certificate) -> u8 {
        let own = self.zones.own().ratchet_bits;
        self.zones.zone(peer.zone()).map_or(own, |zone| own.min(zone.ratchet_bits))
    }

    /// A new channel; the first renewal is due after `part` of its usual time.
    fn talk(&mut self, plane: &dyn Plane, now: Now, class: u16, dialler: bool, part: f64) -> Talk {
        let channel = self.channel(plane, class);
        let wait = self.renewal_wait(dialler);
        let renew_at = now.mono_ns.saturating_add((wait as f64 * part) as u64);
        Talk::Drover { channel, renewal: None, renew_at, began: None }
    }

    /// Takes up a link of the data plane's dump. One that is not ours is left alone.
    pub(super) fn adopt_link(&mut self, plane: &mut dyn Plane, now: Now, object: &serde_json::Value) {
        let Some(number) = object["link"].as_u64().and_then(|number| u32::try_from(number).ok()) else { return };
        self.table.taken(number);
        if !object["loop_to"].is_null() {
            return;
        }
        let Some(adopted) = Adopted::read(object) else { return };
        let peer = adopted.note.peer;
        if self.table.of_peer(peer.id).is_some() {
            return;
        }
        let talk = match peer.foreign {
            true => {
                let update_at = now.mono_ns.saturating_add(self.key_update_wait(adopted.class, adopted.ratchet_bits));
                // Each epoch took one message.
                let epochs = |of: u32| of.saturating_sub(FOREIGN_GENERATION) as u16;
                let (read, written) = adopted.note.messages;
                let receiving = adopted.receiving;
                let messages = (read.wrapping_add(epochs(receiving)), written.wrapping_add(epochs(adopted.sending)));
                Talk::Foreign(Foreign::new(messages, receiving, update_at))
            }
            // When its keys were last renewed is not known.
            false => {
                let part = self.random.random_range(0.25..1.0);
                self.talk(plane, now, adopted.class, adopted.note.dialler, part)
            }
        };
        let place = (adopted.remote.into(), adopted.local_port);
        let mut link = Link::new(number, peer, place, (adopted.class, adopted.ratchet_bits), talk);
        (link.dialler, link.binder) = (adopted.note.dialler, adopted.note.binder);
        (link.generation, link.highest) = (adopted.sending, adopted.highest);
        link.silent = adopted.silent.then_some(now.mono_ns);
        self.table.insert(link);
        self.there(peer.id);
        if adopted.silent {
            self.lost(now, peer.id);
        }
        self.events.push_back(LinkEvent::Up { link: number, peer, took_ms: 0.0 });
    }
}

impl Links {
    /// Writes a handshake's secrets to the lab's file (W-LAB), for tests that open a capture.
    #[cfg(feature = "lab")]
    pub(super) fn log_keys(&mut self, taken: &TakeOver) {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let Some(path) = &self.config.key_log else { return };
        let lines: String = taken.key_log_lines().flat_map(|line| [line, "\n"]).collect();
        let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        if file.and_then(|mut file| file.write_all(zeroize::Zeroizing::new(lines).as_bytes())).is_err() {
            self.counters.refuse("key_log");
        }
    }

    #[cfg(not(feature = "lab"))]
    pub(super) fn log_keys(&mut self, _: &TakeOver) {}
}

/// A link as the data plane tells of it.
struct Adopted {
    note: Note,
    remote: SocketAddr,
    local_port: u16,
    class: u16,
    ratchet_bits: u8,
    sending: u32,
    highest: u32,
    /// A foreign peer's epoch.
    receiving: u32,
    silent: bool,
}

impl Adopted {
    fn read(object: &serde_json::Value) -> Option<Adopted> {
        let number = |of: &serde_json::Value| of.as_u64().and_then(|number| u32::try_from(number).ok());
        let generations = object["generations"].as_array()?;
        let highest =
            |of: &mut dyn Iterator<Item = &serde_json::Value>| of.filter_map(|each| number(&each["generation"])).max();
        let sending = number(&object["sending"])?;
        let receiving =
            highest(&mut generations.iter().filter(|each| !each["receive_id"].is_null())).unwrap_or(sending);
        let highest = highest(&mut generations.iter()).unwrap_or(sending).max(sending);
        Some(Adopted {
            note: Note::read(object["owner"].as_str()?)?,
            remote: object["remote"].as_str()?.parse().ok()?,
            local_port: number(&object["local_port"])?.try_into().ok()?,
            class: number(&object["class"])?.try_into().ok()?,
            ratchet_bits: number(&object["ratchet_bits"])?.try_into().ok()?,
            sending,
            highest,
            receiving,
            silent: object["silent"].as_bool()?,
        })
    }
}

impl Link {
    /// The note for the data plane.
    pub(super) fn note(&self, messages: (u16, u16)) -> Owner {
        let (dialler, peer, binder) = (self.dialler, self.peer, self.binder.clone());
        Note { dialler, peer, binder, messages }.write()
    }
}

/// The put of a generation of a link.
pub(super) fn put_link(plane: &dyn Plane, link: &Link, generation: u32, taken: &TakeOver, owner: Owner) -> Request {
    Request::PutLink(PutLink {
        boot: plane.welcome().boot,
        link: link.number,
        generation,
        local_port: link.local_port,
        remote: link.remote,
        class: link.class,
        peer: if link.peer.foreign { Peer::Foreign } else { Peer::Drover },
        ratchet_bits: link.ratchet_bits,
        send: Direction { secret: Secret(*taken.write), first: taken.first.1 },
        receive: Direction { secret: Secret(*taken.read), first: taken.first.0 },
        owner,
    })
}
