//! Making the edits of a plan: all of them or none.
//!
//! ```text
//! 1  new contents, originals and the record to DIR/.coreos-bake-XXXXXX   gone if anything fails
//! 2  the record to DIR/.coreos-bake                                      from here on undo works
//! 3  each file to its place, by renaming
//! ```
//!
//! Originals are hard links where the file system has them, so that undoing brings back the very
//! same file. A failure puts back what was done; whoever stops the program in the middle of step 3
//! leaves a record by which undo puts it back.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::plan::{Edit, Plan};
use super::read_limited;
use super::record::{Entry, RECORD_DIRECTORY, REPLACED_MAX_BYTES, Record, Times};
use crate::openshift::Folder;
use crate::staging::Staging;

/// Modes of what openshift-install writes.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

pub(super) fn execute(plan: &Plan) -> Result<()> {
    if plan.edits.is_empty() {
        return Ok(());
    }
    for edit in &plan.edits {
        check_unchanged(plan, edit)?;
    }
    let times = Times::of(&plan.directory)?;
    let result = Staging::new(&plan.directory, false).and_then(|staging| {
        let folders = missing_folders(plan);
        stage(plan, staging.directory(), &folders, &times)?;
        staging.publish_by(|scratch| name(plan, scratch, &folders))
    });
    if result.is_err() {
        times.restore(&plan.directory);
    }
    result
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

/// Step 1.
fn stage(plan: &Plan, scratch: &Path, folders: &[&str], times: &Times) -> Result<()> {
    let record = scratch.join("record");
    DirBuilder::new()
        .mode(0o700)
        .create(&record)
        .and_then(|()| give_to_owner_of(&plan.directory, &record))
        .with_context(|| format!("making {}", record.display()))?;
    for (index, edit) in plan.edits.iter().enumerate() {
        let index = index.to_string();
        let target = plan.directory.join(&edit.path);
        write_new(plan, edit, &scratch.join(&index))
            .with_context(|| format!("writing {}", target.display()))?;
        if edit.before.is_some() {
            keep(&target, &record.join(&index))
                .with_context(|| format!("keeping {}", target.display()))?;
        }
    }
    let entries = plan.edits.iter().map(Entry::new).collect();
    Record::new(plan.state, &plan.settings, entries, folders, times)
        .write(&record)
        .with_context(|| format!("writing a record to {}", plan.directory.display()))?;
    sync_directory(&record);
    Ok(())
}

/// Steps 2 and 3.
fn name(plan: &Plan, scratch: &Path, folders: &[&'static str]) -> Result<()> {
    let place = plan.directory.join(RECORD_DIRECTORY);
    let stale = scratch.join("stale");
    let naming = || format!("naming {}", place.display());
    let has_stale = fs::symlink_metadata(&place).is_ok();
    if has_stale {
        fs::rename(&place, &stale).with_context(naming)?;
    }
    let mut done = Vec::new();
    let result = fs::rename(scratch.join("record"), &place)
        .with_context(naming)
        .and_then(|()| name_edits(plan, scratch, folders, &mut done));
    if result.is_err() {
        put_back(plan, &done, folders);
        if has_stale {
            let _ = fs::rename(&stale, &place);
        }
    }
    result
}

/// Step 3; `done` has what of it is done.
fn name_edits<'a>(
    plan: &'a Plan,
    scratch: &Path,
    folders: &[&str],
    done: &mut Vec<(usize, &'a Edit)>,
) -> Result<()> {
    sync_directory(&plan.directory);
    for folder in folders {
        let path = plan.directory.join(folder);
        DirBuilder::new()
            .mode(FOLDER_MODE)
            .create(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(FOLDER_MODE)))
            .and_then(|()| give_to_owner_of(&plan.directory, &path))
            .with_context(|| format!("making {}", path.display()))?;
    }
    for (index, edit) in plan.edits.iter().enumerate() {
        let target = plan.directory.join(&edit.path);
        fs::rename(scratch.join(index.to_string()), &target)
            .with_context(|| format!("naming {}", target.display()))?;
        done.push((index, edit));
        sync_directory(target.parent().unwrap_or(&plan.directory));
    }
    Ok(())
}

/// Takes back what was done before something failed.
fn put_back(plan: &Plan, done: &[(usize, &Edit)], folders: &[&str]) {
    let place = plan.directory.join(RECORD_DIRECTORY);
    let mut is_back = true;
    for (index, edit) in done {
        let target = plan.directory.join(&edit.path);
        let result = match edit.before {
            Some(_) => fs::rename(place.join(index.to_string()), &target),
            None => fs::remove_file(&target),
        };
        is_back &= result.is_ok();
    }
    for folder in folders {
        // It isn't there if making it was what failed.
        let _ = fs::remove_dir(plan.directory.join(folder));
    }
    // With an original that couldn't be put back, the record is what is left of it.
    if is_back {
        let _ = fs::remove_dir_all(&place);
    }
}

fn write_new(plan: &Plan, edit: &Edit, new: &Path) -> Result<()> {
    let target = plan.directory.join(&edit.path);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)?;
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

fn owner(metadata: &Metadata) -> (u32, u32) {
    (metadata.uid(), metadata.gid())
}

/// Whoever owns the directory has to be able to read what is new in it, also if we are root.
pub(super) fn give_to_owner_of(directory: &Path, new: &Path) -> io::Result<()> {
    let theirs = owner(&fs::metadata(directory)?);
    let is_root = rustix::process::geteuid().is_root();
    match is_root && theirs != owner(&fs::metadata(new)?) {
        true => chown(new, Some(theirs.0), Some(theirs.1)),
        false => Ok(()),
    }
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

/// Has names survive a crash. A file system that can't do that does without.
pub(super) fn sync_directory(directory: &Path) {
    if let Ok(file) = File::open(directory) {
        let _ = file.sync_all();
    }
}
