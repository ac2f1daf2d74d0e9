//! Numbers, and the archive's end.

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused, Warned};
use super::tar::{CHECKSUM, GID, MODE, MTIME, SIZE, Tar, UID, binary, header, put, seal};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = fields();
    cases.extend(owners());
    cases.extend(times());
    cases.extend(checksums());
    cases.extend(ends());
    cases
}

const X: Verdict = Accepted(&["+usr/x 0:0 644 \"\""]);

fn fields() -> Vec<Case> {
    let octal = || Refused("is not an octal number");
    let with = |field, bytes: &[u8]| Tar::new().with(b'0', "usr/x", field, bytes);
    let big = |number| with(SIZE, &binary(number, 12));
    let pax = |value: &str| {
        Tar::new()
            .pax(&[("size", value.as_bytes())])
            .file("usr/x", "")
    };
    vec![
        Case::layer("size with a nine", octal(), with(SIZE, b"00000000009")),
        Case::layer("size with a minus", octal(), with(SIZE, b"-0000000001")),
        Case::layer("size with a plus", octal(), with(SIZE, b"+0000000001")),
        Case::layer("size in hexadecimal", octal(), with(SIZE, b"0x1")),
        Case::layer("size with a gap", octal(), with(SIZE, b"0 1")),
        Case::layer(
            "size of eleven sevens",
            Refused("exceed 64 GiB"),
            with(SIZE, b"777777777777"),
        ),
        Case::layer("size of blanks", X, with(SIZE, b"            ")),
        Case::layer("size of zeros", X, with(SIZE, b"")),
        Case::layer("size -1", Refused("negative"), big(-1)),
        Case::layer("size -2^62", Refused("negative"), big(-(1 << 62))),
        Case::layer("size 2^33", Refused("ends within a file"), big(1 << 33)),
        Case::layer("size 2^62", Refused("exceed 64 GiB"), big(1 << 62)),
        Case::layer(
            "size 2^63 - 1",
            Refused("exceed 64 GiB"),
            big((1 << 63) - 1),
        ),
        Case::layer("size 2^63", Refused("too large"), big(1 << 63)),
        Case::layer("size 2^64", Refused("too large"), big(1 << 64)),
        Case::layer("size 2^94", Refused("is not an octal number"), big(1 << 94)),
        Case::layer(
            "size of more than there is",
            Refused("ends within a file"),
            with(SIZE, b"00000010000"),
        ),
        Case::layer(
            "size of more than there is below /run",
            Refused("ends within an entry"),
            Tar::new().with(b'0', "run/x", SIZE, b"00000010000"),
        ),
        Case::layer("PAX size -1", Refused("is not a number"), pax("-1")),
        Case::layer("PAX size +1", Refused("is not a number"), pax("+1")),
        Case::layer("PAX size 1e3", Refused("is not a number"), pax("1e3")),
        Case::layer("PAX size 0x10", Refused("is not a number"), pax("0x10")),
        Case::layer(
            "PAX size 2^62",
            Refused("exceed 64 GiB"),
            pax("4611686018427387904"),
        ),
        Case::layer(
            "PAX size 2^63",
            Refused("exceed 64 GiB"),
            pax("9223372036854775808"),
        ),
        Case::layer(
            "PAX size 2^64 - 1",
            Refused("overflows"),
            pax("18446744073709551615"),
        ),
        Case::layer(
            "PAX size 2^64",
            Refused("is not a number"),
            pax("18446744073709551616"),
        ),
        Case::layer(
            "PAX size of 4000 digits",
            Refused("is not a number"),
            pax(&"9".repeat(4000)),
        ),
        Case::layer(
            "PAX size that hides an entry",
            Accepted(&["+usr/x 0:0 644 1536 bytes"]),
            Tar::new()
                .pax(&[("size", b"1536")])
                .file("usr/x", "")
                .file("usr/hidden", "x"),
        ),
        Case::layer(
            "PAX size that shows content as entries",
            Refused("checksum"),
            Tar::new().pax(&[("size", b"0")]).file("usr/x", "content"),
        ),
        Case::layer(
            "PAX size of a directory",
            Refused("claims 512 bytes"),
            Tar::new()
                .pax(&[("size", b"512")])
                .dir("usr/d/")
                .file("usr/hidden", ""),
        ),
        Case::layer("mode with a nine", octal(), with(MODE, b"0000009")),
        Case::layer("mode -1", Refused("negative"), with(MODE, &binary(-1, 8))),
        Case::layer("mode of a socket", X, with(MODE, b"0140644")),
        Case::layer(
            "setuid",
            Accepted(&["+usr/x 0:0 6755 \"\""]),
            with(MODE, b"0006755"),
        ),
        Case::layer(
            "all bits",
            Accepted(&["+usr/x 0:0 7777 \"\""]),
            with(MODE, b"7777777"),
        ),
    ]
}

