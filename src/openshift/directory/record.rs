//! What there was before an install directory was prepared, in `DIR/.coreos-bake`, and its return.
//!
//! ```text
//! prepare.json  the edits with their hashes, folders that were made, times of directories
//! 0, 1, …       originals of replaced files, by the number of the edit
//! ```
//!
//! The record is there before the first edit and goes after the last one is undone, so both can be
//! stopped at any time and finished by undoing. It is read like anybody's file: names in it lead
//! nowhere but to what is written here.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::edit::Edit;
use super::files::{give_to_owner_of, read_limited, sha256};
use super::state::{State, recognise};
use crate::failure::Failure;
use crate::staging::{TakenBack, Times, clear_leftovers, hold_signals, sync_directory};

/// Where the record is.
pub(super) const RECORD_DIRECTORY: &str = ".coreos-bake";

/// Largest file that is replaced or restored; twice the largest config that is read.
pub(super) const REPLACED_MAX_BYTES: u64 = 64 << 20;

const RECORD: &str = "prepare.json";
const SCHEMA: &str = "coreos-bake/prepared/v1";

/// Largest record. One edit takes some 300 bytes.
const RECORD_MAX_BYTES: u64 = 1 << 20;

/// Folders that files are written to, and with the directory itself all whose times change.
const FOLDERS: [&str; 2] = ["manifests", "openshift"];

/// A preparation, as it was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Record {
    schema: String,
    state: State,
    settings: String,
    edits: Vec<Entry>,
    folders: Vec<String>,
    times: Times,
}

/// One edit, with SHA-256 of the file before and after.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry {
    path: String,
    before: Option<String>,
    after: String,
}

/// What was undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Files that are as they were.
    pub restored: Vec<String>,
    /// Files that are gone again.
    pub removed: Vec<String>,
    /// Whether openshift-install had consumed what was prepared: then nothing but the record is gone.
    pub consumed: bool,
}

impl Undone {
    /// What a preparation had done that was killed before it was done.
    fn of(directory: &Path, taken: TakenBack) -> Self {
        let root = directory.canonicalize().unwrap_or_default();
        let told = |paths: Vec<PathBuf>| {
            let inside = paths
                .iter()
                .filter_map(|path| path.strip_prefix(&root).ok());
            let inside = inside.filter(|path| !path.starts_with(RECORD_DIRECTORY));
            let mut names: Vec<String> = inside.map(|path| path.display().to_string()).collect();
            names.sort();
            names
        };
        Self {
            restored: told(taken.restored),
            removed: told(taken.removed),
            consumed: false,
        }
    }
}

impl Entry {
    pub(super) fn new(edit: &Edit) -> Self {
        Self {
            path: edit.path.clone(),
            before: edit.before.as_deref().map(sha256),
            after: edit.sha256(),
        }
    }

    /// Whether the file is one that is ever written.
    fn is_sane(&self) -> bool {
        let is_name = |name: &str| !name.is_empty() && !name.contains(['/', '\0']) && name != "..";
        match self.path.split_once('/') {
            Some((folder, name)) => FOLDERS.contains(&folder) && is_name(name),
            None => self.path.ends_with(".ign"),
        }
    }

    /// The hash of the file as it is now, if it is there.
    fn now(&self, directory: &Path) -> Result<Option<String>> {
        let path = directory.join(&self.path);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(sha256(&read_limited(&path, REPLACED_MAX_BYTES)?))),
        }
    }
}

/// When the directory and its folders were last changed.
pub(super) fn times_of(directory: &Path) -> Result<Times> {
    Times::of(directory, [""].into_iter().chain(FOLDERS))
        .with_context(|| format!("reading {}", directory.display()))
}

