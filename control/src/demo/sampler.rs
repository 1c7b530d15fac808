//! What an observer of the links sees: counts at every link's far end, taken twice a second, and rates of windows of time.

use super::report::LinkRates;
use crate::lab::network::Network;
use crate::lab::program::Programmer;
use crate::report::svg::Series;
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
struct Way {
    link: usize,
    id: u32,
    /// Node indices.
    from: usize,
    to: usize,
}

/// All readings.
pub struct Sampler<'n> {
    network: &'n Network,
    ways: Vec<Way>,
    /// In order of time.
    pub samples: Vec<Sample>,
}

impl<'n> Sampler<'n> {
    /// No readings yet.
    pub fn new(network: &'n Network) -> Self {
        let mut ways = Vec::new();
        for (link, named) in network.links.iter().enumerate() {
            let id = Network::link_id(link);
            if let (Some(a), Some(b)) = (network.node(&named.a), network.node(&named.b)) {
                ways.extend([Way { link, id, from: a, to: b }, Way { link, id, from: b, to: a }]);
            }
        }
        Sampler { network, ways, samples: Vec::new() }
    }

    /// Reads all nodes.
    pub fn take(&mut self, at: f64, programmer: &mut Programmer<'_>) -> Result<&Sample, String> {
        let mut nodes = Vec::with_capacity(programmer.nodes.len());
        for node in &mut programmer.nodes {
            let links = node.socket.links_json().map_err(|error| error.to_string())?;
            nodes.push(links.into_iter().map(|link| (link.link, link)).collect());
        }
        self.samples.push(Sample { at, nodes });
        Ok(&self.samples[self.samples.len() - 1])
    }

