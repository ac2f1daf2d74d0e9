//! What an operating system image says about itself.
//!
//! Paths and keys: osbuild `stages/org.osbuild.coreos.live-artifacts.mono`, fedora-coreos-config
//! `build-rootfs`; in an ostree commit `/etc` is `usr/etc`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::config_file;
use super::image_json::ImageJson;
use super::parts::Parts;
use super::platforms::Platforms;
use super::release::OsRelease;
use crate::failure::Failure;
use crate::foreign::{is_plain, title};
use crate::image::uname;
use crate::kernel::{self, Kernel};
use crate::tree::{Content, Node, Tree};

/// Facts about the operating system in a merged tree.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Name of the operating system in file names, volume ids and the stateroot: `rhcos`.
    pub osname: String,
    /// Version that live media are stamped with: `OSTREE_VERSION`, else the image's version label.
    pub version: String,
    /// `PRETTY_NAME` as the image has it: [`Facts::title`] is what boot menus can show.
    pub pretty_name: String,
    /// Machine architecture as `uname -m` says it.
    pub architecture: String,
    /// The one kernel that boots.
    pub kernel: Kernel,
    /// The coreos-assembler's description of the image, `image.json`.
    pub image: ImageJson,
    /// What it says of platforms.
    pub platforms: Platforms,
    /// Whether a `usr/lib/tmpfiles.d` will populate `/var`.
    pub has_tmpfiles: bool,
    /// Vendor directory of the EFI boot loader (`redhat`, `fedora`), if the image has a shim.
    pub efi_vendor: Option<String>,
    /// EFI payload: path below `EFI/` on the ESP, and content.
    pub efi_files: BTreeMap<String, Content>,
    /// Top-level keys of coreos-installer's example configuration.
    pub installer_directives: Vec<String>,
    /// Names and values of the image's labels.
    pub labels: BTreeMap<String, String>,
}

impl Facts {
    /// Reads them from the merged tree (with `usr/etc`) and the image's labels.
    pub fn read(tree: &Tree, labels: &BTreeMap<String, String>, goarch: &str) -> Result<Self> {
        let kernel = kernel::kernel_in(tree)?;
        let os_release = OsRelease::of(tree)?.ok_or_else(|| {
            Failure::new(
                "the image has no usr/lib/os-release",
                "only images of an operating system can be baked; is this the right image?",
            )
        })?;
        let field = |key: &str| os_release.field(key).map(str::to_owned);
        let osname = match labels.get("com.coreos.osname") {
            Some(name) => name.clone(),
            None => os_release.osname()?,
        };
        check_name(&osname)?;
        let version = field("OSTREE_VERSION")
            .or_else(|| labels.get("org.opencontainers.image.version").cloned())
            .or_else(|| labels.get("version").cloned())
            .or_else(|| field("VERSION_ID"))
            .context("the image names no version: no OSTREE_VERSION in usr/lib/os-release and no label org.opencontainers.image.version")?;
        check_name(&version)?;
        check_release(&kernel.release)?;
        let (efi_vendor, efi_files) = efi_payload(tree)?;
        let image = ImageJson::of(tree)?;
        image.check()?;
        let platforms = Platforms::read(tree)?;
        Ok(Self {
            pretty_name: field("PRETTY_NAME").unwrap_or_else(|| format!("{osname} {version}")),
            osname,
            version,
            architecture: uname(goarch).to_owned(),
            kernel,
            image,
            platforms,
            has_tmpfiles: tree.lookup("usr/lib/tmpfiles.d").is_some(),
            efi_vendor,
            efi_files,
            installer_directives: installer_directives(tree)?,
            labels: labels.clone(),
        })
    }

    /// What a boot of the system with this `root` consists of.
    pub fn parts<'a>(&'a self, root: &'a Tree) -> Parts<'a> {
        Parts {
            initrd: &self.kernel.initramfs,
            root,
            release: &self.kernel.release,
            arguments: &self.image.extra_kargs,
        }
    }

    /// `PRETTY_NAME` as it can stand in any boot loader's text.
    pub fn title(&self) -> String {
        title(&self.pretty_name)
    }

    /// Head of the media's file names, `rhcos-9.6.20250826-1`.
    pub fn prefix(&self) -> String {
        format!("{}-{}", self.osname, self.version)
    }

