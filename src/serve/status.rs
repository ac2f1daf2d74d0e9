//! What is told of hosts, to the terminal, to programs and on the page.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

/// Hears what happens, from any thread; must not wait.
pub type Events = Arc<dyn Fn(&Event) + Send + Sync>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server takes connections.
    Listening {
        /// Where it is reached.
        url: String,
        /// Where the operator looks up how far hosts are. It may hold the token.
        status: String,
    },
    /// A host began a step, or finished one.
    Host(HostStatus),
    /// Something was refused.
    Refused {
        /// Who asked.
        client: IpAddr,
        /// The name of the host whose files were asked for, if it is known.
        host: Option<String>,
        /// What was asked for and why it was refused, in one sentence.
        sentence: String,
    },
    /// The server takes no more connections and waits for transfers to end.
    Stopping {
        /// Connections that are open.
        connections: usize,
    },
}

/// What a host does in the course of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// It asked for its iPXE script.
    Script,
    /// It fetches the kernel.
    Kernel,
    /// It fetches the initramfs.
    Initramfs,
    /// It fetches the root file system.
    Rootfs,
    /// It took its Ignition configuration.
    Ignition,
}

/// How far a host is: the furthest step that it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It has not been heard of.
    Waiting,
    /// See [`Step::Script`].
    Script,
    /// See [`Step::Kernel`].
    Kernel,
    /// See [`Step::Initramfs`].
    Initramfs,
    /// See [`Step::Rootfs`].
    Rootfs,
    /// See [`Step::Ignition`].
    Ignition,
    /// It said that it is done.
    Done,
}

impl Phase {
    /// All of them, in the order in which a host goes through them.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Script,
        Self::Kernel,
        Self::Initramfs,
        Self::Rootfs,
        Self::Ignition,
        Self::Done,
    ];

    /// What a host does then, in a phrase without its subject.
    pub fn about(self) -> &'static str {
        match self {
            Self::Waiting => "has not been heard of",
            Self::Script => "has asked for its boot script",
            Self::Kernel => "fetches the kernel, or has fetched it",
            Self::Initramfs => "fetches the initramfs, or has fetched it and starts",
            Self::Rootfs => "fetches the root file system, which is most of the bytes",
            Self::Ignition => "has its Ignition config: the live system runs, or installs",
            Self::Done => "says that it is installed; from now on it boots from its disk",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Waiting => "waiting",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::Rootfs => "rootfs",
            Self::Ignition => "ignition",
            Self::Done => "done",
        })
    }
}

impl From<Step> for Phase {
    fn from(step: Step) -> Self {
        match step {
            Step::Script => Self::Script,
            Step::Kernel => Self::Kernel,
            Step::Initramfs => Self::Initramfs,
            Step::Rootfs => Self::Rootfs,
            Step::Ignition => Self::Ignition,
        }
    }
}

/// One step of a host's current boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepStatus {
    /// Which.
    pub step: Step,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// When it ended, in seconds since 1970.
    pub ended: Option<u64>,
    /// How many bytes of its file were handed to the network.
    pub bytes_sent: u64,
    /// How many there are.
    pub bytes_total: u64,
}

impl StepStatus {
    /// How much of its file was handed to the network, in hundredths.
    pub fn percent(&self) -> u8 {
        let sent = u128::from(self.bytes_sent.min(self.bytes_total));
        let hundredths = (sent * 100).checked_div(u128::from(self.bytes_total));
        u8::try_from(hundredths.unwrap_or(0)).expect("a part is not more than the whole")
    }
}

/// What is known of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostStatus {
    /// Its name; for a host that nobody declared, its hardware address.
    pub name: String,
    /// Its hardware addresses.
    pub macs: Vec<String>,
    /// What it is for.
    pub role: Option<String>,
    /// Whether it was declared.
    pub declared: bool,
    /// How far it is.
    pub phase: Phase,
    /// The IP address that it asked for its script from, or the one that its live system has.
    pub client: Option<IpAddr>,
    /// How often it asked for its script.
    pub boots: u64,
    /// Whether there is an Ignition configuration for it, and whether it has it.
    pub ignition: IgnitionStatus,
    /// When it was last heard of, in seconds since 1970.
    pub last_heard: Option<u64>,
    /// Who asked for what is the host's, and did not get it; the latest at the end.
    pub refused: Vec<Refusal>,
    /// The steps of its current boot.
    pub steps: Vec<StepStatus>,
}

impl HostStatus {
    /// The last step that has bytes.
    pub fn transfer(&self) -> Option<&StepStatus> {
        self.steps.iter().rfind(|step| step.bytes_total > 0)
    }

    /// How long before `now` it was heard of, for people.
    pub fn heard(&self, now: u64) -> String {
        self.last_heard
            .map_or_else(|| "never".to_owned(), |then| ago(now, then))
    }
}

/// How long before `now` something was `then`, for people.
pub(super) fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

/// Requests of one address for what is a host's, which got nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// Who asked.
    pub client: IpAddr,
    /// For what: [`Refusal::SCRIPT`], or what else.
    pub asked: &'static str,
    /// Why it was refused.
    pub reason: String,
    /// How often it asked.
    pub times: u64,
    /// When it last did, in seconds since 1970.
    pub last: u64,
}

impl Refusal {
    /// What machines ask for first.
    pub const SCRIPT: &'static str = "the boot script";

    /// Whether it asked to boot, so that [`Board::allow`](super::Board::allow) would change anything.
    pub fn wants_to_boot(&self) -> bool {
        self.asked == Self::SCRIPT
    }
}

/// Where a host's Ignition configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IgnitionStatus {
    /// There is none.
    None,
    /// It can be fetched.
    Ready,
    /// It is being fetched.
    Sending,
    /// It was fetched; there is no second time unless the operator says so.
    Delivered,
}

/// What anybody may know: no word about a single host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    /// `coreos-bake/serve-totals/v1`.
    pub schema: &'static str,
    /// What is booted.
    pub title: String,
    /// How many hosts there are.
    pub hosts: usize,
    /// How many of them are done.
    pub done: usize,
}

/// What is known of all hosts: `/status.json` for the operator, schema `coreos-bake/serve/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// `coreos-bake/serve/v1`.
    pub schema: &'static str,
    /// What is booted.
    pub title: String,
    /// Where the server is reached.
    pub url: String,
    /// When this was so, in seconds since 1970.
    pub now: u64,
    /// Declared hosts in the order of their declaration, then others in the order of appearance.
    pub hosts: Vec<HostStatus>,
}

impl Status {
    /// What anybody may know of it.
    pub fn totals(&self) -> Totals {
        Totals {
            schema: "coreos-bake/serve-totals/v1",
            title: self.title.clone(),
            hosts: self.hosts.len(),
            done: self.done(),
        }
    }

    /// How many hosts were heard of.
    pub fn heard(&self) -> usize {
        let hosts = self.hosts.iter();
        hosts.filter(|host| host.last_heard.is_some()).count()
    }

    /// How many hosts are done.
    pub fn done(&self) -> usize {
        let hosts = self.hosts.iter();
        hosts.filter(|host| host.phase == Phase::Done).count()
    }
}
