//! The kernel that boots, as far as modules have to fit it.
//!
//! What it was built as is told by the first of its own modules: nothing in the image of a kernel
//! says so without decompressing it, and modules of the same build are the same.

use anyhow::Result;

use super::files::Files;
use super::modinfo::{Machine, ModuleInfo};
use super::modules::Dependencies;
use super::some_of;
use super::versions::KernelSymbols;

/// Where a kernel's own modules are in its directory of modules.
pub(super) const OWN: &str = "kernel/";

/// Most of a kernel's own modules that are looked at for one that can be read.
const TRIES: usize = 8;

/// The kernel that boots.
#[derive(Debug)]
pub(super) struct Target {
    release: String,
    own: Option<OwnModule>,
    symbols: Option<KernelSymbols>,
}

/// One of the kernel's own modules.
#[derive(Debug)]
pub(super) struct OwnModule {
    path: String,
    machine: Machine,
    flags: String,
    /// Who signed it.
    pub(super) signer: Option<String>,
}

/// How a module fits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    /// Why it does although it was built for another release.
    pub(super) note: Option<String>,
    /// Why it may not.
    pub(super) warning: Option<String>,
}

impl Target {
    /// The kernel of that release. `places` have its modules or more of what belongs to it: the
    /// files of the stage, and those of the image that they were made from.
    pub(super) fn new(places: &[&dyn Files], release: &str) -> Result<Self> {
        let mut target = Self {
            release: release.to_owned(),
            own: None,
            symbols: None,
        };
        for files in places {
            if target.own.is_none() {
                target.own = own_module(*files, release)?;
            }
            if target.symbols.is_none() {
                target.symbols = KernelSymbols::find(*files, release)?;
            }
        }
        Ok(target)
    }

    /// One of its own modules, if there is any.
    pub(super) fn own(&self) -> Option<&OwnModule> {
        self.own.as_ref()
    }

    /// What cannot be told of whether modules fit, as nothing says how the kernel was built.
    pub(super) fn unknown(&self) -> Option<String> {
        let release = &self.release;
        self.own.is_none().then(|| {
            format!(
                "whether it is built for the architecture and the flags of kernel {release} cannot be \
                 told: there is none of that kernel's own modules to compare with"
            )
        })
    }

    /// Whether the kernel would take a module, or why not. `exported` are symbols of modules that
    /// are loaded before it and are not the kernel's own, sorted.
    pub(super) fn fits(
        &self,
        path: &str,
        module: &ModuleInfo,
        exported: &[String],
    ) -> Result<Fit, String> {
        let release = &self.release;
        if let Some(own) = &self.own
            && own.machine != module.machine
        {
            return Err(format!(
                "{path} is built for {}, and kernel {release} for {}",
                module.machine, own.machine
            ));
        }
        let (Some(built_for), Some(flags)) = (module.release(), module.flags()) else {
            return Err(format!("{path} does not say for which kernel it was built"));
        };
        let kernel_flags = self.own.as_ref().map(|own| own.flags.as_str());
        let compares_versions = kernel_flags.is_some_and(has_versions);
        let same_release = built_for == release;
        let versions_count = compares_versions && module.versions.is_some();
        if !same_release && !versions_count {
            return Err(format!(
                "{path} was built for kernel {built_for}, and {release} boots"
            ));
        }
        if let Some(own) = &self.own
            && own.flags != flags
        {
            return Err(format!(
                "{path} was built for a kernel that is `{flags}`, and {release} is `{}`, as {} says",
                own.flags, own.path
            ));
        }
        match &module.versions {
            Some(versions) => {
                let count = versions.len();
                let Some(symbols) = &self.symbols else {
                    let unproved = || {
                        format!(
                            "{path} was built for kernel {built_for}, and that its {count} symbol versions match those of {release} cannot be proved: there is no symvers of that kernel"
                        )
                    };
                    return Ok(Fit {
                        note: None,
                        warning: (!same_release).then(unproved),
                    });
                };
                self.compare(path, module, symbols, exported)?;
                let matching = || {
                    format!(
                        "{path} was built for kernel {built_for}; its {count} symbol versions match those of {release} in {}",
                        symbols.path
                    )
                };
                Ok(Fit {
                    note: (!same_release).then(matching),
                    warning: None,
                })
            }
            None if compares_versions => Ok(Fit {
                note: None,
                warning: Some(format!(
                    "{path} has no symbol versions, and kernel {release}, which was built with them, may refuse it"
                )),
            }),
            None => Ok(Fit::default()),
        }
    }

    fn compare(
        &self,
        path: &str,
        module: &ModuleInfo,
        symbols: &KernelSymbols,
        exported: &[String],
    ) -> Result<(), String> {
        let is_in = |names: &[String], name: &String| names.binary_search(name).is_ok();
        let mut different = Vec::new();
        let mut unknown = Vec::new();
        for (name, checksum) in module.versions.iter().flatten() {
            // Whatever such a module has by that name, it is not the kernel's.
            if is_in(exported, name) {
                continue;
            }
            match symbols.checksums.get(name) {
                Some(kernel) if kernel == checksum => {}
                Some(_) => different.push(name.as_str()),
                None if is_in(&module.undefined, name) && !is_in(&module.weak, name) => {
                    unknown.push(name.as_str());
                }
                None => {}
            }
        }
        let refused = |what: &str, names: &[&str]| {
            let count = names.len();
            let plural = if count == 1 { "" } else { "s" };
            Err(format!(
                "{path} {what} {count} symbol{plural}, by {}: {}",
                symbols.path,
                some_of(names)
            ))
        };
        let release = &self.release;
        if !different.is_empty() {
            let what = format!("disagrees with kernel {release} about the version of");
            return refused(&what, &different);
        }
        if !unknown.is_empty() {
            return refused(&format!("needs what kernel {release} has not:"), &unknown);
        }
        Ok(())
    }
}

/// Whether a kernel that was built like this compares versions of symbols.
fn has_versions(flags: &str) -> bool {
    flags.split(' ').any(|flag| flag == "modversions")
}

/// The first of the kernel's own modules that says it is one.
fn own_module(files: &dyn Files, release: &str) -> Result<Option<OwnModule>> {
    for directory in super::MODULE_DIRECTORIES {
        let directory = format!("{directory}/{release}");
        let Some(text) = files.read(&format!("{directory}/modules.dep"))? else {
            continue;
        };
        let all = Dependencies::parse(&String::from_utf8_lossy(&text));
        let paths = all.names().filter_map(|name| all.path(name));
        for path in paths.filter(|path| path.starts_with(OWN)).take(TRIES) {
            let path = format!("{directory}/{path}");
            let Some(bytes) = files.read(&path)? else {
                continue;
            };
            if let Ok(info) = ModuleInfo::read(&bytes)
                && info.release() == Some(release)
                && let Some(flags) = info.flags()
            {
                return Ok(Some(OwnModule {
                    flags: flags.to_owned(),
                    machine: info.machine,
                    signer: info.signature.and_then(|signature| signature.signer),
                    path,
                }));
            }
        }
    }
    Ok(None)
}
