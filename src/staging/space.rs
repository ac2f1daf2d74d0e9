//! How much room there is for what is about to be written, and what is said when it was not enough.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use crate::failure::Failure;

/// The room in a directory, as it was when somebody looked.
#[derive(Clone, Debug)]
pub struct Room {
    directory: PathBuf,
    free_bytes: Option<u64>,
}

impl Room {
    /// The room in `directory`, or, if that is not there yet, where it will be made.
    pub fn of(directory: &Path) -> Self {
        let there = directory.ancestors().find(|path| path.exists());
        let there = there.filter(|path| !path.as_os_str().is_empty());
        let found = rustix::fs::statvfs(there.unwrap_or(Path::new(".")));
        Self {
            directory: directory.to_owned(),
            free_bytes: found
                .ok()
                .map(|found| found.f_bavail.saturating_mul(found.f_frsize)),
        }
    }

    /// How many bytes an ordinary user can write; nothing where the file system doesn't tell.
    pub fn free_bytes(&self) -> Option<u64> {
        self.free_bytes
    }

    /// What is needed and what is there. `what` says of what it is the sum.
    pub fn told(&self, needed_bytes: u64, what: &str) -> String {
        let place = self.directory.display();
        let needed = HumanBytes(needed_bytes);
        match self.free_bytes {
            Some(free) => format!(
                "{place} needs about {needed} {what}; {} are free",
                HumanBytes(free)
            ),
            None => format!("{place} needs about {needed} {what}"),
        }
    }

    /// What to tell if about `needed_bytes` are going to be written, and that much isn't free.
    pub fn doubt(&self, needed_bytes: u64) -> Option<String> {
        let free = self.free_bytes.filter(|free| *free < needed_bytes)?;
        Some(format!(
            "about {} will be needed in {}, and {} are free",
            HumanBytes(needed_bytes),
            self.directory.display(),
            HumanBytes(free)
        ))
    }

    /// Refuses to begin with what takes `least_bytes` for certain, and about `needed_bytes`.
    pub fn require(&self, least_bytes: u64, needed_bytes: u64) -> Result<(), Failure> {
        match self.free_bytes {
            Some(free) if free < least_bytes => Err(self.failure(needed_bytes)),
            _ => Ok(()),
        }
    }

    /// An error that is for want of space, said by the directory that the user knows; any other as it is.
    /// `needed_bytes` is an estimate.
    pub fn explain(&self, error: anyhow::Error, needed_bytes: u64) -> anyhow::Error {
        let is_full = |cause: &(dyn std::error::Error + 'static)| {
            let kind = cause.downcast_ref().map(io::Error::kind);
            matches!(
                kind,
                Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            )
        };
        match error.chain().any(is_full) {
            true => self.failure(needed_bytes).into(),
            false => error,
        }
    }

    fn failure(&self, needed_bytes: u64) -> Failure {
        let place = self.directory.display();
        let sentence = match self.free_bytes {
            Some(free) if free < needed_bytes => format!(
                "no space left in {place}: about {} are needed, and {} were free",
                HumanBytes(needed_bytes),
                HumanBytes(free)
            ),
            // Others write there, too, or a quota is narrower than the disk.
            Some(free) => format!(
                "no space left in {place}: more is needed than the {} that were free",
                HumanBytes(free)
            ),
            None => format!(
                "no space left in {place}: about {} are needed",
                HumanBytes(needed_bytes)
            ),
        };
        let hint = match self.directory == std::env::temp_dir() {
            true => "name a directory on a larger disk in the environment variable TMPDIR",
            false => "make room there, or write to a directory on a larger disk",
        };
        Failure::new(sentence, hint)
    }
}
