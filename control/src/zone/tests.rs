use super::plan::{Plan, PlannedMix};
use super::*;
use drover_dtls::certificate::Role;
use proptest::prelude::*;
use std::sync::LazyLock;

/// 2026-11-20 14:00:00 UTC.
const NOW: u64 = 1_795_183_200;

struct World {
    north: Identity,
    south: Identity,
    text: String,
    document: ZoneDocument,
    /// The south's, which names the north.
    southern: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let zone = |name| Identity::new_zone(name, NOW, 3650).expect("made");
    let (north, south) = (zone("north"), zone("south"));
    let make = |own: &Identity, other: &Identity, port: u16| ZoneDocument {
        zone: own.certificate().zone().to_owned(),
        serial: 7,
        validity: (NOW - 3600, NOW + 90 * 86_400),
        cell: 256,
        rate: 50,
        ratchet_bits: 24,
        rekey_s: 600,
        epoch_s: 86_400,
        client: Slots { slots: 2 },
        within: Slots { slots: 8 },
        pair: Slots { slots: 8 },
        authority: own.certificate().clone(),
        mixes: ["m1", "m2"]
            .iter()
            .zip(port..)
            .map(|(name, port)| MixEntry {
                name: (*name).to_owned(),
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                certificate: own.issue(name, Role::Mix, NOW, 365).expect("issued").certificate().clone(),
            })
            .collect(),
        peers: vec![PeerZone { zone: other.certificate().zone().to_owned(), authority: other.certificate().clone() }],
    };
    let document = make(&north, &south, 4001);
    let text = document.sign(&north).expect("sound");
    let southern = make(&south, &north, 4101).sign(&south).expect("sound");
    World { north, south, text, document, southern }
});

/// The document's text with `from` replaced by `to` before it is signed.
fn resigned(from: &str, to: &str) -> String {
    let at = WORLD.text.rfind(read::SIGNATURE).expect("there");
    let changed = WORLD.text[..at].replacen(from, to, 1);
    assert_ne!(changed, WORLD.text[..at], "{from} is in the document");
    sign(&changed)
}

fn sign(signed: &str) -> String {
    use base64::Engine;
    let signature = base64::engine::general_purpose::STANDARD.encode(WORLD.north.sign(signed.as_bytes()));
    format!("{signed}signature = \"{signature}\"\n")
}

fn keys(text: &str) -> Vec<String> {
    let problems = ZoneDocument::check(text, Some(WORLD.north.certificate()), NOW).expect_err("refused");
    problems.iter().map(|problem| problem.key.clone()).collect()
}

#[test]
fn what_is_signed_reads_back() {
    let World { north, south, text, document, .. } = &*WORLD;
    assert_eq!(ZoneDocument::parse(text, Some(north.certificate()), NOW).as_ref(), Ok(document));
    assert_eq!(ZoneDocument::parse(text, None, NOW).as_ref(), Ok(document));
    assert!(text.contains("2026-11-20 13:00:00 UTC") && text.ends_with("\"\n"), "{text}");
    let error = ZoneDocument::parse(text, Some(south.certificate()), NOW).expect_err("another's");
    assert!(error.0.contains("signature") && error.0.contains("the trusted one: zone south"), "{error}");
    assert!(document.sign(south).is_err());
    assert!(ZoneDocument { rate: 0, ..document.clone() }.sign(north).is_err());
}

#[test]
fn no_byte_can_be_changed() {
    // What is left whole is refused for the signature alone, or for what it became.
    let text = &WORLD.text;
    let authority = Some(WORLD.north.certificate());
    for at in (0..text.len()).step_by(97).chain(text.len() - 110..text.len()) {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        assert!(ZoneDocument::check(&changed, authority, NOW).is_err(), "byte {at}");
    }
    for end in [0, 1, 100, text.len() / 2, text.len() - 1] {
        assert!(ZoneDocument::check(&text[..end], authority, NOW).is_err(), "cut at {end}");
    }
    let at = text.rfind(read::SIGNATURE).expect("there");
    for unsigned in ["", "signature = \"\"\n", "signature = \"AAAA\"\n"] {
        assert_eq!(keys(&format!("{}{unsigned}", &text[..at])), ["signature"], "{unsigned:?}");
    }
    for tail in ["\n", "x", "rate = 1000\n", "signature = \"\"\n"] {
        assert!(keys(&format!("{text}{tail}")).contains(&"signature".to_owned()), "{tail:?}");
    }
}

