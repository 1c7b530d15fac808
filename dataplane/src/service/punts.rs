//! From the workers' punt rings to the subscriber: indices become ids, slots become messages.

use super::requests::Service;
use super::shadow::{Place, refuse};
use crate::command::Command;
use crate::drops::DropReason;
use crate::limits::{EXPECTED_RATE, STRANGERS_RATE};
use crate::punt::{Punted, What};
use crate::service::shadow::Refused;
use crate::terminal::Terminal;
use drover_crypto::Suite;
use drover_nic::Endpoint;
use drover_wire::control::{Address, Punt};

impl<C: Suite, T: Terminal> Service<C, T> {
    /// Hands everything that one worker has handed over to `sink`. What is of a link that was removed meanwhile is left
    /// out.
    ///
    /// All that waits is taken, always: an index that this worker has given back may be given out again, and what waits
    /// in the rings was said of its earlier use.
    pub(super) fn take_punts(&mut self, worker: u8, sink: &mut impl FnMut(&Punt<'_>)) {
        let Some(mut rings) = self.punts[usize::from(worker)].take() else { return };
        rings.drain(|slot| self.hand_over(worker, slot, sink));
        self.punts[usize::from(worker)] = Some(rings);
    }

    fn hand_over(&mut self, worker: u8, slot: &Punted, sink: &mut impl FnMut(&Punt<'_>)) {
        let bytes = slot.bytes();
        let link_at = |index| self.shadow.link_at(Place { worker, index });
        match slot.what {
            What::Raw { from } => match self.may_hand_over(worker, from) {
                true => sink(&Punt::Raw { worker, from: address(from), bytes }),
                false => self.status.drop_of(worker, DropReason::PuntFull),
            },
            What::Link { link } => {
                if let Some(link) = link_at(link) {
                    sink(&Punt::Link { link, body: bytes });
                }
            }
            What::Relay { link, id, counter } => {
                if let Some(link) = link_at(link) {
                    sink(&Punt::Relay { link, id, counter, body: bytes });
                }
            }
            What::Record { link, epoch, number, content_type } => {
                if let Some(link) = link_at(link) {
                    sink(&Punt::Record { link, epoch, number, content_type, data: bytes });
                }
            }
            What::Heard { link, generation } => {
                if let Some(link) = link_at(link) {
                    self.shadow.heard(link, Some(generation));
                    sink(&Punt::Heard { link, generation });
                }
            }
            What::Silent { link } => {
                if let Some(link) = link_at(link) {
                    self.shadow.heard(link, None);
                    sink(&Punt::Silent { link });
                }
            }
            What::Hop { ingress } => self.hop_cell(Place { worker, index: ingress }, bytes, sink),
        }
    }

    /// Whether the subscriber is given one more datagram: what anybody may send must not fill its socket, where events and
    /// links' cells would be lost with it.
    fn may_hand_over(&mut self, worker: u8, from: Endpoint) -> bool {
        let expected = self.expected.contains(&from);
        let (a_second, most) = if expected { EXPECTED_RATE } else { STRANGERS_RATE };
        let allowance = &mut self.datagrams[usize::from(worker)][usize::from(expected)];
        allowance.take(crate::run::now(), 1_000_000_000 / a_second, most)
    }

    /// Tells the workers that somebody listens; whoever was expected for an earlier subscriber is expected no more.
    pub(super) fn subscribe(&mut self) {
        self.listen(true);
        self.subscribes = true;
    }

    /// Whether the request answered last makes its connection the subscriber.
    pub fn takes_subscription(&mut self) -> bool {
        std::mem::take(&mut self.subscribes)
    }

    /// The subscriber is gone.
    pub fn unsubscribed(&mut self) {
        self.listen(false);
    }

    fn listen(&mut self, yes: bool) {
        self.expected.clear();
        for worker in 0..self.feeds.len() as u8 {
            self.push(worker, Command::Listen(yes));
        }
    }

    /// Begins or ends to expect a sender, on every worker: it may come to any port.
    pub(super) fn expect(&mut self, remote: Address, expected: bool) -> Result<(), Refused> {
        let remote = Endpoint { ip: remote.ip, port: remote.port };
        if expected == self.expected.contains(&remote) {
            return Ok(());
        }
        if expected && self.expected.len() == crate::limits::EXPECTED_MAX {
            refuse!(Limit, "{} senders are expected, the most there may be: end some", self.expected.len());
        }
        self.check_backlog()?;
        if expected {
            self.expected.insert(remote);
        } else {
            self.expected.remove(&remote);
        }
        for worker in 0..self.feeds.len() as u8 {
            self.push(worker, Command::Expect { remote, expected });
        }
        Ok(())
    }
}

fn address(from: Endpoint) -> Address {
    Address { ip: from.ip, port: from.port }
}
