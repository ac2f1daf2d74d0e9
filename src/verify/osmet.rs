//! Disk images that a live system rebuilds (`*.osmet`), against the checksum that is in them.
//!
//! Format: coreos-installer `src/osmet/{mod,file,unpacker}.rs`, version 1; see `media::disk::osmet`, which
//! writes it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use xz2::bufread::XzDecoder;

use super::objects::Repository;
use crate::ostree::Checksum;
use crate::progress::Progress;
use crate::tree::Content;

const MAGIC: [u8; 8] = *b"OSMET\0\0\0";
const VERSION: u64 = 1;
/// Longest name of an operating system, in bytes.
const TEXT_MAX: u64 = 4096;
/// Most partitions, and most mappings of all.
const PARTITIONS_MAX: u64 = 128;
const MAPPINGS_MAX: u64 = 1 << 24;
/// Longest disk in bytes, some ten times the largest that is published: what a crafted file can cost in time.
const DISK_MAX_BYTES: u64 = 256 << 30;
/// Bytes that are put together at a time.
const CHUNK: usize = 256 << 10;

/// A piece of the disk that an object has.
struct Mapping {
    /// On the disk, in bytes.
    start: u64,
    len: u64,
    object: Checksum,
    /// In the object, in bytes.
    logical: u64,
}

/// What the beginning of an osmet file says.
struct Head {
    mappings: Vec<Mapping>,
    checksum: [u8; 32],
    disk_bytes: u64,
}

/// Puts the disk together of `osmet`, and compares its checksum. What was compared, for people.
pub(super) fn compare<R: Repository>(
    osmet: &Content,
    tree: &R,
    files: &BTreeMap<Checksum, R::Entry>,
    progress: &dyn Progress,
) -> Result<String> {
    let mut input = BufReader::with_capacity(CHUNK, osmet.reader());
    let head = head(&mut input)?;
    let mut rest = XzDecoder::new(input);
    let mut hash = Sha256::new();
    let mut at = 0;
    for mapping in &head.mappings {
        let gap = mapping.start.checked_sub(at);
        let gap = gap.context("its mappings overlap")?;
        take(&mut rest, gap, &mut hash, progress).context("unpacking what no object has")?;
        let entry = files.get(&mapping.object);
        let entry =
            entry.with_context(|| format!("object {}.file is not there", mapping.object))?;
        let mut object = tree.open(entry)?;
        io::copy(&mut object.by_ref().take(mapping.logical), &mut io::sink())?;
        // Behind the object's end are zeros.
        let mut object = object.chain(io::repeat(0));
        take(&mut object, mapping.len, &mut hash, progress)
            .with_context(|| format!("reading object {}.file", mapping.object))?;
        at = mapping.start + mapping.len;
    }
    let gap = head.disk_bytes.checked_sub(at);
    let gap = gap.context("its mappings go past the end of the disk")?;
    take(&mut rest, gap, &mut hash, progress).context("unpacking what no object has")?;
    ensure!(
        rest.read(&mut [0])? == 0,
        "it has more than its disk has room for"
    );
    ensure!(
        hash.finalize()[..] == head.checksum,
        "the disk that it describes has another checksum than it says"
    );
    Ok(format!("{} MiB, put together", head.disk_bytes >> 20))
}

/// Feeds the next `count` bytes of `from` to the hash.
fn take(
    from: &mut dyn Read,
    mut count: u64,
    hash: &mut Sha256,
    progress: &dyn Progress,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    while count > 0 {
        let most = count.min(CHUNK as u64) as usize;
        from.read_exact(&mut buffer[..most])?;
        hash.update(&buffer[..most]);
        progress.advance(most as u64);
        count -= most as u64;
    }
    Ok(())
}

fn head(input: &mut impl BufRead) -> Result<Head> {
    ensure!(bytes(input)? == MAGIC, "it does not begin as an osmet file");
    let version = varint(input)?;
    ensure!(
        version == VERSION,
        "it has version {version}, and {VERSION} is known"
    );
    text(input)?;
    varint(input)?;
    text(input)?;
    text(input)?;
    let partitions = varint(input)?;
    ensure!(
        partitions <= PARTITIONS_MAX,
        "it has {partitions} partitions"
    );
    let mut mappings = Vec::new();
    let mut partitions_end = 0;
    for _ in 0..partitions {
        let (start, end) = (varint(input)?, varint(input)?);
        partitions_end = partitions_end.max(end);
        let count = varint(input)?;
        ensure!(
            count <= MAPPINGS_MAX && mappings.len() as u64 + count <= MAPPINGS_MAX,
            "it has more than {MAPPINGS_MAX} mappings"
        );
        for _ in 0..count {
            let (logical, physical, len) = (varint(input)?, varint(input)?, varint(input)?);
            let object = Checksum::from(bytes::<32>(input)?);
            let on_disk = start.checked_add(physical);
            let on_disk = on_disk.filter(|at| at.checked_add(len).is_some_and(|to| to <= end));
            mappings.push(Mapping {
                start: on_disk.context("a mapping goes past its partition")?,
                len,
                object,
                logical,
            });
        }
    }
    let head = Head {
        mappings,
        checksum: bytes(input)?,
        disk_bytes: varint(input)?,
    };
    ensure!(
        partitions_end <= head.disk_bytes,
        "its partitions go past the end of the disk"
    );
    ensure!(
        head.disk_bytes <= DISK_MAX_BYTES,
        "it describes a disk of {} bytes, and {DISK_MAX_BYTES} are taken at most",
        head.disk_bytes
    );
    Ok(head)
}

