//! Who asks: the machine, the operator, or a page in somebody's browser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use axum::http::{HeaderMap, Uri, header};
use sha2::{Digest, Sha256};

use super::directory::percent_decoded;

/// Names of machines in URLs are at most this long, as in DNS.
const MAX_AUTHORITY_BYTES: usize = 262;

/// So many random bytes have tokens that are made here.
const TOKEN_BYTES: usize = 16;

/// Shortest token that is taken: as many letters guess no faster than 64 bits if they are hex.
const MIN_TOKEN_CHARS: usize = 16;

/// What proxies say of those whom they ask for.
const OF_PROXIES: [&str; 2] = ["forwarded", "via"];
const OF_PROXIES_START: &str = "x-forwarded-";

/// The other end of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    pub(super) fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

/// Whether a page in a browser made it ask. Browsers say where a request comes from in at least one of
/// these headers (Fetch standard, `Origin` and `Sec-Fetch-*`), and all call themselves Mozilla.
///
/// Boot loaders and installers say none of this: `iPXE/…` (ipxe `src/net/tcp/httpcore.c`@0ab2277),
/// `Ignition/…` (ignition `internal/resource/http.go`@a5d574a), `curl/…`.
pub(super) fn is_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    headers.contains_key(header::ORIGIN)
        || headers.contains_key(header::REFERER)
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"))
        || agent.is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
}

/// The server as the client calls it, if that can stand in a script.
pub(super) fn authority(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let fits = (1..=MAX_AUTHORITY_BYTES).contains(&host.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (fits && host.bytes().all(plain)).then_some(host)
}

/// What lets somebody see the status from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Token {
    text: String,
    sum: [u8; 32],
}

/// Fails if `text` is too easy to guess for a status token, or can't stand in a URL as it is.
pub fn check_status_token(text: &str) -> Result<()> {
    if text.chars().count() < MIN_TOKEN_CHARS {
        bail!("the status token is shorter than {MIN_TOKEN_CHARS} characters");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !text.bytes().all(plain) {
        bail!("the status token has characters other than letters, digits, -, ., _ and ~");
    }
    Ok(())
}

/// How somebody who asks for the status is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Operator,
    /// With a token that is not the right one.
    Mistaken,
    Anybody,
}

impl Token {
    /// A token of this run alone.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).context("asking for random bytes")?;
        Ok(Self::of(hex::encode(bytes)))
    }

    /// The operator's own.
    pub(super) fn new(text: &str) -> Result<Self> {
        check_status_token(text)?;
        Ok(Self::of(text.to_owned()))
    }

    fn of(text: String) -> Self {
        let sum = Sha256::digest(text.as_bytes()).into();
        Self { text, sum }
    }

    /// As it stands in a URL.
    pub(super) fn query(&self) -> String {
        format!("?token={}", self.text)
    }

    /// Checksums are compared, so that the time it takes tells nothing of the token.
    fn is(&self, text: &str) -> bool {
        let sum: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        sum == self.sum
    }

    /// Who asks for the status: the operator is on this machine, or has the token.
    pub(super) fn asker(&self, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Asker {
        match query_value(uri, "token") {
            Some(text) if self.is(&text) => Asker::Operator,
            Some(_) => Asker::Mistaken,
            None if is_here(peer, headers) => Asker::Operator,
            None => Asker::Anybody,
        }
    }
}

/// Whether somebody on this machine asks, for no one else. The name that was asked for tells a page that
/// a name server of its own has led here; of the network 127.0.0.0/8, only what is called localhost.
fn is_here(peer: Peer, headers: &HeaderMap) -> bool {
    let own = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    let is_proxied = headers.keys().any(|name| {
        OF_PROXIES.contains(&name.as_str()) || name.as_str().starts_with(OF_PROXIES_START)
    });
    let host = authority(headers).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let is_called_so = matches!(name, Some("localhost" | "127.0.0.1" | "::1"));
    own.contains(&peer.ip()) && is_called_so && !is_proxied
}

/// The first value of `key` in the query of `uri`.
pub(super) fn query_value(uri: &Uri, key: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let (_, value) = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(k, _)| *k == key)?;
    percent_decoded(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let name = header::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn browsers_give_themselves_away() {
        for (name, value) in [
            ("origin", "null"),
            ("referer", "http://h/"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-x", ""),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ] {
            assert!(
                is_browser(&headers(&[("host", "h"), (name, value)])),
                "{name}"
            );
        }
        for agent in ["iPXE/1.21.1+git", "Ignition/2.20.0", "curl/8.5.0", ""] {
            assert!(!is_browser(&headers(&[
                ("host", "h"),
                ("user-agent", agent)
            ])));
        }
    }

    #[test]
    fn the_operator_is_here_or_has_the_token() {
        let token = Token::new("0123456789abcdef").unwrap();
        let ask = |from: &str, path: &str, pairs: &[(&'static str, &str)]| {
            let peer = Peer(SocketAddr::new(from.parse().unwrap(), 1));
            token.asker(peer, &path.parse().unwrap(), &headers(pairs))
        };
        for (from, host) in [
            ("127.0.0.1", "localhost:8080"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]:8080"),
            ("::ffff:127.0.0.1", "127.0.0.1:1"),
        ] {
            assert_eq!(ask(from, "/", &[("host", host)]), Asker::Operator, "{host}");
        }
        for (from, pairs) in [
            ("127.0.0.9", &[("host", "127.0.0.1")][..]),
            ("192.168.1.7", &[("host", "localhost")]),
            ("127.0.0.1", &[("host", "evil.example")]),
            ("127.0.0.1", &[("host", "127.0.0.1.evil.example")]),
            ("127.0.0.1", &[]),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("x-forwarded-for", "1.2.3.4")],
            ),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("x-forwarded-proto", "https")],
            ),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("forwarded", "for=1.2.3.4")],
            ),
            ("127.0.0.1", &[("host", "localhost"), ("via", "1.1 proxy")]),
        ] {
            assert_eq!(ask(from, "/", pairs), Asker::Anybody, "{from} {pairs:?}");
            let right = "/status?token=0123456789abcdef";
            assert_eq!(ask(from, right, pairs), Asker::Operator, "{from}");
            let wrong = "/status?token=0123456789abcdeF";
            assert_eq!(ask(from, wrong, pairs), Asker::Mistaken, "{from}");
        }
        for text in [
            "",
            "0123456789abcde",
            "0123456789abcdef ",
            "0123456789abcde&",
        ] {
            assert!(Token::new(text).is_err(), "{text}");
        }
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), 32);
    }
}
