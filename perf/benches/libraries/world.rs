//! Keys, and batches of hops over them.

use drover_crypto::reference::{RecordKey, ReferenceRecords};
use drover_crypto::schedule::{LayerSecret, RecordSecret};
use drover_crypto::{BATCH, Cell, Records, SealJob, cells};
use drover_wire::record::{FIRST_BYTE, record_len};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Cell size, bytes.
pub const CELL: usize = 512;
/// Bytes of a record.
pub const RECORD: usize = record_len(CELL);
/// Hops of a batch.
pub const HOPS: usize = 1024;

/// A batch's records, one after the other.
#[derive(PartialEq)]
pub struct Frames(Vec<[u8; RECORD]>);

impl Frames {
    /// Frames of a batch.
    pub fn new() -> Frames {
        Frames(vec![[0; RECORD]; HOPS])
    }

    /// One record.
    pub fn get(&self, at: usize) -> &[u8; RECORD] {
        &self.0[at]
    }

    /// All of them, to write.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8; RECORD]> {
        self.0.iter_mut()
    }
}

/// One hop: which keys, and which numbers.
#[derive(Clone, Copy)]
pub struct Hop {
    /// The link that it comes by.
    pub from: u32,
    /// The link that it leaves by.
    pub to: u32,
    /// Its circuit.
    pub circuit: u32,
    /// The number of both records.
    pub number: u64,
    /// The cell's counter.
    pub counter: u64,
}

/// Keys of links, both ways, and of circuits; and the batch at hand.
pub struct World {
    /// Records that come, by link.
    pub open: Vec<RecordSecret>,
    /// Records that leave, by link.
    pub seal: Vec<RecordSecret>,
    /// Layers, by circuit.
    pub layers: Vec<LayerSecret>,
    /// The batch.
    pub hops: Vec<Hop>,
    /// Its records as they came.
    pub came: Frames,
    far: Vec<RecordKey>,
    cells: Box<[Cell<CELL>]>,
    rng: StdRng,
}

impl World {
    /// A world with keys drawn at random.
    pub fn draw(links: usize, circuits: usize) -> World {
        let mut rng = StdRng::from_os_rng();
        let mut record = || RecordSecret { key: rng.random(), iv: rng.random() };
        let open: Vec<_> = (0..links).map(|_| record()).collect();
        let seal = (0..links).map(|_| record()).collect();
        let layers = (0..circuits).map(|_| LayerSecret(rng.random())).collect();
        let far = open.iter().map(ReferenceRecords::key).collect();
        World { open, seal, layers, hops: Vec::new(), came: Frames::new(), far, cells: cells(BATCH), rng }
    }

    /// Draws a batch of hops and seals what comes.
    pub fn next_batch(&mut self) {
        let (rng, links, circuits) = (&mut self.rng, self.open.len() as u32, self.layers.len() as u32);
        let mut hop = || Hop {
            from: rng.random_range(0..links),
            to: rng.random_range(0..links),
            circuit: rng.random_range(0..circuits),
            number: u64::from(rng.random::<u32>()),
            counter: rng.random(),
        };
        self.hops = (0..HOPS).map(|_| hop()).collect();
        let mut frames = self.came.iter_mut();
        for hops in self.hops.chunks(BATCH) {
            self.cells.iter_mut().for_each(|cell| self.rng.fill(cell.plaintext_mut()));
            let jobs = hops.iter().zip(&mut frames).zip(0u32..).map(|((hop, frame), cell)| SealJob {
                key: hop.from,
                cell,
                number: hop.number,
                first: FIRST_BYTE,
                frame,
            });
            ReferenceRecords::seal(&self.far, &self.cells, &mut jobs.collect::<Vec<_>>());
        }
    }
}
