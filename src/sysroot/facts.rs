//! What an operating system image says about itself.
//!
//! Paths and keys: osbuild `stages/org.osbuild.coreos.live-artifacts.mono`, fedora-coreos-config
//! `build-rootfs`; in an ostree commit `/etc` is `usr/etc`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::platforms_json::{self, PLATFORMS_JSON};
use crate::failure::Failure;
use crate::foreign::{check_arguments, is_plain, title};
use crate::format::qcow2;
use crate::kernel::{self, Files, Kernel};
use crate::tree::{Content, Node, Tree};

/// Configuration files larger than this are not what they claim to be.
const CONFIG_LIMIT: u64 = 1 << 20;

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
    /// `platforms.json` as it stands in the image.
    pub platforms: Option<Vec<u8>>,
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

/// `usr/share/coreos-assembler/image.json`, as far as media depend on it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ImageJson {
    /// Size of cloud and qemu images in GiB; [`ImageJson::disk_bytes`] is what can be made.
    pub size: Option<u64>,
    /// Kernel arguments of every platform.
    pub extra_kargs: Vec<String>,
    /// File system of the live root: `squashfs` (default) or `erofs`.
    pub live_rootfs_fstype: Option<String>,
    /// Options for the tool that upstream makes it with: `-comp zstd`.
    pub live_rootfs_fsoptions: Option<String>,
}

/// Where it is.
const IMAGE_JSON: &str = "usr/share/coreos-assembler/image.json";

/// Largest disk that an image can ask for, in GiB.
const DISK_MAX_GIB: u64 = qcow2::SIZE_MAX_BYTES >> 30;

impl ImageJson {
    /// Length in bytes of the cloud and qemu images that it asks for, if it does.
    pub fn disk_bytes(&self) -> Result<Option<u64>> {
        let bytes = |gib: u64| match gib <= DISK_MAX_GIB {
            true => Ok(gib << 30),
            false => Err(Failure::new(
                format!("{IMAGE_JSON}: a size of {gib} GiB is larger than any disk image can be"),
                format!("give the image a size of at most {DISK_MAX_GIB} GiB"),
            )),
        };
        Ok(self.size.map(bytes).transpose()?)
    }

    /// Refuses what can't be done, before anything is made of it.
    fn check(&self) -> Result<()> {
        check_arguments(&format!("{IMAGE_JSON}, extra-kargs"), &self.extra_kargs)?;
        self.disk_bytes().map(drop)
    }

    /// The description in a system's root; an empty one if it has none.
    pub fn of(root: &dyn Files) -> Result<Self> {
        let Some(bytes) = root.read(IMAGE_JSON)? else {
            return Ok(Self::default());
        };
        ensure!(
            bytes.len() as u64 <= CONFIG_LIMIT,
            "{IMAGE_JSON} has more than {CONFIG_LIMIT} bytes"
        );
        serde_json::from_slice(&bytes).with_context(|| format!("parsing {IMAGE_JSON}"))
    }
}

impl Facts {
    /// Reads them from the merged tree (with `usr/etc`) and the image's labels.
    pub fn read(tree: &Tree, labels: &BTreeMap<String, String>, goarch: &str) -> Result<Self> {
        let kernel = kernel::kernel_in(tree)?;
        let os_release = os_release(tree)?;
        let field = |key: &str| os_release.get(key).filter(|v| !v.is_empty()).cloned();
        let osname = match labels.get("com.coreos.osname") {
            Some(name) => name.clone(),
            None => osname_from(&os_release)?,
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
        let platforms = config_file(tree, PLATFORMS_JSON)?;
        platforms.as_deref().map_or(Ok(()), platforms_json::check)?;
        Ok(Self {
            pretty_name: field("PRETTY_NAME").unwrap_or_else(|| format!("{osname} {version}")),
            osname,
            version,
            architecture: machine(goarch).to_owned(),
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

/// The content of a small configuration file, if the tree has it as a regular file.
pub(super) fn config_file(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>> {
    tree.file(path)
        .map(|content| content.to_vec(CONFIG_LIMIT))
        .transpose()
        .with_context(|| format!("reading {path}"))
}

/// `uname -m` for a Go architecture name; the others are called the same in both.
pub fn machine(goarch: &str) -> &str {
    match goarch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

fn os_release(tree: &Tree) -> Result<BTreeMap<String, String>> {
    let text = match config_file(tree, "usr/lib/os-release")? {
        Some(text) => text,
        None => config_file(tree, "usr/etc/os-release")?.ok_or_else(|| {
            Failure::new(
                "the image has no usr/lib/os-release",
                "only images of an operating system can be baked; is this the right image?",
            )
        })?,
    };
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(key, _)| !key.starts_with('#'))
        .map(|(key, value)| (key.to_owned(), unquote(value)))
        .collect())
}

/// Undoes shell quoting as far as os-release(5) allows it.
fn unquote(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return if quote == '"' {
                unescape(inner)
            } else {
                inner.to_owned()
            };
        }
    }
    value.to_owned()
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => chars.next().unwrap_or('\\'),
            other => other,
        });
    }
    out
}

fn osname_from(os_release: &BTreeMap<String, String>) -> Result<String> {
    let id = os_release
        .get("ID")
        .context("the image's os-release has no ID, and the image no label com.coreos.osname")?;
    Ok(match os_release.get("VARIANT_ID") {
        // RHCOS says ID=rhcos from 4.x on; RHEL-based builds say ID=rhel, VARIANT_ID=coreos.
        Some(variant) if id == "rhel" && variant == "coreos" => "rhcos".to_owned(),
        Some(variant) if !variant.is_empty() => format!("{id}-{variant}"),
        _ => id.clone(),
    })
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
    fn os_release_values_are_unquoted() {
        for (raw, value) in [
            ("plain", "plain"),
            ("\"two words\"", "two words"),
            ("'single \\n'", "single \\n"),
            (r#""a \"quote\"""#, "a \"quote\""),
            ("", ""),
        ] {
            assert_eq!(unquote(raw), value, "{raw}");
        }
    }

    #[test]
    fn osname_follows_upstream() {
        let make = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let cases = [
            (
                make(&[("ID", "fedora"), ("VARIANT_ID", "coreos")]),
                "fedora-coreos",
            ),
            (make(&[("ID", "rhel"), ("VARIANT_ID", "coreos")]), "rhcos"),
            (make(&[("ID", "rhcos")]), "rhcos"),
        ];
        for (os_release, expected) in cases {
            assert_eq!(osname_from(&os_release).unwrap(), expected);
        }
        assert!(osname_from(&make(&[])).is_err());
    }

    #[test]
    fn names_that_break_paths_or_kargs_are_refused() {
        for bad in ["", "a/b", "..", "-x", "a b", "a\n", "ü"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("41.20241122.3.0").is_ok());
    }
}
