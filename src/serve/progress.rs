//! How far one boot is: what was fetched, and how much of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::status::{Step, StepStatus};

/// One file on its way to a machine.
#[derive(Debug)]
struct Progress {
    began: u64,
    ended: Option<u64>,
    /// Bytes from the beginning on that finished transfers have sent without a gap.
    upto: u64,
    /// Where the last transfer began, and how many bytes it has sent.
    start: u64,
    sent: Arc<AtomicU64>,
    total: u64,
}

impl Progress {
    fn position(&self) -> u64 {
        self.start.saturating_add(self.sent.load(Ordering::Relaxed))
    }
}

/// The steps of a boot.
#[derive(Debug, Default)]
pub(super) struct Steps(BTreeMap<Step, Progress>);

impl Steps {
    /// A transfer of `total` bytes from `start` on begins; the counter is for what it has sent.
    pub(super) fn begin(&mut self, step: Step, start: u64, total: u64, now: u64) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::new(0));
        let progress = self.0.entry(step).or_insert_with(|| Progress {
            began: now,
            ended: None,
            upto: 0,
            start,
            sent: Arc::clone(&sent),
            total,
        });
        progress.start = start;
        progress.sent = Arc::clone(&sent);
        progress.total = total;
        progress.ended = None;
        sent
    }

    /// The transfer from `start` on has ended after `sent` bytes. Tells whether all of the file was sent,
    /// by this transfer or by this and those before.
    pub(super) fn end(&mut self, step: Step, start: u64, sent: u64, now: u64) -> bool {
        let Some(progress) = self.0.get_mut(&step) else {
            return false;
        };
        if start <= progress.upto {
            progress.upto = progress.upto.max(start.saturating_add(sent));
        }
        let is_whole = progress.upto >= progress.total;
        if is_whole {
            progress.ended = Some(now);
        }
        is_whole
    }

    /// The furthest step.
    pub(super) fn furthest(&self) -> Option<Step> {
        self.0.keys().next_back().copied()
    }

    pub(super) fn status(&self) -> Vec<StepStatus> {
        let status = |(&step, progress): (&Step, &Progress)| StepStatus {
            step,
            began: progress.began,
            ended: progress.ended,
            bytes_sent: match progress.ended {
                Some(_) => progress.total,
                None => progress.position(),
            },
            bytes_total: progress.total,
        };
        self.0.iter().map(status).collect()
    }
}
