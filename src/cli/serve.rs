//! `coreos-bake serve`: boot machines over the network from a bake directory.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

use super::Outcome;
use super::terminal::Terminal;
use crate::serve::{self, Event, Options};

/// Serve a bake directory to machines that boot over the network
///
/// Hands out the files of DIR, with ranges, and an iPXE script that boots them.
/// A page at /status tells how far each machine is, /status.json the same to
/// machines. Ends at Ctrl-C, when the transfers under way are finished; at once at
/// the second one. DHCP and TFTP are left to others: see --dnsmasq.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Directory that bake has written, with a PXE set in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
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
        if let Some(network) = &self.dnsmasq {
            let url = self
                .url
                .unwrap_or_else(|| format!("http://{}", self.listen));
            let lines = serve::dnsmasq_lines(&url, network, &self.tftp_root);
            let value = json!({ "schema": "coreos-bake/dnsmasq/v1", "configuration": lines });
            terminal.result(&value, &lines)?;
            return Ok(Outcome::Done);
        }
        let options = Options {
            listen: self.listen,
            tls: self.tls_cert.zip(self.tls_key),
            directory: self.directory,
            hosts: Vec::new(),
            url: self.url,
            repeat: false,
            strict: false,
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
        let quiet = terminal.is_quiet();
        let events: serve::Events = Arc::new(move |event: &Event| {
            if !quiet {
                // A log that nobody reads must not stop the server.
                let _ = writeln!(io::stderr(), "{}", sentence(event));
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("starting the server's threads")?;
        runtime.block_on(serve::run(options, events, stopped))?;
        Ok(Outcome::Done)
    }
}

/// An event as a line of a log.
fn sentence(event: &Event) -> String {
    match event {
        Event::Listening { url } => format!("listening at {url}, status at {url}/status"),
        Event::Host(host) => {
            let client = host
                .client
                .map_or_else(String::new, |client| format!(" ({client})"));
            format!("{}{client}: {}", host.name, host.phase)
        }
        Event::Refused { client, sentence } => format!("{client}: refused: {sentence}"),
        Event::Stopping { connections } => {
            format!("stopping; waiting for {connections} connections")
        }
    }
}
