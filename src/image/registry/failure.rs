//! What can go wrong with one request, sorted by what to do about it.

use std::error::Error;
use std::io;

use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};

use super::super::error::ImageError;
use crate::failure::sentence;

/// How much of a server's message is quoted, in characters.
const QUOTED_MAX: usize = 200;

/// Why a request did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// Network or server are troubled: try again.
    Passing(Box<dyn Error + Send + Sync>),
    /// No connection came about: a name that is not known, a port that nobody listens at.
    Unreachable(String),
    /// Credentials are missing, old or not enough, and what the registry says of it.
    Unauthorized(String),
    /// The registry does not have it.
    NotFound,
    /// No trust, or no TLS at the other end.
    Tls(rustls::Error),
    /// An answer that is of no use.
    Answer(String),
    /// What was sent is wrong, and would be again.
    Lasting(Box<ImageError>),
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Lasting(Box::new(error))
    }
}

impl Failure {
    /// By the status and the text of an answer.
    pub(super) fn from_status(status: u16, text: &[u8]) -> Self {
        let said = match serde_json::from_slice::<OciEnvelope>(text) {
            Ok(envelope) => message(&envelope),
            Err(_) => quote(&String::from_utf8_lossy(text)),
        };
        let reason = match said.is_empty() {
            true => format!("HTTP status {status}"),
            false => format!("HTTP status {status}: {said}"),
        };
        match status {
            401 | 403 => Self::Unauthorized(reason),
            404 => Self::NotFound,
            // Timeout, too early, too many requests, and everything that is the server's fault.
            408 | 425 | 429 | 500..=599 => Self::Passing(reason.into()),
            _ => Self::Answer(reason),
        }
    }

    /// By what `oci-client` makes of it.
    pub(super) fn from_client(error: OciDistributionError) -> Self {
        match error {
            OciDistributionError::RequestError(error) => Self::from_request(error),
            OciDistributionError::IoError(error) => Self::Passing(error.into()),
            OciDistributionError::UnauthorizedError { .. } => {
                Self::Unauthorized("HTTP status 401".into())
            }
            OciDistributionError::ServerError { code, message, .. } => {
                Self::from_status(code, message.as_bytes())
            }
            OciDistributionError::RegistryError { envelope, .. } => Self::from_envelope(&envelope),
            // Token servers that refuse say so in JSON; troubled ones, and proxies before them,
            // answer with a page or nothing. The status is not passed on.
            OciDistributionError::AuthenticationFailure(text) => {
                let reason = format!("the token server answers {:?}", quote(&text));
                match serde_json::from_str::<serde_json::Value>(&text) {
                    Ok(_) => Self::Unauthorized(reason),
                    Err(_) => Self::Passing(reason.into()),
                }
            }
            other => Self::Answer(other.to_string()),
        }
    }

    /// By a request that got no answer, or no complete one.
    pub(super) fn from_request(error: reqwest::Error) -> Self {
        if let Some(error) = find::<rustls::Error>(&error) {
            return Self::Tls(error.clone());
        }
        // What was asked without looking at the answer's text.
        if let Some(status) = error.status() {
            return Self::from_status(status.as_u16(), b"");
        }
        // Addresses of redirects have secrets in them.
        let error = error.without_url();
        if error.is_connect() && !error.is_timeout() {
            return Self::Unreachable(innermost(&error));
        }
        match error.is_builder() || error.is_redirect() {
            true => Self::Answer(sentence(&error)),
            false => Self::Passing(error.into()),
        }
    }

    fn from_envelope(envelope: &OciEnvelope) -> Self {
        let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|e| codes.contains(&e.code));
        let reason = message(envelope);
        if has(&[OciErrorCode::Toomanyrequests]) {
            Self::Passing(reason.into())
        } else if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
            Self::Unauthorized(reason)
        } else if has(&[
            OciErrorCode::BlobUnknown,
            OciErrorCode::ManifestUnknown,
            OciErrorCode::NameUnknown,
            OciErrorCode::NotFound,
        ]) {
            Self::NotFound
        } else {
            Self::Answer(reason)
        }
    }
}

/// The first error of type `T` among the causes; `io::Error` hides what it carries.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(|e| e.get_ref()) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The last cause of an error, without those that only lead to it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

fn message(envelope: &OciEnvelope) -> String {
    let errors = envelope.errors.iter();
    let texts = errors.map(|error| match error.message.as_str() {
        "" => format!("{:?}", error.code),
        message => message.to_owned(),
    });
    quote(&texts.collect::<Vec<_>>().join("; "))
}

/// The beginning of a server's message, on one line, without what could upset a terminal.
fn quote(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, OciDistributionError, quote};

    fn kind(failure: &Failure) -> &'static str {
        match failure {
            Failure::Passing(_) => "passing",
            Failure::Unreachable(_) => "unreachable",
            Failure::Unauthorized(_) => "unauthorized",
            Failure::NotFound => "not found",
            Failure::Tls(_) => "tls",
            Failure::Answer(_) => "answer",
            Failure::Lasting(_) => "lasting",
        }
    }

    #[test]
    fn answers_are_sorted_by_status() {
        for (status, expected) in [
            (301, "answer"),
            (400, "answer"),
            (401, "unauthorized"),
            (403, "unauthorized"),
            (404, "not found"),
            (408, "passing"),
            (416, "answer"),
            (429, "passing"),
            (500, "passing"),
            (503, "passing"),
        ] {
            assert_eq!(
                kind(&Failure::from_status(status, b"")),
                expected,
                "{status}"
            );
        }
        let text = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way"}]}"#;
        match Failure::from_status(403, text) {
            Failure::Unauthorized(reason) => assert_eq!(reason, "HTTP status 403: no [31m way"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refusals_and_trouble_of_token_servers_differ() {
        for (text, expected) in [
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"bad"}]}"#,
                "unauthorized",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "unauthorized",
            ),
            ("<html>503</html>", "passing"),
            ("", "passing"),
        ] {
            let error = OciDistributionError::AuthenticationFailure(text.into());
            assert_eq!(kind(&Failure::from_client(error)), expected, "{text}");
        }
    }

    #[test]
    fn errors_without_status_are_sorted_by_code() {
        for (code, expected) in [
            ("BLOB_UNKNOWN", "not found"),
            ("NAME_UNKNOWN", "not found"),
            ("DENIED", "unauthorized"),
            ("TOOMANYREQUESTS", "passing"),
            ("UNSUPPORTED", "answer"),
            ("WHATEVER", "answer"),
        ] {
            let text = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
            let error = OciDistributionError::RegistryError {
                envelope: serde_json::from_str(&text).unwrap(),
                url: String::new(),
            };
            assert_eq!(kind(&Failure::from_client(error)), expected, "{code}");
        }
    }

    #[test]
    fn messages_are_cut_to_one_line() {
        assert_eq!(quote(" a\r\n\tb\u{7}c "), "a b c");
        assert_eq!(quote(&"ä".repeat(300)).chars().count(), 201);
    }
}
