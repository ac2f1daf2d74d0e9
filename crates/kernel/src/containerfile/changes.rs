//! What happens to kernel modules and to the initramfs, in the order of the Containerfile.

use super::dracut::{Call, is_initramfs};
use super::packages::{install, name};
use super::parse::{Action, Copy, File, Run};
use super::paths::{below, copied, normal, written};
use super::shell::Command;
use crate::kernel::module_name;

const MODULES: &str = "/usr/lib/modules";
/// Directories of what decides which modules are loaded and how the initramfs is made.
const SETTINGS: [&str; 6] = [
    "/etc/dracut.conf.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/usr/lib/dracut",
    "/usr/lib/modprobe.d",
    "/usr/lib/modules-load.d",
];
/// Places that are gone before the image is, or not of its modules.
const SCRATCH: [&str; 5] = ["/home", "/opt", "/root", "/tmp", "/var"];
/// Programs of these directories are known by their names.
const PROGRAMS: [&str; 4] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"];
/// Programs whose words are no paths or packages that the image gets: those that print, look or remove.
const BRING_NOTHING: [&str; 24] = [
    "[",
    "cat",
    "cd",
    "chmod",
    "chown",
    "echo",
    "find",
    "grep",
    "ls",
    "lsmod",
    "mkdir",
    "modinfo",
    "modprobe",
    "printf",
    "rm",
    "rmdir",
    "sha256sum",
    "stat",
    "strip",
    "sync",
    "tee",
    "test",
    "true",
    "unlink",
];
const INTERPRETERS: [&str; 9] = [
    "sh",
    "bash",
    ".",
    "source",
    "make",
    "perl",
    "python",
    "python3",
    "ansible-playbook",
];

/// Something that happens.
pub(super) struct Event {
    pub(super) line: u32,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Change(Change),
    /// depmod, with the kernel it is told; `given` is false if it takes the running one.
    Depmod {
        kernel: Option<String>,
        given: bool,
    },
    Dracut(Call),
    /// A program that is said to run both by itself.
    Both(&'static str),
    /// A script whose text is not here.
    Script(String),
}

/// A change that the initramfs has to be made anew for.
pub(super) struct Change {
    /// What was touched, for a message.
    pub(super) subject: String,
    /// Module files were touched, so that their index is stale too.
    pub(super) modules: bool,
    /// The kernel itself was exchanged.
    pub(super) kernel: bool,
    /// How sure it is that this is a change.
    pub(super) certainty: Certainty,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    Certain,
    /// A pattern, or a package that calls itself a driver.
    Likely,
    /// Some file of a package: nothing speaks against it.
    Possible,
}

/// A file below `dracut.conf.d`, `modprobe.d` and their like.
pub(super) struct Setting {
    pub(super) line: u32,
    pub(super) path: String,
    /// None if it is copied from where it cannot be seen.
    pub(super) text: Option<String>,
}

/// All of the final stage.
#[derive(Default)]
pub(super) struct History {
    pub(super) events: Vec<Event>,
    pub(super) settings: Vec<Setting>,
    /// Paths and packages that instructions name, for finding a driver.
    pub(super) names: Vec<String>,
    /// What is removed, with the line.
    pub(super) removed: Vec<(u32, String)>,
    /// DRACUT_NO_XATTR is set for all.
    no_xattr: bool,
    /// rpm-ostree's wrapper stands for the programs that rpm scripts call.
    wrapped: bool,
}

impl History {
    pub(super) fn of(file: &File) -> Self {
        let mut history = Self::default();
        for step in file
            .chain()
            .into_iter()
            .flat_map(|index| &file.stages[index].steps)
        {
            match &step.action {
                Action::Copy(copy) => history.copy(step.line, copy),
                Action::Run(run) => history.run(run),
                Action::Env(pairs) => {
                    history.no_xattr |= pairs
                        .iter()
                        .any(|(n, v)| n == "DRACUT_NO_XATTR" && v == "1");
                }
                Action::Arg(name, value) => {
                    history.no_xattr |= name == "DRACUT_NO_XATTR" && value.as_deref() == Some("1");
                }
                _ => {}
            }
        }
        history
    }

    fn push(&mut self, line: u32, kind: Kind) {
        self.events.push(Event { line, kind });
    }

    fn change(&mut self, line: u32, subject: &str, modules: bool) {
        let subject = subject.to_owned();
        let change = Change {
            subject,
            modules,
            kernel: false,
            certainty: Certainty::Certain,
        };
        self.push(line, Kind::Change(change));
    }

    fn copy(&mut self, line: u32, copy: &Copy) {
        self.names.extend(copy.sources.iter().cloned());
        self.names.push(copy.destination.clone());
        let destination = normal(&copy.destination);
        let scratch = SCRATCH
            .iter()
            .any(|directory| below(&destination, directory));
        let module = copy
            .sources
            .iter()
            .chain([&copy.destination])
            .any(|p| module_name(p).is_some());
        if is_initramfs(&destination) {
            return;
        }
        if below(&destination, MODULES) || (module && !scratch) {
            self.change(line, destination.trim_end_matches('/'), true);
            return;
        }
        let text = (!copy.texts.is_empty()).then(|| copy.texts.join("\n"));
        for path in copied(copy).into_iter().chain([destination.clone()]) {
            if self.setting(line, &path, text.clone()) {
                break;
            }
        }
    }

    fn setting(&mut self, line: u32, path: &str, text: Option<String>) -> bool {
        let found = SETTINGS.iter().any(|directory| below(path, directory));
        if found {
            self.settings.push(Setting {
                line,
                path: path.to_owned(),
                text,
            });
            self.change(line, path.trim_end_matches('/'), false);
        }
        found
    }

