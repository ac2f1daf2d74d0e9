//! A way back that is under way: what all its steps need.

use tokio::runtime::Runtime;

use super::RevertArgs;
use crate::cli::terminal::Terminal;
use crate::cluster::Server;

/// A way back that is under way.
pub(super) struct Revert<'a> {
    pub(super) pool: &'a str,
    /// The drivers that the user names; None if nothing is said of them.
    pub(super) named: Option<Vec<String>>,
    pub(super) options: &'a RevertArgs,
    pub(super) server: Server,
    pub(super) runtime: Runtime,
    pub(super) terminal: &'a Terminal,
}
