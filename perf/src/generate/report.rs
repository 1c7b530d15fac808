//! What a run of `generate` did.

use super::{Checked, Sent};
use crate::stats::quartiles;
use serde::Serialize;
use std::fmt;

/// From where to where.
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
    /// Links.
    pub links: usize,
    /// Cells a second that were asked for; null: as many as can be.
    pub rate: Option<f64>,
}

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Cells that the port took, a second: median of the slices.
    pub packets_per_second: f64,
    /// Quartiles of the slices' own.
    pub packets_per_second_iqr: [f64; 2],
    /// Sealing alone, into memory that nobody reads.
    pub ceiling_packets_per_second: f64,
    /// Cells that the port took, as a part of those that were to be sent; null without a rate.
    pub of_rate: Option<f64>,
    /// What was sent.
    #[serde(flatten)]
    pub sent: Sent,
    /// What came and opened, where the keys are our own; null otherwise.
    pub checked: Option<Checked>,
    /// Cells that the port took and that did not come, where the keys are our own: the receiver's queue was full.
    pub missing: Option<u64>,
    /// From where to where.
    #[serde(flatten)]
    pub about: About,
}

impl Report {
    /// Of what was sent, and what came of it.
    ///
    /// # Errors
    /// Something that came was wrong, or nothing came: then no figure counts.
    pub fn new(slices: &[Sent], ceiling: f64, checked: Option<Checked>, about: About) -> Result<Report, String> {
        let sent = Sent::sum(slices);
        if let Some(checked) = &checked {
            if let Some(what) = &checked.first_wrong {
                let Checked { opened, wrong, .. } = checked;
                return Err(format!("{wrong} of {} records that came were wrong: {what}", opened + wrong));
            }
            if checked.opened == 0 {
                return Err(format!("none of {} cells came", sent.sent));
            }
        }
        let seconds = sent.ns as f64 / 1e9;
        let rates = slices.iter().map(|slice| slice.sent as f64 * 1e9 / slice.ns as f64);
        let [low, packets_per_second, high] = quartiles(rates.collect());
        Ok(Report {
            packets_per_second,
            packets_per_second_iqr: [low, high],
            ceiling_packets_per_second: ceiling,
            of_rate: about.rate.map(|rate| sent.sent as f64 / (rate * seconds)),
            missing: checked.as_ref().map(|checked| sent.sent.saturating_sub(checked.opened)),
            sent,
            checked,
            about,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { port, bound, backend, cell, links, rate } = &self.about;
        writeln!(f, "Fresh cells, sealed and sent")?;
        writeln!(f, "  port       {port}: {bound}")?;
        writeln!(f, "  links      {links}, cells of {cell} bytes, {backend}")?;
        let (sent, million) = (&self.sent, self.packets_per_second / 1e6);
        writeln!(f, "  sent       {} cells, {million:.3} million/s; the port refused {}", sent.sent, sent.refused)?;
        if let (Some(rate), Some(of_rate)) = (rate, self.of_rate) {
            let lag = sent.lag_ns as f64 / 1e6;
            writeln!(
                f,
                "  asked      {:.3} million/s, {:.1} % of it sent; at most {lag:.2} ms late",
                rate / 1e6,
                100.0 * of_rate
            )?;
        }
        if let (Some(checked), Some(missing)) = (&self.checked, self.missing) {
            writeln!(
                f,
                "  came       {} opened, each the cell that was sealed; {missing} did not come",
                checked.opened
            )?;
        }
        write!(f, "  ceiling    {:.3} million/s sealed, with no port behind", self.ceiling_packets_per_second / 1e6)
    }
}
