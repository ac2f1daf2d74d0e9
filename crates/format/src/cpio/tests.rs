//! Agreement with GNU cpio, bsdtar and the compressors, and what is refused.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

use super::{
    Compression, Entry, Limits, Member, Segment, Writer, describe, header, padding,
    read_first_header, read_initramfs,
};
use bake_referee::have;
use bake_tree::Content;

/// What `tool` writes when it reads `input`.
fn run(tool: &str, arguments: &[&str], directory: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
    output.stdout
}

/// An archive with every kind of member that we write.
fn sample() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.directory("etc", 0o755).unwrap();
    writer.file("etc/empty", 0o600, b"").unwrap();
    writer.file("etc/text", 0o644, b"some text\n").unwrap();
    writer.symlink("etc/link", "text").unwrap();
    let entry = Entry::file("big", 0o4755).modified(1_700_000_000);
    writer.member(&entry, 100_001, &mut io::repeat(7)).unwrap();
    writer.finish().unwrap()
}

const SAMPLE_TEXT: &str = "\
uncompressed at 0
  040755 0:0 2 0 0 etc
  100600 0:0 1 0 0 etc/empty
  100644 0:0 1 0 10 etc/text
  120777 0:0 1 0 4 etc/link -> text
  104755 0:0 1 1700000000 100001 big
";

fn text(bytes: &[u8]) -> String {
    describe(bytes, &Limits::default()).unwrap()
}

fn error(bytes: &[u8]) -> String {
    let error = describe(bytes, &Limits::default()).unwrap_err();
    format!("{error:#}")
}

/// A member and its data.
type Found = (Member, Vec<u8>);

/// All members with their data.
fn members(bytes: &[u8]) -> Result<(Vec<Segment>, Vec<Found>)> {
    let mut found = Vec::new();
    let segments = read_initramfs(bytes, &Limits::default(), &mut |member, data| {
        let mut content = Vec::new();
        data.read_to_end(&mut content)?;
        found.push((member.clone(), content));
        Ok(())
    })?;
    Ok((segments, found))
}

#[test]
fn reads_back_what_was_written() {
    assert_eq!(text(&sample()), SAMPLE_TEXT);
    let (_, found) = members(&sample()).unwrap();
    let inodes: Vec<u32> = found.iter().map(|(member, _)| member.ino).collect();
    assert_eq!(inodes, [1, 2, 3, 4, 5]);
    assert_eq!(found[2].1, b"some text\n");
    assert_eq!(found[4].1, vec![7; 100_001]);
}

#[test]
fn cpio_and_bsdtar_read_what_we_write() {
    if !have("cpio") || !have("bsdtar") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let names = "etc\netc/empty\netc/text\netc/link\nbig\n";
    let list = |tool, arguments: &[&str]| {
        String::from_utf8(run(tool, arguments, directory.path(), &sample())).unwrap()
    };
    assert_eq!(list("cpio", &["-it", "--quiet"]), names);
    assert_eq!(list("bsdtar", &["-tf", "-"]), names);

    list("cpio", &["-im", "--quiet"]);
    let path = |name| directory.path().join(name);
    assert_eq!(fs::read(path("etc/text")).unwrap(), b"some text\n");
    assert_eq!(fs::read_link(path("etc/link")).unwrap(), Path::new("text"));
    assert_eq!(fs::read(path("big")).unwrap(), vec![7; 100_001]);
    let mode = fs::metadata(path("big")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let modified = fs::metadata(path("big")).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_secs(), 1_700_000_000);
}

