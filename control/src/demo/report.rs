//! The demo's report: `report.json`, field by field in `docs/demo.md`, and the same for people.

use crate::report::stats::{Interval, quantile};
use crate::report::text::{Align, Table, count, number};
use drover_dataplane::drops::DropReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Fewer of the sent packets than this heard: the voice did not arrive.
pub const HEARD_LEAST: f64 = 0.99;

/// What the demo found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of drover.
    pub version: String,
    /// What the mixes sent and received by: af_xdp, udp or dpdk.
    pub port: String,
    /// Length of the call's audio, s.
    pub seconds: f64,
    /// Cell size, bytes.
    pub cell: u16,
    /// u, cells a second of a call.
    pub rate: u32,
    /// Seed of the speech-like signals.
    pub seed: u64,
    /// RTP packets that the caller said.
    pub rtp_sent: u64,
    /// Of these, that came out at the callee, each once.
    pub rtp_received: u64,
    /// Of these, with every byte as it was sent.
    pub rtp_intact: u64,
    /// Logical links that carried the call's cells, those inside a mix among them.
    pub hops: u64,
    /// Their names, from caller to callee; a link inside a mix is a1=a1.
    pub path_links: Vec<String>,
    /// Handshakes that made the links, as each link's dialler and listener timed them; null when nobody told.
    pub handshakes_ms: Option<Times>,
    /// How long the slower of the two halves' circuits took to build, ms: two hops, keys and slots.
    pub circuit_setup_ms: Option<f64>,
    /// From the caller's wish to a call that carries voice, ms: lookup, ringing, circuits, joining.
    pub call_setup_ms: Option<f64>,
    /// Renewals of links' keys from the links' start to the end, by all ends.
    pub rekeys: u64,
    /// The short authentication string, the same at both clients.
    pub sas: String,
    /// From a packet's sending to its arrival, ms; null when none arrived.
    pub one_way_ms: Option<OneWay>,
    /// Transmission rating R of the E-model (ITU-T G.107); 0 when nothing arrived.
    pub r_factor: f64,
    /// Mean opinion score estimated from R; 1 when nothing arrived.
    pub mos: f64,
    /// What an observer of each link saw.
    pub links: Vec<LinkRates>,
    /// Cells of calls that nodes sent, summed over all nodes.
    pub cells_real: u64,
    /// Chaff that nodes sent.
    pub cells_chaff: u64,
    /// Drops of all nodes by reason.
    pub drops: BTreeMap<String, u64>,
    /// The callee's own voice.
    pub reverse: Reverse,
    /// With --kill-control: what the death of a control daemon did.
    pub kill_control: Option<KillControl>,
    /// 99th percentile of the lateness of that mix's departures, µs; null without.
    pub lateness_p99_us: Option<Pair<f64>>,
    /// Slots that that mix's data plane missed; null without.
    pub missed_slots: Option<Pair<u64>>,
}

/// Several times, in few figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// Median, ms.
    pub p50: f64,
    /// The longest, ms.
    pub max: f64,
}

impl Times {
    /// The figures of some times; none of nothing.
    pub fn of(times: &[f64]) -> Option<Times> {
        let (p50, max) = (quantile(times, 0.5)?, quantile(times, 1.0)?);
        Some(Times { count: times.len() as u64, p50, max })
    }
}

/// A figure without and with something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair<T> {
    /// While the control daemon ran.
    pub before: T,
    /// From its death until it was ready again.
    pub after: T,
}

/// What a data plane did while its control daemon was dead, and while it was not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillControl {
    /// The mix.
    pub mix: String,
    /// Second of the call at which the daemon was first killed.
    pub at_s: f64,
    /// Links that the restarted daemon took over from the data plane.
    pub adopted_links: u64,
    /// Mean of the windows' 99th percentiles, after less before, µs, and its 95 % interval; null with too few windows.
    pub lateness_p99_difference_us: Option<Interval>,
}

/// Percentiles of a delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneWay {
    /// Median, ms.
    pub p50: f64,
    /// 99th percentile, ms.
    pub p99: f64,
}

/// What an observer of one link saw: of its two directions the one whose rate varied more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRates {
    /// The link.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Records a second that arrived before the call.
    pub rate_before: f64,
    /// During it.
    pub rate_during: f64,
    /// After it.
    pub rate_after: f64,
    /// Slots that its two ends missed from before to after.
    pub missed_slots: u64,
}

/// The direction from callee to caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reverse {
    /// RTP packets that the callee said.
    pub rtp_sent: u64,
    /// Of these, that came out at the caller.
    pub rtp_received: u64,
    /// Of these, with every byte as it was sent.
    pub rtp_intact: u64,
}

