//! One link's state: what opens the peer's records and what seals ours.

use crate::owners::Owners;
use crate::punt::Allowance;
use crate::window::RecordWindow;
use drover_nic::Endpoint;
use drover_wire::control::Peer;

/// No ratchet step is in this place.
pub const NO_STEP: u64 = u64::MAX;
/// End of a list of waiting cells; no link.
pub const NIL: u32 = u32::MAX;

/// Keys of two ratchet steps of one generation and direction: step s is in place s mod 2 (`docs/wire.md`, W-KEY).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Steps {
    /// The steps that the keys belong to.
    pub steps: [u64; 2],
    /// The last step asked for.
    pub asked: u64,
    /// Indices of the record keys.
    pub keys: [u32; 2],
    /// A step covers 2^this records.
    pub ratchet_bits: u8,
}

/// A step that never ends: a peer's epoch, which has one key.
pub const ONE_STEP_BITS: u8 = 63;

impl Steps {
    /// The step that covers record `number`.
    pub fn step_of(&self, number: u64) -> u64 {
        number >> self.ratchet_bits
    }

    /// The key for record `number`, when its step is here.
    pub fn key_for(&self, number: u64) -> Option<u32> {
        let step = self.step_of(number);
        let place = (step & 1) as usize;
        (self.steps[place] == step).then_some(self.keys[place])
    }

    /// The step after `number`'s, when it is neither here nor asked for.
    pub fn next_missing(&self, number: u64) -> Option<u64> {
        let next = self.step_of(number) + 1;
        (self.steps[(next & 1) as usize] != next && self.asked != next).then_some(next)
    }
}

/// One generation of the peer's keys and their replay window: a cache line of keys, then the window's.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct ReadKeys {
    /// Record keys.
    pub steps: Steps,
    /// The generation.
    pub generation: u32,
    /// Index of the mask key.
    pub mask: u32,
    /// The class's slot number when the highest number came.
    pub last_slot: u64,
    /// Something has come under these keys.
    pub heard: bool,
    /// Which wrap of the first number is tried next, while nothing has come.
    pub hunted: u8,
    /// One more than the highest number that has been counted, as received or as lost.
    pub counted: u64,
    /// Numbers seen.
    pub window: RecordWindow,
}

const _: () = assert!(std::mem::offset_of!(ReadKeys, counted) == 64);
const _: () = assert!(size_of::<ReadKeys>() == 4 * 64 && size_of::<Option<ReadKeys>>() == 4 * 64);

impl ReadKeys {
    /// The number to expect in slot `slot` of the link's class (W-NUM): a drover peer's numbers go on one a slot
    /// through an outage.
    pub fn expected(&self, peer: Peer, slot: u64) -> u64 {
        let elapsed = match peer {
            Peer::Drover if self.heard => slot.saturating_sub(self.last_slot),
            _ => 0,
        };
        drover_wire::record::expected(self.window.next(), elapsed)
    }
}

/// What control knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// Records come; the newest generation of keys that opened one.
    Heard(u32),
    /// Nothing has come for a while.
    Silent,
}

/// The receiving half: a cache line that says which keys to try, then the keys.
#[repr(C, align(64))]
pub struct LinkRx {
    /// Which of the two is tried first.
    pub active: u8,
    /// The class, for the rate.
    pub class: u8,
    /// Whose number rules hold.
    pub peer: Peer,
    /// The turn of the last second opening, and how many there were in it.
    pub trials: (u64, u8),
    /// When a record last opened, or the link was made, monotonic ns.
    pub last_at: u64,
    /// What control was last told: the newest generation that was heard, none yet, or silence.
    pub told: Told,
    /// When the keys that are not tried first go; `u64::MAX` while they wait for their first record.
    pub retire_at: u64,
    /// What came by it that control may be given.
    pub punted: Allowance,
    /// The generation tried first, and the other: older, or installed and not yet used.
    pub keys: [Option<ReadKeys>; 2],
}

const _: () = assert!(std::mem::offset_of!(LinkRx, keys) == 64);
const _: () = assert!(size_of::<LinkRx>() == 9 * 64);

impl LinkRx {
    /// Which of the two sets has the keys of the foreign peer's epoch with these low bits.
    pub fn of_epoch(&self, bits: u8) -> Option<u8> {
        let of = |set: &u8| {
            let keys = self.keys[usize::from(*set)].as_ref();
            keys.is_some_and(|keys| keys.generation & 3 == u32::from(bits))
        };
        [self.active, 1 - self.active].into_iter().find(of)
    }

    /// The keys tried first.
    pub fn active(&self) -> Option<&ReadKeys> {
        self.keys[usize::from(self.active)].as_ref()
    }
}

/// One generation of our keys. What a record needs is a cache line; the rest is behind it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WriteKeys {
    /// Record keys.
    pub steps: Steps,
    /// Record number of slot n: n + this, wrapping. Set when sending begins.
    pub base: u64,
    /// The generation.
    pub generation: u32,
    /// Index of the mask key.
    pub mask: u32,
    /// The first byte of what is sealed.
    pub first_byte: u8,
    /// The first record number.
    pub first: u64,
}

/// The sending half: two cache lines for every record, then what few of them need.
#[repr(C, align(64))]
pub struct LinkTx {
    /// Who owns which slot.
    pub owners: Owners,
    /// Where records go.
    pub remote: Endpoint,
    /// The link's class.
    pub class: u8,
    /// In use.
    pub live: bool,
    /// Cells of control wait. Their list is on a line that few slots need.
    pub controlled: bool,
    /// Of a link of this mix to itself: the other end's index, where what leaves here arrives. Else [`NIL`].
    pub loop_to: u32,
    /// Cells mixed and ready for free slots.
    pub ready: List,
    /// What seals.
    pub keys: WriteKeys,
    /// What will seal after the switch.
    pub staged: Option<WriteKeys>,
    /// Its phase in the class, a fraction of 2^32: where the class finds it.
    pub phase: u32,
    /// Best-effort cells that are not mixed yet.
    pub arriving: List,
    /// Cells of control: before best effort.
    pub control: List,
    /// How many of them have left, untold.
    pub left: u32,
    /// The link's id in control messages.
    pub id: u32,
    /// Its counts.
    #[cfg(feature = "lab")]
    pub lab: crate::counters::LinkCounters,
}

/// Cache lines of a [`LinkTx`] that every record needs.
pub const HOT_LINES: usize = 2;
const _: () = assert!(std::mem::offset_of!(LinkTx, keys) == 64);
const _: () = assert!(64 + std::mem::offset_of!(WriteKeys, first) <= HOT_LINES * 64);

/// A list of waiting cells, chained through the worker's `next` array.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// Oldest cell.
    pub head: u32,
    /// Newest cell.
    pub tail: u32,
    /// How many.
    pub len: u32,
}

impl List {
    /// No cell.
    pub const EMPTY: List = List { head: NIL, tail: NIL, len: 0 };

    /// Appends a cell.
    pub fn push(&mut self, next: &mut [u32], cell: u32) {
        next[cell as usize] = NIL;
        match self.tail {
            NIL => self.head = cell,
            tail => next[tail as usize] = cell,
        }
        self.tail = cell;
        self.len += 1;
    }

    /// Takes the oldest cell.
    pub fn pop(&mut self, next: &[u32]) -> Option<u32> {
        let cell = self.head;
        if cell == NIL {
            return None;
        }
        self.head = next[cell as usize];
        if self.head == NIL {
            self.tail = NIL;
        }
        self.len -= 1;
        Some(cell)
    }
}
