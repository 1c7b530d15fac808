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
/// Cells of circuits that may be under way to one worker.
const CELLS_OUTSTANDING_MAX: usize = 1024;

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
            Inject::Hop { circuit, kind, data, .. } => self.make_hop_cell(circuit, kind, data.as_bytes())?,
            Inject::Relay { at, counter, body, .. } => {
                let (len, whole) = (body.as_bytes().len(), cell::body_len(size));
                if len != whole {
                    refuse!(Malformed, "link {}: a body of {len} bytes, in cells of {size} it has {whole}", at.link);
                }
                let Some(place) = self.shadow.link(at.link).filter(|_| self.shadow.is_tapped(at)).map(|l| l.place)
                else {
                    refuse!(Unknown, "there is no tap at id {} of link {}: put it first", at.id, at.link);
                };
                let header = Header { circuit: at.id, command: cell::Command::Relay, counter };
                let (target, form) = (Target::BestEffort { link: place.index }, Form::Cell(header));
                self.push_cell(place.worker, Injected { target, form, bytes: body })?;
            }
        }
        Ok(())
    }

    /// Sends a circuit's cell to a worker.
    ///
    /// # Errors
    /// `Busy` when as many are under way as may be.
    pub(super) fn push_cell(&mut self, worker: u8, injected: Injected) -> Result<(), Refused> {
        let outstanding = &mut self.cells[usize::from(worker)];
        if *outstanding >= CELLS_OUTSTANDING_MAX {
            refuse!(Busy, "worker {worker}: {outstanding} cells of control are under way: try again");
        }
        *outstanding += 1;
        self.push(worker, Command::Inject(Box::new(injected)));
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