impl LinkRates {
    /// The largest difference between two of the three rates, as a fraction of their mean.
    pub fn spread(&self) -> f64 {
        let rates = [self.rate_before, self.rate_during, self.rate_after];
        let low = rates.into_iter().fold(f64::INFINITY, f64::min);
        let high = rates.into_iter().fold(0.0, f64::max);
        let mean = rates.into_iter().sum::<f64>() / 3.0;
        if mean > 0.0 { (high - low) / mean } else { 0.0 }
    }
}

impl Report {
    /// Why the demo has failed; none when the voice arrived: [`HEARD_LEAST`] of the caller's, and some of the callee's.
    pub fn failure(&self) -> Option<String> {
        let heard_enough = self.rtp_received as f64 >= HEARD_LEAST * self.rtp_sent as f64;
        let (who, sent, received) = match (self.rtp_received > 0 && heard_enough, self.reverse.rtp_received > 0) {
            (true, true) => return None,
            (false, _) => ("caller", self.rtp_sent, self.rtp_received),
            (true, false) => ("callee", self.reverse.rtp_sent, self.reverse.rtp_received),
        };
        let missed: u64 = self.links.iter().map(|link| link.missed_slots).sum();
        let drops: Vec<_> = self.drops.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let drops = if drops.is_empty() { "nothing".to_owned() } else { drops.join(", ") };
        Some(format!(
            "the {who}'s voice did not arrive: {received} of {sent} packets; slots missed: {missed}; dropped: {drops}. \
             On a busy machine slots are missed and voice is lost: try again when it is idle"
        ))
    }

    /// The report for people.
    pub fn text(&self, out: &Path) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = self.render(out, &mut text);
        text
    }

    fn render(&self, out: &Path, to: &mut String) -> std::fmt::Result {
        use std::fmt::Write;
        let right = |head: &'static str| (head, Align::Right);
        let mut table = Table::new(&[
            ("link", Align::Left),
            ("class", Align::Left),
            right("before"),
            right("call"),
            right("after"),
            right("varies by"),
            right("missed slots"),
        ]);
        for link in &self.links {
            table.row([
                link.name.clone(),
                link.class.clone(),
                number(link.rate_before, 2),
                number(link.rate_during, 2),
                number(link.rate_after, 2),
                format!("{} %", number(link.spread() * 100.0, 2)),
                count(link.missed_slots),
            ]);
        }
        writeln!(
            to,
            "What an observer sees: records a second at each link's far end, before, during and after the call.\n"
        )?;
        writeln!(to, "{table}")?;
        let all = (self.cells_real + self.cells_chaff).max(1);
        let part = number(100.0 * self.cells_real as f64 / all as f64, 1);
        let (real, chaff) = (count(self.cells_real), count(self.cells_chaff));
        writeln!(to, "What was inside: {real} cells of the call, {chaff} of chaff ({part} % real).")?;
        writeln!(to, "The call went over {} links: {}.", self.hops, self.path_links.join(", "))?;
        if let Some(Times { count, p50, max }) = self.handshakes_ms {
            let (p50, max) = (number(p50, 1), number(max, 1));
            writeln!(
                to,
                "{count} handshakes made the links: median {p50} ms, at most {max} ms. Keys renewed: {}.",
                self.rekeys
            )?;
        }
        if let (Some(circuit), Some(call)) = (self.circuit_setup_ms, self.call_setup_ms) {
            let (circuit, call) = (number(circuit, 0), number(call, 0));
            writeln!(to, "Circuits took {circuit} ms, the whole call {call} ms. Both sides show {}.", self.sas)?;
        }
        let (sent, received, intact) = (count(self.rtp_sent), count(self.rtp_received), count(self.rtp_intact));
        writeln!(to, "Voice: {sent} packets said, {received} heard, {intact} of them bit for bit.")?;
        let Reverse { rtp_sent, rtp_received, rtp_intact } = self.reverse;
        let (sent, received, intact) = (count(rtp_sent), count(rtp_received), count(rtp_intact));
        writeln!(to, "The other way: {sent} said, {received} heard, {intact} bit for bit.")?;
        if let Some(OneWay { p50, p99 }) = self.one_way_ms {
            let (p50, p99) = (number(p50, 1), number(p99, 1));
            let verdict = crate::media::emodel::Rating { r_factor: self.r_factor, mos: self.mos }.verdict();
            write!(to, "One way: median {p50} ms, 99 % within {p99} ms. ")?;
            writeln!(to, "R {}, MOS {}: {verdict}.", number(self.r_factor, 1), number(self.mos, 2))?;
        }
        if let Some(kill) = &self.kill_control {
            let KillControl { mix, at_s, adopted_links, .. } = kill;
            let (late, missed) = (self.lateness_p99_us.unwrap_or_default(), self.missed_slots.unwrap_or_default());
            writeln!(
                to,
                "The control daemon of {mix} was killed at {} s and took {adopted_links} links over when it came back.",
                number(*at_s, 1)
            )?;
            let (before, after) = (number(late.before, 0), number(late.after, 0));
            write!(to, "Its data plane meanwhile: 99 % of departures within {after} µs, else {before} µs; ")?;
            writeln!(to, "slots missed: {}, else {}.", count(missed.after), count(missed.before))?;
            if let Some(Interval { mean, low, high }) = kill.lateness_p99_difference_us {
                let [mean, low, high] = [mean, low, high].map(|us| number(us, 0));
                writeln!(to, "That differs by {mean} µs (95 % interval {low} to {high} µs).")?;
            }
        }
        for (reason, n) in &self.drops {
            writeln!(to, "Dropped: {} {reason}: {}", count(*n), text_of(reason))?;
        }
        writeln!(to)?;
        for (file, what) in [
            ("links.svg", "the links' rates over time, with the call inside"),
            ("caller.wav", "what was said"),
            ("callee.wav", "what was heard"),
            ("report.json", "these figures (docs/demo.md)"),
        ] {
            writeln!(to, "{:<40} {what}", out.join(file).display())?;
        }
        Ok(())
    }
}

