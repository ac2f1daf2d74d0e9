//! A driver looked up in the files of a boot stage.

use std::collections::BTreeSet;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::arguments::Arguments;
use super::depmod::is_index;
use super::driver_name::nearest;
use super::files::Files;
use super::finding::{Finding, Missing, Module, Present, SoftDependencies};
use super::loading::Loading;
use super::modinfo::ModuleInfo;
use super::modules::{Dependencies, built_in, canonical_name, module_name};
use super::search::{Search, directory, releases};
use super::target::{Fit, OWN, Target};
use super::{configuration, firmware, some_of};

/// A stage of a boot.
#[derive(Clone, Copy)]
pub struct Boot<'a> {
    /// The file system of the stage.
    pub files: &'a dyn Files,
    /// The image that kernel and initramfs are from: what it has of the kernel is consulted where
    /// `files` has it not, such as the versions of its symbols. May be the same as `files`.
    pub image: &'a dyn Files,
    /// The release of the kernel that boots.
    pub release: &'a str,
    /// The kernel's arguments, in their order; several may be in one string.
    pub arguments: &'a [String],
    /// Whether the stage is the initramfs.
    pub initramfs: bool,
}

/// Looks drivers up at one stage of a boot.
pub struct Lookup<'a> {
    boot: Boot<'a>,
    /// None if there is no directory of modules for the kernel.
    modules: Option<Modules<'a>>,
}

impl<'a> Lookup<'a> {
    /// Reads what is the same for all drivers.
    pub fn new(boot: &Boot<'a>) -> Result<Self> {
        Ok(Self {
            boot: *boot,
            modules: Modules::of(boot)?,
        })
    }

    /// Whether `driver` would be loaded.
    ///
    /// Errors are for files that cannot be read; a driver that is not there, not complete, or kept
    /// from being loaded is a [`Finding::Missing`].
    pub fn find(&self, driver: &str) -> Result<Finding> {
        let name = canonical_name(driver);
        let found = match &self.modules {
            Some(modules) => modules.find(&name)?,
            None => Err(no_modules(self.boot.files, self.boot.release)?),
        };
        Ok(match found {
            Ok(present) => Finding::Present(present),
            Err(why) => Finding::Missing(Missing { why }),
        })
    }
}

/// Whether `driver` would be loaded at a stage of a boot. For several drivers of one stage, a
/// [`Lookup`] reads less.
pub fn look_up_at(boot: &Boot<'_>, driver: &str) -> Result<Finding> {
    Lookup::new(boot)?.find(driver)
}

/// Whether `driver` would be loaded with these files by the kernel of that release, without any
/// kernel arguments, in a stage that is no initramfs.
pub fn look_up(files: &dyn Files, kernel_release: &str, driver: &str) -> Result<Finding> {
    let boot = Boot {
        files,
        image: files,
        release: kernel_release,
        arguments: &[],
        initramfs: false,
    };
    look_up_at(&boot, driver)
}

/// Something found, or the sentence that says why not.
type Found<T> = Result<T, String>;

/// The modules of one kernel.
struct Modules<'a> {
    files: &'a dyn Files,
    image: &'a dyn Files,
    release: &'a str,
    /// Where they and their indexes lie.
    directory: String,
    built_in: BTreeSet<String>,
    /// None where there is no `modules.dep`.
    dependencies: Option<Dependencies>,
    target: Target,
    loading: Loading,
}

/// A module that was read.
struct Read {
    name: String,
    /// As modules.dep names it.
    listed: String,
    /// Its path in the stage's file system.
    path: String,
    bytes_len: u64,
    sha256: String,
    info: ModuleInfo,
}

