//! Every module of a distribution's kernel, as kmod's tools see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::referee::{Directory, command};
use crate::kernel::{Boot, Dependencies, Finding, Lookup, ModuleInfo};
use bake_referee::{have, is_there};

/// Files of modules, and what we read in them.
type Modules = Vec<(PathBuf, ModuleInfo)>;

/// Order and fit are looked at for one module in so many.
const STEP: usize = 11;

/// A kernel's modules with new indexes.
pub(super) struct Kernel {
    root: tempfile::TempDir,
    release: String,
    dependencies: Dependencies,
}

/// Modules and release of a kernel that is unpacked here: below KERNEL_ROOT, among what the sample
/// was made of (`scripts/`), or installed.
pub(in crate::kernel) fn unpacked() -> Option<(PathBuf, String)> {
    let mut roots: Vec<PathBuf> = Vec::new();
    roots.extend(std::env::var_os("KERNEL_ROOT").map(PathBuf::from));
    if let Some(home) = std::env::var_os("HOME") {
        let sample = PathBuf::from(home).join(".cache/coreos-bake/sample");
        roots.extend([sample.join("packages"), sample.join("tree/root")]);
    }
    roots.push("/".into());
    for root in roots {
        let Ok(entries) = fs::read_dir(root.join("usr/lib/modules")) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.path().join("modules.order").is_file()
                && entry.path().join("kernel").is_dir()
                && let Ok(release) = entry.file_name().into_string()
            {
                return Some((entry.path(), release));
            }
        }
    }
    None
}

pub(super) fn kernel() -> Option<Kernel> {
    if !(have("depmod") && have("modprobe") && have("modinfo")) {
        return None;
    }
    let found = unpacked();
    is_there("a kernel to read (KERNEL_ROOT)", found.is_some());
    let (directory, release) = found?;
    let root = tempfile::tempdir().unwrap();
    let here = root.path().join("usr/lib/modules").join(&release);
    fs::create_dir_all(&here).unwrap();
    symlink("usr/lib", root.path().join("lib")).unwrap();
    for name in [
        "kernel",
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        symlink(directory.join(name), here.join(name)).unwrap();
    }
    run(command("depmod").arg("-b").arg(root.path()).arg(&release));
    let text = fs::read_to_string(here.join("modules.dep")).unwrap();
    Some(Kernel {
        root,
        release,
        dependencies: Dependencies::parse(&text),
    })
}

pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Kernel {
    /// A boot of it, with these files as the root.
    fn boot<'a>(&'a self, files: &'a Directory) -> Boot<'a> {
        Boot {
            files,
            image: files,
            release: &self.release,
            arguments: &[],
            initramfs: false,
        }
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn release(&self) -> &str {
        &self.release
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.root.path().join("usr/lib/modules").join(&self.release)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(self.dependencies.path(name).unwrap())
    }

    /// Every module's file and what we read in it.
    fn modules(&self) -> Modules {
        let names = self.dependencies.names();
        let read = names.map(|name| {
            let path = self.path(name);
            let info = ModuleInfo::read(&fs::read(&path).unwrap());
            let info = info.unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            (path, info)
        });
        read.collect()
    }
}

#[test]
fn every_module_of_a_kernel() {
    let Some(kernel) = kernel() else { return };
    let modules = kernel.modules();
    assert!(modules.len() > 1000);
    fields_and_signatures_agree_with_modinfo(&modules);
    symbol_versions_agree_with_modprobe(&modules);
    load_order_agrees_with_modprobe(&kernel);
    symbol_versions_agree_within_a_kernel(&kernel, &modules);
}

fn fields_and_signatures_agree_with_modinfo(ours: &Modules) {
    let paths = ours.iter().map(|(path, _)| path);
    let theirs = run(command("modinfo").arg("-0").args(paths));
    // Parameters are put together from two fields; a line begins each module.
    let mut modules = theirs.split("filename:       ").skip(1);
    let mut signed = 0;
    for (path, info) in ours {
        let mut lines = modules.next().unwrap().split('\0');
        assert_eq!(lines.next().unwrap().trim(), path.to_str().unwrap());
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("signature="));
        let theirs: Vec<&str> = lines.filter(|line| !line.starts_with("parm:")).collect();
        let signature = info.signature.clone();
        let mut expected: Vec<String> = info
            .fields
            .iter()
            .filter(|(key, _)| key != "parm" && key != "parmtype")
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if let Some(signature) = signature {
            assert_eq!(signature.unreadable, None, "{}", path.display());
            expected.push("sig_id=PKCS#7".to_owned());
            let fields = [
                ("signer", signature.signer),
                ("sig_key", signature.key),
                ("sig_hashalgo", signature.hash),
            ];
            let fields = fields.into_iter();
            expected.extend(fields.map(|(key, value)| format!("{key}={}", value.unwrap())));
            signed += 1;
        }
        assert_eq!(expected, theirs, "{}", path.display());
    }
    println!("{} modules, {signed} of them signed", ours.len());
}

