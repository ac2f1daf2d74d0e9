//! Layers: every way of compressing them, and every way in which they can be wrong.

use std::io::{BufRead, Read};

use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use proptest::sample::Index;

use super::fixture::{
    Fixture, GZIP, TAR, TestLayer, ZSTD, gzip, gzip_layer, noise, read, tar, told, zstd,
};
use crate::image::digest::{Digest, Hasher};
use crate::image::{ImageError, hint};

/// A zstd frame that decoders pass over.
fn skippable(content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap();
    [
        &0x184d_2a5au32.to_le_bytes()[..],
        &len.to_le_bytes(),
        content,
    ]
    .concat()
}

/// What `zstd:chunked` writes: a frame per part, metadata between skippable headers, a footer.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    for part in bytes.chunks(10_000) {
        blob.extend(zstd(part));
    }
    blob.extend(skippable(&zstd(b"{}")));
    blob.extend(skippable(&[7; 64]));
    blob
}

#[test]
fn every_form_reads_back() {
    let big = noise(1_000_000);
    let (first, second) = big.split_at(300_000);
    let forms: Vec<(&str, TestLayer)> = vec![
        ("plain", TestLayer::new(TAR, big.clone(), &big)),
        ("plain, small", TestLayer::new(TAR, tar("a"), &tar("a"))),
        ("plain, empty", TestLayer::new(TAR, Vec::new(), b"")),
        ("gzip", TestLayer::new(GZIP, gzip(&big), &big)),
        ("gzip, small", gzip_layer("a")),
        ("gzip, nothing inside", TestLayer::new(GZIP, gzip(b""), b"")),
        (
            "gzip, two members",
            TestLayer::new(GZIP, [gzip(first), gzip(second)].concat(), &big),
        ),
        (
            "gzip, empty members",
            TestLayer::new(GZIP, [gzip(b""), gzip(&big), gzip(b"")].concat(), &big),
        ),
        ("zstd", TestLayer::new(ZSTD, zstd(&big), &big)),
        (
            "zstd, two frames",
            TestLayer::new(ZSTD, [zstd(first), zstd(second)].concat(), &big),
        ),
        ("zstd, chunked", TestLayer::new(ZSTD, chunked(&big), &big)),
        (
            "zstd, skippable first",
            TestLayer::new(ZSTD, [skippable(b"x"), zstd(&big)].concat(), &big),
        ),
        (
            "docker",
            TestLayer::new(
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                gzip(&big),
                &big,
            ),
        ),
        (
            "nondistributable, but there",
            TestLayer::new(
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                zstd(&big),
                &big,
            ),
        ),
    ];
    let layers: Vec<TestLayer> = forms.iter().map(|(_, layer)| layer.clone()).collect();
    let image = Fixture::with_layers(&layers);
    let image = image.open("").unwrap();
    for (index, (name, layer)) in forms.iter().enumerate() {
        let bytes = read(&image, index).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Digest::sha256(&bytes), layer.diff_id, "{name}");
        image.layer(index).unwrap().finish().unwrap();
    }
}

#[test]
fn sha512_works_everywhere() {
    let fixture = Fixture::new();
    let long: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let tar = tar("a");
    let blob = gzip(&tar);
    let digest = Hasher::of(&blob, &long);
    std::fs::write(fixture.blob_path(&digest), &blob).unwrap();
    let mut layer = TestLayer::new(GZIP, blob, &tar);
    layer.diff_id = Hasher::of(&tar, &long);
    let manifest = fixture.changed_image("amd64", &[layer], |manifest| {
        manifest["layers"][0]["digest"] = digest.as_str().into();
    });
    fixture.top(&[manifest]);
    let image = fixture.open("").unwrap();
    assert_eq!(image.layers[0].digest, digest);
    assert_eq!(read(&image, 0), Ok(tar));
}

