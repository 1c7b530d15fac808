//! Signals (`docs/wire.md`, W-RDV-8): sealed, all of one size, from a client's circuit to a mailbox at some rendezvous mix.
//! One for a mailbox that nobody has is dropped without a word: nobody learns from the mix who can be reached.

use super::super::Host;
use super::super::messages::{LinkSignal, Reason, SealedMailbox, SignalIn, SignalOut};
use super::Rendezvous;
use drover_dtls::certificate::NodeId;

impl Rendezvous {
    /// A client sends one.
    pub(super) fn signal(&mut self, host: &mut Host<'_>, circuit: u32, bytes: &[u8]) {
        let fail = |this: &mut Self, host: &mut Host<'_>, why| this.fail(host, circuit, SignalOut::KIND, 0, why);
        if !self.circuit(circuit).limits.signal.take(host.now.mono_ns) {
            return fail(self, host, Reason::Limit);
        }
        let Ok(SignalOut { mix, mailbox, reply, sealed }) = SignalOut::decode(bytes) else {
            return fail(self, host, Reason::Malformed);
        };
        if reply.is_some_and(|reply| !self.open_mailbox(reply, circuit)) {
            // Without a word too: a refusal would say that somebody has this mailbox.
            return self.refused("mailbox_taken");
        }
        if mix == self.own {
            return self.deliver(host, mailbox, sealed);
        }
        let Some((link, relays)) = self.route(host.links, mix) else {
            return fail(self, host, Reason::NoRoute);
        };
        if !self.send_on(host, link, &LinkSignal { mix, mailbox, relays, sealed }) {
            fail(self, host, Reason::Limit);
        }
    }

    fn send_on(&mut self, host: &mut Host<'_>, link: u32, signal: &LinkSignal) -> bool {
        let sent = host.links.send(host.now, link, LinkSignal::KIND, &signal.encode()).is_ok();
        match sent {
            true => self.counters.signals += 1,
            false => self.refused("link_full"),
        }
        sent
    }

    /// A mix passes one on to us, or to a mix of our zone.
    pub(super) fn on_signal(&mut self, host: &mut Host<'_>, peer: NodeId, bytes: &[u8]) {
        if !self.peer(peer).signal.take(host.now.mono_ns) {
            return self.refused("signal_limit");
        }
        let Ok(LinkSignal { mix, mailbox, relays, sealed }) = LinkSignal::decode(bytes) else {
            return self.refused("malformed");
        };
        if mix == self.own {
            return self.deliver(host, mailbox, sealed);
        }
        let way = (relays > 0 && self.is_of_zone(mix)).then(|| host.links.link_of(mix)).flatten();
        match way {
            Some(link) => {
                self.send_on(host, link, &LinkSignal { mix, mailbox, relays: relays - 1, sealed });
            }
            None => self.refused("signal_no_route"),
        }
    }

    /// Hands a signal to who holds the mailbox.
    fn deliver(&mut self, host: &mut Host<'_>, mailbox: SealedMailbox, sealed: Vec<u8>) {
        let Ok(mailbox) = mailbox.open(self.identity.static_secret()) else {
            return self.refused("signal_box");
        };
        let Some(circuit) = self.mailboxes.get(&mailbox).copied() else {
            return self.refused("signal_unknown");
        };
        if !self.circuit(circuit).limits.deliver.take(host.now.mono_ns) {
            return self.refused("signal_flood");
        }
        match host.hops.send(host.now, circuit, SignalIn::KIND, &SignalIn { mailbox, sealed }.encode()) {
            true => self.counters.signals += 1,
            false => self.refused("signal_no_room"),
        }
    }
}
