//! Names against inodes.

use anyhow::Result;

use super::{Check, RESIZE};
use crate::format::ext4::reader::ROOT;
use crate::format::ext4::reader::disk::feature;
use crate::format::ext4::reader::inode::{Entry, Kind};

/// Directories inside one another. A path of this many one-byte names is as long as the kernel's
/// `PATH_MAX` allows.
const DEPTH_MAX: usize = 2048;

/// What the names are compared with.
pub(super) struct Inode {
    file_type: u8,
    /// As it says, and as they were found.
    links: u32,
    found: u32,
    /// For directories: the one it has a name in.
    named_in: Option<u32>,
    /// For directories: the one its ".." is.
    parent: Option<u32>,
}

impl Inode {
    pub(super) fn new(entry: &Entry) -> Self {
        Self {
            file_type: entry.kind.file_type(),
            links: entry.links,
            found: 0,
            named_in: None,
            parent: None,
        }
    }
}

impl Check<'_> {
    /// Reads all directories, and compares names and links.
    pub(super) fn names(&mut self) {
        let directories: Vec<u32> = self
            .inodes
            .iter()
            .filter(|(_, inode)| inode.file_type == Kind::Directory.file_type())
            .map(|(number, _)| *number)
            .collect();
        for number in directories {
            let result = self.directory(number);
            self.faults
                .catch(|| format!("checking ext4 directory {number}"), result);
        }
        let superblock = &self.reader.superblock;
        let mut own = vec![RESIZE, superblock.journal_inode.get()];
        if self.reader.compat(feature::ORPHAN_FILE) {
            own.push(superblock.orphan_inode.get());
        }
        for number in &own {
            if let Some(inode) = self.inodes.get_mut(number) {
                inode.found += 1;
            }
        }
        self.links();
    }

    fn directory(&mut self, number: u32) -> Result<()> {
        let entry = self.reader.by_number(number)?;
        let listing = self.reader.listing(&entry)?;
        let mut directories = 0;
        for name in &listing.names {
            let Some(inode) = self.inodes.get_mut(&name.number) else {
                self.faults.add(format!(
                    "{} in ext4 directory {number} is inode {}, which is not in use or damaged",
                    name.name.escape_ascii(),
                    name.number
                ));
                continue;
            };
            self.faults
                .add_unless(inode.file_type == name.file_type, || {
                    format!(
                        "{} in ext4 directory {number} has file type {}, its inode {} has {}",
                        name.name.escape_ascii(),
                        name.file_type,
                        name.number,
                        inode.file_type
                    )
                });
            inode.found = inode.found.saturating_add(1);
            if inode.file_type == Kind::Directory.file_type() {
                directories += 1;
                let before = inode.named_in.replace(number);
                self.faults.add_unless(before.is_none(), || {
                    format!("ext4 directory {} has two names", name.number)
                });
            }
        }
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.parent = Some(listing.parent);
            // Its "." and the ".." of those in it.
            inode.found = inode.found.saturating_add(1 + directories);
        }
        Ok(())
    }

    fn links(&mut self) {
        let mut faults = std::mem::take(&mut self.faults);
        if let Some(inode) = self.inodes.get_mut(&ROOT) {
            // The root's ".." is itself.
            inode.found = inode.found.saturating_add(1);
            faults.add_unless(
                inode.named_in.is_none() && inode.parent.is_none_or(|parent| parent == ROOT),
                || "the ext4 root directory lies in another one".to_owned(),
            );
        }
        let uncounted = self.reader.ro_compat(feature::DIR_NLINK);
        for (number, inode) in &self.inodes {
            let directory = inode.file_type == Kind::Directory.file_type();
            // Directories with more subdirectories than the count can have say 1.
            let many = directory && uncounted && inode.links == 1 && inode.found > 2;
            faults.add_unless(inode.links == inode.found || many, || {
                format!(
                    "ext4 inode {number} counts {} links, but has {}",
                    inode.links, inode.found
                )
            });
            if directory && *number != ROOT {
                faults.add_unless(
                    inode.parent.is_none() || inode.parent == inode.named_in,
                    || format!("the \"..\" of ext4 directory {number} is not where its name is"),
                );
                faults.add_unless(self.reached(*number), || {
                    format!("ext4 directory {number} can't be reached from the root")
                });
            }
        }
        self.faults = faults;
    }

    /// Whether going up from a directory leads to the root.
    fn reached(&self, number: u32) -> bool {
        let mut at = number;
        for _ in 0..DEPTH_MAX {
            if at == ROOT {
                return true;
            }
            match self.inodes.get(&at).and_then(|inode| inode.named_in) {
                Some(above) => at = above,
                None => return false,
            }
        }
        false
    }
}
