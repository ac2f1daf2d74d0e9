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
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::asker::{Peer, Token};
use super::board::Board;
use super::body::Pool;
use super::directory::Directory;
use super::hosts::{Host, Hosts};
use super::places::{MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ADDRESS, Place, Places};
use super::routes::router;
use super::shared::Shared;
use super::stall::Stall;
use super::status::{Event, Events};
use super::tls;
use crate::failure::Failure;
use crate::netboot::check_base;

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
    /// The server's URL in scripts, if clients reach it by another than the one they ask with.
    pub url: Option<String>,
    /// Whether hosts get their secrets as often as anybody asks, from any address, and are booted again
    /// after they were done.
    pub repeat: bool,
    /// Whether ISOs that carry Ignition configs or network settings are for everyone too.
    pub serves_embedded: bool,
    /// What lets the operator see the status from other machines; without it, one that is made for this
    /// run and shown in [`Event::Listening`].
    pub status_token: Option<String>,
    /// Whether only declared hosts boot.
    pub strict: bool,
    /// How long transfers may go on once the server is told to stop.
    pub grace: Duration,
}

/// A server that has its address and is about to run.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    url: String,
    status_url: String,
    exposure: Option<String>,
    board: Arc<Board>,
    router: Router,
    grace: Duration,
    pub(super) patience: Patience,
    pub(super) places: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Gently,
    Now,
}

impl Server {
    /// Checks everything there is to check and takes the address.
    pub async fn bind(options: Options, events: Events) -> Result<Self> {
        let token = match &options.status_token {
            Some(text) => Token::new(text)?,
            None => Token::random()?,
        };
        let directory = Directory::open(&options.directory, options.serves_embedded)?;
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
            Some((certificates, key)) => (Some(tls::acceptor(certificates, key)?), "https"),
            None => (None, "http"),
        };
        if let Some(url) = &options.url {
            check_base(url)?;
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
        let query = match options.status_token {
            Some(_) => String::new(),
            None => token.query(),
        };
        let status_url = format!("{}/status{query}", url.trim_end_matches('/'));
        let exposure = match address.ip().to_canonical().is_loopback() {
            true => None,
            false => exposure(&hosts, &directory.embedded, tls.is_some()),
        };
        let title = directory.title.clone();
        let board = Board::new(title, url.clone(), &hosts, options.repeat, events);
        let board = Arc::new(board);
        let shared = Shared {
            directory,
            hosts,
            board: Arc::clone(&board),
            pool: Arc::new(Pool::default()),
            token,
            url: options.url,
            scheme,
            strict: options.strict,
        };
        Ok(Self {
            listener,
            tls,
            url,
            status_url,
            exposure,
            board,
            router: router(Arc::new(shared)),
            grace: options.grace,
            patience: PATIENCE,
            places: (connections(), MAX_CONNECTIONS_OF_ADDRESS),
        })
    }

    /// Where it listens.
    #[cfg(test)]
    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Where clients reach it.
    #[cfg(test)]
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Who can read what of it, in one sentence, if secrets go over a network without encryption.
    pub fn exposure(&self) -> Option<&str> {
        self.exposure.as_deref()
    }

    /// Where to look up how far hosts are.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Serves until `signals` brings one message, which lets running transfers end; a second one, or
    /// the end of [`Options::grace`], breaks them off.
    pub async fn run(self, mut signals: UnboundedReceiver<()>) -> Result<()> {
        let (all, of_address) = self.places;
        let places = Places::new(all, of_address);
        let (stop, stopped) = watch::channel(Stop::No);
        let service = TowerToHyperService::new(self.router);
        self.board.tell(&Event::Listening {
            url: self.url.clone(),
            status: self.status_url.clone(),
        });
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = signal(&mut signals) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("taking a connection: {error}");
                    sleep(NO_ROOM_PAUSE).await;
                    continue;
                }
            };
            // Whoever gets no place hears so at once.
            let Some(place) = places.take(peer.ip().to_canonical()) else {
                tracing::debug!("connection of {peer}: it has all places that it can have");
                continue;
            };
            // Answers are written whole; waiting for more would only delay them. It fails only if the
            // client is gone, which shows soon enough.
            let _ = stream.set_nodelay(true);
            let conversation = Conversation {
                peer,
                service: service.clone(),
                stopped: stopped.clone(),
                patience: self.patience,
                place,
            };
            let tls = self.tls.clone();
            tokio::spawn(async move {
                let served = conversation.hold(stream, tls).await;
                if let Err(error) = served {
                    tracing::debug!("connection of {peer}: {error:#}");
                }
            });
        }
        drop(self.listener);
        let connections = places.count();
        self.board.tell(&Event::Stopping { connections });
        // Nobody is left to hear it if there is no connection.
        let _ = stop.send(Stop::Gently);
        tokio::select! {
            () = places.empty() => return Ok(()),
            () = sleep(self.grace) => {}
            () = signal(&mut signals) => {}
        }
        let broken = places.count();
        let _ = stop.send(Stop::Now);
        places.empty().await;
        match broken {
            1 => bail!("stopped with 1 connection still open"),
            _ => bail!("stopped with {broken} connections still open"),
        }
    }
}

/// Who can read what of the secrets that are sent, if anybody can.
fn exposure(hosts: &Hosts, embedded: &[String], is_encrypted: bool) -> Option<String> {
    let of = |what: &str, is: fn(&Host) -> bool| {
        let count = hosts.hosts.iter().filter(|(host, _)| is(host)).count();
        match count {
            0 => None,
            1 => Some(format!("the {what} of 1 host")),
            _ => Some(format!("the {what} of {count} hosts")),
        }
    };
    let watched = [
        of("Ignition configs", |host| host.ignition.is_some()),
        of("network settings", |host| host.overlay.is_some()),
    ];
    let watched: Vec<String> = watched.into_iter().flatten().collect();
    let mut sentences = Vec::new();
    if !watched.is_empty() && !is_encrypted {
        sentences.push(format!(
            "whoever can watch the network between here and the machines can read {}; --tls-cert prevents it",
            watched.join(" and ")
        ));
    }
    if !embedded.is_empty() {
        sentences.push(format!(
            "whoever reaches this server can read the settings embedded in {}",
            embedded.join(" and ")
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
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

/// One connection.
struct Conversation {
    peer: SocketAddr,
    service: TowerToHyperService<Router>,
    stopped: watch::Receiver<Stop>,
    patience: Patience,
    place: Place,
}

impl Conversation {
    async fn hold(mut self, stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<()> {
        let Some(tls) = tls else {
            return self.answer(stream).await;
        };
        let stream = tokio::select! {
            greeted = timeout(self.patience.head, tls.accept(stream)) => greeted??,
            () = self.place.given_up() => return Ok(()),
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
        let stream = TokioIo::new(Stall::new(
            stream,
            self.patience.stall,
            self.place.pulse.clone(),
        ));
        let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
        tokio::select! {
            served = connection.as_mut() => return Ok(served?),
            () = self.place.given_up() => bail!("its place was needed for another client"),
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
