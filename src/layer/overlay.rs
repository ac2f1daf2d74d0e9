//! A file system with files put over it that are not there yet.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::kernel::{FILE_MAX_BYTES, Files};
use crate::tree::Content;

/// Changes over a file system. Their paths go through no symbolic links.
pub(super) struct Overlay<'a> {
    base: &'a dyn Files,
    files: BTreeMap<String, Content>,
    removed: BTreeSet<String>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(base: &'a dyn Files) -> Self {
        Self {
            base,
            files: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Puts a file there.
    pub(super) fn add(&mut self, path: String, content: impl Into<Contents>) {
        self.files.insert(path, content.into().0);
    }

    /// Takes a file of the base away.
    pub(super) fn remove(&mut self, path: &str) {
        self.removed.insert(path.to_owned());
    }

    /// The file that was put there.
    pub(super) fn added(&self, path: &str) -> Option<&Content> {
        self.files.get(path)
    }

    /// All files that were put there.
    pub(super) fn into_changes(self) -> BTreeMap<String, Content> {
        self.files
    }

    /// Names that files put there give a directory.
    fn children(&self, directory: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{directory}/");
        let from = self.files.range(prefix.clone()..);
        from.map_while(move |(path, _)| path.strip_prefix(&*prefix))
            .filter_map(|rest| rest.split('/').next())
    }
}

/// Bytes of any kind, as a content.
pub(super) struct Contents(Content);

impl From<Content> for Contents {
    fn from(content: Content) -> Self {
        Self(content)
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Content::bytes(bytes))
    }
}

impl From<String> for Contents {
    fn from(text: String) -> Self {
        Self(Content::bytes(text.into_bytes()))
    }
}

impl Files for Overlay<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.files.get(path) {
            Some(content) => content
                .to_vec(FILE_MAX_BYTES)
                .map(Some)
                .with_context(|| format!("reading {path}")),
            None if self.removed.contains(path) => Ok(None),
            None => self.base.read(path),
        }
    }

    fn exists(&self, path: &str) -> Result<bool> {
        if self.files.contains_key(path) || self.children(path).next().is_some() {
            return Ok(true);
        }
        Ok(!self.removed.contains(path) && self.base.exists(path)?)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let mut names: BTreeSet<String> = self.base.list(directory)?.into_iter().collect();
        names.retain(|name| !self.removed.contains(&format!("{directory}/{name}")));
        names.extend(self.children(directory).map(str::to_owned));
        Ok(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Meta, Node, Tree};

    #[test]
    fn what_is_put_over_a_file_system_is_seen_instead() {
        let mut tree = Tree::new(Meta::root(0o755));
        let directory = tree.make_directories("usr/lib", &Meta::root(0o755));
        for name in ["a", "b"] {
            let node = Node::File(Content::bytes(name.as_bytes().to_vec()));
            tree.create(directory, name, Meta::root(0o644), node);
        }
        let mut overlay = Overlay::new(&tree);
        overlay.add("usr/lib/b".to_owned(), "new".to_owned());
        overlay.add("usr/lib/sub/c".to_owned(), "c".to_owned());
        overlay.remove("usr/lib/a");
        assert_eq!(overlay.list("usr/lib").unwrap(), ["b", "sub"]);
        assert_eq!(overlay.read("usr/lib/b").unwrap().unwrap(), b"new");
        assert_eq!(overlay.read("usr/lib/a").unwrap(), None);
        for (path, there) in [
            ("usr/lib/a", false),
            ("usr/lib/sub", true),
            ("usr/lib/sub/c", true),
            ("usr/lib/su", false),
            ("usr/lib", true),
        ] {
            assert_eq!(overlay.exists(path).unwrap(), there, "{path}");
        }
        let changed: Vec<_> = overlay.into_changes().into_keys().collect();
        assert_eq!(changed, ["usr/lib/b", "usr/lib/sub/c"]);
    }
}
