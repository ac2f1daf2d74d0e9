//! What kernel arguments say about loading modules.
//!
//! ```text
//! module_blacklist=A,B      the kernel refuses them
//! module.sig_enforce        the kernel refuses modules without a good signature; so does lockdown=
//! modprobe.blacklist=A,B    as `blacklist` in modprobe.d
//! modules-load=A,B          as modules-load.d; with rd. in front in the initramfs only
//! rd.driver.blacklist=A,B   as `blacklist`; dracut, in the initramfs only
//! rd.driver.pre=A,B         loaded before devices are looked for; likewise
//! rd.driver.post=A,B        loaded after that, and until then blacklisted; likewise
//! ```
//!
//! dracut takes its own also from `/etc/cmdline.d` in the initramfs, where it puts `force_drivers`.
//! The kernel and kmod compare names as they are, so that one with `-` keeps nothing from being
//! loaded; systemd, modprobe and files of modprobe.d take `-` for `_`.
//!
//! Semantics: Linux `kernel/module/main.c`, kmod 30, systemd 252, dracut 059
//! (`modules.d/98dracut-systemd/dracut-pre-udev.sh`).

use anyhow::Result;

use super::files::Files;

/// Where dracut has arguments of its own.
const CMDLINE_DIRECTORY: &str = "etc/cmdline.d";
const CMDLINE_FILE: &str = "etc/cmdline";

/// Arguments, and where they are from.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments {
    /// Keys with `_` for `-`, values, and arguments as they were given with their place.
    all: Vec<Argument>,
    initramfs: bool,
}

#[derive(Clone, Debug)]
struct Argument {
    key: String,
    value: String,
    /// The argument as it was given, and the file it is from.
    shown: String,
    /// Whether the kernel has it, and not only dracut.
    is_kernels: bool,
}

impl Arguments {
    /// The kernel's arguments, and in an initramfs dracut's own.
    pub(super) fn new(given: &[String], files: &dyn Files, initramfs: bool) -> Result<Self> {
        let mut all: Vec<Argument> = given
            .iter()
            .flat_map(|argument| argument.split_ascii_whitespace())
            .map(|argument| Argument::new(argument, None))
            .collect();
        if initramfs {
            let mut paths = vec![CMDLINE_FILE.to_owned()];
            let names = files.list(CMDLINE_DIRECTORY)?;
            let names = names.iter().filter(|name| name.ends_with(".conf"));
            paths.extend(names.map(|name| format!("{CMDLINE_DIRECTORY}/{name}")));
            for path in paths {
                let bytes = files.read(&path)?.unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                let words = text.split_ascii_whitespace();
                all.extend(words.map(|word| Argument::new(word, Some(&path))));
            }
        }
        Ok(Self { all, initramfs })
    }

    /// The argument that makes the kernel refuse a module by its name. The last one counts.
    pub(super) fn refuses(&self, module: &str) -> Option<&str> {
        let mut arguments = self.kernels("module_blacklist");
        let last = arguments.next_back()?;
        let mut names = last.value.split(',');
        names.any(|name| name == module).then_some(&last.shown)
    }

    /// The argument that makes the kernel refuse modules that are not signed.
    pub(super) fn refuses_unsigned(&self) -> Option<&str> {
        let last = self.kernels("module.sig_enforce").next_back();
        let enforced = last.filter(|argument| {
            let value = argument.value.as_str();
            matches!(value, "" | "1" | "y" | "Y" | "on" | "ON")
        });
        let lockdown = self.kernels("lockdown").next_back();
        let locked = lockdown.filter(|argument| {
            let value = argument.value.as_str();
            matches!(value, "integrity" | "confidentiality")
        });
        enforced.or(locked).map(|argument| argument.shown.as_str())
    }

    /// The directory in which the kernel looks for firmware first.
    pub(super) fn firmware_directory(&self) -> Option<&str> {
        let last = self.kernels("firmware_class.path").next_back()?;
        Some(last.value.as_str()).filter(|path| !path.is_empty())
    }

    /// The argument that keeps a module from being loaded by its aliases.
    pub(super) fn blacklists(&self, module: &str) -> Option<&str> {
        let kmod = self.kernels("modprobe.blacklist");
        let kmod = kmod.filter(|argument| argument.value.split(',').any(|name| name == module));
        let dracut = self.dracuts("rd.driver.blacklist");
        let dracut = dracut.chain(self.dracuts("rd.driver.post"));
        let dracut = dracut.filter(|argument| argument.names(module));
        kmod.chain(dracut)
            .map(|argument| argument.shown.as_str())
            .next()
    }

    /// The argument, for the initramfs, that may do so in the system as well: newer dracut writes
    /// it to `/run`, which goes over.
    pub(super) fn blacklists_later(&self, module: &str) -> Option<&str> {
        let mut arguments = self.kernels("rd.driver.blacklist");
        let found = arguments.find(|argument| argument.names(module));
        found.map(|argument| argument.shown.as_str())
    }

    /// Names of modules, or aliases, that dracut loads whether they are blacklisted or not; each
    /// with the argument.
    pub(super) fn driver_names(&self) -> impl Iterator<Item = (String, &str)> {
        let before = self.dracuts("rd.driver.pre");
        named(before.chain(self.dracuts("rd.driver.post")))
    }

    /// Names of modules, or aliases, that systemd loads; each with the argument.
    pub(super) fn systemd_names(&self) -> impl Iterator<Item = (String, &str)> {
        let here = self.kernels("rd.modules_load");
        let here = here.filter(|_| self.initramfs);
        named(self.kernels("modules_load").chain(here))
    }

    fn kernels(&self, key: &str) -> impl DoubleEndedIterator<Item = &Argument> {
        self.all
            .iter()
            .filter(move |argument| argument.is_kernels && argument.key == key)
    }

    fn dracuts(&self, key: &str) -> impl Iterator<Item = &Argument> {
        self.all
            .iter()
            .filter(move |argument| self.initramfs && argument.key == key)
    }
}

impl Argument {
    fn new(argument: &str, file: Option<&str>) -> Self {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        Self {
            key: key.trim_matches('"').replace('-', "_"),
            value: value.trim_matches('"').to_owned(),
            shown: match file {
                Some(file) => format!("{argument} in {file}"),
                None => format!("the kernel argument {argument}"),
            },
            is_kernels: file.is_none(),
        }
    }

    fn names(&self, module: &str) -> bool {
        let mut names = self.value.split(',');
        names.any(|name| name.replace('-', "_") == module)
    }
}

fn named<'a>(
    arguments: impl Iterator<Item = &'a Argument>,
) -> impl Iterator<Item = (String, &'a str)> {
    arguments.flat_map(|argument| {
        let names = argument.value.split(',').filter(|name| !name.is_empty());
        names.map(|name| (name.to_owned(), argument.shown.as_str()))
    })
}
