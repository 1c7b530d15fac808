//! From text to a checked document. The text is hostile until its signature is found good; all that is wrong is told at
//! once.

use super::table::{self, Reader, shown};
use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drover_dtls::certificate::{CertificateError, Role};
use std::collections::HashMap;
use std::net::IpAddr;
use toml::Table;

/// Characters of the longest certificate or signature in a document.
const BASE64_MAX: usize = 4096;
/// The signature's line begins with this.
pub(super) const SIGNATURE: &str = "signature = \"";
/// What was signed is never to be mended by hand.
const ANEW: &str =
    "the document was changed or cut after it was signed: get it again, or make it anew with `drover zone document`";

/// A document's text in its two parts: what is signed, and the signature.
fn split(text: &str) -> Option<(&str, Vec<u8>)> {
    let at = text.rfind(SIGNATURE)?;
    let (signed, line) = text.split_at(at);
    if !signed.is_empty() && !signed.ends_with('\n') {
        return None;
    }
    let base64 = line.strip_prefix(SIGNATURE)?.strip_suffix("\"\n")?;
    let signature = (base64.len() <= BASE64_MAX).then(|| STANDARD.decode(base64).ok()).flatten()?;
    Some((signed, signature))
}

/// Reads a document; `trusted` is who must have signed it, whom it names itself otherwise.
pub(super) fn document(text: &str, trusted: Option<&Certificate>, unix_s: u64) -> Result<ZoneDocument, Vec<Problem>> {
    let mut problems = Vec::new();
    let parts = split(text);
    if parts.is_none() {
        problems.push(Problem {
            key: "signature".to_owned(),
            value: shown(text.lines().next_back().unwrap_or("(missing)")),
            allowed: "a last line, signature = \"BASE64\", ended by a line break".to_owned(),
            mend: ANEW.to_owned(),
        });
    }
    let signed = parts.as_ref().map_or(text, |(signed, _)| signed);
    let table = table::parse(signed, &mut problems);
    let document = table.and_then(|table| read(table, unix_s, &mut problems));
    let signer = trusted.or(document.as_ref().map(|document| &document.authority));
    if let (Some(signer), Some((signed, signature))) = (signer, &parts)
        && !signer.verifies(signed.as_bytes(), signature)
    {
        problems.push(Problem {
            key: "signature".to_owned(),
            value: format!("({} bytes)", signature.len()),
            allowed: format!("the signature of zone {} over all lines above", shown(signer.zone())),
            mend: ANEW.to_owned(),
        });
    }
    if let (Some(trusted), Some(document)) = (trusted, &document)
        && *trusted != document.authority
    {
        problems.push(Problem {
            key: "authority".to_owned(),
            value: format!("zone {}, id {}", shown(document.authority.zone()), document.authority.id()),
            allowed: format!("the trusted one: zone {}, id {}", shown(trusted.zone()), trusted.id()),
            mend: "take the document of the trusted zone, or trust this zone's certificate if it is the right one"
                .to_owned(),
        });
    }
    match document {
        Some(document) if problems.is_empty() => Ok(document),
        _ => Err(problems),
    }
}

/// The certificate that a text names as its authority; nothing else is looked at.
pub(super) fn authority(text: &str) -> Result<Certificate, Vec<Problem>> {
    let mut problems = Vec::new();
    let signed = split(text).map_or(text, |(signed, _)| signed);
    let table = table::parse(signed, &mut problems);
    let mut reader = Reader::new("", table.unwrap_or_default(), &mut problems);
    match certificate(&mut reader, "authority", Role::Zone) {
        Some(authority) => Ok(authority),
        None => Err(problems),
    }
}

