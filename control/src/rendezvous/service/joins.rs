//! Joining (`docs/wire.md`, W-RDV-9): two circuits that end here, or here and at another mix, become one call.
//!
//! Each half says JOIN with the call's token and the other half's mix. The mix with the smaller id chooses a circuit id on the
//! link between the two and says SPLICE; the other, once its own half has said JOIN, gives that half its far side and says
//! SPLICED; then the first does the same. When both halves end here they meet on the mix's loop.

use super::super::Host;
use super::super::limits::{HALVES, JOIN_NS, OFFERS, OFFERS_PEER, TAKE_BACK_NS};
use super::super::messages::{Join, Joined, Reason, Splice, Spliced, Token};
use super::Rendezvous;
use drover_dtls::certificate::NodeId;
use drover_wire::control::LinkEnd;

/// A circuit that has said JOIN and waits.
struct Half {
    circuit: u32,
    token: Token,
    mix: NodeId,
    /// Where it is to go on, once the other mix says SPLICED; `None` where the other half is to come first.
    asked: Option<LinkEnd>,
    until_ns: u64,
}

/// A SPLICE whose circuit has not said JOIN.
struct Offer {
    peer: NodeId,
    token: Token,
    at: LinkEnd,
    until_ns: u64,
}

/// What was joined lately: the other mix may still find that it cannot do its part.
struct Done {
    circuit: u32,
    token: Token,
    link: u32,
    until_ns: u64,
}

/// Halves of calls.
#[derive(Default)]
pub(super) struct Joins {
    halves: Vec<Half>,
    offers: Vec<Offer>,
    done: Vec<Done>,
}

impl Rendezvous {
    /// A client wants its circuit joined.
    pub(super) fn join(&mut self, host: &mut Host<'_>, circuit: u32, bytes: &[u8]) {
        if let Err(reason) = self.try_join(host, circuit, bytes) {
            self.fail(host, circuit, Join::KIND, 0, reason);
        }
    }

    fn try_join(&mut self, host: &mut Host<'_>, circuit: u32, bytes: &[u8]) -> Result<(), Reason> {
        let now = host.now.mono_ns;
        if !self.circuit(circuit).limits.join.take(now) || self.joins.halves.len() >= HALVES {
            return Err(Reason::Limit);
        }
        let Join { token, mix } = Join::decode(bytes).map_err(|_| Reason::Malformed)?;
        if std::mem::replace(&mut self.circuit(circuit).joined, true) {
            return Err(Reason::Malformed);
        }
        if self.zones.mix(mix).is_none() {
            return Err(Reason::NoRoute);
        }
        let same = self.joins.halves.iter().position(|half| half.token == token);
        match same {
            // Both halves end here.
            Some(at) if mix == self.own && self.joins.halves[at].mix == self.own => {
                let first = self.joins.halves.swap_remove(at);
                self.join_here(host, first, circuit);
                return Ok(());
            }
            // The token is taken: it joins two halves, once.
            Some(_) => return Err(Reason::Malformed),
            None => {}
        }
        let mut half = Half { circuit, token, mix, asked: None, until_ns: now.saturating_add(JOIN_NS) };
        if mix == self.own {
            self.joins.halves.push(half);
            return Ok(());
        }
        let link = host.links.link_of(mix).ok_or(Reason::NoRoute)?;
        if self.own < mix {
            let id = host.hops.free_id(&*host.links, link).ok_or(Reason::NoRoom)?;
            let splice = Splice { token: half.token.clone(), id }.encode();
            host.links.send(host.now, link, Splice::KIND, &splice).map_err(|_| Reason::Limit)?;
            half.asked = Some(LinkEnd { link, id });
            self.joins.halves.push(half);
            return Ok(());
        }
        let offers = &mut self.joins.offers;
        let meant = |offer: &Offer| offer.peer == mix && offer.at.link == link && offer.token == half.token;
        match offers.iter().position(meant) {
            Some(at) => {
                let offer = offers.swap_remove(at);
                self.join_there(host, half, offer.at);
            }
            None => self.joins.halves.push(half),
        }
        Ok(())
    }

    /// Joins two circuits across the loop.
    fn join_here(&mut self, host: &mut Host<'_>, first: Half, second: u32) {
        let (a, b) = host.hops.loop_ends();
        let id = host.hops.free_id(&*host.links, a);
        let joined = id.is_some_and(|id| {
            host.hops.splice(host.plane, first.circuit, LinkEnd { link: a, id }).is_ok()
                && host.hops.splice(host.plane, second, LinkEnd { link: b, id }).is_ok()
        });
        for circuit in [first.circuit, second] {
            match joined {
                true => self.joined(host, circuit, &first.token, None),
                false => self.fail(host, circuit, Join::KIND, 0, Reason::NoRoom),
            }
        }
        if !joined {
            // It may have its far side already, and joins nothing again.
            host.hops.destroy(host.plane, host.links, host.now, first.circuit);
        }
    }

    /// Gives our half its far side, as the other mix chose it, and says so.
    fn join_there(&mut self, host: &mut Host<'_>, half: Half, at: LinkEnd) {
        let joined = host.hops.splice(host.plane, half.circuit, at).is_ok();
        self.say_spliced(host, at.link, &half.token, joined);
        match joined {
            true => self.joined(host, half.circuit, &half.token, Some(at.link)),
            false => self.fail(host, half.circuit, Join::KIND, 0, Reason::NoRoom),
        }
    }

