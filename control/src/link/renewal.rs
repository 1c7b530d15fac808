//! New keys for a link: a whole handshake in control cells, bound to the link's first one (`docs/wire.md`, W-LNK-14 to
//! W-LNK-18).
//!
//! The dialler begins. Each side, when done, installs the new read keys beside the old, waits until the data plane has them,
//! and says INSTALLED under the old keys; it sends with the new keys once the peer has said so too.

use super::LinkEvent;
use super::install::put_link;
use super::links::Links;
use super::outer::reason;
use super::table::{Link, Talk};
use crate::message::link as kind;
use crate::plane::{Now, Plane};
use aws_lc_rs::hmac;
use drover_crypto::schedule::equal;
use drover_dtls::handshake::{Handshake, Progress, Side, TakeOver};
use drover_wire::control::Request;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;
/// A renewal that takes longer has failed, ns.
const RENEWAL_NS: u64 = 30_000 * MS;
/// From the put of new keys to INSTALLED: the data plane has them by then, ns.
const INSTALL_NS: u64 = 50 * MS;
/// From the peer's first record under new keys to following it without its INSTALLED, ns.
const FOLLOW_NS: u64 = 2_000 * MS;
/// Between two renewals that the peer begins, ns.
const PACE_NS: u64 = 1_000 * MS;
/// The channel is reliable: the library's timers only serve what it holds back, ns after the last datagram.
const LIBRARY_NS: u64 = 3_000 * MS;
/// Datagrams that may come ahead of their turn.
const AHEAD: u8 = 16;
/// How far a generation may be ahead of the last that we know: renewals that failed.
const SKIPPED_MAX: u32 = 1 << 16;
/// After a failure the next attempt is made after this part of the usual time, and within these limits, s.
const RETRY: (f64, f64, f64) = (0.25, 5.0, 60.0);
/// Bytes of REKEY before the datagram: generation and index.
const REKEY_HEADER: usize = 5;

/// A renewal under way.
pub(super) struct Renewal {
    generation: u32,
    until: u64,
    /// Index of the next datagram of ours, and of the peer's.
    sent: u8,
    next: u8,
    held: BTreeMap<u8, Vec<u8>>,
    stage: Stage,
    /// INSTALLED that came before we were done.
    early: Option<[u8; 32]>,
}

#[allow(clippy::large_enum_variant, reason = "one of each link at most, and not for long")]
enum Stage {
    Handshake {
        handshake: Handshake,
        due: u64,
    },
    Installed {
        /// When to say so; none once it was said.
        announce: Option<u64>,
        ours: [u8; 32],
        theirs: [u8; 32],
        /// The peer has said so.
        confirmed: bool,
        /// Since then the peer sends with the new keys.
        heard: Option<u64>,
    },
}

impl Renewal {
    fn new(generation: u32, handshake: Handshake, now: Now) -> Renewal {
        let stage = Stage::Handshake { handshake, due: u64::MAX };
        let until = now.mono_ns.saturating_add(RENEWAL_NS);
        Renewal { generation, until, sent: 0, next: 0, held: BTreeMap::new(), stage, early: None }
    }
    pub(super) fn deadline(&self) -> u64 {
        match &self.stage {
            Stage::Handshake { due, .. } => self.until.min(*due),
            Stage::Installed { announce, heard, confirmed, .. } => {
                let follow = heard.filter(|_| !confirmed).map(|since| since + FOLLOW_NS);
                [*announce, follow].into_iter().flatten().fold(self.until, u64::min)
            }
        }
    }
}

/// What INSTALLED proves: that the sender of the outer handshake's binder has finished this inner one, on this side.
fn installed(outer: &[u8; 32], generation: u32, inner: &[u8; 32], side: Side) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, outer);
    let mut context = hmac::Context::with_key(&key);
    context.update(b"drover installed");
    context.update(&generation.to_be_bytes());
    context.update(inner);
    context.update(&[u8::from(side == Side::Server)]);
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

impl Links {
    /// Time to the next renewal, with jitter, ns. The side that does not begin them waits longer before it asks.
    pub(super) fn renewal_wait(&mut self, dialler: bool) -> u64 {
        let part = if dialler { 1.0 } else { 2.0 };
        self.jittered(self.rekey_ns() * part)
    }
    fn retry_wait(&mut self) -> u64 {
        let (part, least, most) = RETRY;
        self.jittered((self.rekey_ns() * part).clamp(least * 1e9, most * 1e9))
    }