fn owners() -> Vec<Case> {
    let unchanged = || Refused("is -1 to chown(2)");
    let with = |field, number| Tar::new().with(b'0', "usr/x", field, &binary(number, 8));
    let pax = |key, value: &str| Tar::new().pax(&[(key, value.as_bytes())]).file("usr/x", "");
    vec![
        Case::layer("user 4294967295", unchanged(), with(UID, 0xffff_ffff)),
        Case::layer("group 4294967295", unchanged(), with(GID, 0xffff_ffff)),
        Case::layer("PAX user 4294967295", unchanged(), pax("uid", "4294967295")),
        Case::layer(
            "PAX group 4294967295",
            unchanged(),
            pax("gid", "4294967295"),
        ),
        Case::layer(
            "directory of user 4294967295",
            unchanged(),
            Tar::new().pax(&[("uid", b"4294967295")]).dir("usr/d/"),
        ),
        Case::layer(
            "user 4294967295 below /run",
            unchanged(),
            Tar::new().with(b'0', "run/x", UID, &binary(0xffff_ffff, 8)),
        ),
        Case::layer(
            "user 4294967294",
            Accepted(&["+usr/x 4294967294:0 644 \"\""]),
            with(UID, 0xffff_fffe),
        ),
        Case::layer(
            "user 4294967296",
            Refused("does not fit 32 bits"),
            with(UID, 1 << 32),
        ),
        Case::layer("user -1", Refused("negative"), with(UID, -1)),
        Case::layer("user -2", Refused("negative"), with(UID, -2)),
        Case::layer(
            "group 2^55",
            Refused("does not fit 32 bits"),
            with(GID, 1 << 55),
        ),
        Case::layer("PAX user -1", Refused("is not a number"), pax("uid", "-1")),
        Case::layer(
            "PAX user 2^63",
            Refused("does not fit 32 bits"),
            pax("uid", "9223372036854775808"),
        ),
        Case::layer(
            "PAX user 2^64",
            Refused("is not a number"),
            pax("uid", "18446744073709551616"),
        ),
        Case::layer(
            "PAX user root",
            Refused("is not a number"),
            pax("uid", "root"),
        ),
        Case::layer(
            "user of letters",
            Refused("is not an octal number"),
            Tar::new().with(b'0', "usr/x", UID, b"root"),
        ),
    ]
}

fn times() -> Vec<Case> {
    let number = || Refused("is not a number");
    let pax = |value: &str| {
        Tar::new()
            .pax(&[("mtime", value.as_bytes())])
            .file("usr/x", "")
    };
    vec![
        Case::layer("time nan", number(), pax("nan")),
        Case::layer("time inf", number(), pax("inf")),
        Case::layer("time 1e999", number(), pax("1e999")),
        Case::layer("time -", number(), pax("-")),
        Case::layer("time .5", number(), pax(".5")),
        Case::layer("time --1", number(), pax("--1")),
        Case::layer("time of 400 digits", number(), pax(&"9".repeat(400))),
        Case::layer(
            "time 2^63",
            Refused("out of range"),
            pax("9223372036854775808"),
        ),
        Case::layer(
            "time with 400 decimals",
            X,
            pax(&format!("1.{}", "9".repeat(400))),
        ),
        Case::layer("time before 1970", X, pax("-1.5")),
        Case::layer(
            "time -2^55",
            X,
            Tar::new().with(b'0', "usr/x", MTIME, &binary(-(1 << 55), 12)),
        ),
        Case::layer(
            "time of letters",
            Refused("is not an octal number"),
            Tar::new().with(b'0', "usr/x", MTIME, b"yesterday"),
        ),
    ]
}

