//! What the crate `boring` does not wrap of BoringSSL: the crate's only unsafe code. Every SSL object here is DTLS.

use crate::handshake::Side;
use boring::error::ErrorStack;
use boring::ssl::{SslContextBuilder, SslRef};
use boring_sys as ffi;
use foreign_types::ForeignTypeRef;
use std::cell::Cell;
use std::ptr;
use std::time::Duration;
use zeroize::Zeroizing;

/// X25519MLKEM768 (IANA, TLS Supported Groups).
const X25519_MLKEM768: u16 = 0x11ec;
/// TLS_AES_128_GCM_SHA256.
const AES_128_GCM_SHA256: u16 = 0x1301;

thread_local! {
    /// What the library takes for the time: µs. It asks without saying for which object, so each call sets it before.
    static CLOCK_US: Cell<u64> = const { Cell::new(0) };
}

/// Sets the time of the library's timers for this thread's next calls.
pub(crate) fn set_clock(us: u64) {
    CLOCK_US.set(us);
}

/// # Safety
/// `out` must be valid for a write.
unsafe extern "C" fn clock(_: *const ffi::SSL, out: *mut ffi::timeval) {
    let us = CLOCK_US.get();
    let now = ffi::timeval { tv_sec: (us / 1_000_000) as _, tv_usec: (us % 1_000_000) as _ };
    // SAFETY: the library passes a timeval of its own.
    unsafe { out.write(now) };
}

/// Lets the context's timers run by [`set_clock`].
pub(crate) fn use_clock(context: &mut SslContextBuilder) {
    // SAFETY: the context lives, and the callback keeps to the library's signature and touches a thread-local only.
    unsafe { ffi::SSL_CTX_set_current_time_cb(context.as_ptr(), Some(clock)) };
}

