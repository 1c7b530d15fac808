//! The command line of a running client: says what is to be done over its local socket, and shows the call.
//!
//! With a terminal the call is one line that is written over, and the keys `a`, `r` and `h` with Enter answer, reject and
//! hang up. Without one, or with `--json`, every change is a line of its own.

use super::config::ClientConfig;
use crate::local::UNREAD_MAX;
use clap::Subcommand;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the view is made anew.
const REFRESH: Duration = Duration::from_secs(1);
/// Without a terminal, how often a call that is up is mentioned.
const MENTION: Duration = Duration::from_secs(10);
/// How long an answer of the client may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a stop or a key is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// What to do with a running client.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Wait until the client can be called, and say where it is registered
    Register {
        /// Which client.
        #[command(flatten)]
        at: Where,
        /// Give up after this many seconds
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// Show incoming calls and what becomes of them, until interrupted
    Listen {
        /// Which client.
        #[command(flatten)]
        at: Where,
    },
    /// Call somebody and show the call until it ends; an interrupt hangs up
    Call {
        /// The callee's certificate, a PEM file
        certificate: PathBuf,
        /// Which client.
        #[command(flatten)]
        at: Where,
        /// Only begin the call
        #[arg(long)]
        detach: bool,
    },
    /// Answer the incoming call
    Answer {
        /// Which client.
        #[command(flatten)]
        at: Where,
    },
    /// Reject the incoming call
    Reject {
        /// Which client.
        #[command(flatten)]
        at: Where,
    },
    /// End the call
    HangUp {
        /// Which client.
        #[command(flatten)]
        at: Where,
    },
    /// Show registration, call, packets and counts
    Status {
        /// Which client.
        #[command(flatten)]
        at: Where,
    },
}

/// Which client.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Where {
    /// The running client's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Or its socket: `socket` of its configuration
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Where {
    fn path(&self) -> Result<PathBuf, String> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let file = self.config.as_ref().ok_or("give --config or --socket")?;
        let named = |what: String| format!("{}: {what}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
        ClientConfig::socket_of(&text).map_err(named)
    }
}

/// A connection to a running client.
struct Connection {
    reader: BufReader<UnixStream>,
    /// What of a line has come yet.
    line: Vec<u8>,
    path: PathBuf,
}

impl Connection {
    fn open(path: &Path) -> Result<Connection, String> {
        let fail = |error: std::io::Error| {
            format!("{}: {error}; is the client running, with `socket` at this path?", path.display())
        };
        let stream = UnixStream::connect(path).map_err(fail)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(fail)?;
        Ok(Connection { reader: BufReader::new(stream), line: Vec::new(), path: path.to_owned() })
    }

    /// The next line within `patience`; `None` when there is none yet.
    fn next(&mut self, patience: Duration) -> Result<Option<Value>, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", self.path.display());
        self.reader.get_ref().set_read_timeout(Some(patience)).map_err(fail)?;
        let room = UNREAD_MAX.saturating_sub(self.line.len());
        match (&mut self.reader).take(room as u64).read_until(b'\n', &mut self.line) {
            Ok(0) => Err(format!("{}: the client has gone", self.path.display())),
            Ok(_) if self.line.ends_with(b"\n") => {
                let line = std::mem::take(&mut self.line);
                let value = serde_json::from_slice(&line);
                value.map(Some).map_err(|error| format!("{}: no JSON: {error}", self.path.display()))
            }
            Ok(_) => Ok(None),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(fail(error)),
        }
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", self.path.display());
        self.reader.get_mut().write_all(format!("{request}\n").as_bytes()).map_err(fail)?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(answer) = self.next(PATIENCE)? {
                return match answer["error"].as_str() {
                    Some(error) => Err(error.to_owned()),
                    None => Ok(answer),
                };
            }
        }
        Err(format!("{}: no answer within {} s", self.path.display(), PATIENCE.as_secs()))
    }
}

