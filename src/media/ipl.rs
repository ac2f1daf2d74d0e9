//! What s390x starts from an ISO: kernel, kernel arguments and initramfs in one image.
//!
//! ```text
//! images/cdboot.img
//! 0x00000    the kernel, which has room for
//! 0x10408      where the initramfs begins, u64, big-endian
//! 0x10410      and how long it is, with the room for Ignition configs
//! 0x10480      the kernel arguments, ended by NUL
//! next 4096  the initramfs | zeros, which an Ignition config may replace
//! ```
//!
//! Firmware loads the image as a whole and jumps into it, so there is no menu. A partition (LPAR) may
//! start from `generic.ins` instead, which names the same files one by one with the addresses that they
//! are loaded to; Ignition configs are not among these.
//!
//! Image: ibm-s390-linux/s390-tools `netboot/mk-s390image`@c664958. Names and the room for arguments:
//! Fedora CoreOS' ISO for s390x of 2023-07, as kept in coreos-installer's `fixtures/iso`; installers
//! read them through `coreos/kargs.json` and `coreos/igninfo.json`.
//!
//! Left out: `redhat.exec`, the script of a z/VM reader.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::menu::{self, KargArea, Menu};
use crate::failure::Failure;
use crate::readback::{IGNITION_INFO, Payload};
use crate::tree::{Content, ReadAt};

/// The image that firmware loads.
pub(super) const IMAGE: &str = "images/cdboot.img";

/// The template of upstream images for the arguments, and ours for images without one.
pub(super) const TEMPLATE: &str = "usr/share/coreos-assembler/live/zipl.prm";
const OWN_TEMPLATE: &str = include_str!("../../iso-templates/zipl.prm");

/// By this QEMU knows a kernel of Linux, too (`hw/s390x/ipl.c`, v10.0.0).
const MAGIC_AT: usize = 0x10008;
const MAGIC: &[u8] = b"S390EP";

const INITRD_START_AT: usize = 0x10408;
const INITRD_LEN_AT: usize = 0x10410;
const ARGUMENTS_AT: usize = 0x10480;

/// Room for kernel arguments in bytes. Kernels since 5.14 have more; installers were told of this much.
const ARGUMENTS_ROOM: usize = 896;

/// Where `generic.ins` has the initramfs loaded to: the kernel has to end before it.
const INITRD_ADDRESS: u32 = 0x0200_0000;

const PAGE: u64 = 4096;

/// The boot image's arguments and what is written of them.
#[derive(Debug)]
pub(super) struct Ipl {
    arguments: String,
}

impl Ipl {
    /// Fills `kargs` into the image's template, or into ours.
    pub(super) fn new(template: Option<&str>, title: &str, kargs: &str) -> Result<Self> {
        let menu = menu::render(Some(template.unwrap_or(OWN_TEMPLATE)), title, kargs)?;
        let arguments = menu.text.trim_end().to_owned();
        if arguments.len() >= ARGUMENTS_ROOM {
            return Err(Failure::new(
                format!(
                    "the live kernel arguments take {} bytes, and {IMAGE} has room for {}",
                    arguments.len(),
                    ARGUMENTS_ROOM - 1
                ),
                "shorten extra-kargs in the image's image.json",
            )
            .into());
        }
        ensure!(
            arguments.is_ascii() && !arguments.contains(|c: char| c.is_ascii_control()),
            "the live kernel arguments have something other than printable ASCII: {arguments:?}"
        );
        Ok(Self { arguments })
    }

    /// Where installers may change the arguments.
    pub(super) fn menu(&self) -> (String, Menu) {
        let menu = Menu {
            text: self.arguments.clone(),
            default: self.arguments.clone(),
            area: Some(KargArea {
                offset: ARGUMENTS_AT,
                size: ARGUMENTS_ROOM,
                end: "\0",
                pad: "\0",
            }),
        };
        (IMAGE.to_owned(), menu)
    }

