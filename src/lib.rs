//! Turns a layered CoreOS container image into media that boot.
//!
//! Data flows one way through the rooms: each knows only rooms in the lines below its own.
//!
//! ```text
//! cli
//! serve
//! media   verify   consumers   layer   cluster
//! readback   sysroot   openshift
//! record
//! stages
//! os   hosts
//! image   ostree   selinux   netboot   ignition
//! containerfile ─► kernel   format ─► tree
//! ```
//!
//! `image` reads and verifies layers, `ostree` merges them into one tree, with checksums and with labels that
//! `selinux` finds, and `os` has that done once for whoever asks, and reads what the system says of itself.
//! `sysroot` lays out the deployed disk, `format` writes bytes, and `media` knows which formats make up a medium;
//! `readback` opens finished ones. [`tree`] is the shape in which a file system travels between them. `kernel`
//! tells whether a driver would be loaded, `containerfile` what the cluster will build for day 2, and `stages` puts
//! both together for every boot of a machine's life. `layer` adds and repairs drivers by one more layer. `hosts`
//! reads what machines there are; `media` makes media for each of them, and `serve` boots them from what was baked,
//! both with the texts for boot loaders that `netboot` has. `ignition` reads, merges and writes Ignition configs,
//! and `openshift` prepares what the installer and the cluster are told. `consumers` tells whether the programs that
//! take a medium would take one, and `verify` whether one is as it was made. `cache` keeps compressed blocks for the
//! next bake, and `record` is what one leaves for all who go on from it: `bake.json`. `certificate` knows until when
//! certificates are valid, `template` fills in boot menus and recipes, `limited` reads files of others, `paragraph` breaks lines for
//! people, and `foreign` shows them and boot loaders what others wrote.
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
mod limited;
mod media;
mod netboot;
mod openshift;
mod os;
mod ostree;
mod paragraph;
mod readback;
mod record;
mod selinux;
mod serve;
mod stages;
mod staging;
mod sysroot;
mod template;
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