fn read(table: Table, unix_s: u64, problems: &mut Vec<Problem>) -> Option<ZoneDocument> {
    let mut root = Reader::new("", table, problems);
    let zone = name(&mut root, "zone");
    let serial = root.number("serial", SERIAL, None, "make the document anew");
    let validity = validity(&mut root, unix_s);
    let cell = root.number("cell", 256..=1024, None, "256 is for voice") as u16;
    if !matches!(cell, 256 | 512 | 1024) {
        root.problem("cell", cell, "256, 512 or 1024 (bytes)", "256 is for voice");
    }
    let rate = root.number("rate", RATE, None, "cells a second of one call; 50 is for voice") as u32;
    let ratchet_bits = root.number("ratchet_bits", RATCHET_BITS, None, "24 is usual (W-KEY-3)") as u8;
    let rekey_s = root.number("rekey_s", REKEY_S, None, "600 is usual (W-KEY-7)") as u32;
    let epoch_s = root.number("epoch_s", EPOCH_S, None, "86400, a day, is usual") as u32;
    let authority = certificate(&mut root, "authority", Role::Zone);
    if let Some(authority) = &authority {
        issued(&mut root, "authority", authority, authority, unix_s);
        if zone.as_ref().is_some_and(|zone| zone != authority.zone()) {
            let allowed = format!("the authority's name, {:?}", authority.zone());
            root.problem("zone", format!("{:?}", zone.as_deref().unwrap_or("")), allowed, "make the document anew");
        }
    }
    let slots = root.section("slots");
    let (mixes, peers) = (root.list("mix", MIXES_MAX), root.list("peer", PEERS_MAX));
    if mixes.is_empty() {
        root.problem("mix", "(none)", format!("1 to {MIXES_MAX} of [[mix]]"), "list the zone's mixes");
    }
    root.finish();
    let (client, within, pair) = read_slots(slots, problems);
    let mixes = read_mixes(mixes, authority.as_ref(), unix_s, problems);
    let peers = read_peers(peers, authority.as_ref(), unix_s, problems);
    Some(ZoneDocument {
        zone: zone?,
        serial,
        validity,
        cell,
        rate,
        ratchet_bits,
        rekey_s,
        epoch_s,
        client,
        within,
        pair,
        authority: authority?,
        mixes,
        peers,
    })
}

fn validity(root: &mut Reader<'_>, unix_s: u64) -> (u64, u64) {
    let mend = "make the document anew";
    let from = root.number("valid_from", INSTANT, None, mend);
    let until = root.number("valid_until", INSTANT, None, mend);
    if from >= until || until - from > VALID_MAX_S {
        let allowed = format!("after valid_from, by at most {} days", VALID_MAX_S / 86_400);
        root.problem("valid_until", until, allowed, mend);
    } else if unix_s < from {
        let allowed = format!("at or before now, {}", super::utc(unix_s));
        root.problem("valid_from", super::utc(from), allowed, "wait, or set this machine's clock (timedatectl)");
    } else if unix_s >= until {
        let allowed = format!("after now, {}", super::utc(unix_s));
        root.problem("valid_until", super::utc(until), allowed, "get the zone's new document, or make it anew");
    }
    (from, until)
}

