//! Containerfiles for on-cluster layering, and what is wrong with them.
//!
//! ```text
//! parse     stages and steps of a Containerfile (crate `parse-dockerfile`), limits
//! heredoc   here-documents that the crate doesn't know
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
mod script;
mod shell;
mod stages;
#[cfg(test)]
mod tests;

use serde::Serialize;

use parse::File;

pub use contents::{Becomes, Contents, FileChange, Package, UnitChange, contents, has_extension};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The build fails, or a node boots without what was asked for.
    Error,
    /// It goes wrong under circumstances, or may do something else than meant.
    Warning,
    /// Nothing breaks.
    Note,
}

/// One thing about a Containerfile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remark {
    /// Line, from one; None if it is about the whole.
    pub line: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// Which rule, one of [`RULES`].
    pub rule: &'static str,
    /// What is so, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Remark {
    fn new(
        severity: Severity,
        rule: &'static str,
        line: impl Into<Option<u32>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            line: line.into(),
            severity,
            rule,
            message: message.into(),
            hint: None,
        }
    }

    fn error(rule: &'static str, line: impl Into<Option<u32>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, rule, line, message)
    }

    fn warning(
        rule: &'static str,
        line: impl Into<Option<u32>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, rule, line, message)
    }

    fn note(rule: &'static str, line: impl Into<Option<u32>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, rule, line, message)
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

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

/// What an entry of `spec.containerFile` is said to be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Architecture {
    /// `NoArch`, the only one that the build reads.
    NoArch,
    /// `AMD64`.
    Amd64,
    /// `ARM64`.
    Arm64,
    /// `PPC64LE`.
    Ppc64le,
    /// `S390X`.
    S390x,
}

impl Architecture {
    /// Parses `containerfileArch`, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::NoArch,
            Self::Amd64,
            Self::Arm64,
            Self::Ppc64le,
            Self::S390x,
        ];
        all.into_iter()
            .find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The name as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoArch => "NoArch",
            Self::Amd64 => "AMD64",
            Self::Arm64 => "ARM64",
            Self::Ppc64le => "PPC64LE",
            Self::S390x => "S390X",
        }
    }
}

/// One of `spec.containerFile[]`.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// `containerfileArch`.
    pub architecture: Architecture,
    /// `content`.
    pub content: &'a [u8],
}

/// What the image has to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Kernel modules by name.
    pub drivers: &'a [String],
    /// Release of the kernel in the stage `configs`, if it is known.
    pub kernel: Option<&'a str>,
    /// Those of the drivers that are in the image below, but that its dracut leaves out of an
    /// initramfs unless they are named.
    pub left_out: &'a [String],
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

/// The rule of the remark that a driver has to be in the image below, as no instruction brings it.
pub const LEFT_TO_BASE: &str = "driver-left-to-base";

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
