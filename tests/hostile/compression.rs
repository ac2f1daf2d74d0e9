//! Compressed layers, and media types that lie about them.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use serde_json::json;

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused};
use super::image::{GZIP, Image, TAR, ZSTD};
use super::tar::Tar;

const X: Verdict = Accepted(&["+usr/x 0:0 644 \"x\""]);

fn tar() -> Vec<u8> {
    Tar::new().file("usr/x", "x").end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn blob(name: &str, verdict: Verdict, media_type: &str, blob: Vec<u8>) -> Case {
    Case::image(name, verdict, Image::tiny().blob(media_type, blob, &tar()))
}

/// A changed copy.
fn changed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    bytes
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = gzips();
    cases.extend(zstds());
    cases.extend(media_types());
    cases
}

fn gzips() -> Vec<Case> {
    let whole = gzip(&tar());
    let len = whole.len();
    let tar_bytes = tar();
    let (first, second) = tar_bytes.split_at(700);
    let halves = [gzip(first), gzip(second)].concat();
    let named = |name: usize, extra: usize| {
        let builder = GzBuilder::new()
            .filename(vec![b'n'; name])
            .extra(vec![0; extra]);
        let mut encoder = builder.write(Vec::new(), Compression::fast());
        encoder.write_all(&tar()).unwrap();
        encoder.finish().unwrap()
    };
    // 32 MiB of zeros as a file: a thousandth of it in the image.
    let bomb = Tar::new()
        .entry(b'0', "usr/x", "", &vec![0; 32 << 20])
        .end();
    let bad = || Refused("decompressing layer 2");
    vec![
        blob("gzip", X, GZIP, whole.clone()),
        blob("gzip in two members", X, GZIP, halves),
        blob(
            "gzip and 20000 empty members",
            X,
            GZIP,
            [whole.clone(), gzip(b"").repeat(20_000)].concat(),
        ),
        blob(
            "20000 empty members and gzip",
            X,
            GZIP,
            [gzip(b"").repeat(20_000), whole.clone()].concat(),
        ),
        blob(
            "gzip with a name of 1 MiB",
            Refused("gzip header field too long"),
            GZIP,
            named(1 << 20, 0),
        ),
        blob("gzip with an extra field", X, GZIP, named(1, 60_000)),
        blob(
            "gzip and junk",
            Refused("goes on after the end of the gzip stream"),
            GZIP,
            [&whole[..], b"junk"].concat(),
        ),
        blob(
            "gzip and zeros",
            Refused("goes on after the end of the gzip stream"),
            GZIP,
            [&whole[..], &[0; 512]].concat(),
        ),
        blob(
            "gzip and half a member",
            bad(),
            GZIP,
            [&whole[..], &[0x1f, 0x8b, 8]].concat(),
        ),
        blob(
            "gzip and a tar",
            Refused("goes on after the end of the gzip stream"),
            GZIP,
            [&whole[..], &tar()].concat(),
        ),
        blob(
            "gzip with a wrong CRC",
            bad(),
            GZIP,
            changed(whole.clone(), |b| b[len - 8] ^= 1),
        ),
        blob(
            "gzip with a wrong length",
            bad(),
            GZIP,
            changed(whole.clone(), |b| b[len - 1] ^= 1),
        ),
        blob(
            "gzip without its trailer",
            bad(),
            GZIP,
            whole[..len - 8].to_vec(),
        ),
        blob("gzip cut in half", bad(), GZIP, whole[..len / 2].to_vec()),
        blob("gzip cut in its header", bad(), GZIP, whole[..5].to_vec()),
        blob(
            "gzip of another method",
            bad(),
            GZIP,
            changed(whole.clone(), |b| b[2] = 7),
        ),
        blob(
            "gzip with reserved flags",
            bad(),
            GZIP,
            changed(whole.clone(), |b| b[3] = 0xe0),
        ),
        blob(
            "gzip with a broken block",
            bad(),
            GZIP,
            changed(whole.clone(), |b| b[10..20].fill(0xff)),
        ),
        blob("gzip of gzip", Refused("diff-id"), GZIP, gzip(&whole)),
        blob(
            "gzip of another tar",
            Refused("diff-id"),
            GZIP,
            gzip(&Tar::new().file("usr/y", "y").end()),
        ),
        blob("gzip of nothing", Refused("diff-id"), GZIP, gzip(b"")),
        blob("nothing, said to be gzip", bad(), GZIP, Vec::new()),
        Case::image(
            "gzip bomb of 32 MiB",
            Accepted(&["+usr/x 0:0 644 33554432 bytes"]),
            Image::tiny().blob(GZIP, gzip(&bomb), &bomb),
        ),
    ]
}

