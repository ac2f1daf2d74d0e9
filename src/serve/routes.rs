//! What each URL answers.
//!
//! ```text
//! /  /status  /status.json     the operator: all; anybody: totals
//! /boot.ipxe  /boot/MAC.ipxe   a script, and with it a machine's tickets
//! /b/TICKET/…                  what a machine boots from, its secrets among it   see `boots`
//! /NAME                        files of the bake; counts for nobody
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::routing::{get, post};
use tokio::task::spawn_blocking;

use super::answer::{self, plain, text, wrong_method};
use super::asker::{Asker, Peer, Token};
use super::board::{Board, Transfer};
use super::body::{FileBody, Pool};
use super::boots;
use super::directory::{Directory, Missing, Served, percent_decoded};
use super::hosts::Hosts;
use super::page;
use super::status::Event;

/// What all requests share.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) hosts: Hosts,
    pub(super) board: Arc<Board>,
    pub(super) pool: Arc<Pool>,
    pub(super) token: Token,
    pub(super) url: Option<String>,
    pub(super) scheme: &'static str,
    pub(super) strict: bool,
}

pub(super) type App = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/status", get(status_page))
        .route("/status.json", get(status_json))
        .route("/boot.ipxe", get(boots::by_query))
        .route("/boot/{name}", get(boots::by_path))
        .route("/b/{ticket}/{name}", get(boots::fetch))
        .route("/b/{ticket}/done", post(boots::done))
        .fallback(file)
        .with_state(shared)
}

async fn status_page(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let status = shared.board.status();
    let page = match shared.token.asker(peer, &uri, &headers) {
        Asker::Operator => page::html(&status, uri.query()),
        Asker::Anybody => page::totals(&status),
        Asker::Mistaken => return mistaken(&shared, peer),
    };
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

async fn status_json(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let status = shared.board.status();
    let json = match shared.token.asker(peer, &uri, &headers) {
        Asker::Operator => serde_json::to_string_pretty(&status),
        Asker::Anybody => serde_json::to_string_pretty(&status.totals()),
        Asker::Mistaken => return mistaken(&shared, peer),
    };
    match json {
        Ok(json) => text(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn mistaken(shared: &Shared, peer: Peer) -> Response<Body> {
    let sentence = "this is not the status token of this run of the server";
    refuse(shared, peer, StatusCode::FORBIDDEN, sentence)
}

/// A file of the bake, for boot loaders and people who know what they want.
async fn file(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return wrong_method("files can only be fetched", "GET, HEAD");
    }
    let path = uri.path().strip_prefix('/');
    let Some(name) = path.and_then(percent_decoded) else {
        return not_there(&shared, peer, Missing::Unknown);
    };
    let served = match look_up(&shared, name.clone()).await {
        Ok(served) => served,
        Err(missing) => return not_there(&shared, peer, missing),
    };
    let (response, bytes) = answer::file((&method, &headers), &name, &served);
    match bytes {
        Some(bytes) => with_file(&shared, response, served, bytes, None),
        None => response,
    }
}

/// `response` with these bytes of a file behind it.
pub(super) fn with_file(
    shared: &Shared,
    mut response: Response<Body>,
    served: Served,
    bytes: (u64, u64),
    transfer: Option<Transfer>,
) -> Response<Body> {
    let pool = Arc::clone(&shared.pool);
    *response.body_mut() = Body::new(FileBody::new(served.file, bytes, pool, transfer));
    response
}

/// The file called `name`. The directory may be on another machine's disk.
pub(super) async fn look_up(shared: &Arc<Shared>, name: String) -> Result<Served, Missing> {
    let shared = Arc::clone(shared);
    let found = spawn_blocking(move || shared.directory.find(&name)).await;
    found.unwrap_or(Err(Missing::Unknown))
}

/// There is nothing, or nothing for everyone; the operator hears of what was expected to be there.
pub(super) fn not_there(shared: &Shared, peer: Peer, missing: Missing) -> Response<Body> {
    let sentence = missing.to_string();
    match missing {
        Missing::Unknown => plain(StatusCode::NOT_FOUND, &sentence),
        _ => refuse(shared, peer, StatusCode::NOT_FOUND, &sentence),
    }
}

pub(super) fn refused(shared: &Shared, peer: Peer, sentence: &str) {
    shared.board.tell(&Event::Refused {
        client: peer.ip(),
        host: None,
        sentence: sentence.to_owned(),
    });
}

pub(super) fn refuse(
    shared: &Shared,
    peer: Peer,
    status: StatusCode,
    sentence: &str,
) -> Response<Body> {
    refused(shared, peer, sentence);
    plain(status, sentence)
}
