//! The edits of a plan, staged to be made all or none.
//!
//! ```text
//! 1  the record                  DIR/.coreos-bake: from here on, undo works
//! 2  each file of the edits      the new content
//! ```
//!
//! The record is what [`super::undo`] goes by, and stays; how all get their names, and what there was before
//! comes back if one doesn't, is [`crate::staging`]'s. Originals in the record are hard links where the file
//! system has them, so that undoing brings back the very same file.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::edit::Edit;
use super::files::{give_to_owner_of, owner, read_limited};
use super::plan::Plan;
use super::record::{Entry, RECORD_DIRECTORY, REPLACED_MAX_BYTES, Record, times_of};
use crate::openshift::Folder;
use crate::staging::{Staged, Staging, Times, sync_directory};

/// Modes of what openshift-install writes.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

impl Plan {
    /// Stages all edits, if there are any, to be published all or none.
    pub fn stage(&self) -> Result<Option<Staged>> {
        if self.edits.is_empty() {
            return Ok(None);
        }
        for edit in &self.edits {
            check_unchanged(self, edit)?;
        }
        let times = times_of(&self.directory)?;
        // What is replaced is known.
        let staging = Staging::new(&self.directory, true)?;
        let bytes = self.edits.iter().map(|edit| edit.after.len() as u64).sum();
        stage_all(self, &staging, &times).map_err(|error| staging.room().explain(error, bytes))?;
        let edits = self.edits.iter().map(|edit| edit.path.clone());
        let names = [RECORD_DIRECTORY.to_owned()].into_iter().chain(edits);
        Ok(Some(Staged {
            names: names.collect(),
            staging,
        }))
    }
}

/// The plan was made from a content; it has to be there still.
fn check_unchanged(plan: &Plan, edit: &Edit) -> Result<()> {
    let path = plan.directory.join(&edit.path);
    let now = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        _ => Some(read_limited(&path, REPLACED_MAX_BYTES)?),
    };
    if now != edit.before {
        bail!("{} is being changed by somebody else", path.display());
    }
    Ok(())
}

/// Folders that have to be made.
fn missing_folders(plan: &Plan) -> Vec<&'static str> {
    let is_needed = |folder: &&str| {
        let prefix = format!("{folder}/");
        let mut paths = plan.edits.iter().map(|edit| &edit.path);
        paths.any(|path| path.starts_with(&prefix)) && !plan.directory.join(folder).exists()
    };
    let folders = [Folder::Manifests, Folder::Openshift].map(Folder::as_str);
    folders.into_iter().filter(is_needed).collect()
}

fn stage_all(plan: &Plan, staging: &Staging, times: &Times) -> Result<()> {
    stage_record(plan, staging, times)?;
    for edit in &plan.edits {
        write_new(plan, edit, staging)
            .with_context(|| format!("writing {}", plan.directory.join(&edit.path).display()))?;
    }
    Ok(())
}

fn stage_record(plan: &Plan, staging: &Staging, times: &Times) -> Result<()> {
    let place = staging.path(RECORD_DIRECTORY);
    DirBuilder::new()
        .mode(0o700)
        .create(&place)
        .and_then(|()| give_to_owner_of(&plan.directory, &place))
        .with_context(|| format!("making {}", place.display()))?;
    let replaced = plan.edits.iter().enumerate();
    for (index, edit) in replaced.filter(|(_, edit)| edit.before.is_some()) {
        let target = plan.directory.join(&edit.path);
        keep(&target, &place.join(index.to_string()))
            .with_context(|| format!("keeping {}", target.display()))?;
    }
    let folders = missing_folders(plan);
    for folder in &folders {
        let path = staging.path(folder);
        DirBuilder::new()
            .mode(FOLDER_MODE)
            .create(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(FOLDER_MODE)))
            .and_then(|()| give_to_owner_of(&plan.directory, &path))
            .with_context(|| format!("making {}", path.display()))?;
    }
    let entries = plan.edits.iter().map(Entry::new).collect();
    Record::new(plan.state, &plan.settings, entries, &folders, times)
        .write(&place)
        .with_context(|| format!("writing a record to {}", plan.directory.display()))?;
    sync_directory(&place);
    Ok(())
}

fn write_new(plan: &Plan, edit: &Edit, staging: &Staging) -> Result<()> {
    let target = plan.directory.join(&edit.path);
    let new = &staging.path(&edit.path);
    let mut file = staging.create(&edit.path)?;
    // Until it is known whose it is.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(&edit.after)?;
    let mode = match &edit.before {
        None => {
            let folder = target.parent().filter(|folder| folder.exists());
            give_to_owner_of(folder.unwrap_or(&plan.directory), new)?;
            FILE_MODE
        }
        Some(_) => {
            let old = fs::metadata(&target)?;
            if owner(&file.metadata()?) != owner(&old) {
                chown(new, Some(old.uid()), Some(old.gid())).context("keeping its owner")?;
            }
            old.mode() & 0o7777
        }
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    Ok(())
}

/// Keeps a file under another name: the very same one, or a copy where there are no links.
fn keep(file: &Path, kept: &Path) -> io::Result<()> {
    match fs::hard_link(file, kept) {
        Ok(()) => Ok(()),
        Err(_) => copy(file, kept),
    }
}

pub(super) fn copy(file: &Path, kept: &Path) -> io::Result<()> {
    fs::copy(file, kept)?;
    let old = fs::metadata(file)?;
    let copy = File::open(kept)?;
    if owner(&copy.metadata()?) != owner(&old) {
        chown(kept, Some(old.uid()), Some(old.gid()))?;
    }
    copy.set_permissions(old.permissions())?;
    copy.set_modified(old.modified()?)?;
    copy.sync_all()
}
