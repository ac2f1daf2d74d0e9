//! `coreos-bake verify`: whether media are as they were made.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::Outcome;
use super::terminal::Terminal;
use crate::failure::Failure;
use crate::foreign::visible;
use crate::image::ImageRef;
use crate::paragraph::hanging;
use crate::readback::unmatched;
use crate::verify::{Part, Request, verify};

/// Tell whether media are as they were made
///
/// A medium, a device that one was written to, or a directory of media is compared
/// with bake.json or sha256sum.txt where that lies beside it, and looked at part by
/// part: partition tables and their backups, file systems, each object of the ostree
/// repository against its name, the live root against what its initramfs takes, the
/// disk images that the ISO installs. Nothing is mounted and nothing is written.
/// Stops at the first thing that is damaged, and exits with 1.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// ISO, disk image, device, or directory of media
    #[arg(value_name = "MEDIUM|DIR|DEVICE")]
    path: PathBuf,
    /// Checksums that lie elsewhere: bake.json or sha256sum.txt
    ///
    /// With bake.json, a device or a renamed file is recognised by its beginning.
    #[arg(long, value_name = "FILE")]
    sums: Option<PathBuf>,
    /// Root file system that a minimal ISO fetches
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,
    /// Threads to work with
    #[arg(long, value_name = "N", env = "COREOS_BAKE_THREADS")]
    threads: Option<NonZeroUsize>,
}

impl VerifyArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let threads = self
            .threads
            .or_else(|| std::thread::available_parallelism().ok());
        let request = Request {
            path: &self.path,
            rootfs: self.rootfs.as_deref(),
            sums: self.sums.as_deref(),
            threads: threads.unwrap_or(NonZeroUsize::MIN),
        };
        let subject = self.path.to_string_lossy();
        if let Some(mistake) = unmatched(&subject) {
            return Err(mistake.into());
        }
        if !self.path.exists() && subject.parse::<ImageRef>().is_ok() {
            return Err(Failure::new(
                format!("{} is an image, and media are verified", visible(&subject)),
                "an image is compared with its digests whenever it is read",
            )
            .into());
        }
        let verified = verify(&request, terminal)?;
        let parts: Vec<_> = verified.parts.iter().map(value).collect();
        let value = json!({
            "schema": "coreos-bake/verify/v1",
            "path": self.path.display().to_string(),
            "sound": verified.is_sound(),
            "parts": parts,
            "notes": verified.notes,
        });
        let mut text = String::new();
        let mut medium = "";
        let width = verified.parts.iter().map(|part| part.name.len()).max();
        let width = width.unwrap_or_default();
        for part in &verified.parts {
            if part.medium != medium {
                medium = &part.medium;
                text += &format!("{}\n", visible(medium));
            }
            let (mark, told) = match &part.told {
                Ok(told) => (terminal.good("✓"), told),
                Err(told) => (terminal.bad("✗"), told),
            };
            let first = format!("  {mark} {:width$}  ", part.name);
            text += &hanging(&first, &visible(told), terminal.columns());
        }
        for note in &verified.notes {
            text += &hanging("note: ", &visible(note), terminal.columns());
        }
        terminal.result(&value, &text)?;
        Ok(match verified.is_sound() {
            true => Outcome::Done,
            false => Outcome::Failed,
        })
    }
}

fn value(part: &Part) -> serde_json::Value {
    let (compared, damage) = match &part.told {
        Ok(told) => (Some(told), None),
        Err(told) => (None, Some(told)),
    };
    json!({
        "medium": part.medium,
        "part": part.name,
        "compared": compared,
        "damage": damage,
    })
}