/// Carries a command out; the exit code: 0, or 3 for a call that was not answered.
///
/// # Errors
/// What is wrong and the mend.
pub fn run(command: &Command, json: bool, stop: &Arc<AtomicBool>) -> Result<u8, String> {
    let simple = |at: &Where, what: &str| {
        let answer = Connection::open(&at.path()?)?.ask(&json!({ "do": what }))?;
        if json {
            println!("{answer}");
        }
        Ok(0)
    };
    match command {
        Command::Register { at, wait } => register(&at.path()?, Duration::from_secs(*wait), json, stop),
        Command::Listen { at } => watch(&at.path()?, None, json, stop),
        Command::Call { certificate, at, detach } => {
            // The client may run elsewhere in the file system than this command.
            let pem = drover_dtls::certificate::Certificate::load(certificate).map_err(|error| error.to_string())?;
            let request = json!({ "do": "call", "certificate": pem.to_pem() });
            match detach {
                true => Connection::open(&at.path()?)?.ask(&request).map(|_| 0),
                false => watch(&at.path()?, Some(&request), json, stop),
            }
        }
        Command::Answer { at } => simple(at, "answer"),
        Command::Reject { at } => simple(at, "reject"),
        Command::HangUp { at } => simple(at, "hang_up"),
        Command::Status { at } => {
            let status = Connection::open(&at.path()?)?.ask(&json!({ "do": "status" }))?;
            match json {
                true => println!("{status}"),
                false => print!("{}", describe(&status)),
            }
            Ok(0)
        }
    }
}

fn register(path: &Path, wait: Duration, json: bool, stop: &AtomicBool) -> Result<u8, String> {
    let mut connection = Connection::open(path)?;
    let until = Instant::now() + wait;
    loop {
        let status = connection.ask(&json!({ "do": "status" }))?;
        if let Some(rendezvous) = status["call"]["registered"].as_str() {
            match json {
                true => println!("{}", json!({ "event": "registered", "rendezvous": rendezvous })),
                false => println!("registered at {rendezvous}"),
            }
            return Ok(0);
        }
        if stop.load(Ordering::Relaxed) || Instant::now() >= until {
            let link = if status["link"] == true { "up" } else { "not up" };
            let mix = status["mix"].as_str().unwrap_or("the mix");
            return Err(format!("not registered; the link to {mix} is {link}"));
        }
        std::thread::sleep(LOOK);
    }
}

/// Shows events; with a request of a call, until that call ends.
fn watch(path: &Path, call: Option<&Value>, json: bool, stop: &Arc<AtomicBool>) -> Result<u8, String> {
    let mut events = Connection::open(path)?;
    let mut orders = Connection::open(path)?;
    events.ask(&json!({ "do": "events" }))?;
    if let Some(request) = call {
        orders.ask(request)?;
    }
    let mut screen = Screen::new(json);
    let keys = (!json && std::io::stdin().is_terminal()).then(keys);
    if keys.is_some() {
        screen.line("keys, each with Enter: a answer, r reject, h hang up");
    }
    let (mut refresh, mut hung_up, mut was_up) = (Instant::now(), false, false);
    loop {
        while let Some(event) = events.next(LOOK)? {
            screen.event(&event);
            was_up |= event["state"] == "up";
            if event["event"] == "ended" && call.is_some() {
                return Ok(if was_up { 0 } else { 3 });
            }
        }
        if stop.load(Ordering::Relaxed) {
            if call.is_none() || hung_up {
                return Ok(0);
            }
            hung_up = true;
            // Its end comes as an event.
            let _ = orders.ask(&json!({ "do": "hang_up" }));
            stop.store(false, Ordering::Relaxed);
        }
        while let Some(key) = keys.as_ref().and_then(|keys| keys.try_recv().ok()) {
            if let Err(text) = orders.ask(&json!({ "do": key })) {
                screen.line(&text);
            }
        }
        if Instant::now() >= refresh {
            refresh = Instant::now() + REFRESH;
            let status = orders.ask(&json!({ "do": "status" }))?;
            screen.status(&status);
        }
    }
}

