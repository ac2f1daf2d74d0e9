//! GVariant serialisation, as far as ostree's objects need it.
//!
//! ```text
//! tuple   members at their alignment | ends of all variable-size members but the last, reversed
//! array   elements at their alignment | end of every element          (variable-size elements)
//! variant value | 0 | type string
//! string  bytes | 0
//! ```
//!
//! Ends are little-endian, as wide (1, 2, 4 or 8 bytes) as the size of the whole container with
//! them needs. Numbers are stored as given: ostree swaps most of its own to big-endian first.
//!
//! Left out on purpose: fixed-size tuples and arrays, `maybe`, and reading what is not in normal
//! form, which GLib would replace by defaults and we refuse.
//!
//! Format: GVariant specification 0.1 (docs.gtk.org/glib/gvariant-format.html). Checked against the
//! crate `gvariant`.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

/// Alignment of strings, byte arrays and whatever is made of them alone.
pub(super) const BYTES: usize = 1;

/// Alignment of `u`.
pub(super) const U32: usize = 4;

/// Alignment of `t` and of a variant.
pub(super) const U64: usize = 8;

/// Writes a tuple or a dictionary entry.
#[derive(Debug, Default)]
pub(super) struct Tuple {
    body: Vec<u8>,
    /// Ends of the variable-size members so far.
    ends: Vec<usize>,
    /// Whether the last member has a variable size.
    open: bool,
}

impl Tuple {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a number given in its byte order.
    pub(super) fn fixed<const N: usize>(mut self, bytes: [u8; N]) -> Self {
        align(&mut self.body, N);
        self.body.extend_from_slice(&bytes);
        self.open = false;
        self
    }

    /// Adds a serialised value whose type has this alignment and no fixed size.
    pub(super) fn variable(mut self, bytes: &[u8], alignment: usize) -> Self {
        align(&mut self.body, alignment);
        self.body.extend_from_slice(bytes);
        self.ends.push(self.body.len());
        self.open = true;
        self
    }

    /// Adds a string; it must not contain NUL.
    pub(super) fn string(self, text: &str) -> Self {
        self.variable(&string(text.as_bytes()), BYTES)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.open {
            self.ends.pop();
        }
        self.ends.reverse();
        append_ends(self.body, &self.ends)
    }
}

/// Writes an array whose elements have no fixed size.
#[derive(Debug)]
pub(super) struct Array {
    body: Vec<u8>,
    ends: Vec<usize>,
    alignment: usize,
}

impl Array {
    /// An empty array; `alignment` is that of its elements.
    pub(super) fn new(alignment: usize) -> Self {
        Self {
            body: Vec::new(),
            ends: Vec::new(),
            alignment,
        }
    }

    pub(super) fn push(&mut self, element: &[u8]) {
        align(&mut self.body, self.alignment);
        self.body.extend_from_slice(element);
        self.ends.push(self.body.len());
    }

    pub(super) fn finish(self) -> Vec<u8> {
        append_ends(self.body, &self.ends)
    }
}

/// A string or byte string: the bytes and a NUL.
pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\0"].concat()
}

/// A variant holding a serialised value of the type named.
pub(super) fn variant(value: &[u8], type_string: &str) -> Vec<u8> {
    [value, b"\0", type_string.as_bytes()].concat()
}

fn align(body: &mut Vec<u8>, alignment: usize) {
    body.resize(body.len().next_multiple_of(alignment), 0);
}

fn append_ends(mut body: Vec<u8>, ends: &[usize]) -> Vec<u8> {
    let width = [1, 2, 4]
        .into_iter()
        .find(|width| body.len() + ends.len() * width < 1 << (8 * width))
        .unwrap_or(8);
    body.reserve(ends.len() * width);
    for end in ends {
        body.extend_from_slice(&(*end as u64).to_le_bytes()[..width]);
    }
    body
}

/// A member of a tuple to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Member {
    /// A number of this size and alignment.
    Fixed(usize),
    /// Something without fixed size, with this alignment.
    Variable(usize),
}

