//! Drivers of a live boot whose root file system is not at hand: its initramfs is judged, and all later
//! stages go on with a root that nobody has looked into.

use anyhow::Result;

use super::{LIVE, Presence, Stage, Verdict, check};
use crate::kernel::Initramfs;
use crate::os::Parts;

/// Judges `drivers` in `initramfs` alone, for kernel `release` with these arguments. The other stages are
/// open; `why` says what would make them known.
pub fn check_rootless(
    parts: &Parts<'_>,
    initramfs: &Initramfs,
    drivers: &[String],
    why: &str,
) -> Result<Vec<Presence>> {
    let mut table = check(parts, initramfs, drivers, &LIVE)?;
    table.retain(|row| row.stage == Stage::LiveInitramfs);
    for driver in drivers {
        // Whether it goes into a cluster, its root would tell.
        let later = Stage::ALL
            .into_iter()
            .filter(|stage| *stage != Stage::LiveInitramfs);
        table.extend(later.map(|stage| Presence {
            driver: driver.clone(),
            stage,
            verdict: Verdict::open(why),
        }));
    }
    Ok(table)
}
