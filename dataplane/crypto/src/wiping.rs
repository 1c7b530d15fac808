//! What is left of a key in its place, once it was dropped or replaced there.

use crate::schedule::{LayerSecret, MaskSecret, RecordSecret};
use crate::{Layers, Records, Suite};
use std::mem::MaybeUninit;

/// Keys that are compared.
const KEYS: u8 = 6;

/// Memory for a key, as a slab's is: it is there before the key and after it.
struct Place<K>(Box<MaybeUninit<K>>);

impl<K> Place<K> {
    /// A place with a key.
    fn with(key: K) -> Self {
        let mut place = Box::new(MaybeUninit::zeroed());
        place.write(key);
        Place(place)
    }

    /// The bytes that are there, whatever they are.
    fn bytes(&self) -> Vec<u8> {
        let start = self.0.as_ptr().cast::<u8>();
        let byte = |at| {
            // SAFETY: within the place.
            let byte = unsafe { start.add(at) };
            // SAFETY: the place is ours and was zeroed when it was made. What a move of a key leaves in its padding may
            // be anything, and a volatile read takes it as it is.
            unsafe { byte.read_volatile() }
        };
        (0..size_of::<K>()).map(byte).collect()
    }

    /// Ends the key in its place.
    fn drop_key(&mut self) {
        // SAFETY: `with` put a key there, and every place's key is ended once, by this or by `replace`.
        unsafe { self.0.assume_init_drop() };
    }

    /// Puts another key in its place, as a slab does with a blank one when it frees a place.
    fn replace(&mut self, key: K) {
        // SAFETY: `with` put a key there.
        *unsafe { self.0.assume_init_mut() } = key;
    }
}

/// How many of a place's bytes depend on which key is or was there. `make` makes key 0, 1, …; `end` is what happens to it.
fn depend<K>(make: impl Fn(u8) -> K, end: impl Fn(&mut Place<K>)) -> usize {
    let images: Vec<Vec<u8>> = (1..=KEYS)
        .map(|key| {
            let mut place = Place::with(make(key));
            end(&mut place);
            place.bytes()
        })
        .collect();
    (0..size_of::<K>()).filter(|&at| images.iter().any(|image| image[at] != images[0][at])).count()
}

/// Whether nothing is left of a key that is dropped or replaced.
///
/// # Errors
/// What is left.
fn wiped<K>(make: impl Fn(u8) -> K) -> Result<(), String> {
    // The key itself, and ten round keys: otherwise this looks at the wrong bytes.
    let alive = depend(&make, |_| ());
    if alive < 16 {
        return Err(format!("{alive} bytes of a key depend on it"));
    }
    match (depend(&make, Place::drop_key), depend(&make, |place| place.replace(make(0)))) {
        (0, 0) => Ok(()),
        (dropped, replaced) => Err(format!("bytes left of {alive}: {dropped} dropped, {replaced} replaced")),
    }
}

/// No byte of a back end's keys is left.
///
/// # Panics
/// When one is.
pub(crate) fn keys<S: Suite>() {
    let key = |seed: u8| std::array::from_fn(|at| (at as u8 + 1).wrapping_mul(seed.wrapping_mul(37)));
    let iv = |seed: u8| std::array::from_fn(|at| seed.wrapping_mul(at as u8 + 3));
    let record = wiped(|seed| S::Records::key(&RecordSecret { key: key(seed), iv: iv(seed) }));
    let mask = wiped(|seed| S::Records::mask_key(&MaskSecret(key(seed))));
    let layer = wiped(|seed| S::Layers::key(&LayerSecret(key(seed))));
    for (what, left) in [("record", record), ("mask", mask), ("layer", layer)] {
        left.unwrap_or_else(|left| panic!("a {what} key of {}: {left}", S::NAME));
    }
}

#[test]
fn a_key_that_is_not_wiped_is_seen() {
    struct Kept(#[expect(dead_code, reason = "read as memory")] [u8; 32]);
    assert_eq!(wiped(|seed| Kept([seed; 32])), Err("bytes left of 32: 32 dropped, 0 replaced".to_owned()));
    struct Part([u8; 32]);
    impl Drop for Part {
        fn drop(&mut self) {
            zeroize::Zeroize::zeroize(&mut self.0[..31]);
        }
    }
    assert_eq!(wiped(|seed| Part([seed; 32])), Err("bytes left of 32: 1 dropped, 0 replaced".to_owned()));
}