impl<'a> Modules<'a> {
    /// The modules of the kernel that boots, if there is a directory for them.
    fn of(boot: &Boot<'a>) -> Result<Option<Self>> {
        let files = boot.files;
        let Some(directory) = directory(files, boot.release)? else {
            return Ok(None);
        };
        let index = |name: &str| -> Result<Option<String>> {
            let bytes = files.read(&format!("{directory}/modules.{name}"))?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let dependencies = index("dep")?.map(|text| Dependencies::parse(&text));
        let arguments = Arguments::new(boot.arguments, files, boot.initramfs)?;
        Ok(Some(Self {
            built_in: built_in(&index("builtin")?.unwrap_or_default()),
            dependencies,
            target: Target::new(&[files, boot.image], boot.release)?,
            loading: Loading::read(files, &directory, arguments)?,
            files,
            image: boot.image,
            release: boot.release,
            directory,
        }))
    }

    fn find(&self, name: &str) -> Result<Found<Present>> {
        if self.built_in.contains(name) {
            return Ok(Ok(Present::built_in(name)));
        }
        let entry = self.dependencies.as_ref().and_then(|all| all.get(name));
        let (Some(all), Some(entry)) = (&self.dependencies, entry) else {
            return Ok(Err(self.unknown(name)?));
        };
        // kmod reads this form of the index only.
        let index = format!("{}/modules.dep.bin", self.directory);
        if !is_index(self.files, &index)? {
            return Ok(Err(match self.files.exists(&index)? {
                true => {
                    format!("{index} is damaged, so modprobe finds nothing: depmod failed there")
                }
                false => format!(
                    "{} has a modules.dep, but no modules.dep.bin: depmod was not run there",
                    self.directory
                ),
            }));
        }
        if let Some(why) = circle(name, all) {
            return Ok(Err(why));
        }
        let mut needed = Vec::new();
        for path in &entry.dependencies {
            let dependency = module_name(path).unwrap_or_else(|| path.clone());
            match self.read(&dependency, path)? {
                Ok(read) => needed.push(read),
                Err(why) => return Ok(Err(format!("its dependency {dependency}: {why}"))),
            }
        }
        let module = match self.read(name, &entry.path)? {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        self.assess(module, needed, all)
    }

    /// A module and its dependencies, in the order of loading, as the kernel and kmod see them.
    fn assess(
        &self,
        module: Read,
        needed: Vec<Read>,
        all: &Dependencies,
    ) -> Result<Found<Present>> {
        let name = module.name.as_str();
        for wanted in module.info.depends().map(canonical_name) {
            let listed = needed.iter().any(|read| read.name == wanted);
            if !listed && !self.built_in.contains(&wanted) {
                return Ok(Err(match all.path(&wanted) {
                    Some(_) => format!(
                        "it depends on {wanted}, which modules.dep does not say: depmod was not run after it was installed"
                    ),
                    None => format!("it depends on {wanted}, and there is no such module"),
                }));
            }
        }
        let mut notes = Vec::new();
        let mut warnings = Vec::new();
        let foreign = needed.iter().filter(|read| !read.is_own());
        let mut exported: Vec<String> = foreign
            .flat_map(|read| read.info.exported.iter().cloned())
            .collect();
        exported.sort_unstable();
        warnings.extend(self.target.unknown());
        for read in std::iter::once(&module).chain(&needed) {
            let prefix = |why: String| match read.name == name {
                true => why,
                false => format!("its dependency {}: {why}", read.name),
            };
            match self.target.fits(&read.path, &read.info, &exported) {
                Ok(Fit { note, warning }) => {
                    notes.extend(note);
                    warnings.extend(warning);
                }
                Err(why) => return Ok(Err(prefix(why))),
            }
            match self.loading.refused(&read.name) {
                Ok(warning) => warnings.extend(warning),
                Err(why) => return Ok(Err(prefix(why))),
            }
        }
        match self.signatures(&module, &needed) {
            Ok(found) => warnings.extend(found),
            Err(why) => return Ok(Err(why)),
        }
        let soft_dependencies = self.soft_dependencies(&module);
        if !soft_dependencies.absent.is_empty() {
            notes.push(format!(
                "soft dependencies that are not there: {}",
                some_of(&soft_dependencies.absent)
            ));
        }
        let absent = self.absent_firmware(&module, &needed)?;
        if !absent.is_empty() {
            warnings.push(format!("firmware that is not there: {}", some_of(&absent)));
        }
        let own: Vec<&str> = module.info.all("alias").collect();
        let loaded = match self.loading.judge(name, &own, all) {
            Ok(loaded) => loaded,
            Err(why) => return Ok(Err(why)),
        };
        warnings.extend(loaded.warnings);
        Ok(Ok(Present {
            module: module.evidence(),
            dependencies: needed.iter().map(Read::evidence).collect(),
            soft_dependencies,
            loaded_by: loaded.by,
            notes,
            warnings,
        }))
    }

    /// Reads the module in a file that an index names.
    fn read(&self, name: &str, listed: &str) -> Result<Found<Read>> {
        let path = match listed.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => format!("{}/{listed}", self.directory),
        };
        let Some(bytes) = self.files.read(&path)? else {
            return Ok(Err(format!("modules.dep names {path}, which is not there")));
        };
        Ok(match ModuleInfo::read(&bytes) {
            Ok(info) => Ok(Read {
                name: name.to_owned(),
                listed: listed.to_owned(),
                path,
                bytes_len: bytes.len() as u64,
                sha256: hex::encode(Sha256::digest(&bytes)),
                info,
            }),
            Err(error) => Err(format!("{path} is no usable module: {error:#}")),
        })
    }

    /// Why no index names the module.
    fn unknown(&self, name: &str) -> Result<String> {
        let mut search = Search::new(self.files, name);
        if let Some(path) = search.below(&self.directory)? {
            return Ok(match self.dependencies {
                Some(_) => format!(
                    "{path} is there, but modules.dep does not name it: depmod was not run after it was installed"
                ),
                None => format!("{path} is there, but there is no modules.dep: depmod was not run"),
            });
        }
        for other in releases(self.files)? {
            if other == self.release {
                continue;
            }
            if let Some(directory) = directory(self.files, &other)?
                && search.below(&directory)?.is_some()
            {
                return Ok(format!(
                    "module {name} is there for kernel {other}, and {} boots",
                    self.release
                ));
            }
        }
        let meant = self.meant(name)?;
        let question = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        Ok(format!(
            "kernel {} has no module {name} here, neither as a file nor built in{question}",
            self.release
        ))
    }

    /// The module of the image that was likely meant by a name that the image does not have.
    fn meant(&self, name: &str) -> Result<Option<String>> {
        let Some(directory) = directory(self.image, self.release)? else {
            return Ok(None);
        };
        let index = |name: &str| -> Result<String> {
            let bytes = self.image.read(&format!("{directory}/modules.{name}"))?;
            Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
        };
        let files = Dependencies::parse(&index("dep")?);
        let built_in = built_in(&index("builtin")?);
        if files.get(name).is_some() || built_in.contains(name) {
            return Ok(None);
        }
        let known = files.names().chain(built_in.iter().map(String::as_str));
        Ok(nearest(name, known).map(str::to_owned))
    }

    /// What signatures may lead to, or why the kernel refuses the driver for them.
    fn signatures(&self, module: &Read, needed: &[Read]) -> Found<Vec<String>> {
        let mut warnings = Vec::new();
        let all = || std::iter::once(module).chain(needed);
        let unsigned: Vec<&str> = all()
            .filter(|read| read.info.signature.is_none())
            .map(|read| read.name.as_str())
            .collect();
        if !unsigned.is_empty() {
            if let Some(argument) = self.loading.arguments().refuses_unsigned() {
                return Err(format!(
                    "{argument} makes the kernel refuse what is not signed: {}",
                    some_of(&unsigned)
                ));
            }
            warnings.push(format!(
                "not signed, so refused under Secure Boot: {}",
                some_of(&unsigned)
            ));
        }
        for read in all() {
            if let Some(signature) = &read.info.signature
                && let Some(why) = &signature.unreadable
            {
                warnings.push(format!(
                    "{} has a signature that cannot be read ({why}), so a kernel that checks signatures refuses it even without Secure Boot",
                    read.path
                ));
            }
        }
        let Some(builder) = self.target.own().and_then(|own| own.signer.as_deref()) else {
            return Ok(warnings);
        };
        let signer = |read: &'_ &Read| -> Option<String> {
            let signer = read.info.signature.as_ref()?.signer.clone()?;
            (signer != builder).then_some(signer)
        };
        let others: BTreeSet<String> = all().filter_map(|read| signer(&read)).collect();
        for other in others {
            let modules: Vec<&str> = all()
                .filter(|read| signer(read).as_ref() == Some(&other))
                .map(|read| read.name.as_str())
                .collect();
            warnings.push(format!(
                "signed by {other} and not by {builder} as the kernel's own modules, so refused under Secure Boot unless that key is enrolled or in the kernel: {}",
                some_of(&modules)
            ));
        }
        Ok(warnings)
    }

