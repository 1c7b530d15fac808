use super::*;
use crate::client::line::{CONTROL_MAX, CONTROL_RING, ControlSide, Outside, RING, controlled_line, line};
use drover_crypto::testing::NonInvolutive;
use drover_wire::control::{BootId, EndLayer, EndSecret, LinkEnd, Secret};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// A put with fresh keys; a callee's is `mirrored` from its caller's.
fn put(layers: &[EndLayer]) -> PutEnd {
    // Keys are claimed for the life of the process, so every test takes its own.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let secret = || {
        let mut key = [0x5e; 16];
        key[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        EndSecret { key: Secret(key), iv: Secret([3; 12]) }
    };
    PutEnd {
        boot: BootId([1; 16]),
        end: 1,
        generation: 0,
        at: LinkEnd { link: 1, id: 1 },
        send_first: u64::MAX - 2,
        receive_first: Some(u64::MAX - 2),
        layers: drover_wire::control::Layers::from_slice(layers).expect("few"),
        seal: secret(),
        open: secret(),
    }
}

fn mirrored(put: &PutEnd) -> PutEnd {
    PutEnd { seal: put.open.clone(), open: put.seal.clone(), ..put.clone() }
}

struct Client {
    terminal: ClientTerminal<NonInvolutive>,
    outside: Outside,
    control: ControlSide,
    counters: ClientCounters,
}

impl Client {
    fn new(put: &PutEnd, body: usize) -> Client {
        let (inside, outside, control) = controlled_line(1);
        let counters = ClientCounters::new(vec![(1, Arc::clone(inside.counters()))]);
        let mut terminal = ClientTerminal::new(vec![inside], &counters);
        terminal.add(0, ClientTerminal::expand(put, body).expect("a right put"));
        Client { terminal, outside, control, counters }
    }

    fn count(&self, name: &str) -> u64 {
        let all = self.counters.ends()[0].1.all();
        all.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no count {name}")).1
    }

    fn fill(&mut self, body: usize) -> (u64, Vec<u8>) {
        let mut cell = vec![0xee; body];
        let counter = self.terminal.fill(0, 0, &mut cell);
        (counter, cell)
    }
}

/// Two clients on one link: no layers.
fn pair(body: usize) -> (Client, Client) {
    let put = put(&[]);
    (Client::new(&put, body), Client::new(&mirrored(&put), body))
}

#[test]
fn packets_and_filler_arrive_and_counters_advance() {
    let (mut caller, mut callee) = pair(224);
    assert!(caller.outside.is_up());
    let mut counters = Vec::new();
    for packet in [&b"one"[..], b"", &[7; 198], b""] {
        assert!(packet.is_empty() || caller.outside.give(packet));
        let (counter, mut body) = caller.fill(224);
        counters.push(counter);
        assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), Ok(()));
        let heard = callee.outside.take_with(<[u8]>::to_vec);
        assert_eq!(heard, (!packet.is_empty()).then(|| packet.to_vec()));
    }
    assert_eq!(counters, [u64::MAX - 2, u64::MAX - 1, u64::MAX, 0], "the client's counter wraps (W-CIR-3)");
    assert_eq!((caller.count("rtp_sent"), caller.count("fillers_sent")), (2, 2));
    assert_eq!((callee.count("rtp_received"), callee.count("fillers_received")), (2, 2));
}

#[test]
fn replayed_and_broken_cells_are_dropped_for_their_reason() {
    let (mut caller, mut callee) = pair(480);
    let (counter, body) = caller.fill(480);
    let mut broken = body.clone();
    broken[479] ^= 1;
    assert_eq!(callee.terminal.deliver(0, 0, counter, &mut broken), Err(DropReason::EndBroken));
    let mut forged = body.clone();
    forged[0] ^= 0x40;
    assert_eq!(callee.terminal.deliver(0, 0, counter, &mut forged), Err(DropReason::EndBroken));
    // Neither moved the window.
    assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body.clone()), Ok(()));
    assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body.clone()), Err(DropReason::EndReplay));
    let mut reflected = callee.fill(480).1;
    assert_eq!(callee.terminal.deliver(0, 0, 0, &mut reflected), Err(DropReason::EndBroken), "our own cell");
    // Late by less than the window: taken. By more: a replay.
    let mut late: Vec<_> = (0..1200).map(|_| caller.fill(480).1).collect();
    assert_eq!(callee.terminal.deliver(0, 0, 0, &mut late[1199]), Ok(()));
    assert_eq!(callee.terminal.deliver(0, 0, 0, &mut late[500]), Ok(()));
    assert_eq!(callee.terminal.deliver(0, 0, 0, &mut late[100]), Err(DropReason::EndReplay));
    assert_eq!((callee.count("end_broken"), callee.count("end_replay")), (3, 2));
}

