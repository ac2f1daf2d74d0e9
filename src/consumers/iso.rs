//! The rules of assisted-image-service's `pkg/isoeditor` for an ISO.
//!
//! An ISO is made anew from the names of its tree, so what isn't a named file is lost:
//!
//! ```text
//! isolinux/boot.cat, isolinux/isolinux.bin, images/efiboot.img   BIOS and UEFI
//! boot.catalog, images/efiboot.img                               UEFI
//! boot.catalog, images/cdboot.img                                s390x
//! ```
//!
//! A minimal ISO is made by editing lines of two menus, and kernel arguments are written over the
//! areas that `COREOS_KARG_EMBED_AREA` ends.

use std::ops::Range;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::consumer::Consumer;
use super::objection::Objection;
use crate::format::iso9660::{Platform, Reader};
use crate::readback::IGNITION_AREA_BYTES;

/// Where rules are written.
pub(super) const ISO_EDITOR: &str =
    "openshift/assisted-image-service pkg/isoeditor/isoutil.go@a55e383";
const MINIMAL: &str = "openshift/assisted-image-service pkg/isoeditor/rhcos.go@a55e383";
const KARGS: &str = "openshift/assisted-image-service pkg/isoeditor/kargs.go@a55e383";
const STREAM: &str = "openshift/assisted-image-service pkg/isoeditor/stream.go@a55e383";
const AGENT: &str = "openshift/installer pkg/asset/agent/image/agentartifacts.go@021bcfc";
const BAREMETAL: &str = "openshift/installer pkg/infrastructure/baremetal/bootstrap.go@00c2b5a";

/// Largest text file that is read: menus and descriptions have some KiB.
const TEXT_LIMIT: u64 = 1 << 20;

/// Menus that are edited for a minimal ISO: the first that is there, and isolinux's.
const GRUB_MENUS: [&str; 4] = [
    "EFI/redhat/grub.cfg",
    "EFI/fedora/grub.cfg",
    "boot/grub/grub.cfg",
    "EFI/centos/grub.cfg",
];
const ISOLINUX_MENU: &str = "isolinux/isolinux.cfg";

/// Menus with kernel arguments, where `coreos/kargs.json` doesn't name others.
const KARGS_MENUS: [&str; 2] = ["EFI/redhat/grub.cfg", ISOLINUX_MENU];

const MARK: &str = "# COREOS_KARG_EMBED_AREA";
const ESP: &str = "images/efiboot.img";
const S390X_IMAGE: &str = "images/cdboot.img";
pub(super) const KERNEL: &str = "images/pxeboot/vmlinuz";
const INITRD: &str = "images/pxeboot/initrd.img";
pub(super) const ROOTFS: &str = "images/pxeboot/rootfs.img";

/// What a boot sector of Linux for PCs has at byte 514 (Linux `Documentation/arch/x86/boot.rst`).
const PC_KERNEL_AT: u64 = 0x202;
const PC_KERNEL: &[u8; 4] = b"HdrS";

