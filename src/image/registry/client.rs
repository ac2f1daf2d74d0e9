//! Requests to a registry, and to where it sends us.
//!
//! Every answer has limits: its head has those of hyper (100 headers, 408 KiB, 16 KiB of chunk
//! extensions and as much of trailers; `proto/h1` of 1.12), its body has one here or is a blob, and
//! all of it has a time. Bodies of redirects are not read.
//!
//! Redirects are followed by us, not by the HTTP library, since `places` has a say in each, and
//! since what proves who we are stays where it was meant to go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Request, Response, StatusCode, Url};
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::{Failure, find};
use super::patience::silent;
use super::places::{Neighbours, Purpose, Resolver, same_origin};
use super::scope::Scope;
use super::{Connection, USER_AGENT};
use crate::image::Access;

/// Most bytes that are read of a message, such as an error's. The rest is not shown.
const MESSAGE_BYTES_MAX: u64 = 64 << 10;

/// Most redirects that one request follows; Go's HTTP client has the same limit.
const REDIRECTS_MAX: usize = 10;

/// How long a server may take to show that it talks TLS. One that does not may wait for more.
const TLS_ANSWER_MAX: Duration = Duration::from_secs(5);

/// A whole answer, of limited length.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Who gave it, after redirects.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// What was read of an answer.
pub(super) enum Body {
    Whole(Vec<u8>),
    /// The beginning of what goes on after the limit.
    Cut(Vec<u8>),
}

impl Body {
    fn text(&self) -> &[u8] {
        match self {
            Self::Whole(text) | Self::Cut(text) => text,
        }
    }

    /// The bytes, if they are within the limit.
    pub(super) fn whole(self) -> Option<Vec<u8>> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Cut(_) => None,
        }
    }
}

impl Answer {
    /// The answer, if it has the status that says that all went well.
    pub(super) fn expect(self, status: StatusCode) -> Result<Self, Failure> {
        match self.status == status {
            true => Ok(self),
            false => Err(Failure::from_status(self.status.as_u16(), self.body.text())),
        }
    }
}

/// How far redirects may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To where `places` permits; without what proves who we are.
    Anywhere,
    /// To the server that was asked.
    SameServer,
}

/// A client for registries; `this_host` says that no proxy is in between.
pub(super) fn client(
    access: &Access,
    certificates: &[Vec<u8>],
    this_host: bool,
    neighbours: &Arc<Neighbours>,
    connect_max: Duration,
) -> anyhow::Result<Client> {
    let detour = access.detour.as_ref();
    let detour = detour.filter(|detour| neighbours.is_of(&detour.host));
    let certificates = certificates
        .iter()
        .chain(detour.map(|detour| &detour.certificates))
        .map(|pem| Certificate::from_pem_bundle(pem))
        .collect::<Result<Vec<_>, _>>()
        .context("reading the CA certificates for the registry")?;
    let mut builder = Client::builder();
    if this_host || detour.is_some() {
        builder = builder.no_proxy();
    }
    if let Some(detour) = detour {
        builder = builder.resolve(&detour.host, SocketAddr::new(detour.address, 0));
    }
    builder
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .dns_resolver(Resolver(Arc::clone(neighbours)))
        .tls_certs_merge(certificates.into_iter().flatten())
        .tls_danger_accept_invalid_certs(!access.tls_verify)
        .connect_timeout(connect_max)
        .build()
        .context("preparing to talk to registries")
}

