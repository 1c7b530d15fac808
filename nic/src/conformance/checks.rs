//! The checks.

use super::{Bench, Verdict, demand};
use crate::{BURST, Endpoint, Port};

pub(super) type Check<S, R> = fn(&mut Bench<S, R>) -> Verdict;

pub(super) fn all<S: Port, R: Port>() -> [(&'static str, Check<S, R>); 14] {
    [
        ("capabilities", capabilities),
        ("contents of every length", contents),
        ("order", order),
        ("limits of reserve", reserve_limits),
        ("a full transmit ring", full_ring),
        ("commits and discards mixed", mixed),
        ("discarded frames", discarded),
        ("reserve after a partial commit", partial_commit),
        ("commit and discard of too many", clamped),
        ("the transmit ring's wrap", wrap),
        ("the limit of receive", receive_limit),
        ("a short frame after a long one", stale_bytes),
        ("an address that cannot be reached", unreachable),
        ("a port moved to another thread", moved),
    ]
}

fn capabilities<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let is = bench.sender.capabilities();
    demand!(!is.name.is_empty() && is.tx_ring > 0 && is.max_payload >= 1500, "{is:?}");
    bench.balance()
}

/// Empty, one byte, 259, 515 and 1,027 (the records of the three cell sizes), the largest, and all between.
fn contents<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let longest = bench.sender.capabilities().max_payload;
    let mut frames: Vec<(u64, usize)> = (0..=1500).map(|len| (len as u64, len)).collect();
    frames.push((1501, longest));
    bench.exchange(&frames)
}

/// A thousand frames in bursts of changing size, with some under way all the time.
fn order<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let most = bench.tx_ring().min(BURST);
    let mut frames = Vec::new();
    while frames.len() < 1000 {
        let first = frames.len() as u64;
        let count = bench.reserve(1 + frames.len() * 7 % most, 64, first)?;
        bench.commit(count, 0)?;
        let new: Vec<_> = (first..).take(count).map(|number| (number, 64)).collect();
        bench.expect(1 + frames.len() * 5 % BURST, &new)?;
        frames.extend(new);
    }
    Ok(())
}

fn reserve_limits<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let max_payload = bench.sender.capabilities().max_payload;
    for (count, len) in [(0, 64), (1, max_payload + 1), (1, usize::MAX), (usize::MAX, 64), (BURST + 1, 64)] {
        bench.reserve(count, len, 0)?;
        bench.discard(usize::MAX)?;
    }
    bench.expect_nothing_else()
}

fn full_ring<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let ring = bench.tx_ring();
    let mut first = 0;
    while first < ring {
        first += bench.reserve(BURST, 100, first as u64)?;
    }
    demand!(bench.reserve(1, 100, 0)? == 0, "a full ring gave a frame");
    // What one commit makes free, one reserve takes.
    let step = ring.min(3);
    for done in (0..ring - ring % step).step_by(step) {
        bench.commit(step, 0)?;
        let sent: Vec<_> = (done..done + step).map(|number| (number as u64, 100)).collect();
        bench.expect(BURST, &sent)?;
        demand!(bench.reserve(step + 1, 100, (ring + done) as u64)? == step, "freed frames were not given");
    }
    bench.discard(ring)?;
    bench.expect_nothing_else()
}

fn mixed<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let most = bench.tx_ring().min(13);
    let (mut reserved, mut settled, mut step) = (0, 0, 0);
    while settled < 500 {
        reserved += bench.reserve(1 + step % most, 200, reserved)? as u64;
        let count = (1 + step % 4).min(bench.pending());
        let frames: Vec<_> = (settled..).take(count).map(|number| (number, 200)).collect();
        if step % 3 == 1 {
            bench.discard(count)?;
        } else {
            bench.commit(count, 0)?;
            bench.expect(BURST, &frames)?;
        }
        settled += count as u64;
        step += 1;
    }
    bench.discard(usize::MAX)?;
    bench.expect_nothing_else()
}

fn discarded<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let count = bench.reserve(BURST, 300, 0)?;
    bench.discard(count)?;
    bench.commit(count, 0)?;
    bench.expect_nothing_else()
}

fn partial_commit<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let count = bench.reserve(BURST, 400, 0)? as u64;
    bench.commit(1, 0)?;
    bench.expect(BURST, &[(0, 400)])?;
    // Shorter ones behind: a frame keeps the length that it was reserved with.
    let more = bench.reserve(1, 50, count)? as u64;
    demand!(more == 1, "no frame after a commit");
    let (full, part) = ((count - 1) as usize, more as usize);
    bench.commit(full + part, 0)?;
    let frames: Vec<_> = (1..count).map(|number| (number, 400)).chain([(count, 50)]).collect();
    bench.expect(BURST, &frames)
}