/// TLS_AES_128_GCM_SHA256 and no other suite.
pub(crate) fn use_one_suite(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    let suites = [AES_128_GCM_SHA256];
    // SAFETY: the context lives, and `suites` has the one element that is said; flags may be null.
    let done = unsafe { ffi::SSL_CTX_set1_tls13_ciphers(context.as_ptr(), suites.as_ptr(), ptr::null(), suites.len()) };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Which side the object plays.
pub(crate) fn set_side(ssl: &mut SslRef, side: Side) {
    match side {
        // SAFETY: the object lives, and no handshake has begun.
        Side::Server => unsafe { ffi::SSL_set_accept_state(ssl.as_ptr()) },
        // SAFETY: likewise.
        Side::Client => unsafe { ffi::SSL_set_connect_state(ssl.as_ptr()) },
    }
}

/// The group whose key share a client sends: X25519MLKEM768 alone, so that its first flight is one datagram.
pub(crate) fn use_one_share(ssl: &mut SslRef) -> Result<(), ErrorStack> {
    let shares = [X25519_MLKEM768];
    // SAFETY: the object lives, and `shares` has the one element that is said.
    let done = unsafe { ffi::SSL_set1_client_key_shares(ssl.as_ptr(), shares.as_ptr(), shares.len()) };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// The first interval of retransmission; it doubles.
pub(crate) fn set_first_timeout(ssl: &mut SslRef, ms: u32) {
    // SAFETY: the object lives.
    unsafe { ffi::DTLSv1_set_initial_timeout_duration(ssl.as_ptr(), ms) };
}

/// How long until a timer of the object is due.
pub(crate) fn timeout(ssl: &SslRef) -> Option<Duration> {
    let mut out = ffi::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: the object lives, and `out` is ours.
    let set = unsafe { ffi::DTLSv1_get_timeout(ssl.as_ptr(), &mut out) };
    let us = (out.tv_sec as u64).saturating_mul(1_000_000).saturating_add(out.tv_usec as u64);
    (set == 1).then(|| Duration::from_micros(us))
}

/// Does what is due by the timers: sends a flight or an ACK again.
pub(crate) fn handle_timeout(ssl: &mut SslRef) -> Result<(), ErrorStack> {
    // SAFETY: the object lives; the library calls its BIO, which is the Rust stream beside it.
    let done = unsafe { ffi::DTLSv1_handle_timeout(ssl.as_ptr()) };
    if done < 0 { Err(ErrorStack::get()) } else { Ok(()) }
}

/// Whether the handshake is over on both sides as far as this one can know: nothing unacknowledged, nothing half read.
pub(crate) fn is_idle(ssl: &SslRef) -> bool {
    // SAFETY: the object lives and is DTLS.
    unsafe { ffi::SSL_is_dtls_handshake_idle(ssl.as_ptr()) == 1 }
}

/// The newest epochs: read, write.
pub(crate) fn epochs(ssl: &SslRef) -> (u16, u16) {
    // SAFETY: the object lives and is DTLS.
    let read = unsafe { ffi::SSL_get_dtls_read_epoch(ssl.as_ptr()) };
    // SAFETY: likewise.
    let write = unsafe { ffi::SSL_get_dtls_write_epoch(ssl.as_ptr()) };
    (read, write)
}

/// The next record numbers of an epoch: read (one more than the highest opened), write. 2^64 - 1 where there is none.
pub(crate) fn record_numbers(ssl: &SslRef, epoch: u16) -> (u64, u64) {
    // SAFETY: the object lives and is DTLS.
    let read = unsafe { ffi::SSL_get_dtls_read_sequence(ssl.as_ptr(), epoch) };
    // SAFETY: likewise.
    let write = unsafe { ffi::SSL_get_dtls_write_sequence(ssl.as_ptr(), epoch) };
    (read, write)
}

/// The next handshake message numbers: read, write. 2^16 when there are no more.
pub(crate) fn message_numbers(ssl: &SslRef) -> (u32, u32) {
    // SAFETY: the object lives and is DTLS.
    let read = unsafe { ffi::SSL_get_dtls_handshake_read_seq(ssl.as_ptr()) };
    // SAFETY: likewise.
    let write = unsafe { ffi::SSL_get_dtls_handshake_write_seq(ssl.as_ptr()) };
    (read, write)
}

/// The direction of a secret.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// A copy of an epoch's traffic secret; none where the epoch is not there or its hash is not SHA-256.
pub(crate) fn traffic_secret(ssl: &SslRef, direction: Direction, epoch: u16) -> Option<Zeroizing<[u8; 32]>> {
    let (mut data, mut length) = (ptr::null(), 0);
    let there = match direction {
        // SAFETY: the object lives and is DTLS, and both places are ours.
        Direction::Read => unsafe {
            ffi::SSL_get_dtls_read_traffic_secret(ssl.as_ptr(), &mut data, &mut length, epoch)
        },
        // SAFETY: likewise.
        Direction::Write => unsafe {
            ffi::SSL_get_dtls_write_traffic_secret(ssl.as_ptr(), &mut data, &mut length, epoch)
        },
    };
    if there != 1 || data.is_null() {
        return None;
    }
    // SAFETY: the library gave `length` bytes that stay until its next call on the object; `ssl` is borrowed so long.
    let bytes: &[u8] = unsafe { std::slice::from_raw_parts(data, length) };
    let mut secret = Zeroizing::new([0; 32]);
    if bytes.len() != secret.len() {
        return None;
    }
    secret.copy_from_slice(bytes);
    Some(secret)
}

/// Moves the writing side to new keys; the next write carries the KeyUpdate.
#[cfg(any(test, feature = "lab"))]
pub(crate) fn key_update(ssl: &mut SslRef, ask_peer: bool) -> Result<(), ErrorStack> {
    let request = if ask_peer { ffi::SSL_KEY_UPDATE_REQUESTED } else { ffi::SSL_KEY_UPDATE_NOT_REQUESTED };
    // SAFETY: the object lives.
    let done = unsafe { ffi::SSL_key_update(ssl.as_ptr(), request) };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}
