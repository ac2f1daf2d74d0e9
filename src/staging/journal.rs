//! What a transaction does to directories, and how it is taken back: by the program itself when a step
//! fails, and by the next run when the program was killed.
//!
//! ```text
//! OUTPUT/.coreos-bake-XXXXXX/
//!   new/NAME   what will be called OUTPUT/NAME
//!   old/N      what was called so before the N-th step
//!   journal    from here on, taking back works; when it is gone, all is done
//! ```
//!
//! An original is a second link to the same file, so that its name is never without one and the very same
//! file comes back. A directory, and a file where there are no links, is moved away, which takes no space
//! either. A step is done when its new file is no longer in `new`, so taking back can be stopped and
//! begun again.
//!
//! A transaction over several directories has one journal, in the first; the others have a note of where
//! that is.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::scratch::{Leftover, candidates};
use super::times::Times;
use crate::failure::Failure;

const NEW: &str = "new";
const OLD: &str = "old";
const JOURNAL: &str = "journal";

/// Longest journal that is read: a step takes some hundred bytes, and a rack of 10 000 hosts ten steps
/// each.
const JOURNAL_MAX_BYTES: u64 = 64 << 20;

/// What the file `journal` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// A transaction.
    Steps(Vec<Part>),
    /// The scratch directory where its journal is.
    At(#[serde(with = "as_bytes")] PathBuf),
}

/// The same, to be written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum EntryRef<'a> {
    Steps(&'a [Part]),
    At(#[serde(serialize_with = "as_bytes::serialize")] &'a Path),
}

/// Paths as nobody can mistake them: those of directories that are there, from the root, whatever letters
/// they are in.
mod as_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::ser::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        let path = path.canonicalize().map_err(S::Error::custom)?;
        path.as_os_str().as_bytes().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Vec::deserialize(from).map(|bytes| OsString::from_vec(bytes).into())
    }
}

/// What is done to one directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Part {
    /// Its scratch directory. The first part's is where the journal is, wherever that was moved since.
    #[serde(with = "as_bytes")]
    scratch: PathBuf,
    /// Directories that are made, outermost first.
    folders: Vec<String>,
    steps: Vec<Step>,
    times: Times,
}

