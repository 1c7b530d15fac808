//! How many packets a second an AF_XDP port takes and sends back, one queue, one core, on a cable in two network
//! namespaces of its own (root):
//!
//! ```text
//! cargo run --release -p drover-nic --example reflect -- [SECONDS] [BYTES of a frame]
//! ```
//!
//! A source within the other end's kernel, which needs native XDP here, offers more than the port can take. What comes back
//! is nobody's there.

use drover_nic::af_xdp::{self, AfXdpConfig, Generator, Listen, Mode, NextHop};
use drover_nic::netns::{Namespace, veth};
use drover_nic::{BURST, Endpoint, Port};
use drover_wire::frame::{Checksum, Local, Mac, write_headers};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Frames that one call of the source makes: each call begins and ends with milliseconds of waiting.
const CALL: u32 = 1 << 18;
/// Nobody's: what is sent there is dropped by the first who looks.
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 0xff]);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let (near, far) = (Namespace::new()?, Namespace::new()?);
    veth(&near, "near", &far, "far", 1, 1500)?;
    for (network, interface, address) in [(&near, "near", "10.77.0.1/24"), (&far, "far", "10.77.0.2/24")] {
        network.address(interface, address)?;
        network.up(interface)?;
    }
    let config = AfXdpConfig { mode: Mode::Driver, next_hop: NextHop::Fixed(NOBODY), ..AfXdpConfig::new("near") };
    let workers = [Listen { addr: "10.77.0.1:4433".parse()?, queue: 0 }];
    let mut port = near.run(|| af_xdp::open(&config, &workers))??.remove(0);
    let to = near.interface("near")?.mac.ok_or("no Ethernet")?;
    let from = far.interface("far")?;
    let frame = frame(from.mac.ok_or("no Ethernet")?, to, "10.77.0.2:9".parse()?, workers[0].addr, bytes)?;
    println!("{}", port.bound());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let source = scope.spawn(|| {
            let (done, far, frame) = (&done, &far, &frame);
            far.run(|| -> Result<(), String> {
                pin(0);
                let source = Generator::new(from.index).map_err(|error| error.to_string())?;
                while !done.load(Ordering::Relaxed) {
                    source.send(frame, CALL).map_err(|error| error.to_string())?;
                }
                Ok(())
            })
        });
        pin(1);
        reflect(&mut port, Duration::from_millis(500));
        let (sent, begin) = (port.counters().sent, Instant::now());
        reflect(&mut port, Duration::from_secs(seconds));
        let (sent, ns) = (port.counters().sent - sent, begin.elapsed().as_nanos());
        done.store(true, Ordering::Relaxed);
        source.join().map_err(|_| "the source panicked")??.map_err(Box::<dyn Error>::from)?;
        println!("{:.3} Mpps, {} ns a packet", sent as f64 * 1e3 / ns as f64, ns / u128::from(sent.max(1)));
        println!("{:?}", port.counters());
        for (name, count) in port.details().into_iter().filter(|(_, count)| *count > 0) {
            println!("{name}: {count}");
        }
        Ok(())
    })
}

/// Sends back whatever comes.
fn reflect(port: &mut impl Port, time: Duration) {
    let mut copies = [[0; 2048]; BURST];
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut got: [(Endpoint, usize); BURST] = [(Endpoint::NONE, 0); BURST];
        let mut count = 0;
        for frame in port.receive(BURST) {
            copies[count][..frame.data.len()].copy_from_slice(frame.data);
            got[count] = (frame.from, frame.data.len());
            count += 1;
        }
        let mut done = 0;
        while done < count {
            let len = got[done].1;
            let alike = got[done..count].iter().take_while(|(_, other)| *other == len).count();
            for (frame, index) in port.reserve(alike, len).into_iter().zip(done..) {
                *frame.to = got[index].0;
                frame.data.copy_from_slice(&copies[index][..len]);
            }
            done += alike;
        }
        port.commit(count);
    }
}

/// A frame of so many bytes with its headers.
fn frame(from_mac: Mac, to_mac: Mac, from: SocketAddr, to: SocketAddr, bytes: usize) -> Result<Vec<u8>, String> {
    let local = Local { mac: from_mac, vlan: None, ip: Endpoint::from(from).ip };
    let payload = vec![7; bytes.checked_sub(local.headers_len()).ok_or("shorter than its headers")?];
    let mut frame = vec![0; local.headers_len()];
    write_headers(
        &mut frame,
        &local,
        from.port(),
        to_mac,
        &Endpoint::from(to).ip,
        to.port(),
        &payload,
        Checksum::Software,
    );
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// A machine with fewer processors measures on those it has.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    let _ = sched_setaffinity(None, &set);
}