    /// The ISO's files for starting `payload`, with `ignition_area` bytes of room for Ignition configs;
    /// `coreos/igninfo.json` among them, which says where that is.
    pub(super) fn files(
        &self,
        payload: &Payload,
        ignition_area: u64,
    ) -> Result<BTreeMap<String, Content>> {
        let image = Image::new(payload, &self.arguments, ignition_area)?;
        let initrd_len =
            u32::try_from(payload.initrd.len()).context("the initramfs is larger than 4 GiB")?;
        // Both are pairs of big-endian words of 64 bits.
        let address_and_len = [0, INITRD_ADDRESS, 0, initrd_len].map(u32::to_be_bytes);
        let ignition = json!({
            "file": IMAGE,
            "length": ignition_area,
            "offset": image.ignition_offset(),
        });
        let arguments = format!("{}\n", self.arguments).into_bytes();
        let mut files = BTreeMap::from([
            (
                IGNITION_INFO.to_owned(),
                Content::bytes((serde_json::to_string_pretty(&ignition)? + "\n").into_bytes()),
            ),
            (
                "generic.ins".to_owned(),
                Content::bytes(instructions().into_bytes()),
            ),
            (
                "images/initrd.addrsize".to_owned(),
                Content::bytes(address_and_len.concat()),
            ),
        ]);
        for name in ["cdboot.prm", "generic.prm", "genericdvd.prm"] {
            files.insert(format!("images/{name}"), Content::bytes(arguments.clone()));
        }
        let len = image.len();
        files.insert(IMAGE.to_owned(), Content::composed(Arc::new(image), len));
        Ok(files)
    }
}

/// `generic.ins`: what is loaded, and where to.
fn instructions() -> String {
    format!(
        "* what is loaded for a live system, and where to\n\
         images/pxeboot/vmlinuz 0x00000000\n\
         images/pxeboot/initrd.img {INITRD_ADDRESS:#010x}\n\
         images/genericdvd.prm {ARGUMENTS_AT:#010x}\n\
         images/initrd.addrsize {INITRD_START_AT:#010x}\n"
    )
}

/// Kernel, initramfs and room, one after the other.
#[derive(Debug)]
struct Image {
    /// The kernel, filled up to a page, that knows arguments and initramfs.
    kernel: Vec<u8>,
    initrd: Content,
    ignition_area: u64,
}

impl Image {
    fn new(payload: &Payload, arguments: &str, ignition_area: u64) -> Result<Self> {
        let mut kernel = payload
            .kernel
            .to_vec(u64::from(INITRD_ADDRESS))
            .context("reading the kernel, which has to end where the initramfs is loaded to")?;
        let is_linux = kernel
            .get(MAGIC_AT..)
            .is_some_and(|bytes| bytes.starts_with(MAGIC));
        if !is_linux || kernel.len() < ARGUMENTS_AT + ARGUMENTS_ROOM {
            return Err(Failure::new(
                "the image's kernel can't be started from an ISO: it is not a Linux kernel for s390x",
                "look at usr/lib/modules/*/vmlinuz in the image; -f pxe writes it as it is",
            )
            .into());
        }
        kernel.resize(kernel.len().next_multiple_of(PAGE as usize), 0);
        let start = kernel.len() as u64;
        let mut put = |at: usize, bytes: &[u8]| kernel[at..at + bytes.len()].copy_from_slice(bytes);
        put(INITRD_START_AT, &start.to_be_bytes());
        let len = payload.initrd.len() + ignition_area;
        put(INITRD_LEN_AT, &len.to_be_bytes());
        put(ARGUMENTS_AT, &[0; ARGUMENTS_ROOM]);
        put(ARGUMENTS_AT, arguments.as_bytes());
        Ok(Self {
            kernel,
            initrd: payload.initrd.clone(),
            ignition_area,
        })
    }

    /// Where the room for Ignition configs begins, in bytes.
    fn ignition_offset(&self) -> u64 {
        self.kernel.len() as u64 + self.initrd.len()
    }

    /// Length in bytes.
    fn len(&self) -> u64 {
        self.ignition_offset() + self.ignition_area
    }
}

impl ReadAt for Image {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let initrd_start = self.kernel.len() as u64;
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let left = |end: u64| usize::try_from(end - at).unwrap_or(usize::MAX);
            let len = if at < initrd_start {
                left(initrd_start).min(rest.len())
            } else if at < self.ignition_offset() {
                left(self.ignition_offset()).min(rest.len())
            } else {
                rest.len()
            };
            let (part, more) = rest.split_at_mut(len);
            if at < initrd_start {
                // Within the kernel, so it fits a usize.
                let start = at as usize;
                part.copy_from_slice(&self.kernel[start..start + len]);
            } else if at < self.ignition_offset() {
                self.initrd.read_at(at - initrd_start, part)?;
            } else {
                part.fill(0);
            }
            at += len as u64;
            rest = more;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: u64 = 8192;

