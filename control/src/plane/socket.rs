//! A data plane behind its control socket: one connection for requests, one that takes what it hands over.

use super::{Now, Plane, PlaneError};
use crate::socket::{ControlSocket, Fault, OwnedReply, SocketError};
use drover_wire::control::{Dump, PUNT_MAX, Punt, Refusal, Request, Welcome};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A data plane in one life of it: another boot id is [`PlaneError::Gone`].
pub struct SocketPlane {
    requests: ControlSocket,
    gone: Option<PlaneError>,
    punts: Punts,
    welcome: Welcome,
}

/// The subscribed connection. Apart from [`SocketPlane`], so that a punt can be looked at while requests are made.
pub struct Punts {
    socket: ControlSocket,
    buffer: Zeroizing<Vec<u8>>,
    expected: Option<u32>,
    lost: u64,
    /// How many were lost when that was last dealt with, and when, monotonic ns.
    mended: (u64, u64),
    path: PathBuf,
}

/// Between two looks at what was lost, ns.
const LOSSES_NS: u64 = 1_000_000_000;

impl SocketPlane {
    /// Connects twice, asks who it is, and subscribes.
    ///
    /// # Errors
    /// [`PlaneError`]: nobody listens there, or it refuses.
    pub fn connect(path: &Path) -> Result<SocketPlane, PlaneError> {
        let mut requests = ControlSocket::connect(path).map_err(gone)?;
        let welcome = requests.hello().map_err(of)?;
        let mut socket = ControlSocket::connect(path).map_err(gone)?;
        socket.done("Subscribe", &Request::Subscribe { boot: welcome.boot }).map_err(of)?;
        let buffer = Zeroizing::new(vec![0; PUNT_MAX]);
        let punts = Punts { socket, buffer, expected: None, lost: 0, mended: (0, 0), path: path.to_owned() };
        Ok(SocketPlane { requests, gone: None, punts, welcome })
    }

    /// Both halves: what requests go to, and where punts come from.
    pub fn split(&mut self) -> (Requests<'_>, &mut Punts) {
        let SocketPlane { requests, gone, punts, welcome } = self;
        (Requests { socket: requests, gone, welcome }, punts)
    }

    /// The descriptor that becomes readable when something was handed over.
    pub fn raw_fd(&self) -> RawFd {
        self.punts.socket.as_fd().as_raw_fd()
    }

    /// All entries of a dump, page by page: the objects of the array that bears the name of `what`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn dump(&mut self, what: Dump) -> Result<Vec<serde_json::Value>, PlaneError> {
        super::dump(&mut self.split().0, what)
    }
}

impl Punts {
    /// The next thing handed over; `None` when there is none now. What is no punt is passed over.
    ///
    /// # Errors
    /// [`PlaneError::Gone`] when the data plane closed the connection.
    pub fn take(&mut self) -> Result<Option<Punt<'_>>, PlaneError> {
        let length = loop {
            match rustix::net::recv(self.socket.as_fd(), &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(self.closed("closed by the data plane")),
                Ok((length, _)) => {
                    if let Ok((count, _)) = Punt::decode(&self.buffer[..length]) {
                        let missing = count.wrapping_sub(self.expected.unwrap_or(count));
                        self.lost += u64::from(missing);
                        self.expected = Some(count.wrapping_add(1));
                        break length;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(self.closed(&error.to_string())),
            }
        };
        Ok(Punt::decode(&self.buffer[..length]).ok().map(|(_, punt)| punt))
    }

    /// Things that the data plane had no room to hand over.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether more was lost since this last was true; at most once a second.
    pub fn lost_more(&mut self, now: Now) -> bool {
        let more = self.lost > self.mended.0 && now.mono_ns >= self.mended.1.saturating_add(LOSSES_NS);
        if more {
            self.mended = (self.lost, now.mono_ns);
        }
        more
    }

    fn closed(&self, why: &str) -> PlaneError {
        PlaneError::Gone(format!("control socket {}: {why}", self.path.display()))
    }
}

/// What requests go to.
pub struct Requests<'p> {
    socket: &'p mut ControlSocket,
    gone: &'p mut Option<PlaneError>,
    welcome: &'p Welcome,
}

impl Requests<'_> {
    /// Why this life of the data plane is over, once a request has found out.
    pub fn gone(&self) -> Option<PlaneError> {
        self.gone.clone()
    }

    /// One request; what ends a life is remembered, and asked no more.
    fn call(&mut self, request: &Request) -> Result<OwnedReply, PlaneError> {
        if let Some(error) = &self.gone {
            return Err(error.clone());
        }
        let result = match self.socket.call(request) {
            Ok(OwnedReply::Refused { code, text }) => Err(refused(code, text)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(gone(error)),
        };
        if let Err(error @ PlaneError::Gone(_)) = &result {
            *self.gone = Some(error.clone());
        }
        result
    }
}

impl Plane for Requests<'_> {
    fn welcome(&self) -> &Welcome {
        self.welcome
    }

    fn ask(&mut self, request: &Request) -> Result<(), PlaneError> {
        match self.call(request)? {
            OwnedReply::Done => Ok(()),
            _ => Err(PlaneError::Gone("a request was not answered with Done".to_owned())),
        }
    }

    fn report(&mut self, request: &Request) -> Result<String, PlaneError> {
        match self.call(request)? {
            OwnedReply::Report(json) => Ok(json),
            _ => Err(PlaneError::Gone("a question was not answered with a report".to_owned())),
        }
    }
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Now {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Now { mono_ns: drover_dataplane::run::now(), unix_s: since.map_or(0, |since| since.as_secs()) }
    }
}

fn refused(code: Refusal, text: String) -> PlaneError {
    match code {
        Refusal::WrongBoot => PlaneError::Gone(text),
        _ => PlaneError::Refused(code, text),
    }
}

fn gone(error: SocketError) -> PlaneError {
    PlaneError::Gone(error.to_string())
}

fn of(error: SocketError) -> PlaneError {
    match error.fault {
        Fault::Refused { code, text, .. } => refused(code, text),
        _ => gone(error),
    }
}
