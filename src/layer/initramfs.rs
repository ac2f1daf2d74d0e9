//! A segment behind an initramfs: drivers that it lacks, and the indexes that know of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::indexes;
use super::overlay::Overlay;
use crate::format::cpio;
use crate::kernel::{FILE_MAX_BYTES, Files, Initramfs, is_index, module_name};
use crate::tree::{Content, ReadAt, Tree};

/// A directory of modules, as it is called in roots, and how old initramfs call it.
const MODULES: &str = "usr/lib/modules";
const OLD_MODULES: &str = "lib/modules";

/// What is to be appended.
pub(super) struct Segment {
    /// The compressed archive.
    pub(super) archive: Vec<u8>,
    /// Paths of the files in it, sorted.
    pub(super) members: Vec<String>,
}

/// The segment that `old` needs to have the `wanted` files of `root`; none if it has them all.
pub(super) fn compose(
    old: &Initramfs,
    root: &Overlay<'_>,
    tree: &Tree,
    release: &str,
    wanted: &BTreeSet<String>,
) -> Result<Option<Segment>> {
    let modules = match !old.exists(MODULES)? && old.exists(OLD_MODULES)? {
        true => OLD_MODULES,
        false => MODULES,
    };
    let mut new = Overlay::new(old);
    let mut added_modules = false;
    for path in wanted {
        let inside = match path.strip_prefix(MODULES) {
            Some(rest) => format!("{modules}{rest}"),
            None => path.clone(),
        };
        let bytes = root
            .read(path)?
            .with_context(|| format!("{path} is not in the image"))?;
        let is_module = module_name(path).is_some();
        // Contents of other files were not kept; what is there under the name is what dracut copied.
        let has = match is_module {
            true => old.read(&inside)?.as_deref() == Some(&bytes[..]),
            false => old.exists(&inside)?,
        };
        if !has {
            added_modules |= is_module;
            new.add(inside, bytes);
        }
    }
    let directory = format!("{modules}/{release}");
    let stale = added_modules || !knows(old, &directory, release, wanted)?;
    if stale {
        let built: &dyn Files = tree;
        let indexes = indexes::make(&new, root, built, release, &directory)
            .context("indexing the modules of the initramfs")?;
        for (name, bytes) in indexes.files {
            new.add(format!("{directory}/{name}"), bytes);
        }
    }
    let files = new.into_changes();
    if files.is_empty() {
        return Ok(None);
    }
    Ok(Some(Segment {
        archive: archive(old, &files)?,
        members: files.into_keys().collect(),
    }))
}

/// Whether the initramfs has indexes that name the wanted modules.
fn knows(
    old: &Initramfs,
    directory: &str,
    release: &str,
    wanted: &BTreeSet<String>,
) -> Result<bool> {
    let dep = old.read(&format!("{directory}/modules.dep"))?;
    for name in ["modules.dep.bin", "modules.alias.bin"] {
        if !is_index(old, &format!("{directory}/{name}"))? {
            return Ok(false);
        }
    }
    let text = String::from_utf8_lossy(dep.as_deref().unwrap_or_default()).into_owned();
    let prefix = format!("{MODULES}/{release}/");
    Ok(wanted
        .iter()
        .filter(|path| module_name(path).is_some())
        .filter_map(|path| path.strip_prefix(&prefix))
        .all(|path| {
            text.lines()
                .any(|line| line.split(':').next() == Some(path))
        }))
}

/// The files with the directories that are missing for them, as a gzip-compressed archive.
fn archive(old: &Initramfs, files: &BTreeMap<String, Content>) -> Result<Vec<u8>> {
    let mut writer = cpio::Writer::new(GzEncoder::new(Vec::new(), Compression::best()));
    let mut made = BTreeSet::new();
    for (path, content) in files {
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            // One over a symbolic link would take its place.
            if !old.exists(directory)? && made.insert(directory.to_owned()) {
                writer.directory(directory, 0o755)?;
            }
        }
        let bytes = content.to_vec(FILE_MAX_BYTES)?;
        writer.file(path, 0o644, &bytes)?;
    }
    writer.finish()?.finish().context("compressing the segment")
}

/// The initramfs with the segment behind it. Both begin and end at multiples of four, as the kernel
/// looks for segments there.
pub(super) fn append(base: &Content, archive: &[u8]) -> Result<Content> {
    let mut tail = vec![0; cpio::padding(base.len())];
    tail.write_all(archive)?;
    tail.resize(tail.len().next_multiple_of(4), 0);
    let len = base.len() + tail.len() as u64;
    let joined = Joined {
        base: base.clone(),
        tail: Content::bytes(tail),
    };
    Ok(Content::composed(Arc::new(joined), len))
}

/// One content behind another.
#[derive(Debug)]
struct Joined {
    base: Content,
    tail: Content,
}

impl ReadAt for Joined {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let left = self.base.len().saturating_sub(offset);
        let here = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let (first, second) = buffer.split_at_mut(here);
        if !first.is_empty() {
            self.base.read_at(offset, first)?;
        }
        match second.is_empty() {
            true => Ok(()),
            false => {
                let start = (offset + here as u64) - self.base.len();
                self.tail.read_at(start, second)
            }
        }
    }
}
