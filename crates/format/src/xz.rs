//! xz streams of data that is mostly zeros.
//!
//! ```text
//! stream header | one block: LZMA2 chunks, padding, CRC-32 | index | stream footer
//! ```
//!
//! liblzma takes seconds for a GiB of zeros. Chunks of LZMA2 that begin by resetting the dictionary
//! don't depend on what was before them, so long runs of zeros are the same chunks again and again,
//! compressed once. Everything else is liblzma's.
//!
//! Left out on purpose: reading, for which every xz will do.
//!
//! Layout: "The .xz File Format", 1.2.1. Checked by: `xz`.

use std::io::{self, Write};
use std::sync::OnceLock;

use crc32fast::Hasher;
use xz2::stream::{Check, Filters, LzmaOptions, Stream};
use xz2::write::XzEncoder;

/// Runs of zeros from which on ready-made chunks are used, and the length of a larger piece.
const PIECE: u64 = 1 << 20;
const LARGE_PIECE: u64 = 32 << 20;

/// Preset of liblzma, and how the format names its dictionary of 256 KiB: `2 << (12 / 2 + 11)`. What is
/// packed here is metadata of file systems; the next preset takes 1.4 times as long for a tenth less.
const PRESET: u32 = 0;
const DICTIONARY: u8 = 12;

const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";

/// Stream flags: the check is CRC-32.
const FLAGS: [u8; 2] = [0, 1];

/// Bytes of a stream's header, and of its footer.
const STREAM_HEADER: usize = 12;

/// Bytes of the block's header and of its check.
const BLOCK_HEADER: u64 = 12;
const CHECK: u64 = 4;

/// Most zeros hashed at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A stream being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// The run of data that is being compressed, if any.
    data: Option<Run>,
    /// Zeros that were announced and not written so far.
    zeros: u64,
    check: Hasher,
    compressed: u64,
    uncompressed: u64,
}

/// Chunks for a piece and for a large piece of zeros, the same for all streams.
static CHUNKS: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
static LARGE_CHUNKS: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();

struct Run(XzEncoder<Vec<u8>>);

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Run")
    }
}

impl<W: Write> Writer<W> {
    /// Begins a stream.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&HEADER_MAGIC)?;
        out.write_all(&sealed(FLAGS.to_vec()))?;
        // Size in words less one, flags for one filter, LZMA2, one byte of properties, padding.
        let header = vec![2, 0, 0x21, 1, DICTIONARY, 0, 0, 0];
        out.write_all(&sealed(header))?;
        Ok(Self {
            out,
            data: None,
            zeros: 0,
            check: Hasher::new(),
            compressed: 0,
            uncompressed: 0,
        })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.put_zeros()?;
        self.check.update(bytes);
        self.uncompressed += bytes.len() as u64;
        self.run()?.0.write_all(bytes)
    }

    /// Adds `count` zeros.
    pub fn zeros(&mut self, count: u64) {
        self.zeros += count;
    }

    /// Ends the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.put_zeros()?;
        self.end_run()?;
        self.put(&[0])?;
        let unpadded = BLOCK_HEADER + self.compressed + CHECK;
        self.pad(self.compressed)?;
        let check = self.check.clone().finalize();
        self.out.write_all(&check.to_le_bytes())?;

        let mut index = vec![0, 1];
        varint(&mut index, unpadded);
        varint(&mut index, self.uncompressed);
        index.resize(index.len().next_multiple_of(4), 0);
        let index = sealed(index);
        self.out.write_all(&index)?;

        let mut footer = (index.len() as u32 / 4 - 1).to_le_bytes().to_vec();
        footer.extend(FLAGS);
        let sum = crc32fast::hash(&footer);
        self.out.write_all(&sum.to_le_bytes())?;
        self.out.write_all(&footer)?;
        self.out.write_all(&FOOTER_MAGIC)?;
        Ok(self.out)
    }

    /// Writes the zeros that were announced: whole pieces ready-made, the rest as data.
    fn put_zeros(&mut self) -> io::Result<()> {
        let mut left = std::mem::take(&mut self.zeros);
        self.uncompressed += left;
        let mut hashed = left;
        while hashed > 0 {
            let count = hashed.min(ZEROS.len() as u64);
            self.check.update(&ZEROS[..count as usize]);
            hashed -= count;
        }
        for (piece, ready_made) in [(LARGE_PIECE, &LARGE_CHUNKS), (PIECE, &CHUNKS)] {
            if left < piece {
                continue;
            }
            self.end_run()?;
            let chunks = ready_made
                .get_or_init(|| zero_chunks(piece).map_err(|error| error.to_string()))
                .as_ref()
                .map_err(|error| io::Error::other(error.as_str()))?;
            for _ in 0..left / piece {
                self.put(chunks)?;
            }
            left %= piece;
        }
        while left > 0 {
            let count = left.min(ZEROS.len() as u64);
            self.run()?.0.write_all(&ZEROS[..count as usize])?;
            left -= count;
        }
        Ok(())
    }

    fn run(&mut self) -> io::Result<&mut Run> {
        if self.data.is_none() {
            self.data = Some(Run(encoder()?));
        }
        self.data
            .as_mut()
            .ok_or_else(|| io::ErrorKind::Other.into())
    }

    fn end_run(&mut self) -> io::Result<()> {
        match self.data.take() {
            Some(run) => self.put(chunks(&run.0.finish()?)?),
            None => Ok(()),
        }
    }

    fn put(&mut self, chunks: &[u8]) -> io::Result<()> {
        self.compressed += chunks.len() as u64;
        self.out.write_all(chunks)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let count = (length.wrapping_neg() % 4) as usize;
        self.out.write_all(&[0; 4][..count])
    }
}

