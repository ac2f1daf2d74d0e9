//! `.ostree.cfs`: the deployment as a composefs image, which the root is mounted from where the
//! system asks for it.
//!
//! The image is EROFS with names and metadata only (composefs format 0). A file with content is a
//! sparse inode with two attributes for overlayfs, which takes the bytes from `ostree/repo/objects`:
//!
//! ```text
//! trusted.overlay.metacopy = ""                     the data is elsewhere, its digest not known
//! trusted.overlay.redirect = "/xx/<62 digits>.file" namely in this object
//! ```
//!
//! Everything in the commit is in the image, `usr/etc` and `var` too, each name an inode of its own
//! and all times 0; besides, the root has the directories that others are mounted on, and names `00`
//! to `ff` that hide the objects' directories from kernels which cannot do so themselves (before
//! 6.5).
//!
//! Left out on purpose: fs-verity digests, as libostree leaves them out unless the system demands
//! them (`signed`, `verity`), which XFS cannot give.
//!
//! Truth: libostree `ostree-repo-composefs.c` (`ostree_repo_checkout_composefs`), which is also what
//! `ostree checkout --composefs-noverity` writes. The bytes come from the crate of the composefs project.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ::composefs::digest::Sha256;
use ::composefs::erofs::format::FormatVersion;
use ::composefs::erofs::writer::{ValidatedFileSystem, mkfs_erofs_versioned};
use ::composefs::fsverity::{Algorithm, FsVerityHashValue};
use ::composefs::generic_tree::LeafId;
use ::composefs::tree::{Directory, FileSystem, Inode, Leaf, LeafContent, RegularFile, Stat};
use anyhow::{Context, Result, bail, ensure};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ostree::Checksum;
use crate::tree::{InodeId, Meta, NAME_MAX, Node, Tree, Xattrs};

/// Name of the image in the deployment's directory.
pub(super) const NAME: &str = ".ostree.cfs";

/// Directories of the root that prepare-root mounts others on; made where the commit has none.
const MOUNT_POINTS: [&str; 5] = ["usr", "etc", "boot", "var", "sysroot"];

/// Deepest directory; real ones end at some thirty. Trees are walked by recursion here and in the
/// crate, which a thread's stack must bear in a build that is not optimised, too.
const DEPTH_MAX: usize = 512;

/// Longest target of a symlink in bytes, which is also XFS's; the importer takes longer ones.
const SYMLINK_MAX: usize = 1024;

/// Most attributes of an inode: EROFS counts shared ones in a byte, and some are added here.
const XATTRS_MAX: usize = 250;

/// Most bytes of an inode's attributes with names, a fourth of what EROFS can count.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// A composefs image of the commit's tree; `objects` tells which object a file or symlink is.
///
/// The image has some 200 bytes a file. Making it takes ten times that for a while, 115 MiB for 50 000
/// files: the crate describes each file three times.
pub(super) fn image(tree: &Tree, objects: &dyn Fn(InodeId) -> Option<Checksum>) -> Result<Vec<u8>> {
    let mut builder = Builder {
        tree,
        objects,
        leaves: Vec::new(),
        path: Vec::new(),
    };
    let mut root = builder.directory(Tree::ROOT, 0)?;
    for name in MOUNT_POINTS.map(OsStr::new) {
        if root.lookup(name).is_none() {
            let directory = Directory::new(stat(&Meta::root(0o755)));
            root.insert(name, Inode::Directory(Box::new(directory)));
        }
    }
    let leaves = builder.leaves;
    let checked = ValidatedFileSystem::new(FileSystem { root, leaves })
        .context("making a composefs image of the deployment")?;
    Ok(mkfs_erofs_versioned(&checked, FormatVersion::V0).into_vec())
}

/// The checksum that names a file's object, in the place of the fs-verity digest that names files in
/// composefs' own repositories.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
struct ObjectName([u8; 32]);

impl From<[u8; 32]> for ObjectName {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FsVerityHashValue for ObjectName {
    type Digest = Sha256;
    const ALGORITHM: Algorithm = Algorithm::SHA256;
    const EMPTY: Self = Self([0; 32]);

