//! SELinux labels: which context the policy's text files give to a path.
//!
//! ```text
//! file_contexts, .homedirs, .local   one spec a line: REGEX [TYPE] CONTEXT
//! file_contexts.subs_dist, .subs     one alias a line: PREFIX REPLACEMENT
//! ```
//!
//! The answer is that of libselinux's `selabel_lookup` (backend "file"): aliases are applied to the
//! path, then the last matching spec wins, except that a spec without meta characters beats every
//! one that has some. Specs are found through the bytes every match of theirs begins with, so a
//! path is compared with a few dozen of a policy's thousands, and only those that come into
//! question are ever compiled. A policy is foreign text: what it may cost has limits (`effort`).
//!
//! Left out on purpose: the compiled `.bin` forms (same data), validation of contexts against the
//! binary policy, and `/proc`, which ostree looks up as `/mnt` by itself. Where versions of
//! libselinux differ, this is 3.7 and before: of aliases with overlapping prefixes the last line
//! wins (the first one from 3.8 on). One oddity of those versions is not copied: a spec whose first
//! component has an escape (`/a\-b/c`) matches here and never there.
//!
//! Semantics: selabel_file(5), file_contexts(5), libselinux `src/label_file.c`. Checked against
//! `matchpathcon`.

mod effort;
mod pattern;
mod policy;
mod subs;
#[cfg(test)]
mod tests;

pub use policy::Policy;

use crate::tree::Node;

/// What a path names, as far as specs can ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file, `--`.
    Regular,
    /// A directory, `-d`.
    Directory,
    /// A symbolic link, `-l`.
    Symlink,
    /// A character device, `-c`.
    CharDevice,
    /// A block device, `-b`.
    BlockDevice,
    /// A named pipe, `-p`.
    Fifo,
    /// A socket, `-s`.
    Socket,
}

impl FileKind {
    /// The kind that a spec's type field names.
    fn from_field(field: &str) -> Option<Self> {
        Some(match field {
            "--" => Self::Regular,
            "-d" => Self::Directory,
            "-l" => Self::Symlink,
            "-c" => Self::CharDevice,
            "-b" => Self::BlockDevice,
            "-p" => Self::Fifo,
            "-s" => Self::Socket,
            _ => return None,
        })
    }
}

impl From<&Node> for FileKind {
    fn from(node: &Node) -> Self {
        match node {
            Node::Directory(_) => Self::Directory,
            Node::File(_) => Self::Regular,
            Node::Symlink(_) => Self::Symlink,
            Node::CharDevice(..) => Self::CharDevice,
            Node::BlockDevice(..) => Self::BlockDevice,
            Node::Fifo => Self::Fifo,
            Node::Socket => Self::Socket,
        }
    }
}
