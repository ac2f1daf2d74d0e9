//! Takes connections, within limits, until told to stop.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::board::Board;
use super::body::Pool;
use super::directory::Directory;
use super::hosts::{Host, Hosts, Ignition};
use super::routes::{Peer, Shared, router};
use super::stall::Stall;
use super::status::{Event, Events};
use super::tls;
use crate::failure::Failure;
use crate::url;

/// More than a rack opens at once; further clients wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;

/// A connection and the file that it sends.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// What else the process may have open.
const OTHER_DESCRIPTORS: u64 = 64;

/// Boot loaders send a few hundred bytes of headers.
const MAX_HEAD_BYTES: usize = 32 << 10;
const MAX_HEADERS: usize = 64;

/// How long clients may keep a connection without doing anything with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the greeting of TLS, for the head of a request, and between requests.
    pub(super) head: Duration,
    /// For taking any of what is sent.
    pub(super) stall: Duration,
}

/// Firmware that resets its network card in the middle of a transfer is back within a minute.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(15),
    stall: Duration::from_secs(60),
};

/// Waiting before connections are taken again when the system has no room for more.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What to serve, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// PEM files with the chain of certificates and the private key, for HTTPS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What a bake wrote.
    pub directory: PathBuf,
    /// The machines that are known.
    pub hosts: Vec<Host>,
    /// Files that nobody gets, should they lie in the directory.
    pub withheld: Vec<PathBuf>,
    /// The server's URL in scripts, if clients reach it by another than the one they ask with.
    pub url: Option<String>,
    /// Whether a host may fetch its Ignition configuration more than once in a boot, and is booted
    /// again after it was done.
    pub repeat: bool,
    /// Whether only declared hosts boot.
    pub strict: bool,
    /// How long transfers may go on once the server is told to stop.
    pub grace: Duration,
}

/// A server that has its address and is about to run.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    url: String,
    board: Arc<Board>,
    router: Router,
    grace: Duration,
    pub(super) patience: Patience,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Gently,
    Now,
}

/// Serves until `signals` brings one message, which lets running transfers end; a second one, or
/// the end of [`Options::grace`], breaks them off.
pub async fn run(options: Options, events: Events, signals: UnboundedReceiver<()>) -> Result<()> {
    Server::bind(options, events).await?.run(signals).await
}

