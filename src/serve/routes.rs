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

use super::answer::{self, plain, text, wrong_method};
use super::asker::{Asker, Peer};
use super::boots;
use super::directory::{Missing, percent_decoded};
use super::page;
use super::shared::{App, Shared, look_up, not_there, refuse, with_file};

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