#[test]
fn every_key_is_checked() {
    for (from, to, key) in [
        ("zone = \"north\"", "zone = \"south\"", "zone"),
        ("zone = \"north\"", "zone = \"No rth\"", "zone"),
        ("zone = \"north\"", "zone = 5", "zone"),
        ("serial = 7", "serial = 0", "serial"),
        ("serial = 7", "serial = -7", "serial"),
        ("cell = 256", "cell = 300", "cell"),
        ("rate = 50", "rate = 0", "rate"),
        ("rate = 50", "rate = 5e1", "rate"),
        ("ratchet_bits = 24", "ratchet_bits = 3", "ratchet_bits"),
        ("rekey_s = 600", "rekey_s = 0", "rekey_s"),
        ("epoch_s = 86400", "epoch_s = 1", "epoch_s"),
        ("client = 2", "client = 1", "slots.client"),
        ("within = 8", "within = 5000", "slots.within"),
        ("pair = 8", "", "slots.pair"),
        ("[slots]", "[slots]\nsuper = 3", "slots.super"),
        ("rate = 50", "rate = 50\nspeed = 9", "speed"),
        ("name = \"m1\"", "name = \"m2\"", "mix[0].name"),
        ("address = \"127.0.0.1:4001\"", "address = \"127.0.0.1:4002\"", "mix[1].address"),
        ("address = \"127.0.0.1:4001\"", "address = \"127.0.0.1:0\"", "mix[0].address"),
        ("address = \"127.0.0.1:4001\"", "address = \"224.0.0.1:4001\"", "mix[0].address"),
        ("address = \"127.0.0.1:4001\"", "address = \"m1.example:4001\"", "mix[0].address"),
        ("certificate = \"", "certificate = \"A", "mix[0].certificate"),
        ("authority = \"", "authority = \"!", "authority"),
        ("[[peer]]\nzone = \"south\"", "[[peer]]\nzone = \"east\"", "peer[0].zone"),
        ("[slots]", "[slots", "line 14"),
    ] {
        let found = keys(&resigned(from, to));
        assert!(found.iter().any(|found| found == key), "{to}: {found:?}");
    }
}

#[test]
fn all_problems_at_once_with_their_mends() {
    let text = resigned("cell = 256\nrate = 50", "cell = 300\nrate = 0\ncolour = \"\\u001b[31m\"");
    let error = ZoneDocument::parse(&text, None, NOW).expect_err("refused").to_string();
    assert!(error.starts_with("3 problems in the zone document:"), "{error}");
    for part in ["cell = 300", "256, 512 or 1024", "rate = 0", "1 to 1000", "colour", "known here: zone", "mend:"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains('\u{1b}'), "what a terminal obeys is escaped: {error:?}");
}

#[test]
fn certificates_must_be_the_zones() {
    let World { south, text, .. } = &*WORLD;
    let ours = text.lines().find(|line| line.starts_with("certificate")).expect("there");
    use base64::Engine;
    let line = |identity: &Identity| {
        let der = base64::engine::general_purpose::STANDARD.encode(identity.certificate().der());
        format!("certificate = \"{der}\"")
    };
    for other in [
        line(&south.issue("m1", Role::Mix, NOW, 365).expect("issued")),
        line(&WORLD.north.issue("m1", Role::Client, NOW, 365).expect("issued")),
        line(&WORLD.north.issue("m1", Role::Mix, NOW - 20 * 86_400, 10).expect("issued")),
        line(&WORLD.north),
    ] {
        assert_eq!(keys(&resigned(ours, &other)), ["mix[0].certificate"]);
    }
    let twice = text.lines().filter(|line| line.starts_with("certificate")).nth(1).expect("there");
    assert!(keys(&resigned(ours, twice)).contains(&"mix[1].certificate".to_owned()));
}

#[test]
fn it_is_valid_for_its_time() {
    let (from, until) = WORLD.document.validity;
    let at = |unix_s| ZoneDocument::check(&WORLD.text, None, unix_s).map_err(|p| p[0].key.clone()).map(|_| ());
    assert_eq!([at(from), at(until - 1)], [Ok(()), Ok(())]);
    assert_eq!(at(until), Err("valid_until".to_owned()));
    assert_eq!(at(from - 1), Err("valid_from".to_owned()));
    let long = format!("valid_until = {}", from + VALID_MAX_S + 1);
    assert_eq!(keys(&resigned(&format!("valid_until = {until}"), &long)), ["valid_until"]);
    assert_eq!(keys(&resigned(&format!("valid_until = {until}"), "valid_until = 5")), ["valid_until"]);
}

