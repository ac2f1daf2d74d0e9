//! What has to be done in a cluster for builds to have what files have.

use anyhow::Result;
use serde_json::Value;

use super::{Entitlement, Material};
use crate::cluster::kinds::Kind;
use crate::cluster::names::ENTITLEMENT;
use crate::cluster::server::{Applied, Conflict, MANAGER, Server};
use crate::failure::Failure;
use crate::foreign::visible;

/// What has to be done, in this order. It has key material in it, so it does not show itself.
pub struct Plan {
    /// One for each object.
    pub steps: Vec<Step>,
}

/// An object that is applied.
pub struct Step {
    /// What is to be done.
    pub work: Work,
    kind: Kind,
    object: Value,
}

/// What is to be done about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is not there.
    Make,
    /// It has something else.
    Change,
    /// It has that already.
    Nothing,
}

impl Plan {
    /// What has to be done in the cluster that `found` is of. An entitlement that is somebody else's is never
    /// replaced by that of a host; one that was named is refused.
    ///
    /// # Errors
    /// An entitlement that is the Insights operator's, or without `force`, somebody else's; one that is not
    /// valid by the server's clock.
    pub fn new(material: &Material, found: &Entitlement, force: bool) -> Result<Self> {
        material.check(found.now)?;
        let wanted = material.wanted().into_iter();
        let steps = wanted.map(|wanted| {
            let name = wanted.object["metadata"]["name"]
                .as_str()
                .unwrap_or_default();
            let work = match found.objects.get(name) {
                None => Work::Make,
                Some(there) if there["data"] == wanted.object["data"] => Work::Nothing,
                Some(_) => Work::Change,
            };
            if name == ENTITLEMENT && work == Work::Change {
                found.may_be_replaced(force)?;
            }
            Ok(Step {
                work,
                kind: wanted.kind,
                object: wanted.object,
            })
        });
        Ok(Self {
            steps: steps.collect::<Result<_>>()?,
        })
    }
}

impl Entitlement {
    fn may_be_replaced(&self, force: bool) -> Result<()> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        let of = |reason: String, hint: &str| {
            Err(Failure::new(
                format!("the cluster has another entitlement already: {reason}"),
                hint,
            )
            .into())
        };
        if source.is_of_insights() {
            return of(
                "the Insights operator keeps it up to date, and would write over this one"
                    .to_owned(),
                "leave --entitlement out; builds get that of the cluster",
            );
        }
        let others: Vec<String> = source
            .managers
            .iter()
            .filter(|manager| *manager != MANAGER)
            .map(|manager| visible(manager))
            .collect();
        if others.is_empty() || force {
            return Ok(());
        }
        of(
            format!("it was made by {}", others.join(", ")),
            "leave --entitlement out, or replace it with --force-conflicts",
        )
    }
}

impl Step {
    /// The object for people, as in `Secret etc-pki-rpm-gpg in openshift-machine-config-operator`.
    pub fn object(&self) -> String {
        format!("{} {} in {}", self.kind.name, self.name(), self.namespace())
    }

    /// As in `Secret`.
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// As in `etc-pki-rpm-gpg`.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// As in `openshift-machine-config-operator`.
    pub fn namespace(&self) -> &'static str {
        self.kind.namespace.unwrap_or_default()
    }

    /// Names of the files in it.
    pub fn files(&self) -> Vec<String> {
        let data = self.object["data"].as_object().into_iter().flatten();
        data.map(|(name, _)| name.clone()).collect()
    }

    /// Does it. With `force`, fields of others become ours.
    ///
    /// # Errors
    /// As [`Server::apply`].
    pub async fn apply(&self, server: &Server, force: bool) -> Result<Vec<Conflict>> {
        match server.apply(self.kind, &self.object, force).await? {
            Applied::Done(_) => Ok(Vec::new()),
            Applied::Conflicts(conflicts) => Ok(conflicts),
        }
    }
}
