//! Registers of 1, 2 or 4 blocks, and what the kernels do with them: an instruction or two each.
//!
//! Every operation is safe to call: a value exists only where its level's instructions do ([`Cpu`]).

use super::level::{Aesni, Avx2, Avx512, Cpu};
use std::arch::x86_64::*;

/// Bytes of a block.
pub(super) const BLOCK: usize = 16;

/// A register of [`Vector::BLOCKS`] blocks, the first in memory first.
pub trait Vector: Copy {
    /// Proof of the level.
    type Cpu: Cpu<Vector = Self>;
    /// Blocks of a register.
    const BLOCKS: usize;
    /// Bytes of a register.
    const BYTES: usize = Self::BLOCKS * BLOCK;

    /// The first [`Vector::BYTES`] of `from`.
    fn load(cpu: Self::Cpu, from: &[u8]) -> Self;
    /// A block of zeros, then what [`Vector::load`] would load but for its last block.
    fn load_rest(cpu: Self::Cpu, from: &[u8]) -> Self;
    /// `block` in every place.
    fn splat(cpu: Self::Cpu, block: Block) -> Self;
    /// Into the first [`Vector::BYTES`] of `to`.
    fn store(self, to: &mut [u8]);
    /// All but the first block, into the beginning of `to`.
    fn store_rest(self, to: &mut [u8]);
    /// XORs the register's first blocks, as many as `text` is long, into it: a whole register, or half of one of 4.
    fn xor_into(self, text: &mut [u8]);
    /// The first block.
    fn first(self) -> Block;
    /// The block at half of a register of 4, else the first.
    fn half(self) -> Block;
    /// `block` XORed into the first block.
    fn xor_first(self, block: Block) -> Self;
    /// XOR.
    fn xor(self, other: Self) -> Self;
    /// XOR of all blocks.
    fn fold(self) -> Block;
    /// A round of AES.
    fn round(self, key: Self) -> Self;
    /// The last round of AES.
    fn last_round(self, key: Self) -> Self;
    /// Each block moved up by 4 bytes, zeros below.
    fn up_a_word(self) -> Self;
    /// Each block moved up by 8 bytes, zeros below.
    fn up_two_words(self) -> Self;
    /// In each word of each block, the block's last word rotated by a byte (FIPS 197, 5.2: RotWord).
    fn rotated_last_word(self) -> Self;
    /// Each block's bytes in reverse.
    fn reversed(self) -> Self;
    /// Carry-less products, block by block, of the low halves, of each with the other's other half (their sum), and of the
    /// high halves: 128 bits each.
    fn products(self, by: Self) -> [Self; 3];
}

/// One block.
#[derive(Clone, Copy)]
pub struct Block(__m128i);

/// Two blocks.
#[derive(Clone, Copy)]
pub struct Blocks2(__m256i);

/// Four blocks.
#[derive(Clone, Copy)]
pub struct Blocks4(__m512i);

/// Indices of the bytes 13, 14, 15, 12 of a block, in a word.
const ROTATED_LAST_WORD: i32 = 0x0c0f_0e0d;

/// The first `N` bytes, checked; the check goes where lengths are known.
#[inline(always)]
fn head<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.first_chunk().expect("the caller's slice is long enough")
}

#[inline(always)]
fn head_mut<const N: usize>(bytes: &mut [u8]) -> &mut [u8; N] {
    bytes.first_chunk_mut().expect("the caller's slice is long enough")
}

impl Block {
    /// A block of memory.
    #[inline(always)]
    pub(super) fn of<L: Cpu>(_: L, bytes: &[u8; BLOCK]) -> Block {
        // SAFETY: SSE2 is in every x86-64; the 16 bytes are there.
        Block(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }

    /// A block of zeros.
    #[inline(always)]
    pub(super) fn zero<L: Cpu>(cpu: L) -> Block {
        Block::of(cpu, &[0; BLOCK])
    }

    /// A number's bytes, the lowest first.
    #[inline(always)]
    pub(super) fn of_number<L: Cpu>(cpu: L, number: u128) -> Block {
        Block::of(cpu, &number.to_le_bytes())
    }

    /// The bytes.
    #[inline(always)]
    pub(super) fn bytes(self) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        self.store_block(&mut bytes);
        bytes
    }

    /// Into memory.
    #[inline(always)]
    pub(super) fn store_block(self, to: &mut [u8; BLOCK]) {
        // SAFETY: SSE2 is in every x86-64; the 16 bytes are there.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), self.0) };
    }

    /// Whether every bit is 0. One instruction, whatever the value.
    #[inline(always)]
    pub(super) fn is_zero(self) -> bool {
        // SAFETY: a value exists where SSE4.1 does.
        unsafe { _mm_testz_si128(self.0, self.0) == 1 }
    }

