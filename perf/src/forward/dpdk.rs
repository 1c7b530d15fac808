//! Two devices of DPDK's, each way: frames as they are, their Ethernet addresses exchanged, in the mbuf that they came in.

use super::report::{Against, Place, places};
use super::testpmd::{Setup, Testpmd, rates};
use super::{About, Report, Sample};
use crate::bed::eal::{self, Started};
use crate::pin;
use crate::probe::Probe;
use crate::progress::Progress;
use crate::stats::quartiles;
use drover_nic::dpdk::{self, DpdkConfig, DpdkPort, Eal, Listen, NextHops};
use drover_nic::{OpenError, Port, PortCounters, PortDetails};
use drover_wire::frame::Mac;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// A trial of ours.
const WINDOW: Duration = Duration::from_millis(20);
/// Of testpmd, from its start to the window, and the window.
const SETTLE: Duration = Duration::from_millis(30);
const ITS_WINDOW: Duration = Duration::from_millis(200);
/// Trials of ours between two windows of another program.
const TRIALS_A_PAIR: usize = 10;
/// Bursts each way between two readings of the clock.
const BURSTS: usize = 64;
/// MiB on ordinary pages: two devices' mbufs.
pub const PLAIN_MIB: u32 = 320;
/// Nobody's address: nothing is sent to it, frames go back as they came.
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 0xff]);
/// Bytes of a cell's record that must fit; the devices choose their own frames.
const PAYLOAD: usize = 1200;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Two devices.
    pub devices: [String; 2],
    /// Memory on huge pages.
    pub huge: bool,
    /// Whether testpmd runs beside.
    pub testpmd: bool,
    /// The core that forwards, ours and testpmd's.
    pub core: usize,
    /// Another one, for testpmd's command line.
    pub other_core: usize,
}

/// The devices' ports, and what a run should know of them.
pub struct Ports {
    ports: [DpdkPort; 2],
    huge: bool,
    bound: String,
    notes: Vec<String>,
}

/// Starts DPDK and opens the devices; on ordinary pages where there are no huge ones.
///
/// # Errors
/// What could not be had, why, and the mend.
pub fn open(asked: &Asked) -> Result<Ports, OpenError> {
    let Started { eal, huge, note } = eal::start(&asked.devices, asked.huge, PLAIN_MIB)?;
    let [first, second] = &asked.devices;
    let ports = [device(&eal, first, 1)?, device(&eal, second, 2)?];
    let pages = if huge { "huge pages" } else { "ordinary pages" };
    let bound = format!("{first} and {second}, {}, {pages}", Eal::version());
    Ok(Ports { ports, huge, bound, notes: note.into_iter().collect() })
}

fn device(eal: &Eal, device: &str, number: u8) -> Result<DpdkPort, OpenError> {
    let addr: SocketAddr = (Ipv4Addr::new(198, 18, 0, number), 4433).into();
    let config = DpdkConfig {
        device: device.to_owned(),
        mac: None,
        vlan: None,
        mtu: None,
        payload: PAYLOAD,
        tx_ring: drover_nic::BURST,
        next_hops: NextHops::Fixed(NOBODY),
        offload: false,
    };
    Ok(dpdk::open(eal, &config, &[Listen { addr, queue: 0 }])?.remove(0))
}

/// Forwards both ways for `time`, and in turns with testpmd where that was asked for.
///
/// # Errors
/// A core that cannot be had, testpmd that does not run, nothing forwarded.
pub fn measure(
    ports: &mut Ports,
    asked: &Asked,
    time: Duration,
    probe: &mut Probe,
) -> Result<(Vec<Sample>, Report), String> {
    pin::to(asked.core)?;
    let mut bytes = 0;
    window(&mut ports.ports, &mut bytes);
    let before: Vec<(PortCounters, PortDetails)> =
        ports.ports.iter().map(|port| (port.counters(), port.details())).collect();
    let mut testpmd = match asked.testpmd {
        true => Some(Testpmd::start(Setup {
            devices: &asked.devices,
            plain_mib: (!ports.huge).then_some(PLAIN_MIB),
            core: asked.core,
            other_core: asked.other_core,
            frame: bytes,
        })?),
        false => None,
    };
    let mut progress = Progress::begin("measuring");
    let mut rounds = Vec::new();
    while rounds.len() < 3 || progress.elapsed() < time {
        let ours: Vec<_> = (0..TRIALS_A_PAIR).map(|_| window(&mut ports.ports, &mut bytes)).collect();
        probe.now();
        if let Some(testpmd) = &mut testpmd {
            its_window(testpmd)?;
        }
        rounds.push(ours);
        progress.tell(|| format!("{} windows", rounds.len()));
    }
    let samples = rounds.concat();
    let (mut drops, mut noted): (Vec<Place>, Vec<Place>) = (Vec::new(), Vec::new());
    for (port, (counters, details)) in ports.ports.iter().zip(&before) {
        let (lost, other) = places((counters, details), port);
        drops.extend(lost);
        noted.extend(other.into_iter().filter(|place| place.place != "link_up"));
    }
    let about = About {
        port: "dpdk",
        bound: ports.bound.clone(),
        payload: bytes,
        peers: 0,
        notes: std::mem::take(&mut ports.notes),
    };
    let mut report = Report::new(&samples, (drops, noted), about)?;
    if let Some(testpmd) = testpmd {
        let command = testpmd.command().to_owned();
        report.against = Some(against(&report, &rounds, &windows(&rates(&testpmd.finish()?)?)?, command)?);
    }
    Ok((samples, report))
}