#[test]
fn we_read_what_cpio_writes() {
    if !have("cpio") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    fs::write(path("a"), "linked").unwrap();
    fs::hard_link(path("a"), path("b")).unwrap();
    fs::hard_link(path("a"), path("c")).unwrap();
    fs::write(path("d"), [0xff; 1000]).unwrap();
    symlink("a/very/long\ntarget", path("e")).unwrap();
    for format in ["newc", "crc"] {
        let archive = run(
            "cpio",
            &["-o", "--quiet", "-H", format],
            directory.path(),
            b"a\nb\nd\ne\nc\n",
        );
        let (segments, found) = members(&archive).unwrap();
        assert_eq!(segments.len(), 1, "{format}");
        let find = |name: &[u8]| {
            let found = found.iter().find(|(member, _)| member.name == name);
            found.unwrap_or_else(|| panic!("{name:?} in {format}"))
        };
        // The data comes with the last name only.
        let (last, data) = find(b"c");
        let mut names = last.same_file.clone();
        names.sort();
        assert_eq!(names, [b"a", b"b"]);
        assert_eq!(data, b"linked");
        assert_eq!(find(b"a").1, b"");
        assert_eq!(find(b"b").1, b"");
        assert_eq!(find(b"d").1, [0xff; 1000]);
        assert!(find(b"e").0.is_symlink());
        assert_eq!(find(b"e").1, b"a/very/long\ntarget");
    }
    // One byte of the data changed: seen in the one format, not in the other.
    let mut archive = run(
        "cpio",
        &["-o", "--quiet", "-H", "crc"],
        directory.path(),
        b"d\n",
    );
    let at = archive.iter().position(|byte| *byte == 0xff).unwrap();
    archive[at] = 0xfe;
    assert!(
        error(&archive)
            .ends_with("reading d: the data's checksum is 0003e417, and should be 0003e418")
    );
}

#[test]
fn first_member_of_a_live_root_starts_at_124() {
    let head = header(1, &Entry::file("root.squashfs", 0o644), 0xffff_ffff).unwrap();
    assert_eq!(head.len(), 124);
    let first = read_first_header(&Content::bytes(head)).unwrap();
    assert_eq!(first.name, b"root.squashfs");
    assert_eq!(first.size, 0xffff_ffff);
    assert_eq!(first.data_offset, 124);

    let error = header(1, &Entry::file("root.squashfs", 0o644), 1 << 32).unwrap_err();
    assert_eq!(
        format!("{error}"),
        "root.squashfs has 4294967296 bytes, and a cpio member has at most 4294967295"
    );
    assert!(read_first_header(&Content::bytes(*b"070701")).is_err());
}

#[test]
fn names_and_sizes_are_checked_when_writing() {
    let name = |length| "n".repeat(length);
    assert!(header(1, &Entry::file(&name(4095), 0), 0).is_ok());
    assert!(header(1, &Entry::file(&name(4096), 0), 0).is_err());
    assert!(header(1, &Entry::file("", 0), 0).is_err());
    assert!(header(1, &Entry::file("a\0b", 0), 0).is_err());
    let mut writer = Writer::new(Vec::new());
    assert!(
        writer
            .member(&Entry::file("short", 0), 3, &mut &b"ab"[..])
            .is_err()
    );
    let mut writer = Writer::after(u32::MAX, Vec::new());
    assert!(writer.directory("one too many", 0).is_err());
    assert_eq!([0, 1, 2, 3, 4, u64::MAX].map(padding), [0, 3, 2, 1, 0, 1]);
}

const COMPRESSORS: &[(Compression, &str, &[&str])] = &[
    (Compression::Gzip, "gzip", &["-9n"]),
    (Compression::Bzip2, "bzip2", &[]),
    (Compression::Xz, "xz", &["--check=crc32"]),
    (Compression::Lzma, "xz", &["--format=lzma"]),
    (Compression::Lz4Legacy, "lz4", &["-l"]),
    (Compression::Lz4, "lz4", &[]),
    (
        Compression::Lz4,
        "lz4",
        &["-BD", "-B4", "-BX", "--content-size", "--no-frame-crc"],
    ),
    (Compression::Zstd, "zstd", &["-19"]),
];

fn compress(archive: &[u8], tool: &str, arguments: &[&str]) -> Vec<u8> {
    let arguments = [&["-c"], arguments].concat();
    run(tool, &arguments, Path::new("/"), archive)
}