fn text_of(reason: &str) -> &'static str {
    DropReason::ALL.iter().find(|r| r.name() == reason).map_or("", |r| r.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let reverse = Reverse { rtp_sent: 10, rtp_received: 10, rtp_intact: 10 };
        let link = LinkRates {
            name: "a1=a2".into(),
            rate_before: 200.0,
            rate_during: 199.0,
            rate_after: 201.0,
            ..Default::default()
        };
        let one_way_ms = Some(OneWay { p50: 60.0, p99: 80.0 });
        Report {
            rtp_sent: 100,
            rtp_received: 99,
            rtp_intact: 99,
            links: vec![link],
            reverse,
            one_way_ms,
            ..Report::default()
        }
    }

    #[test]
    fn lost_voice_is_a_failure_either_way() {
        assert_eq!(good().failure(), None);
        assert!(Report { rtp_received: 98, ..good() }.failure().expect("fails").contains("98 of 100"));
        assert!(Report { rtp_sent: 0, rtp_received: 0, ..good() }.failure().is_some());
        let drops = BTreeMap::from([("late_slot".to_owned(), 5)]);
        let reverse = Reverse { rtp_sent: 10, rtp_received: 1, rtp_intact: 1 };
        assert_eq!(Report { reverse, ..good() }.failure(), None);
        let reverse = Reverse { rtp_sent: 10, ..Reverse::default() };
        let failure = Report { reverse, drops, ..good() }.failure().expect("fails");
        assert!(failure.contains("callee") && failure.contains("5 late_slot"), "{failure}");
    }

    #[test]
    fn the_text_names_rates_and_files() {
        assert!((good().links[0].spread() - 0.01).abs() < 1e-9);
        assert_eq!(LinkRates::default().spread(), 0.0);
        assert_eq!(Times::of(&[30.0, 10.0, 20.0]), Some(Times { count: 3, p50: 20.0, max: 30.0 }));
        let kill_control = Some(KillControl {
            mix: "a2".into(),
            adopted_links: 5,
            lateness_p99_difference_us: Some(Interval { mean: -3.0, low: -20.0, high: 14.0 }),
            ..Default::default()
        });
        let report = Report { handshakes_ms: Times::of(&[7.5]), kill_control, sas: "123456".into(), ..good() };
        let report = Report { circuit_setup_ms: Some(812.0), call_setup_ms: Some(921.0), rekeys: 3, ..report };
        let text = report.text(Path::new("out"));
        for word in ["median 7.5 ms", "renewed: 3", "812 ms", "921 ms", "123456", "of a2 was killed", "-20 to 14 µs"] {
            assert!(text.contains(word), "{word} lacks in {text}");
        }
        for word in ["a1=a2", "199.00", "1.00 %", "out/links.svg", "out/callee.wav", "median 60.0 ms"] {
            assert!(text.contains(word), "{word} lacks in {text}");
        }
    }
}
