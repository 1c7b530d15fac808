//! Which links there are, by name: told by what the data planes have, not by the plan.

use crate::socket::reports::DumpedLink;
use std::collections::BTreeMap;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The node's place.
    pub node: usize,
    /// The link's number there.
    pub link: u32,
}

/// A logical link between two nodes, or of a mix with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLink {
    /// Such as a1=a2, or a1=a1 for a mix's loop.
    pub name: String,
    /// Its class: client, zone or pair.
    pub class: String,
    /// Both ends.
    pub ends: [End; 2],
}

impl NamedLink {
    /// Inside one mix: no observer sees it.
    pub fn is_loop(&self) -> bool {
        self.ends[0].node == self.ends[1].node
    }

    fn touches(&self, node: usize) -> bool {
        self.ends.iter().any(|end| end.node == node)
    }
}

/// One node as the demo knows it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its id, hex: the owners of its neighbours' links hold it.
    pub id: String,
}

/// All nodes and their links.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Names of nodes.
    pub nodes: Vec<String>,
    /// Links whose two ends are there.
    pub links: Vec<NamedLink>,
}

impl Topology {
    /// Matches the links that each node's data plane has: `dumps` by node. A link's owner blob names its peer.
    pub fn of(nodes: &[Known], dumps: &[Vec<DumpedLink>], class_name: impl Fn(u16) -> String) -> Topology {
        let mut ends: BTreeMap<(usize, usize), (End, u16)> = BTreeMap::new();
        let mut links = Vec::new();
        for (node, dump) in dumps.iter().enumerate() {
            for dumped in dump {
                let end = End { node, link: dumped.link };
                if let Some(other) = dumped.loop_to {
                    let name = format!("{0}={0}", nodes[node].name);
                    // Each loop is told from both its ends.
                    if dumped.link < other {
                        let ends = [end, End { node, link: other }];
                        links.push(NamedLink { name, class: class_name(dumped.class), ends });
                    }
                } else if let Some(peer) = nodes.iter().position(|known| dumped.owner.contains(&known.id)) {
                    ends.insert((node, peer), (end, dumped.class));
                }
            }
        }
        for ((node, peer), (end, class)) in &ends {
            if let Some((other, _)) = ends.get(&(*peer, *node)).filter(|_| node < peer) {
                let name = format!("{}={}", nodes[*node].name, nodes[*peer].name);
                links.push(NamedLink { name, class: class_name(*class), ends: [*end, *other] });
            }
        }
        Topology { nodes: nodes.iter().map(|known| known.name.clone()).collect(), links }
    }

    /// The place of a node.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node == name)
    }

    /// Whether two named nodes have a link.
    pub fn linked(&self, a: &str, b: &str) -> bool {
        let (Some(a), Some(b)) = (self.node(a), self.node(b)) else { return false };
        self.links.iter().any(|link| link.touches(a) && link.touches(b) && (a == b) == link.is_loop())
    }

    /// Puts the links that carried a call first, in the order of its way from `from`, ends and names along it. Returns how
    /// many lie on that way.
    pub fn follow(&mut self, from: &str, carried: &[bool]) -> usize {
        let Some(mut at) = self.node(from) else { return 0 };
        let mut rest: Vec<_> = self.links.drain(..).zip(carried.iter().copied()).collect();
        let mut way = Vec::new();
        loop {
            // A mix's own loop lies between the cell's coming and its going.
            let next = |inside: bool| {
                rest.iter().position(|(link, carried)| *carried && link.touches(at) && link.is_loop() == inside)
            };
            let Some(place) = next(true).or_else(|| next(false)) else { break };
            let (mut link, _) = rest.remove(place);
            if link.ends[0].node != at {
                link.ends.reverse();
            }
            let [near, far] = link.ends;
            link.name = format!("{}={}", self.nodes[near.node], self.nodes[far.node]);
            at = far.node;
            way.push(link);
        }
        let on_the_way = way.len();
        self.links = way;
        self.links.extend(rest.into_iter().map(|(link, _)| link));
        on_the_way
    }
}

