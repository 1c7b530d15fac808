//! Keys from a file's secret (`docs/wire.md`, W-LAB-1): HKDF-SHA-256 with salt = the boot ids of the two ends in the file's
//! order, info = label, then the generation as 4 bytes.
//!
//! A label says use, object and direction. That of a call's keys also names the lives of all its nodes: whichever of them
//! restarts, the call gets other keys at every hop, so that no mix is given a used key with a fresh replay window, and no
//! client a used key with a fresh number.

use super::network::{Call, Link};
use super::secret::FileSecret;
use drover_crypto::schedule::hkdf_sha256;
use drover_wire::control::{BootId, EndLayer, EndSecret, Leg, Secret};
use zeroize::Zeroize;

/// Mixes of one side of a call.
pub const HOPS: usize = 2;

/// The boot ids of two ends, in the order in which the file names their nodes.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// The end named first.
    pub first: BootId,
    /// The end named second.
    pub second: BootId,
}

/// Fills `out` from a secret.
pub fn derive(secret: &FileSecret, lives: Lives, label: &str, generation: u32, out: &mut [u8]) {
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(&lives.first.0);
    salt[16..].copy_from_slice(&lives.second.0);
    hkdf_sha256(&salt, secret.bytes(), &[label.as_bytes(), &generation.to_be_bytes()], out);
}

fn secret_of<const N: usize>(secret: &FileSecret, lives: Lives, label: &str, generation: u32) -> Secret<N> {
    let mut out = Secret([0; N]);
    derive(secret, lives, label, generation, &mut out.0);
    out
}

fn number_of(secret: &FileSecret, lives: Lives, label: &str, generation: u32) -> u64 {
    let mut bytes = [0; 8];
    derive(secret, lives, label, generation, &mut bytes);
    let number = u64::from_be_bytes(bytes);
    bytes.zeroize();
    number
}

/// Traffic secrets of a link's two directions.
#[derive(Clone, Debug)]
pub struct LinkKeys {
    /// What a sends.
    pub a_to_b: Secret<32>,
    /// What b sends.
    pub b_to_a: Secret<32>,
}

impl LinkKeys {
    /// Secrets of a file's link; `lives` are of its nodes a and b in the order of the file's nodes.
    pub fn new(link: &Link, lives: Lives, generation: u32) -> LinkKeys {
        LinkKeys::named(&link.secret, &link.name, (&link.a, &link.b), lives, generation)
    }

    /// Secrets of a link called `name` between `a` and `b`.
    pub fn named(secret: &FileSecret, name: &str, (a, b): (&str, &str), lives: Lives, generation: u32) -> LinkKeys {
        let way =
            |from: &str, to: &str| secret_of(secret, lives, &format!("link/{name}/traffic/{from}/{to}/"), generation);
        LinkKeys { a_to_b: way(a, b), b_to_a: way(b, a) }
    }
}

/// What a client and one mix of its side share.
#[derive(Clone, Debug)]
pub struct HopKeys {
    /// Key of the layer that the mix peels.
    pub forward: Secret<16>,
    /// What the mix adds to the forward counter.
    pub forward_offset: u64,
    /// Key of the layer that the mix adds.
    pub backward: Secret<16>,
    /// What the mix adds to the backward counter.
    pub backward_offset: u64,
}

/// All keys of one call, as both clients and all mixes hold parts of them.
#[derive(Clone, Debug)]
pub struct CallKeys {
    /// The caller's side, nearest hop first.
    pub caller: Half,
    /// The callee's side, nearest hop first.
    pub callee: Half,
    /// End to end, what the caller says.
    pub from_caller: EndSecret,
    /// End to end, what the callee says.
    pub from_callee: EndSecret,
}

/// One client's half of a call.
#[derive(Clone, Debug)]
pub struct Half {
    /// Its mixes' keys, nearest first.
    pub hops: [HopKeys; HOPS],
    /// The counter of the first cell that the client sends.
    pub send_first: u64,
}

