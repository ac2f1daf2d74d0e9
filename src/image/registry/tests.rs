//! Registries that misbehave, played by a small server on this host. Well-behaved ones are in
//! `tests/registry.rs`, where a real one runs.

mod push;
mod server;
mod tokens;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::image::{Access, Image, ImageError, Patience, hint, open};
use server::{Reply, Seen, TestImage, serve};

/// Opens `host/a/os:1` with the given text as the file with credentials.
fn pull(host: &str, authfile: &str) -> anyhow::Result<Image> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("auth.json");
    std::fs::write(&file, authfile).unwrap();
    let reference = format!("{host}/a/os:1").parse().unwrap();
    open(&reference, &access(directory.path(), &file))
}

fn access(scratch: &Path, authfile: &Path) -> Access {
    let mut access = Access::new(scratch);
    access.authfile = Some(authfile.to_owned());
    access.patience = Patience {
        attempts: 4,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        silence: Duration::from_millis(700),
        storing: Duration::from_secs(2),
        ..Patience::default()
    };
    access
}

fn layer(image: &Image) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image.layer(0)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn ranges(seen: &Seen, image: &TestImage) -> Vec<Option<String>> {
    let seen = seen.lock().unwrap();
    seen.iter()
        .filter(|request| image.is_layer(request))
        .map(|request| request.header("range").map(str::to_owned))
        .collect()
}

fn told<T: std::fmt::Debug>(outcome: anyhow::Result<T>) -> String {
    let error = outcome.unwrap_err();
    format!(
        "{error:#}\n{}",
        error.chain().find_map(hint).unwrap_or_default()
    )
}

#[test]
fn broken_blobs_are_resumed_where_they_broke() {
    let image = TestImage::new();
    let wanted = image.clone();
    let (host, seen) = serve(move |request, _| {
        let reply = image.answer(request);
        // 100 000 bytes a time, which is progress each time: more breaks than attempts.
        if image.is_layer(request) {
            reply.cut(50_000)
        } else {
            reply
        }
    });
    // 50 000 bytes are too few to count; two breaks are borne, then there was progress.
    let opened = pull(&host, "{}").unwrap();
    assert_eq!(layer(&opened).unwrap(), wanted.layer);
    let starts: Vec<Option<String>> = (0..6)
        .map(|i| (i > 0).then(|| format!("bytes={}-", i * 50_000)))
        .collect();
    assert_eq!(ranges(&seen, &wanted), starts);
}

#[test]
fn servers_without_ranges_send_all_again() {
    let image = TestImage::new();
    let wanted = image.clone();
    let (host, seen) = serve(move |request, same| {
        let mut request = request.clone();
        request.headers.retain(|(name, _)| name != "range");
        let reply = image.answer(&request);
        if image.is_layer(&request) && same < 3 {
            reply.cut(100_000 * same)
        } else {
            reply
        }
    });
    let opened = pull(&host, "{}").unwrap();
    assert_eq!(layer(&opened).unwrap(), wanted.layer);
    let expected = [
        None,
        Some("bytes=100000-".into()),
        Some("bytes=200000-".into()),
    ];
    assert_eq!(ranges(&seen, &wanted), expected);
}

#[test]
fn silence_counts_as_a_break() {
    let image = TestImage::new();
    let wanted = image.clone();
    let (host, seen) = serve(move |request, same| {
        let mut reply = image.answer(request);
        if image.is_layer(request) && same == 1 {
            reply = reply.cut(100_000);
            reply.silence = Duration::from_secs(3600);
        }
        reply
    });
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(layer(&pull(&host, "{}").unwrap())));
    let bytes = receiver.recv_timeout(Duration::from_secs(120));
    let bytes = bytes.expect("a silent server is not waited for");
    assert_eq!(bytes.unwrap(), wanted.layer);
    assert_eq!(ranges(&seen, &wanted), [None, Some("bytes=100000-".into())]);
}

/// A reader that pauses for longer than servers may must not be taken for a silent server.
#[test]
fn slow_readers_are_no_silence() {
    // More than queue and sockets hold, so that the server has to wait.
    let image = TestImage::with_layer(vec![7; 32 << 20]);
    let wanted = image.clone();
    let (host, seen) = serve(move |request, _| image.answer(request));
    let opened = pull(&host, "{}").unwrap();
    let mut reader = opened.layer(0).unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    reader.finish().unwrap();
    assert_eq!(ranges(&seen, &wanted), [None]);
}

