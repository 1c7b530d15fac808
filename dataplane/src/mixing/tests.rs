use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// No link.
const NONE: [u32; 0] = [];
const THREE: Mixing = Mixing::Threshold { circuits: 3, cap_ns: 100 };

/// All links that are due.
fn due(mixer: &mut Mixer, now: u64) -> Vec<u32> {
    mixer.pass(now);
    std::iter::from_fn(|| mixer.next_due(now)).collect()
}

#[test]
fn cells_of_one_circuit_are_not_enough_however_many() {
    let (mut mixer, mut flooder, mut others) = (Mixer::new(THREE, 4), 0, [0; 2]);
    for _ in 0..1_000 {
        mixer.arrive(2, Some(&mut flooder), 0);
    }
    (0..1_000).for_each(|_| mixer.arrive(2, None, 0));
    assert_eq!(due(&mut mixer, 99), NONE);
    mixer.arrive(2, Some(&mut others[0]), 50);
    assert_eq!(due(&mut mixer, 99), NONE);
    mixer.arrive(2, Some(&mut others[1]), 60);
    assert_eq!(due(&mut mixer, 60), [2]);
    // The next batch begins anew, also its clock.
    mixer.arrive(2, Some(&mut flooder), 70);
    mixer.arrive(2, Some(&mut others[0]), 80);
    assert_eq!(due(&mut mixer, 169), NONE);
    assert_eq!(due(&mut mixer, 170), [2]);
    assert_eq!(due(&mut mixer, 1_000), NONE);
}

#[test]
fn the_oldest_is_first_and_who_is_full_does_not_wait() {
    let mut mixer = Mixer::new(THREE, 4);
    let mut circuits = [[0; 4]; 4];
    for (link, now) in [(0, 0), (1, 10), (2, 20), (3, 30)] {
        mixer.arrive(link, Some(&mut circuits[link as usize][0]), now);
    }
    for circuit in &mut circuits[2][1..3] {
        mixer.arrive(2, Some(circuit), 40);
    }
    assert_eq!(due(&mut mixer, 40), [2]);
    // What comes for it now stands behind the others.
    mixer.arrive(2, Some(&mut circuits[2][0]), 50);
    assert_eq!(due(&mut mixer, 109), [0]);
    assert_eq!(due(&mut mixer, 149), [1, 3]);
    assert_eq!(due(&mut mixer, 150), [2]);
}

#[test]
fn what_goes_is_not_counted() {
    let (mut mixer, mut a, mut b, mut c) = (Mixer::new(THREE, 2), 0, 0, 0);
    mixer.arrive(0, Some(&mut a), 0);
    mixer.arrive(0, Some(&mut b), 0);
    mixer.withdraw(0, Some(&mut b), true);
    mixer.arrive(0, Some(&mut c), 1);
    assert_eq!(due(&mut mixer, 2), NONE, "two circuits are left");
    mixer.arrive(0, Some(&mut b), 3);
    assert_eq!(due(&mut mixer, 3), [0]);
    mixer.withdraw(0, Some(&mut a), false);
    mixer.arrive(0, Some(&mut b), 4);
    mixer.withdraw(0, Some(&mut b), false);
    mixer.arrive(1, Some(&mut c), 5);
    mixer.forget(1);
    assert_eq!(due(&mut mixer, 1_000), NONE);
}

#[test]
fn intervals_are_a_grid_that_stalls_do_not_shift() {
    let (mut mixer, mut circuit) = (Mixer::new(Mixing::Interval { ns: 100 }, 2), 0);
    assert_eq!(due(&mut mixer, 130), NONE);
    assert_eq!(mixer.interval_ends(), 200);
    mixer.arrive(0, Some(&mut circuit), 199);
    assert_eq!(due(&mut mixer, 199), NONE);
    mixer.arrive(1, Some(&mut circuit), 200);
    assert_eq!(due(&mut mixer, 200), [0]);
    assert_eq!(due(&mut mixer, 950), [1]);
    assert_eq!(mixer.interval_ends(), 1_000);
}

/// What happens to a mixer of four links with six circuits each.
#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive(u32, usize),
    Withdraw(u32, usize),
    Forget(u32),
    Wait(u64),
    Take(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0u32..4, 0usize..6).prop_map(|(link, circuit)| Event::Arrive(link, circuit)),
        2 => (0u32..4, 0usize..6).prop_map(|(link, circuit)| Event::Withdraw(link, circuit)),
        1 => (0u32..4).prop_map(Event::Forget),
        3 => (0u64..60).prop_map(Event::Wait),
        4 => (1usize..5).prop_map(Event::Take),
    ]
}

/// The same, said plainly: each link's waiting circuits, and when the first cell came.
type Plain = BTreeMap<u32, (u64, BTreeSet<usize>)>;

proptest! {
    #[test]
    fn it_is_what_the_rules_say(threshold in any::<bool>(), events in proptest::collection::vec(event(), 1..200)) {
        let mixing = if threshold { THREE } else { Mixing::Interval { ns: 100 } };
        let (mut mixer, mut counted) = (Mixer::new(mixing, 4), [[0u32; 6]; 4]);
        let (mut plain, mut full, mut now) = (Plain::new(), BTreeSet::new(), 0);
        mixer.pass(now);
        for event in events {
            match event {
                Event::Arrive(link, circuit) => {
                    mixer.arrive(link, Some(&mut counted[link as usize][circuit]), now);
                    let (_, circuits) = plain.entry(link).or_insert((now, BTreeSet::new()));
                    circuits.insert(circuit);
                    if circuits.len() >= 3 {
                        full.insert(link);
                    }
                }
                Event::Withdraw(link, circuit) => {
                    let left = match plain.get_mut(&link) {
                        Some((_, circuits)) => {
                            circuits.remove(&circuit);
                            !circuits.is_empty()
                        }
                        None => false,
                    };
                    mixer.withdraw(link, Some(&mut counted[link as usize][circuit]), left);
                    if !left {
                        plain.remove(&link);
                        full.remove(&link);
                    }
                }
                Event::Forget(link) => {
                    mixer.forget(link);
                    plain.remove(&link);
                    full.remove(&link);
                }
                Event::Wait(ns) => now += ns,
                Event::Take(most) => {
                    mixer.pass(now);
                    for _ in 0..most {
                        let is_due = |link: &u32, since: u64| match mixing {
                            Mixing::Threshold { .. } => full.contains(link) || now - since >= 100,
                            Mixing::Interval { .. } => since < now / 100 * 100,
                        };
                        let oldest = plain.iter().filter(|(link, (since, _))| is_due(link, *since)).map(|(_, (since, _))| *since).min();
                        let taken = mixer.next_due(now);
                        prop_assert_eq!(taken.is_some(), oldest.is_some());
                        let Some(link) = taken else { break };
                        let (since, _) = plain.remove(&link).expect("has cells");
                        prop_assert!((threshold && full.contains(&link)) || Some(since) == oldest);
                        // Who is full goes first.
                        prop_assert!(!threshold || full.is_empty() || full.remove(&link));
                    }
                }
            }
        }
    }
}