fn checksums() -> Vec<Case> {
    let with = |bytes: &[u8]| {
        let mut header = header(b'0', "usr/x", 0);
        put(&mut header, CHECKSUM, bytes);
        Tar::new().raw(&header, b"")
    };
    let mut flipped = header(b'0', "usr/x", 0);
    seal(&mut flipped);
    flipped[4] ^= 1;
    vec![
        Case::layer(
            "checksum zero",
            Refused("checksum is wrong"),
            with(b"0000000"),
        ),
        Case::layer(
            "checksum of letters",
            Refused("is not an octal number"),
            with(b"checksum"),
        ),
        Case::layer("checksum -1", Refused("negative"), with(&binary(-1, 8))),
        Case::layer(
            "checksum of another name",
            Refused("checksum is wrong"),
            Tar::new().raw(&flipped, b""),
        ),
        Case::layer(
            "block of 0xff",
            Refused("negative"),
            Tar::new().bytes(&[0xff; 512]),
        ),
        Case::layer(
            "block of text",
            Refused("is not an octal number"),
            Tar::new().bytes(&[b'a'; 512]),
        ),
    ]
}

/// What stands at the end of a layer, or should not.
fn ends() -> Vec<Case> {
    let zeros = [0; 512];
    let x = || Tar::new().file("usr/x", "");
    let image = |name: &str, verdict, tar: Tar| {
        Case::image(name, verdict, super::image::Image::tiny().layer(tar.0))
    };
    let behind = || {
        Warned(
            "goes on behind the end of its archive",
            &["+usr/x 0:0 644 \"\""],
        )
    };
    let lone = || Refused("a single block of zeros stands behind the entry \"usr/x\"");
    vec![
        image(
            "entry behind the end mark",
            behind(),
            x().bytes(&zeros).bytes(&zeros).file("usr/hidden", ""),
        ),
        image(
            "whiteout behind the end mark",
            behind(),
            x().bytes(&zeros).bytes(&zeros).file("usr/bin/.wh.tool", ""),
        ),
        image(
            "junk behind the end mark",
            behind(),
            x().bytes(&zeros).bytes(&zeros).bytes(b"junk"),
        ),
        image(
            "junk a MiB behind the end mark",
            behind(),
            x().bytes(&vec![0; 1 << 20]).bytes(b"junk"),
        ),
        image(
            "a MiB of zeros behind the end mark",
            X,
            x().bytes(&vec![0; 1 << 20]),
        ),
        image("no end mark", X, x()),
        image("end mark of one block", X, x().bytes(&zeros)),
        image(
            "end mark of one block and a half",
            X,
            x().bytes(&zeros).bytes(&zeros[..256]),
        ),
        image(
            "block of zeros between entries",
            lone(),
            x().bytes(&zeros)
                .file("usr/y", "")
                .bytes(&zeros)
                .bytes(&zeros),
        ),
        image(
            "block of zeros before junk",
            lone(),
            x().bytes(&zeros).bytes(b"junk"),
        ),
        image(
            "block of zeros before everything",
            Refused("a single block of zeros stands before the first entry"),
            Tar::new()
                .bytes(&zeros)
                .file("usr/x", "")
                .bytes(&zeros)
                .bytes(&zeros),
        ),
        image(
            "nothing but an end mark",
            Accepted(&[]),
            Tar::new().bytes(&zeros).bytes(&zeros),
        ),
        image("nothing at all", Accepted(&[]), Tar::new()),
        image(
            "one byte",
            Refused("ends within a header"),
            Tar::new().bytes(b"x"),
        ),
        image(
            "cut within a header",
            Refused("ends within a header"),
            x().bytes(&header(b'0', "usr/y", 0)[..300]),
        ),
        image(
            "cut within content",
            Refused("ends within"),
            x().with(b'0', "usr/y", SIZE, b"0000777"),
        ),
    ]
}