/// An encoder whose first chunk resets the dictionary: of a whole stream, as the crate has no other.
fn encoder() -> io::Result<XzEncoder<Vec<u8>>> {
    let options = LzmaOptions::new_preset(PRESET)?;
    let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::None)?;
    Ok(XzEncoder::new_stream(Vec::new(), stream))
}

/// The chunks in a stream of one block and no check, without the byte that ends them.
fn chunks(stream: &[u8]) -> io::Result<&[u8]> {
    let found = (|| {
        let block = stream.get(STREAM_HEADER..)?;
        let header = (usize::from(*block.first()?) + 1) * 4;
        let footer = stream.len().checked_sub(STREAM_HEADER)?;
        let words = stream.get(footer + 4..footer + 8)?;
        let words = u32::from_le_bytes(words.try_into().ok()?) as usize + 1;
        let index = stream.get(footer.checked_sub(words * 4)?..footer)?;
        // An indicator, one record, and its first number: the block without padding.
        let [0, 1, size @ ..] = index else {
            return None;
        };
        let mut length = 0;
        for (nth, byte) in size.iter().take(9).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * nth);
            if byte & 0x80 == 0 {
                break;
            }
        }
        match block.get(header..length)? {
            [chunks @ .., 0] => Some(chunks),
            _ => None,
        }
    })();
    found.ok_or_else(|| io::Error::other("liblzma did not write one block"))
}

fn zero_chunks(count: u64) -> io::Result<Vec<u8>> {
    let mut encoder = encoder()?;
    for _ in 0..count / ZEROS.len() as u64 {
        encoder.write_all(&ZEROS)?;
    }
    Ok(chunks(&encoder.finish()?)?.to_vec())
}

/// Bytes with their CRC-32 behind them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// Seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    /// Data with runs of zeros of these lengths behind pieces of text.
    fn stream(runs: &[u64]) -> (Vec<u8>, Vec<u8>) {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let mut plain = Vec::new();
        for (number, zeros) in runs.iter().enumerate() {
            let text = format!("run {number} ").repeat(number * 1000);
            writer.write(text.as_bytes()).unwrap();
            writer.zeros(zeros / 2);
            writer.zeros(zeros - zeros / 2);
            plain.extend_from_slice(text.as_bytes());
            plain.resize(plain.len() + *zeros as usize, 0);
        }
        (writer.finish().unwrap(), plain)
    }

    const CASES: [&[u64]; 6] = [
        &[],
        &[1],
        &[0, 0],
        &[PIECE, PIECE - 1, 2 * PIECE + 7],
        &[LARGE_PIECE * 2 + PIECE * 3 + 5, 0, LARGE_PIECE],
        &[5, LARGE_PIECE - 1, 0],
    ];

    #[test]
    fn liblzma_reads_what_was_written() {
        for runs in CASES {
            let (packed, plain) = stream(runs);
            let mut found = Vec::new();
            xz2::read::XzDecoder::new(&packed[..])
                .read_to_end(&mut found)
                .unwrap();
            assert!(found == plain, "{runs:?}");
            assert_eq!(packed.len() % 4, 0);
        }
    }

    #[test]
    fn xz_finds_nothing_wrong() {
        for runs in CASES {
            let (packed, _) = stream(runs);
            let child = Command::new("xz")
                .args(["--test", "--verbose"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "xz is missing");
                return println!("skipped: needs xz");
            };
            child.stdin.take().unwrap().write_all(&packed).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{runs:?} {output:?}");
        }
    }

    #[test]
    fn zeros_cost_next_to_nothing() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.zeros(1 << 30);
        assert!(writer.finish().unwrap().len() < 256 << 10);
    }
}
