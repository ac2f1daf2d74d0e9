//! URLs as Go's `net/url` takes them apart, because that is what Ignition refuses or fetches.
//!
//! Only what validation asks for: the scheme, what is behind it, and whether it parses at all.

/// A URL that Go would parse.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// In small letters; empty for a relative URL.
    pub(super) scheme: String,
    /// What is between the scheme's colon and the query, if it doesn't begin with a slash.
    pub(super) opaque: &'a str,
    /// What is behind the first question mark.
    pub(super) query: &'a str,
}

/// Why Go would not parse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UrlError {
    #[error("control characters in a URL")]
    Control,
    #[error("the URL begins with a colon")]
    NoScheme,
    #[error("a colon in the first part of a relative URL")]
    Colon,
    #[error("a % without two hexadecimal digits in a URL")]
    Escape,
    #[error("a URL with a host name that is none")]
    Host,
    #[error("a URL with a port that is no number")]
    Port,
    #[error("a URL with a user name that is none")]
    User,
}

pub(super) fn parse(text: &str) -> Result<Url<'_>, UrlError> {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(UrlError::Control);
    }
    let (scheme, rest) = split_scheme(text)?;
    let scheme = scheme.to_ascii_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut opaque = "";
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            opaque = rest;
        } else if rest.split('/').next().unwrap_or_default().contains(':') {
            return Err(UrlError::Colon);
        } else {
            check_escapes(rest)?;
        }
    } else if let Some(behind) = rest
        .strip_prefix("//")
        .filter(|_| !scheme.is_empty() || !rest.starts_with("///"))
    {
        let (authority, path) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        check_authority(authority)?;
        check_escapes(path)?;
    } else {
        check_escapes(rest)?;
    }
    check_escapes(fragment)?;
    Ok(Url {
        scheme,
        opaque,
        query,
    })
}

fn split_scheme(text: &str) -> Result<(&str, &str), UrlError> {
    for (index, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err(UrlError::NoScheme),
            ':' => return Ok((&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_authority(authority: &str) -> Result<(), UrlError> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let in_user = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    if !user.bytes().all(in_user) {
        return Err(UrlError::User);
    }
    check_escapes(user)?;
    if host.starts_with('[') {
        let end = host.rfind(']').ok_or(UrlError::Host)?;
        check_port(&host[end + 1..])?;
        let (address, zone) = host[..end].split_at(host[..end].find("%25").unwrap_or(end));
        check_host(address)?;
        check_zone(zone)
    } else {
        if let Some(colon) = host.rfind(':') {
            check_port(&host[colon..])?;
        }
        check_host(host)
    }
}

/// Nothing, or a colon and digits, which may be none.
fn check_port(text: &str) -> Result<(), UrlError> {
    let digits = match text.strip_prefix(':') {
        Some(digits) => digits,
        None if text.is_empty() => text,
        None => return Err(UrlError::Port),
    };
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(UrlError::Port)
    }
}

/// A host name may have escapes only for what is not ASCII.
fn check_host(host: &str) -> Result<(), UrlError> {
    check_escapes(host)?;
    check_bytes(host, |escape| escape[0] >= b'8' || escape == b"25")
}

/// What follows an IPv6 address, from its own `%25` on, may have escapes only for what needs none,
/// percent signs and spaces.
fn check_zone(zone: &str) -> Result<(), UrlError> {
    check_escapes(zone)?;
    check_bytes(zone, |escape| {
        let byte = std::str::from_utf8(escape)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| matches!(byte, b'%' | b' ') || in_host(byte))
    })
}

/// What a host name may have of ASCII, unescaped.
fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// Whether a name has nothing but what it may have; its escapes, which are whole, are judged by
/// their two digits.
fn check_bytes(name: &str, may_escape: impl Fn(&[u8]) -> bool) -> Result<(), UrlError> {
    let bytes = name.as_bytes();
    let fine = bytes.iter().enumerate().all(|(index, &byte)| match byte {
        b'%' => may_escape(&bytes[index + 1..index + 3]),
        _ => !byte.is_ascii() || in_host(byte),
    });
    if fine { Ok(()) } else { Err(UrlError::Host) }
}

fn check_escapes(text: &str) -> Result<(), UrlError> {
    let mut parts = text.split('%');
    parts.next();
    let two_digits =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if parts.all(two_digits) {
        Ok(())
    } else {
        Err(UrlError::Escape)
    }
}

impl Url<'_> {
    /// Whether the query names an S3 version and leaves it empty.
    pub(super) fn has_empty_version_id(&self) -> bool {
        self.query
            .split('&')
            .filter(|pair| !pair.contains(';'))
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(name, _)| *name == "versionId")
            .is_some_and(|(_, value)| value.is_empty())
    }
}
