//! The control core: the very [`Hops`] of a mix's control daemon, between a data plane that says yes and neighbours that
//! only listen.

use super::BATCH;
use drover_control::channel::SendError;
use drover_control::circuit::hops::Hops;
use drover_control::circuit::limits::SETUPS_A_TURN;
use drover_control::circuit::messages::{LinkMessage, X25519};
use drover_control::circuit::ntor;
use drover_control::link::{Neighbours, PeerInfo};
use drover_control::message::link::{CREATE, CREATE_FAILED, CREATED, KEYS};
use drover_control::plane::{Now, Plane, PlaneError};
use drover_control::zone::{MixEntry, Slots, ZoneDocument, Zones};
use drover_dtls::certificate::{Identity, NodeId, Role};
use drover_wire::control::{BootId, REQUEST_MAX, Request, Welcome, Workers};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Requests that clients have made beforehand; making one costs more than answering it.
const REQUESTS: usize = 64;

/// A data plane that carries out every request: encoding it is control's work, and is done.
struct Yes {
    welcome: Welcome,
    buffer: Box<[u8; REQUEST_MAX]>,
    asked: u64,
}

impl Plane for Yes {
    fn welcome(&self) -> &Welcome {
        &self.welcome
    }
    fn ask(&mut self, request: &Request) -> Result<(), PlaneError> {
        self.asked += 1;
        let written = request.encode(self.asked as u32, &mut *self.buffer);
        written.map(drop).map_err(|full| PlaneError::Gone(full.to_string()))
    }
    fn report(&mut self, _: &Request) -> Result<String, PlaneError> {
        Ok("{\"next\":null,\"circuits\":[],\"links\":[],\"classes\":[],\"ends\":[]}".to_owned())
    }
}

/// Clients: every link is one's.
#[derive(Default)]
struct Listening {
    created: u64,
    failed: u64,
    /// The mix's short-term key: number and public value.
    key: Option<(u32, [u8; X25519])>,
}

impl Neighbours for Listening {
    fn send(&mut self, _: Now, _: u32, kind: u8, bytes: &[u8]) -> Result<u32, Option<SendError>> {
        if kind == KEYS
            && let Some(Ok(LinkMessage::Keys(keys))) = LinkMessage::decode(kind, bytes)
        {
            self.key = keys.first().map(|key| (key.key, key.public));
        }
        self.created += u64::from(kind == CREATED);
        self.failed += u64::from(kind == CREATE_FAILED);
        Ok(0)
    }
    fn link_of(&self, _: NodeId) -> Option<u32> {
        None
    }
    fn peer_of(&self, link: u32) -> Option<PeerInfo> {
        Some(peer(link))
    }
    fn lower_ids_are_ours(&self, _: u32) -> bool {
        false
    }
}

fn peer(link: u32) -> PeerInfo {
    let mut id = [0xc1; 16];
    id[..4].copy_from_slice(&link.to_be_bytes());
    PeerInfo { id: NodeId(id), role: Role::Client, foreign: false }
}

/// One control core.
pub struct Core {
    hops: Hops,
    plane: Yes,
    links: Listening,
    now: Now,
    /// CREATE messages, whose ids are set when they are used.
    creates: Vec<Vec<u8>>,
    next: usize,
    next_id: u32,
}