/// Commands typed at the terminal. The thread ends with the process.
fn keys() -> std::sync::mpsc::Receiver<&'static str> {
    let (send, keys) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let order = match line.trim() {
                "a" => "answer",
                "r" => "reject",
                "h" => "hang_up",
                _ => continue,
            };
            if send.send(order).is_err() {
                return;
            }
        }
    });
    keys
}

/// What the user sees.
struct Screen {
    json: bool,
    terminal: bool,
    /// Columns of the line that is written over.
    written: usize,
    mentioned: Option<Instant>,
}

impl Screen {
    fn new(json: bool) -> Screen {
        Screen { json, terminal: !json && std::io::stdout().is_terminal(), written: 0, mentioned: None }
    }

    fn line(&mut self, text: &str) {
        let blank = " ".repeat(self.written.saturating_sub(text.chars().count()));
        let over = if self.written > 0 { "\r" } else { "" };
        self.written = 0;
        println!("{over}{text}{blank}");
    }

    fn event(&mut self, event: &Value) {
        match (self.json, told(event)) {
            (true, _) => println!("{event}"),
            (false, Some(text)) => self.line(&text),
            (false, None) => {}
        }
    }

    fn status(&mut self, status: &Value) {
        if self.json || status["call"]["state"] != "up" {
            return;
        }
        let text = progress(status);
        if self.terminal {
            let blank = " ".repeat(self.written.saturating_sub(text.chars().count()));
            print!("\r{text}{blank}");
            self.written = text.chars().count();
            // A terminal that is gone shows nothing more.
            let _ = std::io::stdout().flush();
        } else if self.mentioned.is_none_or(|at| at.elapsed() >= MENTION) {
            self.mentioned = Some(Instant::now());
            println!("{text}");
        }
    }
}

fn peer(call: &Value) -> String {
    let field = |key: &str| call["peer"][key].as_str().unwrap_or("?").to_owned();
    format!("{}@{}", field("name"), field("zone"))
}

