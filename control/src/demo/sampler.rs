//! What an observer of the links sees: counts at every link's far end, taken twice a second, and rates of windows of time.

use super::report::LinkRates;
use super::topology::{End, NamedLink, Topology};
use crate::report::svg::Series;
use crate::socket::ControlSocket;
use crate::socket::reports::LinkReport;
use std::collections::HashMap;

/// Shortest time between two readings that make a point of the chart, s. Nodes publish their counters every 10 ms or so:
/// over a few ms a difference is 0 or a burst, whatever the link did. Intervals stay contiguous, so no record is left out.
const INTERVAL_LEAST: f64 = 0.4;

/// One reading of all nodes' links.
pub struct Sample {
    /// When, s since the demo's start.
    pub at: f64,
    /// By node, by link id.
    nodes: Vec<HashMap<u32, LinkReport>>,
}

/// A window of time, s since the demo's start.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its first instant.
    pub from: f64,
    /// Its last.
    pub to: f64,
}

/// One direction of a link: counted where it arrives.
#[derive(Clone, Copy)]
struct Way<'t> {
    link: &'t NamedLink,
    from: End,
    to: End,
}

/// All readings.
#[derive(Default)]
pub struct Sampler {
    /// In order of time.
    pub samples: Vec<Sample>,
}

fn ways(topology: &Topology) -> impl Iterator<Item = Way<'_>> {
    topology.links.iter().flat_map(|link| {
        let [a, b] = link.ends;
        [Way { link, from: a, to: b }, Way { link, from: b, to: a }]
    })
}

impl Sampler {
    /// Reads all nodes, by their data planes' sockets.
    pub fn take(&mut self, at: f64, sockets: &mut [ControlSocket]) -> Result<&Sample, String> {
        let mut nodes = Vec::with_capacity(sockets.len());
        for socket in sockets {
            let links = socket.links_json().map_err(|error| error.to_string())?;
            nodes.push(links.into_iter().map(|link| (link.link, link)).collect());
        }
        self.samples.push(Sample { at, nodes });
        Ok(&self.samples[self.samples.len() - 1])
    }

    /// Links between nodes over which nothing has arrived yet, of one direction or both, by name.
    pub fn silent<'t>(&self, topology: &'t Topology) -> Vec<&'t str> {
        let heard = |way: &Way<'_>| self.samples.last().and_then(|s| s.end(way.to)).is_some_and(|l| l.received > 0);
        let silent = ways(topology).filter(|way| !way.link.is_loop() && !heard(way));
        let mut names: Vec<_> = silent.map(|way| way.link.name.as_str()).collect();
        names.dedup();
        names
    }

    /// First and last reading within a window.
    fn within(&self, window: Window) -> Option<(&Sample, &Sample)> {
        let inside = |s: &&Sample| (window.from..=window.to).contains(&s.at);
        let first = self.samples.iter().find(inside)?;
        let last = self.samples.iter().rev().find(inside)?;
        (first.at < last.at).then_some((first, last))
    }

    /// The rates of every link between nodes in the windows before, during and after the call. Of a link's two directions
    /// the one with the larger spread is told. Missed slots are those of both ends from the first window's begin to the
    /// last one's end.
    pub fn rates(&self, topology: &Topology, windows: [Window; 3]) -> Result<Vec<LinkRates>, String> {
        let parts: Option<Vec<_>> = windows.into_iter().map(|window| self.within(window)).collect();
        let parts = parts.ok_or("too few readings of the links in a window: the machine was too busy; try again")?;
        let whole = (parts[0].0, parts[2].1);
        let mut all: Vec<LinkRates> = Vec::new();
        for way in ways(topology).filter(|way| !way.link.is_loop()) {
            let rates: Vec<f64> = parts.iter().map(|(first, last)| way.rate(first, last, |l| l.received)).collect();
            let missed = |end| delta(whole.0.end(end), whole.1.end(end), |l| l.missed);
            let found = LinkRates {
                name: way.link.name.clone(),
                class: way.link.class.clone(),
                rate_before: rates[0],
                rate_during: rates[1],
                rate_after: rates[2],
                missed_slots: missed(way.from) + missed(way.to),
            };
            match all.last_mut().filter(|other| other.name == found.name) {
                Some(other) if other.spread() >= found.spread() => {}
                Some(other) => *other = found,
                None => all.push(found),
            }
        }
        Ok(all)
    }

    /// Whether each link carried a call of `rate` cells a second in a window: at least a quarter of it, both ways. Handshakes
    /// of other links and messages between mixes are cells too, but far fewer.
    pub fn carried(&self, topology: &Topology, window: Window, rate: f64) -> Vec<bool> {
        let Some((first, last)) = self.within(window) else { return vec![false; topology.links.len()] };
        let carries = |way: Way<'_>| way.rate(first, last, |l| l.received_real) >= rate / 4.0;
        let both = |link: &NamedLink| {
            let [a, b] = link.ends;
            carries(Way { link, from: a, to: b }) && carries(Way { link, from: b, to: a })
        };
        topology.links.iter().map(both).collect()
    }

    /// Both directions of every link between nodes over time, for the chart.
    pub fn series(&self, topology: &Topology) -> Vec<Series> {
        let mut ways: Vec<_> = ways(topology).filter(|way| !way.link.is_loop()).collect();
        // Forth first, then back: links of one direction lie together, in the order of the path.
        ways.sort_by_key(|way| way.from != way.link.ends[0]);
        ways.into_iter().map(|way| way.series(&topology.nodes, &self.samples)).collect()
    }
}

