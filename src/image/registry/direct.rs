//! Requests that `oci-client` has no call for.
//!
//! It takes manifests, and messages of errors, of any length into memory, and it cannot turn a
//! refresh token ("identity token") into an access token. Both are done here, with the HTTP
//! library that it uses itself.

use std::io;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::{ACCEPT, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Certificate, RequestBuilder, Response};
use serde::Deserialize;

use super::super::Access;
use super::super::digest::Digest;
use super::super::error::ImageError;
use super::super::media_type::MANIFESTS;
use super::super::reference::is_tag;
use super::auth::Secret;
use super::failure::{Failure, find};
use super::{Connection, USER_AGENT};

/// Most bytes that are read of an error's text or a token.
const MESSAGE_BYTES_MAX: u64 = 64 << 10;

/// Most tags that are asked for.
const TAGS_MAX: usize = 1000;

/// Most bytes of a list of them; a tag has up to 128.
const TAGS_BYTES_MAX: u64 = 256 << 10;

/// How long a server may take to show that it talks TLS. One that does not may wait for more.
const TLS_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The header with the digest that a registry has computed.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest as it was served.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// What the registry says its digest is, if it is one we can check.
    pub(super) digest: Option<Digest>,
}

/// A client for these requests; `this_host` says that no proxy is in between.
pub(super) fn client(
    access: &Access,
    certificates: &[Vec<u8>],
    this_host: bool,
) -> anyhow::Result<reqwest::Client> {
    let certificates = certificates
        .iter()
        .map(|pem| Certificate::from_pem_bundle(pem))
        .collect::<Result<Vec<_>, _>>()
        .context("reading the CA certificates for the registry")?;
    let builder = reqwest::Client::builder();
    let builder = if this_host {
        builder.no_proxy()
    } else {
        builder
    };
    builder
        .user_agent(USER_AGENT)
        .tls_certs_merge(certificates.into_iter().flatten())
        .tls_danger_accept_invalid_certs(!access.tls_verify)
        .connect_timeout(access.patience.silence)
        .read_timeout(access.patience.silence)
        .build()
        .context("preparing to talk to registries")
}

/// Whether a host that may talk plain HTTP talks TLS. One whose certificate is not trusted does.
pub(super) async fn talks_tls(http: &reqwest::Client, host: &str) -> bool {
    let request = http.get(format!("https://{host}/v2/"));
    match request.timeout(TLS_ANSWER_MAX).send().await {
        Ok(_) => true,
        Err(error) => matches!(find(&error), Some(rustls::Error::InvalidCertificate(_))),
    }
}

impl Connection {
    /// Fetches a manifest or index by tag or digest.
    pub(super) async fn manifest(
        &self,
        version: &str,
        limit: u64,
        object: &str,
    ) -> Result<Answer, Failure> {
        let request = self.repository(&format!("manifests/{version}"));
        let request = request.header(ACCEPT, MANIFESTS.join(", "));
        let response = self.answer(request).await?;
        let digest = digest_header(response.headers());
        let bytes = body(response, limit).await?.ok_or_else(|| {
            let object = object.to_owned();
            ImageError::TooLarge { object, limit }
        })?;
        Ok(Answer { bytes, digest })
    }

    /// Some of the tags of the repository.
    pub(super) async fn tags(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Reply {
            /// Null if there are none.
            tags: Option<Vec<String>>,
        }
        let request = self.repository("tags/list");
        let request = request.query(&[("n", TAGS_MAX)]);
        let response = self.answer(request).await?;
        let malformed = || Failure::Answer("a list of tags that is malformed".into());
        let text = body(response, TAGS_BYTES_MAX)
            .await?
            .ok_or_else(malformed)?;
        let reply: Reply = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let mut tags = reply.tags.unwrap_or_default();
        tags.retain(|tag| is_tag(tag));
        tags.truncate(TAGS_MAX);
        Ok(tags)
    }

