//! Clusters whose pools are built by on-cluster layering: what is so, and what nobody else tells.
//!
//! ```text
//! server ─► snapshot ─► judge ─► cli       requests, what they brought, one verdict for each pool
//!             │          ├► membership     which pool a node is in
//!             │          └► log            the step that failed, out of buildah's log
//!    │        └► objects                   the kinds, as far as they are read
//!    ├► handoff, credentials                what a pool's image is to be made of, and how far it is
//!    ├► entitlement                         what builds take RHEL packages with
//!    ├► parity                              what a change will cost, told before it is made
//!    ├► revert                              what it takes to go back to the release's own image
//!    ├► kinds, names                        where the API has them, and what they are called
//!    └► rights                              what a user has to be allowed
//! look                                      a Job that looks into an image from within the cluster
//! tool                                      pods that run coreos-bake
//! alerts                                    objects that have the cluster itself call somebody
//! ```
//!
//! Nothing here changes a cluster but what `server/change.rs` has.
//!
//! Truth: machine-config-operator@7ff337a4f, whose controllers were watched on a real API server; their
//! events, from the first request to the last node, are replayed by the tests (`testdata/ocl-stories`).
//! The Containerfile of a pool can be green and not be in its image, a build can fail without any
//! condition that says so, and a seeded pool is never rebuilt: see [`State`].

pub mod alerts;
pub mod handoff;

mod credentials;
pub mod entitlement;
mod judge;
mod kinds;
mod log;
mod look;
mod membership;
mod names;
mod objects;
pub mod parity;
mod report;
pub mod revert;
mod rights;
mod server;
mod snapshot;
mod tool;

pub use credentials::Credentials;
pub use judge::judge;
pub use kinds::Kind;
pub use log::{Step, failing_step};
pub use look::{Seen, Wanted};
pub use objects::{NAMESPACE, Pool};
pub use report::{Base, BuildReport, PoolReport, Report, State};
pub use rights::{Looking, Task};
pub use server::{
    Access, Applied, Changed, Conflict, OWN_REGISTRY, Server, Tunnel, is_in_own_registry,
    is_passing,
};
pub use snapshot::Snapshot;
pub use tool::ToolImage;