fn symbol_versions_agree_with_modprobe(ours: &Modules) {
    let mut shell = command("sh");
    shell.args([
        "-c",
        "for f; do modprobe --dump-modversions \"$f\" || exit; echo; done",
        "sh",
    ]);
    let theirs = run(shell.args(ours.iter().map(|(path, _)| path)));
    let mut theirs = theirs.split("\n\n");
    let mut count = 0;
    for (path, info) in ours {
        let theirs: BTreeSet<String> = theirs.next().unwrap().lines().map(str::to_owned).collect();
        let ours: BTreeSet<String> = info
            .versions
            .iter()
            .flatten()
            .map(|(name, checksum)| format!("0x{checksum:08x}\t{name}"))
            .collect();
        count += ours.len();
        assert_eq!(ours, theirs, "{}", path.display());
    }
    println!("{count} versions of symbols");
}

fn load_order_agrees_with_modprobe(kernel: &Kernel) {
    let files = Directory(kernel.root.path().to_owned());
    let boot = kernel.boot(&files);
    let lookup = Lookup::new(&boot).unwrap();
    let names: Vec<&str> = kernel.dependencies.names().step_by(STEP).collect();
    let mut modprobe = command("sh");
    let script = "root=$1 release=$2; shift 2; for m; do \
        modprobe -C /dev/null -d \"$root\" -S \"$release\" --show-depends \"$m\" || exit; echo; done";
    modprobe.args(["-c", script, "sh"]);
    modprobe.arg(kernel.root.path()).arg(&kernel.release);
    let theirs = run(modprobe.args(&names));
    let mut theirs = theirs.split("\n\n");
    let soft = fs::read_to_string(kernel.directory().join("modules.softdep")).unwrap();
    let mut exact = 0;
    for name in &names {
        let mut seen = BTreeSet::new();
        // What is a dependency and a soft one of something is listed twice.
        let theirs: Vec<String> = theirs
            .next()
            .unwrap()
            .lines()
            .filter(|line| seen.insert(*line))
            .filter_map(|line| line.strip_prefix("insmod "))
            .map(|path| {
                Path::new(path.trim())
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let Finding::Present(present) = lookup.find(name).unwrap() else {
            panic!("{name}: {}", lookup.find(name).unwrap());
        };
        let modules: Vec<_> = present
            .dependencies
            .iter()
            .chain([&present.module])
            .collect();
        let ours: Vec<String> = modules
            .iter()
            .map(|module| {
                module
                    .path
                    .as_ref()
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let has_soft = modules
            .iter()
            .any(|module| soft.contains(&format!("softdep {} ", module.name)));
        if has_soft {
            // modprobe loads those, too.
            let theirs: Vec<&String> = theirs.iter().filter(|name| ours.contains(name)).collect();
            assert_eq!(ours.iter().collect::<Vec<_>>(), theirs, "{name}");
        } else {
            assert_eq!(ours, theirs, "{name}");
            exact += 1;
        }
    }
    println!("{} modules, {exact} of them exactly", names.len());
    assert!(exact > names.len() / 2);
}

fn symbol_versions_agree_within_a_kernel(kernel: &Kernel, modules: &Modules) {
    // All modules of one build ask for the same version of a symbol, so together they make a list
    // that each fits, and that fits none if it is changed.
    let mut symbols: BTreeMap<String, u32> = BTreeMap::new();
    for (path, info) in modules {
        for (name, checksum) in info.versions.iter().flatten() {
            let earlier = symbols.insert(name.clone(), *checksum);
            let path = path.display();
            assert!(
                earlier.is_none_or(|earlier| earlier == *checksum),
                "{name} in {path}"
            );
        }
    }
    let text = |change: u32| -> String {
        symbols
            .iter()
            .map(|(name, checksum)| {
                format!(
                    "0x{:08x}\t{name}\tvmlinux\tEXPORT_SYMBOL\n",
                    checksum ^ change
                )
            })
            .collect()
    };
    let files = Directory(kernel.root.path().to_owned());
    let boot = kernel.boot(&files);
    let path = kernel.directory().join("symvers.xz");
    for (change, fits) in [(0, true), (1, false)] {
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        std::io::Write::write_all(&mut xz, text(change).as_bytes()).unwrap();
        fs::write(&path, xz.finish().unwrap()).unwrap();
        let lookup = Lookup::new(&boot).unwrap();
        for name in kernel.dependencies.names().step_by(STEP * 9) {
            let finding = lookup.find(name).unwrap();
            assert_eq!(finding.is_present(), fits, "{name}: {finding}");
            if !fits {
                let why = finding.reason();
                assert!(why.contains("disagrees with kernel"), "{why}");
            }
        }
    }
    println!("{} symbols", symbols.len());
}
