//! Lookups (`docs/wire.md`, W-RDV-7): the asker's rendezvous mix passes a sealed query on, the asked mix answers in one size,
//! and the answer goes back the way the query came. No mix on the way sees who is wanted.

use super::super::Host;
use super::super::limits::{LOOKUP_NS, LOOKUPS, LOOKUPS_CIRCUIT};
use super::super::lookup::Query;
use super::super::messages::{LinkAnswer, LinkLookup, Lookup, LookupAnswer, QUERY_BYTES, Reason};
use super::Rendezvous;
use drover_dtls::certificate::NodeId;

/// A lookup that was passed on and is not answered.
pub(super) struct Waiting {
    asker: Asker,
    /// The link by which it went.
    link: u32,
    until_ns: u64,
}

enum Asker {
    Client { circuit: u32, request: u32 },
    Mix { link: u32, number: u64 },
}

impl Rendezvous {
    /// A client asks.
    pub(super) fn lookup(&mut self, host: &mut Host<'_>, circuit: u32, bytes: &[u8]) {
        let now = host.now.mono_ns;
        let taken = self.circuit(circuit).limits.lookup.take(now);
        let Ok(Lookup { mix, request, query }) = Lookup::decode(bytes) else {
            return self.fail(host, circuit, Lookup::KIND, 0, Reason::Malformed);
        };
        if !taken || self.circuit(circuit).lookups >= LOOKUPS_CIRCUIT || self.waiting.len() >= LOOKUPS {
            return self.fail(host, circuit, Lookup::KIND, request, Reason::Limit);
        }
        if mix == self.own {
            // A query that does not open gets no answer from any mix; the asker's time runs out.
            if let Some(answer) = self.answer(&query) {
                let answer = LookupAnswer { request, answer }.encode();
                host.hops.send(host.now, circuit, LookupAnswer::KIND, &answer);
            }
            return;
        }
        let Some((link, relays)) = self.route(host.links, mix) else {
            return self.fail(host, circuit, Lookup::KIND, request, Reason::NoRoute);
        };
        let passed = self.pass_on(host, Asker::Client { circuit, request }, link, (mix, relays), query);
        match passed {
            true => self.circuit(circuit).lookups += 1,
            false => self.fail(host, circuit, Lookup::KIND, request, Reason::Limit),
        }
    }

    fn pass_on(
        &mut self,
        host: &mut Host<'_>,
        asker: Asker,
        link: u32,
        (mix, relays): (NodeId, u8),
        query: [u8; QUERY_BYTES],
    ) -> bool {
        let number = self.next_lookup;
        let message = LinkLookup { mix, number, relays, query }.encode();
        if host.links.send(host.now, link, LinkLookup::KIND, &message).is_err() {
            return false;
        }
        self.next_lookup = self.next_lookup.wrapping_add(1);
        let until_ns = host.now.mono_ns.saturating_add(LOOKUP_NS);
        self.waiting.insert(number, Waiting { asker, link, until_ns });
        true
    }

    /// A mix passes a query on to us, or to a mix of our zone.
    pub(super) fn on_lookup(&mut self, host: &mut Host<'_>, (link, peer): (u32, NodeId), bytes: &[u8]) {
        if !self.peer(peer).lookup.take(host.now.mono_ns) {
            return self.refused("lookup_limit");
        }
        let Ok(LinkLookup { mix, number, relays, query }) = LinkLookup::decode(bytes) else {
            return self.refused("malformed");
        };
        if mix == self.own {
            if let Some(answer) = self.answer(&query) {
                let answer = LinkAnswer { number, answer }.encode();
                if host.links.send(host.now, link, LinkAnswer::KIND, &answer).is_err() {
                    self.refused("link_full");
                }
            }
            return;
        }
        let way = (relays > 0 && self.is_of_zone(mix)).then(|| host.links.link_of(mix)).flatten();
        let Some(onward) = way.filter(|_| self.waiting.len() < LOOKUPS) else {
            return self.refused("lookup_no_route");
        };
        if !self.pass_on(host, Asker::Mix { link, number }, onward, (mix, relays - 1), query) {
            self.refused("link_full");
        }
    }

    /// The sealed answer, for clients of our own zone only; `None` when the query does not open.
    fn answer(&mut self, query: &[u8; QUERY_BYTES]) -> Option<Vec<u8>> {
        let answer = Query::open(self.identity.static_secret(), query).ok().and_then(|query| {
            let found = self.registry.get(query.wanted);
            query.answer(found).ok()
        });
        match answer.is_some() {
            true => self.counters.lookups += 1,
            false => self.refused("lookup_sealed"),
        }
        answer
    }

    /// An answer comes back.
    pub(super) fn on_answer(&mut self, host: &mut Host<'_>, link: u32, bytes: &[u8]) {
        let Ok(LinkAnswer { number, answer }) = LinkAnswer::decode(bytes) else { return self.refused("malformed") };
        // Only from where it was asked.
        if self.waiting.get(&number).is_none_or(|waiting| waiting.link != link) {
            return self.refused("lookup_unasked");
        }
        let Some(waiting) = self.waiting.remove(&number) else { return };
        match waiting.asker {
            Asker::Client { circuit, request } => {
                self.answered(circuit);
                host.hops.send(host.now, circuit, LookupAnswer::KIND, &LookupAnswer { request, answer }.encode());
            }
            Asker::Mix { link, number } => {
                let answer = LinkAnswer { number, answer }.encode();
                if host.links.send(host.now, link, LinkAnswer::KIND, &answer).is_err() {
                    self.refused("link_full");
                }
            }
        }
    }

    /// One of the circuit's lookups waits no more.
    fn answered(&mut self, circuit: u32) {
        if let Some(circuit) = self.circuits.get_mut(&circuit) {
            circuit.lookups = circuit.lookups.saturating_sub(1);
        }
    }

    /// Gives up what was not answered.
    pub(super) fn sweep_lookups(&mut self, host: &mut Host<'_>) {
        let now = host.now.mono_ns;
        let over: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| waiting.until_ns <= now).map(|(number, _)| *number).collect();
        for number in over {
            match self.waiting.remove(&number).map(|waiting| waiting.asker) {
                // A circuit that has gone meanwhile is told nothing: its number may be another's by now.
                Some(Asker::Client { circuit, request }) if self.circuits.contains_key(&circuit) => {
                    self.answered(circuit);
                    self.fail(host, circuit, Lookup::KIND, request, Reason::Timeout);
                }
                _ => self.refused("lookup_timeout"),
            }
        }
    }

    /// A circuit is gone: its lookups are nobody's.
    pub(super) fn lookups_circuit_gone(&mut self, gone: u32) {
        self.waiting.retain(|_, waiting| !matches!(waiting.asker, Asker::Client { circuit, .. } if circuit == gone));
    }
}