impl Sample {
    fn end(&self, end: End) -> Option<&LinkReport> {
        self.nodes.get(end.node)?.get(&end.link)
    }
}

impl Way<'_> {
    /// Events a second between two readings, on the counting node's own clock.
    fn rate(&self, first: &Sample, last: &Sample, of: impl Fn(&LinkReport) -> u64) -> f64 {
        let (first, last) = (first.end(self.to), last.end(self.to));
        let seconds = delta(first, last, |l| l.at_ns) as f64 / 1e9;
        if seconds > 0.0 { delta(first, last, of) as f64 / seconds } else { 0.0 }
    }

    fn series(&self, nodes: &[String], samples: &[Sample]) -> Series {
        let (from, to) = (&nodes[self.from.node], &nodes[self.to.node]);
        let mut kept: Vec<&Sample> = Vec::with_capacity(samples.len());
        for sample in samples {
            if kept.last().is_none_or(|last| sample.at - last.at >= INTERVAL_LEAST) {
                kept.push(sample);
            }
        }
        let point = |pair: &[&Sample]| {
            let rate = |of: fn(&LinkReport) -> u64| self.rate(pair[0], pair[1], of);
            ((pair[0].at + pair[1].at) / 2.0, rate(|l| l.received), rate(|l| l.received_real))
        };
        Series {
            name: format!("{from} → {to}"),
            class: self.link.class.clone(),
            points: kept.windows(2).map(point).collect(),
        }
    }
}