#[test]
fn segments_of_every_compression_follow_each_other() {
    let inner: String = SAMPLE_TEXT
        .lines()
        .skip(1)
        .flat_map(|line| [line, "\n"])
        .collect();
    for (compression, tool, arguments) in COMPRESSORS {
        if !have(tool) {
            continue;
        }
        let compressed = compress(&sample(), tool, arguments);
        assert_eq!(
            text(&compressed),
            format!("{compression} at 0\n{inner}"),
            "{tool} {arguments:?}"
        );

        // Early microcode first, then padding, two segments without a gap, and an uncompressed one.
        // What is compressed holds two archives itself.
        let twice = [sample(), vec![0; 512], sample()].concat();
        let compressed = compress(&twice, tool, arguments);
        let mut whole = sample();
        whole.resize(whole.len() + 700, 0);
        let mut expected = vec![(0, Compression::None, 5)];
        for _ in 0..2 {
            expected.push((whole.len(), *compression, 10));
            whole.extend(&compressed);
        }
        whole.resize(whole.len().next_multiple_of(4), 0);
        expected.push((whole.len(), Compression::None, 5));
        whole.extend(sample());
        whole.resize(whole.len() + 5, 0);
        let segments = read_initramfs(&whole[..], &Limits::default(), &mut |_, _| Ok(())).unwrap();
        let got: Vec<_> = segments
            .iter()
            .map(|segment| {
                let offset = usize::try_from(segment.offset).unwrap();
                (offset, segment.compression, segment.members)
            })
            .collect();
        // A legacy stream goes on with the next one's blocks: two of them are one.
        if *compression == Compression::Lz4Legacy {
            let second = expected.remove(2);
            expected[1].2 += second.2;
        }
        assert_eq!(got, expected, "{tool} {arguments:?}");
    }
}

#[test]
fn blocks_larger_than_a_buffer() {
    if !have("lz4") {
        return;
    }
    let mut writer = Writer::new(Vec::new());
    let noise: Vec<u8> = (0..20_000_000u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    writer.file("noise", 0o644, &noise).unwrap();
    let archive = writer.finish().unwrap();
    for arguments in [&["-l"][..], &["-B7"], &["-BD"]] {
        let compressed = compress(&archive, "lz4", arguments);
        let (_, found) = members(&compressed).unwrap();
        assert!(found[0].1 == noise, "{arguments:?}");
    }
}

#[test]
fn input_cut_short_is_refused_wherever_it_is_cut() {
    let mut writer = Writer::new(Vec::new());
    writer.directory("a", 0o755).unwrap();
    writer.file("a/b", 0o644, b"12345").unwrap();
    let archive = writer.finish().unwrap();
    let mut cases = vec![("uncompressed", archive.clone())];
    for (_, tool, arguments) in COMPRESSORS {
        if have(tool) {
            cases.push((tool, compress(&archive, tool, arguments)));
        }
    }
    for (tool, bytes) in cases {
        text(&bytes);
        for length in 0..bytes.len() {
            let result = describe(&bytes[..length], &Limits::default());
            assert!(
                result.is_err(),
                "{tool} cut to {length} of {} bytes",
                bytes.len()
            );
        }
    }
}

#[test]
fn damage_is_refused_or_harmless() {
    // Every byte of each stream changed: no panic, and compressed data never comes out changed.
    let archive = {
        let mut writer = Writer::new(Vec::new());
        writer.file("a", 0o644, b"12345").unwrap();
        writer.finish().unwrap()
    };
    let whole = members(&archive).unwrap().1;
    for (compression, tool, arguments) in COMPRESSORS {
        if !have(tool) {
            continue;
        }
        let good = compress(&archive, tool, arguments);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            let result = members(&bad);
            let checked = matches!(
                compression,
                Compression::Gzip | Compression::Bzip2 | Compression::Xz | Compression::Zstd
            );
            if checked && let Ok((_, found)) = result {
                assert_eq!(found, whole, "{tool}: byte {at}");
            }
        }
    }
}

