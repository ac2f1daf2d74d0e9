//! An HTTP(S) server for a bake directory: boots a rack over the network and says how far each
//! machine is.
//!
//! ```text
//! server ─► routes ─► directory ─► body     files that the record names, with ranges
//!   │ │       ├─► boots ─► script           iPXE, one per host, with tickets
//!   │ │       │     └────► board ─► ticket  who may have what, once; who is how far
//!   │ │       └─► asker ─► page             the operator, anybody, browsers
//!   │ └► places                             room for everybody's connections
//!   └──► stall
//! ```
//!
//! Left out: DHCP and TFTP, which [`crate::netboot::dnsmasq_lines`] leaves to dnsmasq; HTTP/2, which no boot loader
//! speaks; several ranges in one request, which get the whole file as RFC 9110 §14.2 allows.
//!
//! Source of truth: RFC 9110 for ranges and conditions, <https://ipxe.org/scripting> for scripts,
//! Ignition's and the live system's kernel arguments. Checked by: curl, openssl, Chromium.

mod answer;
mod asker;
mod board;
mod body;
mod boots;
mod directory;
mod hosts;
mod page;
mod places;
mod progress;
mod range;
mod routes;
mod script;
mod server;
mod shared;
mod stall;
mod status;
mod ticket;
mod tls;

#[cfg(test)]
mod tests;

pub use asker::check_status_token;
pub use board::Board;
pub use hosts::Host;
pub use server::{Options, Server};
pub use status::{Event, Events, HostStatus, Phase, Refusal, Status, StepStatus};
#[cfg(test)]
pub use status::{IgnitionStatus, Step};