/// An event, for people.
fn told(event: &Value) -> Option<String> {
    let text = |key: &str| event[key].as_str().unwrap_or("?").to_owned();
    Some(match event["event"].as_str()? {
        "registered" => format!("registered at {}", text("rendezvous")),
        "unregistered" => format!("not registered: {}; trying again", text("why")),
        "mending" => format!("the call broke: {}; joining it anew", text("why")),
        "mended" => format!("joined anew after {:.1} s", event["gap_ms"].as_f64().unwrap_or(0.0) / 1000.0),
        "ended" => {
            format!("call with {} ended, {}: {}", peer(&event["call"]), text("reason").replace('_', " "), text("why"))
        }
        "state" => match event["state"].as_str()? {
            "looking_up" => format!("looking for {}", peer(event)),
            "calling" => format!("calling {}", peer(event)),
            "ringing" => format!("{} rings", peer(event)),
            "incoming" => format!("{} calls; answer with: drover-client answer", peer(event)),
            "joining" => match event["sas"].as_str() {
                Some(sas) => format!("answered; compare by voice: {}", spaced(sas)),
                None => "answered".to_owned(),
            },
            "up" => {
                let sas = event["sas"].as_str().unwrap_or_default();
                let set_up = event["set_up_ms"].as_f64().unwrap_or(0.0) / 1000.0;
                format!("the call with {} is up after {set_up:.1} s; compare by voice: {}", peer(event), spaced(sas))
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Six digits are read in threes.
fn spaced(sas: &str) -> String {
    match sas.split_at_checked(3) {
        Some((left, right)) if sas.len() == 6 => format!("{left} {right}"),
        _ => sas.to_owned(),
    }
}

/// A call that is up, in one line.
fn progress(status: &Value) -> String {
    let (call, packets) = (&status["call"], &status["packets"]);
    let count = |key: &str| packets[key].as_u64().unwrap_or(0);
    let (up, lost, cells) = (call["up_s"].as_u64().unwrap_or(0), count("lost"), count("cells"));
    let share = 100.0 * lost as f64 / (lost + cells).max(1) as f64;
    format!(
        "up {:02}:{:02}  {}  {}  packets sent {} received {}  cells lost {lost} ({share:.1} %)",
        up / 60,
        up % 60,
        peer(call),
        spaced(call["sas"].as_str().unwrap_or("------")),
        count("sent"),
        count("received"),
    )
}

/// The status, for people.
fn describe(status: &Value) -> String {
    let call = &status["call"];
    let link = if status["link"] == true { "up" } else { "not up" };
    let registered = call["registered"].as_str().unwrap_or("no");
    let state = call["state"].as_str().unwrap_or("?");
    let mut text = format!("link          to {}, {link}\n", status["mix"].as_str().unwrap_or("?"));
    text += &format!("registered    {registered}\n");
    text += &match state {
        "idle" => match call["last"].as_str() {
            Some(last) => format!("call          none; the last one: {}\n", last.replace('_', " ")),
            None => "call          none\n".to_owned(),
        },
        "up" => format!("call          {}\n", progress(status)),
        _ => format!("call          {} {}\n", state.replace('_', " "), peer(call)),
    };
    let calls = &status["calls"];
    let count = |key: &str| calls[key].as_u64().unwrap_or(0);
    text += &format!(
        "signals       sent {}, received {}, refused {}\n",
        count("signals_sent"),
        count("signals_received"),
        count("refused")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::calls::{CallEvent, CallState, CallView, EndReason, PeerView};

    fn view(state: CallState) -> CallView {
        CallView {
            registered: Some("north/n1".to_owned()),
            state,
            peer: Some(PeerView { name: "bob".to_owned(), zone: "south".to_owned(), id: "00".to_owned() }),
            outgoing: Some(true),
            sas: Some("012345".to_owned()),
            up_s: Some(65),
            set_up_ms: Some(2345.0),
            circuit_ms: Some(812.0),
            mended: 0,
            last: None,
        }
    }

    #[test]
    fn every_event_is_told() {
        let tell = |event: &CallEvent| told(&serde_json::to_value(event).expect("plain data")).expect("told");
        let why = "a reason".to_owned();
        assert_eq!(tell(&CallEvent::Registered { rendezvous: "north/n1".to_owned() }), "registered at north/n1");
        assert!(tell(&CallEvent::Unregistered { why: why.clone() }).contains("a reason"));
        assert!(tell(&CallEvent::Mending { why: why.clone(), attempt: 1 }).contains("a reason"));
        assert_eq!(tell(&CallEvent::Mended { gap_ms: 1500.0 }), "joined anew after 1.5 s");
        let ended = CallEvent::Ended { reason: EndReason::NoAnswer, why, call: view(CallState::Ringing) };
        assert_eq!(tell(&ended), "call with bob@south ended, no answer: a reason");
        for state in [CallState::LookingUp, CallState::Calling, CallState::Ringing, CallState::Incoming, CallState::Up]
        {
            assert!(tell(&CallEvent::State(view(state))).contains("bob@south"), "{state:?}");
        }
        assert!(tell(&CallEvent::State(view(CallState::Joining))).contains("012 345"));
    }

    #[test]
    fn a_call_is_one_line() {
        let packets = json!({ "sent": 3000, "received": 2950, "cells": 3150, "lost": 50 });
        let status =
            json!({ "call": view(CallState::Up), "packets": packets, "mix": "north/n1", "link": true, "calls": {} });
        let line = progress(&status);
        assert_eq!(line, "up 01:05  bob@south  012 345  packets sent 3000 received 2950  cells lost 50 (1.6 %)");
        assert!(describe(&status).contains(&line));
        assert!(describe(&json!({ "call": { "state": "idle", "last": "busy" } })).contains("none; the last one: busy"));
        // Whatever a socket says: no panic.
        for odd in [json!(null), json!([]), json!({ "call": 5, "packets": "x" }), json!({ "event": 3 })] {
            describe(&odd);
            progress(&odd);
            told(&odd);
        }
    }
}
