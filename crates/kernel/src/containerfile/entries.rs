//! The list `spec.containerFile` of a MachineOSConfig.

use super::remark::Remark;

/// `content` of an entry, as the API's schema limits it.
const MAX_CHARACTERS: usize = 4096;
/// How many entries it allows.
const MAX_ENTRIES: usize = 4;

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

/// The content that ends up in the build, if any.
pub(super) fn read_by_the_build<'a>(entries: &[Entry<'a>]) -> Option<&'a [u8]> {
    let no_arch = entries
        .iter()
        .find(|e| e.architecture == Architecture::NoArch);
    no_arch.map(|entry| entry.content)
}

pub(super) fn check(entries: &[Entry<'_>]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if entries.len() > MAX_ENTRIES {
        remarks.push(Remark::error(
            "too-many-entries",
            None,
            format!(
                "there are {} entries; the API takes {MAX_ENTRIES}",
                entries.len()
            ),
        ));
    }
    let no_arch = read_by_the_build(entries).is_some();
    for (index, entry) in entries.iter().enumerate() {
        let name = entry.architecture.name();
        if entries[..index]
            .iter()
            .any(|e| e.architecture == entry.architecture)
        {
            remarks.push(Remark::error(
                "duplicate-entry",
                None,
                format!("two entries have containerfileArch {name}; the API takes one of each"),
            ));
        } else if no_arch && entry.architecture != Architecture::NoArch {
            remarks.push(
                Remark::warning(
                    "entry-ignored",
                    None,
                    format!(
                        "the entry for {name} is never read: builds take only the entry for NoArch"
                    ),
                )
                .hint("put everything into the entry for NoArch"),
            );
        }
        let characters = String::from_utf8_lossy(entry.content).chars().count();
        if characters > MAX_CHARACTERS {
            remarks.push(
                Remark::error(
                    "entry-too-long",
                    None,
                    format!(
                        "the entry for {name} has {characters} characters; the API takes {MAX_CHARACTERS}"
                    ),
                )
                .hint("move files and scripts into an image and fetch them with COPY --from"),
            );
        }
    }
    if !entries.is_empty() && !no_arch {
        remarks.push(
            Remark::error(
                "no-noarch-entry",
                None,
                "no entry is for NoArch: the build takes no other, and makes an image without this content and without an error",
            )
            .hint("set containerfileArch to NoArch"),
        );
    }
    remarks
}
