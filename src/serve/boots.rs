//! A machine's boot: its script, and what the script's URLs give.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body::Frame;

use super::answer::{self, plain, script, text, wrong_method};
use super::asker::{Peer, authority, is_browser, query_value};
use super::board::{Script, Transfer};
use super::directory::Missing;
use super::script::{self, CONFIG, OVERLAY};
use super::shared::{App, Shared, look_up, not_there, refuse, refused, with_file};
use super::ticket::{Denial, Item, Ticket};
use crate::hosts::Mac;
use crate::netboot::{ASK_AGAIN, INSTALLED, refusal};

/// So large a part of a secret is sent at once.
const SECRET_CHUNK_BYTES: usize = 16 << 10;

pub(super) async fn by_query(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    request: Request<Body>,
) -> Response<Body> {
    match query_value(request.uri(), "mac") {
        None => script(ASK_AGAIN.to_owned()),
        Some(mac) => boot(&shared, peer, &mac, &request),
    }
}

pub(super) async fn by_path(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    match name.strip_suffix(".ipxe") {
        Some(mac) => boot(&shared, peer, mac, &request),
        None => not_there(&shared, peer, Missing::Unknown),
    }
}

fn boot(shared: &Shared, peer: Peer, mac: &str, request: &Request<Body>) -> Response<Body> {
    if is_browser(request.headers()) {
        return for_machines(shared, peer);
    }
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
        return script(refusal(&sentence));
    }
    let url = match (&shared.url, authority(request.headers())) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(authority)) => format!("{}://{authority}", shared.scheme),
        (None, None) => {
            let sentence = "the request doesn't say which host it is for";
            return refuse(shared, peer, StatusCode::BAD_REQUEST, sentence);
        }
    };
    if request.method() != Method::GET {
        // Looking is not booting.
        return wrong_method("a script can only be fetched", "GET");
    }
    match shared.board.asks(peer.ip(), mac) {
        Ok(Script::Boot(tickets)) => {
            let name = host.map_or_else(|| mac.to_string(), |host| host.name.clone());
            let title = &shared.directory.title;
            script(script::boot(title, pxe, &url, tickets, (&name, host)))
        }
        Ok(Script::Installed) => script(INSTALLED.to_owned()),
        Ok(Script::Refused(sentence)) => script(refusal(&sentence)),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

/// What a ticket gives.
pub(super) async fn fetch(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path((ticket, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    if is_browser(&headers) {
        return for_machines(&shared, peer);
    }
    let Ok(ticket) = ticket.parse() else {
        return denied(Denial::Unknown);
    };
    match &*name {
        CONFIG => secret(&shared, peer, ticket, Item::Config, &method),
        OVERLAY => secret(&shared, peer, ticket, Item::Overlay, &method),
        _ => match item(&shared, &name) {
            Some(item) => file(&shared, peer, (ticket, item), name, (&method, &headers)).await,
            None => not_there(&shared, peer, Missing::Unknown),
        },
    }
}

/// A file of the bake, for the machine that has `ticket`.
async fn file(
    shared: &Arc<Shared>,
    peer: Peer,
    (ticket, item): (Ticket, Item),
    name: String,
    asked: (&Method, &HeaderMap),
) -> Response<Body> {
    if let Err(denial) = shared.board.judge(peer.ip(), ticket, item) {
        return denied(denial);
    }
    let served = match look_up(shared, name.clone()).await {
        Ok(served) => served,
        Err(missing) => return not_there(shared, peer, missing),
    };
    let (response, bytes) = answer::file(asked, &name, &served);
    let Some((start, end)) = bytes else {
        return response;
    };
    let length = served.length;
    match shared
        .board
        .fetches(peer.ip(), ticket, item, (start, length))
    {
        Ok(transfer) => with_file(shared, response, served, (start, end), Some(transfer)),
        Err(denial) => denied(denial),
    }
}

/// What only one host may have: its Ignition config, or its overlay.
fn secret(
    shared: &Shared,
    peer: Peer,
    ticket: Ticket,
    item: Item,
    method: &Method,
) -> Response<Body> {
    if method != Method::GET {
        // Looking is not taking.
        return wrong_method("a secret can only be fetched", "GET");
    }
    let (bytes, transfer) = match shared.board.secret(peer.ip(), ticket, item) {
        Ok(given) => given,
        Err(denial) => return denied(denial),
    };
    let kind = match item {
        Item::Config => "application/vnd.coreos.ignition+json",
        _ => "application/octet-stream",
    };
    let length = bytes.len();
    let body = SecretBody {
        rest: bytes,
        transfer,
    };
    let mut response = text(StatusCode::OK, kind, Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A secret that counts as delivered with its last byte, so that a broken connection doesn't leave a
/// host without.
struct SecretBody {
    rest: Bytes,
    transfer: Transfer,
}

impl http_body::Body for SecretBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(SECRET_CHUNK_BYTES);
        let part = self.rest.split_to(length);
        self.transfer
            .advance(u64::try_from(length).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }
}

/// A machine says that it is installed.
pub(super) async fn done(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    Path(ticket): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    if is_browser(&headers) {
        return for_machines(&shared, peer);
    }
    let Ok(ticket) = ticket.parse() else {
        return denied(Denial::Unknown);
    };
    match shared.board.done(peer.ip(), ticket) {
        Ok(()) => plain(StatusCode::OK, "thank you"),
        Err(denial) => denied(denial),
    }
}

/// What of a boot the file called `name` is.
fn item(shared: &Shared, name: &str) -> Option<Item> {
    let pxe = shared.directory.pxe.as_ref()?;
    [
        (&pxe.kernel, Item::Kernel),
        (&pxe.initramfs, Item::Initramfs),
        (&pxe.rootfs, Item::Rootfs),
    ]
    .into_iter()
    .find_map(|(known, item)| (known == name).then_some(item))
}

fn for_machines(shared: &Shared, peer: Peer) -> Response<Body> {
    let sentence = "a browser asks for what only machines get";
    refuse(shared, peer, StatusCode::FORBIDDEN, sentence)
}

/// The operator has been told.
fn denied(denial: Denial) -> Response<Body> {
    let status = match denial {
        Denial::Unknown | Denial::Nothing => StatusCode::NOT_FOUND,
        Denial::Elsewhere | Denial::Bound | Denial::Sealed => StatusCode::FORBIDDEN,
        Denial::Delivered => StatusCode::GONE,
        Denial::TooEarly => StatusCode::CONFLICT,
        Denial::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = plain(status, &denial.to_string());
    if denial == Denial::Busy {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
