//! Who may have what: tickets, the addresses that they belong to, and when a host's secrets are used up.
//!
//! A machine on the network proves nothing but that it can send and receive at an address. So a host
//! with secrets belongs to the first address that asks for its script, until they are delivered; its
//! boot's URLs hold random parts that only this answer tells; and what was delivered stays so until the
//! operator says otherwise.
//!
//! ```text
//! ask ──► boot with two tickets ──► kernel, initramfs, overlay    from the address that asked
//!                                      │ all of them delivered: the address may move, once
//!                                      └─► rootfs, config, done   from one of the two addresses
//! config (or, without one, rootfs) delivered: sealed; no further boot without the operator
//! ```
//!
//! Nothing here does I/O, looks at a clock or makes random bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::hosts::Needs;
use super::progress::Steps;

/// So many bytes of a ticket are random: 128 bits, which nobody guesses.
pub(super) const TICKET_BYTES: usize = 16;

/// Boots of one host that can be under way at the same time where nothing is secret: a neighbour that
/// asks for a script must not end the boot of the machine itself.
pub(super) const MAX_BOOTS_OF_HOST: usize = 8;

/// The random part of a URL.
///
/// It is looked up in a hash map. How long that takes depends on the hash, which has a random key, and
/// then on one comparison with a ticket of the same hash: nobody gets nearer to a ticket by timing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket([u8; TICKET_BYTES]);

impl Ticket {
    pub(super) fn new(random: [u8; TICKET_BYTES]) -> Self {
        Self(random)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Ticket {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; TICKET_BYTES];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// The two tickets of one boot.
///
/// The live system fetches its root file system without checking the server's certificate
/// (fedora-coreos-config `coreos-livepxe-rootfs.sh`@2d0fce6: `curl --insecure`, a hash tells whether it
/// is the right one). Who answers in the server's place then learns that ticket; it opens no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tickets {
    /// In the URLs of the kernel, the initramfs, the overlay and the Ignition config.
    pub(super) secret: Ticket,
    /// In the URLs of the root file system and of `done`.
    pub(super) rootfs: Ticket,
}

/// What a URL with a ticket stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Kernel,
    Initramfs,
    Overlay,
    Rootfs,
    Config,
    Done,
}

impl Item {
    /// Whether the boot loader fetches it, and not the live system.
    fn is_of_loader(self) -> bool {
        matches!(self, Self::Kernel | Self::Initramfs | Self::Overlay)
    }
}

pub(super) type HostId = u64;
pub(super) type BootId = u64;

/// Why a request gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denial {
    #[error("nobody has a ticket like this, or a later boot replaced it")]
    Unknown,
    #[error("this ticket belongs to another address")]
    Elsewhere,
    #[error("this machine boots from another address")]
    Bound,
    #[error("this machine has its secrets already")]
    Sealed,
    #[error("there is nothing like that for this machine")]
    Nothing,
    #[error("the Ignition config was delivered already")]
    Delivered,
    #[error("the Ignition config is being fetched")]
    Busy,
    #[error("a machine is done after it has its root file system and its Ignition config")]
    TooEarly,
}

/// What somebody gets who asks for a host's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A boot.
    Boot(BootId),
    /// It is installed and goes on with its disk.
    Installed,
    /// Nothing.
    Refused(Denial),
}

#[derive(Debug)]
struct Holder {
    needs: Needs,
    /// Who may ask for another script: the address that had the last one, and the live system's.
    bound: BTreeSet<IpAddr>,
    sealed: bool,
    done: bool,
    /// Whom the operator lets through, once.
    allowed: Option<IpAddr>,
    /// The oldest first.
    boots: Vec<BootId>,
}

#[derive(Debug)]
struct Boot {
    host: HostId,
    tickets: Tickets,
    address: IpAddr,
    moved: bool,
    whole: BTreeSet<Item>,
    sending: bool,
    /// Transfers under way.
    open: usize,
    /// Whether anything was fetched.
    used: bool,
    heard: u64,
    steps: Steps,
}

impl Boot {
    /// What keeps it from being forgotten before others.
    fn weight(&self) -> (bool, bool, u64) {
        (self.open > 0, self.used, self.heard)
    }
}

/// All hosts and their boots.
#[derive(Debug, Default)]
pub(super) struct Gate {
    repeat: bool,
    holders: BTreeMap<HostId, Holder>,
    boots: BTreeMap<BootId, Boot>,
    tickets: HashMap<Ticket, BootId>,
    next: BootId,
}

