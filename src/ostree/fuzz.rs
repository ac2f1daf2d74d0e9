//! What a layer and the objects in it are read with, for fuzzing.

use std::num::NonZeroUsize;

use super::encapsulated::{self, Role};
use super::limits::Meter;
use super::object::{DirTree, commit_root, parse_dirmeta, parse_xattrs};
use super::{Importer, LayerFacts, Limits, Options, Source, import, pax};
use crate::progress::Silent;
use crate::tree::Store;

const LIMITS: Limits = Limits {
    entries: 10_000,
    metadata_bytes: 16 << 20,
};

fn store() -> Store {
    Store::create(&std::env::temp_dir(), 64 << 20).expect("there is room for a file")
}

/// All metadata objects.
pub fn objects(bytes: &[u8]) {
    let _ = commit_root(bytes);
    let _ = parse_dirmeta(bytes);
    let _ = parse_xattrs(bytes);
    let _ = DirTree::parse(bytes);
}

/// The records of an extended header.
pub fn records(bytes: &[u8]) {
    if let Ok(records) = pax::parse_records(bytes) {
        let _ = pax::xattrs(&records);
    }
}

/// A layer with a part of a repository in it.
pub fn repository(tar: &[u8]) {
    let store = store();
    for role in [Role::Commit, Role::Chunk] {
        let meter = Meter::new(LIMITS);
        let _ = encapsulated::read(tar, role, &store, &|_| true, &meter, &Silent, &|| Ok(()));
    }
}

/// An image whose only layer this is.
pub fn layer(tar: &[u8]) {
    let digest = format!("sha256:{}", "0".repeat(64));
    let facts = LayerFacts {
        digest: digest.clone(),
        diff_id: digest.clone(),
        size_bytes: 0,
    };
    let source = Source {
        manifest_digest: &digest,
        manifest: b"{}",
        config: b"{}",
        layers: &[facts],
        open: &|_| Ok(Box::new(std::io::Cursor::new(tar.to_vec()))),
    };
    let reference = "ostree-unverified-registry:a.example/b:c".parse();
    let options = Options {
        threads: NonZeroUsize::MIN,
        reference: &reference.expect("a reference"),
        importer: Importer::Bootc,
        libostree: None,
        labels: &|_| Ok(None),
        limits: LIMITS,
    };
    let _ = import(&source, &store(), &options, &Silent);
}