impl Server {
    /// Checks everything there is to check and takes the address.
    pub async fn bind(options: Options, events: Events) -> Result<Self> {
        let mut directory = Directory::open(&options.directory)?;
        for host in &options.hosts {
            if let Some(Ignition::File(path)) = &host.ignition {
                directory.withhold(path)?;
            }
        }
        for path in &options.withheld {
            directory.withhold(path)?;
        }
        let hosts = Hosts::new(options.hosts)?;
        if directory.pxe.is_none() && (!hosts.hosts.is_empty() || options.strict) {
            let shown = options.directory.display();
            return Err(Failure::new(
                format!(
                    "bake directory {shown} has no kernel, initramfs and rootfs to boot hosts from"
                ),
                "bake with `-f pxe`",
            )
            .into());
        }
        let (tls, scheme) = match &options.tls {
            Some((certificates, key)) => {
                let acceptor = tls::acceptor(certificates, key)?;
                directory.withhold(key)?;
                (Some(acceptor), "https")
            }
            None => (None, "http"),
        };
        if let Some(url) = &options.url {
            url::check_base(url)?;
        }
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {}", options.listen))?;
        let address = listener
            .local_addr()
            .context("asking for the own address")?;
        let url = options
            .url
            .clone()
            .unwrap_or_else(|| format!("{scheme}://{}", reached(address)));
        let title = directory.title.clone();
        let board = Board::new(title, url.clone(), &hosts, options.repeat, events);
        let board = Arc::new(board);
        let shared = Shared {
            directory,
            hosts,
            board: Arc::clone(&board),
            pool: Arc::new(Pool::default()),
            url: options.url,
            scheme,
            strict: options.strict,
        };
        Ok(Self {
            listener,
            tls,
            address,
            url,
            board,
            router: router(Arc::new(shared)),
            grace: options.grace,
            patience: PATIENCE,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where to look up how far hosts are.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Serves; see [`run`].
    pub async fn run(self, mut signals: UnboundedReceiver<()>) -> Result<()> {
        let places = connections();
        let room = Arc::new(Semaphore::new(places));
        let (stop, stopped) = watch::channel(Stop::No);
        let service = TowerToHyperService::new(self.router);
        self.board.tell(&Event::Listening {
            url: self.url.clone(),
        });
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &room) => accepted,
                () = signal(&mut signals) => break,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("taking a connection: {error}");
                    sleep(NO_ROOM_PAUSE).await;
                    continue;
                }
            };
            let conversation = Conversation {
                peer,
                service: service.clone(),
                stopped: stopped.clone(),
                patience: self.patience,
            };
            let tls = self.tls.clone();
            tokio::spawn(async move {
                let _place = place;
                let served = conversation.hold(stream, tls).await;
                if let Err(error) = served {
                    tracing::debug!("connection of {peer}: {error:#}");
                }
            });
        }
        drop(self.listener);
        let connections = places - room.available_permits();
        self.board.tell(&Event::Stopping { connections });
        // Nobody is left to hear it if there is no connection.
        let _ = stop.send(Stop::Gently);
        let all = u32::try_from(places)?;
        tokio::select! {
            _ = room.acquire_many(all) => return Ok(()),
            () = sleep(self.grace) => {}
            () = signal(&mut signals) => {}
        }
        let broken = places - room.available_permits();
        let _ = stop.send(Stop::Now);
        let _ = room.acquire_many(all).await;
        match broken {
            1 => bail!("stopped with 1 connection still open"),
            _ => bail!("stopped with {broken} connections still open"),
        }
    }
}

/// Waits for the next message, or for ever if there can be none.
async fn signal(signals: &mut UnboundedReceiver<()>) {
    if signals.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// As many connections as the process may have open.
fn connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let places = descriptors.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION;
    usize::try_from(places)
        .unwrap_or(MAX_CONNECTIONS)
        .clamp(1, MAX_CONNECTIONS)
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await?;
    let (stream, peer) = listener.accept().await?;
    // Answers are written whole; waiting for more would only delay them. It fails only if the client
    // is gone, which shows soon enough.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, place))
}

/// One connection.
struct Conversation {
    peer: SocketAddr,
    service: TowerToHyperService<Router>,
    stopped: watch::Receiver<Stop>,
    patience: Patience,
}

impl Conversation {
    async fn hold(mut self, stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<()> {
        let Some(tls) = tls else {
            return self.answer(stream).await;
        };
        let stream = tokio::select! {
            greeted = timeout(self.patience.head, tls.accept(stream)) => greeted??,
            // Nothing was asked yet.
            _ = self.stopped.wait_for(|stop| *stop != Stop::No) => return Ok(()),
        };
        self.answer(stream).await
    }

    /// Answers requests until the client has no more, or the server is stopped.
    async fn answer(mut self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
        let (peer, service) = (self.peer, self.service);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            service.call(request)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience.head)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS);
        let stream = TokioIo::new(Stall::new(stream, self.patience.stall));
        let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
        tokio::select! {
            served = connection.as_mut() => return Ok(served?),
            _ = self.stopped.wait_for(|stop| *stop != Stop::No) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            served = connection.as_mut() => Ok(served?),
            _ = self.stopped.wait_for(|stop| *stop == Stop::Now) => Ok(()),
        }
    }
}

/// Where others reach a server that listens at `address`: if that stands for all of this machine's
/// addresses, at the one that it would send from. Without a network, nobody does.
fn reached(address: SocketAddr) -> SocketAddr {
    /// For documentation (RFC 5737); nothing is sent by connecting a datagram socket to it.
    const OUTSIDE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    if !address.ip().is_unspecified() {
        return address;
    }
    let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(OUTSIDE)?;
        socket.local_addr()
    });
    own.map_or(address, |own| SocketAddr::new(own.ip(), address.port()))
}