#[test]
fn cells_that_are_missing_are_counted_and_late_ones_count_back() {
    let (mut caller, mut callee) = pair(224);
    let mut cells: Vec<_> = (0..10).map(|_| caller.fill(224)).collect();
    // The first three were sent before the callee's end was there.
    for (at, lost) in [(3, 0), (4, 0), (7, 2), (5, 1), (8, 1), (9, 1)] {
        let (counter, body) = &mut cells[at];
        assert_eq!(callee.terminal.deliver(0, 0, *counter, body), Ok(()));
        assert_eq!(callee.count("cells_lost"), lost, "after cell {at}");
    }
}

#[test]
fn a_full_ring_drops_and_says_so() {
    let (mut caller, mut callee) = pair(224);
    for n in 0..=RING {
        assert!(caller.outside.give(b"x"));
        let (counter, mut body) = caller.fill(224);
        let expected = if n < RING { Ok(()) } else { Err(DropReason::EndFull) };
        assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), expected);
    }
    assert_eq!(callee.count("end_full"), 1);
}

#[test]
fn control_goes_before_speech_and_arrives_apart() {
    let (mut caller, mut callee) = pair(224);
    let word = [0x42; CONTROL_MAX];
    assert!(caller.outside.give(b"speech") && caller.control.say(&word));
    for _ in 0..2 {
        let (counter, mut body) = caller.fill(224);
        assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), Ok(()));
    }
    assert_eq!(callee.control.hear(<[u8]>::to_vec), Some(word.to_vec()));
    assert_eq!(callee.outside.take_with(<[u8]>::to_vec), Some(b"speech".to_vec()));
    assert_eq!((caller.count("control_sent"), caller.count("rtp_sent")), (1, 1));
    assert_eq!((callee.count("control_received"), callee.count("rtp_received")), (1, 1));
    // Nobody reads: the ring fills, what is beyond is dropped and counted.
    for n in 0..=CONTROL_RING {
        assert!(caller.control.say(b"x"));
        let (counter, mut body) = caller.fill(224);
        let expected = if n < CONTROL_RING { Ok(()) } else { Err(DropReason::EndFull) };
        assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), expected);
    }
    assert_eq!((callee.count("end_full"), callee.count("control_received")), (1, CONTROL_RING as u64 + 2));
}

#[test]
fn an_end_without_a_port_sends_filler_and_drops_speech() {
    let own = put(&[]);
    let mut caller = Client::new(&own, 224);
    let other = PutEnd { end: 5, ..mirrored(&own) };
    let counters = ClientCounters::default();
    let mut terminal = ClientTerminal::<NonInvolutive>::new(Vec::new(), &counters);
    terminal.add(3, ClientTerminal::expand(&other, 224).expect("a right put"));
    let mut body = [0; 224];
    let counter = terminal.fill(3, 0, &mut body);
    assert_eq!(caller.terminal.deliver(0, 0, counter, &mut body), Ok(()));
    assert_eq!(caller.count("fillers_received"), 1);
    assert!(caller.outside.give(b"hello"));
    let (counter, mut body) = caller.fill(224);
    assert_eq!(terminal.deliver(3, 0, counter, &mut body), Err(DropReason::EndFull));
    assert_eq!((counters.unmapped().end_full.get(), counters.unmapped().fillers_sent.get()), (1, 1));
}

