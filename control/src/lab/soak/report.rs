//! What a soak found, and whether it is as it must be (`docs/testing.md`).

use super::changes::UNOPENED;
use super::readings::Course;
use crate::report::text::{Align, Table, count, number};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What may lack of a direction's records that were neither missed by its sender nor received.
const RATE_TOLERANCE: f64 = 0.01;
/// Records a link that two readings may lie apart: counters are published every few ms.
const SLACK: f64 = 4.0;
/// Most slots that a sender may miss. What is missed is the machine's fault, until it is this much.
const MISSED_MOST: f64 = 0.05;
/// Least part of a voice's packets that come out as they went in, while the call is up.
const INTACT_LEAST: f64 = 0.99;

/// How one process did after the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The node.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Readings.
    pub readings: u64,
    /// Resident memory at first, KiB.
    pub rss_start_kib: u64,
    /// At last.
    pub rss_end_kib: u64,
    /// Last quarter less second quarter, KiB.
    pub rss_trend_kib: i64,
    /// Anonymous resident memory at first, KiB.
    pub anon_start_kib: u64,
    /// At last.
    pub anon_end_kib: u64,
    /// Last quarter less second quarter, KiB.
    pub anon_trend_kib: i64,
    /// Least and most descriptors.
    pub fds: [u64; 2],
    /// Least and most threads.
    pub threads: [u64; 2],
}

impl ProcessReport {
    /// From series of readings, in order of time.
    pub fn new(name: &str, pid: u32, rss: &[u64], anon: &[u64], fds: &[u64], threads: &[u64]) -> ProcessReport {
        let range = |series: &[u64]| {
            [series.iter().min().copied().unwrap_or_default(), series.iter().max().copied().unwrap_or_default()]
        };
        let readings = rss.len() as u64;
        let (rss, anon) = (Course::of(rss), Course::of(anon));
        ProcessReport {
            name: name.to_owned(),
            pid,
            readings,
            rss_start_kib: rss.start,
            rss_end_kib: rss.end,
            rss_trend_kib: rss.trend,
            anon_start_kib: anon.start,
            anon_end_kib: anon.end,
            anon_trend_kib: anon.trend,
            fds: range(fds),
            threads: range(threads),
        }
    }

    fn judge(&self, allowed: u64, failures: &mut Vec<Failure>) {
        let name = &self.name;
        let rss = Course { start: self.rss_start_kib, end: self.rss_end_kib, trend: self.rss_trend_kib };
        let anon = Course { start: self.anon_start_kib, end: self.anon_end_kib, trend: self.anon_trend_kib };
        for (what, course) in [("resident", rss), ("anonymous", anon)] {
            if !course.is_flat(allowed) {
                let (growth, Course { start, end, trend }) = (course.growth(), course);
                failures.push(Failure::new(
                    Kind::Memory,
                    format!(
                        "{name}: {what} memory went from {start} to {end} KiB ({growth:+}, late trend {trend:+}); \
                         {allowed} and half of it are allowed"
                    ),
                ));
            }
        }
        for (kind, what, [least, most]) in
            [(Kind::Descriptors, "descriptors", self.fds), (Kind::Threads, "threads", self.threads)]
        {
            if least != most {
                failures.push(Failure::new(kind, format!("{name}: between {least} and {most} {what}")));
            }
        }
    }
}

/// One direction of a link, or of a crowd's links together, counted where it arrives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WayReport {
    /// Who sends.
    pub from: String,
    /// Who counts.
    pub to: String,
    /// Links.
    pub links: u32,
    /// Records: the class's rate times the time.
    pub expected: f64,
    /// Records that opened.
    pub received: u64,
    /// Slots that the sender missed.
    pub missed: u64,
}

impl WayReport {
    fn judge(&self, failures: &mut Vec<Failure>) {
        let WayReport { from, to, links, expected, received, missed } = self;
        let slack = SLACK * f64::from(*links) + RATE_TOLERANCE * expected;
        let (least, most) = (expected - slack, expected + slack);
        let (got, lacking) = (*received as f64, *missed as f64);
        let way = format!("{from} to {to}: {received} records, {expected:.0} expected, {missed} slots missed");
        if got + lacking < least || got > most {
            failures.push(Failure::new(Kind::Rate, way));
        } else if lacking > MISSED_MOST * expected + slack {
            failures
                .push(Failure::new(Kind::Missed, format!("{way}: the machine is too busy, or the sender is at fault")));
        }
    }

    /// What was received, to what was expected.
    fn ratio(&self) -> f64 {
        if self.expected > 0.0 { self.received as f64 / self.expected } else { 1.0 }
    }
}

