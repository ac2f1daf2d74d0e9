//! A server that does to its client what a case says, and remembers every byte it was sent.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Bytes of a flood that are written at a time.
const FLOOD_BYTES: usize = 64 << 10;

/// Bytes of a request that are more than kernels take for a server that reads nothing.
pub(crate) const LARGE_BYTES: u64 = 12 << 20;

/// The first byte of a TLS connection: a record of a handshake.
const HANDSHAKE: u8 = 0x16;

/// How a request is answered. The connection is closed afterwards.
#[derive(Clone)]
pub(crate) enum Act {
    /// Status, further header lines, body.
    Reply(u16, Vec<String>, Vec<u8>),
    /// Exactly these bytes.
    Raw(Vec<u8>),
    /// The manifest that was sent last.
    Stored,
    /// Status, header lines, and then a body without end, in chunks.
    Flood(u16, Vec<String>),
    /// Headers without end.
    FloodHead,
    /// Answers that only announce another, without end.
    FloodInformational,
    /// Status, header lines, and a body of which a byte comes now and then.
    Drip(u16, Vec<String>),
    /// A head of which a byte comes now and then.
    DripHead,
    /// Nothing.
    Silence,
    /// A large body of a request is not taken.
    NotTaken,
    /// A few bytes of a large body are taken now and then.
    Sip,
}

impl Act {
    pub(crate) fn status(status: u16) -> Self {
        Self::Reply(status, Vec::new(), Vec::new())
    }

    pub(crate) fn json(text: impl ToString) -> Self {
        Self::Reply(200, Vec::new(), text.to_string().into_bytes())
    }

    pub(crate) fn redirect(status: u16, location: impl AsRef<str>) -> Self {
        let location = format!("location: {}", location.as_ref());
        Self::Reply(status, vec![location], Vec::new())
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower-case letters.
    head: String,
}

impl Request {
    /// The value of a header, with its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        pairs
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Certificate and key of all servers here.
pub(crate) fn tls(directory: &Path) -> Arc<ServerConfig> {
    let (key, certificate) = (directory.join("key"), directory.join("certificate"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-keyout".as_ref(), key.as_os_str()])
        .args(["-out".as_ref(), certificate.as_os_str()])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

/// A running server; it ends with the test process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    log: Arc<Mutex<Log>>,
    /// What came in the clear, though TLS is talked here.
    in_the_clear: Arc<Mutex<Log>>,
}

/// What a server was sent.
#[derive(Default)]
struct Log {
    all: Vec<u8>,
    /// The body of the last manifest.
    manifest: Vec<u8>,
}

impl Server {
    /// Listens before anybody knows what will be answered.
    pub(crate) fn bind(ip: &str) -> TcpListener {
        TcpListener::bind((ip, 0)).unwrap()
    }

    pub(crate) fn start(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Act + Send + Sync + 'static,
    ) -> Self {
        let server = Self {
            address: listener.local_addr().unwrap(),
            tls: tls.is_some(),
            log: Arc::default(),
            in_the_clear: Arc::default(),
        };
        let logs = [&server.log, &server.in_the_clear].map(Arc::clone);
        let handler = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (tls, logs, handler) = (tls.clone(), logs.clone(), Arc::clone(&handler));
                // Whoever was told nonsense leaves: that is no error.
                thread::spawn(move || {
                    let _ = serve(stream, tls, &logs, &*handler);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// All that was ever received.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap().all).into_owned() + &self.overheard()
    }

    /// What could be read on the way, though TLS is talked here.
    pub(crate) fn overheard(&self) -> String {
        String::from_utf8_lossy(&self.in_the_clear.lock().unwrap().all).into_owned()
    }
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    [log, in_the_clear]: &[Arc<Mutex<Log>>; 2],
    handler: &dyn Fn(&Request) -> Act,
) -> io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    match tls {
        Some(config) => {
            if first[0] != HANDSHAKE {
                return answer(stream, in_the_clear, &|_| Act::status(400));
            }
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            answer(StreamOwned::new(connection, stream), log, handler)
        }
        None if first[0] == HANDSHAKE => Ok(()),
        None => answer(stream, log, handler),
    }
}

fn answer(
    mut stream: impl Read + Write,
    log: &Mutex<Log>,
    handler: &dyn Fn(&Request) -> Act,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    log.lock().unwrap().all.extend_from_slice(&head);
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ').map(str::to_owned);
    let request = Request {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        head,
    };
    let act = handler(&request);
    let length = request
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let length = length.unwrap_or(0);
    match act {
        // Kernels keep small ones without anybody who reads.
        Act::NotTaken | Act::Sip if length < LARGE_BYTES => (),
        Act::NotTaken => loop {
            thread::sleep(Duration::from_secs(60));
        },
        Act::Sip => loop {
            stream.read_exact(&mut [0; 50])?;
            thread::sleep(Duration::from_millis(50));
        },
        _ => (),
    }
    let mut body = Vec::new();
    Read::by_ref(&mut stream)
        .take(length)
        .read_to_end(&mut body)?;
    body.truncate(1 << 20);
    let act = {
        let mut log = log.lock().unwrap();
        log.all.extend_from_slice(&body);
        if request.method == "PUT" && request.target.contains("/manifests/") {
            log.manifest = body;
        }
        match act {
            Act::Stored => Act::Reply(200, Vec::new(), log.manifest.clone()),
            act => act,
        }
    };
    act.perform(&mut stream)?;
    stream.flush()
}

impl Act {
    fn perform(self, stream: &mut impl Write) -> io::Result<()> {
        let head = |status: u16, headers: &[String]| {
            let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{lines}")
        };
        match self {
            Self::Reply(status, headers, body) => {
                let head = head(status, &headers);
                write!(stream, "{head}content-length: {}\r\n\r\n", body.len())?;
                stream.write_all(&body)
            }
            Self::Raw(bytes) => stream.write_all(&bytes),
            Self::Flood(status, headers) => {
                let head = head(status, &headers);
                write!(stream, "{head}transfer-encoding: chunked\r\n\r\n")?;
                let size = format!("{FLOOD_BYTES:x}\r\n");
                let chunk = [size.as_bytes(), &[b'a'; FLOOD_BYTES], b"\r\n"].concat();
                loop {
                    stream.write_all(&chunk)?;
                }
            }
            Self::FloodHead => {
                stream.write_all(b"HTTP/1.1 200 x\r\n")?;
                for number in 0u64.. {
                    write!(stream, "x-{number}: {}\r\n", "a".repeat(1000))?;
                }
                Ok(())
            }
            Self::FloodInformational => loop {
                stream.write_all(&b"HTTP/1.1 100 x\r\n\r\n".repeat(1000))?;
            },
            Self::Drip(status, headers) => {
                let head = head(status, &headers);
                write!(stream, "{head}transfer-encoding: chunked\r\n\r\n")?;
                drip(stream, b"1\r\na\r\n")
            }
            Self::DripHead => {
                stream.write_all(b"HTTP/1.1 200 x\r\nx-header: ")?;
                drip(stream, b"a")
            }
            Self::NotTaken | Self::Sip => Self::status(201).perform(stream),
            Self::Stored | Self::Silence => loop {
                thread::sleep(Duration::from_secs(60));
            },
        }
    }
}

/// Sends a byte now and then.
fn drip(stream: &mut impl Write, byte: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(byte)?;
        stream.flush()?;
        thread::sleep(Duration::from_millis(100));
    }
}