/// A file, or a directory with all that is in it, gets its name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Step {
    name: String,
    original: Original,
    /// By which the new file is known again.
    len: u64,
    modified: (i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Original {
    /// Nothing had the name.
    None,
    /// It has another name in `old`.
    Linked,
    /// It is moved there before the step.
    Moved,
}

/// What was taken back.
#[derive(Debug, Default)]
pub struct TakenBack {
    /// Files that are there again as they were.
    pub restored: Vec<PathBuf>,
    /// Files that are gone again.
    pub removed: Vec<PathBuf>,
}

impl TakenBack {
    /// Whether there was nothing to be taken back.
    pub fn is_empty(&self) -> bool {
        self.restored.is_empty() && self.removed.is_empty()
    }
}

/// Where the new files of the scratch directory `scratch` are.
pub(super) fn new_files(scratch: &Path) -> PathBuf {
    scratch.join(NEW)
}

impl Part {
    /// Finds out what has to be done so that what is staged in `scratch` gets `names`, and gives files that
    /// will be replaced a second name.
    pub(super) fn new(scratch: &Path, names: &[String], time: Times) -> Result<Self> {
        let mut part = Self {
            scratch: scratch.to_owned(),
            folders: Vec::new(),
            steps: Vec::new(),
            times: time,
        };
        fs::create_dir(scratch.join(OLD))
            .with_context(|| format!("writing to {}", part.shown()))?;
        for name in names {
            part.add_folders(name)?;
            part.add_step(name)?;
        }
        Ok(part)
    }

    fn output(&self) -> &Path {
        self.scratch.parent().unwrap_or(Path::new("."))
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.output().display()
    }

    fn target(&self, name: &str) -> PathBuf {
        self.output().join(name)
    }

    fn old(&self, index: usize) -> PathBuf {
        self.scratch.join(OLD).join(index.to_string())
    }

    fn new_file(&self, name: &str) -> PathBuf {
        new_files(&self.scratch).join(name)
    }

    fn add_folders(&mut self, name: &str) -> Result<()> {
        let folders = Path::new(name).ancestors().skip(1);
        let mut folders: Vec<&str> = folders.filter_map(Path::to_str).collect();
        folders.reverse();
        for folder in folders.into_iter().filter(|folder| !folder.is_empty()) {
            if self.folders.iter().any(|known| known == folder) {
                continue;
            }
            match self.target(folder).exists() {
                true if self.times.places().any(|place| place == folder) => {}
                true => {
                    let time = Times::of(self.output(), [folder]);
                    let place = self.target(folder);
                    self.times
                        .extend(time.with_context(|| format!("reading {}", place.display()))?);
                }
                false => self.folders.push(folder.to_owned()),
            }
        }
        Ok(())
    }

    fn add_step(&mut self, name: &str) -> Result<()> {
        let new = self.new_file(name);
        let metadata = fs::symlink_metadata(&new)
            .with_context(|| format!("finding what becomes {}", self.target(name).display()))?;
        let target = self.target(name);
        let original = match fs::symlink_metadata(&target) {
            Err(error) if error.kind() == ErrorKind::NotFound => Original::None,
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", target.display()));
            }
            Ok(old) if old.is_dir() => Original::Moved,
            Ok(_) => match link(&target, &self.old(self.steps.len())) {
                Ok(()) => Original::Linked,
                Err(_) => Original::Moved,
            },
        };
        self.steps.push(Step {
            name: name.to_owned(),
            original,
            len: metadata.len(),
            modified: modified(&metadata),
        });
        Ok(())
    }

    /// Gives all names. What was done of it when it fails is in the journal.
    fn execute(&self) -> Result<()> {
        for folder in &self.folders {
            let path = self.target(folder);
            make_like(&self.new_file(folder), &path)
                .with_context(|| format!("making {}", path.display()))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            let target = self.target(&step.name);
            self.name(index, step, &target)
                .with_context(|| format!("naming {}", target.display()))?;
        }
        let mut folders: Vec<PathBuf> = self.folders_of_steps();
        folders.sort();
        folders.dedup();
        for folder in folders {
            sync_directory(&folder);
        }
        Ok(())
    }

    fn folders_of_steps(&self) -> Vec<PathBuf> {
        let folders = self.folders.iter().map(|folder| self.target(folder));
        let parents = self.steps.iter().filter_map(|step| {
            let target = self.target(&step.name);
            target.parent().map(Path::to_owned)
        });
        folders
            .chain(parents)
            .chain([self.output().to_owned()])
            .collect()
    }

    fn name(&self, index: usize, step: &Step, target: &Path) -> io::Result<()> {
        #[cfg(test)]
        super::tests::step()?;
        let new = self.new_file(&step.name);
        match step.original {
            Original::Linked => fs::rename(new, target),
            Original::None => rename_to_free(&new, target),
            Original::Moved => {
                fs::rename(target, self.old(index))?;
                #[cfg(test)]
                super::tests::step()?;
                rename_to_free(&new, target)
            }
        }
    }

    /// Takes back what was done, the last step first; goes on after a failure, and tells the first one.
    fn take_back(&self, taken: &mut TakenBack) -> Result<()> {
        let mut result = Ok(());
        for (index, step) in self.steps.iter().enumerate().rev() {
            #[cfg(test)]
            super::tests::step()?;
            let done = self.take_back_step(index, step, taken);
            result = result.and(done);
        }
        for folder in self.folders.iter().rev() {
            // Others may have put something into it since.
            let _ = fs::remove_dir(self.target(folder));
        }
        result
    }

    fn take_back_step(&self, index: usize, step: &Step, taken: &mut TakenBack) -> Result<()> {
        let (target, old) = (self.target(&step.name), self.old(index));
        let new = self.new_file(&step.name);
        let is_named = !is_there(&new);
        let has_original = is_there(&old);
        let is_done = match step.original {
            Original::None | Original::Linked => is_named,
            Original::Moved => has_original,
        };
        if !is_done || (!has_original && step.original != Original::None) {
            return Ok(());
        }
        let context = || format!("restoring {}", target.display());
        match fs::symlink_metadata(&target) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(context),
            Ok(_) if !is_named => return Err(self.changed(&target, &old)),
            Ok(now) if (now.len(), modified(&now)) != (step.len, step.modified) => {
                // Ours could not be told from theirs.
                return Err(self.changed(&target, if has_original { &old } else { &self.scratch }));
            }
            Ok(_) if step.original != Original::Linked => {
                fs::rename(&target, &new).with_context(context)?;
            }
            Ok(_) => {}
        }
        match has_original {
            true => {
                fs::rename(&old, &target).with_context(context)?;
                taken.restored.push(target);
            }
            false => taken.removed.push(target),
        }
        Ok(())
    }

    fn changed(&self, target: &Path, original: &Path) -> anyhow::Error {
        Failure::new(
            format!(
                "{} has been changed since a run that wrote it was killed",
                target.display()
            ),
            format!(
                "what that run has left is in {}: put {} where it belongs, and remove that directory",
                self.scratch.display(),
                original.display()
            ),
        )
        .into()
    }

    /// Whether all names stay in the directory. A journal is read like anybody's file.
    fn is_sane(&self) -> bool {
        let is_name = |name: &str| {
            let mut components = Path::new(name).components();
            !name.is_empty() && components.all(|part| matches!(part, Component::Normal(_)))
        };
        let mut places = self.times.places().filter(|place| !place.is_empty());
        self.folders.iter().all(|name| is_name(name))
            && self.steps.iter().all(|step| is_name(&step.name))
            && places.all(is_name)
    }
}