/// Both directions of one call's voices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VoiceReport {
    /// The call.
    pub call: String,
    /// RTP packets sent while the call was up.
    pub sent: u64,
    /// Of these, that arrived, each counted once.
    pub received: u64,
    /// Of these, with every byte as it was sent.
    pub intact: u64,
}

/// What kind of thing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A process has grown.
    Memory,
    /// Descriptors did not stay the same.
    Descriptors,
    /// Threads did not.
    Threads,
    /// A link's records did not come at its rate.
    Rate,
    /// Too many slots were missed.
    Missed,
    /// Voices did not get through.
    Voice,
    /// Records did not open although no keys changed.
    Keys,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// What, for people.
    pub text: String,
}

impl Failure {
    fn new(kind: Kind, text: String) -> Failure {
        Failure { kind, text }
    }
}

/// A whole soak, from the end of its warm-up on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of drover.
    pub version: String,
    /// Time judged, s.
    pub seconds: f64,
    /// Before it, s.
    pub warm_up_seconds: f64,
    /// Calls.
    pub calls: u64,
    /// Idle links.
    pub idle: u64,
    /// Cell size, bytes.
    pub cell: u16,
    /// Growth that counts as none, KiB.
    pub allow_growth_kib: u64,
    /// Every process.
    pub processes: Vec<ProcessReport>,
    /// Both directions of every link.
    pub ways: Vec<WayReport>,
    /// Every call.
    pub voices: Vec<VoiceReport>,
    /// Calls that went down and came up again.
    pub redials: u64,
    /// Times that all links got a new generation of keys.
    pub generations: u64,
    /// Status clients that came and went, warm-up included.
    pub status_clients: u64,
    /// Hostile datagrams sent, warm-up included.
    pub hostile: u64,
    /// Drops of all nodes by reason.
    pub drops: BTreeMap<String, u64>,
    /// Of these, `record_tag` and `record_key` within a second after new keys.
    pub mended: u64,
    /// Datagrams from mixes that idle links could not open.
    pub crowd_broken: u64,
    /// What is not as it must be; empty when all is well.
    pub failures: Vec<Failure>,
}

