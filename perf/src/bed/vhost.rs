//! A DPDK port on a vhost socket, whose other side another process of this program has.
//!
//! ```text
//! port under test = net_vhost  -socket-  net_virtio_user = other side = net_af_packet  -cable-  the peers' sockets
//! \______ this process ______/           \_________ a process of its own ________/
//! ```
//!
//! The other side moves frames each way as they are: to the kernel's sockets behind it the port is an ordinary host.

use super::cable::{NEAR, PREFIX, failed};
use super::{Bed, Cable, Room, eal};
use crate::output::Error;
use crate::pin;
use drover_nic::any::AnyPort;
use drover_nic::child::end_with_parent;
use drover_nic::dpdk::{self, DpdkConfig, DpdkPort, Eal, Listen, NextHops, TX_RING_MAX};
use drover_nic::{BURST, FRAME, OpenError};
use drover_wire::frame::{ETHERNET, IPV4, Mac, Sum, TYPE_IPV4, UDP, ethernet};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// MiB on ordinary pages: the mbufs of a chain of mixes, or of the other side.
const PLAIN_MIB: u32 = 512;
const OTHER_MIB: u32 = 256;
/// The address of the other side's device, which nobody uses: without one DPDK warns.
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// Time for both sides to meet.
const PATIENCE: Duration = Duration::from_secs(20);
/// The port's UDP port.
const UDP_PORT: u16 = 4433;
/// UDP's number (RFC 768), and where an IPv4 packet has its protocol's.
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_AT: usize = 9;
/// Bytes of a datagram that the other side passes: more than any record, and no more than `net_af_packet` takes.
const PAYLOAD: usize = 1200;
/// Where a UDP header has its sum.
const SUM_AT: usize = 6;

/// The process on the other side of a vhost socket. It ends with this.
pub struct OtherSide {
    child: Child,
    /// The socket's.
    _folder: TempDir,
}