/// A transaction that has begun.
#[derive(Debug)]
pub(super) struct Journal {
    parts: Vec<Part>,
}

impl Journal {
    /// Writes down what is about to be done.
    pub(super) fn begin(parts: Vec<Part>) -> Result<Self> {
        let journal = Self { parts };
        let first = journal.first();
        for part in journal.parts.iter().skip(1) {
            write(&part.scratch, &EntryRef::At(first))?;
        }
        write(first, &EntryRef::Steps(&journal.parts))?;
        Ok(journal)
    }

    /// The transaction of a scratch directory whose owner is gone, if it had begun and has to be taken back.
    fn read(scratch: &Path) -> Result<Option<Self>> {
        let Some(Entry::Steps(mut parts)) = read(scratch)? else {
            return Ok(None);
        };
        if let Some(first) = parts.first_mut() {
            first.scratch = scratch.to_owned();
        }
        if !parts.iter().all(Part::is_sane) {
            return Err(no_journal(scratch));
        }
        Ok(Some(Self { parts }))
    }

    /// Gives all files their names, and has that survive a crash.
    pub(super) fn execute(&self) -> Result<()> {
        self.parts.iter().try_for_each(Part::execute)?;
        let first = self.first();
        fs::remove_file(first.join(JOURNAL))
            .with_context(|| format!("writing to {}", first.display()))?;
        sync_directory(first);
        Ok(())
    }

    fn first(&self) -> &Path {
        self.parts
            .first()
            .map_or(Path::new("."), |part| &part.scratch)
    }

    /// Leaves everything as it was before, but for times of directories. What can't be taken back stays in
    /// the scratch directories, with the journal.
    pub(super) fn take_back(&self) -> Result<TakenBack> {
        let mut taken = TakenBack::default();
        let mut result = Ok(());
        for part in self.parts.iter().rev() {
            result = result.and(part.take_back(&mut taken));
        }
        result?;
        // Before it is gone, so that it isn't gone while a name is not yet back on the disk.
        for part in &self.parts {
            part.folders_of_steps()
                .iter()
                .for_each(|folder| sync_directory(folder));
        }
        fs::remove_file(self.first().join(JOURNAL))
            .with_context(|| format!("writing to {}", self.first().display()))?;
        Ok(taken)
    }

    /// Sets times of directories as they were. Comes last, as removing a scratch directory changes them.
    pub(super) fn restore_times(&self) {
        for part in &self.parts {
            part.times.restore(part.output());
        }
    }
}

