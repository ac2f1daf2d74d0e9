//! Who is how far: the one place that changes while the server runs.
//!
//! A request for a file counts for the machine whose hardware address is in its URL, or else for
//! the last machine that asked for its script from the same IP address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::hosts::Hosts;
use super::status::{Event, Events, HostStatus, IgnitionStatus, Phase, Status, Step, StepStatus};
use crate::hosts::Mac;

/// Machines that nobody declared; more of them boot, but are not shown.
const MAX_GUESTS: usize = 1024;

struct Progress {
    step: Step,
    began: u64,
    ended: Option<u64>,
    /// Bytes before the transfer's own.
    start: u64,
    sent: Arc<AtomicU64>,
    total: u64,
}

struct Entry {
    name: String,
    macs: Vec<Mac>,
    role: Option<String>,
    declared: bool,
    config: Option<Bytes>,
    ignition: IgnitionStatus,
    client: Option<IpAddr>,
    boots: u64,
    last_heard: Option<u64>,
    done: bool,
    steps: BTreeMap<Step, Progress>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    by_mac: BTreeMap<Mac, usize>,
    by_client: BTreeMap<IpAddr, usize>,
}

/// Keeps what is known of all hosts.
pub struct Board {
    title: String,
    url: String,
    repeat: bool,
    events: Events,
    inner: Mutex<Inner>,
}

/// Whether a host gets its Ignition configuration.
pub(super) enum Claim {
    /// Nobody knows the host, or it has no configuration.
    None,
    /// It has it already.
    Gone,
    /// Somebody is just taking it.
    Busy,
    /// Here it is; it counts as taken once the [`Delivery`] is finished.
    Given(Bytes, Delivery),
}

/// An Ignition configuration on its way.
pub(super) struct Delivery {
    board: Arc<Board>,
    entry: usize,
    boot: u64,
    finished: bool,
}

/// A file on its way to a host.
pub(super) struct Transfer {
    board: Arc<Board>,
    entry: usize,
    step: Step,
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
        let entries = hosts
            .hosts
            .iter()
            .map(|(host, config)| Entry {
                name: host.name.clone(),
                macs: host.macs.clone(),
                role: host.role.clone(),
                declared: true,
                ignition: match config {
                    Some(_) => IgnitionStatus::Ready,
                    None => IgnitionStatus::None,
                },
                config: config.clone(),
                client: None,
                boots: 0,
                last_heard: None,
                done: false,
                steps: BTreeMap::new(),
            })
            .collect();
        let inner = Inner {
            entries,
            by_mac: hosts.by_mac.clone(),
            by_client: BTreeMap::new(),
        };
        Self {
            title,
            url,
            repeat,
            events,
            inner: Mutex::new(inner),
        }
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        Status {
            schema: "coreos-bake/serve/v1",
            title: self.title.clone(),
            url: self.url.clone(),
            now: now(),
            hosts: self.lock().entries.iter().map(Entry::status).collect(),
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        (self.events)(event);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how the host at `entry` is, without holding up others meanwhile.
    fn tell_of(&self, inner: MutexGuard<'_, Inner>, entry: usize) {
        let status = inner.entries[entry].status();
        drop(inner);
        self.tell(&Event::Host(status));
    }

    /// Whether `mac` said that it is done, so that it should go on with its disk.
    pub(super) fn is_done(&self, mac: Mac) -> bool {
        let inner = self.lock();
        let entry = inner.by_mac.get(&mac).map(|&entry| &inner.entries[entry]);
        entry.is_some_and(|entry| entry.done) && !self.repeat
    }

    /// A host begins to boot.
    pub(super) fn boots(&self, client: IpAddr, mac: Mac) {
        let mut inner = self.lock();
        let index = match inner.by_mac.get(&mac) {
            Some(&entry) => entry,
            None if inner.entries.iter().filter(|e| !e.declared).count() >= MAX_GUESTS => return,
            None => inner.add_guest(mac),
        };
        inner.by_client.retain(|_, other| *other != index);
        inner.by_client.insert(client, index);
        let entry = &mut inner.entries[index];
        entry.client = Some(client);
        entry.boots += 1;
        entry.done = false;
        if entry.config.is_some() {
            entry.ignition = IgnitionStatus::Ready;
        }
        entry.steps.clear();
        entry.begin(Step::Script, 0, 0);
        entry.end(Step::Script);
        self.tell_of(inner, index);
    }

    /// A host fetches a file of `total` bytes from `start` on. Nothing if it isn't known.
    pub(super) fn fetches(
        self: &Arc<Self>,
        client: IpAddr,
        mac: Option<Mac>,
        step: Step,
        (start, total): (u64, u64),
    ) -> Option<Transfer> {
        let mut inner = self.lock();
        let entry = match mac {
            Some(mac) => *inner.by_mac.get(&mac)?,
            None => *inner.by_client.get(&client)?,
        };
        let sent = inner.entries[entry].begin(step, start, total);
        self.tell_of(inner, entry);
        let board = Arc::clone(self);
        Some(Transfer {
            board,
            entry,
            step,
            sent,
        })
    }

    /// A host asks for its Ignition configuration.
    pub(super) fn claim(self: &Arc<Self>, mac: Mac) -> Claim {
        let mut inner = self.lock();
        let Some(&index) = inner.by_mac.get(&mac) else {
            return Claim::None;
        };
        let entry = &mut inner.entries[index];
        let Some(config) = entry.config.clone() else {
            return Claim::None;
        };
        match entry.ignition {
            IgnitionStatus::Delivered if !self.repeat => return Claim::Gone,
            IgnitionStatus::Sending if !self.repeat => return Claim::Busy,
            _ => {}
        }
        entry.ignition = IgnitionStatus::Sending;
        let length = u64::try_from(config.len()).unwrap_or(u64::MAX);
        entry.begin(Step::Ignition, 0, length);
        let boot = entry.boots;
        self.tell_of(inner, index);
        let delivery = Delivery {
            board: Arc::clone(self),
            entry: index,
            boot,
            finished: false,
        };
        Claim::Given(config, delivery)
    }

    /// A host says that it is done. False if nobody knows it.
    pub(super) fn done(&self, mac: Mac) -> bool {
        let mut inner = self.lock();
        let Some(&index) = inner.by_mac.get(&mac) else {
            return false;
        };
        let entry = &mut inner.entries[index];
        entry.done = true;
        entry.last_heard = Some(now());
        self.tell_of(inner, index);
        true
    }
}

impl Inner {
    fn add_guest(&mut self, mac: Mac) -> usize {
        let index = self.entries.len();
        self.by_mac.insert(mac, index);
        self.entries.push(Entry {
            name: mac.to_string(),
            macs: vec![mac],
            role: None,
            declared: false,
            config: None,
            ignition: IgnitionStatus::None,
            client: None,
            boots: 0,
            last_heard: None,
            done: false,
            steps: BTreeMap::new(),
        });
        index
    }
}

impl Entry {
    fn begin(&mut self, step: Step, start: u64, total: u64) -> Arc<AtomicU64> {
        let now = now();
        let sent = Arc::new(AtomicU64::new(0));
        self.last_heard = Some(now);
        // A step that is taken up again began when it first did.
        let began = self.steps.get(&step).map_or(now, |step| step.began);
        let progress = Progress {
            step,
            began,
            ended: None,
            start,
            sent: Arc::clone(&sent),
            total,
        };
        self.steps.insert(step, progress);
        sent
    }

