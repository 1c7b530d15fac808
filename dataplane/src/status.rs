//! What the data plane says about itself: the welcome, and status as JSON.
//!
//! Totals by worker and by class only; what tells one link from another, or cells from chaff, exists in lab builds
//! only (I10). Everything a worker counted is read from shared memory: asking does not touch a worker.

use crate::config::{Config, Crypto, Pacing};
use crate::counters::{LATENESS_BUCKETS, lateness_bound};
use crate::drops::DropReason;
use crate::mixing::Mixing;
use crate::publish::{self, Published};
use crate::service::shadow::{ClassEntry, Shadow};
use crate::state::Sizes;
use drover_nic::Port;
use drover_nic::any::AnyPort;
use drover_nic::shm::Segment;
use drover_wire::cell::CellSize;
use drover_wire::control::{Address, BootId, ClassKind, Welcome, WorkerInfo, Workers};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

/// Links of one page of the lab's report: no page is longer than a message.
#[cfg(feature = "lab")]
const LINKS_A_PAGE: usize = 200;

/// What a worker's port was really opened as.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// The kind of port.
    port: &'static str,
    /// For people.
    text: String,
    /// What it counts for itself, by name.
    details: Vec<&'static str>,
}

impl Bound {
    /// What `port` is.
    pub fn of(port: &AnyPort) -> Bound {
        let details = port.details().iter().map(|(name, _)| *name).collect();
        Bound { port: port.capabilities().name, text: port.describe(), details }
    }
}

/// What status is made of.
pub struct Status {
    /// This life.
    pub boot: BootId,
    /// The cell size.
    pub cell: CellSize,
    /// Sizes of each worker's tables.
    pub sizes: Sizes,
    crypto: Crypto,
    pacings: Vec<Pacing>,
    tick_us: u64,
    mixing: Mixing,
    started: u64,
    pool_bytes: usize,
    workers: Vec<(SocketAddr, Option<u16>)>,
    bound: Vec<Bound>,
    segment: Arc<Segment>,
    /// What the service thread dropped of what each worker handed over.
    handed_drops: Vec<[u64; DropReason::COUNT]>,
    /// The last reading of each worker, for the rare moment when a new one cannot be had.
    last: Vec<Published>,
}

impl Status {
    /// The status of a data plane that was made of `config` and listens on `listens` by ports that are `bound` so.
    pub fn new(
        boot: BootId,
        config: &Config,
        listens: &[SocketAddr],
        bound: Vec<Bound>,
        pool_bytes: usize,
        segment: Arc<Segment>,
    ) -> Self {
        let workers: Vec<_> = listens.iter().zip(&config.workers).map(|(listen, w)| (*listen, w.core)).collect();
        Status {
            boot,
            cell: config.cell,
            sizes: config.sizes,
            crypto: config.crypto,
            pacings: config.pacings.clone(),
            tick_us: config.tick_us,
            mixing: config.mixing,
            started: crate::run::now(),
            pool_bytes,
            last: vec![Published::default(); workers.len()],
            handed_drops: vec![[0; DropReason::COUNT]; workers.len()],
            workers,
            bound,
            segment,
        }
    }

    /// Counts a drop by the service thread of what `worker` had handed over.
    pub fn drop_of(&mut self, worker: u8, reason: DropReason) {
        if let Some(drops) = self.handed_drops.get_mut(usize::from(worker)) {
            drops[reason as usize] += 1;
        }
    }

    /// Answers Hello.
    pub fn welcome(&self, ends: bool) -> Welcome {
        let mut workers = Workers::new();
        for (listen, core) in &self.workers {
            let core = core.unwrap_or(WorkerInfo::NOT_PINNED);
            // There are no more workers than the list holds.
            let _ = workers.push(WorkerInfo { listen: Address::from(*listen), core });
        }
        let (cell, now_ns) = (u16::from(self.cell), crate::run::now());
        Welcome { boot: self.boot, cell, now_ns, lab: cfg!(feature = "lab"), ends, workers }
    }