/// The difference of a count; 0 where an end was not read.
fn delta(first: Option<&LinkReport>, last: Option<&LinkReport>, of: impl Fn(&LinkReport) -> u64) -> u64 {
    match (first, last) {
        (Some(first), Some(last)) => of(last).saturating_sub(of(first)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::named;
    use super::*;

    fn demo() -> Topology {
        let links =
            [("caller", "a1"), ("a1", "a1"), ("a1", "a2"), ("a2", "b2"), ("a1", "b1"), ("b2", "b1"), ("b1", "callee")];
        named(&["a1", "a2", "b1", "b2", "caller", "callee"], &links)
    }

    /// Readings of every 0.5 s for `seconds`; link a1=a2 stumbles at a1 only, from `stumble` on. Link a1=b1 carries no call
    /// but a few messages.
    fn sampled(topology: &Topology, seconds: u32, stumble: f64) -> Sampler {
        let mut sampler = Sampler::default();
        for n in 0..=2 * seconds {
            let at = f64::from(n) / 2.0;
            let node = |node: usize| {
                let report = |(link, end): (&NamedLink, End)| {
                    let rate = if link.class == "client" { 100.0 } else { 200.0 };
                    let slow = link.name == "a1=a2" && topology.nodes[node] == "a1";
                    let lost = if slow { 10.0 * (at - stumble).max(0.0) } else { 0.0 };
                    let id = end.link;
                    let received = (rate * at - lost) as u64;
                    // Each node has a clock of its own.
                    let at_ns = (node as u64 + 7) * 1_000_000_000 + (at * 1e9) as u64;
                    let real = if link.name == "a1=b1" { (at * 2.0) as u64 } else { (at * 50.0) as u64 };
                    let missed = u64::from(n);
                    (id, LinkReport { link: id, at_ns, received, received_real: real, missed, ..Default::default() })
                };
                let ends = topology.links.iter().flat_map(|link| link.ends.map(|end| (link, end)));
                ends.filter(|(_, end)| end.node == node).map(report).collect()
            };
            sampler.samples.push(Sample { at, nodes: (0..topology.nodes.len()).map(node).collect() });
        }
        sampler
    }

    #[test]
    fn the_worse_direction_is_told() {
        let topology = demo();
        let sampler = sampled(&topology, 30, 10.0);
        let windows = [(0.0, 4.0), (10.0, 20.0), (25.0, 30.0)].map(|(from, to)| Window { from, to });
        let rates = sampler.rates(&topology, windows).expect("rates");
        let names: Vec<_> = rates.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["caller=a1", "a1=a2", "a2=b2", "a1=b1", "b2=b1", "b1=callee"]);
        let three = |r: &LinkRates| (r.rate_before, r.rate_during, r.rate_after);
        assert_eq!(three(&rates[0]), (100.0, 100.0, 100.0));
        assert_eq!(three(&rates[1]), (200.0, 190.0, 190.0));
        assert_eq!(rates[2].missed_slots, 120);
    }

    #[test]
    fn links_that_carried_the_call_and_the_chart() {
        let mut topology = demo();
        let mut sampler = sampled(&topology, 4, 99.0);
        let carried = sampler.carried(&topology, Window { from: 0.0, to: 4.0 }, 50.0);
        assert_eq!(carried, [true, true, true, true, false, true, true]);
        assert_eq!(topology.follow("caller", &carried), 6);
        let series = sampler.series(&topology);
        assert_eq!((series.len(), series[0].points.len()), (12, 8));
        assert_eq!((series[1].name.as_str(), series[1].points[0]), ("a1 → a2", (0.25, 200.0, 50.0)));
        assert_eq!(series[6].name, "a1 → caller");
        // Two readings side by side, between which nothing was published, are no dip.
        let twin = Sample { at: sampler.samples[3].at + 0.01, nodes: sampler.samples[3].nodes.clone() };
        sampler.samples.insert(4, twin);
        assert!(sampler.series(&topology)[1].points.iter().all(|(_, rate, _)| (195.0..205.0).contains(rate)));
        assert!(sampler.silent(&topology).is_empty());
    }

    /// Two readings may follow each other at once, where one part of the demo ends and the next begins.
    #[test]
    fn readings_that_nearly_coincide_make_no_dip_and_hide_none() {
        let topology = demo();
        let mut sampler = sampled(&topology, 4, 2.0);
        let copy = Sample { at: sampler.samples[3].at + 0.001, nodes: sampler.samples[3].nodes.clone() };
        sampler.samples.insert(4, copy);
        let series = sampler.series(&topology);
        let steady = series.iter().find(|s| s.name == "a2 → b2").expect("there");
        assert!(steady.points.iter().all(|point| point.1 == 200.0), "{:?}", steady.points);
        // A real dip stays, and every record is in some interval.
        let stumbling = series.iter().find(|s| s.name == "a2 → a1").expect("there");
        assert!(stumbling.points.iter().any(|point| point.1 == 190.0), "{:?}", stumbling.points);
        let records: f64 = stumbling.points.iter().map(|point| point.1 * 0.5).sum();
        assert_eq!(records, 780.0);
    }

    #[test]
    fn too_few_readings_are_an_error() {
        let topology = demo();
        let sampler = sampled(&topology, 1, 99.0);
        let windows = [(0.0, 1.0), (5.0, 6.0), (8.0, 9.0)].map(|(from, to)| Window { from, to });
        assert!(sampler.rates(&topology, windows).is_err());
        assert!(!sampler.carried(&topology, windows[1], 50.0).contains(&true));
        assert_eq!(Sampler::default().silent(&topology).len(), 6);
    }
}