impl Report {
    /// Fills in what failed.
    pub fn judge(&mut self) {
        let mut failures = Vec::new();
        self.processes.iter().for_each(|process| process.judge(self.allow_growth_kib, &mut failures));
        self.ways.iter().for_each(|way| way.judge(&mut failures));
        for VoiceReport { call, sent, intact, .. } in &self.voices {
            if (*intact as f64) < INTACT_LEAST * *sent as f64 || *sent == 0 {
                failures
                    .push(Failure::new(Kind::Voice, format!("{call}: {intact} of {sent} RTP packets arrived intact")));
            }
        }
        let unopened: u64 = UNOPENED.iter().filter_map(|reason| self.drops.get(*reason)).sum();
        let unexplained = unopened.saturating_sub(self.mended) + self.crowd_broken;
        if unexplained > 0 {
            let text = format!("{unexplained} records of links did not open although no keys were being changed");
            failures.push(Failure::new(Kind::Keys, text));
        }
        self.failures = failures;
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<String> {
        if self.failures.is_empty() {
            return None;
        }
        let texts: Vec<_> = self.failures.iter().map(|failure| format!("\n  {}", failure.text)).collect();
        Some(format!("the soak failed:{}", texts.concat()))
    }

    /// For people.
    pub fn text(&self) -> String {
        let heads =
            ["process", "RSS start KiB", "end", "late trend", "anonymous start", "end", "late trend", "fds", "threads"];
        let columns: Vec<_> =
            heads.iter().enumerate().map(|(at, h)| (*h, if at == 0 { Align::Left } else { Align::Right })).collect();
        let mut table = Table::new(&columns);
        let range = |[least, most]: [u64; 2]| if least == most { count(least) } else { format!("{least}-{most}") };
        for p in &self.processes {
            table.row([
                p.name.clone(),
                count(p.rss_start_kib),
                count(p.rss_end_kib),
                format!("{:+}", p.rss_trend_kib),
                count(p.anon_start_kib),
                count(p.anon_end_kib),
                format!("{:+}", p.anon_trend_kib),
                range(p.fds),
                range(p.threads),
            ]);
        }
        let mut text = format!("{table}\n");
        let (lowest, missed) = (self.ways.iter().min_by(|a, b| a.ratio().total_cmp(&b.ratio())), self.ways.iter());
        if let Some(way) = lowest {
            let (ways, missed) = (self.ways.len(), count(missed.map(|way| way.missed).sum()));
            let ratio = number(way.ratio() * 100.0, 2);
            text += &format!(
                "links    {ways} directions; lowest rate {ratio} % ({} to {}); {missed} slots missed\n",
                way.from, way.to
            );
        }
        for VoiceReport { call, sent, received, intact } in &self.voices {
            let [sent, received, intact] = [sent, received, intact].map(|n| count(*n));
            text += &format!("voices   {call}: {sent} RTP packets, {received} arrived, {intact} intact\n");
        }
        let [redials, generations, clients, hostile] =
            [self.redials, self.generations, self.status_clients, self.hostile].map(count);
        text += &format!("changes  {redials} calls down and up, {generations} generations of link keys\n");
        text += &format!("strangers {hostile} hostile datagrams, {clients} status clients\n");
        let drops: Vec<_> = self.drops.iter().map(|(reason, n)| format!("{reason} {}", count(*n))).collect();
        text += &format!("drops    {}\n", if drops.is_empty() { "none".to_owned() } else { drops.join(", ") });
        let (seconds, warm_up) = (number(self.seconds, 0), number(self.warm_up_seconds, 0));
        let verdict = if self.failures.is_empty() { "flat" } else { "FAILED" };
        text + &format!("{verdict} over {seconds} s, after {warm_up} s of warm-up\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Report {
        let flat = [4_000; 20];
        let process = ProcessReport::new("m1", 7, &flat, &flat, &[9; 20], &[3; 20]);
        let way =
            WayReport { from: "m1".into(), to: "m2".into(), links: 1, expected: 10_000.0, received: 9_960, missed: 0 };
        let voice = VoiceReport { call: "call".into(), sent: 1_000, received: 1_000, intact: 995 };
        let drops = [("record_tag".to_owned(), 3), ("unknown_link".to_owned(), 1_000)].into();
        Report {
            allow_growth_kib: 512,
            processes: vec![process],
            ways: vec![way],
            voices: vec![voice],
            drops,
            mended: 3,
            ..Report::default()
        }
    }

    fn kinds(change: impl FnOnce(&mut Report)) -> Vec<Kind> {
        let mut report = sound();
        change(&mut report);
        report.judge();
        assert_eq!(report.failure().is_none(), report.failures.is_empty());
        report.failures.iter().map(|failure| failure.kind).collect()
    }

    #[test]
    fn a_sound_run_passes() {
        assert_eq!(kinds(|_| {}), []);
    }

    #[test]
    fn growing_series_fail() {
        let growing: Vec<u64> = (0..20).map(|n| 4_000 + 40 * n).collect();
        let (flat, nine) = ([4_000; 20], [9; 20]);
        let with = |rss: &[u64], anon: &[u64], fds: &[u64], threads: &[u64]| {
            kinds(|report| report.processes.push(ProcessReport::new("m2", 8, rss, anon, fds, threads)))
        };
        assert_eq!(with(&growing, &flat, &nine, &nine), [Kind::Memory]);
        assert_eq!(with(&flat, &growing, &nine, &nine), [Kind::Memory]);
        let mut one_more = nine;
        one_more[13] = 10;
        assert_eq!(with(&flat, &flat, &one_more, &nine), [Kind::Descriptors]);
        assert_eq!(with(&flat, &flat, &nine, &one_more), [Kind::Threads]);
    }

    #[test]
    fn links_voices_and_keys_are_judged() {
        assert_eq!(kinds(|report| report.ways[0].received = 9_890), [Kind::Rate]);
        assert_eq!(kinds(|report| report.ways[0].received = 10_110), [Kind::Rate]);
        let missing =
            |received, missed| kinds(|report| (report.ways[0].received, report.ways[0].missed) = (received, missed));
        assert_eq!(missing(9_700, 300), []);
        assert_eq!(missing(9_000, 1_000), [Kind::Missed]);
        assert_eq!(missing(0, 0), [Kind::Rate]);
        assert_eq!(kinds(|report| report.voices[0].intact = 989), [Kind::Voice]);
        assert_eq!(kinds(|report| report.voices[0] = VoiceReport::default()), [Kind::Voice]);
        assert_eq!(kinds(|report| report.mended = 2), [Kind::Keys]);
        assert_eq!(kinds(|report| report.crowd_broken = 1), [Kind::Keys]);
    }

    #[test]
    fn the_text_names_what_is_wrong() {
        let mut report = sound();
        report.processes[0].rss_end_kib = 5_000;
        report.judge();
        let text = report.text();
        assert!(text.contains("FAILED") && text.contains("m1") && text.contains("5,000"), "{text}");
        assert!(report.failure().is_some_and(|failure| failure.contains("from 4000 to 5000 KiB (+1000")));
    }
}