/// Each case: what is stored, under which media type, what the diff-id is of, what is said.
#[test]
fn what_is_wrong_inside_is_found() {
    let big = noise(500_000);
    let mut flipped = gzip(&big);
    let at = flipped.len() - 20;
    flipped[at] ^= 1;
    let cut = |blob: Vec<u8>, by: usize| blob[..blob.len() - by].to_vec();
    let long_window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        std::io::Write::write_all(&mut encoder, &big).unwrap();
        encoder.finish().unwrap()
    };
    for (name, media_type, blob, message) in [
        (
            "gzip cut in the trailer",
            GZIP,
            cut(gzip(&big), 4),
            "decompressing",
        ),
        (
            "gzip cut in the middle",
            GZIP,
            cut(gzip(&big), 100_000),
            "decompressing",
        ),
        ("gzip flipped", GZIP, flipped, "decompressing"),
        ("gzip empty", GZIP, Vec::new(), "decompressing"),
        (
            "gzip and a stray byte",
            GZIP,
            [gzip(&big), b"x".to_vec()].concat(),
            "goes on after",
        ),
        (
            "gzip and zeros",
            GZIP,
            [gzip(&big), vec![0; 512]].concat(),
            "goes on after",
        ),
        (
            "gzip and half a member",
            GZIP,
            [gzip(&big), cut(gzip(&big), 9)].concat(),
            "decompressing",
        ),
        (
            "zstd cut at its end",
            ZSTD,
            cut(zstd(&big), 1),
            "decompressing",
        ),
        (
            "zstd cut in the middle",
            ZSTD,
            cut(zstd(&big), 100_000),
            "decompressing",
        ),
        (
            "zstd and a stray byte",
            ZSTD,
            [zstd(&big), b"x".to_vec()].concat(),
            "decompressing",
        ),
        (
            "zstd and garbage",
            ZSTD,
            [zstd(&big), vec![1; 99]].concat(),
            "decompressing",
        ),
        (
            "zstd with a huge window",
            ZSTD,
            long_window,
            "decompressing",
        ),
        (
            "zstd without its last frame",
            ZSTD,
            zstd(&big[..100_000]),
            "diff-id",
        ),
        ("gzip of something else", GZIP, gzip(b"else"), "diff-id"),
        ("plain and something else", TAR, b"else".to_vec(), "diff-id"),
        (
            "zstd as gzip",
            GZIP,
            zstd(&big),
            "is zstd, though its media type",
        ),
        (
            "gzip as zstd",
            ZSTD,
            gzip(&big),
            "is gzip, though its media type",
        ),
        (
            "gzip as plain",
            TAR,
            gzip(&big),
            "is gzip, though its media type",
        ),
        (
            "xz as plain",
            TAR,
            b"\xfd7zXZ\0....".to_vec(),
            "is xz, though its media type",
        ),
        ("plain as gzip", GZIP, tar("a"), "decompressing"),
    ] {
        let fixture =
            Fixture::with_layers(&[gzip_layer("good"), TestLayer::new(media_type, blob, &big)]);
        let image = fixture.open("").unwrap();
        let error = read(&image, 1).expect_err(name);
        assert!(error.contains(message), "{name}: {error}");
        let named = format!("layer 2 ({}) of oci:", image.layers[1].digest);
        assert!(error.contains(&named), "{name}: {error}");
        assert_eq!(read(&image, 0), Ok(tar("good")), "{name}");
    }
}

/// A blob that changes after the image was opened, or whose bytes are not what its name says.
#[test]
fn damaged_blobs_are_told_from_wrong_ones() {
    let big = noise(500_000);
    for (media_type, blob) in [(TAR, big.clone()), (GZIP, gzip(&big)), (ZSTD, zstd(&big))] {
        let fixture = Fixture::with_layers(&[TestLayer::new(media_type, blob.clone(), &big)]);
        let image = fixture.open("").unwrap();
        let path = fixture.blob_path(&image.layers[0].digest);

        for at in [0, 20, blob.len() / 2, blob.len() - 1] {
            let mut bad = blob.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, bad).unwrap();
            let error = read(&image, 0).unwrap_err();
            // The magic is looked at before the digest can be known.
            let told = error.contains("has the digest") || (at == 0 && media_type != TAR);
            assert!(told, "{media_type}, byte {at}: {error}");
        }

        std::fs::write(&path, &blob[1..]).unwrap();
        let shorter = read(&image, 0).unwrap_err();
        let expected = format!("has {} bytes, where {} are", blob.len() - 1, blob.len());
        assert!(shorter.contains(&expected), "{shorter}");
        assert!(told(fixture.open("")).contains(&expected));

        std::fs::write(&path, [&blob[..], b"x"].concat()).unwrap();
        let longer = read(&image, 0).unwrap_err();
        assert!(
            longer.contains(&format!("has {} bytes", blob.len() + 1)),
            "{longer}"
        );

        std::fs::write(&path, &blob).unwrap();
        assert_eq!(read(&image, 0), Ok(big.clone()));
    }
}