    /// Timers of a link's renewal.
    pub(super) fn renewal_tick(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let Some(link) = self.table.get_mut(number) else { return };
        let (dialler, highest) = (link.dialler, link.highest);
        let Talk::Drover { channel, renewal, renew_at, .. } = &mut link.talk else { return };
        let Some(under_way) = renewal else {
            if *renew_at > now.mono_ns {
                return;
            }
            if dialler {
                return self.begin_renewal(plane, now, number, highest.saturating_add(1));
            }
            // The neighbour begins; a full channel is no reason to fail.
            let _ = channel.send(now.mono_ns, kind::REKEY_WANTED, &highest.saturating_add(1).to_be_bytes());
            let wait = self.retry_wait();
            return self.renew_at(now, number, wait);
        };
        if under_way.until <= now.mono_ns {
            return self.abort_renewal(now, number, "rekey_timeout");
        }
        match &mut under_way.stage {
            Stage::Handshake { handshake, due, .. } if *due <= now.mono_ns => {
                *due = u64::MAX;
                handshake.set_now(now.mono_ns);
                match handshake.on_timeout() {
                    Ok(()) => self.renewal_output(now, number),
                    Err(error) => self.abort_renewal(now, number, reason(&error)),
                }
            }
            Stage::Installed { announce, ours, .. } if announce.is_some_and(|at| at <= now.mono_ns) => {
                *announce = None;
                let message = [&under_way.generation.to_be_bytes()[..], &ours[..]].concat();
                if channel.send(now.mono_ns, kind::INSTALLED, &message).is_err() {
                    return self.abort_renewal(now, number, "channel_full");
                }
                self.end_renewal(now, number);
            }
            // Its INSTALLED is lost, but it took ours: not to follow would divide the link at the next renewal.
            Stage::Installed { heard: Some(since), confirmed: false, .. } if *since + FOLLOW_NS <= now.mono_ns => {
                let generation = under_way.generation;
                self.confirmed(plane, now, number, generation);
            }
            _ => {}
        }
    }

    fn renew_at(&mut self, now: Now, number: u32, wait: u64) {
        if let Some(Link { talk: Talk::Drover { renew_at, .. }, .. }) = self.table.get_mut(number) {
            *renew_at = now.mono_ns.saturating_add(wait);
        }
    }

    /// Begins a renewal as the side that begins them.
    fn begin_renewal(&mut self, plane: &mut dyn Plane, now: Now, number: u32, generation: u32) {
        let handshake = match Handshake::new(&self.context, Side::Client, self.mtu()) {
            Ok(handshake) => handshake,
            Err(error) => return self.abort_renewal(now, number, reason(&error)),
        };
        self.put_renewal(now, number, Renewal::new(generation, handshake, now));
        self.renewal_input(plane, now, number, None);
    }

    fn put_renewal(&mut self, now: Now, number: u32, new: Renewal) {
        if let Some(Link { talk: Talk::Drover { renewal, began, .. }, .. }) = self.table.get_mut(number) {
            *renewal = Some(new);
            *began = Some(now.mono_ns);
        }
    }

    fn abort_renewal(&mut self, now: Now, number: u32, reason: &'static str) {
        self.counters.refuse(reason);
        if let Some(Link { talk: Talk::Drover { renewal, .. }, .. }) = self.table.get_mut(number) {
            *renewal = None;
        }
        let wait = self.retry_wait();
        self.renew_at(now, number, wait);
    }

    /// A datagram of the peer's inner handshake.
    pub(super) fn on_rekey(&mut self, plane: &mut dyn Plane, now: Now, number: u32, bytes: &[u8]) {
        let Some((header, datagram)) = bytes.split_first_chunk::<REKEY_HEADER>() else {
            return self.counters.refuse("malformed");
        };
        let [a, b, c, d, index] = *header;
        let generation = u32::from_be_bytes([a, b, c, d]);
        let Some(link) = self.table.get_mut(number) else { return };
        let (dialler, highest) = (link.dialler, link.highest);
        let Talk::Drover { channel, renewal, began, .. } = &mut link.talk else { return };
        let known = renewal.as_ref().is_some_and(|renewal| renewal.generation == generation);
        if !known {
            if dialler {
                return self.counters.refuse("rekey_unknown");
            }
            if generation <= highest || renewal.as_ref().is_some_and(|renewal| renewal.generation > generation) {
                // The other side has forgotten some, after a restart: say where to go on. A late part of an old
                // renewal begins nothing.
                if index == 0 {
                    let least = highest.saturating_add(1).to_be_bytes();
                    let _ = channel.send(now.mono_ns, kind::REKEY_WANTED, &least);
                }
                return self.counters.refuse("rekey_old");
            }
            let soon = began.is_some_and(|began| now.mono_ns.saturating_sub(began) < PACE_NS);
            if soon || generation - highest > SKIPPED_MAX {
                return self.counters.refuse("rekey_pace");
            }
            match Handshake::new(&self.context, Side::Server, self.mtu()) {
                Ok(handshake) => self.put_renewal(now, number, Renewal::new(generation, handshake, now)),
                Err(error) => return self.counters.refuse(reason(&error)),
            }
        }
        self.renewal_input(plane, now, number, Some((index, datagram)));
    }