#[test]
fn connections_that_bring_nothing_are_given_up() {
    let image = TestImage::new();
    let wanted = image.clone();
    let (host, seen) = serve(move |request, _| {
        let reply = image.answer(request);
        if image.is_layer(request) {
            reply.cut(10)
        } else {
            reply
        }
    });
    let opened = pull(&host, "{}").unwrap();
    let error = told(layer(&opened));
    assert!(
        error.contains(&format!("could not be read from {host} in 4 attempts")),
        "{error}"
    );
    assert!(error.contains("layer 1 (sha256:"), "{error}");
    assert_eq!(ranges(&seen, &wanted).len(), 4);
}

#[test]
fn troubled_servers_are_asked_again() {
    let image = TestImage::new();
    let (host, seen) = serve(move |request, same| match same {
        1 | 2 if request.target != "/v2/" => Reply::new(503, "starting\nup"),
        _ => image.answer(request),
    });
    assert!(pull(&host, "{}").is_ok());
    let manifests = seen
        .lock()
        .unwrap()
        .iter()
        .filter(|r| r.target.contains("manifests"))
        .count();
    assert_eq!(manifests, 3);

    let (host, _) =
        serve(|_, _| Reply::new(500, r#"{"errors":[{"code":"X","message":"disk full"}]}"#));
    let error = told(pull(&host, "{}"));
    assert!(
        error.contains("in 4 attempts: HTTP status 500: disk full"),
        "{error}"
    );
}

#[test]
fn nobody_there_is_said_plainly() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = told(pull(&closed.to_string(), "{}"));
    assert!(
        error.contains(&format!("{closed} can't be reached: Connection refused")),
        "{error}"
    );
    assert!(error.contains("oci:DIR"), "{error}");
}

#[test]
fn missing_tags_are_answered_with_those_there_are() {
    let image = TestImage::new();
    for (tags, expected) in [
        (
            Reply::new(200, r#"{"name":"a/os","tags":["4.18","fixed","4.19"]}"#),
            "the repository has these tags: fixed, 4.18, 4.19",
        ),
        (
            Reply::new(200, r#"{"tags":null}"#),
            "the repository has no tags",
        ),
        (Reply::new(401, ""), "podman login"),
        (Reply::new(200, "<html>"), "podman login"),
        (Reply::new(404, ""), "podman login"),
    ] {
        let image = image.clone();
        let (host, _) = serve(move |request, _| match request.target.as_str() {
            "/v2/" => Reply::new(200, ""),
            "/v2/a/os/tags/list?n=1000" => tags.clone(),
            target if target.contains("fixd") => Reply::new(
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            ),
            _ => image.answer(request),
        });
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("auth.json");
        std::fs::write(&file, "{}").unwrap();
        let reference = format!("{host}/a/os:fixd").parse().unwrap();
        let error = told(open(&reference, &access(directory.path(), &file)));
        assert!(error.contains("has no manifest of"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn refusals_name_the_credentials() {
    for (status, expected) in [
        (401, "refuses manifest of docker://"),
        (403, "no way"),
        (404, "has no manifest of"),
    ] {
        let (host, seen) = serve(move |request, _| match request.target.as_str() {
            "/v2/" => Reply::new(401, "").with("www-authenticate: Basic realm=\"x\""),
            _ => Reply::new(
                status,
                r#"{"errors":[{"code":"DENIED","message":"no way"}]}"#,
            ),
        });
        let none = told(pull(&host, "{}"));
        assert!(none.contains(expected), "{none}");
        assert!(none.contains(&format!("podman login {host}")), "{none}");
        let file = json!({"auths": {host.as_str(): {"auth": "dTpzZWNyZXQ="}}}).to_string();
        let some = told(pull(&host, &file));
        assert!(
            some.contains(&format!("credentials used are those for {host} in /")),
            "{some}"
        );
        assert!(!some.contains("secret") && !some.contains("dTpz"), "{some}");
        let seen = seen.lock().unwrap();
        assert_eq!(
            seen.last().unwrap().header("authorization"),
            Some("Basic dTpzZWNyZXQ=")
        );
        let manifests = seen
            .iter()
            .filter(|request| request.target.contains("manifests"));
        assert_eq!(manifests.count(), 2, "asked again: {seen:?}");
    }
}

/// However often silence may be borne: all of it together has an end, too.
#[test]
fn silent_servers_are_given_up_in_all() {
    let (host, _) = serve(|_, _| {
        let mut reply = Reply::new(200, "");
        reply.before = Duration::from_secs(3600);
        reply
    });
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("auth.json");
    std::fs::write(&file, "{}").unwrap();
    let mut access = access(directory.path(), &file);
    access.patience.attempts = 100;
    access.patience.silence = Duration::from_millis(300);
    access.patience.fruitless = Duration::from_millis(500);
    let error = told(open(&format!("{host}/a/os:1").parse().unwrap(), &access));
    assert!(
        error.contains("in 2 attempts: nothing came for 300ms"),
        "{error}"
    );
}

/// Registries send blobs from elsewhere; credentials are none of that place's business.
#[test]
fn redirects_get_no_credentials() {
    let image = TestImage::new();
    let wanted = image.clone();
    let there = image.clone();
    let (storage, storage_seen) = serve(move |request, _| there.answer(request));
    let (host, _) = serve(move |request, _| match request.target.as_str() {
        "/v2/" => Reply::new(401, "").with("www-authenticate: Basic realm=\"x\""),
        _ if request.header("authorization").is_none() => Reply::new(401, ""),
        target if target.contains("/blobs/") => {
            Reply::new(307, "").with(format!("location: http://{storage}{target}"))
        }
        _ => image.answer(request),
    });
    let file = json!({"auths": {host.as_str(): {"auth": "dTpw"}}}).to_string();
    assert_eq!(layer(&pull(&host, &file).unwrap()).unwrap(), wanted.layer);
    let seen = storage_seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn lies_about_digests_and_sizes_are_found() {
    let image = TestImage::new();
    let zeros = format!("sha256:{}", "0".repeat(64));

    let (liar, header) = (image.clone(), zeros.clone());
    let (host, _) = serve(move |request, _| {
        let mut reply = liar.answer(request);
        reply.headers = vec![format!("docker-content-digest: {header}")];
        reply
    });
    let error = pull(&host, "{}").unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(ImageError::WrongDigest { .. })),
        "{error:#}"
    );

    // Asked for one digest, answers with another manifest.
    let liar = image.clone();
    let (host, _) = serve(move |request, _| {
        let mut reply = liar.answer(request);
        reply.headers.clear();
        reply
    });
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("auth.json");
    std::fs::write(&file, "{}").unwrap();
    let reference = format!("{host}/a/os@{zeros}").parse().unwrap();
    let error = open(&reference, &access(directory.path(), &file)).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(ImageError::WrongDigest { .. })),
        "{error:#}"
    );

    let liar = image.clone();
    let (host, _) = serve(move |request, _| {
        let mut reply = liar.answer(request);
        if liar.is_layer(request) {
            reply.body[5] ^= 1;
        }
        reply
    });
    let error = told(layer(&pull(&host, "{}").unwrap()));
    assert!(error.contains("has the digest"), "{error}");

    let liar = image.clone();
    let (host, _) = serve(move |request, _| {
        let mut reply = liar.answer(request);
        if liar.is_layer(request) {
            reply.body.push(0);
            reply.len += 1;
        }
        reply
    });
    let error = told(layer(&pull(&host, "{}").unwrap()));
    assert!(
        error.contains("has 300001 bytes, where 300000 are promised"),
        "{error}"
    );
}

#[test]
fn endless_manifests_are_not_read_to_the_end() {
    let (host, _) = serve(|request, _| match request.target.as_str() {
        "/v2/" => Reply::new(200, ""),
        _ => {
            let mut reply = Reply::new(200, vec![b' '; 5 << 20]);
            reply.len = 1 << 40;
            reply.silence = Duration::from_secs(20);
            reply
        }
    });
    let error = told(pull(&host, "{}"));
    assert!(error.contains("has more than 4194304 bytes"), "{error}");
}

#[test]
fn missing_blobs_are_named() {
    let image = TestImage::new();
    let (host, _) = serve(move |request, _| match image.is_layer(request) {
        true => Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#),
        false => image.answer(request),
    });
    let error = told(layer(&pull(&host, "{}").unwrap()));
    assert!(
        error.contains(&format!("{host} has no layer 1 (sha256:")),
        "{error}"
    );
}

/// A dropped reader must not leave its task behind, nor wait for it.
#[test]
fn readers_may_be_dropped_early() {
    let image = TestImage::new();
    let (host, _) = serve(move |request, _| {
        let mut reply = image.answer(request);
        if image.is_layer(request) {
            reply = reply.cut(100_000);
            reply.silence = Duration::from_secs(20);
        }
        reply
    });
    let opened = pull(&host, "{}").unwrap();
    let mut reader = opened.layer(0).unwrap();
    drop(opened);
    reader.read_exact(&mut [0; 1000]).unwrap();
    drop(reader);
}
