//! The live ISO: what is on it, and how firmware starts it.
//!
//! UEFI starts the ESP image, by El Torito from a CD and by the partition table from a USB stick; BIOS
//! starts GRUB, by El Torito and by the MBR. Both run the same `grub.cfg`.
//!
//! Tree and names are those of published ISOs (osbuild `stages/org.osbuild.coreos.live-artifacts.mono`),
//! with two differences: `isolinux/isolinux.bin` is GRUB, as OS images bring GRUB's modules and no
//! isolinux; and nothing boots `isolinux/isolinux.cfg`. The names stay on every release, because
//! OpenShift's programs unpack an ISO and make it anew from named files, and isolinux's are the only
//! ones by which they let BIOS start it (assisted-image-service `pkg/isoeditor` @a55e383, which
//! `openshift-install agent create image` has built in): `isolinux/boot.cat`, `isolinux/isolinux.bin`
//! and `images/efiboot.img`, or `boot.catalog` and `images/efiboot.img` where there is no BIOS; and
//! `isolinux/isolinux.cfg` for minimal ISOs, whatever the architecture. What installers read back:
//! coreos-installer `src/live/embed.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::bios::CdLoader;
use super::disk::ESP_VOLUME_ID;
use super::ipl::{self, Ipl};
use super::menu;
use super::miniso;
use crate::failure::Failure;
use crate::format::{fat, gpt, iso9660};
use crate::os::Facts;
use crate::progress::{Progress, Silent};
use crate::readback::{
    IGNITION_AREA, IGNITION_INFO, ISO_INITRD, ISO_KARGS, ISO_KERNEL, ISO_ROOTFS, LIVE_ISO, Payload,
};
use crate::tree::{Content, Node, Tree};

/// Where upstream images keep the ISO's boot configuration.
const TEMPLATES: &str = "usr/share/coreos-assembler/live";

/// Largest template; those of images have some 2 KiB.
const TEMPLATE_MAX_BYTES: u64 = 1 << 20;

/// The ESP as a file, which UEFI starts from CDs.
const ESP_IMAGE: &str = "images/efiboot.img";

/// What BIOS starts from CDs: GRUB. Where files lie in the order of their paths, it comes behind those
/// that GRUB reads, and an ISO that ends without padding is no trouble: GRUB reads up to 32 KiB further
/// than a file goes.
const BIOS_IMAGE: &str = "isolinux/isolinux.bin";

/// The menu in isolinux's words.
const ISOLINUX_MENU: &str = "isolinux/isolinux.cfg";

/// The boot catalog beside [`BIOS_IMAGE`], and where there is no BIOS.
const CATALOG: &str = "isolinux/boot.cat";
const CATALOG_WITHOUT_BIOS: &str = "boot.catalog";

/// An ISO, complete but for its payload.
#[derive(Debug)]
pub(super) struct Iso {
    volume_id: String,
    set_id: String,
    time: u64,
    files: BTreeMap<String, Content>,
    bios: Option<CdLoader>,
    /// What starts it on s390x instead, and the room for Ignition configs in bytes.
    ipl: Option<(Ipl, u64)>,
}

/// The volume's name, by which the live system finds it: at most 32 bytes.
pub(super) fn volume_id(facts: &Facts) -> String {
    let full = facts.prefix();
    // Names and versions are ASCII, so every byte is a character.
    full[..full.len().min(32)].to_owned()
}

/// Kernel arguments of the live system: those of an installed one that make sense here, and where
/// its root is. Upstream leaves out the same four (osbuild
/// `stages/org.osbuild.coreos.live-artifacts.mono`@a08736b).
pub(super) fn live_kargs(kargs: &[String], volume_id: &str) -> String {
    const INSTALLED_ONLY: [&str; 4] = [
        "$ignition_firstboot",
        "console",
        "ignition.platform.id",
        "ostree",
    ];
    kargs
        .iter()
        .filter(|karg| {
            let key = karg.split('=').next().unwrap_or_default();
            !INSTALLED_ONLY.contains(&key)
        })
        .cloned()
        .chain([format!("{LIVE_ISO}{volume_id}")])
        .collect::<Vec<_>>()
        .join(" ")
}

