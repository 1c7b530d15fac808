//! The table by itself, its resolver played by the test.

use super::*;
use drover_wire::frame::mapped;
use proptest::prelude::*;
use std::collections::HashMap;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn v4(last: u8) -> Ip {
    mapped([10, 0, 0, last])
}

/// A table whose link is up.
fn table(capacity: usize) -> (Table, Feed) {
    let (mut table, mut feed) = Table::learned(Family::V4, capacity).expect("randomness");
    feed.updates.send(Update::Link(true)).expect("room");
    table.poll();
    (table, feed)
}

fn wants(feed: &mut Feed) -> Vec<Ip> {
    std::iter::from_fn(|| feed.wants.recv()).collect()
}

#[test]
fn a_miss_is_wanted_once_and_then_known() {
    let (mut table, mut feed) = table(8);
    assert_eq!(table.mac(&v4(1)), None);
    assert_eq!(table.mac(&v4(1)), None);
    assert_eq!(wants(&mut feed), [v4(1)]);
    feed.updates.send(Update::Set(v4(1), MAC)).expect("room");
    assert_eq!(table.mac(&v4(1)), None, "before the poll");
    table.poll();
    assert_eq!(table.mac(&v4(1)), Some(MAC));
    assert!(wants(&mut feed).is_empty());
    assert_eq!(table.counters(), TableCounters { unknown: 3, ..TableCounters::default() });
}

#[test]
fn a_probe_is_answered_once_for_what_was_used() {
    let (mut table, mut feed) = table(8);
    table.mac(&v4(1));
    wants(&mut feed);
    feed.updates.send(Update::Set(v4(1), MAC)).expect("room");
    for (used, answer) in [(false, vec![]), (true, vec![v4(1)]), (false, vec![])] {
        if used {
            assert_eq!(table.mac(&v4(1)), Some(MAC));
        }
        feed.updates.send(Update::Probe(v4(1))).expect("room");
        feed.updates.send(Update::Probe(v4(2))).expect("room");
        table.poll();
        assert_eq!(wants(&mut feed), answer);
    }
}

#[test]
fn a_full_table_remembers_no_more_and_counts() {
    let (mut table, mut feed) = table(2);
    for last in 1..=4 {
        assert_eq!(table.mac(&v4(last)), None);
    }
    assert_eq!((table.len(), wants(&mut feed).len()), (2, 2));
    assert_eq!(table.counters(), TableCounters { unknown: 4, full: 2, link_down: 0 });
    feed.updates.send(Update::Remove(v4(1))).expect("room");
    table.poll();
    assert_eq!(table.mac(&v4(4)), None);
    assert_eq!(wants(&mut feed), [v4(4)]);
}

#[test]
fn nothing_leaves_while_the_link_is_down_and_nothing_is_forgotten() {
    let (mut table, mut feed) = Table::learned(Family::V4, 2).expect("randomness");
    assert_eq!(table.mac(&v4(1)), None);
    assert!(!table.link_up() && table.is_empty() && wants(&mut feed).is_empty());
    for update in [Update::Link(true), Update::Link(false), Update::Link(true)] {
        feed.updates.send(update).expect("room");
        table.poll();
        table.mac(&v4(1));
        feed.updates.send(Update::Set(v4(1), MAC)).expect("room");
        table.poll();
    }
    assert_eq!(table.mac(&v4(1)), Some(MAC));
    assert_eq!(table.counters(), TableCounters { unknown: 1, full: 0, link_down: 2 });
}

#[test]
fn a_fixed_hop_leads_to_all_of_its_family() {
    let mut fixed = Table::fixed(Family::V6, MAC);
    fixed.poll();
    assert_eq!(fixed.mac(&[0x20; 16]), Some(MAC));
    assert_eq!(fixed.mac(&v4(1)), None);
    assert_eq!((fixed.link_up(), fixed.len()), (true, 0));
    let (mut learned, mut feed) = table(2);
    assert_eq!(learned.mac(&[0x20; 16]), None);
    assert!(wants(&mut feed).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8),
    Set(u8, u8),
    Remove(u8),
    Probe(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..12).prop_map(Step::Send),
        2 => (0u8..12, 0u8..4).prop_map(|(ip, mac)| Step::Set(ip, mac)),
        2 => (0u8..12).prop_map(Step::Remove),
        1 => (0u8..12).prop_map(Step::Probe),
    ]
}

proptest! {
    /// Against a map: what is held, what is answered, what is wanted.
    #[test]
    fn the_table_is_a_bounded_map(steps in prop::collection::vec(any_step(), 0..400), capacity in 1usize..10) {
        let (mut table, mut feed) = table(capacity);
        let mut model: HashMap<Ip, (Option<Mac>, bool)> = HashMap::new();
        for step in steps {
            let mut wanted = Vec::new();
            match step {
                Step::Send(ip) => {
                    let ip = v4(ip);
                    let room = model.len() < capacity;
                    let expected = match model.get_mut(&ip) {
                        Some((mac, used)) => {
                            *used = true;
                            *mac
                        }
                        None => {
                            if room {
                                model.insert(ip, (None, false));
                                wanted.push(ip);
                            }
                            None
                        }
                    };
                    prop_assert_eq!(table.mac(&ip), expected);
                }
                Step::Set(ip, mac) => {
                    let (ip, mac) = (v4(ip), Mac([2, 0, 0, 0, 0, mac]));
                    feed.updates.send(Update::Set(ip, mac)).expect("room");
                    if let Some((held, used)) = model.get_mut(&ip) {
                        *used &= held.is_some();
                        *held = Some(mac);
                    }
                }
                Step::Remove(ip) => {
                    feed.updates.send(Update::Remove(v4(ip))).expect("room");
                    model.remove(&v4(ip));
                }
                Step::Probe(ip) => {
                    feed.updates.send(Update::Probe(v4(ip))).expect("room");
                    if let Some((Some(_), used)) = model.get_mut(&v4(ip)) && std::mem::take(used) {
                        wanted.push(v4(ip));
                    }
                }
            }
            table.poll();
            prop_assert_eq!(wants(&mut feed), wanted);
            prop_assert_eq!(table.len(), model.len());
        }
    }
}
