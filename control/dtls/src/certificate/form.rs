//! The one form that our certificates have (`docs/wire.md`, W-IDT): written here, and read by writing them again.
//!
//! [`read`] takes what differs between certificates out of the DER, writes the certificate anew from it and wants the
//! same bytes. So there is one encoding of a certificate, and nothing in it that is not looked at.

use super::Role;

/// Bytes of a certificate at most: with names of 64 bytes it has about 800.
pub(super) const MAX_DER: usize = 1024;
/// Bytes of a name at most.
pub(super) const MAX_NAME: usize = 64;
/// The last second that X.509 can name: 9999-12-31T23:59:59Z.
pub(super) const LAST_SECOND: u64 = 253_402_300_799;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// ecdsa-with-SHA256 (RFC 5758, 3.2), without parameters.
const ALGORITHM: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Version 3.
const VERSION: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];
/// A P-256 key's SubjectPublicKeyInfo (RFC 5480, 2) up to the uncompressed point.
const SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// organizationName, organizationalUnitName, commonName.
const ATTRIBUTES: [[u8; 5]; 3] = [[0x06, 3, 0x55, 4, 10], [0x06, 3, 0x55, 4, 11], [0x06, 3, 0x55, 4, 3]];
/// basicConstraints, critical: a zone issues (path length 0: to nodes only), nobody else does.
const ZONE_CONSTRAINTS: &[u8] =
    &[0x30, 0x12, 0x06, 3, 0x55, 0x1d, 0x13, 0x01, 1, 0xff, 0x04, 8, 0x30, 6, 0x01, 1, 0xff, 0x02, 1, 0];
const NODE_CONSTRAINTS: &[u8] = &[0x30, 0x0c, 0x06, 3, 0x55, 0x1d, 0x13, 0x01, 1, 0xff, 0x04, 2, 0x30, 0];
/// keyUsage, critical: digitalSignature, and for a zone keyCertSign.
const ZONE_USAGE: &[u8] = &[0x30, 0x0e, 0x06, 3, 0x55, 0x1d, 0x0f, 0x01, 1, 0xff, 0x04, 4, 0x03, 2, 2, 0x84];
const NODE_USAGE: &[u8] = &[0x30, 0x0e, 0x06, 3, 0x55, 0x1d, 0x0f, 0x01, 1, 0xff, 0x04, 4, 0x03, 2, 7, 0x80];
/// subjectAltPublicKeyInfo (ITU-T X.509, 2019, 9.8): the static X25519 key as a SubjectPublicKeyInfo (RFC 8410, 4), up to
/// the key. All arcs are small: many readers of certificates take none above 32 bits.
const STATIC_KEY: &[u8] =
    &[0x06, 3, 0x55, 0x1d, 0x48, 0x04, 44, 0x30, 42, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x6e, 0x03, 33, 0];

/// What differs between certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub serial: [u8; 16],
    /// The issuing zone: O and CN of the issuer.
    pub issuer: String,
    pub begin: u64,
    pub end: u64,
    /// O, OU, CN of the subject.
    pub zone: String,
    pub role: Role,
    pub name: String,
    /// The uncompressed P-256 point.
    pub point: [u8; 65],
    pub static_key: [u8; 32],
}

/// Whether a name is one of ours: 1 to 64 bytes of `a-z0-9.-`.
pub(super) fn is_name(name: &str) -> bool {
    let ours = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(ours)
}

/// The SubjectPublicKeyInfo of a P-256 point.
pub(super) fn spki(point: &[u8; 65]) -> Vec<u8> {
    [SPKI, point].concat()
}

impl Fields {
    /// The TBSCertificate: what the zone signs (RFC 5280, 4.1).
    pub fn to_sign(&self) -> Vec<u8> {
        let (constraints, usage) = match self.role {
            Role::Zone => (ZONE_CONSTRAINTS, ZONE_USAGE),
            Role::Mix | Role::Client => (NODE_CONSTRAINTS, NODE_USAGE),
        };
        let static_key = tlv(SEQUENCE, &[STATIC_KEY, &self.static_key]);
        let extensions = tlv(0xa3, &[&tlv(SEQUENCE, &[constraints, usage, &static_key])]);
        tlv(
            SEQUENCE,
            &[
                VERSION,
                &tlv(INTEGER, &[&self.serial]),
                ALGORITHM,
                &name(&self.issuer, Role::Zone, &self.issuer),
                &tlv(SEQUENCE, &[&time(self.begin), &time(self.end)]),
                &name(&self.zone, self.role, &self.name),
                &spki(&self.point),
                &extensions,
            ],
        )
    }
}

