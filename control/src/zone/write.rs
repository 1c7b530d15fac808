//! From a document to its signed text.

use super::read::SIGNATURE;
use super::{ZoneDocument, ZoneError, read};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drover_dtls::certificate::{Certificate, Identity};
use std::fmt::Write;

/// The document as text, signed by `identity`, who must be its authority.
pub(super) fn signed(document: &ZoneDocument, identity: &Identity) -> Result<String, ZoneError> {
    if *identity.certificate() != document.authority {
        return Err(ZoneError(format!("zone {} can only be signed with its own identity", document.zone)));
    }
    let mut text = unsigned(document);
    let signature = STANDARD.encode(identity.sign(text.as_bytes()));
    let _ = writeln!(text, "{SIGNATURE}{signature}\"");
    // Nothing leaves here that would be refused elsewhere.
    let same = read::document(&text, Some(&document.authority), document.validity.0.max(latest_begin(document)));
    match same {
        Ok(same) if same == *document => Ok(text),
        Ok(_) => Err(ZoneError("the document does not read back as it was written".to_owned())),
        Err(problems) => Err(ZoneError::of(&problems)),
    }
}

/// The instant from which all of the document's certificates are valid.
fn latest_begin(document: &ZoneDocument) -> u64 {
    let mixes = document.mixes.iter().map(|mix| &mix.certificate);
    let all = mixes.chain(document.peers.iter().map(|peer| &peer.authority)).chain([&document.authority]);
    all.map(|certificate| certificate.validity().0).max().unwrap_or(0)
}

fn unsigned(document: &ZoneDocument) -> String {
    let ZoneDocument { zone, serial, validity: (from, until), cell, rate, .. } = document;
    let ZoneDocument { ratchet_bits, rekey_s, epoch_s, client, within, pair, authority, mixes, peers, .. } = document;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "# A Drover zone document, made by `drover zone document`. Do not edit it: the last line signs all lines above.\n\
         # Valid from {} until {}.\n\
         zone = \"{zone}\"\n\
         serial = {serial}\n\
         valid_from = {from}\n\
         valid_until = {until}\n\
         cell = {cell}\n\
         rate = {rate}\n\
         ratchet_bits = {ratchet_bits}\n\
         rekey_s = {rekey_s}\n\
         epoch_s = {epoch_s}\n\
         authority = \"{}\"\n\
         \n\
         [slots]\n\
         client = {}\n\
         within = {}\n\
         pair = {}\n",
        super::utc(*from),
        super::utc(*until),
        base64(authority),
        client.slots,
        within.slots,
        pair.slots,
    );
    for mix in mixes {
        let (name, address, certificate) = (&mix.name, mix.address, base64(&mix.certificate));
        let _ =
            write!(text, "\n[[mix]]\nname = \"{name}\"\naddress = \"{address}\"\ncertificate = \"{certificate}\"\n");
    }
    for peer in peers {
        let _ = write!(text, "\n[[peer]]\nzone = \"{}\"\nauthority = \"{}\"\n", peer.zone, base64(&peer.authority));
    }
    text.push('\n');
    text
}

fn base64(certificate: &Certificate) -> String {
    STANDARD.encode(certificate.der())
}