    /// What the installer may use on these media: `coreos/features.json`, which
    /// `coreos-installer customize` consults (coreos-installer `src/live/customize.rs`).
    pub fn features(&self) -> Value {
        let directives: serde_json::Map<String, Value> = self
            .installer_directives
            .iter()
            .map(|key| (key.clone(), Value::Bool(true)))
            .collect();
        serde_json::json!({
            "installer-config": true,
            "installer-config-directives": directives,
            "live-initrd-network": true,
        })
    }
}

/// Longest name or version in bytes: both are in names of files, which have 255 at most.
const NAME_MAX_BYTES: usize = 128;

/// Names and versions become parts of file names, paths and kernel arguments.
fn check_name(name: &str) -> Result<()> {
    if is_plain(name) && name.len() <= NAME_MAX_BYTES {
        return Ok(());
    }
    Err(Failure::new(
        format!("{name:?} can't be part of a file name and a kernel argument"),
        "name and version may have letters, digits and ._-+~; see the label com.coreos.osname and OSTREE_VERSION in usr/lib/os-release",
    )
    .into())
}

/// The kernel's directory is called so, and the boot entry names files after it.
fn check_release(release: &str) -> Result<()> {
    ensure!(
        is_plain(release),
        "usr/lib/modules/{release:?} can't be called so: a kernel's release has letters, digits and ._-+~ only"
    );
    Ok(())
}

fn installer_directives(tree: &Tree) -> Result<Vec<String>> {
    let Some(text) = config_file(tree, "usr/share/coreos-installer/example-config.yaml")? else {
        return Ok(Vec::new());
    };
    let mut keys: Vec<String> = String::from_utf8_lossy(&text)
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', '#', '-']))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key.trim().to_owned())
        .filter(|key| !key.is_empty())
        .collect();
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// Where images carry the EFI boot loader: bootupd's legacy directory, or one directory per
/// package and version (bootupd 0.2.29 and later).
fn efi_roots(tree: &Tree) -> Vec<String> {
    const LEGACY: &str = "usr/lib/bootupd/updates/EFI";
    let mut roots = Vec::new();
    if let Some(packages) = tree.lookup("usr/lib/efi") {
        for (package, id) in tree.children(packages) {
            for (version, id) in tree.children(id) {
                if tree.child(id, b"EFI").is_some() {
                    roots.push(format!(
                        "usr/lib/efi/{}/{}/EFI",
                        String::from_utf8_lossy(package),
                        String::from_utf8_lossy(version)
                    ));
                }
            }
        }
    }
    if roots.is_empty() && tree.lookup(LEGACY).is_some() {
        roots.push(LEGACY.to_owned());
    }
    roots
}

fn efi_payload(tree: &Tree) -> Result<(Option<String>, BTreeMap<String, Content>)> {
    let mut files = BTreeMap::new();
    for root in efi_roots(tree) {
        let mut open = vec![(String::new(), tree.lookup(&root).expect("just found"))];
        while let Some((path, id)) = open.pop() {
            for (name, child) in tree.children(id) {
                let name = std::str::from_utf8(name)
                    .with_context(|| format!("a name below {root} is not UTF-8"))?;
                let path = match path.as_str() {
                    "" => name.to_owned(),
                    parent => format!("{parent}/{name}"),
                };
                match &tree.inode(child).node {
                    Node::File(content) => {
                        files.insert(path, content.clone());
                    }
                    Node::Directory(_) => open.push((path, child)),
                    _ => anyhow::bail!(
                        "{root}/{path} is neither file nor directory, and FAT can't hold it"
                    ),
                }
            }
        }
    }
    let shims: Vec<&str> = files
        .keys()
        .filter_map(|path| path.rsplit_once('/'))
        .filter(|(_, name)| {
            name.eq_ignore_ascii_case("shimx64.efi") || name.eq_ignore_ascii_case("shimaa64.efi")
        })
        .map(|(parent, _)| parent)
        .collect();
    let vendor = match shims.as_slice() {
        [] => None,
        [vendor] => Some((*vendor).to_owned()),
        several => anyhow::bail!(
            "the EFI payload has {} shims, in {}; firmware could start only one",
            several.len(),
            several.join(" and ")
        ),
    };
    Ok((vendor, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_break_paths_or_kargs_are_refused() {
        for bad in ["", "a/b", "..", "-x", "a b", "a\n", "ü"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("41.20241122.3.0").is_ok());
    }
}
