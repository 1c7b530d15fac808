//! A port of any kind, chosen when a process starts.
//!
//! A worker is generic over its port, and a worker's code is large: one for each cipher back end and cell size. Another one
//! for each kind of port would make it several times as much, to save a branch a burst that is always predicted.

use crate::af_xdp::AfXdpPort;
use crate::capture::Capture;
#[cfg(all(feature = "dpdk", not(feature = "loom")))]
use crate::dpdk::DpdkPort;
use crate::fault::Fault;
use crate::memory::MemoryPort;
use crate::udp::UdpPort;
use crate::{Capabilities, Endpoint, Port, PortCounters, PortDetails, RxBurst, TxBurst};
use std::net::SocketAddr;

/// One of the kinds of port that a process can be told to use.
pub enum AnyPort {
    /// Rings of memory: for measurements and tests, which then turn the very worker that a process runs.
    Memory(MemoryPort),
    /// A UDP socket.
    Udp(UdpPort),
    /// An AF_XDP socket.
    AfXdp(Box<AfXdpPort>),
    /// A queue of a device of DPDK's.
    #[cfg(all(feature = "dpdk", not(feature = "loom")))]
    Dpdk(Box<DpdkPort>),
    /// One of the others, captured.
    Captured(Box<Capture<AnyPort>>),
    /// One of the others, over a wire that is bad by a seed.
    Faulty(Box<Fault<AnyPort>>),
}

impl AnyPort {
    /// Where it receives.
    pub fn local_addr(&self) -> SocketAddr {
        match self {
            AnyPort::Memory(port) => port.local().into(),
            AnyPort::Udp(port) => port.local_addr(),
            AnyPort::AfXdp(port) => port.local_addr(),
            #[cfg(all(feature = "dpdk", not(feature = "loom")))]
            AnyPort::Dpdk(port) => port.local().into(),
            AnyPort::Captured(port) => port.below().local_addr(),
            AnyPort::Faulty(port) => port.below().local_addr(),
        }
    }

    /// What was really opened, for people: `eth0 queue 0: driver mode, copy, ...`.
    pub fn describe(&self) -> String {
        match self {
            AnyPort::Memory(_) => "rings of memory".to_owned(),
            AnyPort::Udp(_) => "a UDP socket".to_owned(),
            AnyPort::AfXdp(port) => port.bound().to_string(),
            #[cfg(all(feature = "dpdk", not(feature = "loom")))]
            AnyPort::Dpdk(port) => port.about().to_string(),
            AnyPort::Captured(port) => format!("{}; captured", port.below().describe()),
            AnyPort::Faulty(port) => format!("{}; with faults", port.below().describe()),
        }
    }

    /// The same port, captured into a new file at `path`.
    ///
    /// # Errors
    /// As [`Capture::create`].
    pub fn captured(self, limits: crate::capture::Limits, path: &std::path::Path) -> std::io::Result<AnyPort> {
        let local = Endpoint::from(self.local_addr());
        Ok(AnyPort::Captured(Box::new(Capture::create(self, local, limits, path)?)))
    }

    /// The same port, over a bad wire.
    ///
    /// # Errors
    /// As [`Fault::new`].
    pub fn faulty(self, config: &crate::fault::FaultConfig) -> Result<AnyPort, crate::fault::FaultError> {
        Ok(AnyPort::Faulty(Box::new(Fault::new(self, config)?)))
    }
}

/// The same call of whichever port it is.
macro_rules! of_each {
    ($any:expr, $port:ident => $call:expr) => {
        match $any {
            AnyPort::Memory($port) => $call,
            AnyPort::Udp($port) => $call,
            AnyPort::AfXdp($port) => $call,
            #[cfg(all(feature = "dpdk", not(feature = "loom")))]
            AnyPort::Dpdk($port) => $call,
            AnyPort::Captured($port) => $call,
            AnyPort::Faulty($port) => $call,
        }
    };
}

impl Port for AnyPort {
    fn capabilities(&self) -> Capabilities {
        of_each!(self, port => port.capabilities())
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        of_each!(self, port => port.receive(limit))
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        of_each!(self, port => port.reserve(count, len))
    }

    fn commit(&mut self, count: usize) -> usize {
        of_each!(self, port => port.commit(count))
    }

    fn discard(&mut self, count: usize) {
        of_each!(self, port => port.discard(count));
    }

    fn reserved(&self) -> usize {
        of_each!(self, port => port.reserved())
    }

    fn counters(&self) -> PortCounters {
        of_each!(self, port => port.counters())
    }

    fn details(&self) -> PortDetails {
        of_each!(self, port => port.details())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Limits;
    use crate::fault::FaultConfig;

    fn udp() -> AnyPort {
        AnyPort::Udp(UdpPort::bind("127.0.0.1:0".parse().expect("an address"), 256).expect("a port"))
    }

    #[test]
    fn whatever_it_is_it_conforms() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = 0;
        crate::conformance::run("any", || {
            files += 1;
            let a = udp().captured(Limits::default(), &folder.path().join(files.to_string())).expect("captured");
            let b = udp().faulty(&FaultConfig::NONE).expect("no faults");
            let (a_at, b_at) = (Endpoint::from(a.local_addr()), Endpoint::from(b.local_addr()));
            (a, a_at, b, b_at)
        });
        assert!(files > 0);
    }

    #[test]
    fn it_says_what_it_is() {
        let port = udp().faulty(&FaultConfig::NONE).expect("no faults");
        assert_eq!((port.describe().as_str(), port.capabilities().name), ("a UDP socket; with faults", "udp"));
        assert!(port.details().is_empty());
    }
}
