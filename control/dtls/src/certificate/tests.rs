use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn zone(name: &str) -> Identity {
    Identity::new_zone(name, NOW, 365).expect("a zone")
}

#[test]
fn a_zone_issues_and_what_it_issued_is_good() {
    let zone = zone("north");
    let mix = zone.issue("m1", Role::Mix, NOW, 30).expect("issued");
    let certificate = mix.certificate();
    assert_eq!((certificate.name(), certificate.zone(), certificate.role()), ("m1", "north", Role::Mix));
    assert_eq!(certificate.validity(), (NOW - 3600, NOW + 30 * DAY));
    assert_eq!(certificate.check(&[zone.certificate().clone()], NOW), Ok(()));
    assert_eq!(zone.certificate().check(&[zone.certificate().clone()], NOW), Ok(()));
    let again = Certificate::from_pem(certificate.to_pem().as_bytes()).expect("our own PEM");
    assert!(again == *certificate && again.id() == certificate.id());
    assert_eq!(Certificate::from_der(certificate.der()), Ok(again));
    assert_ne!(certificate.id(), zone.certificate().id());
}

#[test]
fn another_library_reads_our_certificates() {
    // BoringSSL's X.509 parser and its own rules for chains, told to trust the zone.
    let zone = zone(&"z".repeat(64));
    let node = zone.issue(&"c".repeat(64), Role::Client, NOW, 10_000).expect("issued");
    let read = |certificate: &Certificate| X509::from_der(certificate.der()).expect("X.509");
    let (issuer, leaf) = (read(zone.certificate()), read(node.certificate()));
    assert!(leaf.verify(&issuer.public_key().expect("a key")).expect("a signature"));
    assert_eq!(issuer.issued(&leaf), Ok(()));
    let spki = leaf.public_key().and_then(|key| key.public_key_to_der()).expect("a key");
    assert_eq!(node.certificate().id().0, boring::sha::sha256(&spki)[..16]);
    assert_eq!(leaf.not_after().to_string(), "Jun  2 08:00:00 2054 GMT");
    let common_name = leaf.subject_name().entries_by_nid(Nid::COMMONNAME).next().expect("a name");
    assert_eq!(common_name.data().as_slice(), "c".repeat(64).as_bytes());
}

#[test]
fn what_another_library_makes_is_refused_when_it_has_another_form() {
    // Signed by the zone, with the right names and key: only the extensions are not there.
    let zone = zone("north");
    let node = zone.issue("m1", Role::Mix, NOW, 30).expect("issued");
    let ours = X509::from_der(node.certificate().der()).expect("X.509");
    let make = || {
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(ours.serial_number())?;
        builder.set_issuer_name(ours.issuer_name())?;
        builder.set_subject_name(ours.subject_name())?;
        builder.set_not_before(ours.not_before())?;
        builder.set_not_after(ours.not_after())?;
        builder.set_pubkey(&*ours.public_key()?)?;
        builder.sign(zone.key(), MessageDigest::sha256())?;
        builder.build().to_der()
    };
    assert!(matches!(Certificate::from_der(&make().expect("made")), Err(CertificateError::Malformed(_))));
}

#[test]
fn each_fault_of_a_certificate_has_its_error() {
    let (north, south) = (zone("north"), zone("south"));
    let trusted = [north.certificate().clone()];
    let mix = north.issue("m1", Role::Mix, NOW, 30).expect("issued");
    let check = |certificate: &Certificate, now| certificate.check(&trusted, now).expect_err("not good");
    let is_untrusted = |error, words: &str| matches!(&error, CertificateError::Untrusted(text) if text.contains(words));
    let is_expired = |error, words: &str| matches!(&error, CertificateError::Expired(text) if text.contains(words));

    assert!(is_expired(check(mix.certificate(), NOW + 30 * DAY + 1), "expired 1 s ago"));
    assert!(is_expired(check(mix.certificate(), NOW - 3601), "another 1 s"));
    let long = north.issue("m2", Role::Mix, NOW, 900).expect("issued");
    assert!(is_expired(check(long.certificate(), NOW + 400 * DAY), "north of zone north"));
    let foreign = south.issue("m1", Role::Mix, NOW, 30).expect("issued");
    assert!(is_untrusted(check(foreign.certificate(), NOW), "zone south is not trusted"));
    assert!(is_untrusted(check(south.certificate(), NOW), "south is not a trusted zone"));
    let same_name = zone("north").issue("m1", Role::Mix, NOW, 30).expect("issued");
    assert!(is_untrusted(check(same_name.certificate(), NOW), "has not signed"));
    let poached = north.issue_for("south", "m1", Role::Mix, NOW, 30).expect("issued");
    let both = [north.certificate().clone(), south.certificate().clone()];
    let error = poached.certificate().check(&both, NOW).expect_err("not good");
    assert!(is_untrusted(error, "names of its own only"));
    // What a mix signs is nobody's, even when the mix is listed as a zone by mistake.
    let under_mix = mix.issue_for("north", "m3", Role::Mix, NOW, 30).expect("issued");
    let error = under_mix.certificate().check(&[mix.certificate().clone()], NOW).expect_err("not good");
    assert!(is_untrusted(error, "not trusted"));
    // An authority that a zone made beside itself.
    let second = north.issue_for("north", "north", Role::Zone, NOW, 30).expect("issued");
    assert!(is_untrusted(check(second.certificate(), NOW), "not the certificate that is trusted"));
}

