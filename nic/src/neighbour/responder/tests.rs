//! Responders on a wire, on a clock of the test's, and beside a running kernel.

use super::super::{Table, ip_of};
use super::*;
use drover_wire::frame::{Checksum, Template, mapped, parse};
use proptest::prelude::*;
use smoltcp::wire::NdiscRepr;

mod kernel;

const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> Ip {
    ip_of(text.parse().expect("a literal address"))
}

fn config(address: &str, mac: u8, vlan: Option<u16>) -> Config {
    let (address, prefix_len) = address.split_once('/').expect("a prefix");
    let local = Local { mac: Mac([2, 0, 0, 0, 0, mac]), vlan, ip: ip(address) };
    Config { local, prefix_len: prefix_len.parse().expect("a number"), gateway: None }
}

/// A port's responder and table.
struct Host {
    config: Config,
    responder: Responder,
    table: Table,
}

impl Host {
    fn new(config: Config, now: Instant) -> Host {
        let (table, feed) = Table::learned(config.local.family(), 64).expect("randomness");
        let mut responder = Responder::new(config, vec![feed], now).expect("a good configuration");
        responder.set_link(true, now);
        let mut host = Host { config, responder, table };
        host.responder.book.flush();
        host.table.poll();
        assert!(host.table.link_up());
        host
    }

    fn turn(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        self.responder.turn(now, |frame| sent.push(frame.to_vec()));
        (0..64).for_each(|_| self.table.poll());
        sent
    }

    fn hear(&mut self, frame: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut sent = None;
        self.responder.hear(frame, now, |frame| sent = Some(frame.to_vec()));
        sent
    }
}

/// Two hosts of each kind of link.
fn pairs(now: Instant) -> Vec<(Host, Host)> {
    let mut pairs = Vec::new();
    for vlan in [None, Some(7)] {
        for (a, b) in [("10.1.0.1/24", "10.1.0.2/24"), ("2001:db8::1/64", "2001:db8::2/64")] {
            pairs.push((Host::new(config(a, 1, vlan), now), Host::new(config(b, 2, vlan), now)));
        }
    }
    pairs
}

/// One turn of both; what each says the other hears.
fn talk(a: &mut Host, b: &mut Host, now: Instant) {
    for frame in a.turn(now) {
        b.hear(&frame, now).into_iter().for_each(|frame| drop(a.hear(&frame, now)));
    }
    for frame in b.turn(now) {
        a.hear(&frame, now).into_iter().for_each(|frame| drop(b.hear(&frame, now)));
    }
    a.turn(now);
    b.turn(now);
}

#[test]
fn hosts_find_each_other_and_keep_each_other() {
    let mut now = Instant::now();
    for (mut a, mut b) in pairs(now) {
        let (near, far) = (a.config.local, b.config.local);
        assert_eq!(a.table.mac(&far.ip), None);
        talk(&mut a, &mut b, now);
        assert_eq!(a.table.mac(&far.ip), Some(far.mac));
        assert_eq!(b.responder.counters().answered, 1);
        for _ in 0..300 {
            now += SECOND;
            talk(&mut a, &mut b, now);
            assert_eq!(a.table.mac(&far.ip), Some(far.mac));
        }
        assert_eq!(a.responder.counters().asked, 11, "once, and then every 30 s");
        // Silence: the questions go on for a while, then frames no longer leave.
        let mut known = 0;
        for _ in 0..60 {
            now += SECOND;
            a.turn(now);
            known += u32::from(a.table.mac(&far.ip).is_some());
        }
        assert!((1..40).contains(&known), "known for {known} s");
        let back = (0..10).any(|_| {
            now += SECOND;
            talk(&mut a, &mut b, now);
            a.table.mac(&far.ip) == Some(far.mac)
        });
        assert!(back, "it answers again");
        assert_eq!(a.responder.counters().conflicts + b.responder.counters().conflicts, 0);
        assert!(b.table.mac(&near.ip).is_none(), "nobody learns who asked");
    }
}

#[test]
fn hosts_of_another_vlan_are_not_heard() {
    let now = Instant::now();
    let mut a = Host::new(config("10.1.0.1/24", 1, Some(7)), now);
    for vlan in [None, Some(8)] {
        let mut b = Host::new(config("10.1.0.2/24", 2, vlan), now);
        a.table.mac(&b.config.local.ip);
        talk(&mut a, &mut b, now);
        assert_eq!(b.responder.counters().answered, 0);
        assert_eq!(a.table.mac(&b.config.local.ip), None);
    }
}

/// Destinations and their next hops.
type Ways = &'static [(&'static str, Option<&'static str>)];

