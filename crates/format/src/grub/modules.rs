//! The files of a `i386-pc` directory, and which modules need which others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

/// Names the modules that each module needs.
const DEPENDENCIES: &str = "moddep.lst";

/// Longest chain of modules that need each other; GRUB's own have fewer than ten. Also what stops
/// at modules that need themselves.
const MAX_DEPTH: usize = 64;

/// GRUB's files for one platform, such as `usr/lib/grub/i386-pc` of an OS image.
#[derive(Clone, Debug)]
pub struct Modules {
    files: BTreeMap<String, Vec<u8>>,
    /// What each module needs, in the order in which it is named.
    needs: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Takes the directory's files by name; only `*.img`, `*.mod` and `moddep.lst` are looked at.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let mut modules = Self {
            files,
            needs: BTreeMap::new(),
        };
        let list = std::str::from_utf8(modules.file(DEPENDENCIES)?)
            .with_context(|| format!("GRUB's {DEPENDENCIES} is not UTF-8"))?;
        let mut needs = BTreeMap::new();
        for line in list.lines().filter(|line| !line.trim().is_empty()) {
            let (module, needed) = line
                .split_once(':')
                .with_context(|| format!("GRUB's {DEPENDENCIES} has a line {line:?}"))?;
            let needed = needed.split_whitespace().map(str::to_owned).collect();
            needs.insert(module.trim().to_owned(), needed);
        }
        modules.needs = needs;
        Ok(modules)
    }

    /// Whether there is a module of that name; distributions have some of their own, such as
    /// `blscfg`.
    pub fn has(&self, module: &str) -> bool {
        self.has_file(&file_name(module))
    }

    /// Whether there is a file of that name; some builds lack `boot_hybrid.img`.
    pub fn has_file(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// A file's bytes, of which there must be some.
    pub fn file(&self, name: &str) -> Result<&[u8]> {
        let bytes = self
            .files
            .get(name)
            .with_context(|| format!("GRUB's directory has no {name}"))?;
        ensure!(!bytes.is_empty(), "GRUB's {name} is empty");
        Ok(bytes)
    }

    /// The files of `modules` and of all that they need, each after those it needs itself: the
    /// kernel links them in this order.
    pub(super) fn resolve(&self, modules: &[&str]) -> Result<Vec<&[u8]>> {
        let mut order = Vec::new();
        let mut known = BTreeSet::new();
        for module in modules {
            self.visit(module, &mut known, &mut order, 0)
                .with_context(|| format!("looking for GRUB's module {module}"))?;
        }
        Ok(order)
    }

    fn visit<'a>(
        &'a self,
        module: &str,
        known: &mut BTreeSet<String>,
        order: &mut Vec<&'a [u8]>,
        depth: usize,
    ) -> Result<()> {
        if known.contains(module) {
            return Ok(());
        }
        ensure!(
            depth < MAX_DEPTH,
            "GRUB's {DEPENDENCIES} has a chain of more than {MAX_DEPTH} modules that need each other"
        );
        // From the last to the first, as `grub-mkimage` goes.
        for needed in self.needs.get(module).into_iter().flatten().rev() {
            self.visit(needed, known, order, depth + 1)?;
        }
        order.push(self.file(&file_name(module))?);
        known.insert(module.to_owned());
        Ok(())
    }
}

fn file_name(module: &str) -> String {
    format!("{module}.mod")
}
