//! X.509 certificates, as far as somebody is told of them: whose, and until when.
//!
//! ```text
//! Certificate { TBSCertificate {
//!     [0] version, serial, algorithm, issuer, { from, until }, subject, public key … } … }
//! ```
//!
//! No signature is verified. Format: RFC 5280, section 4.1; RFC 7468. What is not a certificate is passed over.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Attributes of a name that have a short name (RFC 4514, section 3).
const ATTRIBUTES: [(&str, &str); 3] = [("2.5.4.3", "CN"), ("2.5.4.10", "O"), ("2.5.4.11", "OU")];

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Whose it is, as in `O=7654321, CN=2c94a0`, in the order of the certificate. Foreign text.
    pub(crate) subject: String,
    /// When it begins to be valid, as time since 1970.
    pub(crate) from: Duration,
    /// When it ends to be valid, as time since 1970.
    pub(crate) until: Duration,
    /// Its public key: a SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
}

/// The certificates in a PEM file, in their order.
pub(crate) fn certificates(pem: &str) -> impl Iterator<Item = Certificate> {
    let blocks = pem.split(BEGIN).skip(1);
    blocks.filter_map(|rest| {
        let text: String = rest.split(END).next()?.split_whitespace().collect();
        read(&STANDARD.decode(text).ok()?)
    })
}

fn read(certificate: &[u8]) -> Option<Certificate> {
    let certificate = AnyRef::from_der(certificate).ok()?;
    let to_be_signed: AnyRef<'_> = reader(certificate)?.decode().ok()?;
    let mut fields = reader(to_be_signed)?;
    let mut next = || fields.decode::<AnyRef<'_>>().ok();
    if next()?.tag() != Tag::Integer {
        // That was the version; the serial number comes behind it.
        next()?;
    }
    let (_algorithm, _issuer) = (next()?, next()?);
    let mut validity = reader(next()?)?;
    let from = time(validity.decode().ok()?)?;
    let until = time(validity.decode().ok()?)?;
    let subject = name(next()?)?;
    let public_key = fields.tlv_bytes().ok()?.to_vec();
    Some(Certificate {
        subject,
        from,
        until,
        public_key,
    })
}

fn time(time: AnyRef<'_>) -> Option<Duration> {
    let time = match time.tag() {
        Tag::UtcTime => time.decode_as::<UtcTime>().ok()?.to_unix_duration(),
        _ => time.decode_as::<GeneralizedTime>().ok()?.to_unix_duration(),
    };
    Some(time)
}

/// A sequence of sets of pairs of a kind and a value.
fn name(name: AnyRef<'_>) -> Option<String> {
    let mut parts = Vec::new();
    let mut sets = reader(name)?;
    while !sets.is_finished() {
        let mut pairs = reader(sets.decode().ok()?)?;
        while !pairs.is_finished() {
            let mut pair = reader(pairs.decode().ok()?)?;
            let kind: ObjectIdentifier = pair.decode().ok()?;
            let value: AnyRef<'_> = pair.decode().ok()?;
            let kind = kind.to_string();
            let short = ATTRIBUTES.iter().find(|(dotted, _)| *dotted == kind);
            let kind = short.map_or(&*kind, |(_, short)| short);
            parts.push(format!("{kind}={}", String::from_utf8_lossy(value.value())));
        }
    }
    Some(parts.join(", "))
}

fn reader(sequence: AnyRef<'_>) -> Option<SliceReader<'_>> {
    SliceReader::new(sequence.value()).ok()
}

#[cfg(test)]
mod tests;
