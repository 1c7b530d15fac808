//! Two of DPDK's testpmd that exchange frames over a vhost socket: what a process next to it can do.

use super::report::Against;
use crate::bed::vhost;
use crate::forward::testpmd::{Setup, Testpmd, rates};
use crate::pin;
use crate::stats::quartiles;
use drover_nic::dpdk::Eal;
use drover_wire::frame::{ETHERNET, IPV4, UDP};
use drover_wire::record::record_len;
use std::time::Duration;

/// MiB on ordinary pages, each.
const PLAIN_MIB: u32 = 320;
/// Bursts under way between the two: half of what their rings hold.
const UNDER_WAY: usize = 8;
/// From the start to the first window, and each window.
const SETTLE: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_millis(200);
const WINDOWS: usize = 15;

/// Measures frames of `cell`'s records, received and sent back by the vhost socket's server.
///
/// # Errors
/// testpmd is not installed or does not run; two cores are not to be had.
pub fn measure(cell: usize) -> Result<Against, String> {
    let cores = pin::cores()?;
    let [first, ref others @ .., last] = cores[..] else {
        return Err("testpmd on both sides needs two cores".to_owned());
    };
    let folder = tempfile::Builder::new().prefix("drover-vhost-").tempdir().map_err(|error| error.to_string())?;
    let socket = folder.path().join("socket");
    let devices = [
        [format!("net_vhost0,iface={}", socket.display())],
        [format!("net_virtio_user0,path={},queue_size=1024", socket.display())],
    ];
    let plain_mib = (!vhost::on_huge_pages()?).then_some(PLAIN_MIB);
    let frame = ETHERNET + IPV4 + UDP + record_len(cell);
    let start = |side: usize, core| {
        let other_core = if core == first { last } else { first };
        Testpmd::start(Setup { devices: &devices[side], plain_mib, core, other_core, frame })
    };
    let mut server = start(0, last)?;
    let mut client = start(1, others.first().copied().unwrap_or(first))?;
    server.tell("start")?;
    client.tell(&format!("start tx_first {UNDER_WAY}"))?;
    std::thread::sleep(SETTLE);
    for _ in 0..=WINDOWS {
        server.tell("show port stats all")?;
        std::thread::sleep(WINDOW);
    }
    let commands = [server.command().to_owned(), client.command().to_owned()];
    // The client first: it says good-bye to its server.
    client.tell("stop")?;
    client.finish()?;
    server.tell("stop")?;
    // The first report is of the time before.
    let windows: Vec<f64> = rates(&server.finish()?)?.into_iter().skip(1).collect();
    let count = windows.len();
    let [low, packets_per_second, high] = quartiles(windows);
    match packets_per_second > 0.0 {
        true => Ok(Against {
            program: format!("testpmd of {}", Eal::version()),
            commands,
            packets_per_second,
            packets_per_second_iqr: [low, high],
            windows: count,
        }),
        false => Err("testpmd forwarded nothing over the vhost socket".to_owned()),
    }
}
