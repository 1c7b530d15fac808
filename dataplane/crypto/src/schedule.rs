//! The key schedule: DTLS 1.3 traffic secrets (RFC 9147, 5.9; RFC 8446, 7.1–7.3), the ratchet, and HKDF.
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A traffic secret of one direction. Never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TrafficSecret(pub [u8; 32]);

/// AEAD key and IV of a record direction at one ratchet step.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecordSecret {
    /// AES-128 key.
    pub key: [u8; 16],
    /// The IV that the record number is XORed into.
    pub iv: [u8; 12],
}

/// AES-128 key that masks record numbers. It lives as long as its generation: the ratchet leaves it alone.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MaskSecret(pub [u8; 16]);

/// AES-128 key of a circuit's layer.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LayerSecret(pub [u8; 16]);
