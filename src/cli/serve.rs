//! `coreos-bake serve`: boot machines over the network from a bake directory.

mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

use self::watch::Watch;
use super::Outcome;
use super::baked::BakedArgs;
use super::terminal::Terminal;
use crate::failure::Failure;
use crate::hosts::Inventory;
use crate::media;
use crate::progress::Progress;
use crate::record::Record;
use crate::serve::{self, Host, Ignition, Options, Server};

/// Serve a bake directory to machines that boot over the network
///
/// Hands out the files of DIR, with ranges, and an iPXE script that boots them.
/// With --hosts, each machine of the inventory gets its own: disk, Ignition config,
/// network settings and kernel arguments. A page at /status tells how far each
/// machine is, /status.json the same to machines. Ends at Ctrl-C, when the transfers
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
    /// Give Ignition configs more than once in a boot, and boot again what is done
    #[arg(long, requires = "hosts")]
    repeat: bool,
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
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
    #[arg(long, value_name = "NETWORK")]
    dnsmasq: Option<String>,
    /// Where dnsmasq finds iPXE
    #[arg(long, value_name = "DIR", default_value = "/srv/tftp")]
    tftp_root: String,
}

impl ServeArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let record = Record::read(&self.directory)?;
        let boots = record.network_boot().is_ok();
        if let Some(network) = &self.dnsmasq {
            if !boots {
                return Err(Failure::new(
                    format!("{} has no PXE set to boot", self.directory.display()),
                    "bake with `-f pxe`",
                )
                .into());
            }
            let url = match self.url {
                Some(url) => url,
                None if self.listen.ip().is_loopback() || self.listen.ip().is_unspecified() => {
                    return Err(Failure::new(
                        format!("machines can't reach a server at http://{}", self.listen),
                        "say with --url or --listen where they can: http://192.168.1.5:8080",
                    )
                    .into());
                }
                None => format!("http://{}", self.listen),
            };
            let lines = serve::dnsmasq_lines(&url, network, &self.tftp_root);
            let value = json!({ "schema": "coreos-bake/dnsmasq/v1", "configuration": lines });
            terminal.result(&value, &lines)?;
            return Ok(Outcome::Done);
        }
        let inventory = self.hosts.as_deref().map(Inventory::read).transpose()?;
        let machines = inventory.as_ref().map_or(&[][..], |i| &i.hosts);
        let outcome = self.baked.check_hosts(&record, machines, terminal)?;
        if !boots {
            terminal.warn("there is no PXE set: files are handed out, and nothing is booted");
        }
        let (hosts, withheld) = match (&self.hosts, inventory) {
            (Some(path), Some(inventory)) => known(path, inventory, &self.directory)?,
            _ => (Vec::new(), Vec::new()),
        };
        let options = Options {
            listen: self.listen,
            tls: self.tls_cert.zip(self.tls_key),
            directory: self.directory,
            hosts,
            withheld,
            url: self.url,
            repeat: self.repeat,
            strict: self.strict,
            grace: Duration::from_secs(self.grace),
        };
        let (stop, stopped) = mpsc::unbounded_channel();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("watching for signals")?;
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if stop.send(()).is_err() {
                    return;
                }
            }
        });
        let watch = Watch::new(terminal);
        let _keys = watch.without_keys();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("starting the server's threads")?;
        let served = runtime.block_on(async {
            let server = Server::bind(options, watch.events()).await?;
            let shown = tokio::spawn(watch.clone().show(server.board()));
            let served = server.run(stopped).await;
            shown.abort();
            served
        });
        watch.end();
        served?;
        Ok(outcome)
    }
}

/// The machines of the inventory at `path` as the server knows them, and the files that are not for
/// everyone.
fn known(path: &Path, inventory: Inventory, directory: &Path) -> Result<(Vec<Host>, Vec<PathBuf>)> {
    let overlays = media::overlays(directory, &inventory)?;
    let mut withheld = vec![path.to_owned()];
    let mut hosts = Vec::new();
    for (host, overlay) in inventory.hosts.into_iter().zip(overlays) {
        withheld.extend(host.files().map(Path::to_owned));
        hosts.push(Host {
            name: host.name,
            macs: host.macs,
            role: host.role,
            kargs: host.kargs,
            ignition: host.ignition.map(Ignition::File),
            target_disk: host.disk,
            overlay: overlay.map(Into::into),
        });
    }
    withheld.sort();
    withheld.dedup();
    Ok((hosts, withheld))
}
