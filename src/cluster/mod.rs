//! Clusters whose pools are built by on-cluster layering: what is so, and what nobody else tells.
//!
//! ```text
//! server ─► snapshot ─► judge ─► cli       requests, what they brought, one verdict for each pool
//!             │          ├► membership     which pool a node is in
//!             │          └► log            the step that failed, out of buildah's log
//!    │        └► objects                   the kinds, as far as they are read
//!    └► rights                              what a user has to be allowed
//! ```
//!
//! Nothing here changes a cluster but [`Server::rebuild`].
//!
//! Truth: machine-config-operator@7ff337a4f, whose controllers were watched on a real API server; their
//! events, from the first request to the last node, are replayed by the tests (`testdata/ocl-stories`).
//! The Containerfile of a pool can be green and not be in its image, a build can fail without any
//! condition that says so, and a seeded pool is never rebuilt: see [`State`].

mod judge;
mod log;
mod membership;
mod objects;
mod rights;
mod server;
mod snapshot;

pub use judge::{Base, BuildReport, NodeReport, PoolReport, Report, State, judge};
pub use log::{Step, failing_step};
pub use objects::NAMESPACE;
pub use rights::Task;
pub use server::{Access, Server};
pub use snapshot::{Rendering, Snapshot};