/// Removes what programs that were killed have left in `output`, and takes back what they had begun to name
/// and not finished. What living programs have there stays, and so does all of which nothing is known.
pub fn clear_leftovers(output: &Path) -> Result<TakenBack> {
    let mut taken = TakenBack::default();
    let Ok(output) = output.canonicalize() else {
        return Ok(taken);
    };
    for path in candidates(&output) {
        if let Some(leftover) = Leftover::at(&path) {
            clear(leftover, &mut taken)?;
        }
    }
    Ok(taken)
}

fn clear(leftover: Leftover, taken: &mut TakenBack) -> Result<()> {
    let first = match read(&leftover.path)? {
        None => {
            leftover.remove();
            return Ok(());
        }
        Some(Entry::Steps(_)) => leftover.path.clone(),
        Some(Entry::At(path)) => path,
    };
    // Held as long as the parts of the transaction are worked on.
    let mut held = Vec::new();
    if first != leftover.path {
        let place = first.parent().unwrap_or(&first);
        // Where nobody can look, nobody knows whether it was done.
        if !place.is_dir() {
            return Err(Failure::new(
                format!(
                    "{} is of a run that also wrote to {}, which is not there",
                    leftover.path.display(),
                    place.display()
                ),
                "bring that directory back, or remove the first one if you don't need what is in it",
            )
            .into());
        }
        // Done or taken back: the journal goes last.
        if !is_there(&first) {
            leftover.remove();
            return Ok(());
        }
        match Leftover::at(&first) {
            Some(found) => held.push(found),
            None => return Ok(()),
        }
    }
    let Some(journal) = Journal::read(&first)? else {
        leftover.remove();
        return Ok(());
    };
    for part in journal.parts.iter().map(|part| &part.scratch) {
        if *part == leftover.path || *part == first || !is_there(part) {
            continue;
        }
        match Leftover::at(part) {
            Some(found) => held.push(found),
            None => return Ok(()),
        }
    }
    let found = journal.take_back()?;
    taken.restored.extend(found.restored);
    taken.removed.extend(found.removed);
    held.push(leftover);
    held.into_iter().for_each(Leftover::remove);
    journal.restore_times();
    Ok(())
}

fn write(scratch: &Path, entry: &EntryRef<'_>) -> Result<()> {
    let unfinished = scratch.join("journal-unfinished");
    let written = File::options()
        .write(true)
        .create_new(true)
        .open(&unfinished)
        .and_then(|mut file| {
            file.write_all(&serde_json::to_vec(entry)?)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&unfinished, scratch.join(JOURNAL)));
    written.with_context(|| format!("writing to {}", scratch.display()))?;
    sync_directory(scratch);
    if let Some(output) = scratch.parent() {
        sync_directory(output);
    }
    Ok(())
}

fn read(scratch: &Path) -> Result<Option<Entry>> {
    let path = scratch.join(JOURNAL);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.is_file() && metadata.len() <= JOURNAL_MAX_BYTES => {}
        _ => return Err(no_journal(scratch)),
    }
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let entry = serde_json::from_slice(&bytes).map_err(|_| no_journal(scratch))?;
    Ok(Some(entry))
}

fn no_journal(scratch: &Path) -> anyhow::Error {
    Failure::new(
        format!(
            "{} is not a journal of this program",
            scratch.join(JOURNAL).display()
        ),
        format!(
            "see what is in {}, and remove that directory if you don't need it",
            scratch.display()
        ),
    )
    .into()
}

/// Gives a file another name, also a symlink.
fn link(file: &Path, name: &Path) -> io::Result<()> {
    #[cfg(test)]
    super::tests::linking()?;
    fs::hard_link(file, name)
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Renames a file to a name that nothing has, also if somebody takes it at this moment.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every kernel and file system knows how.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !is_there(to) => fs::rename(from, to),
        done => Ok(done?),
    }
}

/// Makes a directory with mode and owner of another one.
fn make_like(model: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    let (model, made) = (fs::metadata(model)?, fs::metadata(path)?);
    if (model.uid(), model.gid()) != (made.uid(), made.gid()) {
        chown(path, Some(model.uid()), Some(model.gid()))?;
    }
    fs::set_permissions(path, model.permissions())
}

/// Has names survive a crash. A file system that can't do that does without.
pub(crate) fn sync_directory(directory: &Path) {
    if let Ok(file) = File::open(directory) {
        let _ = file.sync_all();
    }
}
