//! Who is how far, and who was refused: the one place that changes while the server runs.
//!
//! What counts for a machine is what is fetched with its tickets, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use bytes::Bytes;

use super::hosts::{Hosts, Needs};
use super::status::{Event, Events, HostStatus, IgnitionStatus, Phase, Refusal, Status, Step};
use super::ticket::{Answer, BootId, Denial, Gate, HostId, Item, TICKET_BYTES, Ticket, Tickets};
use crate::hosts::Mac;

/// Machines that nobody declared; beyond them, the one that matters least is forgotten.
const MAX_GUESTS: usize = 1024;

/// Refused addresses that are remembered for a host. The machine itself may be one of them, and asks
/// again; more would not fit a screen.
const MAX_REFUSALS: usize = 4;

/// Refusals that are told in one second. The status has all of them.
const MAX_REFUSALS_TOLD: u32 = 50;

struct Entry {
    name: String,
    macs: Vec<Mac>,
    role: Option<String>,
    declared: bool,
    config: Option<Bytes>,
    overlay: Option<Bytes>,
    boots: u64,
    last_heard: Option<u64>,
    refused: Vec<Refusal>,
}

struct Inner {
    gate: Gate,
    /// Declared hosts in the order of their declaration, then guests in that of their appearance.
    entries: BTreeMap<HostId, Entry>,
    by_mac: BTreeMap<Mac, HostId>,
    next: HostId,
    guests: usize,
}

/// Keeps what is known of all hosts.
pub struct Board {
    title: String,
    url: String,
    events: Events,
    inner: Mutex<Inner>,
    /// A second, and how many refusals were told in it.
    told: Mutex<(u64, u32)>,
}

/// What a script for a machine says.
pub(super) enum Script {
    /// Boot, with these tickets.
    Boot(Tickets),
    /// Go on with the disk.
    Installed,
    /// This sentence.
    Refused(String),
}

/// A file on its way to a host.
pub(super) struct Transfer {
    board: Arc<Board>,
    boot: BootId,
    item: Item,
    start: u64,
    total: u64,
    sent: Arc<AtomicU64>,
}

impl Board {
    pub(super) fn new(
        title: String,
        url: String,
        hosts: &Hosts,
        repeat: bool,
        events: Events,
    ) -> Self {
        let mut gate = Gate::new(repeat);
        let mut entries = BTreeMap::new();
        let mut by_mac = BTreeMap::new();
        let mut next = 0;
        for (host, config) in &hosts.hosts {
            let entry = Entry {
                name: host.name.clone(),
                macs: host.macs.clone(),
                role: host.role.clone(),
                declared: true,
                config: config.clone(),
                overlay: host.overlay.clone(),
                boots: 0,
                last_heard: None,
                refused: Vec::new(),
            };
            gate.add(next, host.needs());
            by_mac.extend(host.macs.iter().map(|&mac| (mac, next)));
            entries.insert(next, entry);
            next += 1;
        }
        let inner = Inner {
            gate,
            entries,
            by_mac,
            next,
            guests: 0,
        };
        Self {
            title,
            url,
            events,
            inner: Mutex::new(inner),
            told: Mutex::default(),
        }
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        let inner = self.lock();
        Status {
            schema: "coreos-bake/serve/v1",
            title: self.title.clone(),
            url: self.url.clone(),
            now: now(),
            hosts: inner
                .entries
                .keys()
                .filter_map(|&id| inner.status(id))
                .collect(),
        }
    }

    /// The next time that `client` asks for the script of the host called `name`, it gets it, with all
    /// secrets. Only for addresses that were refused it. Tells whether there is such a host.
    pub fn allow(&self, name: &str, client: IpAddr) -> bool {
        let mut inner = self.lock();
        let found = inner.entries.iter_mut().find(|(_, e)| e.name == name);
        let Some((&id, entry)) = found else {
            return false;
        };
        let before = entry.refused.len();
        entry.refused.retain(|refusal| refusal.client != client);
        let is_refused = entry.refused.len() < before;
        if is_refused {
            inner.gate.allow(id, client);
        }
        is_refused
    }

