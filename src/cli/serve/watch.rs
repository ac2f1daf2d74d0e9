//! What the operator sees of a server: a table that moves on a terminal, lines elsewhere, JSON for
//! machines.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use serde_json::{Value, json};

use crate::cli::screen::columns;
use crate::cli::table::Table;
use crate::cli::terminal::Terminal;
use crate::paragraph::hanging;
use crate::serve::{Board, Event, Events, HostStatus, Phase, Status, StepStatus};

/// Between two looks at how far transfers are.
const PAUSE: Duration = Duration::from_millis(500);

/// A terminal has 24 lines, and some are for what happened.
const MAX_ROWS: usize = 18;

/// Somebody who looks on while a server runs.
#[derive(Clone)]
pub(super) enum Watch {
    /// Wants to know nothing.
    Quiet,
    /// A log.
    Lines,
    /// A program that reads standard output, one JSON object a line.
    Json,
    /// Somebody before a terminal.
    Table(ProgressBar),
}

impl Watch {
    pub(super) fn new(terminal: &Terminal) -> Self {
        if terminal.is_json() {
            Self::Json
        } else if terminal.is_quiet() {
            Self::Quiet
        } else if terminal.is_live() {
            let bar = terminal.moving(ProgressBar::no_length());
            bar.set_style(ProgressStyle::with_template("{msg}").expect("a template of our own"));
            Self::Table(bar)
        } else {
            Self::Lines
        }
    }

    /// Keeps keys out of the table, if there is one.
    pub(super) fn without_keys(&self) -> Option<WithoutKeys> {
        matches!(self, Self::Table(_)).then(WithoutKeys::new)
    }

    /// Hears what happens.
    pub(super) fn events(&self) -> Events {
        match self.clone() {
            Self::Quiet => Arc::new(|_| ()),
            // A log that nobody reads must not stop the server; this goes for programs too.
            Self::Lines => {
                let told = Told::default();
                Arc::new(move |event| {
                    if told.is_news(event) {
                        let _ = writeln!(io::stderr(), "{}", sentence(event));
                    }
                })
            }
            Self::Json => Arc::new(|event| {
                let mut out = io::stdout().lock();
                let _ = writeln!(out, "{}", value(event)).and_then(|()| out.flush());
            }),
            // The table tells of hosts.
            Self::Table(bar) => Arc::new(move |event| {
                if !matches!(event, Event::Host(_)) {
                    bar.println(hanging("", &sentence(event), columns(io::stderr())).trim_end());
                }
            }),
        }
    }

    /// Shows how far hosts are, again and again.
    pub(super) async fn show(self, board: Arc<Board>) {
        let Self::Table(bar) = self else {
            return;
        };
        loop {
            bar.set_message(table(&board.status(), columns(io::stderr())));
            bar.tick();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Leaves the last state standing.
    pub(super) fn end(&self) {
        if let Self::Table(bar) = self {
            bar.abandon();
        }
    }
}

/// A terminal that doesn't show keys like Ctrl-C as `^C`, until this is dropped: indicatif would take
/// that for a part of the table and leave a line of it behind.
pub(super) struct WithoutKeys(Option<Termios>);

impl WithoutKeys {
    fn new() -> Self {
        let kept = tcgetattr(io::stderr()).ok().filter(|_| is_in_front());
        if let Some(mut modes) = kept.clone() {
            modes.local_modes.remove(LocalModes::ECHOCTL);
            // If that fails, a line too many is shown at the end.
            let _ = tcsetattr(io::stderr(), OptionalActions::Now, &modes);
        }
        Self(kept)
    }
}

impl Drop for WithoutKeys {
    fn drop(&mut self) {
        if let Some(modes) = self.0.take().filter(|_| is_in_front()) {
            let _ = tcsetattr(io::stderr(), OptionalActions::Now, &modes);
        }
    }
}

/// Whether the terminal is ours: it stops processes in the background that change its modes.
fn is_in_front() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group == getpgrp())
}

/// How far each host was said to be, by its name: its boot, and the phase of it.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, (u64, Phase)>>);

impl Told {
    /// Whether a log without it would tell less. That a step has ended shows by the next one.
    fn is_news(&self, event: &Event) -> bool {
        let Event::Host(host) = event else {
            return true;
        };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (host.boots, host.phase);
        // Events of several connections can come in another order than they happened.
        let is_news = told.get(&host.name).is_none_or(|then| now > *then);
        if is_news {
            told.insert(host.name.clone(), now);
        }
        is_news
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
        Event::Stopping { connections: 0 } => "stopping".to_owned(),
        Event::Stopping { connections: 1 } => "stopping; waiting for 1 connection".to_owned(),
        Event::Stopping { connections } => {
            format!("stopping; waiting for {connections} connections")
        }
    }
}

