//! What a cluster is told.

use anyhow::{Context, Result};
use axum::http::{Method, Request, StatusCode, header};
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::kinds::Kind;
use super::super::objects::REBUILD;
use super::super::rights::Right;
use super::{JSON, Refusal, Server, parsed};
use crate::foreign::visible;

/// Whom fields belong to that we set.
pub(in super::super) const MANAGER: &str = "coreos-bake";

/// What became of an object that was to be applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// It is so now.
    Done(Value),
    /// It is as before: fields of it are somebody else's, and have other values.
    Conflicts(Vec<Conflict>),
}

/// A field that somebody else has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As in `.spec.paused`.
    pub field: String,
    /// As in `kubectl-edit`.
    pub owner: String,
}

/// What became of an object that was to be changed as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It is so now.
    Done(Value),
    /// Somebody changed it since.
    Stale,
    /// There is no such object.
    Gone,
}

impl Server {
    /// Has the image of the MachineOSConfig `config` built again. The operator takes the annotation away when
    /// it begins; it hears only that it comes, so one that was left is taken away first.
    ///
    /// Truth: machine-config-operator pkg/controller/build/reconciler.go@7ff337a4f, and seen.
    ///
    /// # Errors
    /// As [`Server::snapshot`]; a MachineOSConfig that is not there any more.
    pub async fn rebuild(&self, config: &str) -> Result<()> {
        for value in [Value::Null, json!("")] {
            let patch = json!({ "metadata": { "annotations": { REBUILD: value } } });
            if self.merge(Kind::LAYERED_CONFIG, config, &patch).await? == Changed::Gone {
                let name = visible(config);
                anyhow::bail!("the MachineOSConfig {name} was removed meanwhile");
            }
        }
        Ok(())
    }

    /// Sets the fields of `object`, which become ours, by server-side apply; fields that we set before and
    /// that it does not have are taken away. With `force`, fields of others become ours, too.
    ///
    /// A conflict is found before the object is looked at; so an object that conflicts may be refused later.
    ///
    /// # Errors
    /// As [`Server::snapshot`]; an object that the cluster refuses.
    pub async fn apply(&self, kind: Kind, object: &Value, force: bool) -> Result<Applied> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = kind.path_of(name);
        let force = if force { "&force=true" } else { "" };
        let query = format!("{path}?fieldManager={MANAGER}{force}");
        let apply = "application/apply-patch+yaml";
        match self.tell(Method::PATCH, &query, apply, object).await? {
            Ok(answer) => Ok(Applied::Done(parsed(&answer, name)?)),
            Err(refusal) => match refusal.conflicts() {
                conflicts if conflicts.is_empty() => Err(self.explained(&path, refusal).await),
                conflicts => Ok(Applied::Conflicts(conflicts)),
            },
        }
    }

    /// Changes what `patch` has, and takes away what is null in it. With a `resourceVersion` in it, only the
    /// object as it was then is changed.
    ///
    /// # Errors
    /// As [`Server::snapshot`]; an object that the cluster refuses.
    pub async fn merge(&self, kind: Kind, name: &str, patch: &Value) -> Result<Changed> {
        let path = kind.path_of(name);
        let query = format!("{path}?fieldManager={MANAGER}");
        let merge = "application/merge-patch+json";
        self.changed(Method::PATCH, &query, merge, patch, name)
            .await
    }

    /// Removes the object with the identity `uid`, and no other that has its name now.
    ///
    /// # Errors
    /// As [`Server::snapshot`].
    pub async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<Changed> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid },
            // Pods of a Job stay without it.
            "propagationPolicy": "Background",
        });
        let path = kind.path_of(name);
        self.changed(Method::DELETE, &path, JSON, &options, name)
            .await
    }

    async fn changed(
        &self,
        method: Method,
        query: &str,
        content: &str,
        body: &Value,
        name: &str,
    ) -> Result<Changed> {
        let path = query.split_once('?').map_or(query, |(path, _)| path);
        match self.tell(method, query, content, body).await? {
            Ok(answer) => Ok(Changed::Done(parsed(&answer, name)?)),
            Err(refusal) => match refusal.status {
                StatusCode::CONFLICT => Ok(Changed::Stale),
                StatusCode::NOT_FOUND => Ok(Changed::Gone),
                _ => Err(self.explained(path, refusal).await),
            },
        }
    }

    /// Whether the user may do this, to the object of the name.
    pub(in super::super) async fn may(&self, right: &Right, name: Option<&str>) -> Result<bool> {
        #[derive(Deserialize)]
        struct Review {
            status: Verdict,
        }
        #[derive(Deserialize)]
        struct Verdict {
            allowed: bool,
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": right.attributes(name) },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        match self.tell(Method::POST, path, JSON, &review).await? {
            Ok(answer) => {
                let review: Review = parsed(&answer, "the answer about rights")?;
                Ok(review.status.allowed)
            }
            Err(refusal) => Err(self.plain(&refusal)),
        }
    }

    async fn tell(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: &Value,
    ) -> Result<Result<Vec<u8>, Refusal>> {
        let body = serde_json::to_vec(body)?;
        let response = self
            .patiently(|| {
                Request::builder()
                    .method(method.clone())
                    .uri(path)
                    .header(header::CONTENT_TYPE, content)
                    .header(header::ACCEPT, JSON)
                    .body(Body::from(body.clone()))
                    .with_context(|| format!("asking for {path}"))
            })
            .await?;
        match response.status().is_success() {
            true => Ok(Ok(self.body(response).await?)),
            false => Ok(Err(self.refusal(response).await?)),
        }
    }
}

impl Refusal {
    /// The fields that other managers have, of a server-side apply.
    fn conflicts(&self) -> Vec<Conflict> {
        let causes = self.causes.iter();
        let causes = causes.filter(|cause| cause.reason == "FieldManagerConflict");
        let conflict = |cause: &super::Cause| Conflict {
            field: cause.field.clone(),
            owner: owner(&cause.message).to_owned(),
        };
        causes.map(conflict).collect()
    }
}

/// Whose a field is, in `conflict with "kubectl-edit" using …`.
fn owner(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn a_conflict_names_the_owner() {
        let said = "conflict with \"kubectl-edit\" using machineconfiguration.openshift.io/v1";
        assert_eq!(owner(said), "kubectl-edit");
        assert_eq!(owner("no quotes"), "no quotes");
    }
}
