//! The rooms of coreos-bake that read foreign bytes and are fuzzed.
#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../../src/failure.rs"]
pub mod failure;
#[path = "../../src/containerfile/mod.rs"]
pub mod containerfile;
pub mod format;
#[path = "../../src/kernel/mod.rs"]
pub mod kernel;
#[path = "../../src/tree/mod.rs"]
pub mod tree;
