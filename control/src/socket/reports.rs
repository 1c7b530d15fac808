//! What `QueryStatus` and `QueryLinks` answer, read from JSON. Fields that are not known here are passed over, so that a
//! newer data plane can still be asked.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Totals and state of a data plane.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// This life of it, hex.
    pub boot: String,
    /// Cell size, bytes.
    pub cell: u32,
    /// The crypto back end.
    pub crypto: String,
    /// Why it is this one.
    pub crypto_reason: String,
    /// What paces its workers: `tick`, `spin` or, of several, `mixed`.
    pub policy: String,
    /// Why.
    pub policy_reason: String,
    /// How the cells of circuits that own no slot are mixed.
    pub mixing: MixingStatus,
    /// The tick, µs, of workers under `tick`.
    pub tick_us: Option<u64>,
    /// Built with the feature `lab`.
    pub lab: bool,
    /// Time since its start, s.
    pub uptime_s: f64,
    /// The monotonic clock, ns.
    pub now_ns: u64,
    /// Links.
    pub links: u64,
    /// Circuits through it.
    pub circuits: u64,
    /// Clients' ends in it.
    pub ends: u64,
    /// Memory of cell pools and tables, bytes.
    pub pool_bytes: u64,
    /// Departures of all workers by lateness: upper bounds, ns, and counts of the buckets that are not empty.
    pub lateness_ns: Vec<(u64, u64)>,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Its classes of links.
    pub classes: Vec<ClassStatus>,
}

/// How best-effort cells are mixed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MixingStatus {
    /// `interval` or `threshold`.
    pub mode: String,
    /// Of `interval`: its length, ms.
    pub interval_ms: u64,
    /// Of `threshold`: distinct circuits.
    pub threshold: u64,
    /// Of `threshold`: the longest wait for them, ms.
    pub cap_ms: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: u32,
    /// Where it receives.
    pub listen: String,
    /// The core that it is pinned to.
    pub core: Option<i64>,
    /// The kind of its port.
    pub port: String,
    /// What that was really opened as.
    pub bound: String,
    /// What the port counts for itself, by name; what never happened is left out.
    pub port_details: BTreeMap<String, u64>,
    /// What paces it: `tick` or `spin`.
    pub policy: String,
    /// Why.
    pub policy_reason: String,
    /// When its counters were published, monotonic ns.
    pub published_ns: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// Frames taken from the port.
    pub received: u64,
    /// Records sent.
    pub sent: u64,
    /// Frames that the port would not send.
    pub refused: u64,
    /// Frames that the port refused as too long.
    pub oversized: u64,
    /// Second openings tried.
    pub trials: u64,
    /// Its links.
    pub links: u64,
    /// Drops by reason.
    pub drops: BTreeMap<String, u64>,
    /// Lateness of departures, µs.
    pub lateness_us: Lateness,
    /// Cells against chaff; lab builds only.
    pub lab: Option<LabStatus>,
}

/// How late departures were, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Lateness {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// Cells against chaff of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LabStatus {
    /// Chaff that came in.
    pub chaff_in: u64,
    /// Cells that left.
    pub cells_out: u64,
    /// Chaff that left.
    pub chaff_out: u64,
    /// Cells taken from other workers.
    pub handed_in: u64,
    /// Cells given to other workers.
    pub handed_out: u64,
    /// Cells made by a client's end.
    pub filled: u64,
    /// Cells taken by a client's end.
    pub delivered: u64,
    /// Cells that wait.
    pub waiting: u64,
}

/// One class of links.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClassStatus {
    /// Its number.
    pub class: u32,
    /// What its links join.
    pub kind: String,
    /// A round, ns.
    pub round_ns: u64,
    /// Slots of a round.
    pub slots: u32,
    /// Records a second of each link and direction.
    pub rate: f64,
    /// Its links.
    pub links: u64,
    /// Records sent.
    pub sent: u64,
    /// Slots missed.
    pub missed: u64,
    /// Records of the peers that did not come.
    pub lost: u64,
}

/// A page of links.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LinksPage {
    /// Where the next page begins; none after the last.
    pub next: Option<u32>,
    /// The links.
    pub links: Vec<LinkReport>,
}

/// One link, as one end of it counts. Counters and `at_ns` are of one instant: rates are differences of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LinkReport {
    /// The link's id.
    pub link: u32,
    /// The worker that it belongs to.
    pub worker: u32,
    /// Its class.
    pub class: u32,
    /// When these counters were read, monotonic ns of the data plane.
    pub at_ns: u64,
    /// Records that opened.
    pub received: u64,
    /// Of these, cells that were not chaff.
    pub received_real: u64,
    /// Records sent.
    pub sent: u64,
    /// Of these, cells that were not chaff.
    pub sent_real: u64,
    /// Slots missed.
    pub missed: u64,
}

/// A page of what a data plane has, as control reads it at its start (`docs/wire.md`, W-CTL). Only links here.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DumpPage {
    /// Where the next page begins; none after the last.
    pub next: Option<u32>,
    /// The links.
    pub links: Vec<DumpedLink>,
}

/// One link that a data plane has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DumpedLink {
    /// The link's id.
    pub link: u32,
    /// Its class.
    pub class: u16,
    /// The other end of a mix's loop.
    pub loop_to: Option<u32>,
    /// The generation that has been heard.
    pub heard: Option<u32>,
    /// Whether nothing comes at present.
    pub silent: bool,
    /// What control keeps with it, hex; the peer's id among it.
    pub owner: String,
}

impl Status {
    /// Drops of all workers by reason, in the order of the data plane's own list; what did not happen is left out.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (reason, n) in self.workers.iter().flat_map(|w| &w.drops) {
            if *n > 0 {
                *all.entry(reason.clone()).or_default() += n;
            }
        }
        all
    }
}