    /// The high half moved to the low one, zeros above.
    #[inline(always)]
    pub(super) fn down(self) -> Block {
        // SAFETY: SSE2 is in every x86-64.
        Block(unsafe { _mm_srli_si128::<8>(self.0) })
    }

    /// The halves exchanged.
    #[inline(always)]
    pub(super) fn crossed(self) -> Block {
        // SAFETY: SSE2 is in every x86-64.
        Block(unsafe { _mm_shuffle_epi32::<0x4e>(self.0) })
    }

    /// The carry-less product of the low halves.
    #[inline(always)]
    pub(super) fn low_product(self, by: Block) -> Block {
        // SAFETY: a value exists where PCLMULQDQ does.
        Block(unsafe { _mm_clmulepi64_si128::<0x00>(self.0, by.0) })
    }
}

impl Vector for Block {
    type Cpu = Aesni;
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn load(cpu: Aesni, from: &[u8]) -> Self {
        Block::of(cpu, head(from))
    }

    #[inline(always)]
    fn load_rest(cpu: Aesni, _: &[u8]) -> Self {
        Block::zero(cpu)
    }

    #[inline(always)]
    fn splat(_: Aesni, block: Block) -> Self {
        block
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        self.store_block(head_mut(to));
    }

    #[inline(always)]
    fn store_rest(self, _: &mut [u8]) {}

    #[inline(always)]
    fn xor_into(self, text: &mut [u8]) {
        let text = head_mut(text);
        // SAFETY: SSE2 is in every x86-64; the 16 bytes are there.
        let old = Block(unsafe { _mm_loadu_si128(text.as_ptr().cast()) });
        self.xor(old).store_block(text);
    }

    #[inline(always)]
    fn first(self) -> Block {
        self
    }

    #[inline(always)]
    fn half(self) -> Block {
        self
    }

    #[inline(always)]
    fn xor_first(self, block: Block) -> Self {
        self.xor(block)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        Block(unsafe { _mm_xor_si128(self.0, other.0) })
    }

    #[inline(always)]
    fn fold(self) -> Block {
        self
    }

    #[inline(always)]
    fn round(self, key: Self) -> Self {
        // SAFETY: a value exists where AES-NI does.
        Block(unsafe { _mm_aesenc_si128(self.0, key.0) })
    }

    #[inline(always)]
    fn last_round(self, key: Self) -> Self {
        // SAFETY: a value exists where AES-NI does.
        Block(unsafe { _mm_aesenclast_si128(self.0, key.0) })
    }

    #[inline(always)]
    fn up_a_word(self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        Block(unsafe { _mm_slli_si128::<4>(self.0) })
    }

    #[inline(always)]
    fn up_two_words(self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        Block(unsafe { _mm_slli_si128::<8>(self.0) })
    }

    #[inline(always)]
    fn rotated_last_word(self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        let order = unsafe { _mm_set1_epi32(ROTATED_LAST_WORD) };
        // SAFETY: a value exists where SSSE3 does.
        Block(unsafe { _mm_shuffle_epi8(self.0, order) })
    }

    #[inline(always)]
    fn reversed(self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        let order = unsafe { _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) };
        // SAFETY: a value exists where SSSE3 does.
        Block(unsafe { _mm_shuffle_epi8(self.0, order) })
    }

    #[inline(always)]
    fn products(self, by: Self) -> [Self; 3] {
        // SAFETY: a value exists where PCLMULQDQ does.
        let a = Block(unsafe { _mm_clmulepi64_si128::<0x01>(self.0, by.0) });
        // SAFETY: as above.
        let b = Block(unsafe { _mm_clmulepi64_si128::<0x10>(self.0, by.0) });
        // SAFETY: as above.
        let high = Block(unsafe { _mm_clmulepi64_si128::<0x11>(self.0, by.0) });
        [self.low_product(by), a.xor(b), high]
    }
}

impl Vector for Blocks2 {
    type Cpu = Avx2;
    const BLOCKS: usize = 2;

