//! A zone, and mixes of it in this process: a data plane on loopback and the control daemon's loop.

use drover_control::link::{LinkConfig, class};
use drover_control::mix::{config::MixConfig, daemon};
use drover_control::socket::ControlSocket;
use drover_control::zone::{MixEntry, Slots, ZoneDocument, Zones};
use drover_dataplane::config::Config;
use drover_dataplane::process::{Running, launch_mix};
use drover_dtls::certificate::{Certificate, Identity, Role};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// These tests have rates: one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What a zone's document says of rates.
#[derive(Clone, Copy)]
pub struct Rates {
    pub rate: u32,
    pub client: u32,
    pub within: u32,
    pub ratchet_bits: u8,
}

pub struct Zone {
    identity: Identity,
    rates: Rates,
}

impl Zone {
    pub fn new(rates: Rates) -> Zone {
        Zone { identity: Identity::new_zone("a", unix_s(), 30).expect("a zone"), rates }
    }

    /// The certificate that its members trust.
    pub fn authority(&self) -> &Certificate {
        self.identity.certificate()
    }

    pub fn issue(&self, name: &str, role: Role) -> Identity {
        self.identity.issue(name, role, unix_s(), 30).expect("an identity")
    }

    /// The document, as it is read by everybody: signed, then checked.
    pub fn document(&self, mixes: &[(&Certificate, SocketAddr)]) -> Arc<Zones> {
        let now = unix_s();
        let slots = |slots| Slots { slots };
        let mixes = mixes.iter().map(|&(certificate, address)| MixEntry {
            name: certificate.name().to_owned(),
            address,
            certificate: certificate.clone(),
        });
        let document = ZoneDocument {
            zone: "a".to_owned(),
            serial: 1,
            validity: (now - 10, now + 86_400),
            cell: 256,
            rate: self.rates.rate,
            ratchet_bits: self.rates.ratchet_bits,
            rekey_s: 600,
            epoch_s: 86_400,
            client: slots(self.rates.client),
            within: slots(self.rates.within),
            pair: slots(2),
            authority: self.identity.certificate().clone(),
            mixes: mixes.collect(),
            peers: Vec::new(),
        };
        let text = document.sign(&self.identity).expect("signed");
        let authority = Some(self.identity.certificate());
        let read = ZoneDocument::parse(&text, authority, now).expect("sound");
        Arc::new(Zones::new(read, Vec::new()).expect("one zone"))
    }
}

/// A data plane that listens; its daemon comes when the address is known to all.
pub struct Plane {
    running: Running,
    folder: tempfile::TempDir,
}

impl Plane {
    pub fn start(tick_us: u64) -> Plane {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("plane.sock");
        let text = format!(
            "cell = 256\n[pacing]\npolicy = \"tick\"\ntick_us = {tick_us}\n[control]\nsocket = {socket:?}\n\
             [[worker]]\nlisten = \"127.0.0.1:0\"\n"
        );
        let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
        Plane { running: launch_mix(&config).expect("a data plane"), folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.listens()[0]
    }
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn mix(self, identity: Identity, zones: Arc<Zones>, links: LinkConfig) -> Mix {
        let control_socket = self.folder().join("control.sock");
        let config = MixConfig {
            identity: Arc::new(identity),
            zones,
            data_plane: self.running.socket().to_owned(),
            control_socket: control_socket.clone(),
            links,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let daemon = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || daemon::run(&config, &stop, |_| ())
        });
        Mix { daemon: Some(daemon), stop, control_socket, plane: self }
    }
}

/// A mix.
pub struct Mix {
    daemon: Option<JoinHandle<Result<(), String>>>,
    stop: Arc<AtomicBool>,
    control_socket: PathBuf,
    pub plane: Plane,
}

impl Mix {
    /// The daemon's status; null until it answers.
    pub fn status(&self) -> Value {
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(&self.control_socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"{\"do\":\"status\"}\n")?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        };
        ask().ok().and_then(|line| serde_json::from_str(&line).ok()).unwrap_or(Value::Null)
    }

    /// Asks until `wanted`.
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what} did not come about: {status}");
            // Yields the core: what is waited for is bounded by the deadline, not by this.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A refusal's count.
    pub fn refused(status: &Value, reason: &str) -> u64 {
        status["totals"]["links"]["refused"][reason].as_u64().unwrap_or(0)
    }

    /// What the data plane dropped, by reason, and the records that opened on its client links.
    pub fn plane_counts(&self) -> (BTreeMap<String, u64>, u64) {
        // Links' counts are published a few times a second.
        std::thread::sleep(Duration::from_millis(500));
        let mut socket = ControlSocket::connect(self.plane.running.socket()).expect("connects");
        let status: Value = serde_json::from_str(&socket.status_json().expect("a status")).expect("JSON");
        let drops = status["workers"][0]["drops"].as_object().expect("drops");
        let drops = drops.iter().map(|(reason, count)| (reason.clone(), count.as_u64().expect("a count"))).collect();
        let links = socket.links_json().expect("links");
        let clients = links.iter().filter(|link| link.class == u32::from(class::CLIENT));
        (drops, clients.map(|link| link.received).sum())
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.daemon.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("once").expect("the daemon's thread").expect("the daemon");
        }
    }
}