#[test]
fn ends_come_and_go() {
    let (mut caller, _) = pair(224);
    let newer = put(&[]);
    caller.terminal.add(1, ClientTerminal::expand(&newer, 224).expect("a right put"));
    assert!(caller.terminal.remove(0).is_some());
    assert!(caller.outside.is_up(), "the newer end has the line");
    assert!(caller.terminal.remove(0).is_none());
    assert!(caller.terminal.remove(1).is_some());
    assert!(!caller.outside.is_up());
    let mut body = [9; 224];
    assert_eq!(caller.terminal.fill(1, 0, &mut body), 0);
    assert_eq!(body, [0; 224]);
    assert_eq!(caller.terminal.deliver(1, 0, 0, &mut body), Err(DropReason::UnknownCircuit));
    assert_eq!(caller.terminal.deliver(u32::MAX, 0, 0, &mut body), Err(DropReason::UnknownCircuit));
}

#[test]
fn a_key_that_sealed_never_comes_back() {
    let expand = |put: &PutEnd| ClientTerminal::<NonInvolutive>::expand(put, 224);
    let first = put(&[]);
    drop(expand(&first).expect("a right put"));
    // Nothing was sealed: a refused put may be tried again.
    let state = expand(&first).expect("unused");
    assert!(expand(&first).is_err(), "two ends would number the same cells");
    let (inside, _outside) = line(1);
    let mut terminal = ClientTerminal::<NonInvolutive>::new(vec![inside], &ClientCounters::default());
    terminal.add(0, state);
    terminal.fill(0, 0, &mut [0; 224]);
    drop(terminal.remove(0));
    let refusal = expand(&first).err().expect("numbers would begin again");
    assert!(refusal.contains("key"), "{refusal}");
    let both = PutEnd { open: put(&[]).seal, ..put(&[]) };
    assert!(expand(&PutEnd { seal: both.open.clone(), ..both }).is_err(), "one key for both directions");
    assert!(ClientTerminal::<NonInvolutive>::expand(&put(&[]), 225).is_err(), "no cell's body");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every packet that fits comes out as it went in, through the layers of one hop each.
    #[test]
    fn any_packet_that_fits_round_trips(
        bytes in prop::collection::vec(any::<u8>(), 1..=RTP_MAX), size in 0usize..3, offset: u64,
    ) {
        let size = CellSize::ALL[size];
        let packet = &bytes[..bytes.len().min(size.rtp_max())];
        let (mut caller, mut callee) = pair(size.body_len());
        callee.terminal.ends[0].as_mut().expect("added").counter = offset;
        prop_assert!(caller.outside.give(packet) && callee.outside.give(packet));
        for _ in 0..2 {
            let (counter, mut body) = caller.fill(size.body_len());
            prop_assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), Ok(()));
            let heard = callee.outside.take_with(<[u8]>::to_vec);
            prop_assert!(heard.is_none_or(|heard| heard == packet));
            std::mem::swap(&mut caller, &mut callee);
        }
        prop_assert_eq!(caller.count("rtp_received") + callee.count("rtp_received"), 2);
    }

    /// What does not fit the cell goes as filler, counted: the slot is not lost, nothing is cut.
    #[test]
    fn a_packet_too_large_is_filler(extra in 1usize..100, size in 0usize..2) {
        let size = CellSize::ALL[size];
        let (mut caller, mut callee) = pair(size.body_len());
        prop_assert!(caller.outside.give(&vec![1; size.rtp_max() + extra]));
        let (counter, mut body) = caller.fill(size.body_len());
        prop_assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), Ok(()));
        prop_assert_eq!((caller.count("rtp_too_large"), callee.count("fillers_received")), (1, 1));
    }

    /// Bodies from an enemy.
    #[test]
    fn any_body_is_refused(bytes in prop::collection::vec(any::<u8>(), 224..=224), counter: u64) {
        let (_, mut callee) = pair(224);
        let mut body = bytes;
        prop_assert_eq!(callee.terminal.deliver(0, 0, counter, &mut body), Err(DropReason::EndBroken));
    }
}
