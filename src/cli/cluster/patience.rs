//! Looks at a cluster that may be out of reach for a while.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use crate::cluster::{Server, Snapshot, is_passing};
use crate::failure::sentence;
use crate::progress::Progress;

/// How long a cluster may be out of reach: its API servers restart one after the other in an upgrade.
const OUT_OF_REACH_MAX: Duration = Duration::from_secs(600);

/// Looks at a cluster, one after the other.
pub(super) struct Follow<'a> {
    server: &'a Server,
    /// The shortest between two looks, and between two attempts.
    pause: Duration,
    progress: &'a dyn Progress,
    last: Option<Snapshot>,
}

impl<'a> Follow<'a> {
    /// The first look is at once, unless `last` was one.
    pub(super) fn new(
        server: &'a Server,
        pause: Duration,
        progress: &'a dyn Progress,
        last: Option<Snapshot>,
    ) -> Self {
        Self {
            server,
            pause,
            progress,
            last,
        }
    }

    /// What is so once something may have changed since the last look, or as soon as the cluster is in reach
    /// again.
    ///
    /// # Errors
    /// Whatever another attempt would not mend; a cluster that stays out of reach.
    pub(super) async fn next(&mut self) -> Result<&Snapshot> {
        if let Some(last) = &self.last {
            self.server.wait_for_change(last, self.pause).await;
        }
        let snapshot = self.look().await?;
        Ok(self.last.insert(snapshot))
    }

    async fn look(&self) -> Result<Snapshot> {
        let mut since: Option<Instant> = None;
        loop {
            let error = match self.server.snapshot().await {
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
                let warning = format!("{why}; trying again for up to {most} min");
                self.progress.warn(&warning);
            }
            sleep(self.pause).await;
        }
    }
}