impl Iso {
    /// Composes everything but the payload. `tree` is the image's merged tree, `time` the
    /// moment in seconds since 1970 that every date on the ISO shows; `ignition_area` the room for
    /// Ignition configs in bytes.
    pub(super) fn compose(
        tree: &Tree,
        facts: &Facts,
        kargs: &[String],
        ignition_area: u64,
        time: u64,
    ) -> Result<Self> {
        if facts.architecture == "s390x" {
            return Self::compose_ipl(tree, facts, kargs, ignition_area, time);
        }
        let vendor = facts.efi_vendor.as_deref().ok_or_else(|| {
            Failure::new(
                "the image has no EFI boot loader (no shim below usr/lib/bootupd/updates/EFI or usr/lib/efi)",
                "an ISO can't start without one; bake a PXE set with -f pxe, or add the packages shim and grub2-efi",
            )
        })?;
        let volume_id = volume_id(facts);
        let menu = menu::render(
            template(tree)?.as_deref(),
            &facts.title(),
            &live_kargs(kargs, &volume_id),
        )?;
        let directory = menu::directory(vendor);
        let stub = menu::stub(&volume_id, &directory);
        let menu_path = format!("{directory}/grub.cfg");
        let isolinux = menu::render_isolinux(&menu, &menu_path, &facts.title())?;
        let menus = [(menu_path, menu), (ISOLINUX_MENU.to_owned(), isolinux)];
        let kargs_json = menu::kargs_json(&menus)?;

        let mut files = BTreeMap::from([
            // Where UEFI's GRUB looks; the menu itself takes its place if it is there.
            (format!("EFI/{vendor}/grub.cfg"), text(stub.clone())),
            features(facts)?,
            (
                IGNITION_INFO.to_owned(),
                text(format!("{{\"file\": \"{IGNITION_AREA}\"}}\n")),
            ),
            (
                IGNITION_AREA.to_owned(),
                Content::bytes(vec![0; usize::try_from(ignition_area)?]),
            ),
            (ESP_IMAGE.to_owned(), esp(facts, &stub)?),
        ]);
        for (path, menu) in menus {
            files.insert(path, text(menu.text));
        }
        let bios = CdLoader::find(tree, facts, &directory)?;
        if let Some(bios) = &bios {
            files.insert(BIOS_IMAGE.to_owned(), Content::bytes(bios.image.clone()));
        }
        if let Some(json) = kargs_json {
            files.insert(ISO_KARGS.to_owned(), text(json));
        }
        Ok(Self {
            set_id: facts.prefix(),
            volume_id,
            time,
            files,
            bios,
            ipl: None,
        })
    }

    /// The same for s390x, whose boot image has the payload in it.
    fn compose_ipl(
        tree: &Tree,
        facts: &Facts,
        kargs: &[String],
        ignition_area: u64,
        time: u64,
    ) -> Result<Self> {
        let volume_id = volume_id(facts);
        let ipl = Ipl::new(
            template_text(tree, ipl::TEMPLATE)?.as_deref(),
            &facts.title(),
            &live_kargs(kargs, &volume_id),
        )?;
        let mut files = BTreeMap::from([features(facts)?]);
        if let Some(json) = menu::kargs_json(&[ipl.menu()])? {
            files.insert(ISO_KARGS.to_owned(), text(json));
        }
        Ok(Self {
            set_id: facts.prefix(),
            volume_id,
            time,
            files,
            bios: None,
            ipl: Some((ipl, ignition_area)),
        })
    }

    /// Writes the ISO with `payload`.
    pub(super) fn write(
        &self,
        payload: &Payload,
        out: &File,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut files = self.files.clone();
        files.insert(ISO_ROOTFS.to_owned(), payload.rootfs.clone());
        // Filled when the minimal ISO is there to be packed.
        files.insert(
            miniso::PATH.to_owned(),
            Content::bytes(vec![0; miniso::ROOM]),
        );
        self.write_files(files, payload, out, progress)
    }

    /// Writes the ISO without what makes it large: the root file system.
    pub(super) fn write_minimal(&self, payload: &Payload, out: &File) -> Result<()> {
        self.write_files(self.files.clone(), payload, out, &Silent)
    }

    fn write_files(
        &self,
        mut files: BTreeMap<String, Content>,
        payload: &Payload,
        out: &File,
        progress: &dyn Progress,
    ) -> Result<()> {
        for (name, content) in [(ISO_KERNEL, &payload.kernel), (ISO_INITRD, &payload.initrd)] {
            files.insert(name.to_owned(), content.clone());
        }
        let boot = match &self.ipl {
            Some((ipl, ignition_area)) => {
                files.extend(ipl.files(payload, *ignition_area)?);
                vec![iso9660::BootEntry::s390x(
                    ipl::IMAGE,
                    files[ipl::IMAGE].len(),
                )]
            }
            None => self
                .bios
                .iter()
                .map(|_| iso9660::BootEntry::grub(BIOS_IMAGE))
                .chain([iso9660::BootEntry::uefi(ESP_IMAGE)])
                .collect(),
        };
        let volume = iso9660::Volume {
            id: self.volume_id.clone(),
            set_id: self.set_id.clone(),
            time: i64::try_from(self.time).unwrap_or(0),
            files,
            boot,
            catalog: Some(match self.bios {
                Some(_) => CATALOG.to_owned(),
                None => CATALOG_WITHOUT_BIOS.to_owned(),
            }),
        };
        let layout = volume.layout()?;
        layout.write(out, &|bytes| progress.advance(bytes))?;
        if self.ipl.is_some() {
            // Firmware finds the image by the catalog alone; no stick has another one.
            return Ok(());
        }
        let extent = |path| layout.extent(path).context("put there just now");
        let (offset, length) = extent(ESP_IMAGE)?;
        gpt::make_hybrid(out, offset, length, &self.volume_id)
            .context("writing the ISO's partition table")?;
        if let Some(bios) = &self.bios
            && let Some(code) = bios.boot_code(extent(BIOS_IMAGE)?.0)?
        {
            iso9660::write_boot_code(out, &code)?;
        }
        Ok(())
    }
}

