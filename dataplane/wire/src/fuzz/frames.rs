//! Frames from the wire, as ports read them.

use crate::frame::{
    Checksum, Datagram, Family, HEADERS_MAX, Local, Mac, PAYLOAD_MAX, Template, mapped, mtu_needed, parse, payload_max,
};

/// Reads `bytes` as the frame of the port that it seems to be for, so that what is behind an address is reached too.
pub(super) fn frame(bytes: &[u8]) {
    for local in seeming(bytes) {
        let trusting = parse(bytes, &local, Checksum::Offload);
        let checking = parse(bytes, &local, Checksum::Software);
        let Ok(datagram) = trusting else {
            assert!(checking.is_err(), "only a sum can be what the device's word makes good");
            continue;
        };
        assert!(checking.is_err() || checking == trusting);
        within(bytes, &datagram, &local);
        again(&datagram, &local);
    }
}

/// The port that a frame's own addresses name, with and without its tag; a port of the other family.
fn seeming(bytes: &[u8]) -> impl Iterator<Item = Local> {
    let at = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mac = Mac(core::array::from_fn(at));
    let tagged = at(12) == 0x81 && at(13) == 0;
    let vlan = u16::from_be_bytes([at(14) & 0x0f, at(15)]);
    let ip = if tagged { 18 } else { 14 };
    let v4 = mapped(core::array::from_fn(|byte| at(ip + 16 + byte)));
    let v6 = core::array::from_fn(|byte| at(ip + 24 + byte));
    [v4, v6].into_iter().map(move |ip| Local { mac, vlan: (tagged && vlan != 0).then_some(vlan), ip })
}

/// The payload lies in the frame behind the headers, and comes from somebody else than nobody.
fn within(bytes: &[u8], datagram: &Datagram<'_>, local: &Local) {
    let start = datagram.payload.as_ptr() as usize - bytes.as_ptr() as usize;
    assert!(start >= local.headers_len());
    assert!(start + datagram.payload.len() <= bytes.len());
    assert_eq!(Family::of(&datagram.from_ip), local.family());
    assert_ne!(datagram.from_ip, [0; 16]);
}

/// The same datagram, written anew, is read as the same.
fn again(datagram: &Datagram<'_>, local: &Local) {
    let payload = datagram.payload;
    let mut room = [0; HEADERS_MAX + 512];
    let headers_len = local.headers_len();
    let Some(frame) = room.get_mut(..headers_len + payload.len()) else {
        assert!(payload.len() <= PAYLOAD_MAX + 20);
        return;
    };
    assert_eq!(payload_max(mtu_needed(payload.len(), local.family(), false), local.family(), false), payload.len());
    let from = Local { ip: datagram.from_ip, mac: Mac([2; 6]), vlan: local.vlan };
    let (headers, body) = frame.split_at_mut(headers_len);
    Template::new(&from, datagram.from_port).write(
        headers,
        local.mac,
        &local.ip,
        datagram.to_port,
        payload,
        Checksum::Software,
    );
    body.copy_from_slice(payload);
    assert_eq!(parse(frame, local, Checksum::Software), Ok(*datagram));
}
