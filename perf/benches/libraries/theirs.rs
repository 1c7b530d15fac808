//! Libraries, used the ordinary way: one hop after the other, no prefetching.

use crate::Contender;
use crate::world::{CELL, Frames, Hop, RECORD, World};
use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, StreamCipherCore};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, KeyInit};
use ctr::CtrCore;
use ctr::flavors::Ctr64BE;
use drover_crypto::schedule::{LayerSecret, RecordSecret};
use drover_wire::cell::{HEADER as CELL_HEADER, body_len, plaintext_len};
use drover_wire::record::{Aad, FIRST_BYTE, HEADER};

/// Bytes of a cell's plaintext.
const PLAINTEXT: usize = plaintext_len(CELL);
/// Where layers are in it.
const BODY: std::ops::Range<usize> = CELL_HEADER..CELL_HEADER + body_len(CELL);

/// A key of a library with the IV that numbers are XORed into.
struct Keyed<K> {
    key: K,
    iv: [u8; 12],
}

impl<K> Keyed<K> {
    fn all(secrets: &[RecordSecret], key: impl Fn(&[u8; 16]) -> K) -> Vec<Keyed<K>> {
        secrets.iter().map(|secret| Keyed { key: key(&secret.key), iv: secret.iv }).collect()
    }

    /// RFC 8446, 5.3.
    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        nonce
    }
}

/// Does every hop by three steps of a library: open, layer, seal with the tag returned.
fn each<K>(
    [open, seal]: [&[Keyed<K>]; 2],
    (hops, came, left): (&[Hop], &Frames, &mut Frames),
    mut opens: impl FnMut(&Keyed<K>, &Hop, &[u8], &mut [u8; RECORD - HEADER]) -> bool,
    mut layer: impl FnMut(&Hop, &mut [u8]),
    mut seals: impl FnMut(&Keyed<K>, &Hop, &mut [u8]) -> Option<[u8; 16]>,
) -> bool {
    let mut cell = [0; RECORD - HEADER];
    hops.iter().zip(left.iter_mut()).enumerate().all(|(at, (hop, left))| {
        if !opens(&open[hop.from as usize], hop, &came.get(at)[HEADER..], &mut cell) {
            return false;
        }
        layer(hop, &mut cell[BODY]);
        let Some(tag) = seals(&seal[hop.to as usize], hop, &mut cell[..PLAINTEXT]) else { return false };
        let [.., high, low] = hop.number.to_be_bytes();
        left[..HEADER].copy_from_slice(&[FIRST_BYTE, high, low]);
        left[HEADER..][..PLAINTEXT].copy_from_slice(&cell[..PLAINTEXT]);
        left[HEADER + PLAINTEXT..].copy_from_slice(&tag);
        true
    })
}

/// Layers by the `ctr` crate.
fn ctr_keys(layers: &[LayerSecret]) -> Vec<Aes128Enc> {
    layers.iter().map(|secret| Aes128Enc::new((&secret.0).into())).collect()
}

fn apply_ctr(keys: &[Aes128Enc], hop: &Hop, body: &mut [u8]) {
    let (blocks, _) = aes::Block::slice_as_chunks_mut(body);
    let keystream: CtrCore<&Aes128Enc, Ctr64BE> =
        CtrCore::inner_iv_init(&keys[hop.circuit as usize], &first_block(hop).into());
    let mut keystream = keystream;
    keystream.apply_keystream_blocks(blocks);
}

fn first_block(hop: &Hop) -> [u8; 16] {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&hop.counter.to_be_bytes());
    block
}

/// `aes-gcm` and `ctr`.
pub struct RustCrypto {
    open: Vec<Keyed<Aes128Gcm>>,
    seal: Vec<Keyed<Aes128Gcm>>,
    layers: Vec<Aes128Enc>,
}

impl RustCrypto {
    /// With the keys of a world.
    pub fn new(world: &World) -> RustCrypto {
        let [open, seal] = [&world.open, &world.seal].map(|s| Keyed::all(s, |key| Aes128Gcm::new(key.into())));
        RustCrypto { open, seal, layers: ctr_keys(&world.layers) }
    }
}

impl Contender for RustCrypto {
    fn name(&self) -> String {
        "aes-gcm and ctr (RustCrypto)".to_owned()
    }

    fn hops(&mut self, hops: &[Hop], came: &Frames, left: &mut Frames) -> bool {
        each(
            [&self.open, &self.seal],
            (hops, came, left),
            |keyed, hop, record, cell| {
                let (text, tag) = record.split_at(PLAINTEXT);
                cell[..PLAINTEXT].copy_from_slice(text);
                let Ok(tag) = tag.try_into() else { return false };
                let (nonce, aad) = (keyed.nonce(hop.number).into(), Aad::sent(hop.number));
                let cell = &mut cell[..PLAINTEXT];
                keyed.key.decrypt_inout_detached(&nonce, aad.as_bytes(), cell.into(), tag).is_ok()
            },
            |hop, body| apply_ctr(&self.layers, hop, body),
            |keyed, hop, cell| {
                let (nonce, aad) = (keyed.nonce(hop.number).into(), Aad::sent(hop.number));
                keyed.key.encrypt_inout_detached(&nonce, aad.as_bytes(), cell.into()).ok().map(Into::into)
            },
        )
    }
}