/// Lets testpmd forward: it reports before the window and behind.
fn its_window(testpmd: &mut Testpmd) -> Result<(), String> {
    testpmd.tell("start")?;
    std::thread::sleep(SETTLE);
    testpmd.tell("show port stats all")?;
    std::thread::sleep(ITS_WINDOW);
    testpmd.tell("show port stats all")?;
    testpmd.tell("stop")
}

/// ns a packet in each window, both devices' together: the second of each two reports has its rates.
fn windows(rates: &[f64]) -> Result<Vec<f64>, String> {
    let (reports, rest) = rates.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("testpmd told {} rates, not four a window", rates.len()));
    }
    let of = |[_, _, first, second]: &[f64; 4]| match first + second {
        sum if sum > 0.0 => Ok(1e9 / sum),
        _ => Err("testpmd forwarded nothing in a window".to_owned()),
    };
    reports.iter().map(of).collect()
}

/// One trial. `bytes` is set to a frame's length.
fn window(ports: &mut [DpdkPort; 2], bytes: &mut usize) -> Sample {
    let [a, b] = ports;
    let (mut received, mut sent, mut turns) = (0, 0, 0);
    let begin = Instant::now();
    loop {
        for _ in 0..BURSTS {
            for done in [a.forward(b, exchange), b.forward(a, exchange)] {
                (received, sent) = (received + done.received as u64, sent + done.sent as u64);
                turns += u64::from(done.received > 0);
            }
        }
        let ns = begin.elapsed();
        if ns >= WINDOW {
            // One more burst, not timed, to see how long frames are.
            a.forward(b, |frame| *bytes = frame.len());
            return Sample {
                offered: received,
                forwarded: sent,
                lost: received - sent,
                turns,
                ns: ns.as_nanos() as u64,
            };
        }
    }
}

/// Exchanges the Ethernet addresses: the header is read and written.
#[inline]
fn exchange(frame: &mut [u8]) {
    if let Some(addresses) = frame.first_chunk_mut::<12>() {
        let (to, from) = addresses.split_at_mut(6);
        to.swap_with_slice(from);
    }
}

fn against(report: &Report, rounds: &[Vec<Sample>], windows: &[f64], command: String) -> Result<Against, String> {
    if windows.len() != rounds.len() {
        return Err(format!("testpmd told {} of {} windows", windows.len(), rounds.len()));
    }
    let [low, median, high] = quartiles(windows.to_vec());
    let pairs = rounds.iter().zip(windows).map(|(ours, its)| {
        let [_, ours, _] = quartiles(ours.iter().map(|s| s.ns as f64 / s.forwarded as f64).collect());
        ours - its
    });
    let [less, _, more] = quartiles(pairs.collect());
    Ok(Against {
        program: format!("testpmd, {}", Eal::version()),
        command,
        ns_per_packet: median,
        ns_per_packet_iqr: [low, high],
        difference_ns: report.ns_per_packet - median,
        difference_ns_iqr: [less, more],
        windows: windows.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_second_of_two_reports() {
        assert_eq!(windows(&[5.0, 6.0, 1e7, 3e7]), Ok(vec![25.0]));
        assert!(windows(&[5.0, 6.0]).is_err(), "half a window");
        assert!(windows(&[0.0; 4]).is_err());
    }
}