/// An event as a line for programs.
fn value(event: &Event) -> Value {
    const SCHEMA: &str = "coreos-bake/serve-event/v1";
    match event {
        Event::Listening { url } => json!({ "schema": SCHEMA, "event": "listening", "url": url }),
        Event::Host(host) => json!({ "schema": SCHEMA, "event": "host", "host": host }),
        Event::Refused { client, sentence } => {
            json!({ "schema": SCHEMA, "event": "refused", "client": client, "sentence": sentence })
        }
        Event::Stopping { connections } => {
            json!({ "schema": SCHEMA, "event": "stopping", "connections": connections })
        }
    }
}

/// All hosts, or those that were heard of last if there are too many, in at most `columns` columns.
fn table(status: &Status, columns: usize) -> String {
    let mut hosts: Vec<&HostStatus> = status.hosts.iter().collect();
    let all = hosts.len();
    if all > MAX_ROWS {
        hosts.sort_by_key(|host| std::cmp::Reverse(host.last_heard));
        hosts.truncate(MAX_ROWS);
    }
    let mut table = Table::new(["HOST", "ROLE", "ADDRESS", "STATE", "PROGRESS", "HEARD"]);
    for host in hosts {
        table.row([
            host.name.clone(),
            host.role.clone().unwrap_or_default(),
            host.client
                .map_or_else(String::new, |client| client.to_string()),
            host.phase.to_string(),
            host.transfer().map_or_else(String::new, progress),
            host.heard(status.now),
        ]);
    }
    table.shorten(&[0, 1, 2], columns);
    let rest = match all.checked_sub(MAX_ROWS) {
        Some(more @ 1..) => format!("; {more} more not shown"),
        _ => String::new(),
    };
    format!(
        "{}  {} of {all} hosts heard of, {} done{rest}",
        table.render(columns),
        status.heard(),
        status.done()
    )
}

/// How far the transfer of a step is.
fn progress(step: &StepStatus) -> String {
    let size = HumanBytes(step.bytes_total).to_string();
    // Hundredths of a MiB would move nothing but the columns.
    let size = match size.split_once(['.', ' ']) {
        Some((whole, _)) => format!("{whole} {}", size.rsplit(' ').next().unwrap_or_default()),
        None => size,
    };
    format!("{} % of {size}", step.percent())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paragraph::width;
    use crate::serve::{IgnitionStatus, Step};

    fn host(name: &str, role: &str, client: &str) -> HostStatus {
        HostStatus {
            name: name.to_owned(),
            macs: Vec::new(),
            role: Some(role.to_owned()).filter(|role| !role.is_empty()),
            declared: !role.is_empty(),
            phase: Phase::Initramfs,
            client: Some(client.parse().unwrap()),
            boots: 1,
            ignition: IgnitionStatus::Ready,
            last_heard: Some(0),
            steps: vec![StepStatus {
                step: Step::Initramfs,
                began: 0,
                ended: None,
                bytes_sent: 172 << 20,
                bytes_total: 172 << 20,
            }],
        }
    }

    #[test]
    fn the_table_fits_a_screen_whatever_hosts_are_called() {
        let long = "worker-with-a-name-of-some-length.rack-17.example.com";
        let mut hosts = vec![
            host("52:54:00:00:00:09", "", "192.168.122.105"),
            host("bootstrap", "bootstrap", "192.168.122.106"),
        ];
        let fits = |hosts: &[HostStatus]| {
            let status = Status {
                schema: "",
                title: String::new(),
                url: String::new(),
                now: 7199,
                hosts: hosts.to_vec(),
            };
            let text = table(&status, 80);
            for line in text.lines() {
                assert!(width(line) <= 80, "{text}");
            }
            assert_eq!(text.lines().count(), hosts.len() + 2, "{text}");
            text
        };
        let text = fits(&hosts);
        assert!(text.contains("  119 min ago\n"), "{text}");
        assert!(text.contains("100 % of 172 MiB"), "{text}");
        hosts.push(host(
            long,
            "control-plane-of-the-lab",
            "2001:db8:1234:5678:9abc:def0:1234:5678",
        ));
        let text = fits(&hosts);
        assert!(text.contains("  worke…e.com  "), "{text}");
    }
}
