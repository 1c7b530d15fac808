//! What the kernel says of a network interface.

use crate::netlink::{Netlink, named};
use drover_wire::frame::Mac;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use std::io;
use std::net::IpAddr;

/// Bytes of the longest interface name (IFNAMSIZ without its zero).
pub const NAME_MAX: usize = 15;

/// An interface as it was when asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index, by which the kernel knows it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; none: it has no Ethernet.
    pub mac: Option<Mac>,
    /// Largest IP packet, bytes.
    pub mtu: u32,
    /// Whether it is to be up (IFF_UP).
    pub up: bool,
    /// Whether it is up and has a carrier (IFF_RUNNING).
    pub running: bool,
    /// Queues that the kernel has for it, receiving and sending.
    pub queues: (u32, u32),
}

impl Interface {
    /// Asks for the interface `name` of the calling thread's network.
    ///
    /// # Errors
    /// `NotFound` when there is none; `InvalidInput` for what cannot be a name; else what the system says.
    pub fn named(name: &str) -> io::Result<Interface> {
        Interface::ask(&mut Netlink::open(0)?, name)
    }

    pub(crate) fn ask(netlink: &mut Netlink, name: &str) -> io::Result<Interface> {
        check_name(name)?;
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.into()));
        Interface::answer(netlink, request).map_err(|error| named(error, format_args!("interface {name}")))
    }

    /// As [`named`](Self::named), by its index: it may have got another name.
    pub(crate) fn ask_index(netlink: &mut Netlink, index: u32) -> io::Result<Interface> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        Interface::answer(netlink, request).map_err(|error| named(error, format_args!("interface number {index}")))
    }

    fn answer(netlink: &mut Netlink, request: LinkMessage) -> io::Result<Interface> {
        let answers = netlink.ask(RouteNetlinkMessage::GetLink(request), 0)?;
        answers.into_iter().find_map(Interface::from_answer).ok_or_else(no_answer)
    }

    fn from_answer(answer: RouteNetlinkMessage) -> Option<Interface> {
        match answer {
            RouteNetlinkMessage::NewLink(link) => Some(Interface::from(link)),
            _ => None,
        }
    }

    /// Its addresses, with the bits of each one's prefix. To be asked in the network that the interface is in.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Vec<(IpAddr, u8)>> {
        let answers = Netlink::open(0)?.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(answers.into_iter().filter_map(|answer| self.address_of(answer)).collect())
    }

    fn address_of(&self, answer: RouteNetlinkMessage) -> Option<(IpAddr, u8)> {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
        if message.header.index != self.index {
            return None;
        }
        let mut address = None;
        for attribute in message.attributes {
            match attribute {
                // Where both are given, this is ours and the other one the far end's.
                AddressAttribute::Local(local) => address = Some(local),
                AddressAttribute::Address(ip) => address = address.or(Some(ip)),
                _ => {}
            }
        }
        Some((address?, message.header.prefix_len))
    }
}

impl From<LinkMessage> for Interface {
    fn from(link: LinkMessage) -> Interface {
        let flags = link.header.flags;
        let mut interface = Interface {
            index: link.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Up | LinkFlags::Running),
            queues: (1, 1),
        };
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Address(mac) => interface.mac = mac.try_into().ok().map(Mac),
                LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                LinkAttribute::NumRxQueues(queues) => interface.queues.0 = queues,
                LinkAttribute::NumTxQueues(queues) => interface.queues.1 = queues,
                _ => {}
            }
        }
        interface
    }
}

/// What the kernel would refuse without saying why.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.contains(['/', ':', '\0']) && name != "." && name != "..";
    if fits && !name.contains(char::is_whitespace) {
        return Ok(());
    }
    let why = format!("{name:?} is no interface name: 1 to {NAME_MAX} bytes without blanks, / and :");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer says nothing of it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_others_are_not() {
        let lo = Interface::named("lo").expect("loopback");
        assert_eq!((lo.index, lo.name.as_str()), (1, "lo"));
        assert_eq!(Interface::ask_index(&mut Netlink::open(0).expect("a socket"), 1).expect("loopback").name, "lo");
        assert_eq!(Interface::named("nosuchif0").expect_err("none").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_cannot_be_a_name_is_said() {
        for name in ["", "sixteen-letters.", "a/b", "a b", "..", "a:1", "a\0"] {
            assert_eq!(Interface::named(name).expect_err(name).kind(), io::ErrorKind::InvalidInput);
        }
    }
}
