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
//! `ostree checkout --composefs-noverity` writes; `otcore-prepare-root.c` for the configuration. The
//! bytes come from the crate of the composefs project.

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

use crate::failure::Failure;
use crate::kernel::Files;
use crate::ostree::Checksum;
use crate::tree::{InodeId, Meta, NAME_MAX, Node, Tree, Xattrs};

/// Name of the image in the deployment's directory.
pub(super) const NAME: &str = ".ostree.cfs";

/// Whether the system wants its root from a composefs image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It does not look for one.
    No,
    /// It takes one if there is one.
    Maybe,
    /// It does not boot without.
    Yes,
}

/// Where the initramfs is told how to set up the root. Of two the first counts, as a whole: it is
/// `/etc` in the initramfs and read last.
const CONFIGURATIONS: [&str; 2] = [
    "usr/etc/ostree/prepare-root.conf",
    "usr/lib/ostree/prepare-root.conf",
];

/// Configuration files larger than this are not what they claim to be.
const CONFIGURATION_MAX: u64 = 1 << 20;

/// What the system in `tree` says of composefs. The initramfs goes by its own copy of the file, which
/// was the same when it was made.
pub(super) fn mode(tree: &Tree) -> Result<Mode> {
    let found = CONFIGURATIONS
        .iter()
        .find_map(|path| Some((path, tree.lookup(path)?)));
    let Some((path, id)) = found else {
        return Ok(Mode::No);
    };
    let Node::File(content) = &tree.inode(id).node else {
        bail!("{path} is not a regular file");
    };
    let bytes = content
        .to_vec(CONFIGURATION_MAX)
        .with_context(|| format!("reading {path}"))?;
    let text = std::str::from_utf8(&bytes)
        .with_context(|| format!("reading {path}, which is not UTF-8"))?;
    match enabled(text) {
        None | Some("no" | "false" | "0") => Ok(Mode::No),
        Some("maybe") => Ok(Mode::Maybe),
        Some("yes" | "true" | "1") => Ok(Mode::Yes),
        Some(value @ ("signed" | "verity")) => Err(Failure::new(
            format!(
                "{path} says composefs enabled={value}, which needs fs-verity, and the root's file \
                 system, XFS, does not have it"
            ),
            format!(
                "write `enabled = yes` in {path} and make the initramfs anew in the same layer"
            ),
        )
        .into()),
        Some(value) => bail!(
            "{path} says composefs enabled={value:?}, which is none of yes, maybe, no, signed and \
             verity"
        ),
    }
}

/// Whether an initramfs with these files mounts a composefs image, if there is one.
pub(crate) fn mounts_composefs(initramfs: &dyn Files) -> Result<bool> {
    for path in ["etc/ostree/prepare-root.conf", CONFIGURATIONS[1]] {
        if let Some(bytes) = initramfs.read(path)? {
            let text = String::from_utf8_lossy(&bytes);
            return Ok(!matches!(enabled(&text), None | Some("no" | "false" | "0")));
        }
    }
    Ok(false)
}

/// The last value of `enabled` in the groups called `composefs`, as GLib reads key files.
fn enabled(text: &str) -> Option<&str> {
    let mut group = "";
    let mut found = None;
    for line in text.lines().map(str::trim) {
        let name = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
        if let Some(name) = name {
            group = name;
        } else if let Some((key, value)) = line.split_once('=')
            && (group, key.trim()) == ("composefs", "enabled")
        {
            found = Some(value.trim());
        }
    }
    found
}

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
