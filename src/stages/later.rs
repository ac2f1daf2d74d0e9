//! Initramfs that are made anew after the image is finished: on nodes, or in a Containerfile on top.
//! Does dracut take the driver then, when nobody names it on the command line?

use anyhow::{Context, Result};

use super::{Presence, Stage, Verdict};
use crate::kernel::{self, Files, Finding, canonical_name};

/// Something that has initramfs made anew on nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerun {
    /// Who does what, with the object and its file.
    pub what: String,
    /// Whether it will run, and is known to do just that.
    pub certain: bool,
}

/// The `drivers` that dracut would leave out of an initramfs that it makes of a root with the modules
/// of kernel `release`; `initramfs` is the one that is there now.
pub fn left_out(
    root: &dyn Files,
    initramfs: &dyn Files,
    release: &str,
    drivers: &[String],
) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for driver in drivers {
        if kept(root, initramfs, release, driver)?.lost().is_some() {
            left.push(driver.clone());
        }
    }
    Ok(left)
}

fn kept(
    root: &dyn Files,
    initramfs: &dyn Files,
    release: &str,
    driver: &str,
) -> Result<kernel::Kept> {
    kernel::kept(root, initramfs, release, driver)
        .with_context(|| format!("judging what dracut does about driver {driver}"))
}

/// Says at [`Stage::InstallRoot`], of which later initramfs are made, what becomes of drivers in them:
/// a warning, and a failure where one of `reruns` is certain. Gives the drivers that are left out.
pub fn keep(
    table: &mut [Presence],
    root: &dyn Files,
    initramfs: &dyn Files,
    release: &str,
    reruns: &[Rerun],
) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for presence in table {
        let (Stage::InstallRoot, Verdict::Found(Finding::Present(present))) =
            (presence.stage, &mut presence.verdict)
        else {
            continue;
        };
        let kept = kept(root, initramfs, release, &presence.driver)?;
        let Some(why) = kept.lost() else {
            continue;
        };
        left.push(presence.driver.clone());
        match reruns.iter().max_by_key(|rerun| rerun.certain) {
            None => present.warnings.push(format!(
                "an initramfs that is made anew would lack it: {why}"
            )),
            Some(rerun) if !rerun.certain => present.warnings.push(format!(
                "{}, and that initramfs would lack it: {why}",
                rerun.what
            )),
            Some(rerun) => {
                presence.verdict = Verdict::fails(format!(
                    "{}, and that initramfs lacks it: {why}",
                    rerun.what
                ));
            }
        }
    }
    Ok(left)
}

/// How to have drivers named to dracut for good; None if there are none.
pub fn repair_kept(left_out: &[String]) -> Option<String> {
    let names: Vec<String> = left_out.iter().map(|name| canonical_name(name)).collect();
    let commands = names.iter().map(|name| super::naming_command(name));
    let instruction = super::run_instruction(commands);
    (!names.is_empty()).then(|| {
        let sentence = format!(
            "have every later dracut take it: `coreos-bake layer --repair --driver {}`, or in the \
             Containerfile:",
            names.join(",")
        );
        super::below(&sentence, &instruction)
    })
}
