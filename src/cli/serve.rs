//! `coreos-bake serve`: boot machines over the network from a bake directory.

mod keys;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

use self::keys::Keys;
use self::watch::Watch;
use super::baked::BakedArgs;
use super::terminal::Terminal;
use super::values::checked_url;
use super::{Outcome, read_up_to};
use crate::failure::Failure;
use crate::hosts::Inventory;
use crate::media;
use crate::netboot::{Network, dnsmasq_lines};
use crate::progress::Progress;
use crate::record::Record;
use crate::serve::{Host, Options, Server, check_status_token};

/// Where to listen if no port is named.
const PORT: u16 = 8080;

/// Serve a bake directory to machines that boot over the network
///
/// Hands out the files of DIR, with ranges, and an iPXE script that boots them.
/// With --hosts, each machine of the inventory gets its own: disk, Ignition config,
/// network settings and kernel arguments, once. Of DIR it serves what bake.json names.
/// A page at /status tells this machine, and whoever has the token, how far each
/// machine is, /status.json the same to programs; others get totals. Ends at Ctrl-C, when the transfers
/// under way are finished; at once at the second one. DHCP and TFTP are left to
/// others: see --dnsmasq.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Directory that bake has written, with a PXE set in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Inventory of machines: .yaml or .csv
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    #[command(flatten)]
    baked: BakedArgs,
    /// Boot machines of the inventory only
    #[arg(long, requires = "hosts")]
    strict: bool,
    /// Give secrets again and again, to any address that asks, and boot again what is done
    ///
    /// Without it, a machine gets its Ignition config and network settings once, at the
    /// address that asked first. With it, whoever knows a hardware address gets them.
    #[arg(long, requires = "hosts")]
    repeat: bool,
    /// Serve ISOs although Ignition configs or network settings are embedded in them
    #[arg(long)]
    serve_embedded: bool,
    /// File with a token of at least 16 characters that opens /status from other machines
    ///
    /// Without it, a token is made for this run and shown at the start.
    #[arg(long, value_name = "FILE")]
    status_token_file: Option<PathBuf>,
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = "127.0.0.1:8080", value_parser = listen)]
    listen: SocketAddr,
    /// How machines reach the server, where that is another name
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Certificate for HTTPS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Seconds that transfers get to end when the server stops
    #[arg(long, value_name = "N", default_value_t = 60)]
    grace: u64,
    /// Print dnsmasq's configuration for this network and stop
    ///
    /// The network that machines get addresses in: 192.168.1.0/24, or 192.168.1.0 if
    /// dnsmasq's machine has an address in it.
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    dnsmasq: Option<Network>,
    /// Where dnsmasq finds iPXE
    #[arg(long, value_name = "DIR", default_value = "/srv/tftp")]
    tftp_root: String,
}

impl ServeArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        if let Some(url) = &self.url {
            checked_url(url)?;
        }
        let record = Record::read(&self.directory)?;
        if record.network_boot().is_err() {
            return Err(Failure::new(
                format!("{} has no PXE set to boot", self.directory.display()),
                "bake with `-f pxe`",
            )
            .into());
        }
        if let Some(network) = &self.dnsmasq {
            let lines = dnsmasq_lines(&self.reachable_url()?, network, &self.tftp_root);
            let value = json!({ "schema": "coreos-bake/dnsmasq/v1", "configuration": lines });
            terminal.result(&value, &lines)?;
            return Ok(Outcome::Done);
        }
        let status_token = self.status_token_file.as_deref().map(token).transpose()?;
        let inventory = self.hosts.as_deref().map(Inventory::read).transpose()?;
        let machines = inventory.as_ref().map_or(&[][..], |i| &i.hosts);
        let outcome = self.baked.check_hosts(&record, machines, terminal)?;
        let hosts = match inventory {
            Some(inventory) => known(inventory, &self.directory)?,
            None => Vec::new(),
        };
        let options = Options {
            listen: self.listen,
            tls: self.tls_cert.zip(self.tls_key),
            directory: self.directory,
            hosts,
            url: self.url,
            repeat: self.repeat,
            serves_embedded: self.serve_embedded,
            status_token,
            strict: self.strict,
            grace: Duration::from_secs(self.grace),
        };
        let (stop, stopped) = mpsc::unbounded_channel();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).context("watching for signals")?;
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if stop.send(()).is_err() {
                    return;
                }
            }
        });
        let watch = Watch::new(terminal);
        let keys = watch.keys();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("starting the server's threads")?;
        let served = runtime.block_on(async {
            let server = Server::bind(options, watch.events()).await?;
            if let Some(sentence) = server.exposure() {
                terminal.warn(sentence);
            }
            let shown = tokio::spawn(
                watch
                    .clone()
                    .show(server.board(), keys.as_ref().map(Keys::heard)),
            );
            let served = server.run(stopped).await;
            shown.abort();
            served
        });
        watch.end();
        served?;
        Ok(outcome)
    }
}

impl ServeArgs {
    /// Where machines reach the server.
    fn reachable_url(&self) -> Result<String> {
        let scheme = if self.tls_cert.is_some() {
            "https"
        } else {
            "http"
        };
        let url = self
            .url
            .clone()
            .unwrap_or_else(|| format!("{scheme}://{}", self.listen));
        let (_, rest) = url.split_once("://").unwrap_or_default();
        if is_own(rest.split('/').next().unwrap_or_default()) {
            return Err(Failure::new(
                format!("machines can't reach a server at {url}"),
                "say with --url or --listen where they can: http://192.168.1.5:8080",
            )
            .into());
        }
        Ok(url)
    }
}

/// Whether only this machine reaches itself there.
fn is_own(authority: &str) -> bool {
    let address: Option<IpAddr> = match authority.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => authority.trim_matches(['[', ']']).parse().ok(),
    };
    match address {
        Some(address) => address.is_loopback() || address.is_unspecified(),
        None => authority.split(':').next() == Some("localhost"),
    }
}

/// Where to listen: an address, with a port or without.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(SocketAddr::new(address, PORT));
    }
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let port = port.unwrap_or(PORT);
        format!(
            "it has no IP address; 127.0.0.1:{port} is for this machine only, 0.0.0.0:{port} for all that reach it"
        )
    })
}

/// A network, or why dnsmasq would not take it.
fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error| {
        let interface = Path::new("/sys/class/net").join(text);
        match !text.is_empty() && interface.exists() {
            true => format!(
                "it is an interface, and dnsmasq takes the network there: `ip -4 -brief address show {text}` has it"
            ),
            false => format!("{error}"),
        }
    })
}

/// The status token in the file at `path`.
fn token(path: &Path) -> Result<String> {
    /// Far more than anybody types.
    const MAX_BYTES: u64 = 4096;
    let shown = path.display();
    let bytes = read_up_to(path, MAX_BYTES)?;
    let text = String::from_utf8(bytes).ok();
    let text = text.with_context(|| format!("{shown} is not text"))?;
    let token = text.trim_end_matches(['\n', '\r']);
    check_status_token(token).with_context(|| format!("reading {shown}"))?;
    Ok(token.to_owned())
}

/// The machines of an inventory as the server knows them.
fn known(inventory: Inventory, directory: &Path) -> Result<Vec<Host>> {
    let overlays = media::overlays(directory, &inventory)?;
    let hosts = inventory.hosts.into_iter().zip(overlays);
    Ok(hosts
        .map(|(host, overlay)| Host {
            name: host.name,
            macs: host.macs,
            role: host.role,
            kargs: host.kargs,
            ignition: host.ignition,
            target_disk: host.disk,
            overlay: overlay.map(Into::into),
        })
        .collect())
}