/// For tests: nodes and links by name, link numbers drawn apart.
#[cfg(test)]
pub fn named(nodes: &[&str], links: &[(&str, &str)]) -> Topology {
    let nodes: Vec<_> = nodes.iter().map(|name| (*name).to_owned()).collect();
    let place = |name: &str| nodes.iter().position(|node| node == name).expect("a node");
    let make = |(at, (a, b)): (usize, &(&str, &str))| {
        let client = |name: &str| name.starts_with("call");
        let class = match (client(a) || client(b), a[..1] == b[..1]) {
            (true, _) => "client",
            (_, true) => "zone",
            _ => "pair",
        };
        let link = 2 * at as u32 + 10;
        let ends = [End { node: place(a), link }, End { node: place(b), link: link + 1 }];
        NamedLink { name: format!("{a}={b}"), class: class.to_owned(), ends }
    };
    let links = links.iter().enumerate().map(make).collect();
    Topology { nodes, links }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Known {
        Known { name: name.to_owned(), id: format!("{:0<32}", name.replace(|c: char| !c.is_ascii_hexdigit(), "e")) }
    }

    fn dumped(link: u32, class: u16, peer: Option<&str>, loop_to: Option<u32>) -> DumpedLink {
        let owner = peer.map_or_else(String::new, |peer| format!("0100{}ffff", known(peer).id));
        DumpedLink { link, class, owner, loop_to, ..DumpedLink::default() }
    }

    #[test]
    fn links_are_named_by_their_owners() {
        let nodes = [known("a1"), known("b1"), known("caller")];
        let dumps = [
            vec![
                dumped(1, 2, None, Some(2)),
                dumped(2, 2, None, Some(1)),
                dumped(3, 3, Some("b1"), None),
                dumped(7, 1, Some("caller"), None),
                // A stranger, and one whose other end is not there yet.
                dumped(9, 1, Some("d9"), None),
            ],
            vec![dumped(4, 3, Some("a1"), None), dumped(5, 1, Some("caller"), None)],
            vec![dumped(1, 1, Some("a1"), None)],
        ];
        let topology = Topology::of(&nodes, &dumps, |class| format!("c{class}"));
        let names: Vec<_> = topology.links.iter().map(|link| (link.name.as_str(), link.class.as_str())).collect();
        assert_eq!(names, [("a1=a1", "c2"), ("a1=b1", "c3"), ("a1=caller", "c1")]);
        assert_eq!(topology.links[1].ends, [End { node: 0, link: 3 }, End { node: 1, link: 4 }]);
        assert!(topology.linked("b1", "a1") && topology.linked("a1", "a1"));
        assert!(!topology.linked("b1", "b1") && !topology.linked("b1", "caller") && !topology.linked("b1", "x"));
    }

    #[test]
    fn the_way_of_a_call_is_followed_through_loops() {
        let nodes = ["a1", "a2", "b1", "b2", "caller", "callee"];
        let all = [
            ("a1", "a1"),
            ("a1", "a2"),
            ("b1", "b2"),
            ("a1", "b2"),
            ("a2", "b2"),
            ("b2", "b2"),
            ("a1", "caller"),
            ("b1", "callee"),
        ];
        let way = |carried: &[(&str, &str)]| {
            let mut topology = named(&nodes, &all);
            let flags: Vec<_> = all.iter().map(|link| carried.contains(link)).collect();
            let hops = topology.follow("caller", &flags);
            assert_eq!(topology.links.len(), all.len());
            let names: Vec<_> = topology.links[..hops].iter().map(|link| link.name.clone()).collect();
            for link in &topology.links[..hops] {
                assert!(link.name.starts_with(&topology.nodes[link.ends[0].node]), "{link:?}");
            }
            names.join(" ")
        };
        let straight = [("a1", "caller"), ("a1", "a2"), ("a2", "b2"), ("b1", "b2"), ("b1", "callee")];
        assert_eq!(way(&straight), "caller=a1 a1=a2 a2=b2 b2=b1 b1=callee");
        let inside = [("a1", "caller"), ("a1", "a1"), ("a1", "b2"), ("b1", "b2"), ("b1", "callee")];
        assert_eq!(way(&inside), "caller=a1 a1=a1 a1=b2 b2=b1 b1=callee");
        assert_eq!(way(&[]), "");
        // What does not hang together is not on the way.
        assert_eq!(way(&[("a1", "caller"), ("b1", "callee")]), "caller=a1");
    }
}
