//! What a run of `forward` found.

use super::Sample;
use crate::stats::quartiles;
use drover_nic::{Port, PortCounters, PortDetails};
use serde::Serialize;
use std::fmt;

/// What a port counts for itself that is a lost packet. All else that it counts is not: packets of others, wake-ups.
const LOSSES: [&str; 14] = [
    "hand_over_full",
    "handed_over_full",
    "no_neighbour",
    "unroutable",
    "neighbours_full",
    "link_down",
    "link_was_down",
    "wire_full",
    "device_dropped",
    "device_dropped_late",
    "kernel_dropped",
    "kernel_ring_full",
    "device_missed",
    "forward_refused",
];

/// Packets, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where, or what the port calls it.
    pub place: String,
    /// How many.
    pub packets: u64,
}

/// What a port has lost since it had counted `before`, by place; and all else that it has counted.
pub fn places(before: (&PortCounters, &PortDetails), port: &impl Port) -> (Vec<Place>, Vec<Place>) {
    let now = port.counters();
    let mut all = vec![("refused", now.refused - before.0.refused), ("oversized", now.oversized - before.0.oversized)];
    let details = port.details();
    let old = |name: &str| before.1.iter().find(|(old, _)| *old == name).map_or(0, |(_, count)| *count);
    all.extend(details.iter().map(|(name, count)| (*name, count.saturating_sub(old(name)))));
    let explained = all.iter().any(|(name, count)| *count > 0 && LOSSES.contains(name));
    let (mut drops, mut noted) = (Vec::new(), Vec::new());
    for (name, packets) in all.into_iter().filter(|(_, count)| *count > 0) {
        // Refused is the sum of what the port explains by name where it does.
        let is_loss = LOSSES.contains(&name) || name == "oversized" || (name == "refused" && !explained);
        let place = Place { place: name.to_owned(), packets };
        if is_loss { drops.push(place) } else { noted.push(place) }
    }
    (drops, noted)
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// The kind of port.
    pub port: &'static str,
    /// What was really bound.
    pub bound: String,
    /// Bytes of a datagram's payload: a record's; of DPDK's devices bytes of a frame.
    pub payload: usize,
    /// Peers.
    pub peers: usize,
    /// What a run should know of: fallbacks.
    pub notes: Vec<String>,
}

/// The figures of a run. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// 10^9 / `ns_per_packet`.
    pub packets_per_second: f64,
    /// Time from receive to transmit of a burst, for each packet of it that was forwarded.
    pub ns_per_packet: f64,
    /// Quartiles of the batches' own.
    pub ns_per_packet_iqr: [f64; 2],
    /// Packets that the peers were to send.
    pub packets: u64,
    /// Of these, those that did not come back.
    pub lost: u64,
    /// Where.
    pub drops: Vec<Place>,
    /// What else the port counted.
    pub noted: Vec<Place>,
    /// Packets of a burst, on average.
    pub packets_per_burst: f64,
    /// Batches.
    pub batches: usize,
    /// Where.
    #[serde(flatten)]
    pub about: About,
    /// Beside another program, on the same devices in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// Another program's figure.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// Its name and version.
    pub program: String,
    /// Its command line.
    pub command: String,
    /// Its time a packet; median of its windows.
    pub ns_per_packet: f64,
    /// Quartiles of its windows.
    pub ns_per_packet_iqr: [f64; 2],
    /// Ours minus its.
    pub difference_ns: f64,
    /// Quartiles of the pairs' own: ours minus that of the window next to it.
    pub difference_ns_iqr: [f64; 2],
    /// Its windows.
    pub windows: usize,
}

impl Report {
    /// Of batches.
    ///
    /// # Errors
    /// Nothing was forwarded: there is no figure.
    pub fn new(samples: &[Sample], (drops, noted): (Vec<Place>, Vec<Place>), about: About) -> Result<Report, String> {
        let each = samples.iter().filter(|s| s.forwarded > 0).map(|s| s.ns as f64 / s.forwarded as f64);
        let [low, ns, high] = quartiles(each.collect());
        let sum = |value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
        let (packets, lost) = (sum(|s| s.offered), sum(|s| s.lost));
        if !ns.is_finite() {
            let places: Vec<_> = drops.iter().chain(&noted).map(ToString::to_string).collect();
            return Err(format!("none of {packets} packets was forwarded over {}: {}", about.bound, places.join(", ")));
        }
        Ok(Report {
            packets_per_second: 1e9 / ns,
            ns_per_packet: ns,
            ns_per_packet_iqr: [low, high],
            packets,
            lost,
            drops,
            noted,
            packets_per_burst: sum(|s| s.forwarded) as f64 / sum(|s| s.turns).max(1) as f64,
            batches: samples.len(),
            about,
            against: None,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.packets, self.place)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { port, bound, payload, peers, notes } = &self.about;
        writeln!(f, "Receive to transmit, header read, no crypto; one core")?;
        writeln!(f, "  port       {port}: {bound}")?;
        notes.iter().try_for_each(|note| writeln!(f, "  note       {note}"))?;
        writeln!(f, "  packets    {payload} bytes, from {peers} peers; {:.1} a burst", self.packets_per_burst)?;
        let (ns, [low, high]) = (self.ns_per_packet, self.ns_per_packet_iqr);
        let rate = self.packets_per_second / 1e6;
        writeln!(f, "  a packet   {ns:.1} ns (half of the batches in {low:.1}..{high:.1}); {rate:.3} million/s")?;
        if let Some(against) = &self.against {
            let Against { program, ns_per_packet, ns_per_packet_iqr: [low, high], difference_ns, .. } = against;
            let [less, more] = against.difference_ns_iqr;
            writeln!(f, "  against    {program}: {ns_per_packet:.1} ns (half of the windows in {low:.1}..{high:.1})")?;
            writeln!(f, "  difference {difference_ns:+.1} ns a packet (half of the pairs in {less:+.1}..{more:+.1})")?;
        }
        let list = |places: &[Place]| places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self.lost {
            0 => writeln!(f, "  lost       none")?,
            lost => writeln!(f, "  lost       {lost} of {}: {}", self.packets, list(&self.drops))?,
        }
        if !self.noted.is_empty() {
            writeln!(f, "  counted    {}", list(&self.noted))?;
        }
        write!(f, "  measured   {} packets in {} batches", self.packets, self.batches)
    }
}