    fn run(&mut self, run: &Run) {
        let mut exported = self.no_xattr;
        for command in &run.commands {
            if command.words == ["export"] {
                exported |= command
                    .assignments
                    .iter()
                    .any(|(n, v)| n == "DRACUT_NO_XATTR" && v == "1");
            }
            self.command(command, exported);
        }
    }

    fn command(&mut self, command: &Command, no_xattr: bool) {
        let line = command.line;
        let (program, words, more) = match command.name() {
            "xargs" => match command
                .words
                .iter()
                .position(|w| matches!(base(w), "depmod" | "dracut"))
            {
                Some(at) => (base(&command.words[at]), &command.words[at + 1..], true),
                None => ("xargs", command.arguments(), true),
            },
            name => (name, command.arguments(), false),
        };
        match program {
            "" => {}
            "depmod" => {
                let kernel = depmod_kernel(words);
                let given = kernel.is_some() || more;
                self.push(line, Kind::Depmod { kernel, given });
                return;
            }
            // It only tells something.
            "dracut"
                if words
                    .iter()
                    .any(|w| ["--help", "--list-modules", "--version", "-h"].contains(&&**w)) =>
            {
                return;
            }
            "dracut" => {
                let mut call = Call::parse(command, words, more);
                call.no_xattr |= no_xattr;
                self.push(line, Kind::Dracut(call));
                return;
            }
            "weak-modules" | "dkms" | "akmods" => {
                self.change(line, program, true);
                return;
            }
            "make" if words.iter().any(|w| w == "modules_install") => {
                self.change(line, "make modules_install", true);
                return;
            }
            "kernel-install" => {
                self.push(line, Kind::Both("kernel-install"));
                return;
            }
            "rpm-ostree" if words.first().is_some_and(|w| w == "cliwrap") => {
                self.wrapped = true;
                return;
            }
            "rm" | "unlink" => {
                let removed = words.iter().map(|word| (line, word.clone()));
                self.removed.extend(removed);
            }
            program if BRING_NOTHING.contains(&program) => {}
            _ => self.names.extend(words.iter().cloned()),
        }
        if self.packages(command) {
            return;
        }
        for path in written(command) {
            if program == "mkdir" || is_initramfs(&path) {
                continue;
            }
            if below(&path, MODULES) {
                self.change(line, path.trim_end_matches('/'), true);
                break;
            }
            let writes = matches!(program, "" | "cat" | "echo" | "printf" | "tee");
            let text = writes.then(|| {
                let input = command.input.as_deref().unwrap_or_default();
                format!("{}\n{input}", words.join(" "))
            });
            self.setting(line, &path, text);
        }
        if is_script(command) {
            self.push(line, Kind::Script(command.words.join(" ")));
        }
    }

    /// Is it an installation of packages? Those of modules are changes.
    fn packages(&mut self, command: &Command) -> bool {
        let Some(install) = install(command) else {
            return false;
        };
        for package in &install.packages {
            let base = name(package);
            let kernel = is_kernel(base);
            let file = package.ends_with(".rpm");
            let certainty = if kernel || is_module_package(base) {
                Certainty::Certain
            } else if base.contains("driver") || (file && base.starts_with(['*', '$'])) {
                Certainty::Likely
            } else if file && !base.starts_with("kernel-") {
                Certainty::Possible
            } else {
                continue;
            };
            let subject = format!("package {package}");
            let change = Change {
                subject,
                modules: true,
                kernel,
                certainty,
            };
            self.push(command.line, Kind::Change(change));
            if kernel && install.rpm_ostree {
                self.push(command.line, Kind::Both("rpm-ostree"));
            } else if kernel && self.wrapped {
                self.push(
                    command.line,
                    Kind::Both("rpm-ostree's wrapper of kernel-install"),
                );
            }
        }
        true
    }
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn is_kernel(name: &str) -> bool {
    let exchanged = [
        "kernel",
        "kernel-core",
        "kernel-modules",
        "kernel-modules-core",
        "kernel-modules-extra",
        "kernel*",
    ];
    let kinds = name.starts_with("kernel-rt") || name.starts_with("kernel-64k");
    exchanged.contains(&name) || (kinds && !name.ends_with("-devel"))
}

fn is_module_package(name: &str) -> bool {
    let tools = ["kmod-libs", "kmod-devel"];
    let named = name.starts_with("kmod-")
        || name.starts_with("akmod-")
        || name.ends_with("-kmod")
        || name.starts_with("dkms-");
    named && !tools.contains(&name)
}

/// The kernel that depmod is told.
fn depmod_kernel(words: &[String]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-b" | "-C" | "-E" | "-F" | "-P" | "-m" | "-o" | "--basedir" | "--config"
            | "--symvers" | "--filesyms" | "--symbol-prefix" | "--moduledir" | "--outdir" => {
                words.next();
            }
            option if option.starts_with('-') => {}
            _ => return Some(word.clone()),
        }
    }
    None
}

/// Does it run a file whose text is not in the Containerfile?
fn is_script(command: &Command) -> bool {
    let Some(program) = command.words.first() else {
        return false;
    };
    if program.starts_with("./") || program.starts_with('$') {
        return true;
    }
    let directory = program.rsplit_once('/').map(|(directory, _)| directory);
    if directory.is_some_and(|directory| !PROGRAMS.contains(&directory)) {
        return true;
    }
    let interpreted = INTERPRETERS.contains(&command.name());
    interpreted && command.inline_script().is_none() && command.input.is_none()
}