#[test]
fn zones_fit_together() {
    let World { north, south, document, southern, .. } = &*WORLD;
    let other = ZoneDocument::parse(southern, Some(south.certificate()), NOW).expect("sound");
    let zones = Zones::new(document.clone(), vec![other.clone()]).expect("fit");
    assert_eq!(zones.authorities(), [north.certificate().clone(), south.certificate().clone()]);
    assert_eq!(zones.zone("south"), Some(&other));
    let mix = &other.mixes[1];
    assert_eq!(zones.mix(mix.certificate.id()), Some((&other, mix)));

    let fails = |own: ZoneDocument, others: Vec<ZoneDocument>| Zones::new(own, others).expect_err("refused").0;
    for (changed, words) in [
        (ZoneDocument { rate: 60, ..other.clone() }, "rate is 50 in zone north and 60 in zone south"),
        (ZoneDocument { cell: 512, ..other.clone() }, "cell is 256"),
        (ZoneDocument { pair: Slots { slots: 9 }, ..other.clone() }, "slots.pair"),
        (ZoneDocument { ratchet_bits: 20, ..other.clone() }, "ratchet_bits"),
        (ZoneDocument { peers: Vec::new(), ..other.clone() }, "zone south does not name zone north"),
        (ZoneDocument { mixes: document.mixes.clone(), ..other.clone() }, "another mix has its key or address"),
    ] {
        let error = fails(document.clone(), vec![changed]);
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(fails(document.clone(), vec![other.clone(), other]).contains("twice"));
}

#[test]
fn zones_are_loaded_from_files() {
    let World { north, south, text, southern, .. } = &*WORLD;
    let dir = tempfile::tempdir().expect("a folder");
    let files = [dir.path().join("north.zone"), dir.path().join("south.zone")];
    std::fs::write(&files[0], text).expect("written");
    std::fs::write(&files[1], southern).expect("written");
    assert_eq!(Zones::load(&files, north.certificate(), NOW).expect("sound").all().count(), 2);
    assert_eq!(ZoneDocument::authority_of(&files[1]).expect("there"), *south.certificate());

    let error = Zones::load(&files, south.certificate(), NOW).expect_err("not ours").0;
    assert!(error.contains("north.zone") && error.contains("signature"), "{error}");
    // A zone that the own one does not name, though it calls itself the same.
    let imposter = Identity::new_zone("south", NOW, 3650).expect("made");
    let document = ZoneDocument::parse(southern, None, NOW).expect("sound");
    let mix = imposter.issue("m1", Role::Mix, NOW, 365).expect("issued").certificate().clone();
    let mixes = vec![MixEntry { certificate: mix, ..document.mixes[0].clone() }];
    let document = ZoneDocument { authority: imposter.certificate().clone(), mixes, ..document };
    std::fs::write(&files[1], document.sign(&imposter).expect("sound")).expect("written");
    let error = Zones::load(&files, north.certificate(), NOW).expect_err("nobody named it").0;
    assert!(error.contains("south.zone") && error.contains("peer"), "{error}");

    assert!(Zones::load(&[] as &[&Path], north.certificate(), NOW).is_err());
    for path in [dir.path().join("nowhere"), dir.path().to_owned(), "/dev/zero".into()] {
        let error = ZoneDocument::load(&path, None, NOW).expect_err("no document").0;
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
    }
    std::fs::write(&files[1], vec![b'#'; DOCUMENT_MAX + 1]).expect("written");
    assert!(ZoneDocument::load(&files[1], None, NOW).expect_err("too long").0.contains("bytes"));
    std::fs::write(&files[1], [0xff, 0xfe]).expect("written");
    assert!(ZoneDocument::load(&files[1], None, NOW).expect_err("no text").0.contains("UTF-8"));
}

#[test]
fn a_plan_becomes_a_document() {
    let World { north, south, .. } = &*WORLD;
    let dir = tempfile::tempdir().expect("a folder");
    north.issue("m1", Role::Mix, NOW, 365).expect("issued").save(&dir.path().join("m1")).expect("saved");
    std::fs::write(dir.path().join("m1").join(plan::MIX_FILE), "address = \"[::1]:4001\"\n").expect("written");
    let m2 = north.issue("m2", Role::Mix, NOW, 365).expect("issued");
    std::fs::write(dir.path().join("m2.pem"), m2.certificate().to_pem()).expect("written");
    std::fs::write(dir.path().join("south.pem"), south.certificate().to_pem()).expect("written");
    let text = "rate = 40\n[slots]\nwithin = 16\n[[mix]]\nfolder = \"m1\"\n[[mix]]\ncertificate = \"m2.pem\"\n\
                address = \"127.0.0.1:4002\"\n[[peer]]\ncertificate = \"south.pem\"\n";
    let plan = Plan::parse(text, dir.path()).expect("sound");
    let document = plan.document(north.certificate(), NOW).expect("sound");
    assert_eq!((document.rate, document.within.slots, document.pair.slots, document.cell), (40, 16, 8, 256));
    assert_eq!(document.mixes.iter().map(|mix| mix.name.as_str()).collect::<Vec<_>>(), ["m1", "m2"]);
    assert_eq!((document.peers[0].zone.as_str(), document.serial), ("south", NOW));
    document.sign(north).expect("sound");

    // Certificates end before the document; a client's file; a stranger's; no file: all told at once.
    let plan = Plan { days: 398, peers: vec![dir.path().join("m2.pem"), dir.path().join("gone.pem")], ..plan };
    let error = plan.document(north.certificate(), NOW).expect_err("refused").0;
    for words in ["m1: it ends", "give fewer --days", "m2.pem: this is the certificate of a mix", "gone.pem"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let foreign = Plan { days: 90, peers: Vec::new(), ..plan }.document(south.certificate(), NOW);
    assert!(foreign.expect_err("not its mixes").0.contains("m1"));
}

#[test]
fn a_plans_problems_are_told_at_once() {
    let text = "cell = 1\ndays = 0\nspeed = 3\n[slots]\nclient = 1\n[[mix]]\naddress = \"x\"\n[[peer]]\n";
    let error = Plan::parse(text, Path::new("")).expect_err("refused").0;
    for key in ["cell", "days", "speed", "slots.client", "mix[0].certificate", "mix[0].address", "peer[0].certificate"]
    {
        assert!(error.contains(&format!("\n  {key} = ")), "{key}: {error}");
    }
    assert!(error.contains("in the plan"), "{error}");
    assert!("a@b@[::1]:5".parse::<PlannedMix>().is_ok_and(|mix| matches!(mix, PlannedMix::Certificate(..))));
    assert_eq!("m1".parse(), Ok(PlannedMix::Folder("m1".into())));
    for bad in ["@1.2.3.4:5", "m1@1.2.3.4:0", "m1@somewhere"] {
        assert!(bad.parse::<PlannedMix>().is_err(), "{bad}");
    }
}

#[test]
fn instants_for_people() {
    for (unix_s, text) in [
        (0, "1970-01-01 00:00:00 UTC"),
        (951_782_400, "2000-02-29 00:00:00 UTC"),
        (951_868_800, "2000-03-01 00:00:00 UTC"),
        (1_767_225_599, "2025-12-31 23:59:59 UTC"),
        (NOW, "2026-11-20 14:00:00 UTC"),
        (*INSTANT.end(), "9999-12-31 23:59:59 UTC"),
    ] {
        assert_eq!(utc(unix_s), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "\\PC{0,300}", tail in "[a-z\\[\\]=\" \n0-9]{0,200}") {
        for text in [&text, &tail, &format!("{text}\nsignature = \"{tail}\"\n")] {
            prop_assert!(ZoneDocument::check(text, None, NOW).is_err());
            prop_assert!(Plan::parse(text, Path::new("")).is_ok() || !text.is_empty());
        }
    }

    #[test]
    fn no_change_panics(at in 0usize..6000, junk in "[\\PC\n]{0,40}", cut in 0usize..200) {
        // Signed anew, so that every check is reached.
        let end = WORLD.text.rfind(read::SIGNATURE).expect("there");
        let boundary = |at: usize| (0..=at.min(end)).rev().find(|at| WORLD.text.is_char_boundary(*at)).unwrap_or(0);
        let (from, to) = (boundary(at), boundary(at + cut));
        let changed = format!("{}{junk}{}", &WORLD.text[..from], &WORLD.text[to..end]);
        let _ = ZoneDocument::check(&sign(&changed), Some(WORLD.north.certificate()), NOW);
    }
}
