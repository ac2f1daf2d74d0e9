//! What the user wants media to carry: Ignition configs, kernel arguments, network settings.
//!
//! The work is coreos-installer's, as a library, so that every option means what administrators
//! know from `coreos-installer iso customize` and `pxe customize`.

mod check;

use std::path::Path;

use anyhow::{Context, Error, Result};
use libcoreinst::cmdline::{CommonCustomizeConfig, IsoCustomizeConfig, PxeCustomizeConfig};
use libcoreinst::live;

use crate::failure::Failure;
use check::overheard;

/// What the library says of more than the embed area takes; it has no type for that.
const TOO_LARGE: &str = "initramfs is too large";

/// Everything that can be put on media after they are written.
#[derive(Debug, clap::Args)]
pub struct Customization {
    /// Options that ISO and PXE share
    #[command(flatten)]
    pub common: CommonCustomizeConfig,
    /// Kernel argument for each live boot, such as console=ttyS0,115200n8
    #[arg(long, value_name = "KARG")]
    pub live_karg_append: Vec<String>,
    /// Kernel argument that live boots shall not have
    #[arg(long, value_name = "KARG")]
    pub live_karg_delete: Vec<String>,
}

impl Customization {
    /// Whether anything goes into the initramfs: what `pxe customize` would do.
    pub fn changes_initrd(&self) -> bool {
        let c = &self.common;
        c.dest_device.is_some()
            || !c.dest_console.is_empty()
            || [
                &c.dest_ignition,
                &c.dest_karg_append,
                &c.dest_karg_delete,
                &c.network_keyfile,
                &c.network_nmstate,
                &c.ignition_ca,
                &c.pre_install,
                &c.post_install,
                &c.installer_config,
                &c.live_ignition,
            ]
            .iter()
            .any(|list| !list.is_empty())
    }

    /// Whether anything was asked for at all.
    pub fn is_empty(&self) -> bool {
        !self.changes_initrd()
            && self.live_karg_append.is_empty()
            && self.live_karg_delete.is_empty()
    }

    /// Changes a finished ISO in place.
    pub fn apply_to_iso(&self, iso: &Path) -> Result<()> {
        self.apply_with_kargs(iso, &[])
    }

    /// Changes a finished ISO in place, and appends these kernel arguments to its live boot.
    pub fn apply_with_kargs(&self, iso: &Path, kargs: &[String]) -> Result<()> {
        if self.is_empty() && kargs.is_empty() {
            return Ok(());
        }
        let mut live_karg_append = self.live_karg_append.clone();
        live_karg_append.extend_from_slice(kargs);
        let config = IsoCustomizeConfig {
            common: self.common(),
            live_karg_append,
            live_karg_delete: self.live_karg_delete.clone(),
            live_karg_replace: Vec::new(),
            force: false,
            output: None,
            input: utf8(iso)?,
        };
        // What it has to say was said by `check`.
        let (done, _) = overheard(|| live::iso_customize(config))?;
        done.map_err(with_hint).context("customizing the ISO")
    }

    /// Writes the customized form of the initramfs `from` to `to`.
    pub fn apply_to_initrd(&self, from: &Path, to: &Path) -> Result<()> {
        let config = PxeCustomizeConfig {
            common: self.common(),
            output: utf8(to)?,
            input: utf8(from)?,
        };
        let (done, _) = overheard(|| live::pxe_customize(config))?;
        done.context("customizing the PXE initramfs")
    }

    /// The live kernel arguments after `--live-karg-append` and `--live-karg-delete`.
    pub fn edit_kargs(&self, kargs: &str) -> Result<String> {
        libcoreinst::io::KargsEditor::new()
            .append(&self.live_karg_append)
            .delete(&self.live_karg_delete)
            .apply_to(kargs)
            .context("editing live kernel arguments")
    }

    /// The library takes its configuration by value and can't clone it.
    fn common(&self) -> CommonCustomizeConfig {
        let c = &self.common;
        CommonCustomizeConfig {
            dest_ignition: c.dest_ignition.clone(),
            dest_device: c.dest_device.clone(),
            dest_console: c.dest_console.clone(),
            dest_karg_append: c.dest_karg_append.clone(),
            dest_karg_delete: c.dest_karg_delete.clone(),
            network_keyfile: c.network_keyfile.clone(),
            network_nmstate: c.network_nmstate.clone(),
            ignition_ca: c.ignition_ca.clone(),
            pre_install: c.pre_install.clone(),
            post_install: c.post_install.clone(),
            installer_config: c.installer_config.clone(),
            live_ignition: c.live_ignition.clone(),
        }
    }
}

pub(super) fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| {
        format!(
            "{} is not UTF-8, which coreos-installer needs",
            path.display()
        )
    })
}

/// Says how configs get more room. Any other error stays as it is.
fn with_hint(error: Error) -> Error {
    let said = error.to_string();
    match said.split_once(TOO_LARGE) {
        None => error,
        Some((_, bytes)) => Failure::new(
            format!(
                "configs and settings are larger, compressed, than the ISO's room for them{bytes}"
            ),
            "bake with a larger --ignition-area, or have a small config fetch the large one by URL",
        )
        .into(),
    }
}