#[test]
fn what_is_off_the_link_goes_by_the_gateway() {
    let cases: [(&str, Option<&str>, Ways); 4] = [
        (
            "10.1.0.1/24",
            Some("10.1.0.254"),
            &[
                ("10.1.0.7", Some("10.1.0.7")),
                ("10.1.1.7", Some("10.1.0.254")),
                ("192.0.2.1", Some("10.1.0.254")),
                ("10.1.0.0", None),
                ("10.1.0.255", None),
                ("10.1.0.1", None),
                ("224.0.0.1", None),
                ("255.255.255.255", None),
                ("127.0.0.1", None),
                ("2001:db8::7", None),
            ],
        ),
        ("10.1.0.1/24", None, &[("10.1.0.7", Some("10.1.0.7")), ("192.0.2.1", None)]),
        ("10.1.0.0/31", None, &[("10.1.0.1", Some("10.1.0.1")), ("10.1.0.2", None)]),
        (
            "2001:db8::1/64",
            Some("fe80::1"),
            &[
                ("2001:db8::7", Some("2001:db8::7")),
                ("2001:db8:1::7", Some("fe80::1")),
                ("fe80::7", None),
                ("ff02::1", None),
                ("::1", None),
                ("10.1.0.7", None),
            ],
        ),
    ];
    for (address, gateway, hops) in cases {
        let config = Config { gateway: gateway.map(ip), ..config(address, 1, None) };
        assert_eq!(wrong(&config, 1), None);
        for (to, hop) in hops {
            assert_eq!(config.next_hop(&ip(to)), hop.map(ip), "{address} to {to}");
        }
    }
    let now = Instant::now();
    let mut host = Host::new(Config { gateway: Some(ip("10.1.0.2")), ..config("10.1.0.1/24", 1, None) }, now);
    let mut router = Host::new(config("10.1.0.2/24", 2, None), now);
    for last in 1..=40 {
        host.table.mac(&mapped([192, 0, 2, last]));
    }
    host.table.mac(&mapped([127, 0, 0, 1]));
    talk(&mut host, &mut router, now);
    assert!((1..=40).all(|last| host.table.mac(&mapped([192, 0, 2, last])) == Some(router.config.local.mac)));
    let counters = host.responder.counters();
    assert_eq!((counters.asked, counters.unroutable), (1, 1), "one question for all of them");
}

#[test]
fn rates_hold_a_flood_back() {
    let now = Instant::now();
    for (mut a, mut b) in pairs(now) {
        let (near, far) = (a.config.local, b.config.local);
        b.turn(now);
        let question = messages::question(&near, &far.ip, None);
        let answered = (0..1000).filter(|_| b.hear(&question, now).is_some()).count();
        assert_eq!(answered, ANSWERS_A_SECOND as usize);
        let request = request(&near, &far, b"echo");
        let echoed = (0..1000).filter(|_| b.hear(&request, now).is_some()).count();
        assert_eq!(echoed, ECHOES_A_SECOND as usize);
        let counters = b.responder.counters();
        assert_eq!(counters.limited, 2000 - u64::from(ANSWERS_A_SECOND + ECHOES_A_SECOND));
        assert!(b.hear(&question, now + SECOND).is_some() && b.hear(&request, now + SECOND).is_some());
        // More to ask for than may be asked: what is left waits for its turn, and nothing is kept of it for long.
        let (table, feed) = Table::learned(near.family(), 1000).expect("randomness");
        a = Host { responder: Responder::new(a.config, vec![feed], now).expect("good"), table, ..a };
        a.responder.set_link(true, now);
        poll_up(&mut a, now);
        for number in 0..1000u16 {
            let mut to = far.ip;
            to[14..].copy_from_slice(&(number + 1000).to_be_bytes());
            a.table.mac(&to);
        }
        let asked = a.turn(now).len();
        assert!(asked <= QUESTIONS_A_SECOND as usize, "{asked}");
        for second in 1..10 {
            a.turn(now + SECOND * second);
        }
        (0..1000).for_each(|_| a.table.poll());
        assert!(a.turn(now + 20 * SECOND).is_empty() && a.responder.hops.is_empty() && a.table.is_empty());
    }
}

fn poll_up(host: &mut Host, now: Instant) {
    host.turn(now);
    assert!(host.table.link_up());
}

