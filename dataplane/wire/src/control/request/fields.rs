//! How the fields of requests travel, in the order of the wire, and what they may be.

use super::super::codec::{DecodeError, Full, Reader, Writer, check};
use super::super::types::{BootId, Owner, Secret};
use super::*;

pub(super) fn take_id(reader: &mut Reader<'_>, name: &'static str) -> Result<u32, DecodeError> {
    let id = reader.u32()?;
    check(id < ID_LIMIT, name, "below 2^31")?;
    Ok(id)
}

impl ClassKind {
    const ALL: [ClassKind; 4] = [ClassKind::Client, ClassKind::Superpeer, ClassKind::Zone, ClassKind::Pair];

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<ClassKind, DecodeError> {
        let byte = reader.u8()?;
        let known = ClassKind::ALL.into_iter().find(|kind| *kind as u8 == byte);
        known.ok_or(DecodeError::Field { name: "kind", allowed: "0 (client) to 3 (pair)" })
    }
}

impl Peer {
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Peer, DecodeError> {
        match reader.u8()? {
            0 => Ok(Peer::Drover),
            1 => Ok(Peer::Foreign),
            _ => Err(DecodeError::Field { name: "peer", allowed: "0 (drover) or 1 (foreign)" }),
        }
    }
}

impl PutClass {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u16(self.class)?;
        writer.u8(self.kind as u8)?;
        writer.u64(self.round_ns)?;
        writer.u32(self.slots)?;
        writer.u32(self.slots_max)?;
        writer.u64(self.at_ns)
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<PutClass, DecodeError> {
        let put = PutClass {
            boot: BootId::take(r)?,
            class: r.u16()?,
            kind: ClassKind::take(r)?,
            round_ns: r.u64()?,
            slots: r.u32()?,
            slots_max: r.u32()?,
            at_ns: r.u64()?,
        };
        let round = ROUND_NS_MIN..=ROUND_NS_MAX;
        check(round.contains(&put.round_ns), "round_ns", "1000000 to 10000000000 (1 ms to 10 s)")?;
        check(put.slots_max <= SLOTS_MAX, "slots_max", "1 to 1048576")?;
        check((1..=put.slots_max).contains(&put.slots), "slots", "1 to slots_max")?;
        Ok(put)
    }
}

impl Direction {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.secret.put(writer)?;
        writer.u64(self.first)
    }
    pub(super) fn take(r: &mut Reader<'_>) -> Result<Direction, DecodeError> {
        Ok(Direction { secret: Secret::take(r)?, first: r.u64()? })
    }
}

impl PutLink {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u32(self.link)?;
        writer.u32(self.generation)?;
        writer.u16(self.local_port)?;
        self.remote.put(writer)?;
        writer.u16(self.class)?;
        writer.u8(self.peer as u8)?;
        writer.u8(self.ratchet_bits)?;
        self.send.put(writer)?;
        self.receive.put(writer)?;
        self.owner.put(writer)
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<PutLink, DecodeError> {
        let put = PutLink {
            boot: BootId::take(r)?,
            link: take_id(r, "link")?,
            generation: r.u32()?,
            local_port: r.u16()?,
            remote: Address::take(r)?,
            class: r.u16()?,
            peer: Peer::take(r)?,
            ratchet_bits: r.u8()?,
            send: Direction::take(r)?,
            receive: Direction::take(r)?,
            owner: Owner::take(r)?,
        };
        check(put.remote.port != 0, "remote.port", "not 0")?;
        check(!put.remote.is_unspecified(), "remote.ip", "neither :: nor 0.0.0.0")?;
        let bits = RATCHET_BITS_MIN..=RATCHET_BITS_MAX;
        check(bits.contains(&put.ratchet_bits), "ratchet_bits", "4 to 34")?;
        Ok(put)
    }
}

impl LinkEnd {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.u32(self.link)?;
        writer.u32(self.id)
    }
    pub(super) fn take(r: &mut Reader<'_>, link: &'static str, id: &'static str) -> Result<LinkEnd, DecodeError> {
        let end = LinkEnd { link: take_id(r, link)?, id: r.u32()? };
        check(end.id != 0, id, "not 0")?;
        Ok(end)
    }
}

/// A number that may be left to the first cell.
fn put_first(first: Option<u64>, writer: &mut Writer<'_>) -> Result<(), Full> {
    writer.bool(first.is_some())?;
    first.map_or(Ok(()), |first| writer.u64(first))
}

fn take_first(r: &mut Reader<'_>, name: &'static str) -> Result<Option<u64>, DecodeError> {
    r.bool(name)?.then(|| r.u64()).transpose()
}

impl Leg {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.key.put(writer)?;
        put_first(self.first, writer)?;
        writer.u64(self.offset)?;
        writer.bool(self.admitted)
    }
    pub(super) fn take(r: &mut Reader<'_>, admitted: &'static str) -> Result<Leg, DecodeError> {
        let (key, first) = (Secret::take(r)?, take_first(r, "first")?);
        Ok(Leg { key, first, offset: r.u64()?, admitted: r.bool(admitted)? })
    }
}