    /// Answers QueryStatus.
    pub fn report(&mut self, shadow: &Shadow) -> Vec<u8> {
        for (worker, last) in self.last.iter_mut().enumerate() {
            if let Some(published) = publish::read(&self.segment, worker) {
                *last = published;
            }
        }
        let now = crate::run::now();
        let (links, circuits, ends) = shadow.counts();
        let workers: Vec<_> = (0..self.workers.len()).map(|worker| self.worker(worker)).collect();
        let classes: Vec<_> = shadow.classes().iter().enumerate().map(|(at, class)| self.class(at, class)).collect();
        let report = json!({
            "boot": self.boot.to_string(),
            "cell": self.cell.bytes(),
            "crypto": self.crypto.backend.name(),
            "crypto_reason": self.crypto.reason(),
            "policy": self.policy(),
            "policy_reason": self.policy_reason(),
            "tick_us": self.tick_us,
            "mixing": match self.mixing {
                Mixing::Interval { ns } => json!({ "mode": "interval", "interval_ms": ns / 1_000_000 }),
                Mixing::Threshold { circuits, cap_ns } => {
                    json!({ "mode": "threshold", "threshold": circuits, "cap_ms": cap_ns / 1_000_000 })
                }
            },
            "lab": cfg!(feature = "lab"),
            "uptime_s": (now - self.started) as f64 / 1e9,
            "now_ns": now,
            "links": links,
            "circuits": circuits,
            "ends": ends,
            "pool_bytes": self.pool_bytes,
            // Of all workers, whatever left: upper bounds, ns, and counts of the buckets that are not empty.
            "lateness_ns": self.lateness(),
            "workers": workers,
            "classes": classes,
        });
        report.to_string().into_bytes()
    }