    /// A request for something of the repository.
    fn repository(&self, path: &str) -> RequestBuilder {
        let (base, repository) = (&self.base, &self.name.repository);
        self.http.get(format!("{base}/v2/{repository}/{path}"))
    }

    /// The answer to a request, made by whom we are.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match (self.sign_in().await?, &self.login.secret) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(Secret::Basic(user, password))) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let response = request.send().await.map_err(Failure::from_request)?;
        successful(response).await
    }

    /// Gets an access token for a refresh token; `actions` is `pull` or `pull,push`. Truth: distribution's "OAuth2 token
    /// authentication".
    pub(super) async fn access_token(
        &self,
        refresh: &str,
        actions: &str,
    ) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Reply {
            access_token: Option<String>,
            token: Option<String>,
        }
        let url = format!("{}/v2/", self.base);
        let response = self.http.get(url).send().await;
        let response = response.map_err(Failure::from_request)?;
        let challenge = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(Challenge::parse)
            .ok_or_else(|| Failure::Answer("no way to use an identity token".into()))?;
        let scope = format!("repository:{}:{actions}", self.name.repository);
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
            ("client_id", env!("CARGO_PKG_NAME")),
            ("scope", &scope),
        ];
        form.extend(
            challenge
                .service
                .as_deref()
                .map(|service| ("service", service)),
        );
        // A token in the clear is as bad as a password in the clear.
        let insecure = challenge.realm.starts_with("http://") && self.base.starts_with("https://");
        if insecure {
            return Err(Failure::Answer("a token server without TLS".into()));
        }
        let request = self.http.post(&challenge.realm).form(&form);
        let response = request.send().await.map_err(Failure::from_request)?;
        let response = successful(response).await?;
        let malformed = || Failure::Answer("a token that is malformed".into());
        let text = body(response, MESSAGE_BYTES_MAX)
            .await?
            .ok_or_else(malformed)?;
        let reply: Reply = serde_json::from_slice(&text).map_err(|_| malformed())?;
        reply.access_token.or(reply.token).ok_or_else(malformed)
    }
}

/// The response, if it is what was asked for.
async fn successful(response: Response) -> Result<Response, Failure> {
    let status = response.status().as_u16();
    if status == 200 {
        return Ok(response);
    }
    // A message that is too long or cut off is none.
    let text = body(response, MESSAGE_BYTES_MAX).await;
    let text = text.ok().flatten().unwrap_or_default();
    Err(Failure::from_status(status, &text))
}

/// The body of a response; none if it has more than `limit` bytes.
async fn body(mut response: Response, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| {
        // Whatever breaks a body, asking again may help.
        Failure::Passing(Box::new(io::Error::other(error)))
    })? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}

/// What a registry says about where tokens are given out: `Bearer realm="…",service="…"`.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim_start().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        while let Some((key, value)) = rest.split_once('=') {
            // Values are quoted, and may have commas in them; RFC 9110 §5.6.4.
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            match key.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => (),
            }
            rest = after;
        }
        let realm = realm.filter(|r| r.starts_with("https://") || r.starts_with("http://"))?;
        Some(Self { realm, service })
    }
}

#[cfg(test)]
mod tests {
    use super::Challenge;

    #[test]
    fn challenges_are_read() {
        let challenge = |realm: &str, service: Option<&str>| {
            Some(Challenge {
                realm: realm.into(),
                service: service.map(Into::into),
            })
        };
        for (text, expected) in [
            (
                r#"Bearer realm="https://a.example/token",service="a, b",scope="x:y:pull,push""#,
                challenge("https://a.example/token", Some("a, b")),
            ),
            (
                r#"bearer service=a, Realm="http://localhost/t""#,
                challenge("http://localhost/t", Some("a")),
            ),
            (
                r#"Bearer realm="https://a.example/""#,
                challenge("https://a.example/", None),
            ),
            (r#"Bearer realm="file:///etc/passwd""#, None),
            (r#"Bearer realm="https://open"#, None),
            (r#"Basic realm="https://a.example/""#, None),
            ("Bearer", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
    }
}