    fn end(&mut self, step: Step) {
        let now = now();
        self.last_heard = Some(now);
        if let Some(progress) = self.steps.get_mut(&step) {
            progress.ended = Some(now);
        }
    }

    fn phase(&self) -> Phase {
        if self.done {
            return Phase::Done;
        }
        let furthest = self.steps.keys().next_back();
        furthest.map_or(Phase::Waiting, |&step| step.into())
    }

    fn status(&self) -> HostStatus {
        HostStatus {
            name: self.name.clone(),
            macs: self.macs.iter().map(Mac::to_string).collect(),
            role: self.role.clone(),
            declared: self.declared,
            phase: self.phase(),
            client: self.client,
            boots: self.boots,
            ignition: self.ignition,
            last_heard: self.last_heard,
            steps: self.steps.values().map(Progress::status).collect(),
        }
    }
}

impl Progress {
    fn position(&self) -> u64 {
        self.start.saturating_add(self.sent.load(Ordering::Relaxed))
    }

    fn status(&self) -> StepStatus {
        StepStatus {
            step: self.step,
            began: self.began,
            ended: self.ended,
            bytes_sent: self.position(),
            bytes_total: self.total,
        }
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
        let entry = &mut inner.entries[self.entry];
        let Some(progress) = entry.steps.get(&self.step) else {
            return;
        };
        // The host may have rebooted, or begun again, meanwhile.
        if Arc::ptr_eq(&progress.sent, &self.sent) && progress.position() == progress.total {
            entry.end(self.step);
            self.board.tell_of(inner, self.entry);
        }
    }
}

impl Delivery {
    /// The host has all of it.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut inner = self.board.lock();
        let entry = &mut inner.entries[self.entry];
        if entry.boots != self.boot || entry.ignition != IgnitionStatus::Sending {
            return;
        }
        if !self.finished {
            entry.ignition = IgnitionStatus::Ready;
            return;
        }
        entry.ignition = IgnitionStatus::Delivered;
        if let Some(progress) = entry.steps.get(&Step::Ignition) {
            progress.sent.store(progress.total, Ordering::Relaxed);
        }
        entry.end(Step::Ignition);
        self.board.tell_of(inner, self.entry);
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