/// Whether a host that may talk plain HTTP talks TLS. One that has shaken hands does, whatever it
/// does afterwards, and so does one that refuses in the language of TLS: secrets are not sent to it
/// in the clear.
pub(super) async fn talks_tls(
    access: &Access,
    this_host: bool,
    neighbours: &Arc<Neighbours>,
    host: &str,
) -> anyhow::Result<bool> {
    // Without the registry's certificates: not trusting it is an answer, too.
    let http = client(access, &[], this_host, neighbours, TLS_ANSWER_MAX)?;
    let request = http.get(format!("https://{host}/v2/"));
    Ok(
        match request
            .timeout(TLS_ANSWER_MAX + Duration::from_secs(1))
            .send()
            .await
        {
            Ok(_) => true,
            Err(error) => match find::<rustls::Error>(&error) {
                Some(rustls::Error::InvalidMessage(_)) => false,
                Some(_) => true,
                None => !error.is_connect(),
            },
        },
    )
}

impl Connection {
    /// Asks the registry as whom we are; the answer may have `limit` bytes.
    pub(super) async fn ask(
        &self,
        request: Request,
        scope: &Scope,
        limit: u64,
    ) -> Result<Answer, Failure> {
        let (response, deadline) = self.respond(request, scope).await?;
        self.small(response, limit, deadline).await
    }

    /// Asks the registry as whom we are for something large, of which only the head is read. A
    /// refusal is an error here.
    pub(super) async fn ask_blob(
        &self,
        request: Request,
        scope: &Scope,
    ) -> Result<Response, Failure> {
        let (response, deadline) = self.respond(request, scope).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            status => {
                let answer = self.small(response, MESSAGE_BYTES_MAX, deadline).await?;
                Err(Failure::from_status(status.as_u16(), answer.body.text()))
            }
        }
    }

    /// The head of an answer to whom we are, and until when the rest of it may take. What proves
    /// who we are is renewed once, if that may help.
    async fn respond(
        &self,
        request: Request,
        scope: &Scope,
    ) -> Result<(Response, Instant), Failure> {
        let pass = self.pass(scope).await?;
        let again = request.try_clone();
        let asked = self.patience.answer;
        let deadline = Instant::now() + asked;
        let response = self.send(request, pass.header(), Reach::Anywhere, deadline);
        let response = response.await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(again) = again
            && self.renew(&pass, response.url(), response.headers()).await
        {
            drop(response);
            let pass = self.pass(scope).await?;
            let deadline = Instant::now() + asked;
            let response = self.send(again, pass.header(), Reach::Anywhere, deadline);
            return Ok((response.await?, deadline));
        }
        Ok((response, deadline))
    }

    /// Sends a request that has nothing to do with the registry's own tokens.
    pub(super) async fn call(
        &self,
        request: Request,
        authorization: Option<&HeaderValue>,
        reach: Reach,
        limit: u64,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.patience.answer;
        let response = self.send(request, authorization, reach, deadline).await?;
        self.small(response, limit, deadline).await
    }

    /// Sends a request and follows redirects. `authorization` goes to the server in the request's
    /// address and to no other.
    async fn send(
        &self,
        mut request: Request,
        authorization: Option<&HeaderValue>,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let home = request.url().clone();
        for _ in 0..=REDIRECTS_MAX {
            if let Some(value) = authorization.filter(|_| same_origin(&home, request.url())) {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            let again = request.try_clone();
            let response = self.head(request, deadline).await?;
            let Some(url) = redirect(&response) else {
                return Ok(response);
            };
            let url = url?;
            let at_home = same_origin(&home, &url);
            request = again
                .filter(|request| follows(request.method(), response.status(), at_home))
                .filter(|_| at_home || reach == Reach::Anywhere)
                .ok_or_else(|| {
                    Failure::Answer("a redirect of a request with secrets or data".into())
                })?;
            if !at_home {
                self.places.permit(&url, Purpose::Redirect)?;
            }
            request.headers_mut().remove(AUTHORIZATION);
            *request.url_mut() = url;
        }
        Err(Failure::Answer(format!(
            "more than {REDIRECTS_MAX} redirects"
        )))
    }

    /// Sends a request and waits for the head of the answer.
    async fn head(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        let silence = self.patience.silence;
        let work = timeout(silence, self.http.execute(request));
        match timeout_at(deadline, work).await {
            Err(_) => Err(Failure::TooSlow(format!(
                "it did not begin to answer in {:?}",
                self.patience.answer
            ))),
            Ok(Err(_)) => Err(silent(silence)),
            Ok(Ok(outcome)) => {
                let response = outcome.map_err(Failure::from_request)?;
                self.has_answered.store(true, Relaxed);
                Ok(response)
            }
        }
    }

    /// Reads an answer of at most `limit` bytes. A message that breaks off is as good as none.
    pub(super) async fn small(
        &self,
        response: Response,
        limit: u64,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let (status, url) = (response.status(), response.url().clone());
        let headers = response.headers().clone();
        let body = match status.is_success() {
            true => self.body(response, limit, deadline).await?,
            false => self
                .body(response, MESSAGE_BYTES_MAX, deadline)
                .await
                .unwrap_or(Body::Cut(Vec::new())),
        };
        Ok(Answer {
            status,
            url,
            headers,
            body,
        })
    }

    async fn body(
        &self,
        mut response: Response,
        limit: u64,
        deadline: Instant,
    ) -> Result<Body, Failure> {
        let silence = self.patience.silence;
        let mut bytes = Vec::new();
        loop {
            let chunk = match timeout_at(deadline, timeout(silence, response.chunk())).await {
                Err(_) => {
                    return Err(Failure::TooSlow(format!(
                        "{} bytes of its answer came in {:?}, and more were to come",
                        bytes.len(),
                        self.patience.answer
                    )));
                }
                Ok(Err(_)) => return Err(silent(silence)),
                Ok(Ok(Ok(Some(chunk)))) => chunk,
                Ok(Ok(Ok(None))) => return Ok(Body::Whole(bytes)),
                // Whatever breaks a body, asking again may help.
                Ok(Ok(Err(error))) => return Err(Failure::Passing(error.without_url().into())),
            };
            let left = usize::try_from(limit).map_or(usize::MAX, |limit| limit - bytes.len());
            bytes.extend_from_slice(&chunk[..chunk.len().min(left)]);
            if chunk.len() > left {
                return Ok(Body::Cut(bytes));
            }
        }
    }
}

