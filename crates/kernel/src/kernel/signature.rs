//! Who signed a module.
//!
//! ```text
//! object file | signature | record 12 bytes | "~Module signature appended~\n"
//! signature   PKCS#7: content info { signed data { signer info { issuer, serial, digest } } }
//! ```
//!
//! Whether the signature holds is not looked at: that takes the signer's certificate, which is in
//! the kernel or in the machine's firmware. Kernels before 4.3 had other signatures (X.509 with the
//! name written out), which newer ones take for an unsigned module; they are read all the same.
//!
//! Formats: Linux `include/linux/module_signature.h`, RFC 5652 §5, RFC 5280 §4.1.2.4. Checked
//! against modinfo.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What a signed module ends in.
const MARK: &[u8] = b"~Module signature appended~\n";

/// Longest name of a signer that is shown; X.520 has at most 64 characters.
const SIGNER_MAX_CHARACTERS: usize = 256;

/// Longest serial number or key that is shown; RFC 5280 has at most 20 bytes, SHA-512 has 64.
const KEY_MAX_BYTES: usize = 64;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Digests, as modinfo calls them.
const DIGESTS: [(ObjectIdentifier, &str); 9] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.4"), "md4"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.5"), "md5"),
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.26"), "sha1"),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4"),
        "sha224",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        "sha256",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
        "sha384",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        "sha512",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.8"),
        "sha3-256",
    ),
    (ObjectIdentifier::new_unwrap("1.2.156.10197.1.401"), "sm3"),
];

/// The same in the record of old signatures, by number.
const OLD_DIGESTS: [&str; 8] = [
    "md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224",
];

/// What the record says that the signature is.
const KIND_X509: u8 = 1;
const KIND_PKCS7: u8 = 2;

/// Most fields of a record, certificates in a set and parts of a name that are taken.
const PARTS_MAX: usize = 64;

/// `struct module_signature`
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Record {
    algorithm: u8,        // 0x00  zero with PKCS#7
    digest: u8,           // 0x01  zero with PKCS#7
    kind: u8,             // 0x02  KIND_…
    signer_len_bytes: u8, // 0x03  zero with PKCS#7
    key_len_bytes: u8,    // 0x04  zero with PKCS#7
    pad: [u8; 3],         // 0x05
    len_bytes: U32,       // 0x08  of the signature
}
const _: () = assert!(size_of::<Record>() == 12);

/// The signature of a module, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// The common name of who issued the certificate; kernels' own certificates are their own
    /// issuers.
    pub signer: Option<String>,
    /// Which certificate: its serial number, or its key's identifier; bytes in hexadecimal with `:`
    /// between them.
    pub key: Option<String>,
    /// The digest that was signed (`sha256`), or its object identifier.
    pub hash: Option<String>,
    /// Why the rest is not known: what is appended is no signature that could be read. A kernel
    /// that checks signatures refuses such a module even where it takes unsigned ones.
    pub unreadable: Option<String>,
}

impl Signature {
    /// The signature at the end of a module without compression; None if there is no mark of one.
    pub fn of(module: &[u8]) -> Option<Self> {
        let before = module.strip_suffix(MARK)?;
        Some(read(before).unwrap_or_else(|unreadable| Self {
            unreadable: Some(unreadable),
            ..Self::default()
        }))
    }
}

/// The signature that ends before the mark, or why it is none.
fn read(module: &[u8]) -> Result<Signature, String> {
    let cut = || "it is longer than the module".to_owned();
    let (before, record) = Record::read_from_suffix(module).map_err(|_| cut())?;
    let len = usize::try_from(record.len_bytes.get()).map_err(|_| cut())?;
    let at = before.len().checked_sub(len).ok_or_else(cut)?;
    let (before, signature) = before.split_at(at);
    match record.kind {
        KIND_PKCS7 => pkcs7(signature).ok_or_else(|| "it is no PKCS#7 message".to_owned()),
        KIND_X509 => old(&record, before).ok_or_else(cut),
        kind => Err(format!("it is of the unknown kind {kind}")),
    }
}

