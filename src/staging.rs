//! Output files appear whole or not at all.
//!
//! Everything is written in a hidden directory beside its final place, on the same file system, and
//! renamed at the end. Whoever stops us before that, by an error or a signal, finds no file under
//! a final name.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::failure::Failure;

/// Directories to remove when a signal ends the program. The lock is also held while files get
/// their final names, so that a signal comes before that or after, not in between.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn open_directories() -> MutexGuard<'static, Vec<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often, and with what pause between, directories are removed that others still write to.
const REMOVALS: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Removes what unfinished bakes have written, and tells whether there was one. For signal
/// handling, right before the process ends: waits while files are given their final names, and lets
/// nobody make or name a file afterwards.
pub fn abandon() -> bool {
    let open = ManuallyDrop::new(open_directories());
    for directory in open.iter() {
        // Other threads are still at work; what they make meanwhile takes another round.
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(directory) {
                Err(error) if error.kind() != ErrorKind::NotFound => thread::sleep(REMOVAL_PAUSE),
                _ => break,
            }
        }
    }
    !open.is_empty()
}

/// Files on their way to an output directory.
#[derive(Debug)]
pub struct Staging {
    output: PathBuf,
    scratch: Option<TempDir>,
    created_output: bool,
    force: bool,
}

impl Staging {
    /// Prepares to write into `output`, making it if needed. With `force`, files of the same
    /// names will be replaced.
    pub fn new(output: &Path, force: bool) -> Result<Self> {
        let created_output = !output.exists();
        fs::create_dir_all(output)
            .with_context(|| format!("making output directory {}", output.display()))?;
        let scratch = tempfile::Builder::new()
            .prefix(".coreos-bake-")
            .tempdir_in(output)
            .with_context(|| format!("writing to output directory {}", output.display()))?;
        open_directories().push(scratch.path().to_owned());
        Ok(Self {
            output: output.to_owned(),
            scratch: Some(scratch),
            created_output,
            force,
        })
    }

    /// Where `name` is while it is being written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The hidden directory itself, for scratch files without a name.
    pub fn directory(&self) -> &Path {
        self.scratch
            .as_ref()
            .expect("present until published")
            .path()
    }

    /// Makes the file that will become `name`, which may be a path with directories in it.
    pub fn create(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        let _not_while_abandoned = open_directories();
        make_directory_of(&path)?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("making {}", path.display()))
    }

    /// Makes a file without a name, for what is not kept.
    pub fn scratch_file(&self) -> Result<File> {
        tempfile::tempfile_in(self.directory())
            .with_context(|| format!("making a scratch file in {}", self.directory().display()))
    }

    /// Refuses names that are taken in the output directory, unless told to replace them.
    pub fn check_free<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for name in names {
            let path = self.output.join(name);
            match fs::symlink_metadata(&path) {
                Ok(old) if old.is_dir() => bail!("{} is a directory", path.display()),
                Ok(_) if !self.force => {
                    return Err(Failure::new(
                        format!("{} exists", path.display()),
                        "choose another output directory, or replace the files with --force",
                    )
                    .into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives every staged file its final name: all of them, or, when one can't have it, none.
    pub fn publish(mut self, names: &[String]) -> Result<()> {
        for name in names {
            File::open(self.path(name))
                .and_then(|file| file.sync_all())
                .with_context(|| format!("writing {name} to disk"))?;
        }
        let open = open_directories();
        self.check_free(names.iter().map(String::as_str))?;
        let mut done: Vec<PathBuf> = Vec::new();
        for name in names {
            let target = self.output.join(name);
            let replaced = target.exists();
            let named = make_directory_of(&target)
                .and_then(|()| fs::rename(self.path(name), &target).map_err(Into::into));
            if let Err(error) = named {
                for path in done {
                    let _ = fs::remove_file(path);
                }
                return Err(error).with_context(|| format!("naming {}", target.display()));
            }
            if !replaced {
                done.push(target);
            }
        }
        self.close(open)
    }

    /// Runs `name`, which moves files out of [`Self::directory`] to their places. A signal waits until
    /// it is done.
    pub fn publish_by(mut self, name: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let open = open_directories();
        name(self.directory())?;
        self.close(open)
    }

    fn close(&mut self, mut open: MutexGuard<'static, Vec<PathBuf>>) -> Result<()> {
        self.created_output = false;
        open.retain(|path| path != self.directory());
        drop(open);
        self.scratch
            .take()
            .expect("present until now")
            .close()
            .context("removing scratch files")
    }
}

/// Makes the directory that a file lies in.
fn make_directory_of(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            open_directories().retain(|path| path != scratch.path());
            drop(scratch);
        }
        if self.created_output {
            // Only removes it when empty.
            let _ = fs::remove_dir(&self.output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_only_when_published() {
        let out = tempfile::tempdir().unwrap();
        let staging = Staging::new(out.path(), false).unwrap();
        staging.create("a").unwrap();
        staging.create("b/c/d").unwrap();
        assert!(!out.path().join("a").exists());
        staging
            .publish(&["a".to_owned(), "b/c/d".to_owned()])
            .unwrap();
        assert!(out.path().join("a").exists() && out.path().join("b/c/d").exists());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_abandoned_bake_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("new");
        let staging = Staging::new(&out, false).unwrap();
        staging.create("a").unwrap();
        drop(staging);
        assert!(!out.exists());
    }

    #[test]
    fn taken_names_are_refused_unless_forced() {
        let out = tempfile::tempdir().unwrap();
        fs::write(out.path().join("a"), "old").unwrap();
        let staging = Staging::new(out.path(), false).unwrap();
        staging.create("a").unwrap();
        assert!(staging.check_free(["a"]).is_err());
        assert!(staging.publish(&["a".to_owned()]).is_err());
        assert_eq!(fs::read(out.path().join("a")).unwrap(), b"old");

        let staging = Staging::new(out.path(), true).unwrap();
        staging.create("a").unwrap();
        staging.publish(&["a".to_owned()]).unwrap();
        assert_eq!(fs::read(out.path().join("a")).unwrap(), b"");
    }
}
