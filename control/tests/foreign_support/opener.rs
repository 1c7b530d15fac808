//! Opens DTLS 1.3 records (RFC 9147) with the bare crates `aes`, `aes-gcm` and `hkdf`: none of the code under test.

use aes::cipher::{BlockCipherEncrypt, KeyInit as _};
use aes::{Aes128, Block};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hkdf::Hkdf;
use sha2::Sha256;

/// Content types (RFC 8446, B.1).
pub const APPLICATION_DATA: u8 = 23;

/// HKDF-Expand-Label (RFC 8446, 7.1) with DTLS's prefix (RFC 9147, 5.9) and an empty context.
fn expand<const N: usize>(secret: &[u8; 32], label: &str) -> [u8; N] {
    let label = format!("dtls13{label}");
    let mut info = (N as u16).to_be_bytes().to_vec();
    info.push(label.len() as u8);
    info.extend(label.as_bytes());
    info.push(0);
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(secret).expect("32 bytes").expand(&info, &mut out).expect("short");
    out
}

/// Key and IV of a traffic secret (RFC 9147, 4).
struct Keys {
    cipher: Aes128Gcm,
    iv: [u8; 12],
}

impl Keys {
    fn new(secret: &[u8; 32]) -> Keys {
        let cipher = Aes128Gcm::new(&expand::<16>(secret, "key").into());
        Keys { cipher, iv: expand(secret, "iv") }
    }

    /// The inner plaintext.
    fn open(&self, number: u64, header: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, of_number)| *byte ^= of_number);
        let (body, tag) = body.split_at_checked(body.len().checked_sub(16)?)?;
        let mut plaintext = body.to_vec();
        let tag: [u8; 16] = tag.try_into().ok()?;
        let opened =
            self.cipher.decrypt_inout_detached(&nonce.into(), header, plaintext.as_mut_slice().into(), &tag.into());
        opened.ok().map(|()| plaintext)
    }
}

/// An opened record.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    pub number: u64,
    pub content_type: u8,
    pub data: Vec<u8>,
}

/// The records of one direction under one traffic secret, in about their order.
pub struct Opener {
    secret: [u8; 32],
    keys: Keys,
    mask: Aes128,
    /// One more than the highest number that was opened.
    next: u64,
    step: u64,
    /// W-KEY-3: a step of the ratchet is 2^r numbers.
    ratchet_bits: u32,
}

impl Opener {
    pub fn new(secret: [u8; 32], ratchet_bits: u32) -> Opener {
        let mask = Aes128::new(&expand::<16>(&secret, "sn").into());
        Opener { keys: Keys::new(&secret), secret, mask, next: 0, step: 0, ratchet_bits }
    }

    /// Of the next epoch: "traffic upd" (RFC 9147, 8).
    pub fn next_epoch(&self) -> Opener {
        Opener::new(expand(&self.secret, "traffic upd"), self.ratchet_bits)
    }

    /// Opens a datagram that is one record; `None` when it does not open.
    pub fn open(&mut self, datagram: &[u8]) -> Option<Opened> {
        let first = *datagram.first()?;
        // Fixed bits 001, no connection id, a 16-bit number (RFC 9147, 4).
        if first & 0xf8 != 0x28 {
            return None;
        }
        let (header, body) = datagram.split_at_checked(if first & 4 != 0 { 5 } else { 3 })?;
        let mut header = header.to_vec();
        if let [.., high, low] = header[..]
            && header.len() == 5
            && usize::from(u16::from_be_bytes([high, low])) != body.len()
        {
            return None;
        }
        let mut mask: Block = <[u8; 16]>::try_from(body.get(..16)?).ok()?.into();
        self.mask.encrypt_block(&mut mask);
        header[1] ^= mask[0];
        header[2] ^= mask[1];
        let number = nearest(self.next, u16::from_be_bytes([header[1], header[2]]));
        let step = number >> self.ratchet_bits;
        if step > self.step + 64 {
            return None;
        }
        let mut secret = self.secret;
        (self.step..step).for_each(|_| secret = expand(&secret, "traffic upd"));
        let ahead = (step > self.step).then(|| Keys::new(&secret));
        let plaintext = ahead.as_ref().unwrap_or(&self.keys).open(number, &header, body)?;
        if let Some(keys) = ahead {
            (self.keys, self.secret, self.step) = (keys, secret, step);
        }
        self.next = self.next.max(number + 1);
        // The last byte that is not zero (RFC 8446, 5.4).
        let end = plaintext.iter().rposition(|byte| *byte != 0)?;
        Some(Opened { number, content_type: plaintext[end], data: plaintext[..end].to_vec() })
    }
}

/// The number with these low bits that is nearest to `expected` (RFC 9147, 4.2.2).
fn nearest(expected: u64, low: u16) -> u64 {
    let base = expected & !0xffff | u64::from(low);
    let around = [base.checked_sub(1 << 16), Some(base), base.checked_add(1 << 16)];
    around.into_iter().flatten().min_by_key(|number| number.abs_diff(expected)).unwrap_or(base)
}

/// One direction of a foreign peer's link: epochs, each with numbers of its own.
pub struct Epochs {
    current: Opener,
    before: Option<Opener>,
    /// From 3 on.
    pub epoch: u32,
}

impl Epochs {
    pub fn new(secret: [u8; 32]) -> Epochs {
        Epochs { current: Opener::new(secret, 63), before: None, epoch: 3 }
    }

    pub fn open(&mut self, datagram: &[u8]) -> Option<Opened> {
        let bits = u32::from(datagram.first()? & 3);
        if bits == self.epoch & 3 {
            return self.current.open(datagram);
        }
        if bits == (self.epoch + 3) & 3 {
            return self.before.as_mut()?.open(datagram);
        }
        let mut next = self.current.next_epoch();
        let opened = (bits == (self.epoch + 1) & 3).then(|| next.open(datagram))??;
        self.before = Some(std::mem::replace(&mut self.current, next));
        self.epoch += 1;
        Some(opened)
    }
}

/// The secrets with this label in a key log (RFC 9850), in their order.
pub fn secrets(log: &str, label: &str) -> Vec<[u8; 32]> {
    let lines = log.lines().filter_map(|line| line.strip_prefix(label)?.strip_prefix(' ')?.split_once(' '));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let secret = |text: &str| text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>();
    lines.map(|(_, text)| secret(text).and_then(|bytes| bytes.try_into().ok()).expect("a secret of 32 bytes")).collect()
}

#[test]
fn numbers_are_the_nearest() {
    assert_eq!([nearest(0, 5), nearest(0, 0xffff), nearest(0x1_0005, 0xfff0)], [5, 0xffff, 0xfff0]);
    assert_eq!([nearest(0xfff0, 2), nearest(0x2_8000, 0x8000)], [0x1_0002, 0x2_8000]);
}