/// A certificate of what was signed and its signature (ECDSA-Sig-Value, DER).
pub(super) fn certificate(signed: &[u8], signature: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[signed, ALGORITHM, &tlv(BIT_STRING, &[&[0], signature])])
}

/// Reads a certificate: its fields and its signature. Says what is wrong.
pub(super) fn read(der: &[u8]) -> Result<(Fields, Vec<u8>), String> {
    if der.len() > MAX_DER {
        return Err(format!("a certificate of {} bytes; {MAX_DER} is the limit", der.len()));
    }
    let mut outer = Reader(der);
    let mut certificate = Reader(outer.take(SEQUENCE)?);
    let mut signed = Reader(certificate.take(SEQUENCE)?);
    signed.take(VERSION[0])?;
    let serial = signed.take(INTEGER)?.try_into().map_err(|_| "a serial number that has not 16 bytes".to_owned())?;
    signed.take(SEQUENCE)?;
    let (issuer, _, _) = read_name(signed.take(SEQUENCE)?)?;
    let mut validity = Reader(signed.take(SEQUENCE)?);
    let (begin, end) = (read_time(&mut validity)?, read_time(&mut validity)?);
    let (zone, role, name) = read_name(signed.take(SEQUENCE)?)?;
    let point = *signed.take(SEQUENCE)?.last_chunk().ok_or("no P-256 key")?;
    let static_key = *signed.take(0xa3)?.last_chunk().ok_or("no static X25519 key")?;
    certificate.take(SEQUENCE)?;
    let signature = certificate.take(BIT_STRING)?.get(1..).ok_or("no signature")?.to_vec();
    if role == Role::Zone && zone != name {
        return Err(format!("zone {zone} has the name {name}"));
    }
    let fields = Fields { serial, issuer, begin, end, zone, role, name, point, static_key };
    if self::certificate(&fields.to_sign(), &signature) != der {
        return Err("not in the form of Drover's certificates".to_owned());
    }
    Ok((fields, signature))
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn name(zone: &str, role: Role, name: &str) -> Vec<u8> {
    let part = |attribute: &[u8], text: &str| tlv(SET, &[&tlv(SEQUENCE, &[attribute, &tlv(UTF8, &[text.as_bytes()])])]);
    let [o, ou, cn] = &ATTRIBUTES;
    tlv(SEQUENCE, &[&part(o, zone), &part(ou, role.word()), &part(cn, name)])
}

fn read_name(der: &[u8]) -> Result<(String, Role, String), String> {
    let mut reader = Reader(der);
    let mut part = || {
        let mut attribute = Reader(Reader(reader.take(SET)?).take(SEQUENCE)?);
        attribute.take(0x06)?;
        let text = std::str::from_utf8(attribute.take(UTF8)?).map_err(|_| "a name that is not UTF-8".to_owned())?;
        if is_name(text) { Ok(text.to_owned()) } else { Err("a name that is not 1 to 64 bytes of a-z0-9.-".to_owned()) }
    };
    let (zone, role, name) = (part()?, part()?, part()?);
    Ok((zone, Role::from_word(&role).ok_or_else(|| format!("a role {role}"))?, name))
}

/// UTCTime to 2049, GeneralizedTime from 2050 (RFC 5280, 4.1.2.5). `unix_s` is at most [`LAST_SECOND`].
fn time(unix_s: u64) -> Vec<u8> {
    let (year, month, day) = date(unix_s / 86_400);
    let second = unix_s % 86_400;
    let text = format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    if year < 2050 { tlv(UTC_TIME, &[&text.as_bytes()[2..]]) } else { tlv(GENERALIZED_TIME, &[text.as_bytes()]) }
}

fn read_time(reader: &mut Reader<'_>) -> Result<u64, String> {
    let wrong = || "a time that is none".to_owned();
    let (century, digits) = if reader.0.first() == Some(&UTC_TIME) {
        (true, reader.take(UTC_TIME)?)
    } else {
        (false, reader.take(GENERALIZED_TIME)?)
    };
    let digits = digits.strip_suffix(b"Z").ok_or_else(wrong)?;
    if digits.len() != if century { 12 } else { 14 } || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let number = |part: &[u8]| part.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let (year, rest) = digits.split_at(digits.len() - 10);
    let year = match (century, number(year)) {
        (true, year @ 0..50) => 2000 + year,
        (true, year) => 1900 + year,
        (false, year) => year,
    };
    let field = |at: usize| number(&rest[at..at + 2]);
    let (month, day) = (field(0), field(2));
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(wrong());
    }
    // An hour 25 or a 31 February reads as another instant: writing it again shows that.
    Ok(days(year, month, day) * 86_400 + field(4) * 3600 + field(6) * 60 + field(8))
}

