//! Module indexes made anew, as depmod would in a file system that is not there yet.

use anyhow::{Context, Result, ensure};

use super::overlay::Overlay;
use crate::kernel::{BuildFiles, Depmod, Files, Indexes, depmod_configuration, module_name};

/// Deepest directory that is looked into for modules.
const DEPTH_MAX: usize = 16;

/// Most modules, and most directories, that are looked at.
const MODULES_MAX: usize = 1 << 16;
const DIRECTORIES_MAX: usize = 1 << 14;

/// Renews the indexes in the root's directory of modules; gives what depmod would complain about.
pub(super) fn renew(root: &mut Overlay<'_>, release: &str, directory: &str) -> Result<Vec<String>> {
    let indexes = make(root, root, root, release, directory)?;
    for (name, bytes) in indexes.files {
        let path = format!("{directory}/{name}");
        if root.read(&path)?.as_deref() != Some(&bytes[..]) {
            root.add(path, bytes);
        }
    }
    Ok(indexes.warnings)
}

/// The indexes of the modules that `files` has below `directory`. depmod's configuration is read in
/// `configured`, and what the kernel's build left beside the modules in `built`.
pub(super) fn make(
    files: &dyn Files,
    configured: &dyn Files,
    built: &dyn Files,
    release: &str,
    directory: &str,
) -> Result<Indexes> {
    let configuration = depmod_configuration(configured)?;
    let configuration: Vec<(&str, &str)> = configuration
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    let mut depmod = Depmod::new(release, &configuration)?;
    for path in paths(files, directory)? {
        if !depmod.wants(&path) {
            continue;
        }
        let bytes = files
            .read(&format!("{directory}/{path}"))?
            .with_context(|| format!("module {directory}/{path} leads nowhere"))?;
        depmod.add(&path, &mut &bytes[..])?;
    }
    let build = |name: &str| built.read(&format!("usr/lib/modules/{release}/{name}"));
    let order = build("modules.order")?;
    let builtin = build("modules.builtin")?;
    let builtin_modinfo = build("modules.builtin.modinfo")?;
    depmod
        .finish(&BuildFiles {
            order: order.as_deref(),
            builtin: builtin.as_deref(),
            builtin_modinfo: builtin_modinfo.as_deref(),
        })
        .context("indexing the modules")
}

/// Paths of all module files below `directory`, relative to it, sorted.
pub(super) fn paths(files: &dyn Files, directory: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut ahead = vec![String::new()];
    let mut directories = 0;
    while let Some(below) = ahead.pop() {
        directories += 1;
        ensure!(
            directories <= DIRECTORIES_MAX,
            "{directory} has more than {DIRECTORIES_MAX} directories"
        );
        for name in files.list(&format!("{directory}{below}"))? {
            let path = format!("{below}/{name}");
            if module_name(&name).is_some() {
                found.push(path[1..].to_owned());
            } else if path.matches('/').count() < DEPTH_MAX
                // Links out of the directory: to where the kernel was built.
                && !matches!(&*path, "/build" | "/source")
            {
                ahead.push(path);
            }
        }
        ensure!(
            found.len() <= MODULES_MAX,
            "{directory} has more than {MODULES_MAX} modules"
        );
    }
    found.sort_unstable();
    Ok(found)
}
