//! Which part of a file a request asks for.
//!
//! RFC 9110 §13.1 (conditions), §14 (ranges). Only one range of bytes is understood.

use axum::http::{HeaderMap, Method, header};

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// The bytes from the first up to but without the second offset; never empty.
    Bytes(u64, u64),
    /// It has no such bytes.
    None,
    /// The client has it already.
    Unchanged,
}

impl Part {
    /// What a request with these headers asks of a file of `length` bytes called `etag`.
    pub(super) fn of(method: &Method, headers: &HeaderMap, length: u64, etag: &str) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(header::IF_NONE_MATCH).is_some_and(|list| names(list, etag)) {
            return Self::Unchanged;
        }
        if method != Method::GET {
            return Self::Whole;
        }
        // A date can't match, as no Last-Modified is ever sent.
        if text(header::IF_RANGE).is_some_and(|known| known.trim() != etag) {
            return Self::Whole;
        }
        let mut ranges = headers.get_all(header::RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) => range
                .to_str()
                .map_or(Self::Whole, |text| Self::parse(text, length)),
            _ => Self::Whole,
        }
    }

    /// What the value of a Range header asks for. What isn't understood is ignored, as the standard
    /// says, so that the client gets the whole file.
    fn parse(text: &str, length: u64) -> Self {
        let Some((unit, range)) = text.split_once('=') else {
            return Self::Whole;
        };
        let Some((first, last)) = range.split_once('-') else {
            return Self::Whole;
        };
        let (first, last) = (first.trim(), last.trim());
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        let (start, end) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1)),
            (Some(first), None) if last.is_empty() => (first, length),
            (None, Some(count)) if first.is_empty() => (length.saturating_sub(count), length),
            _ => return Self::Whole,
        };
        let end = end.min(length);
        if start < end {
            Self::Bytes(start, end)
        } else {
            Self::None
        }
    }
}

/// A number of digits only; one that doesn't fit is beyond every file's end.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Whether an If-None-Match list names `etag`, by the weak comparison that it asks for.
fn names(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, header};

    use super::Part;

    #[test]
    fn ranges() {
        for (text, part) in [
            ("bytes=0-0", Part::Bytes(0, 1)),
            ("bytes=0-9", Part::Bytes(0, 10)),
            ("bytes=0-10", Part::Bytes(0, 10)),
            ("bytes=9-9", Part::Bytes(9, 10)),
            ("bytes=9-", Part::Bytes(9, 10)),
            ("bytes=10-", Part::None),
            ("bytes=10-11", Part::None),
            ("bytes=-1", Part::Bytes(9, 10)),
            ("bytes=-10", Part::Bytes(0, 10)),
            ("bytes=-11", Part::Bytes(0, 10)),
            ("bytes=-0", Part::None),
            ("bytes=3-18446744073709551615", Part::Bytes(3, 10)),
            ("bytes=3-99999999999999999999", Part::Bytes(3, 10)),
            ("bytes=99999999999999999999-", Part::None),
            ("Bytes = 1 - 2", Part::Bytes(1, 3)),
            ("bytes=2-1", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=--1", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=0x1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("0-1", Part::Whole),
        ] {
            assert_eq!(Part::parse(text, 10), part, "{text}");
        }
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        for text in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(Part::parse(text, 0), Part::None, "{text}");
        }
    }

    #[test]
    fn conditions() {
        const ETAG: &str = "\"x\"";
        for (method, name, value, part) in [
            (Method::GET, header::IF_RANGE, "\"x\"", Part::Bytes(1, 2)),
            (Method::GET, header::IF_RANGE, "\"y\"", Part::Whole),
            (Method::GET, header::IF_RANGE, "W/\"x\"", Part::Whole),
            (
                Method::GET,
                header::IF_RANGE,
                "Sat, 01 Jan 2000 00:00:00 GMT",
                Part::Whole,
            ),
            (Method::GET, header::IF_NONE_MATCH, "*", Part::Unchanged),
            (
                Method::GET,
                header::IF_NONE_MATCH,
                "\"y\", W/\"x\"",
                Part::Unchanged,
            ),
            (
                Method::GET,
                header::IF_NONE_MATCH,
                "\"y\"",
                Part::Bytes(1, 2),
            ),
            (Method::HEAD, header::IF_NONE_MATCH, "\"y\"", Part::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=1-1"));
            headers.insert(&name, HeaderValue::from_static(value));
            assert_eq!(
                Part::of(&method, &headers, 10, ETAG),
                part,
                "{method} {name}: {value}"
            );
        }
    }
}
