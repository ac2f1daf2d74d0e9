//! Whether the user may do what a task needs.

use anyhow::Result;

use super::super::rights::Task;
use super::Server;
use crate::failure::Failure;
use crate::foreign::visible;

impl Server {
    /// Asks whether the user may do all that the task needs. A look at the cluster need not ask: what it
    /// is refused, it is told.
    ///
    /// # Errors
    /// The rights that are missing.
    pub async fn require_rights(&self) -> Result<()> {
        self.require_rights_for(self.task()).await
    }

    /// The same for a task that has turned out to be another.
    ///
    /// # Errors
    /// The rights that are missing.
    pub async fn require_rights_for(&self, task: Task) -> Result<()> {
        let missing = self.missing_rights(task).await?;
        match missing.is_empty() {
            true => Ok(()),
            false => Err(self.without_rights(task, &missing)),
        }
    }

    /// What the user may not do of all that is needed.
    pub(super) async fn missing_rights(&self, task: Task) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for right in task.rights() {
            let names = right.names(self.pools());
            let names =
                names.map_or_else(|| vec![None], |names| names.into_iter().map(Some).collect());
            for name in names {
                if !self.may(right, name.as_deref()).await? {
                    missing.push(right.told(name.as_deref()));
                }
            }
        }
        Ok(missing)
    }

    pub(super) fn without_rights(&self, task: Task, missing: &[String]) -> anyhow::Error {
        let url = self.url();
        let mut command = task.command().to_owned();
        match task {
            Task::SetEntitlement => command += " --from-host",
            Task::Handoff(looking) if looking.from_within => command += " --tool-image NAME",
            _ => (),
        }
        if task.is_about_pools() {
            let pools = self.pools().iter();
            command.extend(pools.map(|pool| format!(" --pool {}", visible(pool))));
        }
        Failure::new(
            format!(
                "the cluster at {url} does not let you {}",
                missing.join(", ")
            ),
            format!("`coreos-bake cluster {command} --print-rbac` prints the roles that it needs"),
        )
        .into()
    }
}
