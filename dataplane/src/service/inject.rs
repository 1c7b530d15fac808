//! Cells and datagrams that control sends: checked here, copied by the worker into slots that are there anyway.

use super::requests::Service;
use super::shadow::{Refused, refuse};
use crate::command::Command;
use crate::inject::{Form, Injected, RawDatagram, Target};
use crate::terminal::Terminal;
use drover_crypto::Suite;
use drover_nic::Endpoint;
use drover_wire::cell::{self, Header};
use drover_wire::control::{Inject, Peer, Raw};

/// Datagrams of control that may be under way to one worker.
const RAW_OUTSTANDING_MAX: usize = 256;

impl<C: Suite, T: Terminal> Service<C, T> {
    pub(super) fn inject(&mut self, inject: Inject) -> Result<(), Refused> {
        self.check_boot(inject.boot())?;
        self.check_backlog()?;
        let size = self.status.cell.bytes();
        match inject {
            Inject::Link { link, body, .. } => {
                let (len, whole) = (body.as_bytes().len(), cell::body_len(size));
                if len != whole {
                    refuse!(Malformed, "link {link}: a body of {len} bytes, in cells of {size} it has {whole}");
                }
                if self.shadow.link(link).is_some_and(|entry| entry.spec.peer == Peer::Foreign) {
                    refuse!(Unsupported, "link {link}: a foreign peer takes no cells of control: send a record");
                }
                let place = self.shadow.add_control(link)?;
                let header = Header { circuit: 0, command: cell::Command::Control, counter: 0 };
                let (target, form) = (Target::Link { link: place.index }, Form::Cell(header));
                self.push(place.worker, Command::Inject(Box::new(Injected { target, form, bytes: body })));
            }
            Inject::Record { link, content_type, data, .. } => {
                let (len, most) = (data.as_bytes().len(), cell::plaintext_len(size) - 1);
                if len > most {
                    refuse!(
                        Malformed,
                        "link {link}: a record of {len} bytes, in cells of {size} it has at most {most}"
                    );
                }
                if self.shadow.link(link).is_some_and(|entry| entry.spec.peer == Peer::Drover) {
                    refuse!(Unsupported, "link {link}: a drover peer takes cells only: send a cell of control");
                }
                let place = self.shadow.add_control(link)?;
                let (target, form) = (Target::Link { link: place.index }, Form::Record(content_type));
                self.push(place.worker, Command::Inject(Box::new(Injected { target, form, bytes: data })));
            }
            Inject::Hop { .. } | Inject::Relay { .. } => refuse!(Unsupported, "this kind of cell is not served"),
        }
        Ok(())
    }

    pub(super) fn raw(&mut self, raw: Raw) -> Result<(), Refused> {
        self.check_boot(raw.boot)?;
        let (worker, workers) = (raw.worker, self.feeds.len());
        let Some(outstanding) = self.raw.get_mut(usize::from(worker)) else {
            refuse!(Unknown, "there is no worker {worker}: there are {workers}, from 0");
        };
        if *outstanding >= RAW_OUTSTANDING_MAX {
            refuse!(Busy, "worker {worker}: {outstanding} datagrams are under way: try again");
        }
        *outstanding += 1;
        let to = Endpoint { ip: raw.to.ip, port: raw.to.port };
        self.push(worker, Command::SendRaw(Box::new(RawDatagram { to, bytes: raw.bytes })));
        Ok(())
    }
}
