//! The one list of reasons for which a frame or a cell is dropped. It feeds counters, status, docs and tests.

macro_rules! reasons {
    ($($variant:ident $name:literal $text:literal,)*) => {
        /// Why a frame or a cell went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();
            /// The name in counters, status and reports.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }
            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    NotARecord "not_a_record" "The first byte is that of no DTLS record.",
    Plaintext "plaintext" "A plaintext record, for the control daemon, and none has subscribed.",
    BadRecord "bad_record" "A ciphertext record with a connection id or an 8-bit number.",
    RecordLength "record_length" "A record that is not exactly one cell long.",
    UnknownLink "unknown_link" "No link has this sender's address.",
    PoolFull "pool_full" "No free cell: the pool is too small for what waits.",
    RecordReplay "record_replay" "This record number was seen before, or is older than the window.",
    RecordTag "record_tag" "The record's tag is wrong under every key that may be tried.",
    RecordKey "record_key" "The key of this record's ratchet step is not there (yet, or any more).",
    BadCell "bad_cell" "The record opened, but holds no cell: command, reserved bytes or content type.",
    LinkControl "link_control" "A link control cell, or a foreign peer's handshake record, and no control daemon has subscribed.",
    UnknownCircuit "unknown_circuit" "No circuit has this id on this link.",
    CellReplay "cell_replay" "This counter was seen before on its circuit, or is older than the window.",
    CounterJump "counter_jump" "The counter is further ahead than the circuit's rate allows.",
    ForThisHop "for_this_hop" "A cell for this hop or of a tapped circuit, and no control daemon has subscribed, or the circuit has no hop keys.",
    CircuitEnd "circuit_end" "A cell that is not for this hop, on a circuit that ends here.",
    HopMac "hop_mac" "A cell recognised by this hop whose MAC or padding is wrong.",
    HandoffFull "handoff_full" "The ring to the other worker is full.",
    CircuitFull "circuit_full" "As many cells of this circuit wait as may.",
    CircuitLate "circuit_late" "A cell had waited for its circuit's slot for more than a round and a half.",
    LinkFull "link_full" "As many best-effort cells wait on the link as may.",
    CircuitGone "circuit_gone" "The circuit was removed while its cell waited.",
    LateSlot "late_slot" "The cell's record missed its slot by a whole slot and was discarded.",
    EndBroken "end_broken" "A cell for a client whose end-to-end seal is wrong.",
    EndReplay "end_replay" "A cell for a client whose end-to-end number was seen before.",
    EndFull "end_full" "A client's RTP queue is full.",
    PuntFull "punt_full" "More came for the control daemon than it may be given at once.",
    RawFull "raw_full" "More datagrams of the control daemon wait behind sealed records than may.",
    LinkGone "link_gone" "The link was removed while the control daemon's cell waited.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_plain() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
    }
}
