//! Starting, stopping, and clients that keep others waiting.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use super::super::{Event, Server};
use super::{Bake, KERNEL, ROOTFS, Running, noise, soon, status};
use crate::netboot::{Network, dnsmasq_lines};

/// Enough that it can't hide in the kernel's buffers.
const LARGE_BYTES: usize = 40 << 20;

fn with_large_file() -> (Bake, Vec<u8>) {
    let bake = Bake::new();
    let content = noise(LARGE_BYTES);
    bake.record("large", "metal", &content);
    (bake, content)
}

/// A download of the large file, and what of it has come so far.
fn begin_download(running: &Running) -> (std::net::TcpStream, Vec<u8>) {
    let mut stream = running.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).unwrap();
    (stream, answer)
}

#[test]
fn stopping_lets_downloads_end() {
    let (bake, content) = with_large_file();
    let running = Running::start(bake.options());
    let address = running.address;
    // A connection that has not asked, and one between two requests.
    let silent = running.connect();
    let mut idle = running.connect();
    write!(idle, "HEAD /{KERNEL} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    let (mut stream, mut answer) = begin_download(&running);

    running.signal();
    soon("closing the door", || {
        std::net::TcpStream::connect(address).is_err()
    });
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&content), "the download broke off");
    assert!(
        running
            .events
            .lock()
            .unwrap()
            .iter()
            .any(|event| matches!(event, Event::Stopping { connections: 1.. }))
    );
    running.ended().unwrap();
    drop(silent);
}

#[test]
fn a_second_signal_breaks_them_off() {
    let (bake, content) = with_large_file();
    let running = Running::start(bake.options());
    let (mut stream, mut answer) = begin_download(&running);
    running.signal();
    running.signal();
    let error = running.ended().unwrap_err().to_string();
    assert_eq!(error, "stopped with 1 connection still open");
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < content.len());
}

#[test]
fn patience_ends() {
    let (bake, _) = with_large_file();
    let mut options = bake.options();
    options.grace = Duration::from_millis(50);
    let running = Running::start(options);
    let mut stream = running.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    running.signal();
    assert!(running.ended().is_err());
}

