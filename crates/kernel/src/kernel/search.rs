//! Modules that no index knows of, looked for in directories: why a driver is not there.

use anyhow::Result;

use super::MODULE_DIRECTORIES;
use super::files::Files;
use super::modules::module_name;

/// Deepest directory and most directories looked into.
const DEPTH_MAX: u32 = 12;
const DIRECTORIES_MAX: u32 = 5000;

/// A search for the file of one module.
pub(super) struct Search<'a> {
    files: &'a dyn Files,
    name: &'a str,
    directories_left: u32,
}

impl<'a> Search<'a> {
    pub(super) fn new(files: &'a dyn Files, name: &'a str) -> Self {
        Self {
            files,
            name,
            directories_left: DIRECTORIES_MAX,
        }
    }

    /// The path of the first one below a kernel's directory.
    pub(super) fn below(&mut self, directory: &str) -> Result<Option<String>> {
        self.descend(directory, 0)
    }

    fn descend(&mut self, directory: &str, depth: u32) -> Result<Option<String>> {
        if depth > DEPTH_MAX || self.directories_left == 0 {
            return Ok(None);
        }
        self.directories_left -= 1;
        for entry in self.files.list(directory)? {
            let path = format!("{directory}/{entry}");
            match module_name(&entry) {
                Some(name) if name == self.name => return Ok(Some(path)),
                Some(_) => {}
                // Links out of the directory: to where the kernel was built.
                None if depth == 0 && matches!(&*entry, "build" | "source") => {}
                None => {
                    if let Some(found) = self.descend(&path, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The directory with the modules of the kernel of that release, if there is one.
pub(super) fn directory(files: &dyn Files, release: &str) -> Result<Option<String>> {
    for parent in MODULE_DIRECTORIES {
        let directory = format!("{parent}/{release}");
        if !release.is_empty() && files.exists(&directory)? {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// Kernel releases that have a directory of modules, sorted.
pub fn releases(files: &dyn Files) -> Result<Vec<String>> {
    let mut releases = Vec::new();
    for directory in MODULE_DIRECTORIES {
        releases.extend(files.list(directory)?);
    }
    releases.sort_unstable();
    releases.dedup();
    Ok(releases)
}
