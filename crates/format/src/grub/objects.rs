//! What the kernel is given: modules, a config, and where the rest is.

use anyhow::{Context, Result, ensure};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::format::{
    ALIGNMENT, MODULE_MAGIC, ModuleInfo, OBJECT_CONFIG, OBJECT_MODULE, OBJECT_PREFIX, ObjectHeader,
};
use super::modules::Modules;

/// Most bytes of kernel and modules. They lie in memory from 1 MiB or 2 MiB on, where small machines
/// have a few MiB; all modules of GRUB 2.06 together have less than that.
const MAX_BYTES: usize = 8 << 20;

/// A number of 32 bits in one of the byte orders.
pub(super) trait Word: From<u32> + IntoBytes + Immutable + Unaligned {}

impl<W: From<u32> + IntoBytes + Immutable + Unaligned> Word for W {}

/// Module info and objects: the modules in `names` with all that they need, config and prefix.
pub(super) fn objects<W: Word>(
    modules: &Modules,
    names: &[&str],
    prefix: &str,
    config: Option<&str>,
) -> Result<Vec<u8>> {
    let mut objects = Vec::new();
    for module in modules.resolve(names)? {
        put::<W>(&mut objects, OBJECT_MODULE, module)?;
    }
    for (kind, what, text) in [
        (OBJECT_CONFIG, "configuration", config),
        (OBJECT_PREFIX, "prefix", Some(prefix)),
    ] {
        if let Some(text) = text {
            ensure!(
                !text.contains('\0'),
                "GRUB's {what} {text:?} has a NUL character"
            );
            let mut bytes = text.as_bytes().to_vec();
            bytes.push(0);
            put::<W>(&mut objects, kind, &bytes)?;
        }
    }
    let info_bytes = size_of::<ModuleInfo<W>>();
    let info = ModuleInfo::<W> {
        magic: MODULE_MAGIC.into(),
        offset: to_u32(info_bytes)?.into(),
        bytes: to_u32(info_bytes + objects.len())?.into(),
    };
    let mut all = info.as_bytes().to_vec();
    all.append(&mut objects);
    Ok(all)
}

/// Appends an object with its header.
fn put<W: Word>(objects: &mut Vec<u8>, kind: u32, bytes: &[u8]) -> Result<()> {
    check_bytes(objects.len().saturating_add(bytes.len()))?;
    let padded = bytes.len().next_multiple_of(ALIGNMENT);
    let header = ObjectHeader::<W> {
        kind: kind.into(),
        bytes: to_u32(size_of::<ObjectHeader<W>>() + padded)?.into(),
    };
    objects.extend_from_slice(header.as_bytes());
    objects.extend_from_slice(bytes);
    objects.resize(objects.len() + padded - bytes.len(), 0);
    Ok(())
}

/// Refuses kernels and modules that are larger than GRUB's can be.
pub(super) fn check_bytes(bytes: usize) -> Result<()> {
    ensure!(
        bytes <= MAX_BYTES,
        "GRUB's kernel and modules have more than {MAX_BYTES} bytes"
    );
    Ok(())
}

pub(super) fn to_u32(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).context("GRUB's core image is too large")
}