    #[inline(always)]
    fn load(_: Avx2, from: &[u8]) -> Self {
        let from: &[u8; 32] = head(from);
        // SAFETY: the level has AVX2; the 32 bytes are there.
        Blocks2(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_rest(cpu: Avx2, from: &[u8]) -> Self {
        let block = Block::of(cpu, head(from));
        // SAFETY: the level has AVX2.
        let zero = unsafe { _mm256_setzero_si256() };
        // SAFETY: the level has AVX2.
        Blocks2(unsafe { _mm256_inserti128_si256::<1>(zero, block.0) })
    }

    #[inline(always)]
    fn splat(_: Avx2, block: Block) -> Self {
        // SAFETY: the level has AVX2.
        Blocks2(unsafe { _mm256_broadcastsi128_si256(block.0) })
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        let to: &mut [u8; 32] = head_mut(to);
        // SAFETY: a value exists where AVX2 does; the 32 bytes are there.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn store_rest(self, to: &mut [u8]) {
        // SAFETY: a value exists where AVX2 does.
        Block(unsafe { _mm256_extracti128_si256::<1>(self.0) }).store_block(head_mut(to));
    }

    #[inline(always)]
    fn xor_into(self, text: &mut [u8]) {
        let text: &mut [u8; 32] = head_mut(text);
        // SAFETY: a value exists where AVX2 does; the 32 bytes are there.
        let old = Blocks2(unsafe { _mm256_loadu_si256(text.as_ptr().cast()) });
        self.xor(old).store(text);
    }

    #[inline(always)]
    fn first(self) -> Block {
        // SAFETY: a value exists where AVX2 does.
        Block(unsafe { _mm256_castsi256_si128(self.0) })
    }

    #[inline(always)]
    fn half(self) -> Block {
        self.first()
    }

    #[inline(always)]
    fn xor_first(self, block: Block) -> Self {
        // SAFETY: a value exists where AVX2 does.
        self.xor(Blocks2(unsafe { _mm256_zextsi128_si256(block.0) }))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a value exists where AVX2 does.
        Blocks2(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn fold(self) -> Block {
        // SAFETY: a value exists where AVX2 does.
        self.first().xor(Block(unsafe { _mm256_extracti128_si256::<1>(self.0) }))
    }

    #[inline(always)]
    fn round(self, key: Self) -> Self {
        // SAFETY: a value exists where VAES does.
        Blocks2(unsafe { _mm256_aesenc_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn last_round(self, key: Self) -> Self {
        // SAFETY: a value exists where VAES does.
        Blocks2(unsafe { _mm256_aesenclast_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn up_a_word(self) -> Self {
        // SAFETY: a value exists where AVX2 does.
        Blocks2(unsafe { _mm256_slli_si256::<4>(self.0) })
    }

    #[inline(always)]
    fn up_two_words(self) -> Self {
        // SAFETY: a value exists where AVX2 does.
        Blocks2(unsafe { _mm256_slli_si256::<8>(self.0) })
    }

    #[inline(always)]
    fn rotated_last_word(self) -> Self {
        // SAFETY: a value exists where AVX2 does.
        let order = unsafe { _mm256_set1_epi32(ROTATED_LAST_WORD) };
        // SAFETY: a value exists where AVX2 does.
        Blocks2(unsafe { _mm256_shuffle_epi8(self.0, order) })
    }

    #[inline(always)]
    fn reversed(self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        let order = unsafe { _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) };
        // SAFETY: a value exists where AVX2 does.
        let order = unsafe { _mm256_broadcastsi128_si256(order) };
        // SAFETY: a value exists where AVX2 does.
        Blocks2(unsafe { _mm256_shuffle_epi8(self.0, order) })
    }

    #[inline(always)]
    fn products(self, by: Self) -> [Self; 3] {
        // SAFETY: a value exists where VPCLMULQDQ does.
        let low = Blocks2(unsafe { _mm256_clmulepi64_epi128::<0x00>(self.0, by.0) });
        // SAFETY: as above.
        let a = Blocks2(unsafe { _mm256_clmulepi64_epi128::<0x01>(self.0, by.0) });
        // SAFETY: as above.
        let b = Blocks2(unsafe { _mm256_clmulepi64_epi128::<0x10>(self.0, by.0) });
        // SAFETY: as above.
        let high = Blocks2(unsafe { _mm256_clmulepi64_epi128::<0x11>(self.0, by.0) });
        [low, a.xor(b), high]
    }
}

/// The 64-bit words of all blocks but the first, of a register of 4.
const REST: __mmask8 = 0b1111_1100;

impl Vector for Blocks4 {
    type Cpu = Avx512;
    const BLOCKS: usize = 4;

    #[inline(always)]
    fn load(_: Avx512, from: &[u8]) -> Self {
        let from: &[u8; 64] = head(from);
        // SAFETY: the level has AVX-512F; the 64 bytes are there.
        Blocks4(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_rest(_: Avx512, from: &[u8]) -> Self {
        let from: &[u8; 48] = head(from);
        let before = from.as_ptr().wrapping_sub(BLOCK).cast();
        // SAFETY: the level has AVX-512F; the mask leaves the 48 bytes, which are there. What is masked is not accessed.
        Blocks4(unsafe { _mm512_maskz_loadu_epi64(REST, before) })
    }

    #[inline(always)]
    fn splat(_: Avx512, block: Block) -> Self {
        // SAFETY: the level has AVX-512F.
        Blocks4(unsafe { _mm512_broadcast_i32x4(block.0) })
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        let to: &mut [u8; 64] = head_mut(to);
        // SAFETY: a value exists where AVX-512F does; the 64 bytes are there.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    fn store_rest(self, to: &mut [u8]) {
        let to: &mut [u8; 48] = head_mut(to);
        let before = to.as_mut_ptr().wrapping_sub(BLOCK).cast();
        // SAFETY: a value exists where AVX-512F does; the mask leaves the 48 bytes, which are there.
        unsafe { _mm512_mask_storeu_epi64(before, REST, self.0) };
    }

    #[inline(always)]
    fn xor_into(self, text: &mut [u8]) {
        if text.len() < Self::BYTES {
            // SAFETY: a value exists where AVX-512F does.
            let half = unsafe { _mm512_castsi512_si256(self.0) };
            return Blocks2(half).xor_into(text);
        }
        let text: &mut [u8; 64] = head_mut(text);
        // SAFETY: a value exists where AVX-512F does; the 64 bytes are there.
        let old = Blocks4(unsafe { _mm512_loadu_si512(text.as_ptr().cast()) });
        self.xor(old).store(text);
    }

    #[inline(always)]
    fn first(self) -> Block {
        // SAFETY: a value exists where AVX-512F does.
        Block(unsafe { _mm512_castsi512_si128(self.0) })
    }

    #[inline(always)]
    fn half(self) -> Block {
        // SAFETY: a value exists where AVX-512F does.
        Block(unsafe { _mm512_extracti32x4_epi32::<2>(self.0) })
    }

    #[inline(always)]
    fn xor_first(self, block: Block) -> Self {
        // SAFETY: a value exists where AVX-512F does.
        self.xor(Blocks4(unsafe { _mm512_zextsi128_si512(block.0) }))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a value exists where AVX-512F does.
        Blocks4(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn fold(self) -> Block {
        // SAFETY: a value exists where AVX-512F does.
        let low = Blocks2(unsafe { _mm512_castsi512_si256(self.0) });
        // SAFETY: as above.
        let high = Blocks2(unsafe { _mm512_extracti64x4_epi64::<1>(self.0) });
        low.xor(high).fold()
    }

    #[inline(always)]
    fn round(self, key: Self) -> Self {
        // SAFETY: a value exists where VAES and AVX-512F do.
        Blocks4(unsafe { _mm512_aesenc_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn last_round(self, key: Self) -> Self {
        // SAFETY: a value exists where VAES and AVX-512F do.
        Blocks4(unsafe { _mm512_aesenclast_epi128(self.0, key.0) })
    }

    #[inline(always)]
    fn up_a_word(self) -> Self {
        // SAFETY: a value exists where AVX-512BW does.
        Blocks4(unsafe { _mm512_bslli_epi128::<4>(self.0) })
    }

    #[inline(always)]
    fn up_two_words(self) -> Self {
        // SAFETY: a value exists where AVX-512BW does.
        Blocks4(unsafe { _mm512_bslli_epi128::<8>(self.0) })
    }

    #[inline(always)]
    fn rotated_last_word(self) -> Self {
        // SAFETY: a value exists where AVX-512F does.
        let order = unsafe { _mm512_set1_epi32(ROTATED_LAST_WORD) };
        // SAFETY: a value exists where AVX-512BW does.
        Blocks4(unsafe { _mm512_shuffle_epi8(self.0, order) })
    }

    #[inline(always)]
    fn reversed(self) -> Self {
        // SAFETY: SSE2 is in every x86-64.
        let order = unsafe { _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) };
        // SAFETY: a value exists where AVX-512F does.
        let order = unsafe { _mm512_broadcast_i32x4(order) };
        // SAFETY: a value exists where AVX-512BW does.
        Blocks4(unsafe { _mm512_shuffle_epi8(self.0, order) })
    }

    #[inline(always)]
    fn products(self, by: Self) -> [Self; 3] {
        // SAFETY: a value exists where VPCLMULQDQ and AVX-512F do.
        let low = Blocks4(unsafe { _mm512_clmulepi64_epi128::<0x00>(self.0, by.0) });
        // SAFETY: as above.
        let a = Blocks4(unsafe { _mm512_clmulepi64_epi128::<0x01>(self.0, by.0) });
        // SAFETY: as above.
        let b = Blocks4(unsafe { _mm512_clmulepi64_epi128::<0x10>(self.0, by.0) });
        // SAFETY: as above.
        let high = Blocks4(unsafe { _mm512_clmulepi64_epi128::<0x11>(self.0, by.0) });
        [low, a.xor(b), high]
    }
}
