//! Output files appear whole or not at all, and all of them or none.
//!
//! ```text
//! scratch   a hidden directory beside the final places, removed however the program ends
//! journal   files get their names, and what they replace comes back if one of them can't
//! times     when directories were last changed
//! space     how much room there is
//! ```
//!
//! Everything is written in a scratch directory in the output directory, on the same file system, and
//! renamed at the end. Whoever stops us before that, by an error or a signal, finds no file under a final
//! name. Where naming is what fails, all is as it was before; where the program is killed at that moment, the
//! next run into the directory sees to it.

mod journal;
mod scratch;
mod space;
mod times;

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::journal::{Journal, Part, new_files};
use crate::failure::Failure;

pub(crate) use self::journal::sync_directory;
pub use self::journal::{TakenBack, clear_leftovers};
pub(crate) use self::scratch::hold_signals;
pub(crate) use self::scratch::is_scratch;
pub use self::scratch::{Abandoned, Scratch, abandon};
pub use self::space::Room;
pub(crate) use self::times::Times;

/// Files on their way to an output directory.
#[derive(Debug)]
pub struct Staging {
    output: PathBuf,
    new: PathBuf,
    scratch: Option<Scratch>,
    room: Room,
    /// When the output directory was last changed.
    time: Times,
    force: bool,
}

/// What is staged, and the names that it gets.
#[derive(Debug)]
pub struct Staged {
    /// The files.
    pub staging: Staging,
    /// Paths in the output directory, in the order in which they get there.
    pub names: Vec<String>,
}

impl Staging {
    /// Prepares to write into `output`, making it if needed, after clearing what killed runs have left
    /// there. With `force`, files of the same names will be replaced.
    pub fn new(output: &Path, force: bool) -> Result<Self> {
        clear_leftovers(output)?;
        let room = Room::of(output);
        let make = || {
            let time = Times::of(output, [""])?;
            let scratch = Scratch::new_at(output, time.clone())?;
            let new = new_files(scratch.path());
            fs::create_dir(&new)?;
            Ok((time, scratch, new))
        };
        let made: io::Result<_> = make();
        let (time, scratch, new) = made
            .with_context(|| format!("writing to output directory {}", output.display()))
            .map_err(|error| room.explain(error, 0))?;
        Ok(Self {
            output: output.to_owned(),
            new,
            scratch: Some(scratch),
            room,
            time,
            force,
        })
    }

    /// Where `name` is while it is being written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.new.join(name)
    }

    /// The directory that files are in until they are named, and scratch files without a name.
    pub fn directory(&self) -> &Path {
        &self.new
    }

    /// How much room there was before anything was written.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Makes the file that will become `name`, which may be a path with directories in it.
    pub fn create(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        let _not_while_abandoned = hold_signals();
        let directory = path.parent().unwrap_or(&path);
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
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

    /// Refuses names that can't be given in the output directory: see [`check_free`].
    pub fn check_free<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for name in names {
            // A directory that is staged as a whole replaces a whole one.
            let replaces_directory = self.force && self.path(name).is_dir();
            check_name(&self.output, name, self.force, replaces_directory)?;
        }
        Ok(())
    }

    /// Gives every staged file its final name: all of them, or, when one can't have it, none, and all is as
    /// it was.
    pub fn publish(self, names: &[String]) -> Result<()> {
        publish(vec![Staged {
            staging: self,
            names: names.to_vec(),
        }])
    }

    fn sync(&self, names: &[String]) -> Result<()> {
        for name in names {
            File::open(self.path(name))
                .and_then(|file| file.sync_all())
                .with_context(|| format!("writing {name} to disk"))?;
        }
        Ok(())
    }

    fn scratch(&self) -> &Scratch {
        self.scratch.as_ref().expect("present until published")
    }
}

/// Gives all staged files of several directories their final names, or none of them, and all is as it was.
pub fn publish(mut all: Vec<Staged>) -> Result<()> {
    for staged in &all {
        staged.staging.sync(&staged.names)?;
    }
    // Declared after what is staged, so that it goes before: removing that takes it, too.
    let mut open = hold_signals();
    let mut parts = Vec::new();
    for Staged { staging, names } in &all {
        staging.check_free(names.iter().map(String::as_str))?;
        parts.push(Part::new(
            staging.scratch().path(),
            names,
            staging.time.clone(),
        )?);
    }
    let journal = Journal::begin(parts)?;
    let done = journal.execute();
    #[cfg(test)]
    let is_killed = tests::is_killed();
    #[cfg(not(test))]
    let is_killed = false;
    let taken_back = match &done {
        Err(_) if !is_killed => journal.take_back().map(|_| ()),
        _ => Ok(()),
    };
    let is_kept = is_killed || taken_back.is_err();
    for staging in all.iter_mut().map(|staged| &mut staged.staging) {
        let Some(scratch) = staging.scratch.take() else {
            continue;
        };
        match is_kept {
            true => scratch.leave(&mut open),
            false => {
                if done.is_ok() {
                    scratch.keep_parents(&mut open);
                    staging.time = Times::default();
                    open.finish();
                }
                // What can't be removed is cleared by the next run.
                let _ = scratch.remove(&mut open);
            }
        }
    }
    if done.is_err() && !is_kept {
        journal.restore_times();
    }
    match (done, taken_back) {
        (Err(error), Err(second)) => Err(Failure::new(
            format!("{error:#}, and what was there before could not be put back: {second:#}"),
            "repeat the command when the cause is mended: it begins by putting it back",
        )
        .into()),
        (done, _) => done,
    }
}

/// Refuses names that can't be given in `output`, which need not be there: a directory has the name, or a
/// file unless told to replace it, or what should be a directory is none.
pub fn check_free<'a>(
    output: &Path,
    names: impl IntoIterator<Item = &'a str>,
    force: bool,
) -> Result<()> {
    let mut names = names.into_iter();
    names.try_for_each(|name| check_name(output, name, force, false))
}

fn check_name(output: &Path, name: &str, force: bool, replaces_directory: bool) -> Result<()> {
    for folder in Path::new(name).ancestors().skip(1) {
        let folder = output.join(folder);
        if fs::symlink_metadata(&folder).is_ok() && !folder.is_dir() {
            return Err(Failure::new(
                format!("{} is in the way of a directory", folder.display()),
                "choose another output directory, or move it away",
            )
            .into());
        }
    }
    let path = output.join(name);
    match fs::symlink_metadata(&path) {
        Ok(old) if old.is_dir() && !replaces_directory => {
            bail!("{} is a directory", path.display())
        }
        Ok(_) if !force => Err(Failure::new(
            format!("{} exists", path.display()),
            "choose another output directory, or replace the files with --force",
        )
        .into()),
        _ => Ok(()),
    }
}

/// Refuses an output directory that nothing can be written to. It need not be there, and is not made.
pub fn check_writable(output: &Path) -> Result<()> {
    let there = output.ancestors().find(|path| path.exists());
    let there = there.filter(|path| !path.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(Failure::new(
            format!("{} is not a directory", there.display()),
            "choose another place to write to, or move it away",
        )
        .into());
    }
    rustix::fs::access(
        there,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .with_context(|| format!("writing to output directory {}", output.display()))
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            drop(scratch);
            self.time.restore(&self.output);
        }
    }
}
