//! Whether an initramfs can mount the root of the boot that it is for.
//!
//! ```text
//! live   squashfs in a file (loop), on an ISO that is a file system of its own; xfs in a file in memory
//!        for /etc and /var, where the initramfs has CoreOS's own generator
//! disk   xfs; composefs, if the system asks for it, is erofs below overlay
//! ```
//!
//! All of them are asked for by aliases. mount(8) leaves loading to the kernel, which runs
//! `modprobe -q -- fs-TYPE` (torvalds/linux 25a1b5b `kernel/module/kmod.c`; the aliases are those of
//! Linux 6.1), and opening `/dev/loop-control` makes it ask for `char-major-10-237`. modprobe keeps to
//! `blacklist` for aliases and not for names of modules (kmod 84fa569 `tools/modprobe.c`, `insmod`), so
//! a blacklist keeps these out as much as `install` does. What a script loads by its name is not seen
//! here; CoreOS's own loads nothing so (fedora-coreos-config 2d0fce6 `35coreos-live/live-generator`).
//!
//! /etc and /var of a live system are bind mounts, so overlay is not asked for.
//! composefs: ostree 4620465 `otcore-prepare-root.c`; a live boot turns it off (`ostree-cmdline.sh`
//! beside the generator).

use anyhow::Result;

use super::files::Files;
use super::finding::{Finding, Missing, Present};
use super::modinfo::ModuleInfo;
use super::modules::built_in;
use super::presence::{Boot, Lookup};

/// Where a boot has its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root<'a> {
    /// In a live medium of ours.
    Live {
        /// Whether the medium is an ISO, or may be.
        iso: bool,
        /// How the squashfs is compressed (`zstd`, `xz`, `gzip`, `lz4`, `lzo`), where that is known.
        compression: Option<&'a str>,
    },
    /// On a disk.
    Disk {
        /// Whether a composefs image is mounted.
        composefs: bool,
    },
}

/// Something that an initramfs mounts, or mounts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The module.
    pub module: &'static str,
    /// What for, in a word or two.
    pub purpose: &'static str,
    /// Whether the boot fails without it: some machines do without.
    pub needed: bool,
    /// Whether it would be loaded.
    pub finding: Finding,
}

/// What a live boot needs, wherever it is from.
const LIVE: [(&str, &str, bool); 2] =
    [("squashfs", "live root", true), ("loop", "live root", true)];

/// What it needs besides on an ISO. As a USB stick, that is no CD.
const ISO: [(&str, &str, bool); 2] = [("isofs", "live ISO", true), ("sr_mod", "CD drives", false)];

/// What CoreOS's own live system needs besides, and the file by which it is known.
const EPHEMERAL: (&str, &str, bool) = ("xfs", "live /etc and /var", true);
const COREOS_GENERATOR: &str = "usr/lib/systemd/system-generators/live-generator";

/// What a boot from a disk of ours needs, and what with composefs.
const DISK: (&str, &str, bool) = ("xfs", "installed root", true);
const COMPOSEFS: [(&str, &str, bool); 2] =
    [("erofs", "composefs", true), ("overlay", "composefs", true)];

/// A compression of squashfs as the kernel knows it.
struct Algorithm {
    /// As `mksquashfs -comp` calls it.
    name: &'static str,
    /// The option the kernel is built with to have it.
    option: &'static str,
    /// Functions that `squashfs.ko` calls for it, in old kernels or new.
    symbols: &'static [&'static str],
}

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm {
        name: "gzip",
        option: "CONFIG_SQUASHFS_ZLIB",
        symbols: &["zlib_inflate"],
    },
    Algorithm {
        name: "xz",
        option: "CONFIG_SQUASHFS_XZ",
        symbols: &["xz_dec_run"],
    },
    Algorithm {
        name: "zstd",
        option: "CONFIG_SQUASHFS_ZSTD",
        symbols: &["zstd_decompress_stream", "ZSTD_decompressStream"],
    },
    Algorithm {
        name: "lz4",
        option: "CONFIG_SQUASHFS_LZ4",
        symbols: &["LZ4_decompress_safe"],
    },
    Algorithm {
        name: "lzo",
        option: "CONFIG_SQUASHFS_LZO",
        symbols: &["lzo1x_decompress_safe"],
    },
];