    /// Tells of `event`, unless too many requests were refused in this second: somebody who asks again and
    /// again must not fill a log.
    pub(super) fn tell(&self, event: &Event) {
        if matches!(event, Event::Refused { .. }) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let second = now();
            if told.0 != second {
                *told = (second, 0);
            }
            told.1 += 1;
            if told.1 > MAX_REFUSALS_TOLD {
                return;
            }
        }
        (self.events)(event);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how a host is, without holding up others meanwhile.
    fn tell_of(&self, inner: MutexGuard<'_, Inner>, id: HostId) {
        let status = inner.status(id);
        drop(inner);
        if let Some(status) = status {
            self.tell(&Event::Host(status));
        }
    }

    /// Notes and tells that `client` did not get what is for the host at `id`.
    fn refuse(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        id: Option<HostId>,
        client: IpAddr,
        asked: &'static str,
        denial: Denial,
    ) {
        let entry = id.and_then(|id| inner.entries.get_mut(&id));
        let mut is_news = false;
        let host = entry.map(|entry| {
            is_news = entry.refuse(client, asked, denial, now());
            entry.name.clone()
        });
        drop(inner);
        let of = host
            .as_ref()
            .map_or_else(String::new, |name| format!(" of {name}"));
        let event = Event::Refused {
            client,
            host,
            sentence: format!("asked for {asked}{of}: {denial}"),
        };
        // What somebody else asks for meanwhile must not hide it.
        match is_news {
            true => (self.events)(&event),
            false => self.tell(&event),
        }
    }

    /// Somebody at `client` asks for the script of `mac`.
    pub(super) fn asks(&self, client: IpAddr, mac: Mac) -> Result<Script> {
        let fresh = Tickets {
            secret: random()?,
            rootfs: random()?,
        };
        let mut inner = self.lock();
        let id = match inner.by_mac.get(&mac) {
            Some(&id) => id,
            None => inner.add_guest(mac),
        };
        let now = now();
        match inner.gate.ask(id, client, fresh, now) {
            None => Err(anyhow!("{mac} is known and has no entry")),
            Some(Answer::Installed) => Ok(Script::Installed),
            Some(Answer::Refused(denial)) => {
                self.refuse(inner, Some(id), client, Entry::SCRIPT, denial);
                let sentence = format!(
                    "{mac} gets nothing here: {denial}. Whoever runs coreos-bake serve lets it through \
                     with the key r, or with --repeat."
                );
                Ok(Script::Refused(sentence))
            }
            Some(Answer::Boot(boot)) => {
                if let Some(entry) = inner.entries.get_mut(&id) {
                    entry.boots += 1;
                    entry.last_heard = Some(now);
                }
                if let Some(steps) = inner.gate.steps(boot) {
                    steps.begin(Step::Script, 0, 0, now);
                    steps.end(Step::Script, 0, 0, now);
                }
                self.tell_of(inner, id);
                Ok(Script::Boot(fresh))
            }
        }
    }

    /// Whether `client` may have `item`, for a request that only looks.
    pub(super) fn judge(&self, client: IpAddr, ticket: Ticket, item: Item) -> Result<(), Denial> {
        let inner = self.lock();
        match inner.gate.judge(ticket, item, client) {
            Ok(_) => Ok(()),
            Err(denial) => {
                self.deny(inner, client, ticket, item, denial);
                Err(denial)
            }
        }
    }

