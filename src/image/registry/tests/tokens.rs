//! Signing in: passwords, tokens, and what registries ask for.

use serde_json::json;

use super::server::{Reply, TestImage, serve};
use super::{layer, pull, told};

/// A token server that gives out `token1`, `token2`, …; blobs break once, and then want a newer one.
#[test]
fn old_tokens_are_renewed() {
    let image = TestImage::new();
    let wanted = image.clone();
    let (host, seen) = serve(move |request, same| {
        let host = request.header("host").unwrap();
        let challenge =
            format!("www-authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
        if request.target == "/v2/" {
            return Reply::new(401, "").with(challenge);
        }
        if request.target.starts_with("/token?") {
            return Reply::new(200, json!({"token": format!("token{same}")}).to_string());
        }
        let needed = if image.is_layer(request) && same > 1 {
            "token2"
        } else {
            "token1"
        };
        if request.header("authorization") != Some(&format!("Bearer {needed}")) {
            return Reply::new(401, "").with(challenge);
        }
        let reply = image.answer(request);
        if image.is_layer(request) && same == 1 {
            reply.cut(100_000)
        } else {
            reply
        }
    });
    assert_eq!(layer(&pull(&host, "{}").unwrap()).unwrap(), wanted.layer);
    let seen = seen.lock().unwrap();
    let count = |start: &str| seen.iter().filter(|r| r.target.starts_with(start)).count();
    assert_eq!(count("/token"), 2);
    // How to sign in is asked once.
    assert_eq!(count("/v2/") - count("/v2/a/"), 1);
}

/// Some registries want nothing for `/v2/`, and say later what they want.
#[test]
fn challenges_that_come_late_are_heeded() {
    let image = TestImage::new();
    let (host, seen) = serve(move |request, _| {
        let known = request.header("authorization") == Some("Basic dTpw");
        match request.target == "/v2/" || known {
            true => image.answer(request),
            false => Reply::new(401, "").with("www-authenticate: Basic realm=\"x\""),
        }
    });
    let file = json!({"auths": {host.as_str(): {"auth": "dTpw"}}}).to_string();
    assert!(pull(&host, &file).is_ok());
    let seen = seen.lock().unwrap();
    let told = seen.iter().map(|r| r.header("authorization").is_some());
    assert_eq!(told.collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn refused_tokens_end_at_once() {
    let (host, seen) = serve(|request, _| match request.target.as_str() {
        "/v2/" => {
            let host = request.header("host").unwrap();
            Reply::new(401, "").with(format!(
                "www-authenticate: Bearer realm=\"http://{host}/token\""
            ))
        }
        _ => Reply::new(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"bad password"}]}"#,
        ),
    });
    let error = told(pull(&host, "{}"));
    assert!(
        error.contains("bad password") && error.contains("podman login"),
        "{error}"
    );
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen.iter()
            .filter(|r| r.target.starts_with("/token"))
            .count(),
        1
    );
}

#[test]
fn identity_tokens_are_exchanged() {
    let image = TestImage::new();
    let wanted = image.clone();
    let (host, seen) = serve(move |request, _| {
        let host = request.header("host").unwrap();
        if request.target == "/v2/" {
            return Reply::new(401, "").with(format!(
                "www-authenticate: Bearer realm=\"http://{host}/token\",service=\"s t\""
            ));
        }
        if request.target == "/token" {
            return Reply::new(200, r#"{"access_token":"access"}"#);
        }
        match request.header("authorization") {
            Some("Bearer access") => image.answer(request),
            _ => Reply::new(401, ""),
        }
    });
    let file = json!({"auths": {host.as_str(): {"identitytoken": "re&fresh"}}}).to_string();
    assert_eq!(layer(&pull(&host, &file).unwrap()).unwrap(), wanted.layer);
    let seen = seen.lock().unwrap();
    let exchange = seen
        .iter()
        .find(|request| request.target == "/token")
        .unwrap();
    assert_eq!(exchange.method, "POST");
    for part in [
        "grant_type=refresh_token",
        "refresh_token=re%26fresh",
        "service=s+t",
        "scope=repository%3Aa%2Fos%3Apull",
    ] {
        assert!(
            exchange.body.split('&').any(|p| p == part),
            "{part}: {}",
            exchange.body
        );
    }
}
