//! Two calls beside a thousand idle links at 2u: every link keeps its rate, the calls lose nothing.

use drover_crypto::reference::{Reference, ReferenceRecords};
use drover_crypto::schedule::{LayerSecret, TrafficSecret};
use drover_crypto::{Layers, Suite};
use drover_dataplane::class::Rate;
use drover_dataplane::command::{LayerStep, NewIngress, Next};
use drover_dataplane::keys::GenerationSecrets;
use drover_dataplane::rig::{Far, LinkSpec, Rig};
use drover_dataplane::state::Sizes;
use drover_dataplane::terminal::NoTerminal;
use drover_dataplane::worker::Pace;
use drover_nic::Endpoint;
use drover_wire::cell::{Command, Header, plaintext_len};
use drover_wire::control::{List, Peer};
use drover_wire::record::record_len;

const S: usize = 256;
const LINKS: usize = 1_000;
const MS: u64 = 1_000_000;
const ROUND: u64 = 20 * MS;
const ROUNDS: u64 = 50;

fn endpoint(n: usize) -> Endpoint {
    Endpoint { ip: [9; 16], port: n as u16 + 1 }
}

/// Links 0 and 1 lead to callers, the last two to the next mix; all others are idle clients'.
fn on_call(n: usize) -> bool {
    !(2..LINKS + 2).contains(&n)
}

fn slots(n: usize) -> u64 {
    if n < LINKS + 2 { 2 } else { 4 }
}

fn secret(n: usize, ours: bool) -> TrafficSecret {
    let mut s = [u8::from(ours); 32];
    s[..8].copy_from_slice(&(n as u64).to_be_bytes());
    TrafficSecret(s)
}

#[test]
fn two_calls_beside_a_thousand_idle_links() {
    let sizes = Sizes { links: LINKS + 4, circuits: 8, pool: 1024, transmit: 4096 };
    let mut rig = Rig::<Reference, NoTerminal, S>::new(NoTerminal, sizes, Pace::tick(MS), ROUND);
    let mut now = 77 * MS;
    rig.worker.turn(now);
    let client = rig.class(Rate { round_ns: ROUND, slots: 2 }, 2, now + MS);
    let mixes = rig.class(Rate { round_ns: ROUND, slots: 4 }, 4, now + MS);
    let mut far: Vec<Far<ReferenceRecords, S>> = Vec::new();
    for n in 0..LINKS + 4 {
        let class = if slots(n) == 2 { client } else { mixes };
        let (send, receive) = ((secret(n, true), 0), (secret(n, false), 0));
        let keys = GenerationSecrets { generation: 1, ratchet_bits: 24, send, receive };
        let phase = (n as u32).wrapping_mul(0x9e37_79b9);
        rig.link(LinkSpec { remote: endpoint(n), class, peer: Peer::Drover, phase, keys });
        far.push(Far::new(&secret(n, false), &secret(n, true), 24));
    }
    for (near, out) in [(0, LINKS + 2), (1, LINKS + 3)] {
        let key = || Some(<Reference as Suite>::Layers::key(&LayerSecret([near as u8; 16])));
        for (from, to, step) in [(near, out, LayerStep::Peel), (out, near, LayerStep::Add)] {
            let index = rig.egress(to as u32, true, None);
            let next = Next::Egress { worker: 0, index, tag: index + 1, circuit: 5 };
            let way = NewIngress {
                index: 0,
                link: from as u32,
                circuit: 5,
                step,
                key: key(),
                first: Some(0),
                offset: 3,
                next,
                others: List::default(),
            };
            rig.ingress(way);
        }
    }
    let mut frame = vec![0; record_len(S)];
    let (mut records, mut cells) = (vec![0u64; LINKS + 4], vec![0u64; LINKS + 4]);
    for round in 0..ROUNDS {
        for tick in 0..20 {
            now += MS;
            // Every far end sends at its own rate: chaff, and on a call's links one cell a round.
            for (n, far) in far.iter_mut().enumerate() {
                let gap = 20 / slots(n);
                let at = (tick + n as u64) % 20;
                if !at.is_multiple_of(gap) {
                    continue;
                }
                let number = round * slots(n) + tick / gap;
                let on_call = on_call(n);
                let first = tick < gap;
                let mut plaintext = vec![round as u8; plaintext_len(S)];
                let (circuit, command, counter) =
                    if on_call && first { (5, Command::Relay, round) } else { (0, Command::Chaff, 0) };
                Header { circuit, command, counter }.write(&mut plaintext);
                far.seal(number, &plaintext, &mut frame);
                assert!(rig.wire.deliver(endpoint(n), &frame), "the wire is long enough for a tick");
            }
            rig.turn(now);
            while rig.wire.take(|to, data| {
                let n = usize::from(to.port) - 1;
                let (_, plaintext) = far[n].open(data).expect("a record");
                records[n] += 1;
                cells[n] += u64::from(Header::read(plaintext).expect("a cell").command == Command::Relay);
            }) {}
        }
    }
    assert_eq!(rig.worker.state.counters.dropped_in_all(), 0, "{:?}", rig.worker.state.counters);
    for n in 0..LINKS + 4 {
        let owed = ROUNDS * slots(n);
        assert!(records[n].abs_diff(owed) <= 1, "link {n}: {} records of {owed}", records[n]);
        let calls = if on_call(n) { ROUNDS - 2..=ROUNDS } else { 0..=0 };
        assert!(calls.contains(&cells[n]), "link {n}: {} cells", cells[n]);
    }
}
