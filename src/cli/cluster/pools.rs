//! Changes to pools, and to what is in their configuration.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::cluster::handoff::PinningConfig;
use crate::cluster::{Changed, Kind, Pool, Server};
use crate::failure::Failure;
use crate::foreign::visible;

/// How often a pool is changed again that somebody else changed meanwhile.
const ATTEMPTS: usize = 5;

/// Changes a pool as long as `change` has something to change, also if somebody else changes it too.
pub(super) async fn change_pool(
    server: &Server,
    pool: &str,
    change: impl Fn(&Pool) -> Option<Value>,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let found = server.get(Kind::POOL, pool).await?;
        let found = found.ok_or_else(|| anyhow!("pool {} was removed meanwhile", visible(pool)))?;
        let Some(patch) = change(&found) else {
            return Ok(());
        };
        match server.merge(Kind::POOL, pool, &patch).await? {
            Changed::Done(_) => return Ok(()),
            Changed::Stale | Changed::Gone => {}
        }
    }
    Err(Failure::new(
        format!(
            "pool {} is changed all the time by somebody else",
            visible(pool)
        ),
        "find out by whom: `oc get mcp -o yaml --show-managed-fields`",
    )
    .into())
}

/// Takes the image out of a MachineConfig, as it was seen; the object goes if it says nothing else.
pub(super) async fn take_away(server: &Server, pin: &PinningConfig) -> Result<Changed> {
    let name = pin.metadata.name.as_deref().unwrap_or_default();
    if pin.is_only_that() {
        let uid = pin.metadata.uid.as_deref().unwrap_or_default();
        return server.delete(Kind::MACHINE_CONFIG, name, uid).await;
    }
    let patch = json!({
        "metadata": { "resourceVersion": pin.metadata.resource_version },
        "spec": { "osImageURL": null, "baseOSExtensionsContainerImage": null },
    });
    server.merge(Kind::MACHINE_CONFIG, name, &patch).await
}
