//! A zone with nodes, and a lossy link between two handshakes in virtual time.

use drover_dtls::certificate::{Certificate, Identity, Role};
use drover_dtls::handshake::{Context, Groups, Handshake, HandshakeError, Progress, Side, TakeOver};
use std::collections::BTreeMap;

/// When everything here happens, s since 1970.
pub const NOW: u64 = 1_800_000_000;

pub struct Zone {
    pub identity: Identity,
}

impl Zone {
    pub fn new(name: &str) -> Zone {
        Zone { identity: Identity::new_zone(name, NOW, 365).expect("a zone") }
    }

    pub fn node(&self, name: &str) -> Identity {
        self.identity.issue(name, Role::Mix, NOW, 30).expect("issued")
    }

    pub fn certificate(&self) -> Certificate {
        self.identity.certificate().clone()
    }

    /// The context of a new node that trusts this zone only.
    pub fn context(&self, name: &str) -> Context {
        self.context_of(&self.node(name), Groups::PostQuantum)
    }

    pub fn context_of(&self, node: &Identity, groups: Groups) -> Context {
        let context = Context::new(node, &[self.certificate()], groups).expect("a context");
        context.set_unix_time(NOW);
        context
    }
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*; the seed is never zero.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// A link that loses, repeats and reorders.
pub struct Lossy {
    pub random: Random,
    pub loss_percent: u64,
    pub repeat_percent: u64,
    pub delay_ns: u64,
    /// What is on its way: (arrival, order) → (to, datagram).
    flying: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    order: u64,
    /// Every datagram that was sent, lost or not: (from, datagram).
    pub sent: Vec<(usize, Vec<u8>)>,
}

impl Lossy {
    pub fn new(seed: u64, loss_percent: u64) -> Lossy {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (flying, sent) = (BTreeMap::new(), Vec::new());
        let repeat_percent = loss_percent;
        Lossy { random, loss_percent, repeat_percent, delay_ns: 60_000_000, flying, order: 0, sent }
    }

    fn send(&mut self, now: u64, from: usize, datagram: Vec<u8>) {
        let copies = 1 + u64::from(self.random.below(100) < self.repeat_percent);
        for _ in 0..copies {
            if self.random.below(100) >= self.loss_percent {
                let arrival = now + 1_000_000 + self.random.below(self.delay_ns);
                self.order += 1;
                self.flying.insert((arrival, self.order), (1 - from, datagram.clone()));
            }
        }
        self.sent.push((from, datagram));
    }
}

/// A side: in its handshake, or over and answering the peer's repetitions, as the control daemon does.
pub enum End {
    Shaking(Box<Handshake>),
    Over(Box<TakeOver>),
    Failed(HandshakeError),
}

impl End {
    pub fn new(context: &Context, side: Side, mtu: usize) -> End {
        End::Shaking(Box::new(Handshake::new(context, side, mtu).expect("a handshake")))
    }

    fn send_all(&mut self, now: u64, me: usize, link: &mut Lossy) {
        if let End::Shaking(handshake) = self {
            while let Some(datagram) = handshake.output() {
                link.send(now, me, datagram);
            }
        }
    }

    fn input(&mut self, now: u64, me: usize, datagram: &[u8], link: &mut Lossy) {
        match self {
            End::Shaking(handshake) => {
                handshake.set_now(now);
                let progress = handshake.input(datagram);
                self.send_all(now, me, link);
                match progress {
                    Ok(Progress::More) => {}
                    Ok(Progress::Done) => {
                        let End::Shaking(handshake) = std::mem::replace(self, End::Failed(HandshakeError::Timeout))
                        else {
                            unreachable!("it was shaking")
                        };
                        *self = End::Over(Box::new(handshake.take_over().expect("it is done")));
                    }
                    Err(error) => *self = End::Failed(error),
                }
            }
            // A record of epoch 2: the peer repeats its last flight.
            End::Over(over) if over.side == Side::Server && datagram[0] & 0xe3 == 0x22 => {
                over.last_flight.iter().for_each(|datagram| link.send(now, me, datagram.clone()));
            }
            End::Over(_) | End::Failed(_) => {}
        }
    }
}

/// Runs until neither side waits and nothing is on its way, or for a minute; the time that it took.
pub fn run(ends: &mut [End; 2], link: &mut Lossy) -> u64 {
    let mut now = 0;
    for (me, end) in ends.iter_mut().enumerate() {
        if let End::Shaking(handshake) = end {
            handshake.set_now(now);
        }
        end.send_all(now, me, link);
    }
    loop {
        let timers = ends.iter().enumerate().filter_map(|(me, end)| match end {
            End::Shaking(handshake) => handshake.timeout().map(|left| (now + left.as_nanos() as u64, me)),
            End::Over(_) | End::Failed(_) => None,
        });
        let timer = timers.min();
        let arrival = link.flying.first_key_value().map(|((at, _), _)| *at);
        match (timer, arrival) {
            (None, None) => return now,
            (Some((at, me)), arrival) if arrival.is_none_or(|arrival| at < arrival) => {
                now = at;
                if let End::Shaking(handshake) = &mut ends[me] {
                    handshake.set_now(now);
                    if let Err(error) = handshake.on_timeout() {
                        ends[me] = End::Failed(error);
                    }
                    ends[me].send_all(now, me, link);
                }
            }
            (_, _) => {
                let ((at, _), (to, datagram)) = link.flying.pop_first().expect("there is one");
                now = at;
                ends[to].input(now, to, &datagram, link);
            }
        }
        assert!(now < 60_000_000_000, "no end in sight");
    }
}

/// Both take-overs of a handshake that must succeed: client, server.
pub fn shake(client: &Context, server: &Context, mtu: usize, link: &mut Lossy) -> (TakeOver, TakeOver) {
    let mut ends = [End::new(client, Side::Client, mtu), End::new(server, Side::Server, mtu)];
    run(&mut ends, link);
    match ends {
        [End::Over(client), End::Over(server)] => (*client, *server),
        [client, server] => {
            let error = |end: End| match end {
                End::Failed(error) => error.to_string(),
                End::Shaking(_) => "not over".to_owned(),
                End::Over(_) => "over".to_owned(),
            };
            panic!("client: {}; server: {}", error(client), error(server))
        }
    }
}
