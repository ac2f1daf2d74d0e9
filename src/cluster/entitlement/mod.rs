//! What builds take RHEL packages with: an entitlement, repositories and their keys.
//!
//! ```text
//! Secret etc-pki-entitlement (openshift-config-managed)   the Insights operator's, or ours
//!    └► Secret etc-pki-entitlement-POOL                   the machine-config operator's copy
//!          └► /etc/pki/entitlement                        in a RUN
//! ConfigMap etc-yum-repos-d  ─► /etc/yum.repos.d          all of it, in a RUN
//! Secret    etc-pki-rpm-gpg  ─► /etc/pki/rpm-gpg          all of it, in a RUN
//! ```
//!
//! ```text
//! report        what the cluster has of it, and which pools lack something
//! material      what files have of it
//! repositories  files of /etc/yum.repos.d as they work in a build
//! plan          what has to be done in the cluster
//! ```
//!
//! All three are taken when a build's objects are made, if they are there, and nothing is said if they are not.
//! The operator copies the source for each pool that has a MachineOSConfig, whoever made it, and again when it
//! changes; no build begins for that.
//!
//! Truth: machine-config-operator pkg/operator/sync.go (`reconcileSimpleContentAccessSecrets`),
//! pkg/controller/build/buildrequest/envvolumemount.go and assets/buildah-build.sh@7ff337a4f; buildrequestopts.go
//! beside it @12e4d183a.
//! Key material is compared and passed on here, and never shown: it has no `Debug`, and what is read of
//! a Secret is read as plain JSON, whose errors tell a place and no text.

mod material;
mod plan;
mod report;
mod repositories;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

pub use material::Material;
pub use plan::{Plan, Step, Work};
pub use report::{Entitlement, Files, LastBuild, Need, PoolEntitlement, Problem, Source, look};

use super::kinds::Kind;
use super::names::ENTITLEMENT;
use super::server::Server;
use crate::certificate::Certificate;

/// What the certificate is called in it, and so in builds.
const CERTIFICATE: &str = "entitlement.pem";
/// What its key is called.
const KEY: &str = "entitlement-key.pem";

/// What an entitlement's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Whose it is, as in `O=7654321, CN=2c94a0`. Foreign text.
    pub subject: String,
    /// When it begins to be valid.
    pub from: Timestamp,
    /// When it ends to be valid.
    pub until: Timestamp,
}

impl Paper {
    /// None for times that no clock tells.
    fn of(certificate: &Certificate) -> Option<Self> {
        let time = |since_1970: std::time::Duration| {
            let seconds = i64::try_from(since_1970.as_secs()).ok()?;
            Timestamp::from_second(seconds).ok()
        };
        Some(Self {
            subject: certificate.subject.clone(),
            from: time(certificate.from)?,
            until: time(certificate.until)?,
        })
    }
}

/// What a build of a pool would find of the cluster's entitlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolCopy {
    /// The cluster has no entitlement, so there is nothing to copy.
    NoSource,
    /// The cluster has no entitlement, and somebody has made what would be its copy.
    ByHand,
    /// The operator has not copied it yet: a build that begins now is without it.
    Missing,
    /// The operator has not copied the cluster's newest one yet.
    Outdated,
    /// It is there.
    Current,
}

/// Asks for the entitlement of the cluster and for the copy that builds of `pool` take: two requests, each
/// for one Secret by name.
///
/// # Errors
/// As [`Server::snapshot`].
pub async fn pool_copy(server: &Server, pool: &str) -> Result<PoolCopy> {
    let source: Option<Value> = server.get(Kind::MANAGED_SECRET, ENTITLEMENT).await?;
    let copy: Option<Value> = server.get(Kind::SECRET, &copy_name(pool)).await?;
    Ok(compared(source.as_ref(), copy.as_ref()))
}

/// What the operator calls the copy for a pool.
pub fn copy_name(pool: &str) -> String {
    format!("{ENTITLEMENT}-{pool}")
}

fn compared(source: Option<&Value>, copy: Option<&Value>) -> PoolCopy {
    match (source, copy) {
        (None, None) => PoolCopy::NoSource,
        (None, Some(_)) => PoolCopy::ByHand,
        (Some(_), None) => PoolCopy::Missing,
        (Some(source), Some(copy)) if copy["data"] == source["data"] => PoolCopy::Current,
        (Some(_), Some(_)) => PoolCopy::Outdated,
    }
}
