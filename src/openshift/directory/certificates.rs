//! Until when a bootstrap config can be used: its certificates are made for a day.
//!
//! ```text
//! Certificate { TBSCertificate { [0] version, serial, algorithm, issuer, { from, until } … } … }
//! ```
//!
//! openshift-install refuses a directory with an expired one (openshift/installer main 5f2b0d3dc3).
//! Format: RFC 5280, section 4.1; RFC 7468. What is no certificate is not ours to judge.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// When the first of the certificates in a PEM file ends to be valid, as time since 1970.
pub(super) fn valid_until(pem: &str) -> Option<Duration> {
    let blocks = pem.split(BEGIN).skip(1);
    blocks
        .filter_map(|rest| {
            let text: String = rest.split(END).next()?.split_whitespace().collect();
            not_after(&STANDARD.decode(text).ok()?)
        })
        .min()
}

fn not_after(certificate: &[u8]) -> Option<Duration> {
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
    let _from: AnyRef<'_> = validity.decode().ok()?;
    let until: AnyRef<'_> = validity.decode().ok()?;
    let until = match until.tag() {
        Tag::UtcTime => until.decode_as::<UtcTime>().ok()?.to_unix_duration(),
        _ => until
            .decode_as::<GeneralizedTime>()
            .ok()?
            .to_unix_duration(),
    };
    Some(until)
}

fn reader(sequence: AnyRef<'_>) -> Option<SliceReader<'_>> {
    SliceReader::new(sequence.value()).ok()
}