    fn joined(&mut self, host: &mut Host<'_>, circuit: u32, token: &Token, link: Option<u32>) {
        self.counters.joined += 1;
        host.hops.send(host.now, circuit, Joined::KIND, &Joined { token: token.clone() }.encode());
        if let Some(link) = link {
            let until_ns = host.now.mono_ns.saturating_add(TAKE_BACK_NS);
            self.joins.done.push(Done { circuit, token: token.clone(), link, until_ns });
        }
    }

    fn say_spliced(&mut self, host: &mut Host<'_>, link: u32, token: &Token, joined: bool) {
        let spliced = Spliced { token: token.clone(), joined }.encode();
        if host.links.send(host.now, link, Spliced::KIND, &spliced).is_err() {
            self.refused("link_full");
        }
    }

    /// The mix with the smaller id offers a circuit.
    pub(super) fn on_splice(&mut self, host: &mut Host<'_>, (link, peer): (u32, NodeId), bytes: &[u8]) {
        let now = host.now.mono_ns;
        if !self.peer(peer).splice.take(now) {
            return self.refused("splice_limit");
        }
        let Ok(Splice { token, id }) = Splice::decode(bytes) else { return self.refused("malformed") };
        // Who chooses has the smaller id, and that one has the lower half of the circuit ids.
        if peer >= self.own || host.links.lower_ids_are_ours(link) || id >> 31 != 0 {
            return self.refused("splice_id");
        }
        let at = LinkEnd { link, id };
        let Joins { halves, offers, .. } = &mut self.joins;
        let waits = |half: &Half| half.mix == peer && half.asked.is_none() && half.token == token;
        if let Some(half) = halves.iter().position(waits).map(|at| halves.swap_remove(at)) {
            return self.join_there(host, half, at);
        }
        let of_peer = offers.iter().filter(|offer| offer.peer == peer).count();
        if offers.len() >= OFFERS || of_peer >= OFFERS_PEER {
            self.refused("splice_limit");
            return self.say_spliced(host, link, &token, false);
        }
        if offers.iter().any(|offer| offer.peer == peer && offer.token == token) {
            return self.refused("splice_twice");
        }
        offers.push(Offer { peer, token, at, until_ns: now.saturating_add(JOIN_NS) });
    }

    /// The other mix has done its part, or cannot.
    pub(super) fn on_spliced(&mut self, host: &mut Host<'_>, (link, peer): (u32, NodeId), bytes: &[u8]) {
        if !self.peer(peer).splice.take(host.now.mono_ns) {
            return self.refused("splice_limit");
        }
        let Ok(Spliced { token, joined }) = Spliced::decode(bytes) else { return self.refused("malformed") };
        let Joins { halves, offers, done } = &mut self.joins;
        let asked =
            |half: &Half| half.mix == peer && half.asked.is_some_and(|at| at.link == link) && half.token == token;
        if let Some(half) = halves.iter().position(asked).map(|at| halves.swap_remove(at)) {
            let at = half.asked.filter(|_| joined);
            return match at {
                None => self.fail(host, half.circuit, Join::KIND, 0, Reason::NoRoom),
                Some(at) if host.hops.splice(host.plane, half.circuit, at).is_ok() => {
                    self.joined(host, half.circuit, &token, Some(link));
                }
                Some(_) => {
                    self.say_spliced(host, link, &token, false);
                    self.fail(host, half.circuit, Join::KIND, 0, Reason::NoRoom);
                }
            };
        }
        // The side that offered takes it back.
        let before = offers.len();
        if !joined {
            offers.retain(|offer| offer.at.link != link || offer.token != token);
        }
        let taken = before != offers.len();
        let back = |done: &Done| !joined && done.link == link && done.token == token;
        match done.iter().position(back).map(|at| done.swap_remove(at)) {
            Some(done) => host.hops.destroy(host.plane, host.links, host.now, done.circuit),
            None if taken => {}
            // We gave up while the other did its part: it must not be left with a far side that leads nowhere.
            None if joined => {
                self.refused("spliced_late");
                self.say_spliced(host, link, &token, false);
            }
            None => self.refused("spliced_unasked"),
        }
    }

    /// Gives up what has waited too long.
    pub(super) fn sweep_joins(&mut self, host: &mut Host<'_>) {
        let now = host.now.mono_ns;
        self.joins.done.retain(|done| done.until_ns > now);
        let offers = self.joins.offers.len();
        self.joins.offers.retain(|offer| offer.until_ns > now);
        for _ in self.joins.offers.len()..offers {
            self.refused("splice_timeout");
        }
        while let Some(at) = self.joins.halves.iter().position(|half| half.until_ns <= now) {
            let half = self.joins.halves.swap_remove(at);
            if let Some(at) = half.asked {
                self.say_spliced(host, at.link, &half.token, false);
            }
            self.fail(host, half.circuit, Join::KIND, 0, Reason::Timeout);
        }
    }

    /// A circuit is gone: it waits for nothing more.
    pub(super) fn joins_circuit_gone(&mut self, host: &mut Host<'_>, circuit: u32) {
        self.lookups_circuit_gone(circuit);
        self.joins.done.retain(|done| done.circuit != circuit);
        let Some(at) = self.joins.halves.iter().position(|half| half.circuit == circuit) else { return };
        let half = self.joins.halves.swap_remove(at);
        if let Some(at) = half.asked {
            self.say_spliced(host, at.link, &half.token, false);
        }
    }
}
