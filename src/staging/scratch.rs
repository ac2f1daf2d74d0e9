//! Hidden directories that go with whoever made them, however that ends.
//!
//! ```text
//! PARENT/.coreos-bake-XXXXXX   locked (flock) as long as its owner lives
//! ```
//!
//! The kernel drops a lock with the last descriptor, so what lies there unlocked is of a program that
//! is gone: killed, or with the machine. No age and no process number says that. The directory is locked
//! after it was made, and in between somebody may take it for a leftover; so its maker looks, once it has
//! the lock, whether the directory is still there, and makes another one if not.
//!
//! Where there are no locks, as on NFS, nothing can be told of a directory, and it is left alone. So are
//! other users' directories: what lies in one is only believed if we wrote it. A file system that is
//! mounted on two machines and keeps locks to one of them would show a living program's directory as a
//! leftover to the other machine.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

use super::times::Times;

/// How the directories are called: this, and letters and digits.
const PREFIX: &str = ".coreos-bake-";
const RANDOM_LETTERS: usize = 6;

/// What to remove when a signal ends the program. The lock is also held while files get their final
/// names, so that a signal comes before that or after, not in between.
static OPEN: Mutex<Held> = Mutex::new(Held {
    open: Vec::new(),
    is_finished: false,
});

/// What signals find.
#[derive(Debug)]
pub(crate) struct Held {
    open: Vec<Open>,
    is_finished: bool,
}

/// A scratch directory, and the directories that were made for it to lie in, outermost first.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    parents: Vec<PathBuf>,
    /// When the directory in which it lies was last changed, if nobody shall see that it was there.
    time: Times,
}

impl Open {
    fn restore_time(&self) {
        if let Some(parent) = self.path.parent() {
            self.time.restore(parent);
        }
    }
}

/// What signals wait for.
pub(crate) type Guard = MutexGuard<'static, Held>;

impl Held {
    /// Has signals tell from now on that what the program was asked for is done.
    pub(crate) fn finish(&mut self) {
        self.is_finished = true;
    }
}

/// What a signal has found of the program's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// It had begun to write nothing, or writes no files.
    Nothing,
    /// What it had written is removed again.
    Unfinished,
    /// Everything is there.
    Finished,
}

/// Has signals wait until the guard is dropped.
pub(crate) fn hold_signals() -> Guard {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often, and with what pause between, directories are removed that others still write to.
const REMOVALS: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Removes all scratch directories of this program, and tells what became of its work. For signal
/// handling, right before the process ends: waits while files are given their final names, and lets
/// nobody make or name a file afterwards.
pub fn abandon() -> Abandoned {
    let held = ManuallyDrop::new(hold_signals());
    for directory in &held.open {
        // Other threads are still at work; what they make meanwhile takes another round.
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(&directory.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => thread::sleep(REMOVAL_PAUSE),
                _ => break,
            }
        }
        remove_empty(&directory.parents);
        directory.restore_time();
    }
    match (held.is_finished, held.open.is_empty()) {
        (true, _) => Abandoned::Finished,
        (false, false) => Abandoned::Unfinished,
        (false, true) => Abandoned::Nothing,
    }
}

/// A directory for what is not kept. It is removed when this is dropped, or when a signal ends the
/// program, and what SIGKILL leaves of it is found by [`super::clear_leftovers`].
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// None where the file system has no locks.
    lock: Option<File>,
    is_kept: bool,
}

impl Scratch {
    /// A new one in `parent`, which is made if it is missing, and goes with it then if nothing else was
    /// put there.
    pub fn new_in(parent: &Path) -> io::Result<Self> {
        Self::new_at(parent, Times::default())
    }

    /// The same in a directory that gets its `time` back where a signal removes this one.
    pub(super) fn new_at(parent: &Path, time: Times) -> io::Result<Self> {
        let mut held = hold_signals();
        let parents = make_directories(parent)?;
        let made = Self::make(parent);
        match made {
            Ok((path, lock)) => {
                held.open.push(Open {
                    path: path.clone(),
                    parents,
                    time,
                });
                Ok(Self {
                    path,
                    lock,
                    is_kept: false,
                })
            }
            Err(error) => {
                remove_empty(&parents);
                Err(error)
            }
        }
    }

    fn make(parent: &Path) -> io::Result<(PathBuf, Option<File>)> {
        loop {
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .rand_bytes(RANDOM_LETTERS)
                .tempdir_in(parent)?
                .keep();
            let Ok(file) = open_directory(&path) else {
                continue;
            };
            // Whoever has the lock is about to remove the directory.
            if file.lock().is_err() {
                return Ok((path, None));
            }
            if is_at(&file, &path) {
                return Ok((path, Some(file)));
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the directories that were made for this one to lie in.
    pub(super) fn keep_parents(&self, held: &mut Guard) {
        for open in held.open.iter_mut().filter(|open| open.path == self.path) {
            open.parents.clear();
        }
    }

    /// Leaves the directory where it is, as if the program had been killed now.
    pub(super) fn leave(mut self, held: &mut Guard) {
        self.is_kept = true;
        held.open.retain(|open| open.path != self.path);
        drop(self.lock.take());
    }

    /// Removes the directory.
    pub(super) fn remove(mut self, held: &mut Guard) -> io::Result<()> {
        self.is_kept = true;
        self.remove_from(held)
    }

    fn remove_from(&self, held: &mut Guard) -> io::Result<()> {
        let done = fs::remove_dir_all(&self.path);
        let open = &mut held.open;
        if let Some(at) = open.iter().position(|open| open.path == self.path) {
            remove_empty(&open.swap_remove(at).parents);
        }
        done
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // What can't be removed now is found by the next run.
            let _ = self.remove_from(&mut hold_signals());
        }
    }
}

/// A scratch directory whose owner is gone. It is ours as long as this lives.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Leftover {
    /// The directory at `path`, if it is one that programs of this user make, and none of them lives.
    pub(super) fn at(path: &Path) -> Option<Self> {
        if !is_scratch(path) {
            return None;
        }
        let lock = open_directory(path).ok()?;
        if lock.metadata().ok()?.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        match lock.try_lock() {
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
            Ok(()) => is_at(&lock, path).then(|| Self {
                path: path.to_owned(),
                _lock: lock,
            }),
        }
    }

    /// Removes it. One that can't be removed stays: nothing depends on it any more.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a leftover stays");
        }
    }
}

/// Whatever in `parent` is called as scratch directories are, by name.
pub(super) fn candidates(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| is_scratch(path));
    paths.sort();
    paths
}

/// Whether a path is called as scratch directories are.
pub(crate) fn is_scratch(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let random = name.and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|random| {
        random.len() == RANDOM_LETTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Opens a directory that is no symlink.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Whether the directory that was opened is the one that is at `path` now.
fn is_at(file: &File, path: &Path) -> bool {
    let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(path)) => number(file) == number(path),
        _ => false,
    }
}

/// Makes what is missing of a path, and tells what that was, outermost first.
fn make_directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let mut missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    missing.reverse();
    let mut made = Vec::new();
    for directory in missing {
        match fs::create_dir(directory) {
            Ok(()) => made.push(directory.to_owned()),
            // Somebody else has made it, or the path has `..` in it.
            Err(_) if directory.is_dir() => {}
            Err(error) => {
                remove_empty(&made);
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// Removes those of the directories that nothing is in.
pub(super) fn remove_empty(directories: &[PathBuf]) {
    for directory in directories.iter().rev() {
        let _ = fs::remove_dir(directory);
    }
}
