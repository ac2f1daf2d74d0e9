//! The file system of a boot stage, as far as modules are looked for in it.

use anyhow::{Context, Result};

use crate::tree::{Content, Node, Tree};

/// Largest file that is read whole.
pub(crate) const FILE_MAX_BYTES: u64 = 256 << 20;

/// Most symbolic links followed on the way to a file, as in the kernel.
const LINKS_MAX: u32 = 40;

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

/// The path that is reached by following every symbolic link on `path`; whether anything is there
/// is not asked. None if there are too many links. `link` gives a link's target.
pub(super) fn follow<'a>(
    path: &str,
    mut link: impl FnMut(&str) -> Option<&'a str>,
) -> Option<String> {
    let mut ahead: Vec<String> = split(path);
    let mut reached = String::new();
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        match &*name {
            "" | "." => continue,
            ".." => {
                reached.truncate(reached.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let above = reached.len();
        if above > 0 {
            reached.push('/');
        }
        reached.push_str(&name);
        if let Some(target) = link(&reached) {
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            reached.truncate(if target.starts_with('/') { 0 } else { above });
            ahead.extend(split(target));
        }
    }
    Some(reached)
}

/// The names of a path, last first.
fn split(path: &str) -> Vec<String> {
    path.rsplit('/').map(str::to_owned).collect()
}

/// What `path` leads to in a tree.
fn node<'a>(tree: &'a Tree, path: &str) -> Option<&'a Node> {
    let path = follow(path, |path| {
        match &tree.inode(tree.lookup(path)?).node {
            // A target that is not text leads nowhere that could be asked for.
            Node::Symlink(target) => Some(std::str::from_utf8(target).unwrap_or_default()),
            _ => None,
        }
    })?;
    Some(&tree.inode(tree.lookup(&path)?).node)
}

impl Files for Tree {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.content(path)?
            .map(|content| content.to_vec(FILE_MAX_BYTES))
            .transpose()
            .with_context(|| format!("reading {path}"))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(node(self, path).is_some())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let names = match node(self, directory) {
            Some(Node::Directory(names)) => names,
            _ => return Ok(Vec::new()),
        };
        let names = names.keys().map(|name| String::from_utf8(name.to_vec()));
        Ok(names.filter_map(Result::ok).collect())
    }

    fn content(&self, path: &str) -> Result<Option<Content>> {
        Ok(match node(self, path) {
            Some(Node::File(content)) => Some(content.clone()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::follow;

    #[test]
    fn links_are_followed_as_the_kernel_follows_them() {
        let link = |path: &str| match path {
            "lib" => Some("usr/lib"),
            "usr/lib/abs" => Some("/lib/./modules/"),
            "usr/up" => Some("../../lib/x"),
            "a" => Some("b"),
            "b" => Some("a"),
            _ => None,
        };
        let cases = [
            ("usr/lib/x", Some("usr/lib/x")),
            ("lib/x", Some("usr/lib/x")),
            ("/lib//abs/6.1", Some("usr/lib/modules/6.1")),
            ("usr/up/y", Some("usr/lib/x/y")),
            ("usr/../../z", Some("z")),
            ("a/x", None),
            ("", Some("")),
        ];
        for (path, expected) in cases {
            assert_eq!(follow(path, link).as_deref(), expected, "{path}");
        }
    }
}
