//! The resolver and the running kernel, in namespaces of the tests' own.

use super::super::Table;
use super::*;
use crate::netns::{Namespace, veth};
use crate::skip::skipped;
use drover_wire::frame::mapped;

/// A port's side and a peer's, on a cable; none, said as a skip, where we may not make them.
struct Cable {
    near: Namespace,
    far: Namespace,
}

impl Cable {
    fn new() -> Option<Cable> {
        let made = Namespace::new().and_then(|near| Ok(Cable { near, far: Namespace::new()? }));
        let cable = match made {
            Ok(cable) => cable,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                skipped(format_args!("neighbours: {error}"));
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        veth(&cable.near, "near", &cable.far, "far", 1, 1500).expect("a cable");
        for (namespace, name, number) in [(&cable.near, "near", 1), (&cable.far, "far", 2)] {
            namespace.address(name, &format!("10.1.0.{number}/24")).expect("IPv4");
            namespace.address(name, &format!("2001:db8::{number}/64")).expect("IPv6");
            namespace.up(name).expect("up");
        }
        Some(cable)
    }

    fn far_mac(&self) -> Mac {
        self.far.interface("far").expect("there").mac.expect("Ethernet")
    }

    fn config(&self, local: &str) -> Config {
        let mac = self.near.interface("near").expect("there").mac.expect("Ethernet");
        Config { interface: "near".into(), local: ip(local), mac, mtu: 1079 }
    }

    fn resolver(&self, local: &str) -> (Table, Resolver) {
        let (table, feed) = Table::learned(Family::of(&ip(local)), 16).expect("randomness");
        let config = self.config(local);
        let resolver = self.near.run(|| Resolver::start(config, vec![feed])).expect("entered").expect("started");
        (table, resolver)
    }
}

fn ip(text: &str) -> Ip {
    ip_of(text.parse().expect("a literal address"))
}

/// Polls a table until `holds`, as a port does without end.
fn until(table: &mut Table, what: &str, mut holds: impl FnMut(&mut Table) -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !holds(table) {
        assert!(Instant::now() < limit, "not within 30 s: {what}");
        table.poll();
        std::thread::yield_now();
    }
}

#[test]
fn neighbours_and_gateways_are_found() {
    let Some(cable) = Cable::new() else { return };
    cable.near.route("192.0.2.0/24", "10.1.0.2".parse().unwrap()).expect("a route");
    cable.near.route("2001:db8:7::/48", "2001:db8::2".parse().unwrap()).expect("a route");
    for (local, peers) in [("10.1.0.1", ["10.1.0.2", "192.0.2.7"]), ("2001:db8::1", ["2001:db8::2", "2001:db8:7::7"])] {
        let (mut table, resolver) = cable.resolver(local);
        for peer in peers {
            until(&mut table, peer, |table| table.mac(&ip(peer)) == Some(cable.far_mac()));
        }
        let status = resolver.status();
        assert!(table.link_up() && status.link_up && status.running && status.requests > 0);
        assert_eq!((status.refused, status.lost), (0, 0));
    }
}

/// No route; a route by another interface; the port's own address; a group; everybody.
#[test]
fn what_cannot_be_reached_by_the_interface_is_given_up() {
    let Some(cable) = Cable::new() else { return };
    let other = Namespace::new().expect("as before");
    veth(&cable.near, "other", &other, "eth0", 1, 1500).expect("a cable");
    cable.near.address("other", "10.9.0.1/24").expect("an address");
    cable.near.up("other").expect("up");
    other.up("eth0").expect("up");
    let (mut table, resolver) = cable.resolver("10.1.0.1");
    for (failures, peer) in ["203.0.113.1", "10.9.0.2", "10.1.0.1", "224.0.0.1", "10.1.0.255"].into_iter().enumerate() {
        until(&mut table, peer, |table| {
            assert_eq!(table.mac(&ip(peer)), None);
            resolver.status().failures > failures as u64
        });
    }
    assert_eq!(resolver.status().requests, 0);
    until(&mut table, "an empty table", |table| table.is_empty());
}

#[test]
fn a_neighbour_that_moves_is_followed() {
    let Some(cable) = Cable::new() else { return };
    let (mut table, _resolver) = cable.resolver("10.1.0.1");
    let peer = ip("10.1.0.2");
    until(&mut table, "the neighbour", |table| table.mac(&peer).is_some());
    let moved = Mac([2, 0, 0, 0, 0, 0x77]);
    let mut entry = NeighbourMessage::default();
    entry.header.family = AddressFamily::Inet;
    entry.header.ifindex = cable.near.interface("near").expect("there").index;
    entry.header.state = NeighbourState::Permanent;
    entry.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 1, 0, 2].into())),
        NeighbourAttribute::LinkLayerAddress(moved.0.to_vec()),
    ];
    let change = |request| {
        let asked = || Netlink::open(0)?.ask(request, NLM_F_CREATE | netlink_packet_core::NLM_F_REPLACE);
        cable.near.run(asked).expect("entered").expect("changed");
    };
    change(RouteNetlinkMessage::NewNeighbour(entry.clone()));
    until(&mut table, "the new address", |table| table.mac(&peer) == Some(moved));
    // Cleared away: it is asked for again, and meanwhile not forgotten.
    change(RouteNetlinkMessage::DelNeighbour(entry));
    until(&mut table, "the true address", |table| table.mac(&peer).expect("known throughout") == cable.far_mac());
}