/// When only some clusters are concerned.
const FOR_MINIMAL: &str = "a minimal ISO is asked for (minimalISO: true, or platform external)";
const WITH_KARGS: &str = "there are kernel arguments to add, for example for fips: true";
/// An ISO, and the machines that it is for.
pub(super) struct Iso {
    pub(super) reader: Reader,
    pub(super) machines: Machines,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Machines {
    /// x86_64.
    Pc,
    S390x,
    /// ppc64le, the ISOs of which have no image to boot.
    Power,
    /// Others with UEFI.
    Uefi,
}

/// `coreos/kargs.json`, as far as the programs read it.
#[derive(Deserialize)]
struct Kargs {
    files: Vec<KargsFile>,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct KargsFile {
    path: String,
    offset: Option<u64>,
}

/// `coreos/igninfo.json`.
#[derive(Deserialize)]
struct IgnInfo {
    file: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    length: u64,
}

pub(super) fn refused(
    source: &'static str,
    reason: impl Into<String>,
    says: impl Into<String>,
) -> Objection {
    Objection {
        reason: reason.into(),
        says: Some(says.into()),
        when: None,
        source,
    }
}

/// The program goes on, and what it makes is of no use.
fn useless(source: &'static str, reason: impl Into<String>) -> Objection {
    Objection {
        reason: reason.into(),
        says: None,
        when: None,
        source,
    }
}

pub(super) fn only(
    when: &'static str,
    objections: Vec<Objection>,
) -> impl Iterator<Item = Objection> {
    objections.into_iter().map(move |objection| Objection {
        when: objection.when.or(Some(when)),
        ..objection
    })
}

impl Iso {
    pub(super) fn new(reader: Reader) -> Result<Self> {
        let mut iso = Self {
            reader,
            machines: Machines::Uefi,
        };
        iso.machines = if iso.has_pc_kernel()? {
            Machines::Pc
        } else if iso.has(ESP) {
            Machines::Uefi
        } else if iso.has(S390X_IMAGE) {
            Machines::S390x
        } else {
            Machines::Power
        };
        Ok(iso)
    }

    /// What `consumer` would object to.
    pub(super) fn objections(&self, consumer: Consumer) -> Result<Vec<Objection>> {
        let mut found = Vec::new();
        match consumer {
            Consumer::Agent => {
                if !self.has(INITRD) {
                    found.push(refused(
                        AGENT,
                        format!("there is no {INITRD}, to which the agent's files are appended"),
                        format!("open …/{INITRD}: no such file or directory"),
                    ));
                }
                found.extend(self.ignition(None)?);
                found.extend(self.rebuilt());
                found.extend(only(WITH_KARGS, self.kernel_arguments()?));
                found.extend(only(FOR_MINIMAL, self.minimal()?));
            }
            Consumer::Assisted => {
                found.extend(self.stored()?);
                found.extend(self.nmstatectl()?);
                found.extend(self.ignition(Some(IGNITION_AREA_BYTES.start()))?);
                found.extend(only(WITH_KARGS, self.kernel_arguments()?));
                // There is no minimal ISO for s390x.
                if self.machines != Machines::S390x {
                    found.extend(self.rebuilt());
                    found.extend(self.minimal()?);
                }
            }
            Consumer::Ipi => {
                found.extend(self.ignition(Some(IGNITION_AREA_BYTES.start()))?);
                found.extend(self.kernel_arguments()?);
                found.extend(self.bootstrap_machine());
            }
        }
        Ok(found)
    }

    fn has(&self, path: &str) -> bool {
        self.reader.paths().any(|known| known == path)
    }

    pub(super) fn bytes(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.reader.file(path)?.map(|content| content.len()))
    }

    fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(content) = self.reader.file(path)? else {
            return Ok(None);
        };
        let bytes = content
            .to_vec(TEXT_LIMIT)
            .with_context(|| format!("reading {path}"))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn has_pc_kernel(&self) -> Result<bool> {
        let Some(kernel) = self.reader.file(KERNEL)? else {
            return Ok(false);
        };
        let mut magic = [0; PC_KERNEL.len()];
        let is_there = kernel.len() >= PC_KERNEL_AT + magic.len() as u64;
        if is_there {
            kernel.read_at(PC_KERNEL_AT, &mut magic)?;
        }
        Ok(is_there && magic == *PC_KERNEL)
    }

