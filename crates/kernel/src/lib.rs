//! Whether a driver is there at a boot, and what a Containerfile changes about it.

pub mod containerfile;
pub mod kernel;