fn name(reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let allowed = "1 to 64 of a-z, 0-9, dot and hyphen";
    let text = reader.text(key, allowed, "make the document anew")?;
    let good = (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
    if !good {
        reader.problem(key, format!("{text:?}"), allowed, "choose another name");
    }
    good.then_some(text)
}

fn certificate(reader: &mut Reader<'_>, key: &'static str, role: Role) -> Option<Certificate> {
    let allowed = format!("a {}'s certificate, base64 of DER", role_name(role));
    let mend = "make the document anew from certificate.pem files";
    let text = reader.text(key, &allowed, mend)?;
    let der = (text.len() <= BASE64_MAX).then(|| STANDARD.decode(&text).ok()).flatten();
    let read = der.map(|der| Certificate::from_der(&der));
    match read {
        Some(Ok(certificate)) if certificate.role() == role => Some(certificate),
        Some(Ok(other)) => {
            let found = format!("(a {}'s certificate, {})", role_name(other.role()), other.name());
            reader.problem(key, found, allowed, mend);
            None
        }
        Some(Err(error)) => {
            reader.problem(key, error, allowed, mend);
            None
        }
        None => {
            reader.problem(key, format!("{text:?}"), allowed, mend);
            None
        }
    }
}

/// `authority` issued it, and it is valid now.
fn issued(reader: &mut Reader<'_>, key: &str, certificate: &Certificate, authority: &Certificate, unix_s: u64) {
    if let Err(error) = certificate.check(std::slice::from_ref(authority), unix_s) {
        let mend = match error {
            CertificateError::Expired(_) => "issue a new certificate (drover zone mix), or set this machine's clock",
            _ => "use certificates that this zone issued",
        };
        let allowed = format!("valid now, issued by zone {}", shown(authority.zone()));
        reader.problem(key, format!("{} ({error})", certificate.name()), allowed, mend);
    }
}

fn read_slots(table: Table, problems: &mut Vec<Problem>) -> (Slots, Slots, Slots) {
    let mut reader = Reader::new("slots.", table, problems);
    let mend = "a link keeps one slot for its own control, so one more than the calls it is to carry";
    let mut slots = |key| Slots { slots: reader.number(key, SLOTS, None, mend) as u32 };
    let read = (slots("client"), slots("within"), slots("pair"));
    reader.finish();
    read
}

/// Notes who was first to have a value that only one may have.
fn unique<T: std::hash::Hash + Eq>(seen: &mut HashMap<T, usize>, value: T, at: usize) -> Option<usize> {
    seen.insert(value, at)
}

fn read_mixes(
    tables: Vec<Table>,
    authority: Option<&Certificate>,
    unix_s: u64,
    problems: &mut Vec<Problem>,
) -> Vec<MixEntry> {
    let (mut names, mut addresses, mut ids) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut mixes = Vec::new();
    for (at, table) in tables.into_iter().enumerate() {
        let mut reader = Reader::new(&format!("mix[{at}]."), table, problems);
        let (name, address) = (name(&mut reader, "name"), address(&mut reader));
        let certificate = certificate(&mut reader, "certificate", Role::Mix);
        let mut twice = |key: &str, value: String, other: Option<usize>| {
            if let Some(other) = other {
                let mend = format!("mix[{other}] has it: change one of them");
                reader.problem(key, value, format!("another {key} for each mix"), mend);
            }
        };
        if let Some(name) = &name {
            twice("name", name.clone(), unique(&mut names, name.clone(), at));
        }
        if let Some(address) = address {
            twice("address", address.to_string(), unique(&mut addresses, address, at));
        }
        if let Some(certificate) = &certificate {
            twice("certificate", certificate.name().to_owned(), unique(&mut ids, certificate.id(), at));
            if let Some(authority) = authority {
                issued(&mut reader, "certificate", certificate, authority, unix_s);
            }
            if name.as_ref().is_some_and(|name| name != certificate.name()) {
                let allowed = format!("the certificate's name, {:?}", certificate.name());
                reader.problem("name", format!("{:?}", name.as_deref().unwrap_or("")), allowed, "make it anew");
            }
        }
        reader.finish();
        if let (Some(name), Some(address), Some(certificate)) = (name, address, certificate) {
            mixes.push(MixEntry { name, address, certificate });
        }
    }
    mixes
}

fn address(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let mend = "name where the mix's data plane is reached";
    let text = reader.text("address", ADDRESS_ALLOWED, mend)?;
    let read = super::address(&text);
    if read.is_none() {
        reader.problem("address", format!("{text:?}"), ADDRESS_ALLOWED, mend);
    }
    read
}

/// What [`super::address`] takes, for people.
pub(super) const ADDRESS_ALLOWED: &str =
    "\"ADDRESS:PORT\" of one host, such as \"192.0.2.1:4001\" or \"[2001:db8::1]:4001\"; not port 0";

pub(super) fn one_host(address: &SocketAddr) -> bool {
    let broadcast = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() && !broadcast
}

fn read_peers(
    tables: Vec<Table>,
    own: Option<&Certificate>,
    unix_s: u64,
    problems: &mut Vec<Problem>,
) -> Vec<PeerZone> {
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut peers = Vec::new();
    for (at, table) in tables.into_iter().enumerate() {
        let mut reader = Reader::new(&format!("peer[{at}]."), table, problems);
        let (zone, authority) = (name(&mut reader, "zone"), certificate(&mut reader, "authority", Role::Zone));
        if let (Some(zone), Some(authority)) = (&zone, &authority) {
            issued(&mut reader, "authority", authority, authority, unix_s);
            let quoted = format!("{zone:?}");
            if zone != authority.zone() {
                let allowed = format!("the authority's name, {:?}", authority.zone());
                reader.problem("zone", &quoted, allowed, "make the document anew");
            }
            if own.is_some_and(|own| own.zone() == authority.zone() || own.id() == authority.id()) {
                reader.problem("zone", &quoted, "another zone", "a zone is no peer of itself: remove it");
            }
            if let Some(other) = unique(&mut names, zone.clone(), at) {
                let mend = format!("peer[{other}] is that zone: remove one of them");
                reader.problem("zone", &quoted, "each zone once", mend);
            }
        }
        reader.finish();
        if let (Some(zone), Some(authority)) = (zone, authority) {
            peers.push(PeerZone { zone, authority });
        }
    }
    peers
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Zone => "zone",
        Role::Mix => "mix",
        Role::Client => "client",
    }
}
