//! Looks at a cluster that may be out of reach for a while.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use crate::cluster::{Server, Snapshot, is_passing};
use crate::failure::sentence;
use crate::progress::Progress;

/// How long a cluster may be out of reach: its API servers restart one after the other in an upgrade.
const OUT_OF_REACH_MAX: Duration = Duration::from_secs(600);

/// What is so now, or as soon as the cluster is in reach again. It is asked every `pause`.
///
/// # Errors
/// Whatever another attempt would not mend; a cluster that stays out of reach.
pub(super) async fn snapshot(
    server: &Server,
    pause: Duration,
    progress: &dyn Progress,
) -> Result<Snapshot> {
    let mut since: Option<Instant> = None;
    loop {
        let error = match server.snapshot().await {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => error,
        };
        let is_first = since.is_none();
        let out_of_reach = since.get_or_insert_with(Instant::now).elapsed();
        if !is_passing(&error) || out_of_reach > OUT_OF_REACH_MAX {
            return Err(error);
        }
        if is_first {
            let most = OUT_OF_REACH_MAX.as_secs() / 60;
            let why = sentence(&*error);
            progress.warn(&format!("{why}; trying again for up to {most} min"));
        }
        sleep(pause).await;
    }
}
