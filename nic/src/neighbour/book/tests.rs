//! Books and their tables, on a clock of the test's.

use super::super::Table;
use super::*;
use drover_wire::frame::{Family, mapped};
use proptest::prelude::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 8]);
const SECOND: Duration = Duration::from_secs(1);

fn v4(last: u16) -> Ip {
    let [a, b] = last.to_be_bytes();
    mapped([10, 0, a, b])
}

struct Bench {
    book: Book,
    tables: Vec<Table>,
    now: Instant,
}

impl Bench {
    fn new(tables: usize, capacity: usize) -> Bench {
        let (tables, feeds) = (0..tables).map(|_| Table::learned(Family::V4, capacity).expect("randomness")).unzip();
        let mut bench = Bench { book: Book::new(feeds), tables, now: Instant::now() };
        bench.book.set_link(true);
        bench.settle();
        bench
    }

    /// Until nobody has anything to tell.
    fn settle(&mut self) {
        loop {
            self.book.flush();
            for table in &mut self.tables {
                // More than the ring between them holds.
                (0..100).for_each(|_| table.poll());
            }
            if !self.book.due {
                return;
            }
        }
    }

    /// New wants; then time passes.
    fn turn(&mut self, time: Duration) -> Vec<Ip> {
        let wanted = self.book.wanted(self.now);
        self.now += time;
        self.book.age(self.now);
        self.settle();
        wanted
    }
}

#[test]
fn what_is_reached_is_told_to_all_who_want_it() {
    let mut bench = Bench::new(2, 8);
    for table in &mut bench.tables {
        assert_eq!(table.mac(&v4(1)), None);
    }
    assert_eq!(bench.turn(Duration::ZERO), [v4(1)]);
    bench.book.reach(&v4(1), v4(254), None, bench.now);
    bench.book.learn(&v4(254), Some(MAC), bench.now);
    bench.settle();
    for table in &mut bench.tables {
        assert_eq!(table.mac(&v4(1)), Some(MAC));
    }
    bench.book.learn(&v4(254), Some(OTHER), bench.now);
    bench.settle();
    assert_eq!(bench.tables[1].mac(&v4(1)), Some(OTHER));
    assert!(bench.book.uses(&v4(254)) && !bench.book.uses(&v4(1)));
}

#[test]
fn who_comes_later_is_told_what_is_known_already() {
    let mut bench = Bench::new(2, 8);
    bench.tables[0].mac(&v4(1));
    bench.turn(Duration::ZERO);
    bench.book.reach(&v4(1), v4(1), Some(MAC), bench.now);
    bench.settle();
    assert_eq!(bench.tables[1].mac(&v4(1)), None);
    assert!(bench.turn(Duration::ZERO).is_empty(), "nothing new to resolve");
    assert_eq!(bench.tables[1].mac(&v4(1)), Some(MAC));
}

#[test]
fn what_is_used_stays_and_what_is_idle_goes() {
    let mut bench = Bench::new(1, 8);
    for ip in [v4(1), v4(2)] {
        bench.tables[0].mac(&ip);
        bench.turn(Duration::ZERO);
        bench.book.reach(&ip, ip, Some(MAC), bench.now);
    }
    bench.settle();
    for _ in 0..300 {
        assert_eq!(bench.tables[0].mac(&v4(1)), Some(MAC));
        assert!(bench.turn(SECOND).is_empty());
    }
    assert_eq!((bench.tables[0].len(), bench.book.destinations()), (1, vec![v4(1)]));
}

#[test]
fn what_does_not_answer_is_given_up_and_wanted_again() {
    let mut bench = Bench::new(1, 8);
    for failed in [true, false] {
        assert_eq!(bench.tables[0].mac(&v4(1)), None);
        assert_eq!(bench.turn(Duration::ZERO), [v4(1)]);
        if failed {
            bench.book.fail(&v4(1), bench.now);
        } else {
            bench.book.reach(&v4(1), v4(1), None, bench.now);
        }
        let held = if failed { FAILED } else { UNANSWERED };
        for _ in 0..held.as_secs() - 1 {
            bench.tables[0].mac(&v4(1));
            assert!(bench.turn(SECOND).is_empty(), "it is not tried at every frame");
        }
        bench.turn(SECOND);
        assert!(bench.tables[0].is_empty());
    }
}