#[test]
fn a_zone_may_be_there_twice_while_it_renews() {
    let (old, new) = (zone("north"), zone("north"));
    let mix = old.issue("m1", Role::Mix, NOW, 30).expect("issued");
    let both = [new.certificate().clone(), old.certificate().clone()];
    assert_eq!(mix.certificate().check(&both, NOW), Ok(()));
}

#[test]
fn only_zones_issue_and_only_to_nodes() {
    let zone = zone("north");
    let mix = zone.issue("m1", Role::Mix, NOW, 30).expect("issued");
    assert!(mix.issue("m2", Role::Mix, NOW, 30).is_err());
    assert!(zone.issue("inner", Role::Zone, NOW, 30).is_err());
    for bad in ["", "M1", "a b", &"a".repeat(65)] {
        assert!(zone.issue(bad, Role::Mix, NOW, 30).is_err(), "{bad}");
        assert!(Identity::new_zone(bad, NOW, 30).is_err(), "{bad}");
    }
    assert!(zone.issue("m1", Role::Mix, u64::MAX, 30).is_err());
    assert!(zone.issue("m1", Role::Mix, form::LAST_SECOND, 1).is_err());
}

#[test]
fn signatures_are_of_one_key_and_message() {
    let zone = zone("north");
    let mix = zone.issue("m1", Role::Mix, NOW, 30).expect("issued");
    let mut signature = mix.sign(b"a document");
    assert!(mix.certificate().verifies(b"a document", &signature));
    assert!(!mix.certificate().verifies(b"another", &signature));
    assert!(!zone.certificate().verifies(b"a document", &signature));
    signature.push(0);
    assert!(!mix.certificate().verifies(b"a document", &signature));
    assert!(!mix.certificate().verifies(b"a document", &[]));
}

#[test]
fn a_point_off_the_curve_is_refused() {
    let zone = zone("north");
    let mut fields = zone.certificate().fields.clone();
    fields.point[64] ^= 1;
    let der = form::certificate(&fields.to_sign(), &[1]);
    assert!(matches!(Certificate::from_der(&der), Err(CertificateError::Malformed(text)) if text.contains("P-256")));
}

#[test]
fn the_static_keys_belong_together() {
    let zone = zone("north");
    let (a, b) = (zone.issue("a", Role::Mix, NOW, 1).expect("a"), zone.issue("b", Role::Mix, NOW, 1).expect("b"));
    assert_ne!(a.static_secret()[..], b.static_secret()[..]);
    assert_ne!(a.certificate().static_key(), b.certificate().static_key());
}

#[test]
fn an_identity_is_saved_and_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("m1");
    let mix = zone("north").issue("m1", Role::Mix, NOW, 30).expect("issued");
    mix.save(&at).expect("saved");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&at), mode(&at.join("identity.key"))), (0o700, 0o600));
    let again = Identity::load(&at).expect("loaded");
    assert!(again.certificate() == mix.certificate() && again.static_secret() == mix.static_secret());
    assert!(mix.certificate().verifies(b"x", &again.sign(b"x")));
    let text = fs::read_to_string(at.join("identity.key")).expect("there");
    assert!(matches!(mix.save(&at), Err(CertificateError::File(text)) if text.contains("there already")));
    assert_eq!(fs::read_to_string(at.join("identity.key")).expect("there"), text);
}

#[test]
fn a_key_beside_the_wrong_certificate_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let zone = zone("north");
    let [a, b] = ["a", "b"].map(|name| {
        let at = folder.path().join(name);
        zone.issue(name, Role::Mix, NOW, 1).expect("issued").save(&at).expect("saved");
        at
    });
    fs::copy(a.join("certificate.pem"), b.join("certificate.pem")).expect("copied");
    assert!(matches!(Identity::load(&b), Err(CertificateError::Malformed(text)) if text.contains("not the keys")));
}

#[test]
fn files_that_are_not_as_they_should_be_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().to_owned();
    zone("north").save(&at).expect("saved");
    let (key, certificate) = (at.join("identity.key"), at.join("certificate.pem"));
    let good = fs::read(&key).expect("there");
    let refused = |words: &str| {
        let error = Identity::load(&at).expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    };
    for mode in [0o640, 0o604, 0o660, 0o602] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("changed");
        refused("chmod 600");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("changed");
    assert!(Identity::load(&at).is_ok());

    fs::write(&key, vec![b'a'; 64 * 1024 + 1]).expect("written");
    refused("larger than 65536 bytes");
    for text in [b"".as_slice(), b"-----BEGIN ", &good[..good.len() / 2], &[&good[..], &good[..]].concat(), &[0xff; 99]]
    {
        fs::write(&key, text).expect("written");
        refused("identity.key: ");
    }
    fs::remove_file(&key).expect("removed");
    refused("cannot open");
    fs::create_dir(&key).expect("a folder");
    refused("not a regular file");
    fs::remove_dir(&key).expect("removed");
    // A pipe that nobody writes must not hold us up.
    rustix::fs::mknodat(rustix::fs::CWD, &key, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
    refused("not a regular file");

    fs::write(&certificate, "no certificate").expect("written");
    assert!(matches!(Certificate::load(&certificate), Err(CertificateError::Malformed(_))));
    fs::write(&certificate, vec![b'a'; 64 * 1024 + 1]).expect("written");
    assert!(matches!(Certificate::load(&certificate), Err(CertificateError::File(_))));
}

#[test]
fn debug_output_shows_no_secret() {
    let zone = zone("north");
    let text = format!("{zone:?} {:?}", zone.certificate());
    assert_eq!(text, format!("Identity({}, ..) Certificate(..)", zone.certificate().id()));
}
