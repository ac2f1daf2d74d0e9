//! What a check of a whole file system finds.

use anyhow::{Context, Result};

/// Faults reported; a badly damaged image has one per inode.
const FAULTS_MAX: usize = 200;

/// Faults as sentences.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<String>,
    more: u64,
}

impl Faults {
    pub(super) fn add(&mut self, fault: impl Into<String>) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(fault.into());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn add_unless(&mut self, right: bool, fault: impl FnOnce() -> String) {
        if !right {
            self.add(fault());
        }
    }

    /// Takes down an error, which is a fault of `what`.
    pub(super) fn catch<T>(
        &mut self,
        what: impl FnOnce() -> String,
        result: Result<T>,
    ) -> Option<T> {
        result
            .with_context(what)
            .map_err(|error| self.add(format!("{error:#}")))
            .ok()
    }

    pub(super) fn into_list(mut self) -> Vec<String> {
        if self.more > 0 {
            self.list
                .push(format!("there are {} more faults", self.more));
        }
        self.list
    }
}
