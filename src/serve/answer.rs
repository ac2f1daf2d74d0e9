//! Answers: texts, files and parts of them. No answer lets pages of other sites read it (CORS).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::directory::Served;
use super::range::Part;

fn common(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// A text that nobody keeps, and whose URL stays where it is.
pub(super) fn text(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    common(headers, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

pub(super) fn plain(status: StatusCode, sentence: &str) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

pub(super) fn script(script: String) -> Response<Body> {
    text(StatusCode::OK, "text/plain; charset=utf-8", script)
}

pub(super) fn wrong_method(sentence: &str, allowed: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, sentence);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The head of the answer to a request for a file, and the bytes that belong behind it, if any.
pub(super) fn file(
    (method, headers): (&Method, &HeaderMap),
    name: &str,
    served: &Served,
) -> (Response<Body>, Option<(u64, u64)>) {
    let (length, etag) = (served.length, &served.etag);
    let part = Part::of(method, headers, length, etag);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    common(headers, content_type(name));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Digests are visible ASCII, so this is always there.
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
    let has_body = method == Method::GET && start < end;
    (response, has_body.then_some((start, end)))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        Some((_, "txt" | "cfg" | "ipxe")) => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