/// Once is no proof: what was known is kept while the kernel asks again. Twice is.
#[test]
fn a_neighbour_is_doubted_before_it_is_given_up() {
    let Some(cable) = Cable::new() else { return };
    let config = cable.config("10.1.0.1");
    let new = || Work::new(config.clone(), Interface::named("near")?.index, Vec::new(), Arc::default());
    let mut work = cable.near.run(new).expect("entered").expect("made");
    let (peer, now, mac) = (ip("10.1.0.2"), Instant::now(), Mac([2, 0, 0, 0, 0, 0x77]));
    work.hops.insert(peer, Hop { mac: Some(mac), asked: now, doubted: false });
    let mut failed = work.neighbour_request(&peer);
    failed.header.state = NeighbourState::Failed;
    for (kept, requests) in [(Some(mac), 1), (None, 1)] {
        work.neighbour(&failed, now);
        assert_eq!(work.hops[&peer].mac, kept);
        assert_eq!(work.shared.requests.load(Ordering::Relaxed), requests);
    }
    // Another interface's neighbours, and neighbours that nobody wants, are nothing to us.
    let mut reachable = failed;
    reachable.header.state = NeighbourState::Reachable;
    reachable.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    reachable.header.ifindex += 1000;
    work.neighbour(&reachable, now);
    assert_eq!(work.hops[&peer].mac, None);
    reachable.header.ifindex -= 1000;
    work.neighbour(&reachable, now);
    assert_eq!(work.hops[&peer].mac, Some(mac));
    reachable.attributes[0] = NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 1, 0, 3].into()));
    work.neighbour(&reachable, now);
    assert_eq!(work.hops.len(), 1);
}

#[test]
fn a_route_that_changes_is_followed() {
    let Some(cable) = Cable::new() else { return };
    let (mut table, resolver) = cable.resolver("10.1.0.1");
    let peer = ip("192.0.2.7");
    until(&mut table, "no route", |table| table.mac(&peer).is_some() || resolver.status().failures > 0);
    cable.near.route("192.0.2.0/24", "10.1.0.2".parse().unwrap()).expect("a route");
    until(&mut table, "the new route", |table| table.mac(&peer) == Some(cable.far_mac()));
}

#[test]
fn the_link_is_followed() {
    let Some(cable) = Cable::new() else { return };
    let (mut table, resolver) = cable.resolver("10.1.0.1");
    let peer = ip("10.1.0.2");
    until(&mut table, "the neighbour", |table| table.mac(&peer).is_some());
    cable.far.set_up("far", false).expect("down");
    until(&mut table, "a link without a carrier", |table| !table.link_up());
    assert_eq!(table.mac(&peer), None);
    cable.far.set_up("far", true).expect("up");
    until(&mut table, "a carrier again", |table| table.mac(&peer) == Some(cable.far_mac()));
    cable.near.set_mtu("near", 1078).expect("set");
    until(&mut table, "no room for our packets", |table| !table.link_up());
    cable.near.set_mtu("near", 1079).expect("set");
    until(&mut table, "room again", |table| table.link_up());
    assert!(resolver.status().link_up);
    // The peer's namespace goes, and with it both ends of the cable.
    let Cable { near: _near, far } = cable;
    drop(far);
    until(&mut table, "no interface", |table| !table.link_up());
}

#[test]
fn what_the_interface_lacks_is_said() {
    let Some(cable) = Cable::new() else { return };
    let start = |config| cable.near.run(|| Resolver::start(config, Vec::new())).expect("entered").expect_err("refused");
    let config = cable.config("10.1.0.1");
    let missing = start(Config { interface: "nosuchif0".into(), ..config.clone() });
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let address = start(Config { local: mapped([10, 1, 0, 77]), ..config.clone() });
    assert_eq!(address.kind(), io::ErrorKind::AddrNotAvailable);
    assert!(address.to_string().contains("10.1.0.77"), "{address}");
    let far_away = start(Config { local: ip("2001:db8::77"), ..config });
    assert_eq!(far_away.kind(), io::ErrorKind::AddrNotAvailable);
}