    /// Soft dependencies of a module, by the index and by its own words.
    fn soft_dependencies(&self, module: &Read) -> SoftDependencies {
        let indexed = self.loading.soft(&module.name).cloned();
        // Without an index nothing says so but the module; kmod takes one line only.
        let soft = indexed.or_else(|| {
            let words = module.info.get("softdep")?;
            Some(configuration::soft(module.name.clone(), words))
        });
        let soft = soft.unwrap_or_default();
        let mut found = SoftDependencies::default();
        let is_there = |name: &String| {
            let known = self.dependencies.as_ref().and_then(|all| all.get(name));
            known.is_some() || self.built_in.contains(name) || self.loading.is_alias(name)
        };
        let absent = |name: &&String| !is_there(name);
        found.absent = soft
            .before
            .iter()
            .chain(&soft.after)
            .filter(absent)
            .cloned()
            .collect();
        found.absent.sort_unstable();
        found.absent.dedup();
        found.before = soft.before.into_iter().filter(is_there).collect();
        found.after = soft.after.into_iter().filter(is_there).collect();
        found
    }

    fn absent_firmware(&self, module: &Read, needed: &[Read]) -> Result<Vec<String>> {
        let all = std::iter::once(module).chain(needed);
        let names = all.flat_map(|read| read.info.all("firmware"));
        let first = self.loading.arguments().firmware_directory();
        firmware::absent(self.files, self.release, first, names)
    }
}