    /// Goes on with a handshake: takes a datagram, in order, and sends what is ready.
    fn renewal_input(&mut self, plane: &mut dyn Plane, now: Now, number: u32, datagram: Option<(u8, &[u8])>) {
        let Some(Link { talk: Talk::Drover { renewal: Some(renewal), .. }, .. }) = self.table.get_mut(number) else {
            return;
        };
        let Stage::Handshake { handshake, .. } = &mut renewal.stage else { return };
        if let Some((index, bytes)) = datagram {
            if index.wrapping_sub(renewal.next) >= AHEAD {
                return self.counters.refuse("rekey_order");
            }
            renewal.held.insert(index, bytes.to_vec());
        }
        let mut progress = Ok(Progress::More);
        while let (Ok(Progress::More), Some(bytes)) = (&progress, renewal.held.remove(&renewal.next)) {
            renewal.next = renewal.next.wrapping_add(1);
            handshake.set_now(now.mono_ns);
            progress = handshake.input(&bytes);
        }
        self.renewal_output(now, number);
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => self.renewal_done(plane, now, number),
            Err(error) => self.abort_renewal(now, number, reason(&error)),
        }
    }

    /// Sends what an inner handshake has ready.
    fn renewal_output(&mut self, now: Now, number: u32) {
        let Some(Link { talk: Talk::Drover { channel, renewal: Some(renewal), .. }, .. }) = self.table.get_mut(number)
        else {
            return;
        };
        let Stage::Handshake { handshake, due } = &mut renewal.stage else { return };
        let mut full = false;
        while let Some(datagram) = handshake.output() {
            let mut message = renewal.generation.to_be_bytes().to_vec();
            message.push(renewal.sent);
            message.extend(&datagram);
            renewal.sent = renewal.sent.wrapping_add(1);
            full |= channel.send(now.mono_ns, kind::REKEY, &message).is_err();
        }
        *due = match handshake.timeout() {
            Some(_) => now.mono_ns.saturating_add(LIBRARY_NS),
            None => u64::MAX,
        };
        if full {
            self.abort_renewal(now, number, "channel_full");
        }
    }

    /// The inner handshake is over: its keys are installed beside the old.
    fn renewal_done(&mut self, plane: &mut dyn Plane, now: Now, number: u32) {
        let Some(link) = self.table.get_mut(number) else { return };
        let Talk::Drover { renewal, .. } = &mut link.talk else { return };
        let Some(Renewal { generation, until, early, stage: Stage::Handshake { handshake, .. }, .. }) = renewal.take()
        else {
            return;
        };
        let taken = match handshake.take_over() {
            Ok(taken) => taken,
            Err(error) => return self.abort_renewal(now, number, reason(&error)),
        };
        let link = self.table.get(number);
        let same = link.is_some_and(|link| link.peer.id == taken.peer.id());
        if !same {
            return self.abort_renewal(now, number, "wrong_peer");
        }
        self.log_keys(&taken);
        match self.put_generation(plane, number, generation, &taken) {
            None => self.abort_renewal(now, number, "plane"),
            Some((ours, theirs)) => {
                let announce = Some(now.mono_ns.saturating_add(INSTALL_NS));
                let stage = Stage::Installed { announce, ours, theirs, confirmed: false, heard: None };
                let (sent, next, held) = (0, 0, BTreeMap::new());
                if let Some(Link { talk: Talk::Drover { renewal, .. }, .. }) = self.table.get_mut(number) {
                    *renewal = Some(Renewal { generation, until, sent, next, held, stage, early: None });
                }
                if let Some(early) = early {
                    self.check_installed(plane, now, number, generation, early);
                }
            }
        }
    }

    /// Puts a generation; our proof and the peer's.
    fn put_generation(
        &mut self,
        plane: &mut dyn Plane,
        number: u32,
        generation: u32,
        taken: &TakeOver,
    ) -> Option<([u8; 32], [u8; 32])> {
        let link = self.table.get_mut(number)?;
        let owner = link.note((0, 0));
        let request = put_link(plane, link, generation, taken, owner);
        plane.ask(&request).ok()?;
        link.highest = generation;
        let proof = |side| installed(&link.binder, generation, &taken.binder, side);
        let (client, server) = (proof(Side::Client), proof(Side::Server));
        Some(if taken.side == Side::Client { (client, server) } else { (server, client) })
    }

    /// The peer says that it has installed a generation.
    pub(super) fn on_installed(&mut self, plane: &mut dyn Plane, now: Now, number: u32, bytes: &[u8]) {
        let proof = |proof: &[u8]| <[u8; 32]>::try_from(proof).ok();
        let parts = bytes.split_first_chunk().and_then(|(generation, rest)| Some((*generation, proof(rest)?)));
        let Some((generation, proof)) = parts else { return self.counters.refuse("malformed") };
        self.check_installed(plane, now, number, u32::from_be_bytes(generation), proof);
    }

    fn check_installed(&mut self, plane: &mut dyn Plane, now: Now, number: u32, generation: u32, proof: [u8; 32]) {
        let Some(link) = self.table.get_mut(number) else { return };
        let Talk::Drover { renewal, .. } = &mut link.talk else { return };
        let Some(renewal) = renewal.as_mut().filter(|renewal| renewal.generation == generation) else {
            return self.counters.refuse("installed_unknown");
        };
        match &renewal.stage {
            Stage::Handshake { .. } => renewal.early = Some(proof),
            Stage::Installed { theirs, .. } => match equal(theirs, &proof) {
                true => self.confirmed(plane, now, number, generation),
                false => self.counters.refuse("binder"),
            },
        }
    }

    /// Something came under a generation: the peer sends with it, so it has its keys and took our INSTALLED. What was begun
    /// and forgotten by an earlier life of this process ends so; otherwise INSTALLED is waited for.
    pub(super) fn on_generation_heard(&mut self, plane: &mut dyn Plane, now: Now, number: u32, generation: u32) {
        let Some(link) = self.table.get_mut(number) else { return };
        let Talk::Drover { renewal, .. } = &mut link.talk else { return };
        if generation != link.highest || generation <= link.generation {
            return;
        }
        match renewal.as_mut().filter(|renewal| renewal.generation == generation).map(|renewal| &mut renewal.stage) {
            Some(Stage::Installed { heard, .. }) => {
                heard.get_or_insert(now.mono_ns);
            }
            Some(Stage::Handshake { .. }) => {}
            None => self.confirmed(plane, now, number, generation),
        }
    }

    /// The peer has installed our newest generation: send with it.
    fn confirmed(&mut self, plane: &mut dyn Plane, now: Now, number: u32, generation: u32) {
        let Some(link) = self.table.get_mut(number) else { return };
        if generation != link.generation {
            let boot = plane.welcome().boot;
            if plane.ask(&Request::SwitchLink { boot, link: number, generation }).is_err() {
                return self.abort_renewal(now, number, "plane");
            }
            link.generation = generation;
            self.counters.rekeys += 1;
            self.events.push_back(LinkEvent::Rekeyed { link: number });
        }
        if let Some(Link { talk: Talk::Drover { renewal: Some(renewal), .. }, .. }) = self.table.get_mut(number)
            && let Stage::Installed { confirmed, .. } = &mut renewal.stage
        {
            *confirmed = true;
        }
        self.end_renewal(now, number);
    }

    /// Ends a renewal in which both sides have said all.
    fn end_renewal(&mut self, now: Now, number: u32) {
        let Some(link) = self.table.get_mut(number) else { return };
        let dialler = link.dialler;
        let Talk::Drover { renewal, .. } = &mut link.talk else { return };
        let over = |stage: &Stage| matches!(stage, Stage::Installed { announce: None, confirmed: true, .. });
        if renewal.as_ref().is_some_and(|renewal| over(&renewal.stage)) {
            *renewal = None;
            let wait = self.renewal_wait(dialler);
            self.renew_at(now, number, wait);
        }
    }

    /// The peer wants a renewal, with this generation or a later one.
    pub(super) fn on_rekey_wanted(&mut self, now: Now, number: u32, bytes: &[u8]) {
        let Ok(least) = <[u8; 4]>::try_from(bytes).map(u32::from_be_bytes) else {
            return self.counters.refuse("malformed");
        };
        let Some(link) = self.table.get_mut(number) else { return };
        if !link.dialler {
            return self.counters.refuse("rekey_unknown");
        }
        let Talk::Drover { renewal, renew_at, began, .. } = &mut link.talk else { return };
        let busy = renewal.as_ref().is_some_and(|renewal| renewal.generation >= least);
        if busy || least.saturating_sub(link.highest) > SKIPPED_MAX {
            return;
        }
        // What the peer has is counted as put, so that the next generation is above it.
        link.highest = link.highest.max(least.saturating_sub(1));
        *renewal = None;
        *renew_at = began.map_or(0, |began| began.saturating_add(PACE_NS)).max(now.mono_ns);
    }
}