    /// What the ISO is made anew from.
    fn rebuilt(&self) -> Vec<Objection> {
        const FOR_BIOS: [&str; 2] = ["isolinux/boot.cat", "isolinux/isolinux.bin"];
        let missing: Vec<&str> = FOR_BIOS.into_iter().filter(|p| !self.has(p)).collect();
        let has_image = self.has(ESP) || self.has(S390X_IMAGE);
        if self.machines == Machines::Power {
            return Vec::new();
        }
        if self.has(ESP) && missing.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        if has_image && !self.has("boot.catalog") {
            let for_bios = match self.has(ESP) {
                true => format!(", and there are not both {}", FOR_BIOS.join(" and ")),
                false => String::new(),
            };
            found.push(refused(
                ISO_EDITOR,
                format!("its boot catalog is not the file boot.catalog{for_bios}"),
                "missing boot.catalog file",
            ));
        } else if !has_image {
            found.push(useless(
                ISO_EDITOR,
                format!("there is no {ESP}, so what is made of it boots nowhere"),
            ));
        } else if self.machines == Machines::Pc {
            found.push(useless(
                ISO_EDITOR,
                format!(
                    "there is no {}, so what is made of it doesn't boot under BIOS",
                    missing.join(" and no ")
                ),
            ));
        }
        found
    }

    /// Where the Ignition config goes; `least` is how many bytes there should be, if the area
    /// can't be made larger.
    fn ignition(&self, least: Option<&u64>) -> Result<Vec<Objection>> {
        const SAYS: &str = "failed to create overwrite reader for ignition";
        let no = |reason: String| Ok(vec![refused(STREAM, reason, SAYS)]);
        let info = match self.text("coreos/igninfo.json")? {
            None => IgnInfo {
                file: "images/ignition.img".to_owned(),
                offset: 0,
                length: 0,
            },
            Some(text) => match serde_json::from_str(&text) {
                Ok(info) => info,
                Err(error) => return no(format!("coreos/igninfo.json can't be read: {error}")),
            },
        };
        let file = info.file.trim_start_matches('/');
        let Some(bytes) = self.bytes(file)? else {
            return no(format!("there is no {file}, where Ignition configs go"));
        };
        let length = match (info.offset, info.length) {
            (0, 0) => bytes,
            (_, length) => length,
        };
        let end = info.offset.checked_add(length);
        if end.is_none_or(|end| end > bytes) {
            return no(format!(
                "coreos/igninfo.json points behind the end of {file}, which has {bytes} bytes"
            ));
        }
        Ok(match least {
            Some(least) if length < *least => vec![refused(
                STREAM,
                format!(
                    "Ignition configs have {length} bytes of room, where published ISOs have {least}"
                ),
                format!("content length (…) exceeds embed area size ({length})"),
            )],
            _ => Vec::new(),
        })
    }

    /// Where kernel arguments go.
    fn kernel_arguments(&self) -> Result<Vec<Objection>> {
        const SAYS: &str = "failed to find COREOS_KARG_EMBED_AREA";
        let mut found = Vec::new();
        let mut size = None;
        let places: Vec<(String, Option<u64>)> = match self.text("coreos/kargs.json")? {
            None => KARGS_MENUS.map(|path| (path.to_owned(), None)).into(),
            Some(text) => match serde_json::from_str::<Kargs>(&text) {
                Ok(kargs) => {
                    size = kargs.size;
                    let files = kargs.files.into_iter();
                    files.map(|file| (file.path, file.offset)).collect()
                }
                Err(error) => {
                    return Ok(vec![refused(
                        KARGS,
                        format!("coreos/kargs.json can't be read: {error}"),
                        "failed to read files to patch for kernel arguments",
                    )]);
                }
            },
        };
        for (path, offset) in places {
            let path = path.trim_start_matches('/');
            let Some(menu) = self.reader.file(path)? else {
                let reason = format!("there is no {path}, which has kernel arguments");
                let says = format!(
                    "failed to create overwrite reader for kernel arguments in file \"{path}\""
                );
                found.push(refused(KARGS, reason, says));
                continue;
            };
            // Larger files are no menus: those of s390x have their arguments in images/cdboot.img.
            let area = match menu.len() <= TEXT_LIMIT {
                true => embed_area(&menu.to_vec(TEXT_LIMIT)?),
                false => None,
            };
            let Some(area) = area else {
                let reason = format!("{path} has no area that {MARK:?} ends");
                found.push(refused(KARGS, reason, SAYS));
                continue;
            };
            // coreos-installer goes by the numbers, the programs by the mark.
            if let (Some(offset), Some(size)) = (offset, size)
                && offset.checked_add(size) != Some(area.end as u64)
            {
                found.push(useless(
                    KARGS,
                    format!(
                        "coreos/kargs.json has the kernel arguments of {path} end at byte {}, and the mark \
                         in it at {}",
                        offset.saturating_add(size),
                        area.end
                    ),
                ));
            }
        }
        Ok(found)
    }

