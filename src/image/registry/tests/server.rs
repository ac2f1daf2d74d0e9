//! A small HTTP server whose answers a test decides, and an image for it to serve.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::image::digest::Digest;
use crate::image::media_type::{OCI_CONFIG, OCI_MANIFEST};

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// With lower-case names.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        // The beginning of TLS, which this server does not talk.
        if reader.fill_buf().ok()?.first() == Some(&0x16) {
            return None;
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader
                .read_line(&mut line)
                .ok()
                .filter(|count| *count > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines[0].split(' ').map(str::to_owned);
        let mut request = Self {
            method: words.next()?,
            target: words.next()?,
            headers: lines[1..]
                .iter()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: String::new(),
        };
        let len = request
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .ok()?;
        let mut body = Vec::new();
        reader.take(len).read_to_end(&mut body).ok()?;
        request.body = String::from_utf8_lossy(&body).into_owned();
        Some(request)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(n, _)| n == name);
        header.map(|(_, value)| value.as_str())
    }
}

/// An answer, after which the connection is closed.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<String>,
    /// What `content-length` says.
    pub(super) len: usize,
    pub(super) body: Vec<u8>,
    /// A pause before anything is answered.
    pub(super) before: Duration,
    /// A pause before the connection is closed.
    pub(super) silence: Duration,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: Vec::new(),
            len: body.len(),
            body,
            before: Duration::ZERO,
            silence: Duration::ZERO,
        }
    }

    pub(super) fn with(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    /// The same, but the connection breaks after `count` bytes.
    pub(super) fn cut(mut self, count: usize) -> Self {
        self.body.truncate(count);
        self
    }
}

pub(super) type Seen = Arc<Mutex<Vec<Request>>>;

/// Starts a server; returns its address and what it has seen. It ends with the test process.
pub(super) fn serve(
    handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, log, handler) =
                (stream.unwrap(), Arc::clone(&log), Arc::clone(&handler));
            std::thread::spawn(move || {
                let Some(request) = Request::read(&stream) else {
                    return;
                };
                let same = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.iter().filter(|r| r.target == request.target).count()
                };
                let reply = handler(&request, same);
                std::thread::sleep(reply.before);
                let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
                for header in &reply.headers {
                    head += &format!("{header}\r\n");
                }
                head += &format!("content-length: {}\r\n\r\n", reply.len);
                // The client may have left.
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&reply.body);
                std::thread::sleep(reply.silence);
            });
        }
    });
    (address, seen)
}

/// An image with one uncompressed layer, of 300 000 bytes if nothing else is said.
#[derive(Clone)]
pub(super) struct TestImage {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) layer: Vec<u8>,
}

impl TestImage {
    pub(super) fn new() -> Self {
        let layer = (0..300_000u32).map(|i| (i >> 8) as u8 ^ i as u8);
        Self::with_layer(layer.collect())
    }

    pub(super) fn with_layer(layer: Vec<u8>) -> Self {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer).as_str()]},
        });
        let config = config.to_string().into_bytes();
        let descriptor = |media_type: &str, bytes: &[u8]| {
            let digest = Digest::sha256(bytes);
            json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            layer,
        }
    }

    pub(super) fn is_layer(&self, request: &Request) -> bool {
        request
            .target
            .ends_with(Digest::sha256(&self.layer).as_str())
    }

    /// What a registry in good health answers.
    pub(super) fn answer(&self, request: &Request) -> Reply {
        if request.target == "/v2/" {
            return Reply::new(200, "{}");
        }
        if request.target.contains("/manifests/") {
            return Reply::new(200, self.manifest.clone()).with(format!(
                "docker-content-digest: {}",
                Digest::sha256(&self.manifest)
            ));
        }
        let blobs = [&self.config, &self.layer];
        let blob = blobs
            .into_iter()
            .find(|b| request.target.ends_with(Digest::sha256(b).as_str()));
        let Some(blob) = blob else {
            return Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#);
        };
        match request.header("range") {
            None => Reply::new(200, blob.clone()),
            Some(range) => {
                let from = range.trim_start_matches("bytes=").trim_end_matches('-');
                Reply::new(206, &blob[from.parse::<usize>().unwrap()..])
            }
        }
    }
}