impl Record {
    pub(super) fn new(
        state: State,
        settings: &str,
        edits: Vec<Entry>,
        folders: &[&str],
        times: &Times,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            state,
            settings: settings.to_owned(),
            edits,
            folders: folders.iter().map(|&folder| folder.to_owned()).collect(),
            times: times.clone(),
        }
    }

    /// The record of a directory, if it has one.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(RECORD_DIRECTORY).join(RECORD);
        if fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let bytes = read_limited(&path, RECORD_MAX_BYTES)?;
        let is_sane = |record: &Self| {
            let mut folders = record.folders.iter();
            let mut timed = record.times.places();
            record.schema == SCHEMA
                && record.edits.iter().all(Entry::is_sane)
                && folders.all(|folder| FOLDERS.contains(&folder.as_str()))
                && timed.all(|place| place.is_empty() || FOLDERS.contains(&place))
        };
        let record = serde_json::from_slice(&bytes).ok().filter(is_sane);
        match record {
            Some(record) => Ok(Some(record)),
            None => Err(Failure::new(
                format!("{} is no record of a preparation", path.display()),
                "if you can do without --undo, remove the directory that it is in",
            )
            .into()),
        }
    }

    pub(super) fn write(&self, place: &Path) -> io::Result<()> {
        let path = place.join(RECORD);
        let text = serde_json::to_string_pretty(self).expect("a record is JSON");
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        give_to_owner_of(place, &path)?;
        file.sync_all()
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn settings(&self) -> &str {
        &self.settings
    }

    /// Whether a file is there because of this.
    pub(super) fn made(&self, path: &str) -> bool {
        let mut edits = self.edits.iter();
        edits.any(|edit| edit.before.is_none() && edit.path == path)
    }

    /// Fails if a file is not as it was left.
    pub(super) fn check_done(&self, directory: &Path) -> Result<()> {
        for edit in &self.edits {
            if edit.now(directory)?.as_deref() != Some(edit.after.as_str()) {
                let path = directory.join(&edit.path);
                return Err(Failure::new(
                    format!("{} is not as prepare has left it", path.display()),
                    "restore the directory with --undo, if need be with --force, and prepare it again",
                )
                .into());
            }
        }
        Ok(())
    }

    /// Whether openshift-install has read and deleted what was prepared. A preparation that was stopped
    /// before its first file got its name looks the same, but the directory's stage is still its own.
    fn is_consumed(&self, directory: &Path) -> Result<bool> {
        for edit in &self.edits {
            if edit.before.is_some() || edit.now(directory)?.is_some() {
                return Ok(false);
            }
        }
        Ok(!recognise(directory).is_ok_and(|state| state == self.state))
    }

    /// Fails if a file is neither as it was left nor as it was before.
    fn check_unchanged(&self, directory: &Path) -> Result<()> {
        for edit in &self.edits {
            let now = edit.now(directory)?;
            if now == edit.before || now.as_deref() == Some(edit.after.as_str()) {
                continue;
            }
            let path = directory.join(&edit.path);
            let (what, hint) = match now {
                Some(_) => ("has been changed", "--force drops the change"),
                None => ("is gone", "--force brings it back as it was"),
            };
            return Err(Failure::new(
                format!("{} {what} since it was prepared", path.display()),
                hint,
            )
            .into());
        }
        Ok(())
    }

    fn original(&self, directory: &Path, index: usize) -> PathBuf {
        directory.join(RECORD_DIRECTORY).join(index.to_string())
    }

    /// The edits that have to be undone, with the number of each.
    fn changed(&self, directory: &Path) -> Result<Vec<(usize, &Entry)>> {
        let mut changed = Vec::new();
        for (index, edit) in self.edits.iter().enumerate() {
            if edit.now(directory)? == edit.before {
                continue;
            }
            if let Some(before) = &edit.before {
                let original = self.original(directory, index);
                if sha256(&read_limited(&original, REPLACED_MAX_BYTES)?) != *before {
                    bail!("{} has been changed", original.display());
                }
            }
            changed.push((index, edit));
        }
        Ok(changed)
    }

    /// Removes the record, so that it can be read for as long as anything of it is needed.
    fn remove(&self, directory: &Path) -> Result<()> {
        let place = directory.join(RECORD_DIRECTORY);
        let originals = (0..self.edits.len()).map(|index| self.original(directory, index));
        for path in originals.chain([place.join(RECORD)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        fs::remove_dir(&place).with_context(|| format!("removing {}", place.display()))
    }
}

/// Restores a directory as it was before it was prepared, also if the program was killed while it did that. With `force`, also over changes that were
/// made since.
pub fn undo(directory: &Path, force: bool) -> Result<Undone> {
    let taken = clear_leftovers(directory)?;
    if !taken.is_empty() {
        return Ok(Undone::of(directory, taken));
    }
    let Some(record) = Record::read(directory)? else {
        return Err(Failure::new(
            format!("{} is not prepared", directory.display()),
            "name the directory that prepare was given",
        )
        .into());
    };
    let mut undone = Undone {
        consumed: record.is_consumed(directory)?,
        ..Undone::default()
    };
    if !force {
        if undone.consumed {
            return Err(Failure::new(
                format!(
                    "openshift-install has consumed what was prepared in {}",
                    directory.display()
                ),
                "nothing is left to restore; --force removes the record",
            )
            .into());
        }
        record.check_unchanged(directory)?;
    }
    // A signal comes before all of this or after. Where the program is killed, the next run goes on: the
    // record is removed last.
    let mut signals = hold_signals();
    for (index, edit) in record.changed(directory)? {
        let path = directory.join(&edit.path);
        let (result, list) = match edit.before {
            Some(_) => (
                fs::rename(record.original(directory, index), &path),
                &mut undone.restored,
            ),
            None => (fs::remove_file(&path), &mut undone.removed),
        };
        result.with_context(|| format!("restoring {}", path.display()))?;
        list.push(edit.path.clone());
    }
    for folder in &record.folders {
        // Others may have put something into it since.
        let _ = fs::remove_dir(directory.join(folder));
    }
    sync_directory(directory);
    record.remove(directory)?;
    record.times.restore(directory);
    signals.finish();
    Ok(undone)
}