/// Days since 1970 of a date from 1970 on (Gregorian; years begin in March so that a leap day is a year's last).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The date of a day since 1970.
fn date(day: u64) -> (u64, u64, u64) {
    // At most one year too early or late, mended by the comparison.
    let mut year = 1970 + day * 400 / 146_097;
    while days(year, 1, 1) > day {
        year -= 1;
    }
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).unwrap_or(1);
    (year, month, day - days(year, month, 1) + 1)
}

/// Reads DER, as far as our certificates need it.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, tag: u8) -> Result<&'a [u8], String> {
        let cut = || "not a DER certificate of ours: cut short, or something else is there".to_owned();
        let (&[found, first], rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        let bytes = match first {
            0..=0x7f => 0,
            0x81 => 1,
            0x82 => 2,
            _ => return Err(cut()),
        };
        let (length, rest) = rest.split_at_checked(bytes).ok_or_else(cut)?;
        let length =
            if bytes == 0 { first.into() } else { length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) };
        let (value, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        if found != tag {
            return Err(cut());
        }
        self.0 = rest;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (day, date_) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_758, (2026, 11, 1)),
            (29_219, (2049, 12, 31)),
            (29_220, (2050, 1, 1)),
            (LAST_SECOND / 86_400, (9999, 12, 31)),
        ] {
            assert_eq!(date(day), date_);
            assert_eq!(days(date_.0, date_.1, date_.2), day);
        }
        assert_eq!(time(951_827_696), b"\x17\x0d000229123456Z");
        assert_eq!(time(LAST_SECOND), b"\x18\x0f99991231235959Z");
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "mix-1.zone", &"a".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "ä", "a b", "a/b", "a_b", "a\n", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    fn fields() -> impl Strategy<Value = Fields> {
        let names = ("[a-z0-9.-]{1,64}", "[a-z0-9.-]{1,64}", "[a-z0-9.-]{1,64}");
        let role = prop_oneof![Just(Role::Zone), Just(Role::Mix), Just(Role::Client)];
        (names, role, 0..=LAST_SECOND, 0..=LAST_SECOND, any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(
            |((issuer, zone, name), role, begin, end, mut serial, static_key)| {
                serial[0] = serial[0] & 0x7f | 0x40;
                let name = if role == Role::Zone { zone.clone() } else { name };
                Fields { serial, issuer, begin, end, zone, role, name, point: [4; 65], static_key }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_read(fields in fields(), signature in prop::collection::vec(any::<u8>(), 0..=72)) {
            let der = certificate(&fields.to_sign(), &signature);
            prop_assert!(der.len() <= MAX_DER, "{}", der.len());
            prop_assert_eq!(read(&der), Ok((fields, signature)));
        }
        #[test]
        fn a_changed_byte_is_another_certificate_or_none(fields in fields(), at in any::<prop::sample::Index>(), change in 1u8..) {
            let mut der = certificate(&fields.to_sign(), &[7; 70]);
            let at = at.index(der.len());
            der[at] ^= change;
            if let Ok((other, signature)) = read(&der) {
                prop_assert!(other != fields || signature != [7; 70]);
            }
        }
        #[test]
        fn any_bytes_are_a_certificate_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
        #[test]
        fn a_cut_certificate_is_an_error(fields in fields(), at in any::<prop::sample::Index>()) {
            let der = certificate(&fields.to_sign(), &[7; 70]);
            prop_assert!(read(&der[..at.index(der.len())]).is_err());
            prop_assert!(read(&[&der[..], &[0]].concat()).is_err());
        }
        #[test]
        fn any_second_is_read_as_it_is_written(unix_s in 0..=LAST_SECOND) {
            prop_assert_eq!(read_time(&mut Reader(&time(unix_s))), Ok(unix_s));
        }
    }
}