    /// What a minimal ISO is made from.
    fn minimal(&self) -> Result<Vec<Objection>> {
        let mut found = Vec::new();
        if !self.has(ROOTFS) {
            found.push(refused(
                MINIMAL,
                format!("there is no {ROOTFS}: it is a minimal ISO already"),
                format!("remove …/{ROOTFS}: no such file or directory"),
            ));
        }
        match GRUB_MENUS.into_iter().find(|path| self.has(path)) {
            None => found.push(refused(
                MINIMAL,
                format!("it has none of {}", GRUB_MENUS.join(", ")),
                "no grub.cfg found, possible paths are …",
            )),
            Some(path) => {
                let text = self.text(path)?.unwrap_or_default();
                for word in ["linux ", "initrd "] {
                    if line(&text, word).is_none() {
                        found.push(useless(
                            MINIMAL,
                            format!(
                                "{path} has no line that begins with blanks and {word:?}, so a minimal ISO \
                                 doesn't learn where its root is"
                            ),
                        ));
                    }
                }
            }
        }
        if self.machines == Machines::Power {
            return Ok(found);
        }
        match self.text(ISOLINUX_MENU)? {
            None => found.push(refused(
                MINIMAL,
                format!("there is no {ISOLINUX_MENU}, whether or not anything boots by it"),
                format!(
                    "failed to fix isolinux config: open …/{ISOLINUX_MENU}: no such file or directory"
                ),
            )),
            Some(text) => {
                let append = line(&text, "append ");
                if !append.is_some_and(|line| line.contains("initrd=")) {
                    found.push(useless(
                        MINIMAL,
                        format!(
                            "{ISOLINUX_MENU} has no line that begins with blanks and \"append \" and has \
                             an initrd="
                        ),
                    ));
                }
            }
        }
        Ok(found)
    }

    /// The bootstrap machine of x86_64 has BIOS, as libvirt makes machines without being asked.
    fn bootstrap_machine(&self) -> Vec<Objection> {
        let boots = |platform: Platform| {
            let images = self.reader.boot_images().iter();
            images
                .filter(|image| image.is_bootable && image.platform == platform as u8)
                .count()
                > 0
        };
        match self.machines {
            Machines::Pc if !boots(Platform::Bios) => vec![useless(
                BAREMETAL,
                "BIOS can't boot it, and the bootstrap machine has BIOS",
            )],
            Machines::Uefi if !boots(Platform::Uefi) => vec![useless(
                BAREMETAL,
                "UEFI can't boot it, and the bootstrap machine has UEFI",
            )],
            _ => Vec::new(),
        }
    }
}

/// The first line that begins with blanks and `word`, and has more.
fn line<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.lines().find(|line| {
        let rest = line.trim_start_matches([' ', '\t']);
        rest.len() < line.len() && rest.strip_prefix(word).is_some_and(|rest| !rest.is_empty())
    })
}

/// Where arguments are written: from the end of their line to the last `#` before the mark, which
/// stays.
fn embed_area(menu: &[u8]) -> Option<Range<usize>> {
    let marks = menu
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK.as_bytes());
    marks.into_iter().find_map(|(mark, _)| {
        let newline = menu[..mark].iter().rposition(|byte| *byte != b'#')?;
        (menu[newline] == b'\n').then_some(newline..mark)
    })
}
