//! Everything that drivers need to be loaded: modules and firmware.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::configuration::{soft, soft_lines};
use super::files::Files;
use super::firmware;
use super::modinfo::ModuleInfo;
use super::modules::{Dependencies, canonical_name};

/// Most modules that all drivers together may pull in.
const MODULES_MAX: usize = 4096;

/// Paths of the modules and firmware that `drivers` need in a root with the modules of kernel
/// `release`. Soft dependencies and firmware that are not there are passed over.
pub fn closure(root: &dyn Files, release: &str, drivers: &[String]) -> Result<BTreeSet<String>> {
    let directory = format!("usr/lib/modules/{release}");
    let index = |name: &str| -> Result<String> {
        let bytes = root.read(&format!("{directory}/modules.{name}"))?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    let dependencies = Dependencies::parse(&index("dep")?);
    let soft_text = index("softdep")?;
    let mut paths = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut ahead: Vec<String> = drivers.iter().map(|name| canonical_name(name)).collect();
    while let Some(name) = ahead.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        ensure!(
            seen.len() <= MODULES_MAX,
            "the drivers need more than {MODULES_MAX} modules"
        );
        // Built into the kernel, or a soft dependency that is not there.
        let Some(path) = dependencies.path(&name) else {
            continue;
        };
        let path = match path.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => format!("{directory}/{path}"),
        };
        let bytes = root
            .read(&path)?
            .with_context(|| format!("modules.dep names {path}, which is not there"))?;
        let info = ModuleInfo::read(&bytes).with_context(|| format!("reading {path}"))?;
        for name in info.all("firmware") {
            paths.extend(firmware::path(root, release, None, name)?);
        }
        ahead.extend(info.depends().map(canonical_name));
        let own = info.all("softdep").map(|words| soft(name.clone(), words));
        let indexed = soft_lines(&soft_text).filter(|soft| soft.of == name);
        ahead.extend(
            own.chain(indexed)
                .flat_map(|soft| [soft.before, soft.after].concat()),
        );
        let needed = dependencies.dependencies(&name).unwrap_or_default();
        ahead.extend(needed.iter().map(|path| canonical_name(path)));
        paths.insert(path);
    }
    Ok(paths)
}
