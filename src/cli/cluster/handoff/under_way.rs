//! A hand-off that is under way: what all its steps need.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::HandoffArgs;
use crate::cli::cluster::patience::Follow;
use crate::cli::cluster::pools::change_pool;
use crate::cli::terminal::Terminal;
use crate::cluster::handoff::{Asked, WantedPause};
use crate::cluster::{Pool, Server, Snapshot};

/// A hand-off that is under way.
pub(super) struct Handoff<'a> {
    pub(super) asked: Asked,
    pub(super) pause: WantedPause,
    pub(super) options: &'a HandoffArgs,
    pub(super) server: Server,
    pub(super) runtime: Runtime,
    pub(super) terminal: &'a Terminal,
}

impl Handoff<'_> {
    /// What is so now.
    pub(super) fn look(&self) -> Result<Snapshot> {
        self.runtime.block_on(self.server.snapshot())
    }

    pub(super) fn change_pool(
        &self,
        pool: &str,
        change: impl Fn(&Pool) -> Option<Value>,
    ) -> Result<()> {
        self.runtime
            .block_on(change_pool(&self.server, pool, change))
    }

    pub(super) fn follow(&self) -> Follow<'_> {
        let pause = Duration::from_secs(self.options.interval);
        Follow::new(&self.server, pause, self.terminal, None)
    }
}
