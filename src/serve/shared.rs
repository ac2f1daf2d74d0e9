//! What all requests share, and what several of them are answered with.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use tokio::task::spawn_blocking;

use super::answer::plain;
use super::asker::{Peer, Token};
use super::board::{Board, Transfer};
use super::body::{FileBody, Pool};
use super::directory::{Directory, Missing, Served};
use super::hosts::Hosts;
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
