//! Whether a module is loaded at a stage of the boot: what loads it, and what keeps it from that.
//!
//! ```text
//! hardware        udev asks for the alias of each device; modules.alias, through its binary index
//! the kernel      asks for file systems and the like by aliases as well
//! by name         modules-load.d and modules-load= (systemd), rd.driver.pre= and .post= (dracut)
//! with others     as a dependency, or a soft one, of a module that is loaded
//! ```
//!
//! A blacklisted module is not loaded by its aliases, nor by systemd, which asks kmod to keep to the
//! list for names too; modprobe, which dracut uses, does not, and dependencies are always loaded. An
//! install command takes the place of loading, whoever asks. `module_blacklist=` is the kernel's own.
//!
//! Left out: an alias of modprobe.d for some of the devices that a module's own alias is for, rules
//! of udev other than that for aliases, scripts that call modprobe, weak dependencies,
//! `initcall_blacklist=` (it names functions).
//!
//! Semantics: kmod 30 (`libkmod-module.c`), systemd 252 (`shared/module-util.c`), dracut 059, Linux
//! `kernel/module/main.c`.

use std::collections::BTreeSet;

use anyhow::Result;

use super::arguments::Arguments;
use super::configuration::{Modprobe, Said, Soft, modules_load};
use super::depmod::is_index;
use super::files::Files;
use super::glob;
use super::kmod_text::underscores;
use super::modules::{Aliases, Dependencies, canonical_name};

/// Where systemd's loader of modules is.
const SYSTEMD_LOADER: [&str; 2] = [
    "usr/lib/systemd/systemd-modules-load",
    "lib/systemd/systemd-modules-load",
];

/// What aliases begin with that stand for a node in /dev, which is made at once.
const DEVICE_NODE: &str = "devname:";

/// Names, as kmod compares them, that the kernel makes up and asks for: targets of device mapper,
/// transports of NVMe, handlers of SCSI paths, schedulers.
const MADE_UP_NAMES: [&str; 4] = ["dm_*", "nvme_*", "scsi_dh_*", "*_iosched"];

/// Most modules that are gone through to find one that a driver is loaded with.
const USERS_MAX: usize = 1000;

/// How many other modules are named as what a driver is loaded with.
const USERS_SHOWN: usize = 3;

/// What the configuration of a stage says about loading modules.
#[derive(Debug)]
pub(super) struct Loading {
    modprobe: Modprobe,
    aliases: Aliases,
    /// Whether there is a text to read aliases from, and the index that kmod reads.
    alias_text: bool,
    alias_index: bool,
    /// The directory of modules, for messages.
    directory: String,
    /// From modules-load.d, where there is something that reads it.
    modules_load: Vec<Said>,
    has_systemd: bool,
    arguments: Arguments,
}