impl PutCircuit {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u32(self.circuit)?;
        writer.u32(self.generation)?;
        self.near.put(writer)?;
        writer.bool(self.far.is_some())?;
        if let Some(far) = &self.far {
            far.put(writer)?;
        }
        self.forward.put(writer)?;
        self.backward.put(writer)?;
        writer.bool(self.hop.is_some())?;
        if let Some(hop) = &self.hop {
            hop.put(writer)?;
        }
        self.owner.put(writer)
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<PutCircuit, DecodeError> {
        let (boot, circuit, generation) = (BootId::take(r)?, take_id(r, "circuit")?, r.u32()?);
        let near = LinkEnd::take(r, "near.link", "near.id")?;
        let far = match r.bool("far")? {
            true => Some(LinkEnd::take(r, "far.link", "far.id")?),
            false => None,
        };
        check(far != Some(near), "far", "another link or id than near")?;
        let forward = Leg::take(r, "forward.admitted")?;
        let backward = Leg::take(r, "backward.admitted")?;
        let hop = match r.bool("hop")? {
            true => Some(HopKeys::take(r)?),
            false => None,
        };
        Ok(PutCircuit { boot, circuit, generation, near, far, forward, backward, hop, owner: Owner::take(r)? })
    }
}

impl HopKeys {
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.forward_mac.put(writer)?;
        self.backward_mac.put(writer)?;
        writer.u64(self.first)
    }
    fn take(r: &mut Reader<'_>) -> Result<HopKeys, DecodeError> {
        Ok(HopKeys { forward_mac: Secret::take(r)?, backward_mac: Secret::take(r)?, first: r.u64()? })
    }
}

impl ExtendCircuit {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u32(self.circuit)?;
        self.far.put(writer)?;
        self.others.put(writer, |first, writer| writer.u64(*first))
    }
    pub(super) fn take(r: &mut Reader<'_>) -> Result<ExtendCircuit, DecodeError> {
        let too_many = DecodeError::Field { name: "others", allowed: "at most 2" };
        Ok(ExtendCircuit {
            boot: BootId::take(r)?,
            circuit: take_id(r, "circuit")?,
            far: LinkEnd::take(r, "far.link", "far.id")?,
            others: List::take(r, too_many, |r| r.u64())?,
        })
    }
}

impl PutLoop {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u32(self.a)?;
        writer.u32(self.b)?;
        writer.u16(self.class)?;
        self.owner.put(writer)
    }
    pub(super) fn take(r: &mut Reader<'_>) -> Result<PutLoop, DecodeError> {
        let (boot, a, b) = (BootId::take(r)?, take_id(r, "a")?, take_id(r, "b")?);
        check(a != b, "b", "another link than a")?;
        Ok(PutLoop { boot, a, b, class: r.u16()?, owner: Owner::take(r)? })
    }
}

impl Dump {
    const ALL: [Dump; 4] = [Dump::Classes, Dump::Links, Dump::Circuits, Dump::Ends];

    pub(super) fn take(r: &mut Reader<'_>) -> Result<Dump, DecodeError> {
        let byte = r.u8()?;
        let known = Dump::ALL.into_iter().find(|what| *what as u8 == byte);
        known.ok_or(DecodeError::Field { name: "what", allowed: "0 (classes) to 3 (ends)" })
    }
}

impl EndLayer {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.forward.put(writer)?;
        writer.u64(self.forward_offset)?;
        self.backward.put(writer)?;
        writer.u64(self.backward_offset)
    }
    pub(super) fn take(r: &mut Reader<'_>) -> Result<EndLayer, DecodeError> {
        Ok(EndLayer {
            forward: Secret::take(r)?,
            forward_offset: r.u64()?,
            backward: Secret::take(r)?,
            backward_offset: r.u64()?,
        })
    }
}

impl EndSecret {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.key.put(writer)?;
        self.iv.put(writer)
    }
    pub(super) fn take(r: &mut Reader<'_>) -> Result<EndSecret, DecodeError> {
        Ok(EndSecret { key: Secret::take(r)?, iv: Secret::take(r)? })
    }
}

impl PutEnd {
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        self.boot.put(writer)?;
        writer.u32(self.end)?;
        writer.u32(self.generation)?;
        self.at.put(writer)?;
        writer.u64(self.send_first)?;
        put_first(self.receive_first, writer)?;
        self.layers.put(writer, EndLayer::put)?;
        self.seal.put(writer)?;
        self.open.put(writer)
    }

    pub(super) fn take(r: &mut Reader<'_>) -> Result<PutEnd, DecodeError> {
        let too_many = DecodeError::Field { name: "layers", allowed: "at most 4" };
        Ok(PutEnd {
            boot: BootId::take(r)?,
            end: take_id(r, "end")?,
            generation: r.u32()?,
            at: LinkEnd::take(r, "at.link", "at.id")?,
            send_first: r.u64()?,
            receive_first: take_first(r, "receive_first")?,
            layers: Layers::take(r, too_many, EndLayer::take)?,
            seal: EndSecret::take(r)?,
            open: EndSecret::take(r)?,
        })
    }
}
