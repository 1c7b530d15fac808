//! What a run of `relay` found.

use super::Trial;
use crate::probe::RoundTrip;
use crate::stats::quartiles;
use serde::Serialize;
use std::fmt;

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// The kind of port.
    pub port: &'static str,
    /// What was really bound.
    pub bound: String,
    /// The crypto back end.
    pub backend: &'static str,
    /// Bytes of a cell.
    pub cell: usize,
    /// Links of each world.
    pub links: usize,
    /// Circuits of each world.
    pub circuits: usize,
    /// From one core to another and back, where there are two.
    pub round_trip: Option<RoundTrip>,
    /// What another program does over the same kind of device.
    pub against: Option<Against>,
}

/// What another program did: frames between two processes of it, over a vhost socket.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// Its name and version.
    pub program: String,
    /// How both processes were started.
    pub commands: [String; 2],
    /// Frames a second that one of them received and sent back: the median over windows.
    pub packets_per_second: f64,
    /// Quartiles of the windows' own.
    pub packets_per_second_iqr: [f64; 2],
    /// Windows.
    pub windows: usize,
}

/// The figures of a run. Times are medians over batches.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// 10^9 / `ns_per_cell`.
    pub cells_per_second: f64,
    /// A cell relayed over the port, receive to transmit, chaff included.
    pub ns_per_cell: f64,
    /// Quartiles of the batches' own.
    pub ns_per_cell_iqr: [f64; 2],
    /// A packet forwarded over the port.
    pub forward_ns_per_packet: f64,
    /// Quartiles of the batches' own.
    pub forward_ns_per_packet_iqr: [f64; 2],
    /// A cell relayed over memory.
    pub hop_ns_per_cell: f64,
    /// Quartiles of the batches' own.
    pub hop_ns_per_cell_iqr: [f64; 2],
    /// (`ns_per_cell` − `forward_ns_per_packet`) / `hop_ns_per_cell`.
    pub relay_ratio: f64,
    /// Quartiles of the trials' own.
    pub relay_ratio_iqr: [f64; 2],
    /// Cells relayed over the port.
    pub cells: u64,
    /// Batches of each.
    pub batches: usize,
    /// Where.
    #[serde(flatten)]
    pub about: About,
}

impl Report {
    /// Of trials.
    ///
    /// # Errors
    /// None of them relayed anything.
    pub fn new(trials: &[Trial], about: About) -> Result<Report, String> {
        let of = |value: fn(&Trial) -> f64| quartiles(trials.iter().map(value).filter(|ns| ns.is_finite()).collect());
        let [forward_low, forward, forward_high] = of(forward_of);
        let [hop_low, hop, hop_high] = of(hop_of);
        let [low, ns, high] = of(relay_of);
        let [less, _, more] = of(|trial| (relay_of(trial) - forward_of(trial)) / hop_of(trial));
        if !(forward.is_finite() && hop.is_finite() && ns.is_finite()) {
            return Err("nothing was relayed: measure for longer".to_owned());
        }
        Ok(Report {
            cells_per_second: 1e9 / ns,
            ns_per_cell: ns,
            ns_per_cell_iqr: [low, high],
            forward_ns_per_packet: forward,
            forward_ns_per_packet_iqr: [forward_low, forward_high],
            hop_ns_per_cell: hop,
            hop_ns_per_cell_iqr: [hop_low, hop_high],
            relay_ratio: (ns - forward) / hop,
            relay_ratio_iqr: [less, more],
            cells: trials.iter().map(|trial| trial.relay_cells).sum(),
            batches: trials.len(),
            about,
        })
    }
}

fn forward_of(trial: &Trial) -> f64 {
    trial.forward_ns as f64 / trial.forward_packets as f64
}

fn hop_of(trial: &Trial) -> f64 {
    trial.hop_ns as f64 / trial.hop_cells as f64
}

fn relay_of(trial: &Trial) -> f64 {
    trial.relay_ns as f64 / trial.relay_cells as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { port, bound, backend, cell, links, circuits, round_trip, against } = &self.about;
        writeln!(f, "Relaying over a real port, against forwarding over it and relaying over memory; one core")?;
        writeln!(f, "  port       {port}: {bound}")?;
        writeln!(f, "  world      {links} links, {circuits} circuits, cells of {cell} bytes, {backend}")?;
        let line = |ns: f64, [low, high]: [f64; 2]| format!("{ns:.0} ns (half of the batches in {low:.0}..{high:.0})");
        writeln!(f, "  relay      {}; a cell over the port", line(self.ns_per_cell, self.ns_per_cell_iqr))?;
        let forward = line(self.forward_ns_per_packet, self.forward_ns_per_packet_iqr);
        writeln!(f, "  forward    {forward}; a packet over the port")?;
        writeln!(f, "  hop        {}; a cell over memory", line(self.hop_ns_per_cell, self.hop_ns_per_cell_iqr))?;
        let (ratio, [low, high]) = (self.relay_ratio, self.relay_ratio_iqr);
        writeln!(f, "  ratio      {ratio:.2} = (relay - forward) / hop (half of the trials in {low:.2}..{high:.2})")?;
        if let Some(Against { program, packets_per_second, packets_per_second_iqr: [low, high], .. }) = against {
            let mega = |rate: f64| rate / 1e6;
            writeln!(
                f,
                "  {program}, macswap on both sides of a vhost socket: {:.2} M packets/s (half in {:.2}..{:.2})",
                mega(*packets_per_second),
                mega(*low),
                mega(*high)
            )?;
        }
        if let Some(trip) = round_trip {
            let RoundTrip { cores: [one, other], p50_ns, .. } = trip;
            writeln!(f, "  cores      {one} to {other} and back: {p50_ns:.0} ns")?;
        }
        write!(f, "  measured   {} cells in {} batches of each, in turns; none lost", self.cells, self.batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_medians() {
        let trial = |relay_ns| Trial {
            forward_packets: 10,
            forward_ns: 10_000,
            hop_cells: 10,
            hop_ns: 4_000,
            relay_cells: 10,
            relay_ns,
        };
        let trials = [trial(14_000), trial(15_000), trial(90_000)];
        let report = Report::new(&trials, About::default()).expect("figures");
        assert_eq!((report.ns_per_cell, report.relay_ratio), (1500.0, 1.25));
        assert_eq!((report.relay_ratio_iqr[0], report.cells), (1.125, 30));
        assert!(Report::new(&[], About::default()).is_err());
        let nothing = Trial { relay_cells: 0, ..trial(1) };
        assert!(Report::new(&[nothing], About::default()).is_err());
    }
}
