//! A resolver for ports that no kernel stands beside: it does itself what a host must on its link.
//!
//! It answers who asks for the port's address (ARP, neighbour solicitations), finds the next hops that tables want, on
//! the link or by the gateway, and gives back echoes. It is state without I/O on a clock from outside: the port hands
//! it the frames that [`concerns`] picks out of those it could not read, off the hot path, and sends what it returns.
//!
//! Everything here may be forged by anybody on the link. Only next hops that some table wants are learned, answers and
//! requests have rates, and nothing that is heard makes the state grow.

use super::book::Book;
use super::rate::Rate;
use super::{Feed, Ip, address_of};
use drover_wire::frame::{Family, Local, Mac, is_host};
use messages::{Asker, Heard};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

mod messages;

pub use messages::{concerns, listens_to};

/// Questions for our address that are answered a second: a large link that starts at once.
const ANSWERS_A_SECOND: u32 = 100;
/// Echoes a second: enough for those who look after a network, too few to reflect a flood.
const ECHOES_A_SECOND: u32 = 10;
/// Questions of ours a second: what strangers can make us ask.
const QUESTIONS_A_SECOND: u32 = 100;
/// Time between two questions for one next hop (RFC 4861's RETRANS_TIMER).
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions until a next hop counts as gone (RFC 4861's MAX_MULTICAST_SOLICIT).
const ASKS: u8 = 3;
/// How often a next hop in use is confirmed (RFC 4861's REACHABLE_TIME).
const CONFIRM_EVERY: Duration = Duration::from_secs(30);
/// Next hops remembered at most. Each is in use or was a moment ago, so this binds only where thousands on one link are
/// asked for in vain.
const HOPS_MAX: usize = 8192;

/// What a responder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The port's addresses.
    pub local: Local,
    /// Bits of the prefix that is on the link.
    pub prefix_len: u8,
    /// Where everything else goes: an address on the link. None: only the link is reached.
    pub gateway: Option<Ip>,
}

/// What a responder has heard and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed in.
    pub heard: u64,
    /// Of these, frames that were not for us or not well-formed, and answers that nobody wanted.
    pub ignored: u64,
    /// Questions for our address, answered.
    pub answered: u64,
    /// Echoes given back.
    pub echoed: u64,
    /// Answers, echoes and questions of ours that a rate held back.
    pub limited: u64,
    /// Questions of ours.
    pub asked: u64,
    /// Next hops found, and found elsewhere than before.
    pub learned: u64,
    /// Frames in which somebody else claims our address.
    pub conflicts: u64,
    /// Destinations neither on the link nor behind a gateway.
    pub unroutable: u64,
}

/// The state of a port's presence on its link.
pub struct Responder {
    config: Config,
    book: Book,
    hops: HashMap<Ip, Hop>,
    answers: Rate,
    echoes: Rate,
    questions: Rate,
    link_up: bool,
    announce: bool,
    counters: Counters,
}

/// A next hop that is wanted.
struct Hop {
    mac: Option<Mac>,
    /// Questions since it last answered one.
    asks: u8,
    ask_at: Instant,
}

impl Responder {
    /// A responder that feeds these tables; the link counts as down.
    ///
    /// # Errors
    /// `InvalidInput`, with what is wrong, for an address that no host may have, a prefix that is too long, a gateway
    /// that is not on the link, or more tables than one resolver serves.
    pub fn new(config: Config, feeds: Vec<Feed>, now: Instant) -> io::Result<Responder> {
        if let Some(why) = wrong(&config, feeds.len()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(Responder {
            config,
            book: Book::new(feeds),
            hops: HashMap::new(),
            answers: Rate::new(ANSWERS_A_SECOND, now),
            echoes: Rate::new(ECHOES_A_SECOND, now),
            questions: Rate::new(QUESTIONS_A_SECOND, now),
            link_up: false,
            announce: false,
            counters: Counters::default(),
        })
    }

    /// Whether frames can leave the device. What comes up is announced, and its next hops are asked for anew.
    pub fn set_link(&mut self, up: bool, now: Instant) {
        if up && !self.link_up {
            self.announce = true;
            self.hops.values_mut().for_each(|hop| hop.ask_at = now);
        }
        self.link_up = up;
        self.book.set_link(up);
    }

    /// Takes a frame that the port received, and sends what it calls for.
    pub fn hear(&mut self, frame: &[u8], now: Instant, send: impl FnOnce(&[u8])) {
        self.counters.heard += 1;
        match messages::hear(frame, &self.config.local) {
            None => self.counters.ignored += 1,
            Some(Heard::Question(asker)) => self.answer(asker, now, send),
            Some(Heard::Answer { ip, .. }) if ip == self.config.local.ip => self.counters.conflicts += 1,
            Some(Heard::Answer { ip, mac, ours, overrides }) => self.learn(&ip, mac, ours, overrides, now),
            Some(Heard::Echo { from, mac, ident, sequence, data }) => {
                if self.echoes.take(now) {
                    self.counters.echoed += 1;
                    send(&messages::echo(&self.config.local, &from, mac, ident, sequence, data));
                } else {
                    self.counters.limited += 1;
                }
            }
        }
    }

    fn answer(&mut self, asker: Asker, now: Instant, send: impl FnOnce(&[u8])) {
        if !self.answers.take(now) {
            self.counters.limited += 1;
            return;
        }
        self.counters.answered += 1;
        send(&messages::answer(&self.config.local, asker));
    }

    fn learn(&mut self, ip: &Ip, mac: Option<Mac>, ours: bool, overrides: bool, now: Instant) {
        let Some(hop) = self.hops.get_mut(ip) else {
            self.counters.ignored += 1;
            return;
        };
        let moves = mac.is_some() && mac != hop.mac;
        if moves && hop.mac.is_some() && !overrides {
            // Another who may speak for it, but not in its stead (RFC 4861, 7.2.5).
            self.counters.ignored += 1;
            return;
        }
        if moves {
            self.counters.learned += 1;
            hop.mac = mac;
            // Until it confirms this itself.
            hop.ask_at = hop.ask_at.min(now + ASK_EVERY);
        }
        if ours && hop.mac.is_some() {
            hop.asks = 0;
            hop.ask_at = now + CONFIRM_EVERY;
        }
        if hop.mac.is_some() {
            self.book.learn(ip, hop.mac, now);
        }
    }

    /// Takes what tables want, asks for what is due, and lets go of what is not used. To be called every few
    /// milliseconds.
    pub fn turn(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.announce) {
            send(&messages::announcement(&self.config.local));
        }
        for ip in self.book.wanted(now) {
            self.resolve(ip, now);
        }
        if self.link_up {
            self.ask(now, &mut send);
        }
        self.book.age(now);
        self.book.flush();
    }

