//! Images sent to registries that are difficult.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::server::{Reply, Request, Seen, TestImage, serve};
use super::{access, pull, told};
use crate::image::{Digest, NewLayer, Target, write};
use crate::progress::Silent;
use crate::tree::Content;

/// Sends the test image with one more layer; returns the name that it got.
fn push(host: &str, authfile: &str) -> anyhow::Result<String> {
    let image = TestImage::new();
    let (origin, _) = serve(move |request, _| image.answer(request));
    let base = pull(&origin, "{}")?;
    let blob = vec![7; 200_000];
    let derived = base.derive(NewLayer {
        digest: Digest::sha256(&blob),
        diff_id: Digest::sha256(&blob),
        blob: Content::bytes(blob),
        created_by: "a test".into(),
    })?;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("auth.json");
    std::fs::write(&file, authfile).unwrap();
    let target: Target = format!("docker://{host}/b/os:2").parse()?;
    let access = access(directory.path(), &file);
    write(&base, &derived, &target, &access, false, &Silent)
}

/// What a registry without sign-in answers; `seen` has the manifest that it was sent.
fn healthy(request: &Request, seen: &Seen) -> Reply {
    match request.method.as_str() {
        _ if request.target == "/v2/" => Reply::new(200, ""),
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").with("location: /upload?state=a%2Fb"),
        "PUT" => Reply::new(201, ""),
        _ => {
            let seen = seen.lock().unwrap();
            let sent = seen
                .iter()
                .rfind(|request| request.method == "PUT" && request.target.contains("/manifests/"));
            Reply::new(200, sent.map_or("", |request| &request.body))
        }
    }
}

fn targets(seen: &Seen, method: &str) -> Vec<String> {
    let seen = seen.lock().unwrap();
    let fitting = seen.iter().filter(|request| request.method == method);
    fitting.map(|request| request.target.clone()).collect()
}

#[test]
fn tokens_that_run_out_while_bytes_go_are_renewed() {
    let log = Seen::default();
    let shared = Seen::clone(&log);
    let (host, seen) = serve(move |request, same| {
        shared.lock().unwrap().push(request.clone());
        let host = request.header("host").unwrap();
        if request.target == "/v2/" {
            let challenge = format!("www-authenticate: Bearer realm=\"http://{host}/token\"");
            return Reply::new(401, "").with(challenge);
        }
        if request.target.starts_with("/token?") {
            return Reply::new(200, json!({"token": format!("token{same}")}).to_string());
        }
        // The first token is good until the first blob is sent.
        let old = request.header("authorization") == Some("Bearer token1");
        match old && request.method == "PUT" {
            true => Reply::new(401, ""),
            false => healthy(request, &shared),
        }
    });
    let name = push(&host, "{}").unwrap();
    assert!(
        name.starts_with(&format!("docker://{host}/b/os@")),
        "{name}"
    );
    let puts = targets(&seen, "PUT");
    // The first blob twice, two others, the manifest.
    assert_eq!(puts.len(), 5, "{puts:?}");
    assert_eq!(puts[0], puts[1]);
    assert!(puts[0].starts_with("/upload?state=a%2Fb&digest=sha256%3A"));
    let scopes: Vec<String> = targets(&seen, "GET")
        .into_iter()
        .filter(|target| target.starts_with("/token?"))
        .collect();
    let [push, pull] = ["pull%2Cpush", "pull"]
        .map(|actions| format!("/token?scope=repository%3Ab%2Fos%3A{actions}"));
    assert_eq!(scopes, [push.clone(), push, pull]);
}

#[test]
fn refused_uploads_are_not_sent_again() {
    let log = Seen::default();
    let (host, seen) = serve(move |request, _| match request.method.as_str() {
        "PUT" => Reply::new(
            403,
            r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#,
        ),
        _ => healthy(request, &log),
    });
    let error = told(push(&host, "{}"));
    assert!(error.contains("refuses layer 1 ("), "{error}");
    assert!(error.contains("HTTP status 403: read only"), "{error}");
    assert_eq!(targets(&seen, "PUT").len(), 1);
}

#[test]
fn uploads_elsewhere_do_not_tell_who_we_are() {
    let (storage, storage_seen) = serve(|_, _| Reply::new(201, ""));
    let log = Seen::default();
    let shared = Seen::clone(&log);
    let (host, _) = serve(move |request, _| {
        shared.lock().unwrap().push(request.clone());
        match request.method.as_str() {
            _ if request.target == "/v2/" => {
                Reply::new(401, "").with("www-authenticate: Basic realm=\"x\"")
            }
            _ if request.header("authorization").is_none() => Reply::new(401, ""),
            "POST" => Reply::new(202, "").with(format!("location: http://{storage}/a")),
            _ => healthy(request, &shared),
        }
    });
    let file = json!({"auths": {host.as_str(): {"auth": "dTpw"}}}).to_string();
    push(&host, &file).unwrap();
    let seen = storage_seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    let told = |request: &Request| request.header("authorization").is_some();
    assert!(!seen.iter().any(told));
}

#[test]
fn registries_that_never_store_are_given_up_at_once() {
    let log = Seen::default();
    let (host, seen) = serve(move |request, _| {
        let mut reply = healthy(request, &log);
        if request.method == "PUT" {
            reply.before = Duration::from_secs(3600);
        }
        reply
    });
    let error = told(push(&host, "{}"));
    assert!(
        error.contains("is too slow with layer 1") && error.contains("it did not say in 2s"),
        "{error}"
    );
    assert_eq!(targets(&seen, "PUT").len(), 1);
}
