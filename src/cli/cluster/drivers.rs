//! Which drivers an image lacks where an installed node needs them.

use anyhow::Result;

use crate::cli::image_args::ImageArgs;
use crate::image::ImageRef;
use crate::os::{Glance, ReadOptions};
use crate::progress::Progress;
use crate::stages::{self, INSTALL, Presence};

/// An image that was looked into.
pub(super) struct Looked {
    pub(super) glance: Glance,
    /// Drivers that are missing at a stage, each with the reason.
    pub(super) missing: Vec<String>,
}

/// Looks into an image for `drivers`. `with` may change how it is read.
pub(super) fn look_into(
    image: &ImageRef,
    drivers: &[String],
    access: &ImageArgs,
    with: impl FnOnce(&mut ReadOptions),
    progress: &dyn Progress,
) -> Result<Looked> {
    let scratch = std::env::temp_dir();
    let mut options = access.read_options(&scratch, None);
    with(&mut options);
    let glance = Glance::read(image, &options, &scratch, progress)?;
    let parts = glance.parts();
    let initramfs = parts.read_initramfs()?;
    let found = stages::check(&parts, &initramfs, drivers, &INSTALL)?;
    let missing = found.iter().filter(|presence| presence.fails());
    let told = |presence: &Presence| {
        let Presence {
            driver,
            stage,
            verdict,
        } = presence;
        format!("{driver} is missing at {}: {verdict}", stage.name())
    };
    let missing = missing.map(told).collect();
    Ok(Looked { glance, missing })
}
