//! What a change will cost, and what of a Containerfile a node will not keep: told before it happens.
//!
//! ```text
//! applied     what a pool's configuration becomes with one more MachineConfig
//! cost        whether an image is built, and what becomes of nodes
//! extensions  packages that belong into a MachineConfig
//! drift       files that the MachineConfig has, too
//! ```
//!
//! Data in, data out: nobody is asked here, and the operator is not played. Truth: machine-config-operator@7ff337a4f,
//! read, not run, where an item doesn't say otherwise.

mod applied;
mod cost;
mod drift;
mod extensions;

pub use applied::{applied, is_for};
pub use cost::{Size, Wanted, at_a_time, change};
pub use drift::drift;
pub use extensions::extensions;
