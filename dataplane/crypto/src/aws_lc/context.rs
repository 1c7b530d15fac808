//! AWS-LC's AES and AES-128-GCM with their whole state inline: the calls into C, and why each may be made.

use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys::{
    AES_KEY, AES_ctr128_encrypt, AES_encrypt, AES_set_encrypt_key, ERR_peek_error, EVP_AEAD_CTX, EVP_AEAD_CTX_init,
    EVP_AEAD_CTX_open_gather, EVP_AEAD_CTX_seal_scatter, EVP_aead_aes_128_gcm,
};
use drover_wire::cell::TAG;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a nonce.
pub(super) const NONCE: usize = 12;

/// An AES-128-GCM key: AWS-LC's context, which for AES-GCM has all its state in itself.
///
/// What this relies on, as of AWS-LC's `crypto/fipsmodule/cipher/e_aes.c`: the state (`aead_aes_gcm_ctx`: round keys,
/// powers of the hash key, pointers to functions) fits the context, which AWS-LC asserts when it is compiled; none of it
/// points into the context, so that it may be moved (AWS-LC's own `EVP_AEAD_CTX_copy` copies its bytes); there is nothing
/// to free (`aead_aes_gcm_cleanup` is empty, and wipes nothing: that is ours to do). `state_offset` is not used by
/// AES-GCM.
#[repr(transparent)]
pub(super) struct Gcm(MaybeUninit<EVP_AEAD_CTX>);

/// How the context is wiped: as words, of which it is a whole number.
type Word = MaybeUninit<u64>;
const WORDS: usize = size_of::<EVP_AEAD_CTX>() / size_of::<Word>();
const _: () = assert!(size_of::<EVP_AEAD_CTX>() == WORDS * size_of::<Word>());
const _: () = assert!(align_of::<EVP_AEAD_CTX>() == align_of::<Word>());

// SAFETY: the context is read-only after its making, and what its pointers name (AWS-LC's functions, and its description of
// the cipher) is static and belongs to no thread.
unsafe impl Send for Gcm {}

impl Gcm {
    /// Expands a key.
    pub(super) fn new(key: &[u8; 16]) -> Gcm {
        let mut context = MaybeUninit::<EVP_AEAD_CTX>::zeroed();
        // SAFETY: takes nothing, and returns a pointer to a static.
        let aead = unsafe { EVP_aead_aes_128_gcm() };
        // SAFETY: `context` is memory for a context, aligned and ours; `key` is as long as said; the engine must be null.
        let done =
            unsafe { EVP_AEAD_CTX_init(context.as_mut_ptr(), aead, key.as_ptr(), key.len(), TAG, ptr::null_mut()) };
        assert_eq!(done, 1, "a key and a tag of 16 bytes are always taken");
        Gcm(context)
    }

    /// Seals `plaintext` into `ciphertext`, which is as long, and `tag`.
    ///
    /// # Panics
    /// When the two differ in length: the caller's bug.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG],
    ) {
        assert_eq!(plaintext.len(), ciphertext.len());
        let mut written = 0;
        // SAFETY: the context was initialised by `new`. Every pointer comes with the length of the slice it is of; the
        // ciphertext is as long as the plaintext. No output overlaps another argument, for they are exclusive borrows.
        let done = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                self.0.as_ptr(),
                ciphertext.as_mut_ptr(),
                tag.as_mut_ptr(),
                &mut written,
                tag.len(),
                nonce.as_ptr(),
                nonce.len(),
                plaintext.as_ptr(),
                plaintext.len(),
                ptr::null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        assert!(done == 1 && written == TAG, "nothing is too long for the cipher");
    }

    /// Opens `ciphertext` into `plaintext`, which is as long. Returns whether the tag was right; if not, `plaintext` is
    /// zeroed.
    ///
    /// # Panics
    /// When the two differ in length: the caller's bug.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG],
        plaintext: &mut [u8],
    ) -> bool {
        assert_eq!(plaintext.len(), ciphertext.len());
        // SAFETY: as in `seal`, the plaintext being the output.
        let done = unsafe {
            EVP_AEAD_CTX_open_gather(
                self.0.as_ptr(),
                plaintext.as_mut_ptr(),
                nonce.as_ptr(),
                nonce.len(),
                ciphertext.as_ptr(),
                ciphertext.len(),
                tag.as_ptr(),
                tag.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        done == 1
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        let words = self.0.as_mut_ptr().cast::<Word>();
        // SAFETY: the context is this many words (asserted above), aligned and ours; a `MaybeUninit` may hold anything.
        let words = unsafe { std::slice::from_raw_parts_mut(words, WORDS) };
        words.zeroize();
    }
}

impl ZeroizeOnDrop for Gcm {}

/// An AES-128 key for enciphering.
pub(super) struct Aes(AES_KEY);

impl Aes {
    /// Expands a key.
    pub(super) fn new(key: &[u8; 16]) -> Aes {
        let mut aes = Aes(AES_KEY { rd_key: [0; 60], rounds: 0 });
        // SAFETY: `key` has 128 bits, and the other is memory for an expanded key, ours.
        let failed = unsafe { AES_set_encrypt_key(key.as_ptr(), 128, &mut aes.0) };
        assert_eq!(failed, 0, "a key of 128 bits is always taken");
        aes
    }

    /// Enciphers a block.
    #[inline]
    pub(super) fn encrypt(&self, block: &[u8; 16]) -> [u8; 16] {
        let mut out = [0; 16];
        // SAFETY: both are blocks of 16 bytes, and the key was expanded by `new`.
        unsafe { AES_encrypt(block.as_ptr(), out.as_mut_ptr(), &self.0) };
        out
    }

    /// XORs the keystream from the counter block `next` on into `text`, and moves `next`, a counter of 128 bits, behind the
    /// last whole or begun block.
    #[inline]
    pub(super) fn apply_ctr(&self, next: &mut [u8; 16], text: &mut [u8]) {
        let (mut begun, mut used) = ([0; 16], 0);
        let bytes = text.as_mut_ptr();
        // SAFETY: input and output are the same `text.len()` bytes, ours alone, which AWS-LC allows when they are wholly
        // so; both blocks have 16 bytes, and no byte of the begun one is used yet; the key was expanded by `new`.
        unsafe {
            AES_ctr128_encrypt(bytes, bytes, text.len(), &self.0, next.as_mut_ptr(), begun.as_mut_ptr(), &mut used);
        }
    }
}

impl Drop for Aes {
    fn drop(&mut self) {
        self.0.rd_key.zeroize();
        self.0.rounds.zeroize();
    }
}

impl ZeroizeOnDrop for Aes {}

/// Lets AWS-LC allocate now what a thread needs to note an error, some 600 bytes, and not when the first record fails.
#[inline]
pub(super) fn make_room_for_errors() {
    // SAFETY: takes nothing and changes nothing but the calling thread's list of errors, which it makes when there is none.
    unsafe { ERR_peek_error() };
}
