//! A daemon's own local socket: a Unix stream socket with one JSON object a line, each way.
//!
//! Only our own user and root may connect: the file has mode 0600 and the kernel's word for the peer is checked. Lines,
//! connections and unread answers are bounded; who does not read is closed.

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 16;
/// Bytes of the longest line.
pub const LINE_MAX: usize = 64 * 1024;
/// Bytes of answers and events that a peer may leave unread.
pub const UNREAD_MAX: usize = 1 << 20;
/// Lines taken from one connection before the next has its turn.
const LINES_A_TURN: usize = 16;

/// A connection, as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    place: usize,
    number: u64,
}

struct Connection {
    number: u64,
    stream: UnixStream,
    input: Vec<u8>,
    output: VecDeque<u8>,
    ended: bool,
}

/// The listening socket and its connections. Dropping it removes the socket's file.
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that we made.
    file: (u64, u64),
    base: usize,
    next_number: u64,
    connections: [Option<Connection>; CONNECTIONS_MAX],
}

impl LocalSocket {
    /// Tokens that a socket uses, from its first on.
    pub const TOKENS: usize = CONNECTIONS_MAX + 1;

    /// Listens on `path`, a socket there that nobody listens on is replaced; registers with tokens from `base` on.
    ///
    /// # Errors
    /// `AddrInUse` when a process listens there, `AlreadyExists` when what is there is no socket, else what the system
    /// says.
    pub fn bind(path: &Path, registry: &Registry, base: usize) -> io::Result<LocalSocket> {
        make_room(path)?;
        // The file has its mode before anybody can connect: the folder of a temporary name is ours alone.
        let mut listener = bind_private(path)?;
        let stat = std::fs::symlink_metadata(path)?;
        registry.register(&mut listener, Token(base), Interest::READABLE)?;
        let connections = std::array::from_fn(|_| None);
        let file = (stat.dev(), stat.ino());
        Ok(LocalSocket { listener, path: path.to_owned(), file, base, next_number: 0, connections })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes new connections and lines after a poll; `answer` returns what to send back, if anything.
    pub fn serve(&mut self, registry: &Registry, mut answer: impl FnMut(Peer, &str) -> Option<String>) {
        self.accept(registry);
        for place in 0..CONNECTIONS_MAX {
            let Some(connection) = &mut self.connections[place] else { continue };
            connection.fill();
            let peer = Peer { place, number: connection.number };
            for _ in 0..LINES_A_TURN {
                let Some(line) = connection.line() else { break };
                if let Some(reply) = answer(peer, &line) {
                    connection.push(&reply);
                }
            }
            connection.flush();
            if connection.ended {
                self.close(registry, place);
            }
        }
    }

    /// Sends a line to one peer, if it is still there.
    pub fn send(&mut self, peer: Peer, line: &str) {
        let connection = self.connections.get_mut(peer.place).and_then(Option::as_mut);
        if let Some(connection) = connection.filter(|connection| connection.number == peer.number) {
            connection.push(line);
            connection.flush();
        }
    }

    fn accept(&mut self, registry: &Registry) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let free = self.connections.iter().position(Option::is_none);
            let (Some(place), true) = (free, ours(&stream)) else { continue };
            let token = Token(self.base + 1 + place);
            if registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
                self.next_number += 1;
                let number = self.next_number;
                let (input, output) = (Vec::new(), VecDeque::new());
                self.connections[place] = Some(Connection { number, stream, input, output, ended: false });
            }
        }
    }

    fn close(&mut self, registry: &Registry, place: usize) {
        if let Some(mut connection) = self.connections[place].take() {
            // The descriptor is closed with it in any case.
            let _ = registry.deregister(&mut connection.stream);
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|stat| (stat.dev(), stat.ino()) == self.file);
        if ours {
            // If it cannot be removed, the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Connection {
    fn fill(&mut self) {
        let mut bytes = [0; 4096];
        while self.input.len() <= LINE_MAX {
            match self.stream.read(&mut bytes) {
                Ok(0) => return self.ended = true,
                Ok(n) => self.input.extend_from_slice(&bytes[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.ended = true,
            }
        }
    }

    /// The next whole line; one that is too long or not UTF-8 ends the connection.
    fn line(&mut self) -> Option<String> {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            self.ended |= self.input.len() > LINE_MAX;
            return None;
        };
        let line: Vec<u8> = self.input.drain(..=end).collect();
        let line = String::from_utf8(line).ok().filter(|line| line.len() <= LINE_MAX);
        self.ended |= line.is_none();
        line.map(|line| line.trim_end().to_owned())
    }

    fn push(&mut self, line: &str) {
        if self.output.len() + line.len() >= UNREAD_MAX {
            self.ended = true;
            return;
        }
        self.output.extend(line.bytes());
        self.output.push_back(b'\n');
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(self.output.as_slices().0) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.ended = true,
            }
        }
    }
}