/// What the initramfs of a boot has to mount its root with. The boot's files are those of the
/// initramfs.
pub fn mounts(boot: &Boot<'_>, root: Root<'_>) -> Result<Vec<Mount>> {
    let mut wanted = Vec::new();
    match root {
        Root::Live { iso, .. } => {
            wanted.extend(LIVE);
            wanted.extend(ISO.into_iter().filter(|_| iso));
            let is_coreos = boot.files.exists(COREOS_GENERATOR)?;
            wanted.extend(is_coreos.then_some(EPHEMERAL));
        }
        Root::Disk { composefs } => {
            wanted.push(DISK);
            wanted.extend(COMPOSEFS.into_iter().filter(|_| composefs));
        }
    }
    let lookup = Lookup::new(boot)?;
    let mut found = Vec::new();
    for (module, purpose, needed) in wanted {
        let mut finding = match lookup.find(module)? {
            // An initramfs need not say what the kernel has built in.
            Finding::Missing(_) if is_built_in(boot.image, boot.release, module)? => {
                Finding::Present(Present::built_in(module))
            }
            finding => finding,
        };
        if let (
            "squashfs",
            Root::Live {
                compression: Some(name),
                ..
            },
            Finding::Present(present),
        ) = (module, root, &mut finding)
        {
            match unpacks(boot, present.module.path.as_deref(), name)? {
                Unpacks::Yes(because) => present.notes.push(because),
                Unpacks::Unknown(why) => present.warnings.push(format!(
                    "nobody can tell whether it reads a squashfs compressed with {name}: {why}"
                )),
                Unpacks::No(why) => finding = Finding::Missing(Missing { why }),
            }
        }
        found.push(Mount {
            module,
            purpose,
            needed,
            finding,
        });
    }
    Ok(found)
}

fn is_built_in(root: &dyn Files, release: &str, name: &str) -> Result<bool> {
    let text = root.read(&format!("usr/lib/modules/{release}/modules.builtin"))?;
    let text = text.unwrap_or_default();
    Ok(built_in(&String::from_utf8_lossy(&text)).contains(name))
}

/// Whether a squashfs is read, with a sentence that says from what that is known.
enum Unpacks {
    Yes(String),
    No(String),
    Unknown(String),
}

/// Whether squashfs, the module at that path or part of the kernel, reads what is compressed so.
fn unpacks(boot: &Boot<'_>, path: Option<&str>, name: &str) -> Result<Unpacks> {
    let Some(algorithm) = ALGORITHMS.iter().find(|known| known.name == name) else {
        return Ok(Unpacks::Unknown(format!(
            "squashfs knows no compression {name}"
        )));
    };
    match path {
        Some(path) => by_symbols(boot.files, path, algorithm),
        None => by_configuration(boot.image, boot.release, algorithm),
    }
}

/// The answer of the module itself: it needs a decompressor's functions only if it was built to use
/// them.
fn by_symbols(files: &dyn Files, path: &str, algorithm: &Algorithm) -> Result<Unpacks> {
    let info = ModuleInfo::read(&files.read(path)?.unwrap_or_default())?;
    let called = algorithm
        .symbols
        .iter()
        .find(|symbol| info.undefined.iter().any(|name| name == *symbol));
    Ok(match called {
        Some(symbol) => Unpacks::Yes(format!("{path} calls {symbol}")),
        None if info.undefined.is_empty() => {
            Unpacks::Unknown(format!("{path} has no symbols that would tell"))
        }
        None => Unpacks::No(format!("{path} was built without {}", algorithm.name)),
    })
}

/// The answer of the configuration that the kernel was built with.
fn by_configuration(root: &dyn Files, release: &str, algorithm: &Algorithm) -> Result<Unpacks> {
    for path in [
        format!("usr/lib/modules/{release}/config"),
        format!("boot/config-{release}"),
    ] {
        let Some(text) = root.read(&path)? else {
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        let set = |line: &str| line.trim_end() == format!("{}=y", algorithm.option);
        return Ok(match text.lines().any(set) {
            true => Unpacks::Yes(format!("{path} sets {}", algorithm.option)),
            false => Unpacks::No(format!("{path} does not set {}", algorithm.option)),
        });
    }
    Ok(Unpacks::Unknown(format!(
        "squashfs is built into kernel {release}, whose configuration is not in the image"
    )))
}
