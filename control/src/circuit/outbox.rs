//! Messages to neighbours that wait for room in a link's channel.

use super::limits::{AGAIN_NS, OUTBOX};
use crate::link::Neighbours;
use crate::plane::Now;
use std::collections::VecDeque;

/// Of one link at most.
const OF_A_LINK: usize = 64;

/// What waits.
#[derive(Default)]
pub struct Outbox {
    waiting: VecDeque<(u32, u8, Vec<u8>)>,
    again_ns: u64,
}

impl Outbox {
    /// Sends now, or keeps the message until there is room; false when it was lost.
    pub fn send(&mut self, links: &mut dyn Neighbours, now: Now, link: u32, kind: u8, bytes: Vec<u8>) -> bool {
        match links.send(now, link, kind, &bytes) {
            Ok(_) => true,
            Err(None) => false,
            Err(Some(_)) => {
                let of_link = self.waiting.iter().filter(|waiting| waiting.0 == link).count();
                let room = self.waiting.len() < OUTBOX && of_link < OF_A_LINK;
                if room {
                    if self.waiting.is_empty() {
                        self.again_ns = now.mono_ns.saturating_add(AGAIN_NS);
                    }
                    self.waiting.push_back((link, kind, bytes));
                }
                room
            }
        }
    }
    /// Tries again what waits.
    pub fn on_tick(&mut self, links: &mut dyn Neighbours, now: Now) {
        if self.deadline().is_some_and(|at| at <= now.mono_ns) {
            self.again_ns = now.mono_ns.saturating_add(AGAIN_NS);
            self.waiting.retain(|(link, kind, bytes)| matches!(links.send(now, *link, *kind, bytes), Err(Some(_))));
        }
    }
    /// The link is gone.
    pub fn link_down(&mut self, link: u32) {
        self.waiting.retain(|waiting| waiting.0 != link);
    }
    /// When [`Outbox::on_tick`] next has something to do, monotonic ns.
    pub fn deadline(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.again_ns)
    }
}