/// Whether the kernel says that the peer is our own user or root.
fn ours(stream: &UnixStream) -> bool {
    let own = rustix::process::getuid().as_raw();
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| [0, own].contains(&peer.uid.as_raw()))
}

/// Binds under a name in a folder of its own, sets the mode, then moves it to its place.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "a socket needs a file name"))?;
    let mut drawn = [0; 4];
    getrandom::fill(&mut drawn).map_err(|error| io::Error::other(error.to_string()))?;
    let folder = path.with_file_name(format!(".{:08x}", u32::from_le_bytes(drawn)));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder)?;
    let inside = folder.join(name);
    let bound = UnixListener::bind(&inside).and_then(|listener| {
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&inside, path)?;
        Ok(listener)
    });
    // Empty now, whether it went well or not.
    let _ = std::fs::remove_file(&inside);
    let _ = std::fs::remove_dir(&folder);
    bound
}

/// Removes a socket that nobody listens on.
fn make_room(path: &Path) -> io::Result<()> {
    let stat = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !stat.file_type().is_socket() {
        let text = "what is there is no socket and will not be replaced";
        return Err(io::Error::new(ErrorKind::AlreadyExists, text));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => {
            let text = "another process listens there: stop it, or choose another path";
            Err(io::Error::new(ErrorKind::AddrInUse, text))
        }
    }
}

/// Sends one line to a daemon's local socket and returns the line that it answers.
///
/// # Errors
/// What failed and the mend, for people.
pub fn ask(path: &Path, line: &str) -> Result<String, String> {
    use std::io::{BufRead, BufReader};
    let fail = |error: io::Error| format!("{}: {error}; is the program that listens there running?", path.display());
    let mut stream = std::os::unix::net::UnixStream::connect(path).map_err(fail)?;
    stream.set_read_timeout(Some(crate::socket::TIMEOUT)).map_err(fail)?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(fail)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream).take(UNREAD_MAX as u64);
    match reader.read_line(&mut answer).map_err(fail)? {
        0 => Err(format!("{}: closed without an answer", path.display())),
        _ => Ok(answer.trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::io::{BufRead, BufReader};
    use std::time::Duration;

    /// Serves until `done`.
    fn turn(poll: &mut Poll, socket: &mut LocalSocket, mut done: impl FnMut() -> bool) {
        let mut events = Events::with_capacity(16);
        for _ in 0..1000 {
            poll.poll(&mut events, Some(Duration::from_millis(5))).expect("polls");
            socket.serve(poll.registry(), |_, line| (line != "quiet").then(|| format!("you said {line}")));
            if done() {
                return;
            }
        }
        panic!("it is never done");
    }

    #[test]
    fn lines_are_answered_and_limits_hold() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("it.sock");
        let mut poll = Poll::new().expect("a poll");
        let mut socket = LocalSocket::bind(&path, poll.registry(), 7).expect("binds");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 1, "nothing else is left there");
        let busy = LocalSocket::bind(&path, poll.registry(), 90).err().expect("in use");
        assert_eq!(busy.kind(), ErrorKind::AddrInUse);

        let asked = path.clone();
        let asker = std::thread::spawn(move || ask(&asked, "hello"));
        turn(&mut poll, &mut socket, || asker.is_finished());
        assert_eq!(asker.join().expect("joins"), Ok("you said hello".to_owned()));

        // A line without an end is not waited for beyond the limit.
        let mut long = std::os::unix::net::UnixStream::connect(&path).expect("connects");
        let feeder = std::thread::spawn(move || {
            let _ = long.write_all(&vec![b'x'; LINE_MAX * 4]);
            let mut rest = String::new();
            let _ = BufReader::new(long).read_line(&mut rest);
            rest
        });
        turn(&mut poll, &mut socket, || feeder.is_finished());
        assert_eq!(feeder.join().expect("joins"), "");

        // More than fit are turned away; those that go make room.
        let many: Vec<_> = (0..CONNECTIONS_MAX + 4).map(|_| std::os::unix::net::UnixStream::connect(&path)).collect();
        assert!(many.iter().all(Result::is_ok));
        let mut turns = 0;
        turn(&mut poll, &mut socket, || {
            turns += 1;
            turns > 3
        });
        assert_eq!(socket.connections.iter().flatten().count(), CONNECTIONS_MAX);
        drop(many);
        turns = 0;
        turn(&mut poll, &mut socket, || {
            turns += 1;
            turns > 3
        });
        assert_eq!(socket.connections.iter().flatten().count(), 0);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, "mine").expect("written");
        let poll = Poll::new().expect("a poll");
        let error = LocalSocket::bind(&path, poll.registry(), 0).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "mine");
        assert!(ask(&dir.path().join("none"), "x").expect_err("nobody").contains("running"));
    }
}