fn bytes<const N: usize>(input: &mut impl BufRead) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// bincode's variable-length integers.
fn varint(input: &mut impl BufRead) -> Result<u64> {
    let [first] = bytes(input)?;
    Ok(match first {
        ..=250 => first.into(),
        251 => u16::from_le_bytes(bytes(input)?).into(),
        252 => u32::from_le_bytes(bytes(input)?).into(),
        253 => u64::from_le_bytes(bytes(input)?),
        254.. => bail!("{first} does not begin a number"),
    })
}

/// Passes over a text.
fn text(input: &mut impl BufRead) -> Result<()> {
    let len = varint(input)?;
    ensure!(len <= TEXT_MAX, "it has a name of {len} bytes");
    let passed = io::copy(&mut input.take(len), &mut io::sink())?;
    ensure!(passed == len, "it ends within its head");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::objects::tests::{name_of, repository};
    use super::super::objects::{files, list};
    use super::*;
    use crate::progress::Silent;
    use crate::tree::Node;

    const OBJECT: &[u8] = b"what an object has";
    /// Where it lies on the disk, and how much of it.
    const AT: usize = 1000;
    const LEN: usize = 32;

    fn disk() -> Vec<u8> {
        let mut disk: Vec<u8> = (0..4096).map(|at| (at / 16) as u8).collect();
        disk[AT..AT + LEN].fill(0);
        disk[AT..AT + OBJECT.len() - 3].copy_from_slice(&OBJECT[3..]);
        disk
    }

    /// The osmet file of the disk. `mapped` is how much of the object it says is mapped.
    fn osmet(mapped: u64) -> Vec<u8> {
        let disk = disk();
        let mut file = MAGIC.to_vec();
        file.push(VERSION as u8);
        for text in ["a program", "", "an os", "x86_64"] {
            // The second is the size of a sector.
            file.push(text.len() as u8);
            file.extend_from_slice(text.as_bytes());
        }
        // One partition, in all of the disk, with one mapping.
        file.extend_from_slice(&[1, 0, 251, 0, 16, 1, 3, 251]);
        file.extend_from_slice(&(AT as u16).to_le_bytes());
        file.push(mapped as u8);
        let checksum = name_of(OBJECT);
        file.extend_from_slice(&hex::decode(&checksum[..64]).unwrap());
        file.extend_from_slice(&Sha256::digest(&disk));
        file.extend_from_slice(&[251, 0, 16]);
        let mut xz = xz2::write::XzEncoder::new(file, 0);
        xz.write_all(&disk[..AT]).unwrap();
        xz.write_all(&disk[AT + LEN..]).unwrap();
        xz.finish().unwrap()
    }

    fn compared(osmet: Vec<u8>) -> Result<String> {
        let object = Node::File(Content::bytes(OBJECT.to_vec()));
        let reader = repository(&[(name_of(OBJECT), object)]);
        let files = files(&list(&reader).unwrap());
        compare(&Content::bytes(osmet), &reader, &files, &Silent)
    }

    #[test]
    fn a_disk_is_put_together_of_objects_and_the_rest() {
        assert_eq!(compared(osmet(LEN as u64)).unwrap(), "0 MiB, put together");
        assert!(compared(osmet(LEN as u64 - 1)).is_err());
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let whole = osmet(LEN as u64);
        // Texts are not looked at, nor is the size of a sector.
        let texts = 9..MAGIC.len() + 1 + 10 + 1 + 6 + 7;
        for at in (0..whole.len()).filter(|at| !texts.contains(at)) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(compared(damaged).is_err(), "byte {at}");
        }
        for len in 0..whole.len() {
            assert!(compared(whole[..len].to_vec()).is_err(), "{len} bytes");
        }
    }
}
