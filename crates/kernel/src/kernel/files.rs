//! The file system of a boot stage, as far as modules are looked for in it.

use anyhow::{Context, Result};

use bake_tree::{Circle, Content, Follow, Look};

/// Largest file that is read whole.
pub const FILE_MAX_BYTES: u64 = 256 << 20;

/// A boot stage's file system. Paths have no `/` in front; symbolic links are followed.
pub trait Files {
    /// The content of a regular file; None if there is none of that path.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// Whether the path names anything.
    fn exists(&self, path: &str) -> Result<bool>;

    /// The names in a directory, sorted; none if the path is not one.
    fn list(&self, directory: &str) -> Result<Vec<String>>;

    /// A handle to the content of a regular file, where that is cheaper than reading it.
    fn content(&self, path: &str) -> Result<Option<Content>> {
        Ok(self.read(path)?.map(Content::bytes))
    }
}

/// What `path` leads to; nothing if it leads in a circle.
fn find<T: Look>(tree: &T, path: &str) -> Result<Option<T::Entry>> {
    match tree.lookup(path, Follow::Last) {
        Err(error) if error.is::<Circle>() => Ok(None),
        found => found,
    }
}

impl<T: Look> Files for T {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = find(self, path)? else {
            return Ok(None);
        };
        self.bytes(&entry, FILE_MAX_BYTES)
            .with_context(|| format!("reading {path}"))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(find(self, path)?.is_some())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        match find(self, directory)? {
            Some(entry) if self.is_directory(&entry) => {
                let names = self.names(&entry)?.into_iter();
                Ok(names
                    .filter_map(|name| String::from_utf8(name.into_vec()).ok())
                    .collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn content(&self, path: &str) -> Result<Option<Content>> {
        if let Some(entry) = find(self, path)?
            && let Some(content) = Look::content(self, &entry)?
        {
            return Ok(Some(content));
        }
        Ok(Files::read(self, path)?.map(Content::bytes))
    }
}
