//! Whether the programs of OpenShift that take a medium would take this one.
//!
//! ```text
//! agent     openshift-install agent create image: unpacks the ISO, edits files, makes it anew
//! assisted  assisted-image-service: the same for a minimal ISO of each osImages entry, at its start
//! ipi       openshift-install create cluster on bare metal: writes into the ISO in place
//! ```
//!
//! All three share one library, assisted-image-service's `pkg/isoeditor`; its rules are in [`iso`], and what the service asks besides in [`service`].
//! Sources, which each objection names: openshift/assisted-image-service @a55e383 (2026-07-24), the
//! code of which was run on ISOs of ours; openshift/installer
//! `pkg/asset/agent/image/agentimage.go` @e63803a and `pkg/infrastructure/baremetal/bootstrap.go`
//! @00c2b5a, which were read.

mod consumer;
mod iso;
mod objection;
mod service;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

pub use self::consumer::Consumer;
use self::iso::Iso;
pub use self::objection::Objection;
use crate::format::{iso9660, qcow2};
use crate::tree::Content;

/// What a program is expected to do with a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The program.
    pub consumer: Consumer,
    /// Whether it is expected to take the medium, at least where no objection's condition is met.
    pub taken: bool,
    /// What speaks against it.
    pub objections: Vec<Objection>,
}

impl Verdict {
    fn new(consumer: Consumer, objections: Vec<Objection>) -> Self {
        Self {
            consumer,
            taken: !objections.iter().any(|objection| objection.when.is_none()),
            objections,
        }
    }
}

/// Asks each of `consumers` about the medium at `path`. Fails where the medium can't be read.
pub fn judge(path: &Path, consumers: &[Consumer]) -> Result<Vec<Verdict>> {
    let medium = Medium::open(path).with_context(|| format!("reading {}", path.display()))?;
    let judged = consumers.iter().map(|&consumer| {
        let objections = match &medium {
            Medium::Iso(iso) => iso
                .objections(consumer)
                .with_context(|| format!("reading {}", path.display()))?,
            Medium::Other(what) => vec![no_iso(consumer, what)],
        };
        Ok(Verdict::new(consumer, objections))
    });
    judged.collect()
}

/// What lies at a path.
enum Medium {
    Iso(Box<Iso>),
    /// Something else, as a noun.
    Other(&'static str),
}

impl Medium {
    fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Other("a directory"));
        }
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let content = Content::range(Arc::new(file), 0, length);
        if qcow2::Reader::probe(&content) {
            return Ok(Self::Other("a qcow2 disk image"));
        }
        match iso9660::Reader::open(content) {
            Ok(reader) => Iso::new(reader).map(|iso| Self::Iso(Box::new(iso))),
            Err(iso9660::ReadError::NotIso) => Ok(Self::Other("something else")),
            Err(error) => Err(error.into()),
        }
    }
}

fn no_iso(consumer: Consumer, what: &str) -> Objection {
    let aside = match consumer {
        Consumer::Ipi => ", which installers up to 4.21 take as bootstrapOSImage",
        _ => "",
    };
    let aside = match what.contains("qcow2") {
        true => aside,
        false => "",
    };
    Objection {
        reason: format!("it is {what}{aside}, and not an ISO"),
        says: None,
        when: None,
        source: iso::ISO_EDITOR,
    }
}