    /// What paces the workers: `tick`, `spin`, or `mixed`.
    fn policy(&self) -> &'static str {
        match &self.pacings[..] {
            [first, rest @ ..] if rest.iter().all(|other| other.policy == first.policy) => first.policy.name(),
            _ => "mixed",
        }
    }

    fn policy_reason(&self) -> String {
        match &self.pacings[..] {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => first.reason.clone(),
            all => {
                let reasons = all.iter().enumerate();
                reasons.map(|(at, one)| format!("worker {at}: {}", one.reason)).collect::<Vec<_>>().join("; ")
            }
        }
    }

    fn worker(&self, worker: usize) -> Value {
        let Published { at_ns, counters, port, details, links, .. } = &self.last[worker];
        let bound = &self.bound[worker];
        // What has happened: a count that is 0 says nothing.
        let details: Map<String, Value> = bound
            .details
            .iter()
            .zip(details)
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| ((*name).to_owned(), (*count).into()))
            .collect();
        let (listen, core) = self.workers[worker];
        let Pacing { policy, reason } = &self.pacings[worker];
        let drops: Map<String, Value> = DropReason::ALL
            .iter()
            .map(|reason| (*reason, counters.dropped(*reason) + self.handed_drops[worker][*reason as usize]))
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.name().to_owned(), count.into()))
            .collect();
        let quantile = |q| quantile_us(&counters.lateness, q);
        #[cfg_attr(not(feature = "lab"), expect(unused_mut))]
        let mut row = json!({
            "worker": worker,
            "listen": listen.to_string(),
            "core": core,
            "port": bound.port,
            "bound": bound.text,
            "port_details": details,
            "policy": policy.name(),
            "policy_reason": reason,
            "published_ns": at_ns,
            "turns": counters.turns,
            "received": counters.received,
            "sent": counters.sent,
            "refused": port.refused,
            "oversized": port.oversized,
            "trials": counters.trials,
            "links": links,
            "drops": drops,
            "lateness_us": { "p50": quantile(0.5), "p99": quantile(0.99) },
        });
        #[cfg(feature = "lab")]
        {
            let lab = &counters.lab;
            row["lab"] = json!({
                "chaff_in": lab.chaff_in,
                "cells_out": lab.cells_out,
                "chaff_out": lab.chaff_out,
                "handed_in": lab.handed_in,
                "handed_out": lab.handed_out,
                "filled": lab.filled,
                "delivered": lab.delivered,
                "waiting": self.last[worker].waiting,
            });
        }
        row
    }

    fn lateness(&self) -> Vec<(u64, u64)> {
        let of = |bucket: usize| self.last.iter().map(|worker| worker.counters.lateness[bucket]).sum();
        let all = (0..LATENESS_BUCKETS).map(|bucket| (lateness_bound(bucket), of(bucket)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    fn class(&self, at: usize, class: &ClassEntry) -> Value {
        let sum = |of: fn(&Published, usize) -> u64| self.last.iter().map(|p| of(p, at)).sum::<u64>();
        let rate = class.rate;
        json!({
            "class": class.id,
            "kind": kind_name(class.kind),
            "round_ns": rate.round_ns,
            "slots": rate.slots,
            "rate": f64::from(rate.slots) * 1e9 / rate.round_ns as f64,
            "links": class.links.iter().sum::<u64>(),
            "sent": sum(|p, at| p.counters.class_sent[at]),
            "missed": sum(|p, at| p.counters.class_missed[at]),
            "lost": sum(|p, at| p.counters.class_lost[at]),
        })
    }

    /// Answers QueryLinks: a page of links from id `from` on.
    #[cfg(feature = "lab")]
    pub fn links(&self, shadow: &Shadow, from: u32) -> Vec<u8> {
        let shape = |worker| (usize::from(worker), self.workers.len(), self.sizes.links);
        let mut all = shadow.links_from(from);
        let page: Vec<_> = all
            .by_ref()
            .take(LINKS_A_PAGE)
            .map(|(id, link)| {
                let place = link.place;
                // A link that was put just now has not been published.
                let p = publish::read_link(&self.segment, shape(place.worker), place.index, id).unwrap_or_default();
                json!({
                    "link": id,
                    "worker": place.worker,
                    "class": link.spec.class,
                    "at_ns": p.at_ns,
                    "received": p.received,
                    "received_real": p.received_real,
                    "sent": p.sent,
                    "sent_real": p.sent_real,
                    "missed": p.missed,
                })
            })
            .collect();
        let next = all.next().map(|(id, _)| id);
        json!({ "next": next, "links": page }).to_string().into_bytes()
    }
}

/// A class's kind, for people and programs.
pub(crate) fn kind_name(kind: ClassKind) -> &'static str {
    match kind {
        ClassKind::Client => "client",
        ClassKind::Superpeer => "superpeer",
        ClassKind::Zone => "zone",
        ClassKind::Pair => "pair",
    }
}

/// The upper bound of the bucket that holds quantile `q`, µs; 0 when nothing was counted.
fn quantile_us(buckets: &[u64; LATENESS_BUCKETS], q: f64) -> f64 {
    let all: u64 = buckets.iter().sum();
    let rank = (all as f64 * q).ceil() as u64;
    let mut seen = 0;
    let at = buckets.iter().position(|count| {
        seen += count;
        seen >= rank && seen > 0
    });
    at.map_or(0.0, |bucket| lateness_bound(bucket) as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::lateness_bucket;

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let mut buckets = [0; LATENESS_BUCKETS];
        assert_eq!(quantile_us(&buckets, 0.99), 0.0);
        buckets[lateness_bucket(1_000)] = 98;
        buckets[lateness_bucket(1_000_000)] = 2;
        assert_eq!(quantile_us(&buckets, 0.5), 1.024);
        assert_eq!(quantile_us(&buckets, 0.98), 1.024);
        assert_eq!(quantile_us(&buckets, 0.99), 1048.576);
    }
}