impl Gate {
    /// Knows nobody. With `repeat`, secrets are never used up and belong to no address.
    pub(super) fn new(repeat: bool) -> Self {
        Self {
            repeat,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, host: HostId, needs: Needs) {
        let holder = Holder {
            needs,
            bound: BTreeSet::new(),
            sealed: false,
            done: false,
            allowed: None,
            boots: Vec::new(),
        };
        self.holders.insert(host, holder);
    }

    pub(super) fn remove(&mut self, host: HostId) {
        if let Some(holder) = self.holders.remove(&host) {
            for boot in holder.boots {
                self.forget(boot);
            }
        }
    }

    /// Somebody at `from` asks for the script of `host`. A boot that comes of it has the tickets `fresh`.
    pub(super) fn ask(
        &mut self,
        host: HostId,
        from: IpAddr,
        fresh: Tickets,
        now: u64,
    ) -> Option<Answer> {
        let repeat = self.repeat;
        let holder = self.holders.get_mut(&host)?;
        if holder.done && !repeat {
            return Some(Answer::Installed);
        }
        let mut void = Vec::new();
        if repeat || !holder.needs.has_secrets() {
            let boots = &self.boots;
            void.extend(holder.boots.iter().filter(|id| {
                let boot = boots.get(id);
                boot.is_none_or(|boot| boot.address == from)
            }));
            if void.is_empty() && holder.boots.len() >= MAX_BOOTS_OF_HOST {
                let least = holder.boots.iter().copied();
                void.extend(least.min_by_key(|id| boots.get(id).map(Boot::weight)));
            }
        } else {
            if holder.allowed == Some(from) {
                holder.allowed = None;
            } else if holder.sealed {
                return Some(Answer::Refused(Denial::Sealed));
            } else if !holder.bound.is_empty() && !holder.bound.contains(&from) {
                return Some(Answer::Refused(Denial::Bound));
            }
            void.extend(&holder.boots);
        }
        holder.boots.retain(|boot| !void.contains(boot));
        holder.sealed = false;
        holder.done = false;
        holder.bound = BTreeSet::from([from]);
        let id = self.next;
        self.next += 1;
        holder.boots.push(id);
        for boot in void {
            self.forget(boot);
        }
        self.tickets.insert(fresh.secret, id);
        self.tickets.insert(fresh.rootfs, id);
        let boot = Boot {
            host,
            tickets: fresh,
            address: from,
            moved: false,
            whole: BTreeSet::new(),
            sending: false,
            open: 0,
            used: false,
            heard: now,
            steps: Steps::default(),
        };
        self.boots.insert(id, boot);
        Some(Answer::Boot(id))
    }

    /// Whether `from` may have `item` for `ticket`. Nothing changes by asking.
    pub(super) fn judge(&self, ticket: Ticket, item: Item, from: IpAddr) -> Result<BootId, Denial> {
        let &id = self.tickets.get(&ticket).ok_or(Denial::Unknown)?;
        let boot = self.boots.get(&id).ok_or(Denial::Unknown)?;
        let holder = self.holders.get(&boot.host).ok_or(Denial::Unknown)?;
        let right = match item {
            Item::Rootfs | Item::Done => boot.tickets.rootfs,
            _ => boot.tickets.secret,
        };
        if ticket != right {
            return Err(Denial::Unknown);
        }
        let is_there = match item.is_of_loader() {
            true => boot.address == from && !boot.moved,
            false => boot.address == from || self.may_move(boot),
        };
        if !is_there {
            return Err(Denial::Elsewhere);
        }
        let needs = holder.needs;
        match item {
            Item::Overlay if !needs.overlay => Err(Denial::Nothing),
            // What belongs to one boot is delivered in it as often as its loader asks, and no more once
            // the machine runs.
            Item::Overlay if holder.sealed && !self.repeat => Err(Denial::Sealed),
            Item::Config if !needs.config => Err(Denial::Nothing),
            Item::Config if boot.whole.contains(&item) && !self.repeat => Err(Denial::Delivered),
            Item::Config if boot.sending && !self.repeat => Err(Denial::Busy),
            Item::Done if !needs.reports => Err(Denial::Nothing),
            Item::Done if !self.is_complete(boot) => Err(Denial::TooEarly),
            _ => Ok(id),
        }
    }

    /// `from` takes `item` for `ticket`, which may bring the boot to another address.
    pub(super) fn enter(
        &mut self,
        ticket: Ticket,
        item: Item,
        from: IpAddr,
        now: u64,
    ) -> Result<BootId, Denial> {
        let id = self.judge(ticket, item, from)?;
        let boot = self.boots.get_mut(&id).ok_or(Denial::Unknown)?;
        let holder = self.holders.get_mut(&boot.host).ok_or(Denial::Unknown)?;
        if boot.address != from {
            boot.address = from;
            boot.moved = true;
            holder.bound.insert(from);
        }
        boot.heard = now;
        boot.used = true;
        match item {
            Item::Done => holder.done = true,
            Item::Config => {
                boot.sending = true;
                boot.open += 1;
            }
            _ => boot.open += 1,
        }
        Ok(id)
    }

    /// A transfer has ended; with it, `boot` has all of `item` if it `is_whole`.
    pub(super) fn leave(&mut self, id: BootId, item: Item, is_whole: bool, now: u64) {
        let Some(boot) = self.boots.get_mut(&id) else {
            return;
        };
        boot.open = boot.open.saturating_sub(1);
        boot.heard = now;
        if item == Item::Config {
            boot.sending = false;
        }
        if !is_whole {
            return;
        }
        boot.whole.insert(item);
        let Some(holder) = self.holders.get_mut(&boot.host) else {
            return;
        };
        let last = match holder.needs.config {
            true => Item::Config,
            false => Item::Rootfs,
        };
        holder.sealed |= holder.needs.has_secrets() && boot.whole.contains(&last);
    }

    /// The next time that `address` asks for the script of `host`, it gets it.
    pub(super) fn allow(&mut self, host: HostId, address: IpAddr) {
        if let Some(holder) = self.holders.get_mut(&host) {
            holder.allowed = Some(address);
        }
    }

    pub(super) fn is_done(&self, host: HostId) -> bool {
        self.holders.get(&host).is_some_and(|holder| holder.done)
    }

    pub(super) fn is_sealed(&self, host: HostId) -> bool {
        self.holders.get(&host).is_some_and(|holder| holder.sealed)
    }

    /// Where the machine is that `boot` belongs to.
    pub(super) fn address(&self, boot: BootId) -> Option<IpAddr> {
        self.boots.get(&boot).map(|boot| boot.address)
    }

    /// How far the fetching of its files is.
    pub(super) fn steps(&mut self, boot: BootId) -> Option<&mut Steps> {
        self.boots.get_mut(&boot).map(|boot| &mut boot.steps)
    }

    /// See [`Gate::steps`].
    pub(super) fn shown(&self, boot: BootId) -> Option<&Steps> {
        self.boots.get(&boot).map(|boot| &boot.steps)
    }

    pub(super) fn is_sending(&self, boot: BootId) -> bool {
        self.boots.get(&boot).is_some_and(|boot| boot.sending)
    }

    pub(super) fn has(&self, boot: BootId, item: Item) -> bool {
        let boot = self.boots.get(&boot);
        boot.is_some_and(|boot| boot.whole.contains(&item))
    }

    /// Whose boot `ticket` is of.
    pub(super) fn host_of(&self, ticket: Ticket) -> Option<HostId> {
        let boot = self.boots.get(self.tickets.get(&ticket)?)?;
        Some(boot.host)
    }

    pub(super) fn host(&self, boot: BootId) -> Option<HostId> {
        self.boots.get(&boot).map(|boot| boot.host)
    }

    /// What keeps `host` from being forgotten before others: transfers under way, then that it fetched
    /// anything, then when it was last heard of.
    pub(super) fn weight(&self, host: HostId) -> (bool, bool, u64) {
        let boots = self.holders.get(&host).map(|holder| &holder.boots[..]);
        let boots = boots.unwrap_or_default().iter();
        let weights = boots.filter_map(|boot| self.boots.get(boot).map(Boot::weight));
        weights.max().unwrap_or_default()
    }

    /// The boot of `host` that was heard of last.
    pub(super) fn last_boot(&self, host: HostId) -> Option<BootId> {
        let boots = self.holders.get(&host)?.boots.iter().copied();
        boots.max_by_key(|id| (self.boots.get(id).map(Boot::weight), *id))
    }

    /// Whether the live system of `boot` can be running, so that it may have another address than its
    /// boot loader had: other DHCP clients, bonds, VLANs.
    fn may_move(&self, boot: &Boot) -> bool {
        let Some(holder) = self.holders.get(&boot.host) else {
            return false;
        };
        let has = |item| boot.whole.contains(&item);
        !boot.moved && has(Item::Initramfs) && (has(Item::Overlay) || !holder.needs.overlay)
    }

    fn is_complete(&self, boot: &Boot) -> bool {
        let config = self
            .holders
            .get(&boot.host)
            .is_some_and(|holder| holder.needs.config);
        boot.whole.contains(&Item::Rootfs) && (!config || boot.whole.contains(&Item::Config))
    }

    fn forget(&mut self, id: BootId) {
        if let Some(boot) = self.boots.remove(&id) {
            self.tickets.remove(&boot.tickets.secret);
            self.tickets.remove(&boot.tickets.rootfs);
        }
    }

    /// How many tickets there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.tickets.len()
    }
}

#[cfg(test)]
mod tests;