/// The file is cut while it is read, so that no check beforehand can help.
#[test]
fn cut_while_reading_is_no_end() {
    let big = noise(4_000_000);
    let fixture = Fixture::with_layers(&[TestLayer::new(TAR, big.clone(), &big)]);
    let image = fixture.open("").unwrap();
    let mut reader = image.layer(0).unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    let file = fixture.blob_path(&image.layers[0].digest);
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(2_000_000).unwrap();
    let error = anyhow::Error::new(reader.finish().unwrap_err());
    assert!(
        format!("{error:#}").contains("has 2000000 bytes, where 4000000"),
        "{error:#}"
    );
    assert!(error.chain().find_map(hint).unwrap().contains("damaged"));
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for (media_type, blob) in [
        (TAR, zeros.clone()),
        (GZIP, gzip(&zeros)),
        (ZSTD, zstd(&zeros)),
    ] {
        let fixture = Fixture::with_layers(&[TestLayer::new(media_type, blob, &zeros)]);
        let image = fixture.open("").unwrap();
        let limit = zeros.len() as u64;
        image.layer_with_limit(0, limit).unwrap().finish().unwrap();
        let error = image
            .layer_with_limit(0, limit - 1)
            .unwrap()
            .finish()
            .unwrap_err();
        let error = error.downcast::<ImageError>().unwrap();
        assert!(matches!(error, ImageError::TooLarge { limit: l, .. } if l == limit - 1));
    }
}

#[test]
fn small_reads_give_the_same_bytes() {
    let big = noise(400_000);
    let fixture = Fixture::with_layers(&[TestLayer::new(ZSTD, chunked(&big), &big)]);
    let image = fixture.open("").unwrap();
    let mut reader = image.layer(0).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 777];
    loop {
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        let ahead = reader.fill_buf().unwrap().len().min(10);
        bytes.extend_from_slice(&reader.fill_buf().unwrap()[..ahead]);
        reader.consume(ahead);
    }
    assert_eq!(bytes, big);
    assert_eq!(
        reader.read(&mut buffer).unwrap(),
        0,
        "the end stays the end"
    );
}

#[test]
fn several_threads_read_at_once() {
    let texts = ["a", "b", "c", "d"];
    let layers: Vec<TestLayer> = texts.iter().map(|text| gzip_layer(text)).collect();
    let fixture = Fixture::with_layers(&layers);
    let image = fixture.open("").unwrap();
    std::thread::scope(|scope| {
        for (index, text) in texts.iter().enumerate() {
            let image = &image;
            scope.spawn(move || assert_eq!(read(image, index), Ok(tar(text))));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Blobs whose digest is right, but which somebody has made to upset decompressors.
    #[test]
    fn changed_streams_never_give_other_bytes(
        form in 0..3usize,
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        kept in 0.5..1.5f64,
    ) {
        let bytes = noise(20_000);
        let (media_type, mut blob) = match form {
            0 => (GZIP, [gzip(&bytes[..9000]), gzip(&bytes[9000..])].concat()),
            1 => (ZSTD, zstd(&bytes)),
            _ => (ZSTD, chunked(&bytes)),
        };
        for (at, value) in changes {
            let at = at.index(blob.len());
            blob[at] = value;
        }
        blob.truncate((blob.len() as f64 * kept) as usize);
        let fixture = Fixture::with_layers(&[TestLayer::new(media_type, blob, &bytes)]);
        let layer = read(&fixture.open("").unwrap(), 0);
        prop_assert!(layer.is_err() || layer == Ok(bytes));
    }
}
