//! A port that is opened once and lent to one check after another, each time as new.

use drover_nic::dpdk::DpdkPort;
use drover_nic::{BURST, Capabilities, Endpoint, Port, PortCounters, RxBurst, TxBurst};
use std::sync::{Arc, Mutex};

/// A port, while nobody has it.
pub struct Stock(Arc<Mutex<Option<DpdkPort>>>);

/// A port on loan.
pub struct Lease {
    port: Option<DpdkPort>,
    /// What it had done before.
    before: PortCounters,
    home: Arc<Mutex<Option<DpdkPort>>>,
}

impl Stock {
    pub fn new(port: DpdkPort) -> Stock {
        Stock(Arc::new(Mutex::new(Some(port))))
    }

    /// Looks at the port.
    pub fn with<T>(&self, look: impl FnOnce(&DpdkPort) -> T) -> T {
        look(self.0.lock().expect("no panic").as_ref().expect("nobody has it"))
    }

    pub fn lend(&self) -> Lease {
        let port = self.0.lock().expect("no panic").take().expect("the last one gave it back");
        Lease { before: port.counters(), port: Some(port), home: Arc::clone(&self.0) }
    }
}

impl Lease {
    pub fn local(&self) -> Endpoint {
        self.port().local()
    }

    fn port(&self) -> &DpdkPort {
        self.port.as_ref().expect("until it is dropped")
    }

    fn port_mut(&mut self) -> &mut DpdkPort {
        self.port.as_mut().expect("until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut port) = self.port.take() {
            port.discard(usize::MAX);
            while !port.receive(BURST).is_empty() {}
            *self.home.lock().expect("no panic") = Some(port);
        }
    }
}

impl Port for Lease {
    fn capabilities(&self) -> Capabilities {
        self.port().capabilities()
    }

    fn receive(&mut self, limit: usize) -> RxBurst<'_> {
        self.port_mut().receive(limit)
    }

    fn reserve(&mut self, count: usize, len: usize) -> TxBurst<'_> {
        self.port_mut().reserve(count, len)
    }

    fn commit(&mut self, count: usize) -> usize {
        self.port_mut().commit(count)
    }

    fn discard(&mut self, count: usize) {
        self.port_mut().discard(count);
    }

    fn reserved(&self) -> usize {
        self.port().reserved()
    }

    fn counters(&self) -> PortCounters {
        let (now, before) = (self.port().counters(), self.before);
        PortCounters {
            received: now.received - before.received,
            sent: now.sent - before.sent,
            refused: now.refused - before.refused,
            discarded: now.discarded - before.discarded,
            oversized: now.oversized - before.oversized,
        }
    }
}