    /// A host fetches an item of `total` bytes from `start` on.
    pub(super) fn fetches(
        self: &Arc<Self>,
        client: IpAddr,
        ticket: Ticket,
        item: Item,
        (start, total): (u64, u64),
    ) -> Result<Transfer, Denial> {
        let mut inner = self.lock();
        let now = now();
        let boot = match inner.gate.enter(ticket, item, client, now) {
            Ok(boot) => boot,
            Err(denial) => {
                self.deny(inner, client, ticket, item, denial);
                return Err(denial);
            }
        };
        let sent = match (step(item), inner.gate.steps(boot)) {
            (Some(step), Some(steps)) => steps.begin(step, start, total, now),
            _ => Arc::default(),
        };
        if let Some(id) = inner.gate.host(boot) {
            inner.hear(id, now);
            self.tell_of(inner, id);
        }
        let board = Arc::clone(self);
        Ok(Transfer {
            board,
            boot,
            item,
            start,
            total,
            sent,
        })
    }

    /// The secret that `ticket` and `item` stand for, and a transfer of it.
    pub(super) fn secret(
        self: &Arc<Self>,
        client: IpAddr,
        ticket: Ticket,
        item: Item,
    ) -> Result<(Bytes, Transfer), Denial> {
        let secret = {
            let inner = self.lock();
            let host = inner.gate.host_of(ticket);
            let entry = host.and_then(|host| inner.entries.get(&host));
            entry.and_then(|entry| match item {
                Item::Overlay => entry.overlay.clone(),
                _ => entry.config.clone(),
            })
        };
        let length = secret.as_ref().map_or(0, Bytes::len);
        let total = u64::try_from(length).unwrap_or(u64::MAX);
        let transfer = self.fetches(client, ticket, item, (0, total))?;
        Ok((secret.ok_or(Denial::Nothing)?, transfer))
    }

    /// A host says that it is done.
    pub(super) fn done(&self, client: IpAddr, ticket: Ticket) -> Result<(), Denial> {
        let mut inner = self.lock();
        let now = now();
        match inner.gate.enter(ticket, Item::Done, client, now) {
            Ok(boot) => {
                if let Some(id) = inner.gate.host(boot) {
                    inner.hear(id, now);
                    self.tell_of(inner, id);
                }
                Ok(())
            }
            Err(denial) => {
                self.deny(inner, client, ticket, Item::Done, denial);
                Err(denial)
            }
        }
    }

    /// Tells of a refusal, unless it only means "later".
    fn deny(
        &self,
        inner: MutexGuard<'_, Inner>,
        client: IpAddr,
        ticket: Ticket,
        item: Item,
        denial: Denial,
    ) {
        if denial != Denial::Busy {
            let host = inner.gate.host_of(ticket);
            self.refuse(inner, host, client, asked(item), denial);
        }
    }
}

impl Inner {
    fn add_guest(&mut self, mac: Mac) -> HostId {
        if self.guests >= MAX_GUESTS {
            self.forget_a_guest();
        }
        let id = self.next;
        self.next += 1;
        self.guests += 1;
        self.by_mac.insert(mac, id);
        self.gate.add(id, Needs::default());
        let entry = Entry {
            name: mac.to_string(),
            macs: vec![mac],
            role: None,
            declared: false,
            config: None,
            overlay: None,
            boots: 0,
            last_heard: None,
            refused: Vec::new(),
        };
        self.entries.insert(id, entry);
        id
    }

    /// Forgets the guest that was not heard of for the longest time: of those that fetch nothing now and
    /// have fetched nothing, if there are any.
    fn forget_a_guest(&mut self) {
        let guests = self.entries.iter().filter(|(_, entry)| !entry.declared);
        let least = guests.min_by_key(|&(&id, _)| (self.gate.weight(id), id));
        let Some((&id, _)) = least else {
            return;
        };
        self.gate.remove(id);
        if let Some(entry) = self.entries.remove(&id) {
            for mac in entry.macs {
                self.by_mac.remove(&mac);
            }
            self.guests -= 1;
        }
    }

