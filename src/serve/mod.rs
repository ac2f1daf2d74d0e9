//! An HTTP(S) server for a bake directory: boots a rack over the network and says how far each
//! machine is.
//!
//! ```text
//! server ─► routes ─► directory ─► body      files, with ranges
//!   │         ├─────► script                 iPXE, one per host, with an initramfs of its own
//!   │         ├─────► board ─► page          who is how far; Ignition once
//!   └► stall  └─────► hosts                  who is known
//! ```
//!
//! Left out: DHCP and TFTP, which [`dnsmasq_lines`] leaves to dnsmasq; HTTP/2, which no boot loader
//! speaks; several ranges in one request, which get the whole file as RFC 9110 §14.2 allows.
//!
//! Source of truth: RFC 9110 for ranges and conditions, <https://ipxe.org/scripting> for scripts,
//! Ignition's and the live system's kernel arguments. Checked by: curl, openssl, Chromium.

mod board;
mod body;
mod directory;
mod hosts;
mod page;
mod range;
mod routes;
mod script;
mod server;
mod stall;
mod status;
mod tls;

#[cfg(test)]
mod tests;

pub use crate::hosts::{Mac, NoMac};
pub use board::Board;
pub use hosts::{Host, Ignition};
pub use script::{Network, NoNetwork, dnsmasq_lines};
pub use server::{Options, Server, run};
pub use status::{Event, Events, HostStatus, IgnitionStatus, Phase, Status, Step, StepStatus};
