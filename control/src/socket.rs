//! The asking side of a data plane's control socket (`docs/wire.md`, W-CTL): one request, one reply, with a deadline.
//!
//! A mix's data plane and a client are asked alike. Requests carry keys: the buffers that held one are zeroized.

pub mod reports;

use drover_wire::control::{Dump, MAX_MESSAGE, REQUEST_MAX, Refusal, Reply, Request, Welcome};
use reports::{DumpPage, DumpedLink, LinkReport, LinksPage, Status};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
    sockopt,
};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a reply may take, unless [`ControlSocket::set_timeout`] says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Replies to requests that were given up before, passed over while waiting for the one asked for.
const STALE_MAX: u32 = 16;
/// Pages of a listing of links: every page has one link at least, and a data plane has fewer links than this.
const PAGES_MAX: u32 = 1 << 20;

/// What a data plane answered, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedReply {
    /// It is so.
    Done,
    /// It is not so; nothing was changed.
    Refused {
        /// Why, for programs.
        code: Refusal,
        /// Why and the mend, for people.
        text: String,
    },
    /// Answers `Hello`.
    Welcome(Box<Welcome>),
    /// Answers a query: JSON.
    Report(String),
}

/// Why there is no good answer. Every text names the socket and the mend.
#[derive(Debug)]
pub struct SocketError {
    /// The socket's path.
    pub path: PathBuf,
    /// What happened.
    pub fault: Fault,
}

/// What happened on a control socket.
#[derive(Debug)]
pub enum Fault {
    /// The path does not fit a Unix address (107 bytes).
    PathTooLong,
    /// Nobody listens there.
    Connect(std::io::Error),
    /// Sending or receiving failed.
    Io(std::io::Error),
    /// No reply in this time.
    Timeout(Duration),
    /// The other side closed.
    Closed,
    /// A reply that does not decode, or not the kind that the request has.
    Unexpected(String),
    /// The data plane refused.
    Refused {
        /// What was asked.
        what: String,
        /// Why, for programs.
        code: Refusal,
        /// Why and the mend, for people.
        text: String,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::PathTooLong => {
                write!(f, "control socket {path}: the path is longer than 107 bytes; give a shorter one")
            }
            Fault::Connect(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                write!(f, "control socket {path}: {error}; run as the user that the data plane runs as")
            }
            Fault::Connect(error) => write!(
                f,
                "control socket {path}: {error}; is the data plane running, and is this the path in its [control] socket?"
            ),
            Fault::Io(error) => write!(f, "control socket {path}: {error}; is the data plane still running?"),
            Fault::Timeout(after) => write!(
                f,
                "control socket {path}: no reply in {} s; the data plane hangs or the machine is overloaded: try again, \
                 then look at its standard error",
                after.as_secs_f64()
            ),
            Fault::Closed => write!(
                f,
                "control socket {path}: closed by the data plane; it stopped, or takes no connection of this user"
            ),
            Fault::Unexpected(what) => write!(
                f,
                "control socket {path}: {what}; are both programs of the same build, and is a drover data plane listening?"
            ),
            Fault::Refused { what, code, text } => {
                write!(f, "control socket {path}: {what} was refused ({code:?}): {text}")
            }
        }
    }
}

impl std::error::Error for SocketError {}

/// A connection to one data plane.
pub struct ControlSocket {
    fd: OwnedFd,
    path: PathBuf,
    next_id: u32,
    timeout: Duration,
    buffer: Vec<u8>,
}

impl ControlSocket {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// [`SocketError`]: nobody listens, no permission, a path too long.
    pub fn connect(path: impl AsRef<Path>) -> Result<ControlSocket, SocketError> {
        let path = path.as_ref();
        let fail = |fault| SocketError { path: path.to_owned(), fault };
        let address = SocketAddrUnix::new(path).map_err(|_| fail(Fault::PathTooLong))?;
        let io = |error: Errno| fail(Fault::Connect(error.into()));
        let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(io)?;
        connect(&fd, &address).map_err(io)?;
        let buffer = vec![0; MAX_MESSAGE];
        let mut socket = ControlSocket { fd, path: path.to_owned(), next_id: 1, timeout: TIMEOUT, buffer };
        socket.set_timeout(TIMEOUT)?;
        Ok(socket)
    }

    /// The descriptor, to poll.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The process id of who listens there, by the kernel's word.
    pub fn peer(&self) -> Option<u32> {
        sockopt::socket_peercred(&self.fd).ok().map(|peer| peer.pid.as_raw_pid() as u32)
    }