    fn kernel(len: usize) -> Vec<u8> {
        let mut kernel = vec![0xaa; len];
        kernel[MAGIC_AT..MAGIC_AT + MAGIC.len()].copy_from_slice(MAGIC);
        kernel
    }

    fn payload(kernel: Vec<u8>) -> Payload {
        Payload {
            kernel: Content::bytes(kernel),
            initrd: Content::bytes(vec![0xbb; 5000]),
            rootfs: Content::bytes(vec![0xcc; 10]),
        }
    }

    #[test]
    fn the_image_is_as_mk_s390image_makes_it() {
        let kernel = kernel(70_001);
        let ipl = Ipl::new(None, "", "rw coreos.liveiso=v").unwrap();
        let files = ipl.files(&payload(kernel.clone()), AREA).unwrap();
        let image = files[IMAGE].to_vec(1 << 20).unwrap();
        let start = 18 * 4096;
        assert_eq!(image.len() as u64, start + 5000 + AREA);
        assert_eq!(image[0x10408..0x10410], start.to_be_bytes());
        assert_eq!(image[0x10410..0x10418], (5000 + AREA).to_be_bytes());
        let arguments = "rw coreos.liveiso=v ignition.firstboot ignition.platform.id=metal";
        assert_eq!(
            &image[0x10480..0x10480 + arguments.len()],
            arguments.as_bytes()
        );
        assert!(
            image[0x10480 + arguments.len()..0x10480 + 896]
                .iter()
                .all(|b| *b == 0)
        );
        // Nothing else of the kernel is touched.
        for range in [0..0x10408, 0x10418..0x10480, 0x10480 + 896..70_001] {
            assert_eq!(image[range.clone()], kernel[range]);
        }
        assert!(image[70_001..start as usize].iter().all(|b| *b == 0));
        let initrd = start as usize..start as usize + 5000;
        assert!(image[initrd.clone()].iter().all(|b| *b == 0xbb));
        assert!(image[initrd.end..].iter().all(|b| *b == 0));
        // In any pieces.
        for size in [1, 4095, 70_000] {
            for (number, part) in image.chunks(size).enumerate().step_by(97) {
                let mut read = vec![1; part.len()];
                files[IMAGE]
                    .read_at((number * size) as u64, &mut read)
                    .unwrap();
                assert_eq!(read, part, "{size} {number}");
            }
        }
        let (path, menu) = ipl.menu();
        assert_eq!((path.as_str(), menu.default.as_str()), (IMAGE, arguments));
        let ignition: serde_json::Value =
            serde_json::from_slice(&files[IGNITION_INFO].to_vec(1000).unwrap()).unwrap();
        assert_eq!(ignition["offset"], start + 5000);
        assert_eq!(ignition["length"], AREA);
        assert_eq!(
            files["images/initrd.addrsize"].to_vec(16).unwrap(),
            [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x13, 0x88]
        );
    }

    #[test]
    fn what_could_not_start_is_refused() {
        let ipl = Ipl::new(None, "", "rw").unwrap();
        let mut other = kernel(80_000);
        other[MAGIC_AT] = b'X';
        for (name, kernel, words) in [
            ("x86", other, "not a Linux kernel for s390x"),
            ("short", kernel(0x10490), "not a Linux kernel for s390x"),
            ("large", kernel(0x0200_0001), "has to end where"),
        ] {
            let error = ipl.files(&payload(kernel), AREA).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{name}: {error:#}");
        }
        let long = "k".repeat(850);
        let error = Ipl::new(None, "", &long).unwrap_err().to_string();
        assert!(error.contains("has room for 895"), "{error}");
        assert!(Ipl::new(Some("@@KERNEL-ARGS@@ a\nb"), "", "rw").is_err());
        Ipl::new(Some("@@KERNEL-ARGS@@\n"), "", &"k".repeat(895)).unwrap();
    }
}