    fn hear(&mut self, id: HostId, now: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.last_heard = Some(now);
        }
    }

    fn status(&self, id: HostId) -> Option<HostStatus> {
        let entry = self.entries.get(&id)?;
        let boot = self.gate.last_boot(id);
        let steps = boot.and_then(|boot| self.gate.shown(boot));
        let furthest = steps.and_then(|steps| steps.furthest());
        let is_sending = boot.is_some_and(|boot| self.gate.is_sending(boot));
        let has_it = boot.is_some_and(|boot| self.gate.has(boot, Item::Config));
        Some(HostStatus {
            name: entry.name.clone(),
            macs: entry.macs.iter().map(Mac::to_string).collect(),
            role: entry.role.clone(),
            declared: entry.declared,
            phase: match furthest {
                _ if self.gate.is_done(id) => Phase::Done,
                Some(step) => step.into(),
                None => Phase::Waiting,
            },
            client: boot.and_then(|boot| self.gate.address(boot)),
            boots: entry.boots,
            ignition: match entry.config {
                None => IgnitionStatus::None,
                Some(_) if is_sending => IgnitionStatus::Sending,
                Some(_) if has_it || self.gate.is_sealed(id) => IgnitionStatus::Delivered,
                Some(_) => IgnitionStatus::Ready,
            },
            last_heard: entry.last_heard,
            refused: entry.refused.clone(),
            steps: steps.map(|steps| steps.status()).unwrap_or_default(),
        })
    }
}

impl Entry {
    /// What is asked for when a boot begins.
    const SCRIPT: &str = Refusal::SCRIPT;

    /// Notes that `client` got nothing; true if nothing is remembered of it.
    fn refuse(&mut self, client: IpAddr, asked: &'static str, denial: Denial, now: u64) -> bool {
        let before = self.refused.iter().position(|old| old.client == client);
        let mut refusal = match before {
            Some(at) => self.refused.remove(at),
            None => Refusal {
                client,
                asked,
                reason: String::new(),
                times: 0,
                last: now,
            },
        };
        // That it wants to boot matters more than what else it tried.
        if refusal.asked != Self::SCRIPT || asked == Self::SCRIPT {
            refusal.asked = asked;
            refusal.reason = denial.to_string();
        }
        refusal.times += 1;
        refusal.last = now;
        if self.refused.len() >= MAX_REFUSALS {
            self.refused.remove(0);
        }
        self.refused.push(refusal);
        before.is_none()
    }
}

impl Transfer {
    /// `bytes` more were handed to the network.
    pub(super) fn advance(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut inner = self.board.lock();
        let now = now();
        let sent = self.sent.load(Ordering::Relaxed);
        let is_whole = match (step(self.item), inner.gate.steps(self.boot)) {
            (Some(step), Some(steps)) => steps.end(step, self.start, sent, now),
            _ => self.start == 0 && sent == self.total,
        };
        inner.gate.leave(self.boot, self.item, is_whole, now);
        let host = inner.gate.host(self.boot);
        if let Some(id) = host.filter(|_| is_whole) {
            inner.hear(id, now);
            self.board.tell_of(inner, id);
        }
    }
}

/// The step in which `item` is fetched; the overlay comes with the initramfs.
fn step(item: Item) -> Option<Step> {
    match item {
        Item::Kernel => Some(Step::Kernel),
        Item::Initramfs => Some(Step::Initramfs),
        Item::Rootfs => Some(Step::Rootfs),
        Item::Config => Some(Step::Ignition),
        Item::Overlay | Item::Done => None,
    }
}

fn asked(item: Item) -> &'static str {
    match item {
        Item::Kernel => "the kernel",
        Item::Initramfs => "the initramfs",
        Item::Overlay => "the network settings",
        Item::Rootfs => "the root file system",
        Item::Config => "the Ignition config",
        Item::Done => "the end of the installation",
    }
}

fn random() -> Result<Ticket> {
    let mut bytes = [0; TICKET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("asking for random bytes: {error}"))?;
    Ok(Ticket::new(bytes))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