/// A direction of a call through its four mixes: the counter as it comes in at each, then at the receiving client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// At the sender's nearest mix, the sender's rendezvous, the receiver's rendezvous, the receiver's nearest mix.
    pub at_mix: [u64; 2 * HOPS],
    /// At the receiver.
    pub at_end: u64,
}

impl CallKeys {
    /// Keys of a call through nodes with these boot ids, in the order of the call's path. `rank` says which of two of the
    /// path's nodes the file names first.
    pub fn new(call: &Call, boots: &[BootId; 6], rank: &[usize; 6], generation: u32) -> CallKeys {
        let lives = |x: usize, y: usize| {
            let (first, second) = if rank[x] <= rank[y] { (x, y) } else { (y, x) };
            Lives { first: boots[first], second: boots[second] }
        };
        let path: String = boots.iter().map(|boot| format!("{boot}/")).collect();
        let label = |use_: &str| format!("call/{}/{path}{use_}/", call.name);
        let half = |side: &str, client: usize, mixes: [usize; HOPS]| {
            let hop = |number: usize| {
                let lives = lives(client, mixes[number]);
                let label = |use_: &str| label(&format!("{side}/{number}/{use_}"));
                HopKeys {
                    forward: secret_of(&call.secret, lives, &label("forward"), generation),
                    forward_offset: number_of(&call.secret, lives, &label("forward offset"), generation),
                    backward: secret_of(&call.secret, lives, &label("backward"), generation),
                    backward_offset: number_of(&call.secret, lives, &label("backward offset"), generation),
                }
            };
            let first = label(&format!("{side}/first counter"));
            let send_first = number_of(&call.secret, lives(client, mixes[0]), &first, generation);
            Half { hops: [hop(0), hop(1)], send_first }
        };
        let end = |from: &str| {
            let (key, iv) = (label(&format!("{from}/end key")), label(&format!("{from}/end iv")));
            EndSecret {
                key: secret_of(&call.secret, lives(0, 5), &key, generation),
                iv: secret_of(&call.secret, lives(0, 5), &iv, generation),
            }
        };
        CallKeys {
            caller: half("caller", 0, [1, 2]),
            callee: half("callee", 5, [4, 3]),
            from_caller: end("caller"),
            from_callee: end("callee"),
        }
    }

    /// The counters of what the caller says.
    pub fn forth(&self) -> Counters {
        Counters::new(&self.caller, &self.callee)
    }

    /// The counters of what the callee says.
    pub fn back(&self) -> Counters {
        Counters::new(&self.callee, &self.caller)
    }
}

impl Counters {
    /// Peeled by the sender's two mixes, layered by the receiver's two; each adds its offset (W-CIR-3, W-CIR-8).
    fn new(sender: &Half, receiver: &Half) -> Counters {
        let c = sender.send_first;
        let c1 = c.wrapping_add(sender.hops[0].forward_offset);
        let c2 = c1.wrapping_add(sender.hops[1].forward_offset);
        let c3 = c2.wrapping_add(receiver.hops[1].backward_offset);
        let at_end = c3.wrapping_add(receiver.hops[0].backward_offset);
        Counters { at_mix: [c, c1, c2, c3], at_end }
    }
}

impl HopKeys {
    /// The mix's forward leg.
    pub fn forward_leg(&self, first: u64) -> Leg {
        Leg { key: self.forward.clone(), first: Some(first), offset: self.forward_offset, admitted: true }
    }

    /// The mix's backward leg.
    pub fn backward_leg(&self, first: u64) -> Leg {
        Leg { key: self.backward.clone(), first: Some(first), offset: self.backward_offset, admitted: true }
    }

    /// The client's view.
    pub fn layer(&self) -> EndLayer {
        EndLayer {
            forward: self.forward.clone(),
            forward_offset: self.forward_offset,
            backward: self.backward.clone(),
            backward_offset: self.backward_offset,
        }
    }
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