/// `ring`, layers by `ctr`.
pub struct Ring {
    open: Vec<Keyed<ring::aead::LessSafeKey>>,
    seal: Vec<Keyed<ring::aead::LessSafeKey>>,
    layers: Vec<Aes128Enc>,
}

impl Ring {
    /// With the keys of a world.
    pub fn new(world: &World) -> Ring {
        use ring::aead::{AES_128_GCM, LessSafeKey, UnboundKey};
        let key = |key: &[u8; 16]| LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are a key"));
        let [open, seal] = [&world.open, &world.seal].map(|secrets| Keyed::all(secrets, key));
        Ring { open, seal, layers: ctr_keys(&world.layers) }
    }
}

impl Contender for Ring {
    fn name(&self) -> String {
        "ring, layer by ctr".to_owned()
    }

    fn hops(&mut self, hops: &[Hop], came: &Frames, left: &mut Frames) -> bool {
        use ring::aead::{Aad as Associated, Nonce};
        each(
            [&self.open, &self.seal],
            (hops, came, left),
            |keyed, hop, record, cell| {
                cell.copy_from_slice(record);
                let (nonce, aad) = (Nonce::assume_unique_for_key(keyed.nonce(hop.number)), Aad::sent(hop.number));
                keyed.key.open_in_place(nonce, Associated::from(aad.as_bytes()), cell).is_ok()
            },
            |hop, body| apply_ctr(&self.layers, hop, body),
            |keyed, hop, cell| {
                let (nonce, aad) = (Nonce::assume_unique_for_key(keyed.nonce(hop.number)), Aad::sent(hop.number));
                let tag = keyed.key.seal_in_place_separate_tag(nonce, Associated::from(aad.as_bytes()), cell);
                tag.ok()?.as_ref().try_into().ok()
            },
        )
    }
}

/// `aws-lc-rs`.
pub struct AwsLc {
    open: Vec<Keyed<aws_lc_rs::aead::LessSafeKey>>,
    seal: Vec<Keyed<aws_lc_rs::aead::LessSafeKey>>,
    layers: Vec<aws_lc_rs::cipher::EncryptingKey>,
}

impl AwsLc {
    /// With the keys of a world.
    pub fn new(world: &World) -> AwsLc {
        use aws_lc_rs::aead::{AES_128_GCM, LessSafeKey, UnboundKey};
        use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
        let key = |key: &[u8; 16]| LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are a key"));
        let layer = |secret: &LayerSecret| {
            let key = UnboundCipherKey::new(&AES_128, &secret.0).and_then(EncryptingKey::ctr);
            key.expect("16 bytes are a key")
        };
        let [open, seal] = [&world.open, &world.seal].map(|secrets| Keyed::all(secrets, key));
        AwsLc { open, seal, layers: world.layers.iter().map(layer).collect() }
    }
}

impl Contender for AwsLc {
    fn name(&self) -> String {
        "aws-lc-rs".to_owned()
    }

    fn hops(&mut self, hops: &[Hop], came: &Frames, left: &mut Frames) -> bool {
        use aws_lc_rs::aead::{Aad as Associated, Nonce};
        use aws_lc_rs::cipher::EncryptionContext;
        let mut layered = true;
        let done = each(
            [&self.open, &self.seal],
            (hops, came, left),
            |keyed, hop, record, cell| {
                let (text, tag) = record.split_at(PLAINTEXT);
                let (nonce, aad) = (Nonce::assume_unique_for_key(keyed.nonce(hop.number)), Aad::sent(hop.number));
                let (aad, cell) = (Associated::from(aad.as_bytes()), &mut cell[..PLAINTEXT]);
                keyed.key.open_separate_gather(nonce, aad, text, tag, cell).is_ok()
            },
            |hop, body| {
                let iv = EncryptionContext::Iv128((&first_block(hop)).into());
                layered &= self.layers[hop.circuit as usize].less_safe_encrypt(body, iv).is_ok();
            },
            |keyed, hop, cell| {
                let (nonce, aad) = (Nonce::assume_unique_for_key(keyed.nonce(hop.number)), Aad::sent(hop.number));
                let tag = keyed.key.seal_in_place_separate_tag(nonce, Associated::from(aad.as_bytes()), cell);
                tag.ok()?.as_ref().try_into().ok()
            },
        );
        done && layered
    }
}
