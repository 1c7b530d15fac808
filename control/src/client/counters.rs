//! What happened to a call's packets. The client's own: shown to its user, sent nowhere (invariant I10).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count with one writing thread.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only the count's own thread may: two would lose each other's.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes one back. As [`Count::add`], for its own thread only.
    #[inline]
    pub fn take_back(&self) {
        self.0.store(self.get().saturating_sub(1), Ordering::Relaxed);
    }

    /// The count now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one end. Each is written by one thread.
        #[derive(Debug, Default)]
        pub struct EndCounters {
            $($(#[$doc])* pub $name: Count,)*
        }

        impl EndCounters {
            /// Every count with its name, in the order of the packets' way.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counts! {
    /// RTP packets taken from the local source.
    rtp_in,
    /// Datagrams whose sender may not speak here.
    rtp_foreign,
    /// Datagrams that are no RTP packet.
    rtp_not_rtp,
    /// RTP packets too large for the cell, dropped.
    rtp_too_large,
    /// RTP packets that came while no call was up, dropped.
    rtp_no_call,
    /// RTP packets that came faster than the ring is emptied, dropped.
    rtp_ring_full,
    /// RTP packets that newer ones pushed out of the queue of two.
    rtp_dropped_oldest,
    /// RTP packets sent in a cell.
    rtp_sent,
    /// Cells sent with a word of call control.
    control_sent,
    /// Cells sent without a packet.
    fillers_sent,
    /// Cells received with a word of call control.
    control_received,
    /// Cells received without a packet.
    fillers_received,
    /// Cells of the peer that are missing: their numbers were passed over. One that is late after all counts back.
    cells_lost,
    /// Cells received whose end-to-end seal is wrong, dropped.
    end_broken,
    /// Cells received whose number was seen before, or is too old, dropped.
    end_replay,
    /// RTP packets received that the RTP thread had no room for, dropped.
    end_full,
    /// RTP packets received from the peer.
    rtp_received,
    /// RTP packets given to the local receiver.
    rtp_out,
    /// RTP packets received that nobody was known to take, or that the system refused.
    rtp_out_failed,
}

/// Counts of a client: of each configured end, and of calls whose end has no RTP port.
#[derive(Clone, Debug, Default)]
pub struct ClientCounters {
    ends: Vec<(u32, Arc<EndCounters>)>,
    unmapped: Arc<EndCounters>,
}

impl ClientCounters {
    /// Counts of these ends.
    pub fn new(ends: Vec<(u32, Arc<EndCounters>)>) -> Self {
        ClientCounters { ends, unmapped: Arc::default() }
    }

    /// Each configured end's id and counts.
    pub fn ends(&self) -> &[(u32, Arc<EndCounters>)] {
        &self.ends
    }

    /// Counts of all calls whose end is not in the configuration.
    pub fn unmapped(&self) -> &Arc<EndCounters> {
        &self.unmapped
    }

    /// The counts as JSON, names as in [`EndCounters`].
    pub fn to_json(&self) -> serde_json::Value {
        let of = |counts: &EndCounters| -> serde_json::Map<String, serde_json::Value> {
            counts.all().into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect()
        };
        let ends: Vec<_> = self
            .ends
            .iter()
            .map(|(id, counts)| {
                let mut object = of(counts);
                object.insert("end".to_owned(), (*id).into());
                serde_json::Value::from(object)
            })
            .collect();
        serde_json::json!({ "ends": ends, "unmapped": of(&self.unmapped) })
    }

    /// The counts for people: one line an end, zeros left out.
    pub fn to_text(&self) -> String {
        let line = |name: String, counts: &EndCounters| {
            let named: Vec<_> = counts.all().into_iter().filter(|c| c.1 > 0).map(|(n, v)| format!("{n} {v}")).collect();
            format!("{name}: {}\n", if named.is_empty() { "nothing".to_owned() } else { named.join(", ") })
        };
        let mut text: String = self.ends.iter().map(|(id, counts)| line(format!("end {id}"), counts)).collect();
        if self.unmapped.all().iter().any(|c| c.1 > 0) {
            text += &line("ends without an RTP port".to_owned(), &self.unmapped);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_name_every_count() {
        let (one, two) = (Arc::new(EndCounters::default()), Arc::new(EndCounters::default()));
        one.rtp_sent.add(2);
        one.rtp_sent.add(3);
        let counters = ClientCounters::new(vec![(7, one), (9, two)]);
        let json = counters.to_json();
        assert_eq!(json["ends"][0]["end"], 7);
        assert_eq!(json["ends"][0]["rtp_sent"], 5);
        assert_eq!(json["ends"][1]["rtp_out"], 0);
        assert_eq!(json["unmapped"]["end_broken"], 0);
        assert_eq!(counters.to_text(), "end 7: rtp_sent 5\nend 9: nothing\n");
        counters.unmapped().fillers_sent.add(1);
        assert!(counters.to_text().ends_with("ends without an RTP port: fillers_sent 1\n"));
    }
}
