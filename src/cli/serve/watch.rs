//! What the operator sees of a server: a table that moves on a terminal, lines elsewhere, JSON for
//! machines.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::terminal::Terminal;
use crate::serve::{Board, Event, Events, HostStatus, Phase, Status};

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
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(None, target);
            bar.set_style(ProgressStyle::with_template("{msg}").expect("a template of our own"));
            Self::Table(bar)
        } else {
            Self::Lines
        }
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
                    bar.println(sentence(event));
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
            bar.set_message(table(&board.status()));
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

/// All hosts, or those that were heard of last if there are too many.
fn table(status: &Status) -> String {
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
            progress(host),
            heard(host, status.now),
        ]);
    }
    let count = |wanted: fn(&HostStatus) -> bool| status.hosts.iter().filter(|h| wanted(h)).count();
    let heard = count(|host| host.last_heard.is_some());
    let done = count(|host| host.phase == Phase::Done);
    let rest = match all.checked_sub(MAX_ROWS) {
        Some(more @ 1..) => format!("; {more} more not shown"),
        _ => String::new(),
    };
    format!(
        "{}  {heard} of {all} hosts heard of, {done} done{rest}",
        table.render()
    )
}

/// How far the last step with bytes is.
fn progress(host: &HostStatus) -> String {
    let Some(step) = host.steps.iter().rfind(|step| step.bytes_total > 0) else {
        return String::new();
    };
    let sent = step.bytes_sent.min(step.bytes_total);
    let percent = u128::from(sent) * 100 / u128::from(step.bytes_total);
    format!("{percent} % of {}", HumanBytes(step.bytes_total))
}

fn heard(host: &HostStatus, now: u64) -> String {
    match host.last_heard {
        None => "never".to_owned(),
        Some(then) => match now.saturating_sub(then) {
            seconds @ 0..120 => format!("{seconds} s ago"),
            seconds @ 120..7200 => format!("{} min ago", seconds / 60),
            seconds => format!("{} h ago", seconds / 3600),
        },
    }
}