fn features(facts: &Facts) -> Result<(String, Content)> {
    let json = serde_json::to_string_pretty(&facts.features())? + "\n";
    Ok(("coreos/features.json".to_owned(), text(json)))
}

fn text(text: String) -> Content {
    Content::bytes(text.into_bytes())
}

/// The image's own GRUB menu, below whatever vendor directory it is.
fn template(tree: &Tree) -> Result<Option<String>> {
    let Some(efi) = tree.lookup(&format!("{TEMPLATES}/EFI")) else {
        return Ok(None);
    };
    for (_, vendor) in tree.children(efi) {
        if let Some(id) = tree.child(vendor, b"grub.cfg")
            && let Node::File(content) = &tree.inode(id).node
        {
            let place = || format!("{TEMPLATES}/EFI has a grub.cfg that is not UTF-8");
            return utf8(content).map(Some).with_context(place);
        }
    }
    Ok(None)
}

/// The template at `path`, if the image has one.
fn template_text(tree: &Tree, path: &str) -> Result<Option<String>> {
    match tree.lookup(path).map(|id| &tree.inode(id).node) {
        Some(Node::File(content)) => utf8(content)
            .map(Some)
            .with_context(|| format!("{path} is not UTF-8")),
        _ => Ok(None),
    }
}

fn utf8(content: &Content) -> Result<String> {
    Ok(String::from_utf8(content.to_vec(TEMPLATE_MAX_BYTES)?)?)
}

/// The ESP image: boot loader and a stub that goes on to the menu on the ISO.
///
/// Everything is in `EFI/BOOT`, where firmware looks on removable media; shim's fallback loader
/// would write boot entries into NVRAM, so it is left out.
fn esp(facts: &Facts, stub: &str) -> Result<Content> {
    let mut files: BTreeMap<String, Content> = BTreeMap::new();
    for (path, content) in &facts.efi_files {
        let (directory, name) = path.split_once('/').unwrap_or(("BOOT", path));
        let lower = name.to_ascii_lowercase();
        let keep = match directory {
            "BOOT" => !(lower.starts_with("fb") && lower.ends_with(".efi")),
            _ => {
                let fallback_list = lower.starts_with("boot") && lower.ends_with(".csv");
                let shim = lower.starts_with("shim") && lower.ends_with(".efi");
                !fallback_list && !shim && lower != "grub.cfg"
            }
        };
        if keep {
            files.insert(format!("EFI/BOOT/{name}"), content.clone());
        }
    }
    if !files
        .keys()
        .any(|path| path.to_ascii_uppercase().starts_with("EFI/BOOT/BOOT"))
    {
        return Err(Failure::new(
            "the image's EFI payload has no EFI/BOOT/BOOT*.EFI, which firmware starts on removable media",
            "the package shim brings it",
        )
        .into());
    }
    files.insert("EFI/BOOT/grub.cfg".to_owned(), text(stub.to_owned()));
    let volume = fat::Volume {
        label: "EFI-SYSTEM".to_owned(),
        id: ESP_VOLUME_ID,
        bytes: fat::roomy_bytes(&files),
        bytes_per_sector: 512,
    };
    let image = volume.to_vec(&files).context("writing the ESP image")?;
    Ok(Content::bytes(image))
}

/// Opens a finished file as content.
pub(super) fn content_of(file: &Arc<File>) -> Result<Content> {
    let length = file.metadata()?.len();
    Ok(Content::range(Arc::clone(file), 0, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_kargs_drop_what_only_disks_need() {
        let kargs: Vec<String> = [
            "rw",
            "$ignition_firstboot",
            "mitigations=auto,nosmt",
            "ostree=/ostree/boot.1/x/0",
            "ignition.platform.id=metal",
            "console=ttyS0",
            "ostree.prepare-root.composefs=0",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            live_kargs(&kargs, "v"),
            "rw mitigations=auto,nosmt ostree.prepare-root.composefs=0 coreos.liveiso=v"
        );
    }
}