/// A hop that is silent for a moment costs no frame; one that stays silent is given up.
#[test]
fn a_silent_hop_is_used_until_it_is_given_up() {
    let mut bench = Bench::new(1, 8);
    bench.tables[0].mac(&v4(1));
    bench.turn(Duration::ZERO);
    bench.book.reach(&v4(1), v4(1), Some(MAC), bench.now);
    bench.settle();
    for answers in [true, false] {
        bench.book.learn(&v4(1), None, bench.now);
        bench.turn(SECOND);
        assert_eq!(bench.tables[0].mac(&v4(1)), Some(MAC));
        if answers {
            bench.book.learn(&v4(1), Some(MAC), bench.now);
        }
        bench.turn(FAILED);
        assert_eq!(bench.tables[0].mac(&v4(1)), answers.then_some(MAC));
    }
}

/// Strangers' addresses fill a table; what is used stays, and there is room again soon.
#[test]
fn a_flood_of_destinations_does_not_push_out_what_is_used() {
    let mut bench = Bench::new(2, 64);
    bench.tables[0].mac(&v4(1));
    bench.turn(Duration::ZERO);
    bench.book.reach(&v4(1), v4(254), Some(MAC), bench.now);
    bench.settle();
    for second in 0..100 {
        for stranger in 0..200 {
            bench.tables[0].mac(&v4(1000 + second * 200 + stranger));
        }
        for ip in bench.turn(SECOND) {
            bench.book.reach(&ip, v4(254), Some(MAC), bench.now);
        }
        assert_eq!(bench.tables[0].mac(&v4(1)), Some(MAC), "second {second}");
        assert!(bench.book.destinations.len() <= 2 * 64);
    }
    for _ in 0..15 {
        bench.tables[0].mac(&v4(1));
        bench.turn(SECOND);
    }
    assert_eq!(bench.tables[0].len(), 1);
}

#[test]
fn a_table_that_does_not_listen_is_told_later() {
    let mut bench = Bench::new(1, 4096);
    for ip in 0..4096 {
        bench.tables[0].mac(&v4(ip));
    }
    for ip in bench.book.wanted(bench.now) {
        bench.book.reach(&ip, ip, Some(MAC), bench.now);
    }
    for _ in 0..100 {
        bench.book.flush();
    }
    assert!(bench.book.due, "the ring has less room than that");
    bench.settle();
    assert!((0..4096).all(|ip| bench.tables[0].mac(&v4(ip)) == Some(MAC)));
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize, u16),
    Poll(usize),
    Learn(u16, bool),
    Reach(u16, u16),
    Fail(u16),
    Flush,
    Pass(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..2, 0u16..10).prop_map(|(table, ip)| Step::Send(table, ip)),
        3 => (0usize..2).prop_map(Step::Poll),
        2 => (0u16..3, any::<bool>()).prop_map(|(hop, up)| Step::Learn(hop, up)),
        3 => (0u16..10, 0u16..3).prop_map(|(ip, hop)| Step::Reach(ip, hop)),
        1 => (0u16..10).prop_map(Step::Fail),
        3 => Just(Step::Flush),
        2 => (0u8..20).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever was said in whatever order, a destination that is still used ends up known, and one that is not is let
    /// go.
    #[test]
    fn books_and_tables_agree_in_the_end(steps in prop::collection::vec(any_step(), 0..200)) {
        let mut bench = Bench::new(2, 6);
        for step in steps {
            match step {
                Step::Send(table, ip) => drop(bench.tables[table].mac(&v4(ip))),
                Step::Poll(table) => bench.tables[table].poll(),
                Step::Learn(hop, up) => bench.book.learn(&v4(hop), up.then_some(OTHER), bench.now),
                Step::Reach(ip, hop) => bench.book.reach(&v4(ip), v4(hop), Some(OTHER), bench.now),
                Step::Fail(ip) => bench.book.fail(&v4(ip), bench.now),
                Step::Flush => bench.book.flush(),
                Step::Pass(seconds) => {
                    bench.book.wanted(bench.now);
                    bench.now += SECOND * u32::from(seconds);
                    bench.book.age(bench.now);
                }
            }
        }
        for _ in 0..80 {
            bench.tables[0].mac(&v4(1));
            for ip in bench.turn(SECOND) {
                bench.book.reach(&ip, ip, Some(MAC), bench.now);
            }
        }
        for _ in 0..10 {
            bench.tables[0].mac(&v4(1));
            bench.turn(SECOND);
        }
        prop_assert!(bench.tables[0].mac(&v4(1)).is_some());
        prop_assert_eq!((bench.tables[0].len(), bench.book.destinations()), (1, vec![v4(1)]));
        prop_assert!(bench.tables[1].len() <= 1, "it may hold what the other one uses");
    }
}
