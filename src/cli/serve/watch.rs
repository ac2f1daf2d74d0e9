//! What the operator sees of a server: a table that moves on a terminal, lines elsewhere, JSON for
//! machines.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};

use super::keys::{Key, Keys};
use crate::cli::screen::columns;
use crate::cli::table::Table;
use crate::cli::terminal::Terminal;
use crate::paragraph::{hanging, shortened};
use crate::serve::{Board, Event, Events, HostStatus, Phase, Refusal, Status, StepStatus};

/// Between two looks at how far transfers are.
const PAUSE: Duration = Duration::from_millis(500);

/// A terminal has 24 lines, and some are for what happened.
const MAX_ROWS: usize = 14;

/// Of those who were refused, so many are shown.
const MAX_REFUSALS: usize = 3;

/// As many as one digit tells apart; more would not fit below the table.
const MAX_CHOICES: usize = 5;

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

    /// The keys of the terminal, if there is a table.
    pub(super) fn keys(&self) -> Option<Keys> {
        matches!(self, Self::Table(_)).then(Keys::new)
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

    /// Shows how far hosts are, again and again, and lets refused machines through at the operator's
    /// `keys`.
    pub(super) async fn show(self, board: Arc<Board>, keys: Option<Receiver<Key>>) {
        let (Self::Table(bar), Some(mut keys)) = (self, keys) else {
            return;
        };
        let mut choice = None;
        loop {
            let status = board.status();
            let columns = columns(io::stderr());
            let below = match &choice {
                Some(choice) => question(choice, columns),
                None => refusals(&status, columns),
            };
            bar.set_message(table(&status, columns) + &below);
            bar.tick();
            // Ends with an error when no key can come any more.
            let Ok(pressed) = timeout(PAUSE, keys.changed()).await else {
                continue;
            };
            if pressed.is_err() {
                sleep(PAUSE).await;
                continue;
            }
            let letter = keys.borrow_and_update().letter;
            match choice.take() {
                None if letter == 'r' => choice = Some(waiting(&status)).filter(|c| !c.is_empty()),
                None => {}
                Some(waiting) => {
                    if let Some((name, refusal)) = chosen(&waiting, letter)
                        && board.allow(name, refusal.client)
                    {
                        let client = refusal.client;
                        bar.println(format!(
                            "{name}: the next boot of {client} is let through, once"
                        ));
                    }
                }
            }
        }
    }

    /// Leaves the last state standing.
    pub(super) fn end(&self) {
        if let Self::Table(bar) = self {
            bar.abandon();
        }
    }
}

/// Who asked to boot and was refused: the name of the host, and the request.
type Waiting = Vec<(String, Refusal)>;

/// All who can be let through, those of the latest request first; as many as there are digits.
fn waiting(status: &Status) -> Waiting {
    let mut waiting: Waiting = status.hosts.iter().flat_map(of_host).collect();
    waiting.sort_by_key(|(_, refusal)| Reverse(refusal.last));
    waiting.truncate(MAX_CHOICES);
    waiting
}

fn of_host(host: &HostStatus) -> impl Iterator<Item = (String, Refusal)> {
    let refused = host
        .refused
        .iter()
        .filter(|refusal| refusal.wants_to_boot());
    refused.map(|refusal| (host.name.clone(), refusal.clone()))
}

/// What the key `letter` stands for.
fn chosen(waiting: &Waiting, letter: char) -> Option<&(String, Refusal)> {
    let number = letter.to_digit(10)?.checked_sub(1)?;
    waiting.get(usize::try_from(number).ok()?)
}

/// Asks which machine is let through.
fn question(waiting: &Waiting, columns: usize) -> String {
    let mut text = "\n\nLet through once, with all secrets (another key: nobody):".to_owned();
    for (number, (name, refusal)) in (1..).zip(waiting) {
        let line = format!(
            "  {number}  {name} at {}: {}",
            refusal.client, refusal.reason
        );
        text += "\n";
        text += &shortened(&line, columns);
    }
    text
}

/// The latest of those who were refused, in lines below the table.
fn refusals(status: &Status, columns: usize) -> String {
    let mut all: Vec<(&str, &Refusal)> = status
        .hosts
        .iter()
        .flat_map(|host| host.refused.iter().map(|refusal| (&*host.name, refusal)))
        .collect();
    all.sort_by_key(|(_, refusal)| Reverse(refusal.last));
    let mut text = String::new();
    for (name, refusal) in all.iter().take(MAX_REFUSALS) {
        let (client, asked) = (refusal.client, refusal.asked);
        text += "\n";
        text += &shortened(
            &format!("! {client} was refused {asked} of {name}"),
            columns,
        );
    }
    if all.iter().any(|(_, refusal)| refusal.wants_to_boot()) {
        text += "\n  r lets one of them boot";
    }
    text
}

/// Names that are remembered; beyond them, something may be told twice. Anybody on the network can make
/// up more.
const MAX_TOLD: usize = 4096;

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
        if told.len() >= MAX_TOLD {
            told.clear();
        }
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
        Event::Listening { url, status } => format!("listening at {url}, status at {status}"),
        Event::Host(host) => {
            let client = host
                .client
                .map_or_else(String::new, |client| format!(" ({client})"));
            format!("{}{client}: {}", host.name, host.phase)
        }
        Event::Refused {
            client, sentence, ..
        } => format!("{client}: refused: {sentence}"),
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
        Event::Listening { url, status } => {
            json!({ "schema": SCHEMA, "event": "listening", "url": url, "status": status })
        }
        Event::Host(host) => json!({ "schema": SCHEMA, "event": "host", "host": host }),
        Event::Refused {
            client,
            host,
            sentence,
        } => json!({
            "schema": SCHEMA,
            "event": "refused",
            "client": client,
            "host": host,
            "sentence": sentence,
        }),
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
        hosts.sort_by_key(|host| Reverse(host.last_heard));
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
            refused: Vec::new(),
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
