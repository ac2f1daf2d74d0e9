//! How far the work is, told to whoever watches.
//!
//! Library code reports phases and bytes; whether that becomes a bar, a line or nothing is decided
//! once, in `cli`.

/// Target of `tracing` events that tell of a wait, such as for a registry that doesn't answer. Each
/// takes the place of the one before it.
pub const WAIT: &str = "coreos_bake::wait";

/// Somebody who watches the work.
pub trait Progress: Sync {
    /// A phase begins; `total` is in bytes, 0 if unknown.
    fn begin(&self, phase: &str, total: u64);
    /// `bytes` more of the current phase are done. Called from several threads.
    fn advance(&self, bytes: u64);
    /// The current phase is over.
    fn end(&self);
    /// Something the user should know, though the work goes on.
    fn warn(&self, sentence: &str);
}

/// Nobody watches.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn warn(&self, _: &str) {}
}
