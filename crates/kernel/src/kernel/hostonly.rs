//! Whether an initramfs was made for one machine only: dracut's host-only mode, which leaves out the
//! drivers that the machine it ran on had no use for. In a container build that machine is the
//! builder.
//!
//! ```text
//! lib/dracut/build-parameter.txt           the options dracut was called with
//! lib/dracut/hostonly-kernel-modules.txt   only in the mode `strict`
//! lib/dracut/hostonly-files                files that were taken from the machine
//! ```
//!
//! Where the mode comes from dracut.conf alone, there may be no trace of it but the last two, or none.
//!
//! Semantics: dracut 059 (`dracut.sh`, `dracut-init.sh`). Checked against dracut.

use anyhow::Result;

use super::files::Files;

/// Where dracut leaves traces.
const DIRECTORIES: [&str; 2] = ["usr/lib/dracut", "lib/dracut"];

/// The evidence that an initramfs is for one machine, in a sentence; None if there is none.
pub fn host_only(initramfs: &dyn Files) -> Result<Option<String>> {
    for directory in DIRECTORIES {
        let text = |name: &str| -> Result<Option<String>> {
            let bytes = initramfs.read(&format!("{directory}/{name}"))?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        // Options count more than configuration, and the last one most.
        let options = text("build-parameter.txt")?.unwrap_or_default();
        let mode = options
            .split_ascii_whitespace()
            .map(|word| word.trim_matches('\''))
            .filter_map(|option| {
                let on = match option {
                    "-H" | "--hostonly" | "--host-only" => true,
                    "-N" | "--no-hostonly" | "--no-host-only" => false,
                    _ => return None,
                };
                Some((on, option))
            })
            .next_back();
        match mode {
            Some((false, _)) => return Ok(None),
            Some((true, option)) => {
                return Ok(Some(format!(
                    "the initramfs is for one machine: dracut was called with {option}, as {directory}/build-parameter.txt says"
                )));
            }
            None => {}
        }
        if initramfs.exists(&format!("{directory}/hostonly-kernel-modules.txt"))? {
            return Ok(Some(format!(
                "the initramfs is for one machine: there is {directory}/hostonly-kernel-modules.txt"
            )));
        }
        let files = text("hostonly-files")?.unwrap_or_default();
        if let Some(first) = files.lines().find(|line| !line.trim().is_empty()) {
            return Ok(Some(format!(
                "the initramfs is for one machine: {directory}/hostonly-files names {} as from there",
                first.trim()
            )));
        }
    }
    Ok(None)
}
