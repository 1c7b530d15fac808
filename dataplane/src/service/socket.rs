//! The control socket's connections: who may connect, how many, whole messages only.

use drover_wire::control::{PUNT_MAX, Punt, Refusal, Reply};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroize;

/// Connections at once. Control needs one; an operator's tools a few more.
pub const CONNECTIONS_MAX: usize = 32;
/// Messages taken from one connection before the next has its turn.
const MESSAGES_A_TURN: usize = 32;
/// Bytes of replies that a client may leave unread.
const SEND_BUFFER: usize = 1 << 20;
const BACKLOG: i32 = 32;

const LISTENER: Token = Token(CONNECTIONS_MAX);
const WAKER: Token = Token(CONNECTIONS_MAX + 1);

/// Who may speak to this data plane, by the kernel's word for the peer (SO_PEERCRED, `unix(7)`).
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Our own user.
    pub own: u32,
    /// Others that the configuration names.
    pub others: Vec<u32>,
}

impl Allowed {
    /// Whether user `uid` may: root, our own user, or one that the configuration names.
    pub fn admits(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own || self.others.contains(&uid)
    }
}

/// The listening socket and the file that names it. Dropping it removes the file.
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    /// Device and inode of the file that we made.
    file: (u64, u64),
}

impl Listener {
    /// Listens on `path`. A socket there that nobody listens on is replaced.
    ///
    /// The file's mode is 0600; where other users are allowed it is 0666, and their user id decides.
    ///
    /// # Errors
    /// `AddrInUse` when a process listens there; `AlreadyExists` when what is there is no socket; else what the system
    /// says.
    pub fn bind(path: &Path, allowed: &Allowed) -> io::Result<Listener> {
        make_room(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // A socket's own mode is that of the file that bind makes, so that the file is at no time more open.
        let mode = if allowed.others.is_empty() { 0o600 } else { 0o666 };
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
        let stat = rustix::fs::lstat(path)?;
        let listener = Listener { fd, path: path.to_owned(), file: (stat.st_dev, stat.st_ino) };
        // Again, for the bits that the umask took.
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
        rustix::net::listen(&listener.fd, BACKLOG)?;
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = rustix::fs::lstat(&self.path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.file);
        if ours {
            // If it cannot be removed, the next start replaces it.
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn make_room(path: &Path) -> io::Result<()> {
    let stat = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        let text = "what is there is no socket and will not be replaced";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let probe = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(rustix::fs::unlink(path)?),
        // A full backlog is also somebody.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there: stop it, or choose another path",
        )),
        Err(error) => Err(error.into()),
    }
}

struct Connection {
    fd: OwnedFd,
    /// There may be messages: nothing has said "none" since the poll said "some".
    readable: bool,
}

/// What became of a connection's turn.
#[derive(PartialEq, Eq)]
enum Turn {
    Done,
    Close,
}

/// The listener and its connections.
pub struct Sockets {
    poll: Poll,
    events: Events,
    listener: Listener,
    allowed: Allowed,
    connections: Vec<Option<Connection>>,
    accepting: bool,
    busy: bool,
    subscriber: Option<Subscriber>,
    /// The subscriber's connection was closed, and nobody has asked yet.
    lost_subscriber: bool,
}

/// What is to become of a message.
pub struct Answered {
    /// Bytes of the reply.
    pub len: usize,
    /// The connection takes what workers hand over from now on; an earlier one no more.
    pub subscribes: bool,
}

/// The connection that takes what workers hand over.
struct Subscriber {
    connection: usize,
    /// Counts what was handed over, lost ones too.
    count: u32,
}

impl Sockets {
    /// Serves `listener`. The waker ends a poll from another thread.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(listener: Listener, allowed: Allowed) -> io::Result<(Sockets, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut SourceFd(&listener.fd.as_raw_fd()), LISTENER, Interest::READABLE)?;
        let connections = (0..CONNECTIONS_MAX).map(|_| None).collect();
        let events = Events::with_capacity(CONNECTIONS_MAX + 2);
        let sockets = Sockets {
            poll,
            events,
            listener,
            allowed,
            connections,
            accepting: true,
            busy: false,
            subscriber: None,
            lost_subscriber: false,
        };
        Ok((sockets, waker))
    }