/// What loads a module, and what may not be as it should.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) by: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Loading {
    pub(super) fn read(files: &dyn Files, directory: &str, arguments: Arguments) -> Result<Self> {
        let text = files.read(&format!("{directory}/modules.alias"))?;
        let mut has_systemd = false;
        for path in SYSTEMD_LOADER {
            has_systemd |= files.exists(path)?;
        }
        Ok(Self {
            modprobe: Modprobe::read(files, directory)?,
            alias_text: text.is_some(),
            aliases: Aliases::parse(&String::from_utf8_lossy(&text.unwrap_or_default())),
            alias_index: is_index(files, &format!("{directory}/modules.alias.bin"))?,
            directory: directory.to_owned(),
            modules_load: match has_systemd {
                true => modules_load(files)?,
                false => Vec::new(),
            },
            has_systemd,
            arguments,
        })
    }

    pub(super) fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// The soft dependencies of a module.
    pub(super) fn soft(&self, module: &str) -> Option<&Soft> {
        self.modprobe.soft(module)
    }

    /// Whether a name is an alias of some module.
    pub(super) fn is_alias(&self, name: &str) -> bool {
        self.modprobe.meant(name).is_some() || self.aliases.modules(name).next().is_some()
    }

    /// What keeps a module from being loaded by whoever asks; a warning where it is loaded by a
    /// command.
    pub(super) fn refused(&self, module: &str) -> Result<Option<String>, String> {
        if let Some(argument) = self.arguments.refuses(module) {
            return Err(format!("{argument} makes the kernel refuse {module}"));
        }
        let Some(Said { file, what }) = self.modprobe.install(module) else {
            return Ok(None);
        };
        if loads_modules(what) {
            return Ok(Some(format!(
                "{file} runs a command to load {module}, which may do it or not: {what}"
            )));
        }
        Err(format!(
            "{file} has a command run in place of loading {module}: {what}"
        ))
    }

    /// What loads a module, or why nothing does. `own` are the aliases in its file.
    pub(super) fn judge(
        &self,
        module: &str,
        own: &[&str],
        dependencies: &Dependencies,
    ) -> Result<Loaded, String> {
        let mut loaded = Loaded::default();
        let blacklist = self.blacklist(module);
        loaded.by = self.direct(module, own);
        if loaded.by.is_empty() {
            loaded.by.extend(self.with_others(module, dependencies));
        }
        if !loaded.by.is_empty() {
            if self.alias_index && !self.alias_text && !own.is_empty() {
                loaded.warnings.push(format!(
                    "{}/modules.alias is missing, so that its index knows {module} was not proved",
                    self.directory
                ));
            }
            if blacklist.is_none()
                && let Some(argument) = self.arguments.blacklists_later(module)
            {
                loaded.warnings.push(format!(
                    "{argument} is for the initramfs, but with newer dracut it keeps {module} from being loaded later, too"
                ));
            }
            return Ok(loaded);
        }
        if let Some(blacklist) = blacklist {
            return Err(format!(
                "{blacklist} blacklists {module}, and nothing loads it by its name"
            ));
        }
        if let Some(meant) = self.modprobe.meant(module)
            && let [Said { file, what }, ..] = *meant
            && !meant.iter().any(|said| said.what == module)
        {
            return Err(format!("{file} has {what} loaded in place of {module}"));
        }
        let directory = &self.directory;
        if let [example, ..] = self.aliases.of(module)
            && !self.alias_index
        {
            return Err(format!(
                "{directory} has a modules.alias, which names {module} for {example}, but no usable modules.alias.bin: depmod was not run there"
            ));
        }
        if let [example, ..] = own
            && (self.alias_text || !self.alias_index)
        {
            return Err(format!(
                "its module asks to be loaded for {example}, which {directory}/modules.alias does not say: depmod was not run after it was installed"
            ));
        }
        let mut warning = format!(
            "nothing loads {module} by itself: it has no alias of hardware, no module that is loaded needs it, and no kernel argument or file in modules-load.d names it"
        );
        if !self.has_systemd {
            warning.push_str(" (nor is there a systemd-modules-load to read that)");
        }
        loaded.warnings.push(warning);
        Ok(loaded)
    }

    /// What loads the module itself.
    fn direct(&self, module: &str, own: &[&str]) -> Vec<String> {
        let mut by = Vec::new();
        if self.blacklist(module).is_none() {
            by.extend(self.by_alias(module, own));
            let files = self.modules_load.iter();
            let files = files.filter(|said| self.means(&said.what, module));
            by.extend(files.map(|said| said.file.clone()));
            if self.has_systemd {
                let named = self.arguments.systemd_names();
                let named = named.filter(|(name, _)| self.means(name, module));
                by.extend(named.map(|(_, argument)| argument.to_owned()));
            }
        }
        if MADE_UP_NAMES.iter().any(|name| glob::matches(name, module)) {
            by.push("the kernel's request by its name".to_owned());
        }
        let named = self.arguments.driver_names();
        let named = named.filter(|(name, _)| self.means(name, module));
        by.extend(named.map(|(_, argument)| argument.to_owned()));
        by
    }

    /// The hardware, or what else the module's aliases stand for.
    fn by_alias(&self, module: &str, own: &[&str]) -> Option<String> {
        let configured = self.modprobe.aliases.iter();
        let configured = configured.filter(|(_, said)| said.what == module);
        let mut all: Vec<&str> = configured.map(|(pattern, _)| pattern.as_str()).collect();
        if self.alias_index {
            match self.alias_text {
                true => all.extend(self.aliases.of(module).iter().map(String::as_str)),
                // Only the index is there, and it was made from what modules say.
                false => all.extend(own),
            }
        }
        // An alias of the configuration that is at least as wide takes the place of one of these.
        all.retain(|alias| match self.modprobe.meant(&underscores(alias)) {
            Some(meant) => meant.iter().any(|said| said.what == module),
            None => true,
        });
        // Hardware tells more than other names.
        let node = |alias: &&&str| alias.starts_with(DEVICE_NODE);
        let hardware = |alias: &&&str| alias.contains(':') && !node(alias);
        if let Some(example) = all.iter().find(hardware) {
            return Some(match all.len() {
                1 => format!("hardware {example}"),
                count => format!("hardware {example} ({count} aliases)"),
            });
        }
        if let Some(name) = all.iter().find_map(|alias| alias.strip_prefix(DEVICE_NODE)) {
            return Some(format!("opening /dev/{name}"));
        }
        let name = all.first()?;
        Some(format!("the kernel's request for {name}"))
    }

    /// A module that is loaded and takes this one along.
    fn with_others(&self, module: &str, dependencies: &Dependencies) -> Option<String> {
        let mut seen = BTreeSet::from([module.to_owned()]);
        let mut ahead = vec![module.to_owned()];
        while let Some(name) = ahead.pop() {
            let users = self.users(&name, dependencies);
            let loaded: Vec<&str> = users
                .iter()
                .map(String::as_str)
                .filter(|user| self.refused(user).is_ok() && !self.direct(user, &[]).is_empty())
                .collect();
            if !loaded.is_empty() {
                let shown = &loaded[..loaded.len().min(USERS_SHOWN)];
                return Some(match loaded.len() - shown.len() {
                    0 => format!("whatever loads {}", shown.join(" or ")),
                    more => format!("whatever loads {} or {more} more", shown.join(", ")),
                });
            }
            for user in users {
                if seen.len() < USERS_MAX && seen.insert(user.clone()) {
                    ahead.push(user);
                }
            }
        }
        None
    }

    /// Modules that are there and take another one along, sorted.
    fn users(&self, module: &str, dependencies: &Dependencies) -> BTreeSet<String> {
        let mut users: BTreeSet<String> = dependencies.users(module).map(str::to_owned).collect();
        for soft in self.modprobe.softdeps() {
            let mut names = soft.before.iter().chain(&soft.after);
            if names.any(|name| name == module || self.means(name, module)) {
                let is_there = dependencies.path(&soft.of).is_some();
                users.extend(is_there.then(|| soft.of.clone()));
            }
        }
        users.remove(module);
        users
    }

    /// Whether a name that something is asked to load by leads to the module.
    fn means(&self, name: &str, module: &str) -> bool {
        let name = underscores(name);
        match self.modprobe.meant(&name) {
            Some(meant) => meant.iter().any(|said| said.what == module),
            None if canonical_name(&name) == module => true,
            None => {
                let mut aliases = self.aliases.of(module).iter();
                aliases.any(|alias| glob::matches(&underscores(alias), &name))
            }
        }
    }

    /// What blacklists a module.
    fn blacklist(&self, module: &str) -> Option<String> {
        let file = self.modprobe.blacklisted(module);
        let argument = self.arguments.blacklists(module);
        file.or(argument).map(str::to_owned)
    }
}

/// Whether a command loads modules by itself.
fn loads_modules(command: &str) -> bool {
    command.contains("modprobe") || command.contains("insmod")
}