    /// How long a request and its reply may take, each; not zero.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`] when the kernel refuses it.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<(), SocketError> {
        let timeout = timeout.max(Duration::from_millis(1));
        for which in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&self.fd, which, Some(timeout)).map_err(|e| self.fail(Fault::Io(e.into())))?;
        }
        self.timeout = timeout;
        Ok(())
    }

    /// Sends a request and waits for its reply; a refusal is a reply.
    ///
    /// # Errors
    ///
    /// [`SocketError`]: the socket, the deadline, or a reply that is none to this request.
    pub fn call(&mut self, request: &Request) -> Result<OwnedReply, SocketError> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.send(request, id)?;
        for _ in 0..=STALE_MAX {
            let length = self.receive()?;
            let message = &self.buffer[..length];
            let (replied, reply) = Reply::decode(message)
                .map_err(|error| self.fail(Fault::Unexpected(format!("a reply that does not decode: {error}"))))?;
            // A reply to a request that was given up may still come; one to a request not yet made may not.
            let behind = id.wrapping_sub(replied);
            if behind == 0 {
                return owned(reply).map_err(|_| self.fail(Fault::Unexpected("a report that is not UTF-8".to_owned())));
            }
            if behind > u32::MAX / 2 {
                break;
            }
        }
        Err(self.fail(Fault::Unexpected("a reply to another request".to_owned())))
    }

    fn send(&self, request: &Request, id: u32) -> Result<(), SocketError> {
        let mut bytes = Zeroizing::new([0; REQUEST_MAX]);
        let length = request
            .encode(id, &mut *bytes)
            .map_err(|full| self.fail(Fault::Unexpected(format!("the request does not encode: {full}"))))?;
        loop {
            return match send(&self.fd, &bytes[..length], SendFlags::NOSIGNAL) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => Err(self.io_fault(error)),
            };
        }
    }

    fn receive(&mut self) -> Result<usize, SocketError> {
        loop {
            return match recv(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => Err(self.fail(Fault::Closed)),
                Ok((length, _)) => Ok(length),
                Err(Errno::INTR) => continue,
                Err(error) => Err(self.io_fault(error)),
            };
        }
    }

    fn io_fault(&self, error: Errno) -> SocketError {
        self.fail(match error {
            Errno::AGAIN => Fault::Timeout(self.timeout),
            Errno::PIPE | Errno::CONNRESET => Fault::Closed,
            other => Fault::Io(other.into()),
        })
    }

    fn fail(&self, fault: Fault) -> SocketError {
        SocketError { path: self.path.clone(), fault }
    }

    /// Sends a put, switch or remove that must be done; `what` names it in the error ("link m1=m2").
    ///
    /// # Errors
    ///
    /// [`Fault::Refused`] among the others.
    pub fn done(&mut self, what: &str, request: &Request) -> Result<(), SocketError> {
        match self.call(request)? {
            OwnedReply::Done => Ok(()),
            OwnedReply::Refused { code, text } => Err(self.fail(Fault::Refused { what: what.to_owned(), code, text })),
            _ => Err(self.fail(Fault::Unexpected(format!("{what}: answered with something else than Done")))),
        }
    }

    /// Who the data plane is.
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn hello(&mut self) -> Result<Welcome, SocketError> {
        match self.call(&Request::Hello)? {
            OwnedReply::Welcome(welcome) => Ok(*welcome),
            OwnedReply::Refused { code, text } => {
                Err(self.fail(Fault::Refused { what: "Hello".to_owned(), code, text }))
            }
            _ => Err(self.fail(Fault::Unexpected("Hello was not answered with Welcome".to_owned()))),
        }
    }

    fn report(&mut self, what: &str, request: &Request) -> Result<String, SocketError> {
        match self.call(request)? {
            OwnedReply::Report(json) => Ok(json),
            OwnedReply::Refused { code, text } => Err(self.fail(Fault::Refused { what: what.to_owned(), code, text })),
            _ => Err(self.fail(Fault::Unexpected(format!("{what} was not answered with a report")))),
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, what: &str, json: &str) -> Result<T, SocketError> {
        serde_json::from_str(json)
            .map_err(|error| self.fail(Fault::Unexpected(format!("{what} is not the JSON expected: {error}"))))
    }

    /// Totals and state as the data plane wrote them, JSON.
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn status_json(&mut self) -> Result<String, SocketError> {
        self.report("the status", &Request::QueryStatus)
    }

    /// Totals and state, parsed.
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn status(&mut self) -> Result<Status, SocketError> {
        let json = self.status_json()?;
        self.parse("the status", &json)
    }

    /// Links one by one, all pages: lab builds only, others refuse it (invariant I10).
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn links_json(&mut self) -> Result<Vec<LinkReport>, SocketError> {
        let page = |page: LinksPage| (page.links, page.next);
        self.pages("the list of links", |from| Request::QueryLinks { from }, page)
    }

    /// Links as control finds them at its start, all pages.
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn dump_links(&mut self) -> Result<Vec<DumpedLink>, SocketError> {
        let page = |page: DumpPage| (page.links, page.next);
        self.pages("the dump of links", |from| Request::Dump { what: Dump::Links, from }, page)
    }

    fn pages<P: serde::de::DeserializeOwned, T>(
        &mut self,
        what: &str,
        request: impl Fn(u32) -> Request,
        open: impl Fn(P) -> (Vec<T>, Option<u32>),
    ) -> Result<Vec<T>, SocketError> {
        let (mut all, mut from) = (Vec::new(), 0);
        for _ in 0..PAGES_MAX {
            let json = self.report(what, &request(from))?;
            let (part, next) = open(self.parse(what, &json)?);
            all.extend(part);
            match next {
                None => return Ok(all),
                Some(next) if next > from => from = next,
                Some(_) => break,
            }
        }
        Err(self.fail(Fault::Unexpected(format!("{what} does not end"))))
    }
}

fn owned(reply: Reply<'_>) -> Result<OwnedReply, std::str::Utf8Error> {
    Ok(match reply {
        Reply::Done => OwnedReply::Done,
        Reply::Refused { code, text } => OwnedReply::Refused { code, text: text.to_owned() },
        Reply::Welcome(welcome) => OwnedReply::Welcome(Box::new(welcome)),
        Reply::Report(json) => OwnedReply::Report(std::str::from_utf8(json)?.to_owned()),
    })
}

#[cfg(test)]
#[path = "socket/tests.rs"]
mod tests;