    /// Waits for something to do, at most `patience`.
    ///
    /// # Errors
    /// What the system says, interruptions apart.
    pub fn poll(&mut self, patience: Duration) -> io::Result<()> {
        let patience = if self.busy { Duration::ZERO } else { patience };
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            match event.token() {
                LISTENER => self.accepting = true,
                WAKER => {}
                Token(at) => {
                    if let Some(Some(connection)) = self.connections.get_mut(at) {
                        connection.readable = true;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes new connections and a bounded number of messages of each. `answer` writes a reply and returns its length.
    /// `message` has one byte more than the longest message.
    ///
    /// A client that does not take its replies is closed: it must not hold up the others, nor the workers' keys.
    pub fn serve(
        &mut self,
        message: &mut [u8],
        reply: &mut [u8],
        mut answer: impl FnMut(&[u8], &mut [u8]) -> Answered,
    ) {
        if self.accepting {
            self.accept(reply);
        }
        self.busy = false;
        for at in 0..self.connections.len() {
            let Some(connection) = self.connections[at].as_mut().filter(|c| c.readable) else { continue };
            let mut subscribes = false;
            let outcome = turn(connection, message, reply, &mut |message, reply| {
                let answered = answer(message, reply);
                subscribes |= answered.subscribes;
                answered.len
            });
            self.busy |= connection.readable;
            if subscribes {
                // An earlier one is not told: it hears no more.
                self.subscriber = Some(Subscriber { connection: at, count: 0 });
                self.lost_subscriber = false;
            }
            if outcome == Turn::Close {
                self.close(at);
            }
        }
    }

    /// Hands something to the subscriber, if there is one, without waiting: what it has no room for is lost to it, and
    /// the count in the next message's request id says so.
    pub fn push(&mut self, punt: &Punt<'_>) {
        let Some(subscriber) = &mut self.subscriber else { return };
        let Some(Some(connection)) = self.connections.get(subscriber.connection) else { return };
        let count = subscriber.count;
        subscriber.count = count.wrapping_add(1);
        let mut message = [0; PUNT_MAX];
        if let Ok(len) = punt.encode(count, &mut message) {
            // A connection that is broken shows so when it is read.
            let _ = send(&connection.fd, &message[..len]);
        }
    }

    /// Whether somebody takes what workers hand over.
    pub fn has_subscriber(&self) -> bool {
        self.subscriber.is_some()
    }

    /// Whether the subscriber was lost since this was last asked.
    pub fn lost_subscriber(&mut self) -> bool {
        std::mem::take(&mut self.lost_subscriber)
    }

    /// Connections open.
    pub fn len(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// True when no connection is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn close(&mut self, at: usize) {
        if self.subscriber.as_ref().is_some_and(|subscriber| subscriber.connection == at) {
            self.subscriber = None;
            self.lost_subscriber = true;
        }
        if let Some(connection) = self.connections[at].take() {
            // Closing it deregisters it as well.
            let _ = self.poll.registry().deregister(&mut SourceFd(&connection.fd.as_raw_fd()));
        }
    }

    fn accept(&mut self, reply: &mut [u8]) {
        for _ in 0..CONNECTIONS_MAX {
            match rustix::net::accept_with(&self.listener.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => self.admit(fd, reply),
                Err(Errno::AGAIN) => {
                    self.accepting = false;
                    return;
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // No descriptors left, or no memory: try again after the next poll.
                Err(_) => return,
            }
        }
    }

    fn admit(&mut self, fd: OwnedFd, reply: &mut [u8]) {
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&fd) else { return };
        let uid = peer.uid.as_raw();
        if !self.allowed.admits(uid) {
            let text = format!("user {uid} may not control this data plane: add it to control.allow_uids");
            return refuse(&fd, Refusal::Forbidden, &text, reply);
        }
        let Some(at) = self.connections.iter().position(Option::is_none) else {
            let text = format!("{CONNECTIONS_MAX} connections are open: close one, then try again");
            return refuse(&fd, Refusal::Busy, &text, reply);
        };
        // A smaller buffer only closes a slow client sooner.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER);
        if self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(at), Interest::READABLE).is_ok() {
            self.connections[at] = Some(Connection { fd, readable: true });
        }
    }
}

fn turn(
    connection: &mut Connection,
    message: &mut [u8],
    reply: &mut [u8],
    answer: &mut impl FnMut(&[u8], &mut [u8]) -> usize,
) -> Turn {
    for _ in 0..MESSAGES_A_TURN {
        // With TRUNC the whole length is told, also of what did not fit.
        let len = match rustix::net::recv(&connection.fd, &mut *message, RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Turn::Close,
            Ok((_, len)) => len,
            Err(Errno::AGAIN) => {
                connection.readable = false;
                return Turn::Done;
            }
            Err(Errno::INTR) => continue,
            Err(_) => return Turn::Close,
        };
        // Of a longer message the buffer holds more bytes than any may have, so that it does not decode.
        let came = len.min(message.len());
        let length = answer(&message[..came], reply);
        message[..came].zeroize();
        if !send(&connection.fd, &reply[..length]) {
            return Turn::Close;
        }
    }
    Turn::Done
}

/// Sends a whole message without waiting; false when that is not possible.
fn send(fd: &OwnedFd, message: &[u8]) -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match rustix::net::send(fd, message, flags) {
            Err(Errno::INTR) => {}
            sent => return sent == Ok(message.len()),
        }
    }
}

/// A last word before a connection that is not taken is closed. What the peer has already sent is thrown away: closing
/// with messages unread would take the last word from the peer.
fn refuse(fd: &OwnedFd, code: Refusal, text: &str, reply: &mut [u8]) {
    if let Ok(len) = (Reply::Refused { code, text }).encode(0, reply) {
        send(fd, &reply[..len]);
    }
    let _ = rustix::net::shutdown(fd, Shutdown::Read);
    for _ in 0..MESSAGES_A_TURN {
        if !matches!(rustix::net::recv(fd, &mut [0u8; 0][..], RecvFlags::TRUNC | RecvFlags::DONTWAIT), Ok((_, 1..))) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn own() -> Allowed {
        Allowed { own: rustix::process::getuid().as_raw(), others: Vec::new() }
    }

    #[test]
    fn root_we_and_the_named_may() {
        let allowed = Allowed { own: 1000, others: vec![7, 9] };
        let admitted: Vec<_> = (0..2000).filter(|uid| allowed.admits(*uid)).collect();
        assert_eq!(admitted, [0, 7, 9, 1000]);
    }

    #[test]
    fn the_file_is_ours_alone_and_goes_with_us() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = Listener::bind(&path, &own()).expect("binds");
        assert_eq!(path.symlink_metadata().expect("is there").permissions().mode() & 0o777, 0o600);
        let error = Listener::bind(&path, &own()).err().expect("is in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        drop(listener);
        assert!(!path.exists());
        let _open = Listener::bind(&path, &Allowed { own: 0, others: vec![5] }).expect("binds");
        assert_eq!(path.symlink_metadata().expect("is there").permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let stale = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        let living = Listener::bind(&path, &own()).err().expect("somebody listens");
        assert_eq!(living.kind(), io::ErrorKind::AddrInUse, "{living}");
        drop(stale);
        let old = path.symlink_metadata().expect("stays").ino();
        let listener = Listener::bind(&path, &own()).expect("nobody listens");
        // Somebody else's file in our place is left alone.
        std::fs::remove_file(&path).expect("goes");
        std::fs::write(&path, "mine").expect("writes");
        drop(listener);
        assert_eq!(std::fs::read(&path).expect("still there"), b"mine");
        let error = Listener::bind(&path, &own()).err().expect("no socket");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        let _ = old;
    }
}