/// An old signature, before which signer and key are written out.
fn old(record: &Record, before: &[u8]) -> Option<Signature> {
    let at = before.len().checked_sub(record.key_len_bytes.into())?;
    let (before, key) = before.split_at(at);
    let at = before.len().checked_sub(record.signer_len_bytes.into())?;
    let digest = OLD_DIGESTS.get(usize::from(record.digest));
    Some(Signature {
        signer: Some(shortened(&String::from_utf8_lossy(&before[at..]))),
        key: Some(colons(key)),
        hash: digest.map(|name| (*name).to_owned()),
        unreadable: None,
    })
}

/// What the first signer of a message says of itself.
fn pkcs7(message: &[u8]) -> Option<Signature> {
    let content = parts(AnyRef::from_der(message).ok()?, Tag::Sequence)?;
    let [kind, signed, ..] = *content else {
        return None;
    };
    if identifier(kind)? != SIGNED_DATA {
        return None;
    }
    let signed = parts(signed, tagged(0))?;
    // Version, digests and content; then certificates, if any, and the signers last.
    let signed = parts(*signed.first()?, Tag::Sequence)?;
    let signers = parts(*signed.get(3..)?.last()?, Tag::Set)?;
    let [_version, who, digest, ..] = *parts(*signers.first()?, Tag::Sequence)? else {
        return None;
    };
    let digest = identifier(*parts(digest, Tag::Sequence)?.first()?)?;
    let known = DIGESTS.iter().find(|(known, _)| *known == digest);
    let mut signature = Signature {
        hash: Some(known.map_or_else(|| digest.to_string(), |(_, name)| (*name).to_owned())),
        ..Signature::default()
    };
    if who.tag() == Tag::Sequence {
        let [issuer, serial] = *parts(who, Tag::Sequence)? else {
            return None;
        };
        if serial.tag() != Tag::Integer {
            return None;
        }
        signature.signer = common_name(issuer)?;
        let serial = serial.value();
        // A zero in front keeps it positive.
        signature.key = Some(colons(serial.strip_prefix(&[0]).unwrap_or(serial)));
    } else {
        signature.key = Some(colons(who.value()));
    }
    Some(signature)
}

/// The common name in an X.501 name; None in it if there is none.
fn common_name(name: AnyRef<'_>) -> Option<Option<String>> {
    for set in parts(name, Tag::Sequence)? {
        for attribute in parts(set, Tag::Set)? {
            let [kind, value] = *parts(attribute, Tag::Sequence)? else {
                return None;
            };
            if identifier(kind)? == COMMON_NAME {
                return Some(Some(text(value)));
            }
        }
    }
    Some(None)
}

/// A string of any type.
fn text(value: AnyRef<'_>) -> String {
    let bytes = value.value();
    match value.tag() {
        Tag::BmpString => {
            let (units, _) = bytes.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
            text.take(SIGNER_MAX_CHARACTERS).collect()
        }
        _ => shortened(&String::from_utf8_lossy(bytes)),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SIGNER_MAX_CHARACTERS).collect()
}

fn colons(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes
        .iter()
        .take(KEY_MAX_BYTES)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    hex.join(":")
}

/// The parts of a sequence, set or tagged value; None if it is something else, or not DER.
fn parts(value: AnyRef<'_>, tag: Tag) -> Option<Vec<AnyRef<'_>>> {
    if value.tag() != tag {
        return None;
    }
    let mut reader = SliceReader::new(value.value()).ok()?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        if parts.len() == PARTS_MAX {
            return None;
        }
        parts.push(reader.decode().ok()?);
    }
    Some(parts)
}

fn identifier(value: AnyRef<'_>) -> Option<ObjectIdentifier> {
    value.decode_as().ok()
}

/// The tag of a value that is wrapped in another one.
fn tagged(number: u32) -> Tag {
    TagNumber(number).context_specific(true)
}
