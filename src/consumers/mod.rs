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

mod iso;
mod service;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use self::iso::Iso;
use crate::format::{iso9660, qcow2};
use crate::tree::Content;

/// A program that takes a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consumer {
    /// `openshift-install agent create image`.
    Agent,
    /// assisted-image-service, and with it assisted-service and multicluster engine.
    Assisted,
    /// `openshift-install create cluster` on bare metal.
    Ipi,
}

impl Consumer {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("agent", Self::Agent),
        ("assisted", Self::Assisted),
        ("ipi", Self::Ipi),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, consumer)| *consumer == self);
        known.expect("all are listed").0
    }

    /// The program that it stands for.
    pub fn program(self) -> &'static str {
        match self {
            Self::Agent => "openshift-install agent create image",
            Self::Assisted => "assisted-image-service",
            Self::Ipi => "openshift-install create cluster, from 4.22 on",
        }
    }
}

impl FromStr for Consumer {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match Self::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, consumer)) => Ok(*consumer),
            None => bail!("there are {}", Self::ALL.map(|(name, _)| name).join(", ")),
        }
    }
}

/// Something that a program would not get over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objection {
    /// What is wrong with the medium, as a sentence.
    pub reason: String,
    /// What the program says, or how its message begins; nothing where it goes on, and what it makes
    /// doesn't boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// When it matters; nothing if always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<&'static str>,
    /// Where the rule is written: repository, file and revision.
    pub source: &'static str,
}

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
