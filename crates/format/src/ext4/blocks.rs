//! The blocks of one inode.

use super::space::Run;

/// The blocks of one inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    pub(super) data: Vec<Run>,
    /// Nodes of the extent tree.
    pub(super) nodes: Vec<u64>,
    pub(super) attributes: Option<u64>,
}

impl Blocks {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.data.iter().map(|run| run.len).sum::<u64>()
            + self.nodes.len() as u64
            + u64::from(self.attributes.is_some())
    }
}
