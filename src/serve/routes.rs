//! What each URL answers.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::routing::{get, post};
use axum::{Router, http::Uri};
use bytes::Bytes;
use http_body::Frame;
use tokio::task::spawn_blocking;

use super::board::{Board, Claim, Delivery};
use super::body::{FileBody, Pool};
use super::directory::{Directory, percent_decoded};
use super::hosts::Hosts;
use super::page;
use super::range::Part;
use super::script;
use super::status::{Event, Step};
use crate::hosts::Mac;

/// Names of machines in URLs are at most this long, as in DNS.
const MAX_AUTHORITY_BYTES: usize = 262;

/// So large a part of an Ignition configuration is sent at once.
const CONFIG_CHUNK_BYTES: usize = 16 << 10;

/// What all requests share.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) hosts: Hosts,
    pub(super) board: Arc<Board>,
    pub(super) pool: Arc<Pool>,
    pub(super) url: Option<String>,
    pub(super) scheme: &'static str,
    pub(super) strict: bool,
}

/// The other end of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

type App = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/status", get(status_page))
        .route("/status.json", get(status_json))
        .route("/boot.ipxe", get(boot_by_query))
        .route("/boot/{name}", get(boot_by_path))
        .route("/ignition/{mac}", get(ignition))
        .route("/overlay/{mac}", get(overlay))
        .route("/done/{mac}", post(done))
        .fallback(file)
        .with_state(shared)
}

