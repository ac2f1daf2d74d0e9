//! Headers that describe the entry behind them.

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused};
use super::tar::{LINK, Tar, header, seal};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = pax();
    cases.extend(long_names());
    cases.extend(sparse());
    cases
}

const X: Verdict = Accepted(&["+usr/x 0:0 644 \"\""]);

fn pax() -> Vec<Case> {
    let malformed = || Refused("a PAX record is malformed");
    let text = |text: &str| Tar::new().pax_text(text).file("usr/x", "");
    let records = |records: &[(&str, &[u8])]| Tar::new().pax(records).file("usr/x", "");
    let unread = |kind, size| {
        let mut header = header(kind, "pax", size);
        seal(&mut header);
        Tar::new().raw(&header, b"")
    };
    vec![
        Case::layer("PAX length 0", malformed(), text("0 path=usr/y\n")),
        Case::layer("PAX length without a record", malformed(), text("2 \n")),
        Case::layer("PAX length too small", malformed(), text("5 path=usr/y\n")),
        Case::layer("PAX length too large", malformed(), text("99 path=usr/y\n")),
        Case::layer(
            "PAX length 2^64",
            malformed(),
            text("18446744073709551616 path=y\n"),
        ),
        Case::layer("PAX length -1", malformed(), text("-1 path=usr/y\n")),
        Case::layer("PAX length +14", malformed(), text("+14 path=usr/y\n")),
        Case::layer("PAX without a blank", malformed(), text("14path=usr/yyy\n")),
        Case::layer(
            "PAX without an equals sign",
            malformed(),
            text("10 path y\n"),
        ),
        Case::layer(
            "PAX without a line feed",
            malformed(),
            text("14 path=usr/yy"),
        ),
        Case::layer(
            "PAX with zeros behind",
            malformed(),
            text("14 path=usr/y\n\0\0\0"),
        ),
        Case::layer(
            "PAX length with zeros in front",
            Accepted(&["+usr/y 0:0 644 \"\""]),
            text("0016 path=usr/y\n"),
        ),
        Case::layer("PAX with nothing in it", X, text("")),
        Case::layer(
            "PAX key twice",
            Accepted(&["+usr/z 0:0 644 \"\""]),
            records(&[("path", b"usr/y"), ("path", b"usr/z")]),
        ),
        Case::layer("PAX path of nothing", X, records(&[("path", b"")])),
        Case::layer("PAX key of nothing", X, records(&[("", b"usr/y")])),
        Case::layer("PAX key with NUL", X, records(&[("path\0", b"usr/y")])),
        Case::layer(
            "PAX with 20000 keys",
            X,
            records(&(0..20_000).map(|_| ("k", &b"v"[..])).collect::<Vec<_>>()),
        ),
        Case::layer(
            "PAX in a character set",
            X,
            records(&[("hdrcharset", b"BINARY")]),
        ),
        Case::layer(
            "PAX linkpath of a file",
            X,
            records(&[("linkpath", b"/etc/shadow")]),
        ),
        Case::layer(
            "two PAX headers",
            Refused("two extension headers"),
            Tar::new()
                .pax(&[("path", b"usr/y")])
                .pax(&[("path", b"usr/z")])
                .file("usr/x", ""),
        ),
        Case::layer(
            "PAX header at the end",
            Refused("ends after an extension header"),
            Tar::new().pax(&[("path", b"usr/y")]),
        ),
        Case::layer(
            "PAX header of 2 MiB",
            Refused("at most 1114112 are taken"),
            unread(b'x', 2 << 20),
        ),
        Case::layer(
            "PAX header of 8 GiB",
            Refused("at most 1114112 are taken"),
            unread(b'x', 1 << 32),
        ),
        Case::layer(
            "PAX header that is cut",
            Refused("reading an extension header"),
            unread(b'x', 1 << 20),
        ),
        Case::layer(
            "global header with a path",
            X,
            Tar::new()
                .entry(b'g', "g", "", b"14 path=usr/y\n")
                .file("usr/x", ""),
        ),
        Case::layer(
            "global header of nonsense",
            X,
            Tar::new().entry(b'g', "g", "", b"\xff\0").file("usr/x", ""),
        ),
        Case::layer(
            "global header of 8 GiB",
            Refused("at most 1114112 are taken"),
            unread(b'g', 1 << 32),
        ),
        Case::layer(
            "sixteen headers in a row",
            Refused("more than 16 extension headers"),
            (0..16)
                .fold(Tar::new(), |tar, _| tar.entry(b'g', "g", "", b""))
                .file("usr/x", ""),
        ),
        Case::layer(
            "fifteen headers in a row",
            X,
            (0..15)
                .fold(Tar::new(), |tar, _| tar.entry(b'g', "g", "", b""))
                .file("usr/x", ""),
        ),
        Case::layer(
            "extended header of Solaris",
            Refused("which ostree cannot hold"),
            Tar::new().with(b'X', "usr/x", LINK, b""),
        ),
    ]
}