fn clamped<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    bench.commit(usize::MAX, 0)?;
    bench.discard(usize::MAX)?;
    let count = bench.reserve(3, 64, 0)?;
    bench.commit(count + 1, 0)?;
    let frames: Vec<_> = (0..count as u64).map(|number| (number, 64)).collect();
    bench.expect(BURST, &frames)?;
    let count = bench.reserve(3, 64, 3)?;
    bench.discard(count + 1)?;
    bench.expect_nothing_else()
}

fn wrap<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let most = bench.tx_ring().min(BURST);
    let frames = (bench.tx_ring() * 8).min(1 << 14) as u64 + 3;
    let (mut first, mut step) = (0, 0);
    while first < frames {
        let len = 1 + (step * 37) % 600;
        let count = bench.reserve(1 + step % most, len, first)?;
        bench.commit(count, 0)?;
        let sent: Vec<_> = (first..).take(count).map(|number| (number, len)).collect();
        bench.expect(BURST, &sent)?;
        first += count as u64;
        step += 1;
    }
    Ok(())
}

fn receive_limit<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    demand!(bench.receive(0)?.is_empty() && bench.receive(BURST)?.is_empty(), "a frame from nowhere");
    for limit in [1, 2, 3, BURST, BURST + 1, usize::MAX] {
        let count = bench.reserve(BURST, 64, 0)?;
        bench.commit(count, 0)?;
        let frames: Vec<_> = (0..count as u64).map(|number| (number, 64)).collect();
        bench.expect(limit, &frames)?;
    }
    // More than a burst waiting: receive stays within BURST by its type, and loses none.
    let frames: Vec<_> = (0..bench.tx_ring().min(BURST + 20) as u64).map(|number| (number, 64)).collect();
    for &(number, len) in &frames {
        bench.reserve(1, len, number)?;
    }
    bench.commit(frames.len(), 0)?;
    bench.expect(usize::MAX, &frames)
}

/// Every frame of the ring and of the receiver was long once; `expect` looks for what is left of that behind a short one.
fn stale_bytes<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let max_payload = bench.sender.capabilities().max_payload;
    let count = bench.tx_ring().min(1 << 12) as u64 + BURST as u64;
    for len in [max_payload, 1, 1027, 259] {
        let frames: Vec<_> = (0..count).map(|number| (number, len)).collect();
        bench.exchange(&frames)?;
    }
    // Frames that never left do not come back.
    bench.reserve(BURST, max_payload, 0)?;
    bench.discard(usize::MAX)?;
    for _ in 0..bench.tx_ring().div_ceil(BURST).min(64) + 1 {
        bench.reserve(BURST, 515, 0)?;
        bench.discard(usize::MAX)?;
    }
    bench.expect_nothing_else()
}

/// A frame to nobody is refused, and those around it go.
fn unreachable<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    for number in 0..20u64 {
        let frames: Vec<_> = (number * 3..).take(bench.tx_ring().min(3)).map(|number| (number, 70)).collect();
        let bad = number as usize % frames.len();
        for (at, &(number, len)) in frames.iter().enumerate() {
            if at == bad {
                // Reserved frames are addressed to nobody.
                let burst = bench.sender.reserve(1, len);
                demand!(burst.len() == 1 && *burst[0].to == Endpoint::NONE, "no empty frame to spoil");
                bench.reserved += 1;
            } else {
                bench.reserve(1, len, number)?;
            }
        }
        bench.commit(frames.len(), 1)?;
        let good: Vec<_> = frames.iter().enumerate().filter(|(at, _)| *at != bad).map(|(_, frame)| *frame).collect();
        bench.expect(BURST, &good)?;
    }
    bench.expect_nothing_else()
}

/// Both ends work from another thread, with frames reserved before the move.
fn moved<S: Port, R: Port>(bench: &mut Bench<S, R>) -> Verdict {
    let count = bench.reserve(3, 515, 0)?;
    let frames: Vec<_> = (0..count as u64).map(|number| (number, 515)).collect();
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            bench.commit(count, 0)?;
            bench.expect(BURST, &frames)
        });
        there.join().map_err(|_| String::from("a panic in the other thread"))?
    })?;
    bench.expect_nothing_else()
}