    /// Path of the object in a repository of mode `bare`.
    fn to_object_pathname(&self) -> String {
        let digits = self.to_hex();
        let (shard, rest) = digits.split_at(2);
        format!("{shard}/{rest}.file")
    }
}

/// Translates the tree, directory by directory.
struct Builder<'a> {
    tree: &'a Tree,
    objects: &'a dyn Fn(InodeId) -> Option<Checksum>,
    leaves: Vec<Leaf<ObjectName>>,
    /// Where we are, for messages.
    path: Vec<u8>,
}

impl Builder<'_> {
    fn directory(&mut self, id: InodeId, depth: usize) -> Result<Directory<ObjectName>> {
        ensure!(
            depth <= DEPTH_MAX,
            "{} lies more than {DEPTH_MAX} directories deep",
            self.shown()
        );
        let tree = self.tree;
        let meta = &tree.inode(id).meta;
        self.check(&meta.xattrs)?;
        let mut directory = Directory::new(stat(meta));
        for (name, child) in tree.children(id) {
            let parent = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            ensure!(
                (1..=NAME_MAX).contains(&name.len()),
                "the name of {} is empty or has more than {NAME_MAX} bytes",
                self.shown()
            );
            let inode = match &tree.inode(child).node {
                Node::Directory(_) => Inode::Directory(Box::new(self.directory(child, depth + 1)?)),
                node => {
                    let content = self.leaf(child, node)?;
                    let meta = &tree.inode(child).meta;
                    self.check(&meta.xattrs)?;
                    let id = LeafId(self.leaves.len());
                    self.leaves.push(Leaf {
                        stat: stat(meta),
                        content,
                    });
                    Inode::leaf(id)
                }
            };
            directory.insert(OsStr::from_bytes(name), inode);
            self.path.truncate(parent);
        }
        Ok(directory)
    }

    fn leaf(&self, id: InodeId, node: &Node) -> Result<LeafContent<ObjectName>> {
        Ok(match node {
            Node::File(content) if content.is_empty() => {
                LeafContent::Regular(RegularFile::Inline(Box::default()))
            }
            Node::File(content) => {
                let object = (self.objects)(id)
                    .with_context(|| format!("{} has no object", self.shown()))?;
                let name = ObjectName(*object.as_bytes());
                LeafContent::Regular(RegularFile::ExternalNoVerity(name, content.len()))
            }
            Node::Symlink(target) => {
                ensure!(
                    (1..=SYMLINK_MAX).contains(&target.len()),
                    "the target of the symlink {} has {} bytes, where 1 to {SYMLINK_MAX} are taken",
                    self.shown(),
                    target.len()
                );
                LeafContent::Symlink(OsStr::from_bytes(target).into())
            }
            _ => bail!(
                "{} is neither file, directory nor symlink, which ostree cannot hold",
                self.shown()
            ),
        })
    }

    /// Whether the attributes fit; the crate cuts numbers that are too large.
    fn check(&self, xattrs: &Xattrs) -> Result<()> {
        let bytes: usize = xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
        ensure!(
            xattrs.len() <= XATTRS_MAX && bytes <= XATTR_BYTES_MAX,
            "{} has {} extended attributes of {bytes} bytes, where {XATTRS_MAX} and \
             {XATTR_BYTES_MAX} are taken",
            self.shown(),
            xattrs.len()
        );
        let mut lengths = xattrs.iter().map(|(name, _)| name.len());
        ensure!(
            lengths.all(|length| (1..=NAME_MAX).contains(&length)),
            "{} has an extended attribute whose name is empty or has more than {NAME_MAX} bytes",
            self.shown()
        );
        Ok(())
    }

    fn shown(&self) -> String {
        match &*self.path {
            b"" => "/".to_owned(),
            path => String::from_utf8_lossy(path).into_owned(),
        }
    }
}

/// Owner, permissions and attributes; the time is 0, as in every checkout.
fn stat(meta: &Meta) -> Stat {
    let xattrs = meta.xattrs.iter();
    Stat {
        st_mode: meta.mode.into(),
        st_uid: meta.uid,
        st_gid: meta.gid,
        st_mtim_sec: 0,
        st_mtim_nsec: 0,
        xattrs: xattrs
            .map(|(name, value)| (OsStr::from_bytes(name).into(), value.into()))
            .collect(),
    }
}
