//! What directories of ext4 and XFS say of the inodes that they name.

use bake_tree::Kind;

/// The number of a kind (Linux `include/linux/fs_types.h`).
pub(super) fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => 1,
        Kind::Directory => 2,
        Kind::CharDevice(..) => 3,
        Kind::BlockDevice(..) => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}