/// Where the members of a serialised tuple lie.
pub(super) fn members<const N: usize>(
    bytes: &[u8],
    layout: [Member; N],
) -> Result<[Range<usize>; N]> {
    let framed = layout[..N - 1]
        .iter()
        .filter(|member| matches!(member, Member::Variable(_)))
        .count();
    let width = width_of(bytes.len());
    let limit = bytes
        .len()
        .checked_sub(framed * width)
        .context("a tuple is shorter than its framing")?;
    let mut ranges = [const { 0..0 }; N];
    let mut position = 0;
    let mut ends_read = 0;
    for (index, member) in layout.into_iter().enumerate() {
        let (start, end) = match member {
            Member::Fixed(size) => {
                let start = usize::next_multiple_of(position, size);
                (start, start + size)
            }
            Member::Variable(alignment) => {
                let start = usize::next_multiple_of(position, alignment);
                let end = if index == N - 1 {
                    limit
                } else {
                    ends_read += 1;
                    end_at(bytes, bytes.len() - ends_read * width, width)?
                };
                (start, end)
            }
        };
        ensure!(
            start <= end && end <= limit,
            "a tuple's members overlap or pass its end"
        );
        ranges[index] = start..end;
        position = end;
    }
    ensure!(
        position == limit,
        "a tuple has bytes that belong to no member"
    );
    Ok(ranges)
}

/// The elements of a serialised array with elements of alignment 1 and no fixed size.
pub(super) fn elements(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let width = width_of(bytes.len());
    let last = bytes
        .len()
        .checked_sub(width)
        .context("an array is shorter than its framing")?;
    let body = end_at(bytes, last, width)?;
    let framing = bytes
        .len()
        .checked_sub(body)
        .filter(|length| *length > 0 && length % width == 0)
        .context("an array's framing is not a whole number of offsets")?;
    // Of no more bytes than the object has, which has a limit.
    let mut elements = Vec::with_capacity(framing / width);
    let mut start = 0;
    for at in (body..bytes.len()).step_by(width) {
        let end = end_at(bytes, at, width)?;
        ensure!(
            start <= end && end <= body,
            "an array's elements overlap or pass its end"
        );
        elements.push(&bytes[start..end]);
        start = end;
    }
    Ok(elements)
}

/// The text of a serialised string.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    let (last, text) = bytes.split_last().context("a string lacks its NUL")?;
    ensure!(
        *last == 0 && !text.contains(&0),
        "a string does not end at its first NUL"
    );
    std::str::from_utf8(text).context("a string is not UTF-8")
}

fn width_of(size: usize) -> usize {
    match size {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn end_at(bytes: &[u8], at: usize, width: usize) -> Result<usize> {
    let Some(stored) = bytes.get(at..at + width) else {
        bail!("an offset lies outside its container");
    };
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(stored);
    usize::try_from(u64::from_le_bytes(wide)).context("an offset does not fit the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each width is used up to the largest container it can describe, ends included.
    #[test]
    fn ends_are_as_narrow_as_the_whole_container_allows() {
        for (element, width) in [(253, 1), (254, 1), (255, 2), (0xfffd, 2), (0xfffe, 4)] {
            let mut array = Array::new(BYTES);
            array.push(&vec![7; element]);
            let bytes = array.finish();
            assert_eq!(bytes.len(), element + width, "{element}");
            assert_eq!(elements(&bytes).unwrap(), [&vec![7; element][..]]);
        }
    }

    #[test]
    fn members_come_back() {
        let bytes = Tuple::new()
            .string("ab")
            .fixed(7u64.to_le_bytes())
            .variable(b"xyz", BYTES)
            .finish();
        let layout = [
            Member::Variable(BYTES),
            Member::Fixed(U64),
            Member::Variable(BYTES),
        ];
        let [name, number, rest] = members(&bytes, layout).unwrap();
        assert_eq!(text(&bytes[name]).unwrap(), "ab");
        assert_eq!(number, 8..16);
        assert_eq!(&bytes[rest], b"xyz");
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        let layout = [
            Member::Variable(BYTES),
            Member::Fixed(U32),
            Member::Variable(BYTES),
        ];
        for bytes in [
            &b""[..],
            b"\x01",
            b"\xff\xff\xff",
            b"abcdefgh\x09",
            b"abcdefgh\x05\xff\xff\xff",
        ] {
            assert!(members(bytes, layout).is_err(), "{bytes:?}");
        }
        for bytes in [&b"\x01"[..], b"ab\x05", b"ab\x02\x01\x02", b"a\x01\x00"] {
            assert!(elements(bytes).is_err(), "{bytes:?}");
        }
        for bytes in [&b""[..], b"a", b"a\0b\0", b"\xff\0"] {
            assert!(text(bytes).is_err(), "{bytes:?}");
        }
    }
}