fn long_names() -> Vec<Case> {
    let tar = Tar::new;
    vec![
        Case::layer(
            "long name before PAX",
            Accepted(&["+usr/y 0:0 644 \"\""]),
            tar()
                .long(b'L', "usr/y")
                .pax(&[("path", b"usr/z")])
                .file("usr/x", ""),
        ),
        Case::layer(
            "long name behind PAX",
            Accepted(&["+usr/y 0:0 644 \"\""]),
            tar()
                .pax(&[("path", b"usr/z")])
                .long(b'L', "usr/y")
                .file("usr/x", ""),
        ),
        Case::layer(
            "long name twice",
            Refused("two extension headers"),
            tar()
                .long(b'L', "usr/y")
                .long(b'L', "usr/z")
                .file("usr/x", ""),
        ),
        Case::layer(
            "long name of nothing",
            Refused("where the root directory has to be"),
            tar().entry(b'L', "l", "", b"").file("usr/x", ""),
        ),
        Case::layer(
            "long name behind NUL",
            Accepted(&["+usr/y 0:0 644 \"\""]),
            tar()
                .entry(b'L', "l", "", b"usr/y\0/../../x")
                .file("usr/x", ""),
        ),
        Case::layer(
            "long name without NUL",
            Accepted(&["+usr/y 0:0 644 \"\""]),
            tar().entry(b'L', "l", "", b"usr/y").file("usr/x", ""),
        ),
        Case::layer(
            "long target of a file",
            X,
            tar().long(b'K', "/etc/shadow").file("usr/x", ""),
        ),
        Case::layer(
            "long name at the end",
            Refused("ends after an extension header"),
            tar().long(b'L', "usr/y"),
        ),
    ]
}

fn sparse() -> Vec<Case> {
    let refused = || Refused("sparse files are not supported");
    let pax = |records: &[(&str, &[u8])]| Tar::new().pax(records).file("usr/x", "");
    vec![
        Case::layer(
            "sparse in GNU's old form",
            refused(),
            Tar::new().entry(b'S', "usr/x", "", b""),
        ),
        Case::layer(
            "sparse 0.0",
            refused(),
            pax(&[
                ("GNU.sparse.size", b"99"),
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"1"),
            ]),
        ),
        Case::layer(
            "sparse 0.1",
            refused(),
            pax(&[
                ("GNU.sparse.map", b"0,1"),
                ("GNU.sparse.name", b"usr/y"),
                ("GNU.sparse.size", b"9223372036854775807"),
            ]),
        ),
        Case::layer(
            "sparse 1.0",
            refused(),
            pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"9223372036854775807"),
            ]),
        ),
        Case::layer(
            "sparse below /run",
            refused(),
            Tar::new().entry(b'S', "run/x", "", b""),
        ),
    ]
}
