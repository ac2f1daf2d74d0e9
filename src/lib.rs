//! Turns a layered CoreOS container image into media that boot.
//!
//! Data flows one way through the rooms:
//!
//! ```text
//! cli ─┬─► layer ─────────────┐
//!      ├─► media ─┬─► sysroot ┼─► os ─► image, ostree, selinux, kernel
//!      ├──────────┴─► stages ─┘      ├─► containerfile
//!      ├─► consumers ─► media        └─► tree ◄── format
//!      └─► verify ─► media, ostree, format
//! ```
//!
//! `image` reads and verifies layers, `ostree` merges them into one tree, with labels that `selinux` finds and
//! with checksums, and `os` has both done once for whoever asks, and reads what the system says of itself.
//! `sysroot` lays out the deployed disk, `format` writes bytes, and `media` knows which formats make
//! up a medium. [`tree`] is the shape in which a file system travels between them. `kernel`
//! tells whether a driver would be loaded, `containerfile` what the cluster will build for day 2, and
//! `stages` puts both together for every boot of a machine's life. `layer` adds and repairs drivers by
//! one more layer. `hosts` reads what machines there are; `media` makes media for each of them, and
//! `serve` boots them from what was baked. `ignition` reads, merges and writes Ignition configs, and
//! `openshift` prepares what the installer and the cluster are told. `consumers` tells whether the
//! programs that take a medium would take one, and `verify` whether one is as it was made. `cache` keeps compressed blocks for the
//! next bake, and `record` is what one leaves for all who go on from it: `bake.json`. `url` knows which URLs
//! machines can fetch from while they boot, `certificate` until when certificates are valid, `template`
//! fills in boot menus and recipes, `paragraph` breaks lines for people, and `foreign` shows them and boot
//! loaders what others wrote.
//!
//! What knows nothing of images and media has crates of its own below `crates/`: `tree`; `format`, with `cache`
//! and `progress`; `kernel`, with `containerfile`. In here they go by these names.

#![allow(
    unreachable_pub,
    reason = "rooms are private, so that rustc finds what nobody uses; `pub` is what a room shows the others"
)]

mod certificate;
pub mod cli;
mod cluster;
mod consumers;
mod failure;
mod foreign;
#[cfg(fuzzing)]
pub mod fuzz;
mod hosts;
mod ignition;
mod image;
mod layer;
mod media;
mod openshift;
mod os;
mod ostree;
mod paragraph;
mod record;
mod selinux;
mod serve;
mod stages;
mod staging;
mod sysroot;
mod template;
mod url;
mod verify;

use bake_format::{self as format, cache, progress};
use bake_kernel::{containerfile, kernel};
use bake_tree as tree;

/// What this package's own tests and examples look at from outside; not an interface for others.
#[doc(hidden)]
pub mod testing {
    pub use crate::cluster::parity::extensions;
    pub use crate::failure::sentence;
    pub use crate::record::Record;

    /// Images.
    pub mod image {
        pub use crate::image::{
            Access, Digest, Image, NewLayer, Patience, Target, hint, open, write,
        };
    }
    /// An image's OS.
    pub mod os {
        pub use crate::os::{Glance, ReadOptions, Source};
    }
    /// Objects for the installer and the cluster.
    pub mod openshift {
        pub use crate::openshift::{
            BootImages, Derivation, Driver, Firmware, Media, Objects, PushSecret, Request, Role,
            Seed, objects,
        };
    }
    /// Imports.
    pub mod ostree {
        pub use crate::ostree::{
            Checksum, FileType, Imported, Importer, Keep, Kind, Labels, LayerFacts,
            LibostreeVersion, Limits, Object, ObjectName, OpenLayer, Options, Source, import,
        };
    }
    /// Labels.
    pub mod selinux {
        pub use crate::selinux::{FileKind, Policy};
    }
}
