//! Containerfiles for on-cluster layering, and what is wrong with them.
//!
//! ```text
//! parse     stages and steps of a Containerfile (crate `parse-dockerfile`), limits
//! heredoc   here-documents that the crate doesn't know
//! refusal   why a text is not read
//! remark    one thing about a Containerfile, and how bad it is
//! script    shell text with its lines, and variables
//! shell     the commands in a RUN
//! entries   spec.containerFile[] of a MachineOSConfig
//! stages    FROM, build context, ARG and ENV
//! paths     files that the machine-config operator or nobody keeps
//! packages  what is installed, from where
//! changes   what touches kernel modules and the initramfs, in order
//! modules   is the initramfs made anew behind the last change; drivers
//! dracut    how dracut is called
//! contents  what goes into the image, for other rooms
//! ```
//!
//! A Containerfile is read, never run: scripts that it calls, the contents of images it copies from
//! and of packages it installs are not seen, and remarks that hang on them say so. Left out: shell
//! functions, patterns, and which branch of an `if` is taken (every command counts).
//!
//! Source of truth: the machine-config operator's build (on-cluster-layering notes), dracut(8),
//! depmod(8), Containerfile(5).

mod changes;
mod contents;
mod dracut;
mod entries;
mod heredoc;
mod modules;
mod packages;
mod parse;
mod paths;
mod refusal;
mod remark;
mod script;
mod shell;
mod stages;
#[cfg(test)]
mod tests;

use parse::File;

pub use contents::{Becomes, Contents, FileChange, Package, UnitChange, contents, has_extension};
pub use entries::{Architecture, Entry};
pub use modules::{LEFT_TO_BASE, Wanted};
pub use remark::{Remark, Severity};

/// The line, from one, on which the instruction begins that a build prints as `printed`: with its lines
/// joined, and comments between them left out.
pub fn line_of(text: &str, printed: &str) -> Option<u32> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = words(printed);
    let mut joined: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let (start, mut instruction) = joined.take().unwrap_or((number, String::new()));
        let part = line.trim_end();
        let part = part.strip_suffix('\\').map(|part| (part, true));
        let (part, goes_on) = part.unwrap_or((line, false));
        instruction.push_str(part);
        if goes_on {
            joined = Some((start, instruction));
        } else if !printed.is_empty() && words(&instruction) == printed {
            return u32::try_from(start + 1).ok();
        }
    }
    None
}

/// Remarks about all of `spec.containerFile`, sorted by line. Only the entry that the build reads is
/// read here.
pub fn lint_entries(entries: &[Entry<'_>], wanted: &Wanted<'_>) -> Vec<Remark> {
    let mut remarks = entries::check(entries);
    if let Some(content) = entries::read_by_the_build(entries) {
        remarks.extend(read(content, wanted));
    }
    if remarks.iter().any(|remark| remark.rule == "too-large") {
        // That says it already.
        remarks.retain(|remark| remark.rule != "entry-too-long");
    }
    sorted(remarks)
}

/// Remarks about one Containerfile, sorted by line.
pub fn lint(content: &[u8], wanted: &Wanted<'_>) -> Vec<Remark> {
    let entry = Entry {
        architecture: Architecture::NoArch,
        content,
    };
    lint_entries(&[entry], wanted)
}

fn read(content: &[u8], wanted: &Wanted<'_>) -> Vec<Remark> {
    let file = match File::parse(content) {
        Ok(file) => file,
        Err(refusal) => {
            return vec![Remark::error(refusal.rule, refusal.line, refusal.message)];
        }
    };
    let mut remarks = stages::check(&file);
    remarks.extend(paths::check(&file));
    remarks.extend(packages::check(&file));
    remarks.extend(modules::check(&file, wanted));
    remarks
}

fn sorted(mut remarks: Vec<Remark>) -> Vec<Remark> {
    remarks.sort();
    remarks.dedup();
    remarks
}

/// Every rule, sorted.
pub const RULES: [&str; 49] = [
    "arg-before-from",
    "arg-without-value",
    "builder-kernel",
    "chmod-needless",
    "commit-missing",
    "container-instruction",
    "continuation-at-end",
    "copy-from-number",
    "copy-from-short-name",
    "depmod-missing",
    "dracut-before-depmod",
    "dracut-missing",
    "dracut-not-reproducible",
    "dracut-without-force",
    "dracut-xattr",
    "driver-blocked",
    "driver-dropped",
    LEFT_TO_BASE,
    "driver-not-named",
    "driver-omitted",
    "driver-removed",
    "duplicate-entry",
    "entitled-repository",
    "entry-ignored",
    "entry-too-long",
    "etc-file",
    "extension-package",
    "final-stage-not-configs",
    "from-platform",
    "hostonly-initramfs",
    "initramfs-by-package-tool",
    "initramfs-elsewhere",
    "kernel-after-modules",
    "kernel-release-differs",
    "kernel-type-package",
    "managed-path",
    "no-build-context",
    "no-noarch-entry",
    "not-text",
    "package-caches",
    "repository-file",
    "run-not-as-root",
    "secret-in-file",
    "stage-name-taken",
    "syntax",
    "too-large",
    "too-many-entries",
    "unterminated-heredoc",
    "var-content",
];
