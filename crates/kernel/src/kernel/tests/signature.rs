//! Signatures made by hand, as the kernel's `sign-file` appends them.

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use crate::kernel::Signature;

const MARK: &[u8] = b"~Module signature appended~\n";

/// DER of a value.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

/// Object identifiers: signed data, data, SHA-512, RSA, common name, organization.
fn identifier(bytes: &[u8]) -> Vec<u8> {
    der(0x06, bytes)
}

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

/// Parts of a name: kind, type of string, and text.
type Name<'a> = &'a [(&'a [u8], u8, &'a [u8])];

/// Issuer and serial number of a signer.
fn issuer(names: Name<'_>, serial: &[u8]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names
        .iter()
        .map(|(kind, tag, value)| {
            let attribute = sequence(&[identifier(kind), der(*tag, value)]);
            der(0x31, &attribute)
        })
        .collect();
    sequence(&[sequence(&names), der(0x02, serial)])
}

/// A PKCS#7 message of that signer.
fn message(signer: Vec<u8>, digest: &[u8]) -> Vec<u8> {
    let algorithm = |name| sequence(&[identifier(name), der(0x05, &[])]);
    let signer = sequence(&[
        der(0x02, &[1]),
        signer,
        algorithm(digest),
        algorithm(RSA),
        der(0x04, &[0xaa; 256]),
    ]);
    let signed = sequence(&[
        der(0x02, &[1]),
        der(0x31, &algorithm(digest)),
        sequence(&[identifier(DATA)]),
        der(0x31, &signer),
    ]);
    sequence(&[identifier(SIGNED_DATA), der(0xa0, &signed)])
}

/// A record before the mark: kind, lengths of signer and key, length of the signature.
fn record(kind: u8, digest: u8, signer: u8, key: u8, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).unwrap().to_be_bytes();
    [&[0, digest, kind, signer, key, 0, 0, 0][..], &len, MARK].concat()
}

fn appended(module: Vec<u8>, message: &[u8]) -> Vec<u8> {
    [module, message.to_vec(), record(2, 0, 0, 0, message.len())].concat()
}

/// A module, signed by Tester.
pub(super) fn signed(module: Vec<u8>) -> Vec<u8> {
    signed_by(module, "Tester")
}

pub(super) fn signed_by(module: Vec<u8>, name: &str) -> Vec<u8> {
    let names: [(&[u8], u8, &[u8]); 2] = [
        (ORGANIZATION, 0x0c, b"Org"),
        (COMMON_NAME, 0x0c, name.as_bytes()),
    ];
    appended(module, &message(issuer(&names, &[0x0a, 0x0b]), SHA512))
}

fn of(message: &[u8]) -> Signature {
    Signature::of(&appended(b"module".to_vec(), message)).unwrap()
}

fn readable(signer: Option<&str>, key: &str, hash: &str) -> Signature {
    Signature {
        signer: signer.map(str::to_owned),
        key: Some(key.to_owned()),
        hash: Some(hash.to_owned()),
        unreadable: None,
    }
}

#[test]
fn signers_are_named() {
    let cases: [(Name<'_>, &[u8], Signature); 5] = [
        (
            &[(COMMON_NAME, 0x0c, b"Kernel key")],
            &[0x00, 0xf0, 0x01],
            readable(Some("Kernel key"), "F0:01", "sha512"),
        ),
        // UTF-16, and what a terminal should not see.
        (
            &[(COMMON_NAME, 0x1e, &[0x00, 0x41, 0x20, 0xac, 0x00, 0x1b])],
            &[1],
            readable(Some("A€\u{1b}"), "01", "sha512"),
        ),
        (
            &[
                (ORGANIZATION, 0x13, b"Org"),
                (COMMON_NAME, 0x13, b"first"),
                (COMMON_NAME, 0x13, b"second"),
            ],
            &[1],
            readable(Some("first"), "01", "sha512"),
        ),
        (
            &[(ORGANIZATION, 0x0c, b"Org")],
            &[1],
            readable(None, "01", "sha512"),
        ),
        (&[], &[1], readable(None, "01", "sha512")),
    ];
    for (names, serial, expected) in cases {
        assert_eq!(of(&message(issuer(names, serial), SHA512)), expected);
    }
    // A signer that is named by its key, and a digest without a name.
    let by_key = message(der(0x80, &[0xab, 0xcd]), &[0x2a, 3, 4]);
    assert_eq!(of(&by_key), readable(None, "AB:CD", "1.2.3.4"));
}

#[test]
fn old_signatures_have_the_name_written_out() {
    let module = [
        b"module".to_vec(),
        b"Old signer".to_vec(),
        vec![0x12, 0x34],
        vec![0xaa; 99],
        record(1, 4, 10, 2, 99),
    ]
    .concat();
    let expected = readable(Some("Old signer"), "12:34", "sha256");
    assert_eq!(Signature::of(&module), Some(expected));
}

#[test]
fn what_is_no_signature_says_why() {
    let unreadable = |module: &[u8]| Signature::of(module).unwrap().unreadable.unwrap();
    let long = "it is longer than the module";
    assert_eq!(Signature::of(b"no mark"), None);
    assert_eq!(Signature::of(&[MARK, b" "].concat()), None);
    assert_eq!(unreadable(MARK), long);
    assert_eq!(unreadable(&record(2, 0, 0, 0, 1)), long);
    assert_eq!(unreadable(&record(1, 0, 1, 0, 0)), long);
    assert_eq!(unreadable(&record(2, 0, 0, 0, usize::from(u16::MAX))), long);
    assert_eq!(
        unreadable(&record(0, 0, 0, 0, 0)),
        "it is of the unknown kind 0"
    );
    let none = "it is no PKCS#7 message";
    assert_eq!(unreadable(&record(2, 0, 0, 0, 0)), none);
    let mut whole = message(issuer(&[], &[1]), SHA512);
    assert_eq!(
        unreadable(&appended(Vec::new(), &whole[..whole.len() - 1])),
        none
    );
    whole.push(0);
    assert_eq!(unreadable(&appended(Vec::new(), &whole)), none);
    let data = sequence(&[identifier(DATA), der(0xa0, &sequence(&[]))]);
    assert_eq!(unreadable(&appended(Vec::new(), &data)), none);
    let nobody = sequence(&[
        der(0x02, &[1]),
        der(0x31, &[]),
        sequence(&[identifier(DATA)]),
        der(0x31, &[]),
    ]);
    let nobody = sequence(&[identifier(SIGNED_DATA), der(0xa0, &nobody)]);
    assert_eq!(unreadable(&appended(Vec::new(), &nobody)), none);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_signatures_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut module = signed(b"module".to_vec());
        let len = module.len() - MARK.len();
        for (at, value) in damage {
            module[at.index(len)] = value;
        }
        assert!(Signature::of(&module).is_some());
    }
}
