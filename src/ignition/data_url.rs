//! `data:` URLs (RFC 2397), with the grammar of the reader that Ignition and the machine-config
//! operator use.
//!
//! ```text
//! data:[type/subtype][;name=value]...[;base64],DATA
//! ```

use std::fmt::Write;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Go's decoder wants the padding and doesn't look at the bits that padding leaves over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is no `data:` URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataUrlError {
    /// It has another scheme.
    #[error("the URL doesn't begin with data:")]
    Scheme,
    /// The data begin behind the first comma.
    #[error("a data URL without a comma before its data")]
    NoComma,
    /// Not "text/plain" and the like.
    #[error("a data URL with a media type that is none")]
    MediaType,
    /// Neither "name=value" nor "base64" at the end.
    #[error("a data URL with a parameter that is none")]
    Parameter,
    /// A character that has to be written as %xx.
    #[error("a data URL with a character that has to be escaped")]
    Character,
    /// A % without two hexadecimal digits.
    #[error("a data URL with a % that has no two hexadecimal digits behind it")]
    Escape,
    /// Not base64, or without its padding.
    #[error("a data URL with base64 that is none")]
    Base64,
}

/// The bytes of a `data:` URL, as they are: not decompressed.
pub(super) fn decode(url: &str) -> Result<Vec<u8>, DataUrlError> {
    let rest = url.strip_prefix("data:").ok_or(DataUrlError::Scheme)?;
    let (base64, data) = split_head(rest)?;
    if base64 {
        return BASE64.decode(data).map_err(|_| DataUrlError::Base64);
    }
    if !data.bytes().all(may_stand) {
        return Err(DataUrlError::Character);
    }
    unescape(data)
}

/// Shortest of percent-escapes and base64; the first if they are alike.
pub(super) fn encode(data: &[u8]) -> String {
    let in_base64 = "data:;base64,".len() + data.len().div_ceil(3) * 4;
    let escapes = data.iter().filter(|b| !stands_for_itself(**b)).count();
    if "data:,".len() + data.len() + 2 * escapes > in_base64 {
        return format!("data:;base64,{}", BASE64.encode(data));
    }
    let mut url = String::with_capacity("data:,".len() + data.len() + 2 * escapes);
    url.push_str("data:,");
    for &byte in data {
        if stands_for_itself(byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// What every reader of URLs leaves alone: the unreserved characters of RFC 3986, and the reserved
/// ones that begin neither a query nor a fragment.
fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~/:=,@".contains(&byte)
}

/// What may stand in data: printable ASCII without the delimiters of RFC 2396.
fn may_stand(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"<>#\"{}|\\^[]`".contains(&byte)
}

fn in_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

fn token(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !in_token(b));
    text.split_at(end.unwrap_or(text.len()))
}

/// Whether the data are in base64, and the data.
fn split_head(text: &str) -> Result<(bool, &str), DataUrlError> {
    let mut rest = text;
    if !rest.starts_with([';', ',']) {
        rest = behind_media_type(rest)?;
    }
    while let Some(parameter) = rest.strip_prefix(';') {
        let (name, behind) = token(parameter);
        if name.is_empty() {
            return Err(DataUrlError::Parameter);
        }
        if let Some(data) = behind.strip_prefix(',') {
            return if name == "base64" {
                Ok((true, data))
            } else {
                Err(DataUrlError::Parameter)
            };
        }
        let value = behind.strip_prefix('=').ok_or(DataUrlError::Parameter)?;
        rest = behind_parameter_value(value)?;
    }
    match rest.strip_prefix(',') {
        Some(data) => Ok((false, data)),
        None => Err(DataUrlError::NoComma),
    }
}

fn behind_media_type(text: &str) -> Result<&str, DataUrlError> {
    const KNOWN: [&str; 7] = [
        "text",
        "image",
        "audio",
        "video",
        "application",
        "message",
        "multipart",
    ];
    let (kind, rest) = token(text);
    let rest = rest.strip_prefix('/').ok_or(if text.contains(',') {
        DataUrlError::MediaType
    } else {
        DataUrlError::NoComma
    })?;
    let experimental = kind.starts_with("x-") || kind.starts_with("X-");
    if !experimental && !KNOWN.iter().any(|known| kind.starts_with(known)) {
        return Err(DataUrlError::MediaType);
    }
    let (_, rest) = token(rest);
    if rest.is_empty() {
        return Err(DataUrlError::NoComma);
    }
    if !rest.starts_with([';', ',']) {
        return Err(DataUrlError::MediaType);
    }
    Ok(rest)
}

fn behind_parameter_value(text: &str) -> Result<&str, DataUrlError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        if value.is_empty() {
            return Err(DataUrlError::Parameter);
        }
        unescape(value)?;
        return Ok(rest);
    };
    let mut escaped = false;
    for (index, c) in quoted.char_indices() {
        match c {
            _ if !c.is_ascii() => return Err(DataUrlError::Parameter),
            '\\' | '"' | 'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' if escaped => escaped = false,
            _ if escaped => return Err(DataUrlError::Parameter),
            '\\' => escaped = true,
            '"' => return Ok(&quoted[index + 1..]),
            _ => {}
        }
    }
    Err(DataUrlError::Parameter)
}

fn unescape(text: &str) -> Result<Vec<u8>, DataUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(rest.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(DataUrlError::Escape);
        };
        bytes.push(high << 4 | low);
    }
    Ok(bytes)
}
