//! What can go wrong with one request, sorted by what to do about it.

use std::error::Error;
use std::fmt::Display;
use std::io;

use serde::Deserialize;

use super::Connection;
use crate::failure::sentence;
use crate::image::error::ImageError;

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
    /// A byte now and then, and what came in what time. Trying again would cost the same again.
    TooSlow(String),
    /// No trust, or no TLS at the other end.
    Tls(rustls::Error),
    /// An answer that is of no use.
    Answer(String),
    /// What was sent is wrong, and would be again.
    Lasting(Box<ImageError>),
}

/// A name that leads where no request may go.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Forbidden(pub(super) String);

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Lasting(Box::new(error))
    }
}

impl Failure {
    /// By the status and the text of an answer.
    pub(super) fn from_status(status: u16, text: &[u8]) -> Self {
        let said = match serde_json::from_slice::<Envelope>(text) {
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

    /// The same failure, if not the registry but a token server is at fault.
    pub(super) fn of_token_server(self) -> Self {
        let told = |reason: &dyn Display| format!("the token server answers {reason}");
        match self {
            Self::Unauthorized(reason) => Self::Unauthorized(told(&reason)),
            Self::Passing(cause) => {
                Self::Passing(format!("no token: {}", sentence(&*cause)).into())
            }
            Self::TooSlow(fact) => Self::TooSlow(format!("no token: {fact}")),
            Self::NotFound => Self::Answer("a token server that answers HTTP status 404".into()),
            // What the credentials are not good for, in the words of quay and of RFC 6749 §5.2.
            Self::Answer(reason) if reason.starts_with("HTTP status 400") => {
                Self::Unauthorized(told(&reason))
            }
            Self::Answer(reason) if reason.starts_with("HTTP status") => {
                Self::Answer(format!("a token server that answers {reason}"))
            }
            other => other,
        }
    }

    /// By a request that got no answer, or no complete one.
    pub(super) fn from_request(error: reqwest::Error) -> Self {
        if let Some(error) = find::<rustls::Error>(&error) {
            return Self::Tls(error.clone());
        }
        if let Some(error) = find::<Forbidden>(&error) {
            return Self::Answer(error.to_string());
        }
        // Addresses of redirects have secrets in them.
        let error = error.without_url();
        if error.is_connect() && !error.is_timeout() {
            return Self::Unreachable(innermost(&error));
        }
        match error.is_builder() {
            true => Self::Answer(sentence(&error)),
            false => Self::Passing(error.into()),
        }
    }
}

impl Connection {
    /// The error that failure number `attempts` becomes.
    pub(super) fn explain(&self, failure: Failure, object: &str, attempts: u32) -> ImageError {
        let registry = self.name.registry.clone();
        let object = object.to_owned();
        let hint = self.login.story.clone();
        match failure {
            Failure::Lasting(error) => *error,
            Failure::Unauthorized(reason) => ImageError::Refused {
                registry,
                object,
                reason,
                hint,
            },
            Failure::NotFound => ImageError::NotFound {
                registry,
                object,
                hint,
            },
            Failure::TooSlow(fact) => ImageError::TooSlow {
                registry,
                object,
                fact,
            },
            Failure::Tls(source) => ImageError::Tls { registry, source },
            Failure::Answer(reason) => ImageError::Answer {
                registry,
                object,
                reason,
            },
            Failure::Passing(source) => ImageError::GaveUp {
                registry,
                object,
                attempts,
                source,
            },
            Failure::Unreachable(reason) => ImageError::Unreachable { registry, reason },
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

/// What registries say with a status that is not a good one.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    code: String,
    #[serde(default)]
    message: String,
}

fn message(envelope: &Envelope) -> String {
    let errors = envelope.errors.iter();
    let texts = errors.map(|error| match error.message.as_str() {
        "" => error.code.as_str(),
        message => message,
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
    use super::{Failure, quote};

    fn kind(failure: &Failure) -> &'static str {
        match failure {
            Failure::Passing(_) => "passing",
            Failure::Unreachable(_) => "unreachable",
            Failure::Unauthorized(_) => "unauthorized",
            Failure::NotFound => "not found",
            Failure::TooSlow(_) => "too slow",
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
        for (status, expected) in [
            (400, "unauthorized"),
            (401, "unauthorized"),
            (403, "unauthorized"),
            (404, "answer"),
            (405, "answer"),
            (429, "passing"),
            (503, "passing"),
        ] {
            let failure = Failure::from_status(status, b"no").of_token_server();
            assert_eq!(kind(&failure), expected, "{status}");
        }
        match Failure::from_status(404, b"").of_token_server() {
            Failure::Answer(reason) => {
                assert_eq!(reason, "a token server that answers HTTP status 404");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_are_cut_to_one_line() {
        assert_eq!(quote(" a\r\n\tb\u{7}c "), "a b c");
        assert_eq!(quote(&"ä".repeat(300)).chars().count(), 201);
    }
}