#[test]
fn errors_name_the_place() {
    let mut odd = vec![0; 2];
    odd.extend(sample());
    let odc = [b"070707".to_vec(), vec![b'0'; 200]].concat();
    let mut twice = sample();
    let second = twice.len();
    twice.extend(sample());
    twice[second + 6] = b'g';
    let cases = [
        (vec![], "an initramfs without any archive".to_owned()),
        (vec![0; 4096], "an initramfs without any archive".to_owned()),
        (odd, "an archive begins at byte 2; the kernel finds it at multiples of 4 only".to_owned()),
        (
            odc,
            "reading the uncompressed segment at byte 0: reading the header at byte 0: \
             magic \"070707\" is not that of the newc format, the only one the kernel takes"
                .to_owned(),
        ),
        (
            [vec![0; 8], b"\x89LZO\0\r\n".to_vec()].concat(),
            "byte 8 begins something that is a segment compressed with lzo, which is not supported (894c5a4f000d)".to_owned(),
        ),
        (
            b"hsqs1234".to_vec(),
            "byte 0 begins something that is a squashfs, not an archive (687371733132)".to_owned(),
        ),
        (
            twice,
            format!(
                "reading the uncompressed segment at byte {second}: reading the header at byte {second}: \
                 inode number is not a hexadecimal number"
            ),
        ),
        (
            sample()[..3000].to_vec(),
            "reading the uncompressed segment at byte 0: reading big: the data ends 97609 bytes too early".to_owned(),
        ),
        (
            sample()[..240].to_vec(),
            "reading the uncompressed segment at byte 0: reading the header at byte 236: \
             the archive ends within it"
                .to_owned(),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(error(&bytes), expected);
    }
}

#[test]
fn names_may_be_padded_and_must_end() {
    // dracut-cpio fills the name up so that the data begins at a multiple of the block size.
    let mut archive = header(1, &Entry::file("padded", 0o644), 3).unwrap();
    archive[0x5e..0x66].copy_from_slice(b"0000000A");
    archive.truncate(110);
    archive.extend(b"padded\0\0\0\0abc\0");
    archive.extend(Writer::new(Vec::new()).finish().unwrap());
    assert_eq!(members(&archive).unwrap().1[0].1, b"abc");
    archive[110 + 8] = b'x';
    assert!(members(&archive).is_ok());
    archive[0x5e..0x66].copy_from_slice(b"00000006");
    assert!(error(&archive).ends_with("the name does not end in a NUL"));
    archive[0x5e..0x66].copy_from_slice(b"00001001");
    assert!(error(&archive).ends_with("a name of 4097 bytes, where 1 to 4096 are taken"));
    archive[0x5e..0x66].copy_from_slice(b"00000000");
    assert!(error(&archive).ends_with("a name of 0 bytes, where 1 to 4096 are taken"));
}

#[test]
fn limits_hold() {
    let read = |bytes: &[u8], members, expanded_bytes| {
        let limits = Limits {
            members,
            expanded_bytes,
        };
        describe(bytes, &limits).map_err(|error| error.root_cause().to_string())
    };
    let archive = sample();
    assert!(read(&archive, 5, archive.len() as u64).is_ok());
    let too_many = Err("more members than an initramfs may have".to_owned());
    assert_eq!(read(&archive, 4, u64::MAX), too_many);
    let too_much = Err("more data than an initramfs may expand to".to_owned());
    assert_eq!(read(&archive, 5, 100_000), too_much);
    if have("gzip") {
        let zeros = [archive, vec![0; 1 << 20]].concat();
        let bomb = compress(&zeros, "gzip", &["-9n"]);
        assert_eq!(read(&bomb, 5, 1 << 20), too_much);
    }
    let segments = sample().repeat(257);
    assert!(error(&segments).starts_with("an initramfs of more than 256 segments"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_members_come_back(
        files in prop::collection::vec(("[a-zA-Z0-9/._-]{1,40}", prop::collection::vec(any::<u8>(), 0..50), any::<u16>()), 0..8),
        gap in 0usize..9,
    ) {
        let mut writer = Writer::new(Vec::new());
        for (name, data, permissions) in &files {
            writer.file(name, *permissions, data).unwrap();
        }
        let mut archive = writer.finish().unwrap();
        archive.resize(archive.len() + gap, 0);
        let (_, found) = members(&archive).unwrap();
        prop_assert_eq!(found.len(), files.len());
        for ((name, data, permissions), (member, content)) in files.iter().zip(&found) {
            prop_assert_eq!(name.as_bytes(), &member.name[..]);
            prop_assert_eq!(data, content);
            prop_assert_eq!(u32::from(permissions & 0o7777) | 0o100_000, member.mode);
        }
    }

    #[test]
    fn nonsense_never_panics(
        start in 0usize..9,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        const STARTS: [&[u8]; 9] = [
            b"", b"070701", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0\0\x01", b"\x5d\0\0\x80\0",
            b"\x02\x21\x4c\x18", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd",
        ];
        let _ = members(&[STARTS[start], &bytes].concat());
    }
}