impl Core {
    /// A mix's circuits, and requests of clients.
    ///
    /// # Errors
    /// The cryptographic libraries make no keys.
    pub fn new() -> Result<Core, String> {
        let now = Now::read();
        let (identity, zones) = mix(now.unix_s)?;
        let me = identity.certificate().id();
        let mut hops = Hops::new(Arc::new(identity), Arc::new(zones), now);
        let welcome = Welcome {
            boot: BootId::default(),
            cell: 256,
            now_ns: now.mono_ns,
            lab: false,
            ends: false,
            workers: Workers::new(),
        };
        let mut plane = Yes { welcome, buffer: Box::new([0; REQUEST_MAX]), asked: 0 };
        hops.adopt(&mut plane, now).map_err(|error| error.to_string())?;
        let mut links = Listening::default();
        let (kind, bytes) = LinkMessage::KeysWanted.encode();
        hops.on_link_message(&mut plane, &mut links, now, (1, peer(1)), kind, &bytes);
        let key = links.key.ok_or("the mix tells no short-term key")?;
        let mut creates = Vec::with_capacity(REQUESTS);
        for number in 0..REQUESTS {
            // Which client's link it comes over changes the keys, not the work.
            let parties = ntor::Parties { previous: peer(number as u32).id, hop: me };
            let client = ntor::Client::begin(parties, key, false, number as u64);
            let request = client.map_err(|error| error.to_string())?.request().clone();
            creates.push(LinkMessage::Create(1, request).encode().1);
        }
        Ok(Core { hops, plane, links, now, creates, next: 0, next_id: 0 })
    }

    /// Answers a batch of CREATEs, from message in to message out and request encoded, and tells how long that took; then
    /// ends the circuits, which is not timed.
    ///
    /// # Errors
    /// Not every one was answered with CREATED.
    pub fn batch(&mut self) -> Result<Duration, String> {
        let before = self.links.created;
        let first = self.next_id;
        let mut taken = Duration::ZERO;
        for turn in (0..BATCH).step_by(SETUPS_A_TURN) {
            // A link each: a mix takes few CREATEs of one client at a time.
            let links = turn..(turn + SETUPS_A_TURN).min(BATCH);
            let creates: Vec<_> = links.map(|link| (link as u32 + 1, self.create())).collect();
            let begin = Instant::now();
            for (link, message) in &creates {
                let from = (*link, peer(*link));
                self.hops.on_link_message(&mut self.plane, &mut self.links, self.now, from, CREATE, message);
            }
            self.hops.on_tick(&mut self.plane, &mut self.links, self.now);
            taken += begin.elapsed();
        }
        let made = self.links.created - before;
        if made != BATCH as u64 || self.links.failed > 0 {
            let refused = &self.hops.counters().refused;
            return Err(format!("{made} of {BATCH} set-ups were answered; refused: {refused:?}"));
        }
        for (at, id) in (first + 1..=self.next_id).enumerate() {
            let link = at as u32 + 1;
            let (kind, bytes) = LinkMessage::Destroy(id).encode();
            self.hops.on_link_message(&mut self.plane, &mut self.links, self.now, (link, peer(link)), kind, &bytes);
        }
        Ok(taken)
    }

    /// The next CREATE, under an id of its own.
    fn create(&mut self) -> Vec<u8> {
        self.next = (self.next + 1) % REQUESTS;
        self.next_id += 1;
        let mut message = self.creates[self.next].clone();
        message[..4].copy_from_slice(&self.next_id.to_be_bytes());
        message
    }
}

/// A zone of one mix.
fn mix(unix_s: u64) -> Result<(Identity, Zones), String> {
    let text = |error: drover_dtls::certificate::CertificateError| error.to_string();
    let authority = Identity::new_zone("z", unix_s, 1).map_err(text)?;
    let identity = authority.issue("m", Role::Mix, unix_s, 1).map_err(text)?;
    let slots = Slots { slots: 2 };
    let certificate = identity.certificate().clone();
    let document = ZoneDocument {
        zone: "z".to_owned(),
        serial: 1,
        validity: (unix_s, unix_s + 3_600),
        cell: 256,
        rate: 50,
        ratchet_bits: 24,
        rekey_s: 3_600,
        epoch_s: 3_600,
        client: slots,
        within: slots,
        pair: slots,
        authority: authority.certificate().clone(),
        mixes: vec![MixEntry { name: "m".to_owned(), address: ([127, 0, 0, 1], 1).into(), certificate }],
        peers: Vec::new(),
    };
    let zones = Zones::new(document, Vec::new()).map_err(|error| error.to_string())?;
    Ok((identity, zones))
}