impl Drop for OtherSide {
    fn drop(&mut self) {
        // It has nothing to put in order; what has already ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port, and its peers behind the other side.
pub(super) fn dpdk(room: Room) -> Result<Bed, OpenError> {
    static BEDS: AtomicUsize = AtomicUsize::new(0);
    let bed = BEDS.fetch_add(1, Ordering::Relaxed);
    let mut cable = Cable::without_near().map_err(failed)?;
    let eal = eal::start(&[], true, PLAIN_MIB)?.eal;
    let folder = tempfile::Builder::new().prefix("drover-vhost-").tempdir().map_err(failed)?;
    let socket = folder.path().join("socket");
    let config = DpdkConfig {
        device: format!("net_vhost{bed},iface={}", socket.display()),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        vlan: None,
        mtu: None,
        payload: FRAME,
        tx_ring: room.transmit.clamp(BURST, TX_RING_MAX),
        next_hops: NextHops::Resolved { prefix_len: PREFIX, gateway: None },
        offload: true,
    };
    let listen = Listen { addr: SocketAddr::from((NEAR, UDP_PORT)), queue: 0 };
    let port = dpdk::open(&eal, &config, &[listen])?.remove(0);
    let child = spawn(&cable, &socket, bed)?;
    let other_side = cable.other_side.insert(OtherSide { child, _folder: folder });
    let begin = Instant::now();
    while !port.link_up() {
        let ended = other_side.child.try_wait().map_err(failed)?;
        if ended.is_some() || begin.elapsed() > PATIENCE {
            let why = ended.map_or("it does not connect".to_owned(), |status| format!("it ended with {status}"));
            return Err(OpenError::environment("the other side of the vhost socket", why, "see what it said above"));
        }
        std::thread::yield_now();
    }
    let peers = cable.peers(room.peers, listen.addr).map_err(failed)?;
    let bound = format!("{}, {}", port.about(), Eal::version());
    Ok(Bed { port: AnyPort::Dpdk(Box::new(port)), peers, bound, cable: Some(cable) })
}

/// Whether this process's DPDK has huge pages.
///
/// # Errors
/// It does not start.
pub fn on_huge_pages() -> Result<bool, String> {
    eal::start(&[], true, PLAIN_MIB).map(|started| started.huge).map_err(|error| error.to_string())
}

/// The other side of `socket`, at the near end of the cable. Its core is none of those that the tools begin with: the last
/// has the worker, the first has the tester.
fn spawn(cable: &Cable, socket: &Path, bed: usize) -> Result<Child, OpenError> {
    let cores = pin::cores().map_err(|error| OpenError::environment("cores", error, "see `drover doctor`"))?;
    let core = match cores[..] {
        [_, ref others @ .., _] if !others.is_empty() => others[bed % others.len()],
        _ => cores.first().copied().unwrap_or(0),
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("other-side").arg("--socket").arg(socket).arg("--core").arg(core.to_string());
    // DPDK says on standard output what nobody asked.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    cable.near.start_inside(&mut command).map_err(failed)?;
    end_with_parent(&mut command, Signal::KILL);
    command.spawn().map_err(failed)
}

/// The other side of another run's vhost socket: moves frames between it and the interface `near`, until it is killed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The socket
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// The core to spin on
    #[arg(long, value_name = "N")]
    pub core: usize,
}

/// Moves frames, for good.
///
/// # Errors
/// A device or a core that cannot be had.
pub fn run(args: &Args) -> Result<String, Error> {
    let eal = eal::start(&[], true, OTHER_MIB)?.eal;
    let mut virtio =
        device(&eal, format!("net_virtio_user0,path={},queue_size=1024,mac={OTHER_MAC}", args.socket.display()))?;
    let mut packet = device(&eal, "net_af_packet0,iface=near,framecnt=2048".to_owned())?;
    pin::to(args.core)?;
    loop {
        virtio.forward(&mut packet, sum_up);
        packet.forward(&mut virtio, |_| {});
    }
}

/// A device of the other side, where frames only pass: its address is nobody's.
fn device(eal: &Eal, device: String) -> Result<DpdkPort, OpenError> {
    let config = DpdkConfig {
        device,
        mac: None,
        vlan: None,
        mtu: None,
        payload: PAYLOAD,
        tx_ring: BURST,
        next_hops: NextHops::Fixed(Mac([2, 0, 0, 0, 0, 0xff])),
        offload: false,
    };
    let listen = Listen { addr: SocketAddr::from((Ipv4Addr::new(198, 18, 255, 254), UDP_PORT)), queue: 0 };
    Ok(dpdk::open(eal, &config, &[listen])?.remove(0))
}

/// Writes the sum of a UDP datagram over IPv4: a vhost port leaves it to its device, which is this side.
fn sum_up(frame: &mut [u8]) {
    let is_ipv4 = ethernet(frame).is_some_and(|frame| frame.kind == TYPE_IPV4 && frame.vlan == 0);
    let Some((ip, udp)) = frame.get_mut(ETHERNET..).filter(|_| is_ipv4).and_then(|p| p.split_at_mut_checked(IPV4))
    else {
        return;
    };
    if ip[PROTOCOL_AT] != PROTOCOL_UDP || udp.len() < UDP {
        return;
    }
    let len = u16::from_be_bytes([udp[4], udp[5]]);
    let Some(datagram) = udp.get_mut(..usize::from(len)).filter(|datagram| datagram.len() >= UDP) else { return };
    datagram[SUM_AT..UDP].fill(0);
    let addresses = &ip[12..IPV4];
    let sum =
        Sum::default().with(addresses).with_word(u16::from(PROTOCOL_UDP)).with_word(len).with(datagram).checksum();
    // Zero would say that there is none (RFC 768).
    datagram[SUM_AT..UDP].copy_from_slice(&if sum == [0, 0] { [0xff, 0xff] } else { sum });
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_wire::frame::{Checksum, HEADERS_MAX, Local, write_headers};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_datagram_that_was_left_to_the_device_gets_its_sum(payload in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let ip = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
            let local = Local { mac: Mac([2, 0, 0, 0, 0, 1]), ip: ip(1), vlan: None };
            let frame = |checksum| {
                let mut frame = vec![0; local.headers_len()];
                write_headers(&mut frame, &local, 4000, Mac([2, 0, 0, 0, 0, 2]), &ip(2), 5000, &payload, checksum);
                frame.extend(&payload);
                frame
            };
            let mut left = frame(Checksum::Offload);
            sum_up(&mut left);
            prop_assert_eq!(left, frame(Checksum::Software));
        }

        #[test]
        fn nothing_else_is_touched(mut frame in proptest::collection::vec(any::<u8>(), 0..HEADERS_MAX + 20)) {
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(&[0x86, 0xdd]);
            }
            let before = frame.clone();
            sum_up(&mut frame);
            prop_assert_eq!(frame, before);
        }

        #[test]
        fn no_frame_is_too_short_or_lies_too_much(mut frame in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(&[0x08, 0]);
            }
            if let Some(protocol) = frame.get_mut(ETHERNET + PROTOCOL_AT) {
                *protocol = PROTOCOL_UDP;
            }
            sum_up(&mut frame);
        }
    }
}
