//! The conformance suite fails a port for each fault that it claims to see.
#![cfg(not(feature = "loom"))]

use drover_nic::memory::{MemoryPort, pair};
use drover_nic::{Capabilities, Endpoint, Port, PortCounters, RxBurst, TxBurst, conformance};
use std::time::Duration;

const A: Endpoint = Endpoint { ip: [1; 16], port: 1 };
const B: Endpoint = Endpoint { ip: [2; 16], port: 2 };

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Reorders,
    Cuts,
    Repeats,
    MistakesTheSender,
    IgnoresTheLimit,
    LosesNow,
    SendsDiscarded,
    CommitsTooMuch,
    OverstatesCommit,
    ReservesTooFew,
    AddressesReserved,
    HidesReserved,
    CountsNoDiscards,
    CountsRefusedAsSent,
    ClaimsAShortFrame,
}

const FAULTS: [Fault; 15] = [
    Fault::Reorders,
    Fault::Cuts,
    Fault::Repeats,
    Fault::MistakesTheSender,
    Fault::IgnoresTheLimit,
    Fault::LosesNow,
    Fault::SendsDiscarded,
    Fault::CommitsTooMuch,
    Fault::OverstatesCommit,
    Fault::ReservesTooFew,
    Fault::AddressesReserved,
    Fault::HidesReserved,
    Fault::CountsNoDiscards,
    Fault::CountsRefusedAsSent,
    Fault::ClaimsAShortFrame,
];

/// A good port with one fault.
struct Faulty {
    port: MemoryPort,
    fault: Fault,
    commits: usize,
}

impl Port for Faulty {
    fn capabilities(&self) -> Capabilities {
        let mut is = self.port.capabilities();
        if self.fault == Fault::ClaimsAShortFrame {
            is.max_payload = 1280;
        }
        is
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        let limit = if self.fault == Fault::IgnoresTheLimit { usize::MAX } else { limit };
        let mut burst = self.port.receive(limit);
        match (self.fault, burst.as_mut_slice()) {
            (Fault::Reorders, [first, .., last]) => std::mem::swap(first, last),
            (Fault::Cuts, [frame, ..]) => frame.data = &frame.data[..frame.data.len().saturating_sub(1)],
            (Fault::Repeats, [first, second, ..]) => *second = *first,
            (Fault::MistakesTheSender, [frame, ..]) => frame.from.port += 1,
            _ => {}
        }
        burst
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        let few = usize::from(self.fault == Fault::ReservesTooFew && count > 1);
        let mut burst = self.port.reserve(count - few, len);
        if let (Fault::AddressesReserved, [frame, ..]) = (self.fault, burst.as_mut_slice()) {
            *frame.to = A;
        }
        burst
    }

    fn commit(&mut self, count: usize) -> usize {
        self.commits += 1;
        if self.fault == Fault::LosesNow && self.commits.is_multiple_of(10) {
            self.port.discard(count);
            return count;
        }
        let more = usize::from(self.fault == Fault::CommitsTooMuch);
        let sent = self.port.commit(count.saturating_add(more));
        sent + usize::from(self.fault == Fault::OverstatesCommit)
    }

    fn discard(&mut self, count: usize) {
        if self.fault == Fault::SendsDiscarded {
            self.port.commit(count);
        } else {
            self.port.discard(count);
        }
    }

    fn reserved(&self) -> usize {
        if self.fault == Fault::HidesReserved { 0 } else { self.port.reserved() }
    }

    fn counters(&self) -> PortCounters {
        let mut counters = self.port.counters();
        match self.fault {
            Fault::CountsNoDiscards => counters.discarded = 0,
            Fault::CountsRefusedAsSent => counters.sent += std::mem::take(&mut counters.refused),
            _ => {}
        }
        counters
    }
}

fn failures(fault: Fault) -> Vec<String> {
    conformance::failures(Duration::from_millis(50), || {
        let (a, b) = pair(A, B, 64);
        let faulty = |port| Faulty { port, fault, commits: 0 };
        (faulty(a), A, faulty(b), B)
    })
}

#[test]
fn a_port_without_a_fault_passes() {
    assert_eq!(failures(Fault::None), Vec::<String>::new());
}

#[test]
fn every_fault_is_found_in_both_directions() {
    for fault in FAULTS {
        let failures = failures(fault);
        for direction in [", there: ", ", back: "] {
            assert!(failures.iter().any(|failure| failure.contains(direction)), "{fault:?}{direction}{failures:?}");
        }
    }
}