async fn status_page(State(shared): App) -> Response<Body> {
    let page = page::html(&shared.board.status());
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

async fn status_json(State(shared): App) -> Response<Body> {
    match serde_json::to_string_pretty(&shared.board.status()) {
        Ok(json) => text(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn boot_by_query(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    request: Request<Body>,
) -> Response<Body> {
    match query_value(request.uri(), "mac") {
        None => script(script::ASK_AGAIN.to_owned()),
        Some(mac) => boot(&shared, peer, &mac, &request),
    }
}

async fn boot_by_path(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    match name.strip_suffix(".ipxe") {
        Some(mac) => boot(&shared, peer, mac, &request),
        None => not_found(),
    }
}

fn boot(shared: &Shared, peer: Peer, mac: &str, request: &Request<Body>) -> Response<Body> {
    let mac: Mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return refuse(shared, peer, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Some(pxe) = &shared.directory.pxe else {
        let sentence = "this bake has no files for network boot";
        return refuse(shared, peer, StatusCode::NOT_FOUND, sentence);
    };
    let host = shared
        .hosts
        .by_mac
        .get(&mac)
        .map(|&index| &shared.hosts.hosts[index].0);
    if host.is_none() && shared.strict {
        let sentence = format!("{mac} is not among the hosts of this server");
        refused(shared, peer, &sentence);
        return script(script::refusal(&sentence));
    }
    let url = match (&shared.url, authority(request)) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(authority)) => format!("{}://{authority}", shared.scheme),
        (None, None) => {
            let sentence = "the request doesn't say which host it is for";
            return refuse(shared, peer, StatusCode::BAD_REQUEST, sentence);
        }
    };
    if shared.board.is_done(mac) {
        return script(script::installed(host.map_or("this machine", |h| &h.name)));
    }
    if request.method() == Method::GET {
        shared.board.boots(peer.ip(), mac);
    }
    script(script::boot(&shared.directory.title, pxe, &url, mac, host))
}

/// The server as the client calls it, if that can stand in a script.
fn authority(request: &Request<Body>) -> Option<&str> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let fits = (1..=MAX_AUTHORITY_BYTES).contains(&host.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (fits && host.bytes().all(plain)).then_some(host)
}

async fn ignition(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path(mac): Path<String>,
    method: Method,
) -> Response<Body> {
    let mac: Mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return refuse(&shared, peer, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if method == Method::HEAD {
        // Looking is not taking.
        return wrong_method("an Ignition configuration can only be fetched", "GET");
    }
    match shared.board.claim(mac) {
        Claim::None => {
            let sentence = format!("there is no Ignition configuration for {mac}");
            refuse(&shared, peer, StatusCode::NOT_FOUND, &sentence)
        }
        Claim::Gone => {
            let sentence =
                format!("{mac} has fetched its Ignition configuration since it last booted");
            refuse(&shared, peer, StatusCode::GONE, &sentence)
        }
        Claim::Busy => {
            let sentence = format!("the Ignition configuration of {mac} is being fetched");
            let mut response = refuse(&shared, peer, StatusCode::SERVICE_UNAVAILABLE, &sentence);
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Claim::Given(config, delivery) => {
            let length = config.len();
            let body = ConfigBody {
                rest: config,
                delivery,
            };
            let mut response = text(
                StatusCode::OK,
                "application/vnd.coreos.ignition+json",
                Body::new(body),
            );
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            response
        }
    }
}

/// A host's own initramfs. It may be fetched again: boot loaders do so after a broken connection.
async fn overlay(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path(mac): Path<String>,
) -> Response<Body> {
    let mac: Mac = match mac.parse() {
        Ok(mac) => mac,
        Err(error) => return refuse(&shared, peer, StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let host = shared.hosts.by_mac.get(&mac);
    let overlay = host.and_then(|&index| shared.hosts.hosts[index].0.overlay.clone());
    match overlay {
        Some(overlay) => text(StatusCode::OK, "application/octet-stream", overlay),
        None => {
            let sentence = format!("there is no initramfs for {mac} alone");
            refuse(&shared, peer, StatusCode::NOT_FOUND, &sentence)
        }
    }
}

/// An Ignition configuration that counts as taken with its last byte, so that a broken connection
/// doesn't leave a host without.
struct ConfigBody {
    rest: Bytes,
    delivery: Delivery,
}

impl http_body::Body for ConfigBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(CONFIG_CHUNK_BYTES);
        let part = self.rest.split_to(length);
        if self.rest.is_empty() {
            self.delivery.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }
}

async fn done(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path(mac): Path<String>,
) -> Response<Body> {
    match mac.parse() {
        Ok(mac) if shared.board.done(mac) => plain(StatusCode::OK, "thank you"),
        Ok(mac) => {
            let sentence = format!("{mac} is not among the hosts of this server");
            refuse(&shared, peer, StatusCode::NOT_FOUND, &sentence)
        }
        Err(error) => {
            let sentence = error.to_string();
            refuse(&shared, peer, StatusCode::BAD_REQUEST, &sentence)
        }
    }
}

async fn file(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    request: Request<Body>,
) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return wrong_method("files can only be fetched", "GET, HEAD");
    }
    let Some(path) = request.uri().path().strip_prefix('/').map(str::to_owned) else {
        return not_found();
    };
    // The directory may be on another machine's disk.
    let directory = Arc::clone(&shared);
    let found = spawn_blocking(move || directory.directory.find(&path)).await;
    let Ok(Some((name, served))) = found else {
        return not_found();
    };
    let (length, etag) = (served.length, &served.etag);
    let part = Part::of(request.method(), request.headers(), length, etag);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    common(headers, content_type(&name));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Names and digests are visible ASCII, so this is always there.
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    let (status, (start, end), range) = match part {
        Part::Whole => (StatusCode::OK, (0, length), None),
        Part::Bytes(start, end) => (
            StatusCode::PARTIAL_CONTENT,
            (start, end),
            Some(format!("bytes {start}-{}/{length}", end - 1)),
        ),
        Part::None => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            (0, 0),
            Some(format!("bytes */{length}")),
        ),
        Part::Unchanged => (StatusCode::NOT_MODIFIED, (0, 0), None),
    };
    if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range).ok()) {
        headers.insert(header::CONTENT_RANGE, range);
    }
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    }
    *response.status_mut() = status;
    if request.method() == Method::GET && start < end {
        let mac = query_value(request.uri(), "mac").and_then(|mac| mac.parse().ok());
        let transfer = step(&shared, &name)
            .and_then(|step| shared.board.fetches(peer.ip(), mac, step, (start, length)));
        let pool = Arc::clone(&shared.pool);
        *response.body_mut() = Body::new(FileBody::new(served.file, (start, end), pool, transfer));
    }
    response
}

/// The step of a boot in which the file `name` is fetched.
fn step(shared: &Shared, name: &str) -> Option<Step> {
    let pxe = shared.directory.pxe.as_ref()?;
    [
        (&pxe.kernel, Step::Kernel),
        (&pxe.initramfs, Step::Initramfs),
        (&pxe.rootfs, Step::Rootfs),
    ]
    .into_iter()
    .find_map(|(known, step)| (known == name).then_some(step))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        Some((_, "txt" | "cfg" | "ipxe")) => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The first value of `key` in the query of `uri`.
fn query_value(uri: &Uri, key: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let (_, value) = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(k, _)| *k == key)?;
    percent_decoded(value)
}

fn common(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    common(headers, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn plain(status: StatusCode, sentence: &str) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn script(script: String) -> Response<Body> {
    text(StatusCode::OK, "text/plain; charset=utf-8", script)
}

fn wrong_method(sentence: &str, allowed: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, sentence);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "there is no such file")
}

fn refused(shared: &Shared, peer: Peer, sentence: &str) {
    shared.board.tell(&Event::Refused {
        client: peer.ip(),
        sentence: sentence.to_owned(),
    });
}

fn refuse(shared: &Shared, peer: Peer, status: StatusCode, sentence: &str) -> Response<Body> {
    refused(shared, peer, sentence);
    plain(status, sentence)
}
