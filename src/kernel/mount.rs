//! Whether an initramfs can mount the live root that we write: a squashfs in a file.

use anyhow::Result;

use super::files::Files;
use super::finding::Finding;
use super::initramfs::Initramfs;
use super::modinfo::ModuleInfo;
use super::modules::built_in;
use super::presence::look_up;

/// What a live boot needs: the file system, and the device that makes a disk of a file. Writable
/// parts are bind mounts in CoreOS's own live module, so overlay is not asked for.
const NEEDED: [&str; 2] = ["squashfs", "loop"];

/// A question answered, with a sentence that says from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, because.
    Yes(String),
    /// No, because.
    No(String),
    /// It cannot be told, because.
    Unknown(String),
}

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

/// Whether the initramfs, booted by the kernel of that release, mounts a squashfs compressed with
/// `algorithm` (`zstd`, `xz`, `gzip`, `lz4`, `lzo`). `root` is the tree that the kernel is from.
pub fn mount_support(
    initramfs: &Initramfs,
    root: &dyn Files,
    kernel_release: &str,
    algorithm: &str,
) -> Result<Verdict> {
    let Some(algorithm) = ALGORITHMS.iter().find(|known| known.name == algorithm) else {
        return Ok(Verdict::Unknown(format!(
            "squashfs knows no compression {algorithm}"
        )));
    };
    let mut squashfs = None;
    for name in NEEDED {
        let module = match look_up(initramfs, kernel_release, name)? {
            Finding::Present(present) => present.module,
            // An initramfs need not say what the kernel has built in.
            Finding::Missing(_) if is_built_in(root, kernel_release, name)? => continue,
            Finding::Missing(missing) => {
                return Ok(Verdict::No(format!("no {name}: {}", missing.why)));
            }
        };
        if name == "squashfs" {
            squashfs = module.path;
        }
    }
    match squashfs {
        Some(path) => by_symbols(initramfs, &path, algorithm),
        None => by_configuration(root, kernel_release, algorithm),
    }
}

fn is_built_in(root: &dyn Files, release: &str, name: &str) -> Result<bool> {
    let text = root.read(&format!("usr/lib/modules/{release}/modules.builtin"))?;
    let text = text.unwrap_or_default();
    Ok(built_in(&String::from_utf8_lossy(&text)).contains(name))
}

/// The answer of the module itself: it needs a decompressor's functions only if it was built to use
/// them.
fn by_symbols(files: &dyn Files, path: &str, algorithm: &Algorithm) -> Result<Verdict> {
    let info = ModuleInfo::read(&files.read(path)?.unwrap_or_default())?;
    let called = algorithm
        .symbols
        .iter()
        .find(|symbol| info.undefined.iter().any(|name| name == *symbol));
    Ok(match called {
        Some(symbol) => Verdict::Yes(format!("{path} calls {symbol}")),
        None if info.undefined.is_empty() => {
            Verdict::Unknown(format!("{path} has no symbols that would tell"))
        }
        None => Verdict::No(format!("{path} was built without {}", algorithm.name)),
    })
}

/// The answer of the configuration that the kernel was built with.
fn by_configuration(root: &dyn Files, release: &str, algorithm: &Algorithm) -> Result<Verdict> {
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
            true => Verdict::Yes(format!("{path} sets {}", algorithm.option)),
            false => Verdict::No(format!("{path} does not set {}", algorithm.option)),
        });
    }
    Ok(Verdict::Unknown(format!(
        "squashfs is built into kernel {release}, whose configuration is not in the image"
    )))
}