    fn resolve(&mut self, ip: Ip, now: Instant) {
        let Some(hop) = self.config.next_hop(&ip) else {
            self.counters.unroutable += 1;
            return self.book.fail(&ip, now);
        };
        if self.hops.len() >= HOPS_MAX && !self.hops.contains_key(&hop) {
            self.counters.limited += 1;
            return self.book.fail(&ip, now);
        }
        let known = self.hops.entry(hop).or_insert(Hop { mac: None, asks: 0, ask_at: now });
        self.book.reach(&ip, hop, known.mac, now);
    }

    /// Asks for next hops that are due. One that no longer answers is given up, one that nobody uses forgotten.
    fn ask(&mut self, now: Instant, send: &mut impl FnMut(&[u8])) {
        let due: Vec<Ip> = self.hops.iter().filter(|(_, hop)| now >= hop.ask_at).map(|(ip, _)| *ip).collect();
        for ip in due {
            if !self.book.uses(&ip) {
                self.hops.remove(&ip);
                continue;
            }
            let Some(hop) = self.hops.get_mut(&ip) else { continue };
            if hop.asks == ASKS {
                *hop = Hop { mac: None, asks: 0, ask_at: now + ASK_EVERY };
                self.book.learn(&ip, None, now);
            } else if self.questions.take(now) {
                // Where it was first, then wherever it is.
                let question = messages::question(&self.config.local, &ip, hop.mac.filter(|_| hop.asks == 0));
                hop.asks += 1;
                hop.ask_at = now + ASK_EVERY;
                self.counters.asked += 1;
                send(&question);
            } else {
                hop.ask_at = now + ASK_EVERY;
                self.counters.limited += 1;
            }
        }
    }

    /// What has been heard and done.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// What is wrong with a configuration.
fn wrong(config: &Config, feeds: usize) -> Option<String> {
    let ip = address_of(&config.local.ip);
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    if !is_host(&config.local.ip) || config.is_everybody(&config.local.ip) {
        return Some(format!("{ip}/{}: no host may have this address", config.prefix_len));
    }
    if !config.local.mac.is_station() {
        return Some(format!("{}: no station may have this address", config.local.mac));
    }
    if config.prefix_len > bits {
        return Some(format!("a prefix of {} bits: an address has {bits}", config.prefix_len));
    }
    if let Some(gateway) = config.gateway {
        let reached = config.is_on_link(&gateway) || is_link_local(&gateway);
        if !is_host(&gateway) || gateway == config.local.ip || !config.is_our_family(&gateway) || !reached {
            let gateway = address_of(&gateway);
            return Some(format!("gateway {gateway}: not a neighbour of {ip}/{}", config.prefix_len));
        }
    }
    let max = super::book::FEEDS_MAX;
    (feeds > max).then(|| format!("{feeds} tables for one responder: at most {max}"))
}

impl Config {
    fn is_our_family(&self, ip: &Ip) -> bool {
        Family::of(ip) == self.local.family()
    }

    /// The bits of the prefix, counted from the left of the 128 in which every address is written.
    fn prefix_bits(&self) -> u32 {
        let before = if self.local.family() == Family::V4 { 96 } else { 0 };
        (before + u32::from(self.prefix_len)).min(128)
    }

    /// The bits of an address behind the prefix.
    fn host_bits(&self) -> u128 {
        u128::MAX.checked_shr(self.prefix_bits()).unwrap_or(0)
    }

    fn is_on_link(&self, ip: &Ip) -> bool {
        let differ = u128::from_be_bytes(*ip) ^ u128::from_be_bytes(self.local.ip);
        differ & !self.host_bits() == 0
    }

    /// IPv4's network and broadcast addresses, where a prefix has them (RFC 3021 for the others).
    fn is_everybody(&self, ip: &Ip) -> bool {
        let host = u128::from_be_bytes(*ip) & self.host_bits();
        self.local.family() == Family::V4 && self.host_bits() > 1 && (host == 0 || host == self.host_bits())
    }

    /// Whose Ethernet address frames for `ip` carry.
    fn next_hop(&self, ip: &Ip) -> Option<Ip> {
        // A peer's address has no scope, so it cannot be link-local (`Endpoint`).
        if !self.is_our_family(ip) || !is_host(ip) || is_link_local(ip) || *ip == self.local.ip {
            return None;
        }
        if !self.is_on_link(ip) {
            return self.gateway;
        }
        (!self.is_everybody(ip)).then_some(*ip)
    }
}

/// fe80::/10 (RFC 4291, 2.5.6).
fn is_link_local(ip: &Ip) -> bool {
    ip[0] == 0xfe && ip[1] & 0xc0 == 0x80
}

#[cfg(test)]
mod tests;
