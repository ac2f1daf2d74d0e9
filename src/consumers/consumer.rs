//! The programs that take a medium.

use std::str::FromStr;

use anyhow::{Result, bail};
use serde::Serialize;

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