/// Where a response sends us; none if it is not a redirect.
fn redirect(response: &Response) -> Option<Result<Url, Failure>> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
        .then(|| location(response.url(), response.headers()))
}

/// The address in a `Location` header, which may be relative to who gave it.
pub(super) fn location(from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| Failure::Answer("no address to go on with".into()))?;
    from.join(text)
        .map_err(|_| Failure::Answer("a malformed address to go on with".into()))
}

/// Whether a request may be made again elsewhere. One that changes something goes on as what it is,
/// and only to the same server.
fn follows(method: &Method, status: StatusCode, at_home: bool) -> bool {
    match *method {
        Method::GET | Method::HEAD => true,
        _ => at_home && matches!(status.as_u16(), 307 | 308),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Access, Failure, Neighbours, client};

    /// The lookup of names judges what they lead to: `localhost` from a registry that is elsewhere.
    #[test]
    fn names_do_not_lead_to_forbidden_addresses() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for (registry, expected) in [
            ("r.example", "Answer"),
            ("localhost", "Unreachable"),
            ("127.0.0.1", "Unreachable"),
        ] {
            let access = Access::new("/");
            let neighbours = Neighbours::new(registry, &|_| None);
            let patience = Duration::from_secs(20);
            let http = client(&access, &[], true, &neighbours, patience).unwrap();
            let outcome = runtime.block_on(http.get("http://localhost:1/").send());
            let failure = Failure::from_request(outcome.unwrap_err());
            let told = format!("{failure:?}");
            assert!(told.starts_with(expected), "{registry}: {told}");
            if expected == "Answer" {
                assert!(
                    told.contains("a server on a loopback address (localhost)"),
                    "{told}"
                );
            }
        }
    }
}
