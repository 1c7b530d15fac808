//! The keys that are taken over, in the data plane's own records.

use crate::network::Zone;
use drover_crypto::reference::ReferenceRecords;
use drover_crypto::schedule::TrafficSecret;
use drover_crypto::{Cell, MaskJob, Records, SealJob, cells};
use drover_dtls::handshake::{Handshake, Progress, Side};
use drover_dtls::testing::FullPeer;

/// A cell size (W-REC-1); a record has 3 bytes more.
const S: usize = 256;

/// Seals records as the data plane does, by the reference.
struct Sealer {
    key: [<ReferenceRecords as Records>::Key; 1],
    mask: [<ReferenceRecords as Records>::MaskKey; 1],
    cells: Box<[Cell<S>]>,
}

impl Sealer {
    fn new(secret: &[u8; 32]) -> Sealer {
        let secret = TrafficSecret(*secret);
        let (key, mask) = (ReferenceRecords::key(&secret.record()), ReferenceRecords::mask_key(&secret.mask()));
        Sealer { key: [key], mask: [mask], cells: cells(1) }
    }

    fn seal(&mut self, number: u64, byte: u8) -> [u8; S + 3] {
        let plaintext = self.cells[0].plaintext_mut();
        plaintext.fill(byte);
        *plaintext.last_mut().expect("bytes") = 23; // application data
        let mut frame = [0; S + 3];
        let job = SealJob { key: 0, cell: 0, number, first: 0x2b, frame: &mut frame };
        ReferenceRecords::seal(&self.key, &self.cells, &mut [job]);
        let sample = *frame[3..].first_chunk().expect("16 bytes");
        let mut masks = [MaskJob { key: 0, sample, mask: [0; 2] }];
        ReferenceRecords::masks(&self.mask, &mut masks);
        frame[1] ^= masks[0].mask[0];
        frame[2] ^= masks[0].mask[1];
        frame
    }
}

#[test]
fn a_library_peer_opens_our_records_from_the_first_number_on() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    for side in [Side::Client, Side::Server] {
        let other = if side == Side::Client { Side::Server } else { Side::Client };
        let mut ours = Handshake::new(&a, side, 1400).expect("a handshake");
        let mut peer = FullPeer::new(&b, other, 1400).expect("a peer");
        while !peer.is_idle() {
            while let Some(datagram) = ours.output() {
                peer.input(&datagram).expect("taken");
            }
            while let Some(datagram) = peer.output() {
                ours.input(&datagram).expect("taken");
            }
        }
        let over = ours.take_over().expect("it is over");
        let mut sealer = Sealer::new(&over.write);
        for number in over.first.1..over.first.1 + 3 {
            peer.input(&sealer.seal(number, number as u8)).expect("taken");
            assert_eq!(peer.received(), Some(vec![number as u8; S - 17]), "{side:?}");
        }
        // The number before was the ACK's, or there is none: nothing that we seal repeats it.
        assert_eq!(over.first.1, u64::from(side == Side::Server));
    }
}

#[test]
fn a_client_whose_ack_was_lost_ends_by_the_repeated_one_however_many_cells_came_before() {
    let zone = Zone::new("north");
    let (a, b) = (zone.context("a"), zone.context("b"));
    let mut client = Handshake::new(&a, Side::Client, 1400).expect("a handshake");
    let mut server = Handshake::new(&b, Side::Server, 1400).expect("a handshake");
    let mut progress = Progress::More;
    while progress == Progress::More {
        while let Some(datagram) = client.output() {
            progress = server.input(&datagram).expect("taken");
        }
        while progress == Progress::More
            && let Some(datagram) = server.output()
        {
            client.input(&datagram).expect("taken");
        }
    }
    let lost = server.output().expect("an ACK");
    let server = server.take_over().expect("it is over");
    assert_eq!(server.last_flight, [lost]);
    let mut sealer = Sealer::new(&server.write);
    for number in server.first.1..2000 {
        assert_eq!(client.input(&sealer.seal(number, 0)), Ok(Progress::More));
    }
    client.on_timeout().expect("in time");
    let repeated = client.output().expect("the last flight again");
    assert_eq!(repeated[0] & 0xe3, 0x22, "of epoch 2");
    assert_eq!(client.input(&server.last_flight[0]), Ok(Progress::Done));
    assert_eq!(client.take_over().expect("it is over").first, (1, 0));
}
