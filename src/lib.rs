//! Turns a layered CoreOS container image into media that boot.

pub mod tree;