fn zstds() -> Vec<Case> {
    let whole = zstd(&tar());
    let len = whole.len();
    let tar_bytes = tar();
    let (first, second) = tar_bytes.split_at(700);
    let summed = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(&tar()).unwrap();
        encoder.finish().unwrap()
    };
    let sum_at = summed.len() - 1;
    // Frame header (RFC 8878, 3.1.1): descriptor with a window descriptor, of 2^41 bytes, behind it.
    let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff][..], &[0x01, 0, 0]].concat();
    // The same with a window of 2^28 bytes, twice what is taken.
    let too_large = [
        &[0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3][..],
        &[0x01, 0, 0],
    ]
    .concat();
    // One with the number of a dictionary.
    let dictionary = [
        &[0x28, 0xb5, 0x2f, 0xfd, 0x21, 0x07, 0x00][..],
        &[0x01, 0, 0],
    ]
    .concat();
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    let bad = || Refused("decompressing layer 2");
    vec![
        blob("zstd", X, ZSTD, whole.clone()),
        blob(
            "zstd in two frames",
            X,
            ZSTD,
            [zstd(first), zstd(second)].concat(),
        ),
        blob(
            "zstd with a frame to be skipped, as zstd:chunked",
            X,
            ZSTD,
            [whole.clone(), skipped.clone()].concat(),
        ),
        blob(
            "zstd with another magic number",
            bad(),
            ZSTD,
            changed(whole.clone(), |b| b[0] = 0),
        ),
        blob(
            "frame to be skipped before zstd",
            X,
            ZSTD,
            [skipped.clone(), whole.clone()].concat(),
        ),
        blob(
            "zstd and 2000 frames to be skipped",
            X,
            ZSTD,
            [whole.clone(), skipped.repeat(2000)].concat(),
        ),
        blob(
            "frame to be skipped that is cut",
            bad(),
            ZSTD,
            [whole.clone(), skipped[..9].to_vec()].concat(),
        ),
        blob(
            "frame to be skipped of 4 GiB",
            bad(),
            ZSTD,
            [
                &whole[..],
                &[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff],
            ]
            .concat(),
        ),
        blob("zstd and junk", bad(), ZSTD, [&whole[..], b"junk"].concat()),
        blob(
            "zstd and zeros",
            bad(),
            ZSTD,
            [&whole[..], &[0; 512]].concat(),
        ),
        blob("zstd cut in half", bad(), ZSTD, whole[..len / 2].to_vec()),
        blob(
            "zstd with a wrong checksum",
            bad(),
            ZSTD,
            changed(summed, |b| b[sum_at] ^= 1),
        ),
        blob("zstd with a window of 2^41", bad(), ZSTD, window),
        blob("zstd with a window of 2^28", bad(), ZSTD, too_large),
        blob("zstd with a dictionary", bad(), ZSTD, dictionary),
        blob(
            "zstd of another tar",
            Refused("diff-id"),
            ZSTD,
            zstd(&Tar::new().file("usr/y", "y").end()),
        ),
        blob("zstd of nothing", Refused("diff-id"), ZSTD, zstd(b"")),
    ]
}

fn media_types() -> Vec<Case> {
    let unknown = || Refused("unknown media type");
    let urls = |image: Image| {
        image.manifest(|manifest| manifest["layers"][1]["urls"] = json!(["http://127.0.0.1:1/x"]))
    };
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    vec![
        blob(
            "gzip, said to be a tar",
            Refused("is gzip, though"),
            TAR,
            gzip(&tar()),
        ),
        blob(
            "zstd, said to be a tar",
            Refused("is zstd, though"),
            TAR,
            zstd(&tar()),
        ),
        blob(
            "tar, said to be gzip",
            Refused("decompressing layer 2"),
            GZIP,
            tar(),
        ),
        blob(
            "tar, said to be zstd",
            Refused("decompressing layer 2"),
            ZSTD,
            tar(),
        ),
        blob(
            "zstd, said to be gzip",
            Refused("is zstd, though"),
            GZIP,
            zstd(&tar()),
        ),
        blob(
            "gzip, said to be zstd",
            Refused("is gzip, though"),
            ZSTD,
            gzip(&tar()),
        ),
        blob(
            "xz, said to be a tar",
            Refused("though its media type"),
            TAR,
            b"\xfd7zXZ\0\0\x04".to_vec(),
        ),
        blob(
            "bzip2, said to be gzip",
            Refused("though its media type"),
            GZIP,
            b"BZh91AY&SY".to_vec(),
        ),
        blob(
            "layer of another type",
            unknown(),
            "application/x-tar+xz",
            tar(),
        ),
        blob("layer of no type", unknown(), "", tar()),
        blob(
            "encrypted layer",
            unknown(),
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            tar(),
        ),
        blob("Docker's gzip", X, docker, gzip(&tar())),
        Case::image(
            "layer with an address of its own",
            X,
            urls(Image::tiny().blob(TAR, tar(), &tar())),
        ),
        Case::damaged(
            "layer that is elsewhere",
            Refused("only its address is"),
            urls(Image::tiny().blob(foreign, gzip(&tar()), &tar())),
            |layout| {
                std::fs::remove_file(super::image::blob_path(
                    layout,
                    &super::image::digest(&gzip(&tar())),
                ))
                .unwrap()
            },
        ),
    ]
}