#[test]
fn slow_clients_hold_up_nobody() {
    let (bake, _) = with_large_file();
    let running = Running::start(bake.options());
    let slow: Vec<_> = (0..100)
        .map(|number| {
            let mut stream = running.connect_from(2 + number % 2);
            stream
                .write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let (head, body) = running.ask_raw(&format!(
        "GET /{ROOTFS} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(status(&head), 200);
    assert!(body == noise(super::ROOTFS_BYTES));
    drop(slow);
}

#[test]
fn who_does_nothing_is_sent_away() {
    let (bake, content) = with_large_file();
    let running = Running::start_after(bake.options(), |server| {
        server.patience.head = Duration::from_millis(300);
        server.patience.stall = Duration::from_millis(300);
    });
    // Never asks; asks half; has asked, and asks no more.
    for request in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let mut stream = running.connect();
        stream.write_all(request.as_bytes()).unwrap();
        // Without the limit this would end in the socket's time limit, which is an error.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let mut stream = running.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let mut answer = Vec::new();
    // Whether it ends or is reset depends on what was under way.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(answer.len() < content.len(), "it was still served");
}

/// A byte now and then keeps nobody's place: the time is for all of a head.
#[test]
fn dripping_is_not_asking() {
    let bake = Bake::new();
    let running = Running::start_after(bake.options(), |server| {
        server.patience.head = Duration::from_millis(500);
    });
    let mut stream = running.connect();
    let began = Instant::now();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(1000)
    );
    let sent = head.bytes().take_while(|&byte| {
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&[byte]).is_ok()
    });
    assert!(sent.count() < 500);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_address_cannot_take_all_places() {
    let (bake, content) = with_large_file();
    let running = Running::start_after(bake.options(), |server| server.places = (12, 4));
    let begin = |from: u8| {
        let mut stream = running.connect_from(from);
        let _ = stream.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut some = [0; 12];
        stream.read_exact(&mut some).is_ok().then_some(stream)
    };
    let mut stalled: Vec<_> = (0..10).filter_map(|_| begin(9)).collect();
    assert_eq!(stalled.len(), 4);
    for from in [8, 7] {
        let more: Vec<_> = (0..10).filter_map(|_| begin(from)).collect();
        assert_eq!(more.len(), 4);
        stalled.extend(more);
    }
    // All places are taken. Others get one all the same, at once.
    for from in 2..6 {
        let began = Instant::now();
        assert_eq!(
            running.get_from(from, &format!("/{KERNEL}")).0,
            200,
            "{from}"
        );
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    let mut machine = begin(6).unwrap();
    let mut rest = Vec::new();
    for from in 2..6 {
        assert_eq!(
            running.get_from(from, &format!("/{KERNEL}")).0,
            200,
            "{from}"
        );
    }
    drop(stalled);
    std::io::Read::by_ref(&mut machine)
        .take(u64::try_from(LARGE_BYTES).unwrap())
        .read_to_end(&mut rest)
        .unwrap();
    let head = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(content.starts_with(&rest[head..]));
}

#[test]
fn heads_have_limits() {
    let bake = Bake::new();
    let running = Running::start(bake.options());
    let long = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let mut stream = running.connect();
    // The server may hang up before it has all of it.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(status(&running.ask_raw(&many).0), 431);
}

#[test]
fn what_cannot_be_served_is_said() {
    let bake = Bake::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = bake.options();
    options.listen = taken.local_addr().unwrap();
    assert_eq!(
        Bake::refusal(options.clone()),
        format!(
            "listening on {}: Address already in use (os error 98)",
            options.listen
        )
    );

    let mut options = bake.options();
    options.url = Some("http://h/${x}".to_owned());
    assert!(Bake::refusal(options).contains("not all boot loaders take"));

    fs::write(bake.path().join(KERNEL), "short").unwrap();
    let refusal = Bake::refusal(bake.options());
    assert!(
        refusal.ends_with(&format!("the size is not as recorded: {KERNEL:?}")),
        "{refusal}"
    );
    fs::remove_file(bake.path().join(KERNEL)).unwrap();
    fs::remove_file(bake.path().join(ROOTFS)).unwrap();
    let refusal = Bake::refusal(bake.options());
    assert!(
        refusal.ends_with(&format!(" lacks {KERNEL:?}, {ROOTFS:?}")),
        "{refusal}"
    );
    fs::remove_file(bake.path().join("bake.json")).unwrap();
    let refusal = Bake::refusal(bake.options());
    assert!(
        refusal.ends_with("is not a bake directory: it has no bake.json"),
        "{refusal}"
    );
    let mut options = bake.options();
    options.directory = bake.path().join("nowhere");
    assert!(Bake::refusal(options).starts_with("opening directory "));
}

#[test]
fn the_address_that_is_shown_is_one_to_type() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.listen = "0.0.0.0:0".parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime
        .block_on(Server::bind(options, std::sync::Arc::new(|_| ())))
        .unwrap();
    let shown: SocketAddr = server
        .url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(shown.port(), server.address().port());
    // Without a network there is nothing to show.
    let is_alone = UdpSocket::bind("0.0.0.0:0")
        .unwrap()
        .connect("192.0.2.1:9")
        .is_err();
    assert!(is_alone || !shown.ip().is_unspecified(), "{shown}");
}

#[test]
fn networks_are_named_as_dnsmasq_takes_them() {
    for (text, range) in [
        ("192.168.1.0", "192.168.1.0,proxy"),
        ("192.168.1.0/24", "192.168.1.0,proxy,255.255.255.0"),
        ("192.168.1.5/23", "192.168.0.0,proxy,255.255.254.0"),
        ("10.0.0.0/8", "10.0.0.0,proxy,255.0.0.0"),
        ("192.168.1.4/30", "192.168.1.4,proxy,255.255.255.252"),
    ] {
        let network: Network = text.parse().expect(text);
        assert_eq!(network.to_string(), range);
    }
    for text in [
        "",
        "eth0",
        "192.168.1.0/",
        "192.168.1.0/0",
        "192.168.1.0/31",
        "192.168.1/24",
        "fd00::/64",
    ] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}

#[test]
fn dnsmasq_takes_its_lines() {
    for network in ["192.168.1.0", "192.168.1.7/24", "10.0.0.0/8"] {
        let network = network.parse().unwrap();
        let lines = dnsmasq_lines("http://192.168.1.5:8080/", &network, "/srv/tftp");
        assert!(
            lines.contains("\"coreos-bake\",http://192.168.1.5:8080/boot.ipxe\n"),
            "{lines}"
        );
        if !bake_referee::have("dnsmasq") {
            return;
        }
        assert!(dnsmasq_takes(&lines), "{lines}");
        // What people also write there.
        for other in ["192.168.1.0/24,proxy", "eth0,proxy"] {
            let wrong = lines.replace(&network.to_string(), other);
            assert!(!dnsmasq_takes(&wrong), "{wrong}");
        }
    }
}

fn dnsmasq_takes(lines: &str) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let tested = std::process::Command::new("dnsmasq")
        .arg("--test")
        .arg(format!("--conf-file={}", file.path().display()))
        .env("PATH", path)
        .output()
        .unwrap();
    tested.status.success()
}
