//! A lab network from a few numbers: `drover lab keys`.

use super::network::{CALLS_MAX, CROWD_MAX, Call, Class, Crowd, Kind, Link, Network, Node, NodeKind};
use super::secret::FileSecret;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Mixes of a chain: a call needs four, two of each side.
pub const MIXES: std::ops::RangeInclusive<usize> = 4..=64;
/// Slots of a client link's round: one for a call, one for control.
pub const CLIENT_SLOTS: u32 = 2;
/// Least slots of a mix link's round.
pub const MIX_SLOTS: u32 = 4;
/// Rounds a second of idle links.
pub const IDLE_ROUNDS: u32 = 10;

/// What the network shall be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Mixes m1, m2, …, in a chain; [`MIXES`].
    pub mixes: usize,
    /// Calls, each with a caller and a callee of its own.
    pub calls: usize,
    /// Cell size, bytes.
    pub cell: u16,
    /// u, rounds a second.
    pub rate: u32,
    /// Idle links, dealt out over the mixes.
    pub idle: u32,
    /// Workers of each mix.
    pub workers: usize,
    /// ::1 instead of 127.0.0.1.
    pub ipv6: bool,
}

/// Makes a network with fresh secrets. Control sockets are at `run/NAME.sock`, ports are left to the nodes.
///
/// # Errors
///
/// A number is out of range, or the system gives no random bytes.
pub fn network(plan: &Plan) -> Result<Network, String> {
    for (what, value, range) in [
        ("mixes", plan.mixes, MIXES),
        ("calls", plan.calls, 0..=CALLS_MAX),
        ("workers", plan.workers, 1..=drover_dataplane::limits::WORKERS_MAX),
        ("idle", plan.idle as usize, 0..=CROWD_MAX as usize * plan.mixes),
    ] {
        if !range.contains(&value) {
            return Err(format!("--{what} {value}: {} to {}", range.start(), range.end()));
        }
    }
    let local: IpAddr = if plan.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let listen = [SocketAddr::new(local, 0)];
    let node = |name: &str, kind, workers| Node {
        name: name.to_owned(),
        kind,
        socket: format!("run/{name}.sock").into(),
        listen: listen.repeat(workers),
    };
    let mix = |at: usize| format!("m{}", at + 1);
    let mut nodes: Vec<Node> = (0..plan.mixes).map(|at| node(&mix(at), NodeKind::Mix, plan.workers)).collect();
    let (mut links, mut calls) = (Vec::new(), Vec::new());
    for at in 1..plan.mixes {
        links.push(link(&mix(at - 1), &mix(at), "mix", (at % plan.workers) as u16)?);
    }
    for at in 0..plan.calls {
        let suffix = if at == 0 { String::new() } else { (at + 1).to_string() };
        let (caller, callee) = (format!("caller{suffix}"), format!("callee{suffix}"));
        // Calls begin one mix further each, as long as there are four to go.
        let first = at % (plan.mixes - 3);
        let worker = (at % plan.workers) as u16;
        nodes.extend([node(&caller, NodeKind::Client, 1), node(&callee, NodeKind::Client, 1)]);
        let (near, far) = (mix(first), mix(first + 3));
        links.insert(at * 2, Link { a_worker: 0, b_worker: worker, ..link(&caller, &near, "client", 0)? });
        links.push(Link { a_worker: worker, b_worker: 0, ..link(&far, &callee, "client", 0)? });
        let path = [caller].into_iter().chain((first..first + 4).map(mix)).chain([callee]).collect();
        let name = format!("call{suffix}");
        calls.push(Call { name, path, caller_end: 1, callee_end: 1, secret: FileSecret::random()? });
    }
    let mut network =
        Network { cell: plan.cell, rate: plan.rate, nodes, classes: classes(plan), links, calls, crowds: vec![] };
    for at in 0..plan.mixes {
        let share = plan.idle / plan.mixes as u32 + u32::from((at as u32) < plan.idle % plan.mixes as u32);
        if share > 0 {
            let name = format!("idle-{}", mix(at));
            let secret = FileSecret::random()?;
            network.crowds.push(Crowd { name, mix: mix(at), worker: 0, class: "idle".into(), links: share, secret });
        }
    }
    match network.problems() {
        none if none.is_empty() => Ok(network),
        some => Err(some.join("\n")),
    }
}

fn link(a: &str, b: &str, class: &str, worker: u16) -> Result<Link, String> {
    Ok(Link {
        name: format!("{a}={b}"),
        a: a.to_owned(),
        b: b.to_owned(),
        class: class.to_owned(),
        a_worker: worker,
        b_worker: worker,
        ratchet_bits: 24,
        secret: FileSecret::random()?,
    })
}

fn classes(plan: &Plan) -> Vec<Class> {
    // A chain's middle link may carry every call.
    let mix_slots = MIX_SLOTS.max(plan.calls as u32 + 1);
    let mut classes = vec![
        Class { id: 1, name: "client".into(), kind: Kind::Client, slots: CLIENT_SLOTS, rounds: None },
        Class { id: 2, name: "mix".into(), kind: Kind::Zone, slots: mix_slots, rounds: None },
    ];
    if plan.idle > 0 {
        classes.push(Class { id: 3, name: "idle".into(), kind: Kind::Client, slots: 1, rounds: Some(IDLE_ROUNDS) });
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { mixes: 4, calls: 1, cell: 256, rate: 50, idle: 0, workers: 1, ipv6: false }
    }

    #[test]
    fn the_demos_network() {
        let network = network(&plan()).expect("a network");
        let links: Vec<_> = network.links.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(links, ["caller=m1", "m1=m2", "m2=m3", "m3=m4", "m4=callee"]);
        assert_eq!(network.calls[0].path, ["caller", "m1", "m2", "m3", "m4", "callee"]);
        let rates: Vec<_> = network.classes.iter().map(|c| network.rate_of(c)).collect();
        assert_eq!(rates, [100.0, 200.0]);
    }

    #[test]
    fn networks_of_many_kinds_are_sound() {
        for (mixes, calls, idle, workers) in [(4, 0, 0, 1), (6, 9, 7, 3), (64, 100, 1000, 2), (5, 2, 5000, 64)] {
            let plan = Plan { mixes, calls, idle, workers, ipv6: true, cell: 1024, ..plan() };
            let network = network(&plan).expect("sound");
            assert_eq!(network.crowds.iter().map(|c| c.links).sum::<u32>(), idle);
            assert_eq!(network.calls.len(), calls);
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for (plan, flag) in [
            (Plan { mixes: 3, ..plan() }, "--mixes 3"),
            (Plan { workers: 0, ..plan() }, "--workers 0"),
            (Plan { calls: 1001, ..plan() }, "--calls 1001"),
            (Plan { idle: 4001, ..plan() }, "--idle 4001"),
            (Plan { cell: 300, ..plan() }, "cell = 300"),
            (Plan { rate: 0, ..plan() }, "rate = 0"),
        ] {
            let error = network(&plan).expect_err(flag);
            assert!(error.contains(flag), "{error}");
        }
    }
}
