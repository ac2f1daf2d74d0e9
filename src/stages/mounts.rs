//! The root's own file systems, judged like drivers: an initramfs that can't mount its root is as lost
//! as one that does not see the disk.

use anyhow::{Context, Result};

use super::{Judged, Presence, Stage, Verdict};
use crate::kernel::{self, Boot, Finding, Initramfs, Root};
use crate::os::Parts;

/// What `initramfs`, that of `parts`, has to mount `root` with: a row each, named by the module and
/// what it is for (`squashfs (live root)`), so that none is taken for a driver.
pub fn mounts(parts: &Parts<'_>, initramfs: &Initramfs, root: Root<'_>) -> Result<Vec<Presence>> {
    let boot = Boot {
        files: initramfs,
        image: parts.root,
        release: parts.release,
        arguments: parts.arguments,
        initramfs: true,
    };
    let stage = match root {
        Root::Live { .. } => Stage::LiveInitramfs,
        Root::Disk { .. } => Stage::InstallInitramfs,
    };
    let found = kernel::mounts(&boot, root)
        .with_context(|| format!("looking for file systems in {}", stage.name()))?;
    let rows = found.into_iter().map(|mount| Presence {
        driver: format!("{} ({})", mount.module, mount.purpose),
        stage,
        verdict: match mount.finding {
            Finding::Missing(missing) if !mount.needed => Verdict::Judged(Judged::Holds {
                because: format!("it boots without {}", mount.purpose),
                warnings: vec![format!("not from {}: {}", mount.purpose, missing.why)],
            }),
            finding => Verdict::Found(finding),
        },
    });
    Ok(rows.collect())
}

/// What to do so that roots can be mounted; None if they can.
pub fn repair_mounts(table: &[Presence]) -> Option<String> {
    let mut lost = table.iter().filter(|presence| presence.fails());
    let first = lost.next()?;
    let module = first.driver.split(' ').next().unwrap_or_default();
    let sentence = format!(
        "without {module} that boot never gets its root: take away what keeps it out (install and \
         blacklist in modprobe.d, kernel arguments), then have dracut make the initramfs anew:"
    );
    Some(super::below(&sentence, &super::rebuild_instruction(&[])))
}