impl Read {
    /// Whether it is one of the modules that the kernel came with, by its place.
    fn is_own(&self) -> bool {
        self.listed.starts_with(OWN)
    }

    fn evidence(&self) -> Module {
        let signature = self.info.signature.clone();
        let is_signed = signature.is_some();
        let signature = signature.unwrap_or_default();
        let vermagic = self.info.vermagic();
        Module {
            name: self.name.clone(),
            built_in: false,
            path: Some(self.path.clone()),
            size: Some(self.bytes_len),
            sha256: Some(self.sha256.clone()),
            vermagic: vermagic.map(|vermagic| vermagic.trim_end().to_owned()),
            signed: Some(is_signed),
            signer: signature.signer,
            key: signature.key,
            hash: signature.hash,
        }
    }
}

/// What keeps a module from ever being loaded: it needs itself.
fn circle(name: &str, all: &Dependencies) -> Option<String> {
    let needs = |name: &str, other: &str| {
        let paths = all.dependencies(name).unwrap_or_default();
        paths
            .iter()
            .any(|path| module_name(path).as_deref() == Some(other))
    };
    if needs(name, name) {
        return Some(format!("by modules.dep, {name} depends on itself"));
    }
    let paths = all.dependencies(name).unwrap_or_default();
    let names = paths.iter().filter_map(|path| module_name(path));
    let other = names.into_iter().find(|other| needs(other, name))?;
    Some(format!(
        "by modules.dep, {name} and {other} depend on each other, so neither can be loaded"
    ))
}

/// What is said where a kernel has no directory of modules at all.
fn no_modules(files: &dyn Files, release: &str) -> Result<String> {
    let others = releases(files)?;
    Ok(match others.is_empty() {
        true => format!("there are no modules for kernel {release}"),
        false => format!(
            "there are no modules for kernel {release}, only for {}",
            some_of(&others)
        ),
    })
}
