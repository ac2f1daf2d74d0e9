//! A server on the loopback address, asked by curl, a browser, and sockets that say what no decent
//! client would.

mod boots;
mod files;
mod limits;
mod pages;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Board, Event, Host, Options, Server};
use crate::record::tests::sample_of;

const KERNEL: &str = "mini-1-live-kernel.x86_64";
const INITRAMFS: &str = "mini-1-live-initramfs.x86_64.img";
const ROOTFS: &str = "mini-1-live-rootfs.x86_64.img";

/// Long enough for many chunks, and not a multiple of one.
const ROOTFS_BYTES: usize = 5_000_011;

/// A bake directory with a network boot set.
struct Bake {
    directory: TempDir,
}

impl Bake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, role, content) in [
            (KERNEL, "kernel", noise(100_000)),
            (INITRAMFS, "initramfs", noise(300_000)),
            (ROOTFS, "rootfs", noise(ROOTFS_BYTES)),
        ] {
            fs::write(directory.path().join(name), &content).unwrap();
            files.push(json!({
                "name": name,
                "role": role,
                "size": content.len(),
                "sha256": hex::encode(Sha256::digest(&content)),
            }));
        }
        let mut record = sample_of(json!(files));
        record["os"]["pretty-name"] = json!("Mini <OS> 1");
        record["options"]["live-kargs"] = json!("console=ttyS0 ignition.firstboot");
        fs::write(directory.path().join("bake.json"), record.to_string()).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// One more file of the bake.
    fn record(&self, name: &str, role: &str, content: &[u8]) {
        beside(self, name, content);
        let path = self.path().join("bake.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["files"].as_array_mut().unwrap().push(json!({
            "name": name,
            "role": role,
            "size": content.len(),
            "sha256": hex::encode(Sha256::digest(content)),
        }));
        fs::write(path, record.to_string()).unwrap();
    }

    fn options(&self) -> Options {
        Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            directory: self.path().to_owned(),
            hosts: Vec::new(),
            url: None,
            repeat: false,
            serves_embedded: false,
            status_token: None,
            strict: false,
            grace: Duration::from_secs(30),
        }
    }

    /// Why a server with these options doesn't start.
    fn refusal(options: Options) -> String {
        let bound = Runtime::new()
            .unwrap()
            .block_on(Server::bind(options, Arc::new(|_| ())));
        format!("{:#}", bound.err().expect("the server starts"))
    }
}

/// Bytes that don't repeat with any buffer's length.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    url: String,
    exposure: Option<String>,
    board: Arc<Board>,
    events: Arc<Mutex<Vec<Event>>>,
    signals: UnboundedSender<()>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    fn start(options: Options) -> Self {
        Self::start_after(options, |_| ())
    }

    /// Starts it once `change` was made.
    fn start_after(options: Options, change: impl FnOnce(&mut Server)) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let listener = Arc::new(move |event: &Event| heard.lock().unwrap().push(event.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut server = runtime.block_on(Server::bind(options, listener)).unwrap();
        change(&mut server);
        let (signals, receiver) = unbounded_channel();
        Self {
            // One that listens everywhere is asked here.
            address: SocketAddr::new([127, 0, 0, 1].into(), server.address().port()),
            url: server.url().to_owned(),
            exposure: server.exposure().map(str::to_owned),
            board: server.board(),
            events,
            signals,
            thread: Some(std::thread::spawn(move || {
                runtime.block_on(server.run(receiver))
            })),
        }
    }

    fn signal(&self) {
        self.signals.send(()).unwrap();
    }

    fn ended(mut self) -> Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// The same from 127.0.0.`last`.
    fn connect_from(&self, last: u8) -> TcpStream {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            let own = IpAddr::from([127, 0, 0, last]);
            socket.bind(SocketAddr::new(own, 0)).unwrap();
            let stream = socket.connect(self.address).await.unwrap();
            stream.into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// Status and body of the answer to this request line from 127.0.0.`last`.
    fn ask_from(&self, last: u8, line: &str) -> (u16, String) {
        let request = format!(
            "{line}\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        let (head, body) = answer(self.connect_from(last), &request);
        (status(&head), String::from_utf8_lossy(&body).into_owned())
    }

    fn get_from(&self, last: u8, path: &str) -> (u16, String) {
        self.ask_from(last, &format!("GET {path} HTTP/1.1"))
    }

    /// The paths of the URLs in the script for `mac`, asked for from 127.0.0.`last`.
    fn boot_from(&self, last: u8, mac: &str) -> Urls {
        let (status, script) = self.get_from(last, &format!("/boot/{mac}.ipxe"));
        assert_eq!(status, 200);
        Urls::of(&script, &self.url)
    }

    fn boot(&self, mac: &str) -> Urls {
        self.boot_from(1, mac)
    }

    /// Status and body of the answer to exactly this request line.
    fn ask(&self, line: &str) -> (u16, String) {
        let (head, body) = self.ask_raw(&format!(
            "{line}\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ));
        (status(&head), String::from_utf8_lossy(&body).into_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1"))
    }

    /// Head and body of the answer to these bytes.
    fn ask_raw(&self, request: &str) -> (String, Vec<u8>) {
        answer(self.connect(), request)
    }

    /// How far the first host is.
    fn first(&self) -> super::HostStatus {
        self.board.status().hosts[0].clone()
    }
}

/// The paths that a script sends a machine to.
#[derive(Debug)]
struct Urls {
    kernel: String,
    initramfs: String,
    overlay: Option<String>,
    rootfs: String,
    config: Option<String>,
    done: String,
}

impl Urls {
    fn of(script: &str, url: &str) -> Self {
        let named = |start: &str| {
            let rest = &script[script.find(start)? + start.len()..];
            let named = rest.split_whitespace().next()?;
            Some(named.strip_prefix(url).expect(script).to_owned())
        };
        let rootfs = named("coreos.live.rootfs_url=").expect(script);
        let config = named("ignition.config.url=");
        Self {
            kernel: named("kernel ").expect(script),
            initramfs: named("--name main ").expect(script),
            overlay: named("--name host "),
            config: config.or_else(|| named("coreos.inst.ignition_url=")),
            done: format!("{}/done", rootfs.rsplit_once('/').unwrap().0),
            rootfs,
        }
    }

    fn config(&self) -> &str {
        self.config.as_deref().expect("a config")
    }
}

fn answer(mut stream: TcpStream, request: &str) -> (String, Vec<u8>) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Twice: whatever is still open has failed already.
            let _ = self.signals.send(());
            let _ = self.signals.send(());
            let _ = thread.join();
        }
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap_or("0").parse().unwrap()
}

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(arguments)
        .output()
        .unwrap()
}

/// Waits for what happens soon in another thread.
fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not happen");
}

fn worker() -> Host {
    Host {
        name: "worker-0".to_owned(),
        macs: vec!["52:54:00:00:00:01".parse().unwrap()],
        role: Some("worker".to_owned()),
        kargs: vec!["quiet".to_owned()],
        ignition: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/tests/worker.ign")),
        target_disk: None,
        overlay: None,
    }
}

const CONFIG: &str = include_str!("worker.ign");

fn status_json(running: &Running) -> Value {
    let (status, body) = running.get("/status.json");
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

/// A file beside the bake.
fn beside(bake: &Bake, name: &str, content: &[u8]) -> PathBuf {
    let path = bake.path().join(name);
    fs::write(&path, content).unwrap();
    path
}