    /// Links over which nothing has arrived yet, of one direction or both, by name.
    pub fn silent(&self) -> Vec<&str> {
        let heard =
            |way: &&Way| self.samples.last().and_then(|s| s.end(way.to, way.id)).is_some_and(|l| l.received > 0);
        let mut names: Vec<_> =
            self.ways.iter().filter(|way| !heard(way)).map(|way| self.network.links[way.link].name.as_str()).collect();
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

    /// Every link's rates in the windows before, during and after the call. Of a link's two directions the one with the
    /// larger spread is told. Missed slots are those of both ends from the first window's begin to the last one's end.
    pub fn rates(&self, windows: [Window; 3]) -> Result<Vec<LinkRates>, String> {
        let parts: Option<Vec<_>> = windows.into_iter().map(|window| self.within(window)).collect();
        let parts = parts.ok_or("too few readings of the links in a window: the machine was too busy; try again")?;
        let whole = (parts[0].0, parts[2].1);
        let mut all: Vec<LinkRates> = Vec::new();
        for way in &self.ways {
            let link = &self.network.links[way.link];
            let rates: Vec<f64> = parts.iter().map(|(first, last)| way.rate(first, last, |l| l.received)).collect();
            let missed = |node| delta(whole.0.end(node, way.id), whole.1.end(node, way.id), |l| l.missed);
            let found = LinkRates {
                name: link.name.clone(),
                class: link.class.clone(),
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

    /// The links that carried cells of a call in a window, in the order of the file.
    pub fn carried(&self, window: Window) -> Vec<String> {
        let Some((first, last)) = self.within(window) else { return Vec::new() };
        let real = |way: &&Way| delta(first.end(way.to, way.id), last.end(way.to, way.id), |l| l.received_real) > 0;
        let mut names: Vec<_> =
            self.ways.iter().filter(real).map(|way| self.network.links[way.link].name.clone()).collect();
        names.dedup();
        names
    }

    /// Both directions of every link over time, for the chart.
    pub fn series(&self) -> Vec<Series> {
        let mut ways: Vec<_> = self.ways.iter().collect();
        // Forth first, then back: links of one direction lie together, in the order of the path.
        let place = |way: &&Way| {
            let link = &self.network.links[way.link];
            self.network.nodes[way.from].name != link.a
        };
        ways.sort_by_key(place);
        ways.into_iter().map(|way| way.series(self.network, &self.samples)).collect()
    }
}

impl Sample {
    fn end(&self, node: usize, link: u32) -> Option<&LinkReport> {
        self.nodes.get(node)?.get(&link)
    }
}

impl Way {
    /// Events a second between two readings, on the counting node's own clock.
    fn rate(&self, first: &Sample, last: &Sample, of: impl Fn(&LinkReport) -> u64) -> f64 {
        let (first, last) = (first.end(self.to, self.id), last.end(self.to, self.id));
        let seconds = delta(first, last, |l| l.at_ns) as f64 / 1e9;
        if seconds > 0.0 { delta(first, last, of) as f64 / seconds } else { 0.0 }
    }

    fn series(&self, network: &Network, samples: &[Sample]) -> Series {
        let (from, to) = (&network.nodes[self.from].name, &network.nodes[self.to].name);
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
            class: network.links[self.link].class.clone(),
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
    use super::*;
    use crate::lab::make::{Plan, network};

    fn demo() -> Network {
        network(&Plan { mixes: 4, calls: 1, cell: 256, rate: 50, idle: 0, workers: 1, ipv6: false }).expect("a network")
    }

    /// Readings of every 0.5 s for `seconds`; link m1=m2 stumbles at m1 only, from `stumble` on.
    fn sampled(network: &Network, seconds: u32, stumble: f64) -> Sampler<'_> {
        let mut sampler = Sampler::new(network);
        for n in 0..=2 * seconds {
            let at = f64::from(n) / 2.0;
            let node = |node: usize| {
                let report = |(index, link): (usize, &crate::lab::network::Link)| {
                    let rate = if link.class == "client" { 100.0 } else { 200.0 };
                    let slow = link.name == "m1=m2" && network.nodes[node].name == "m1";
                    let lost = if slow { 10.0 * (at - stumble).max(0.0) } else { 0.0 };
                    let id = Network::link_id(index);
                    let received = (rate * at - lost) as u64;
                    // Each node has a clock of its own.
                    let at_ns = (node as u64 + 7) * 1_000_000_000 + (at * 1e9) as u64;
                    let real = if link.name.contains("m3") { 0 } else { (at * 50.0) as u64 };
                    let missed = u64::from(n);
                    (id, LinkReport { link: id, at_ns, received, received_real: real, missed, ..Default::default() })
                };
                network.links.iter().enumerate().map(report).collect()
            };
            sampler.samples.push(Sample { at, nodes: (0..network.nodes.len()).map(node).collect() });
        }
        sampler
    }

    #[test]
    fn the_worse_direction_is_told() {
        let network = demo();
        let sampler = sampled(&network, 30, 10.0);
        let windows = [(0.0, 4.0), (10.0, 20.0), (25.0, 30.0)].map(|(from, to)| Window { from, to });
        let rates = sampler.rates(windows).expect("rates");
        let names: Vec<_> = rates.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["caller=m1", "m1=m2", "m2=m3", "m3=m4", "m4=callee"]);
        let three = |r: &LinkRates| (r.rate_before, r.rate_during, r.rate_after);
        assert_eq!(three(&rates[0]), (100.0, 100.0, 100.0));
        assert_eq!(three(&rates[1]), (200.0, 190.0, 190.0));
        assert_eq!(rates[2].missed_slots, 120);
    }

    #[test]
    fn links_that_carried_cells_and_the_chart() {
        let network = demo();
        let sampler = sampled(&network, 4, 99.0);
        assert_eq!(sampler.carried(Window { from: 0.0, to: 4.0 }), ["caller=m1", "m1=m2", "m4=callee"]);
        let series = sampler.series();
        assert_eq!((series.len(), series[0].points.len()), (10, 8));
        assert_eq!((series[1].name.as_str(), series[1].points[0]), ("m1 → m2", (0.25, 200.0, 50.0)));
        assert_eq!(series[5].name, "m1 → caller");
        // Two readings side by side, between which nothing was published, are no dip.
        let mut sampler = sampler;
        let twin = Sample { at: sampler.samples[3].at + 0.01, nodes: sampler.samples[3].nodes.clone() };
        sampler.samples.insert(4, twin);
        assert!(sampler.series()[1].points.iter().all(|(_, rate, _)| (195.0..205.0).contains(rate)));
        assert!(sampler.silent().is_empty());
    }

    /// Two readings may follow each other at once, where one part of the demo ends and the next begins.
    #[test]
    fn readings_that_nearly_coincide_make_no_dip_and_hide_none() {
        let network = demo();
        let mut sampler = sampled(&network, 4, 2.0);
        let copy = Sample { at: sampler.samples[3].at + 0.001, nodes: sampler.samples[3].nodes.clone() };
        sampler.samples.insert(4, copy);
        let series = sampler.series();
        let steady = series.iter().find(|s| s.name == "m2 → m3").expect("there");
        assert!(steady.points.iter().all(|point| point.1 == 200.0), "{:?}", steady.points);
        // A real dip stays, and every record is in some interval.
        let stumbling = series.iter().find(|s| s.name == "m2 → m1").expect("there");
        assert!(stumbling.points.iter().any(|point| point.1 == 190.0), "{:?}", stumbling.points);
        let records: f64 = stumbling.points.iter().map(|point| point.1 * 0.5).sum();
        assert_eq!(records, 780.0);
    }

    #[test]
    fn too_few_readings_are_an_error() {
        let network = demo();
        let sampler = sampled(&network, 1, 99.0);
        let windows = [(0.0, 1.0), (5.0, 6.0), (8.0, 9.0)].map(|(from, to)| Window { from, to });
        assert!(sampler.rates(windows).is_err());
        assert!(sampler.carried(windows[1]).is_empty());
        assert_eq!(Sampler::new(&network).silent().len(), 5);
    }
}