/// An echo request, made of a reply: the types are 8 and 0, 128 and 129.
fn request(from: &Local, to: &Local, data: &[u8]) -> Vec<u8> {
    let mut frame = messages::echo(from, &to.ip, to.mac, 0x1234, 0x5678, data);
    let icmp = from.headers_len() - drover_wire::frame::UDP;
    let (kind, more) = if from.family() == Family::V4 { (8, 0x0800u16) } else { (128, 0x0100) };
    // The checksum takes the change up (RFC 1624): one word grows, so its complement shrinks, or the reverse.
    let word = |frame: &[u8], at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let sum = word(&frame, icmp + 2);
    let sum = if from.family() == Family::V4 { minus(sum, more) } else { minus(sum, !more) };
    frame[icmp] = kind;
    frame[icmp + 2..icmp + 4].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn minus(sum: u16, less: u16) -> u16 {
    let (difference, borrow) = sum.overflowing_sub(less);
    difference.wrapping_sub(borrow.into())
}

#[test]
fn an_echo_gives_back_what_was_sent() {
    let now = Instant::now();
    for (a, mut b) in pairs(now) {
        let (near, far) = (a.config.local, b.config.local);
        for data in [&b""[..], b"odd", &[0xa5; 1400]] {
            let reply = b.hear(&request(&near, &far, data), now).expect("an echo");
            assert_eq!(reply, messages::echo(&far, &near.ip, near.mac, 0x1234, 0x5678, data));
        }
        // Not to nobody, not to all, not to another's address, not twice round.
        for (from, to) in [
            (Local { mac: Mac::BROADCAST, ..near }, far),
            (near, Local { mac: Mac::BROADCAST, ..far }),
            (near, Local { ip: near.ip, ..far }),
        ] {
            assert_eq!(b.hear(&request(&from, &to, b"echo"), now), None);
        }
        let reply = messages::echo(&near, &far.ip, far.mac, 1, 2, b"reply");
        assert_eq!(b.hear(&reply, now), None);
        assert_eq!(b.responder.counters().ignored, 4);
    }
}

#[test]
fn only_what_is_wanted_is_learned() {
    let mut now = Instant::now();
    for (mut a, b) in pairs(now) {
        let (near, far) = (a.config.local, b.config.local);
        a.turn(now);
        let asker = Asker { ip: Some(near.ip), mac: near.mac };
        let unwanted = messages::answer(&far, asker);
        a.hear(&unwanted, now);
        assert!(a.responder.hops.is_empty() && a.responder.counters().ignored == 1);
        a.table.mac(&far.ip);
        a.turn(now);
        a.hear(&messages::answer(&far, asker), now);
        a.turn(now);
        assert_eq!(a.table.mac(&far.ip), Some(far.mac));
        // It says that it has moved: it is believed, and asked.
        let moved = Local { mac: Mac([2, 0, 0, 0, 0, 9]), ..far };
        a.hear(&messages::announcement(&moved), now);
        a.turn(now);
        assert_eq!(a.table.mac(&far.ip), Some(moved.mac));
        now += ASK_EVERY;
        assert_eq!(a.turn(now).len(), 1);
        // Somebody claims our own address; a group; nobody.
        a.hear(&messages::announcement(&Local { mac: far.mac, ..near }), now);
        assert_eq!(a.responder.counters().conflicts, 1);
        a.hear(&messages::announcement(&Local { mac: Mac([3; 6]), ..far }), now);
        a.turn(now);
        assert_eq!(a.table.mac(&far.ip), Some(moved.mac));
    }
}

#[test]
fn a_link_that_comes_up_is_announced() {
    let now = Instant::now();
    for (mut a, _) in pairs(now) {
        assert_eq!(a.turn(now), [messages::announcement(&a.config.local)]);
        assert!(a.turn(now).is_empty());
        a.responder.set_link(false, now);
        a.turn(now);
        assert!(!a.table.link_up());
        a.responder.set_link(true, now);
        assert_eq!(a.turn(now).len(), 1);
        assert!(a.table.link_up());
    }
}

#[test]
fn who_asks_whether_an_address_is_taken_is_told() {
    let now = Instant::now();
    for (a, mut b) in pairs(now) {
        let (near, far) = (a.config.local, b.config.local);
        let nobody = Local { ip: if far.family() == Family::V4 { mapped([0; 4]) } else { [0; 16] }, ..near };
        let (probe, told) = match far.family() {
            Family::V4 => (messages::question(&nobody, &far.ip, None), near.mac),
            Family::V6 => {
                let group = messages::solicited_node(&far.ip);
                let ask = NdiscRepr::NeighborSolicit { target_addr: far.ip.into(), lladdr: None };
                let to_all = Mac([0x33, 0x33, 0, 0, 0, 1]);
                (messages::discovery(&nobody, messages::group_mac(group), group, ask), to_all)
            }
        };
        let answer = b.hear(&probe, now).expect("an answer");
        assert_eq!(answer[..12], [told.0, far.mac.0].concat());
        if far.family() == Family::V6 {
            assert_eq!(
                b.hear(&messages::question(&nobody, &far.ip, None), now),
                None,
                "with an option: RFC 4861, 7.1.1"
            );
        }
    }
}

#[test]
fn what_no_host_can_be_is_refused() {
    let good = config("10.1.0.1/24", 1, None);
    let cases = [
        Config { local: Local { ip: ip("10.1.0.255"), ..good.local }, ..good },
        Config { local: Local { ip: ip("224.0.0.1"), ..good.local }, ..good },
        Config { local: Local { mac: Mac::BROADCAST, ..good.local }, ..good },
        Config { prefix_len: 33, ..good },
        Config { gateway: Some(ip("10.2.0.1")), ..good },
        Config { gateway: Some(ip("10.1.0.1")), ..good },
        Config { gateway: Some(ip("2001:db8::1")), ..good },
    ];
    for case in cases {
        let refused = Responder::new(case, Vec::new(), Instant::now()).err().expect("refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().len() > 20);
    }
}

/// A bit that is changed in neighbour discovery or an echo is noticed, or means nothing.
#[test]
fn every_bit_of_icmp_counts_or_changes_nothing() {
    let now = Instant::now();
    for (a, b) in pairs(now) {
        let (near, far) = (a.config.local, b.config.local);
        let mut frames = vec![request(&near, &far, b"echo")];
        if near.family() == Family::V6 {
            frames.push(messages::question(&near, &far.ip, None));
            frames.push(messages::answer(&near, Asker { ip: Some(far.ip), mac: far.mac }));
        }
        for frame in frames {
            let meant = messages::hear(&frame, &far).expect("a good frame");
            let headers = far.headers_len() - drover_wire::frame::UDP;
            for bit in 12 * 8..(headers + 8) * 8 {
                let mut changed = frame.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                if let Some(same) = messages::hear(&changed, &far) {
                    assert_eq!(same, meant, "bit {bit}");
                }
            }
        }
    }
}

/// Neighbour discovery that came through a router is not believed (RFC 4861, 7.1).
#[test]
fn neighbours_are_on_the_link() {
    for (a, b) in pairs(Instant::now()) {
        let (near, far) = (a.config.local, b.config.local);
        if near.family() == Family::V4 {
            continue;
        }
        let ip = near.headers_len() - drover_wire::frame::UDP - drover_wire::frame::IPV6;
        let asker = Asker { ip: Some(far.ip), mac: far.mac };
        for mut frame in [messages::question(&near, &far.ip, None), messages::answer(&near, asker)] {
            assert!(messages::hear(&frame, &far).is_some());
            frame[ip + 7] = 254;
            assert_eq!(messages::hear(&frame, &far), None);
        }
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let good = || {
        let mut frames = Vec::new();
        for (a, b) in pairs(Instant::now()) {
            let (near, far) = (a.config.local, b.config.local);
            let template = Template::new(&near, 1);
            let mut datagram = vec![0; near.headers_len()];
            template.write(&mut datagram, far.mac, &far.ip, 2, b"", Checksum::Software);
            frames.extend([
                messages::question(&near, &far.ip, None),
                messages::answer(&near, Asker { ip: Some(far.ip), mac: far.mac }),
                messages::answer(&near, Asker { ip: None, mac: far.mac }),
                messages::announcement(&near),
                request(&near, &far, b"echo"),
                datagram,
            ]);
        }
        frames
    };
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5);
    (prop::sample::select(good()), changes, 0usize..100).prop_map(|(mut frame, changes, cut)| {
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        frame.truncate(frame.len().saturating_sub(cut.saturating_sub(60)));
        frame
    })
}

proptest! {
    /// Whatever is heard: no panic, no growth, at most one frame back, no longer than the one that came or the
    /// shortest, and to nobody else's benefit than the one who is named in it.
    #[test]
    fn any_frames_are_borne(
        frames in prop::collection::vec(any_frame(), 1..20), noise in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let now = Instant::now();
        for (_, mut b) in pairs(now) {
            b.table.mac(&ip("10.1.0.1"));
            b.table.mac(&ip("2001:db8::1"));
            b.turn(now);
            for frame in frames.iter().chain([&noise]) {
                let sent = b.hear(frame, now);
                if let Some(sent) = sent {
                    prop_assert!(concerns(frame, &b.config.local));
                    prop_assert!(sent.len() <= frame.len().max(90), "{} for {}", sent.len(), frame.len());
                    prop_assert_eq!(&sent[6..12], &b.config.local.mac.0);
                }
                if concerns(frame, &b.config.local) {
                    prop_assert!(parse(frame, &b.config.local, Checksum::Offload).is_err(), "datagrams are the port's");
                }
                prop_assert!(b.responder.hops.len() <= 1);
            }
            b.turn(now + SECOND);
        }
    }
}
