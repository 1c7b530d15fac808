//! Once it is made, a port asks the allocator for nothing.

use crate::cable::{at, cable, small};
use drover_nic::alloc_gate::asked_during;
use drover_nic::{BURST, Endpoint, Port};

#[test]
fn af_xdp_ports_do_not_allocate() {
    assert_eq!(asked_during(|| drop(std::hint::black_box(Box::new(1)))), 2, "the count sees an allocation");
    let Some(cable) = cable(1) else { return };
    let mut a = cable.a.open_one(&cable.b, &small(), cable.a.v4);
    let mut b = cable.b.open_one(&cable.a, &small(), cable.b.v4);
    let b_at = at(&b);
    let asked = asked_during(|| {
        for round in 0..300 {
            for frame in a.reserve(1 + round % BURST, 515) {
                *frame.to = b_at;
                frame.data.fill(round as u8);
            }
            a.discard(1);
            a.commit(BURST);
            for frame in a.reserve(1, 100) {
                *frame.to = Endpoint::NONE;
            }
            a.commit(1);
            assert!(a.receive(BURST).is_empty());
            assert!(b.receive(BURST).iter().all(|frame| frame.data.len() == 515));
        }
    });
    assert_eq!(asked, 0);
    assert!(b.counters().received > 1000 && a.counters().refused == 300, "{:?} {:?}", a.counters(), b.counters());
}
