//! What is known of the media and the cluster, and whether a recipe can be made of it.
//!
//! All of it ends up in commands, URLs, kernel command lines and boot loader scripts, which have quotes
//! of their own or none. So words that any of them could misread are refused here, once.

use super::Path;
use crate::kernel::{ArgumentError, check_argument};
use crate::netboot::{UrlError, check_base};
use crate::openshift::{OsImage, Release, Role};

/// Architectures by their RPM names.
const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "ppc64le", "s390x"];

/// Roles of the files that boot over the network.
const PXE_SET: [&str; 3] = ["kernel", "initramfs", "rootfs"];

/// Longest word of any kind. A kernel's whole command line has 2048 bytes on x86.
const WORD_MAX_BYTES: usize = 1024;

/// Most machines' roles, files and arguments; far more than any command line takes.
const LIST_MAX: usize = 64;

/// Hex digits of a checksum that go into a file name: enough that two bakes never share it.
const NAME_DIGITS: usize = 12;

/// Endings that openshift-install takes off, with what they mean, before it looks into its cache.
const PACKED: [&str; 2] = [".gz", ".xz"];

/// A file that a bake has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BakedFile {
    /// What it is: `iso`, `kernel`, `initramfs`, `rootfs`, `metal`, `metal4k` or `qcow2`.
    pub role: String,
    /// Its name in the directory of the media.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// The same of what it unpacks to, if it is compressed.
    pub uncompressed_sha256: Option<String>,
}

impl BakedFile {
    /// A name for the file that has its checksum in it, and the checksum; none if that is not known.
    /// openshift-install takes a file from its cache by the last part of the URL and doesn't look at the
    /// checksum again; a compressed file's is that of what it unpacks to.
    pub(super) fn link(&self) -> Option<(String, &str)> {
        let packing = PACKED.into_iter().find(|end| self.name.ends_with(end));
        let sum = match (packing, &self.uncompressed_sha256) {
            (_, Some(sum)) => sum,
            (None, None) => &self.sha256,
            (Some(_), None) => return None,
        };
        let packing = packing.unwrap_or_default();
        let head = self.name.strip_suffix(packing).unwrap_or(&self.name);
        let stem = head.rfind('.').filter(|at| *at > 0).unwrap_or(head.len());
        let (stem, ending) = head.split_at(stem);
        let digits = sum.get(..NAME_DIGITS).unwrap_or(sum);
        Some((format!("{stem}-{digits}{ending}{packing}"), sum))
    }
}

/// What is known of the media and the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The release of OpenShift.
    pub release: Release,
    /// Architecture by its RPM name, such as `aarch64`.
    pub architecture: String,
    /// Version of the OS in the media.
    pub os_version: String,
    /// Directory that the media are in. Commands name it as it is given here, so that it has to be absolute
    /// or as seen from where they are run.
    pub media: String,
    /// Files in it.
    pub files: Vec<BakedFile>,
    /// Where machines find that directory.
    pub url: Option<String>,
    /// Image that nodes run, by digest.
    pub os_image: Option<OsImage>,
    /// Whether the media are of that image, so that a node installed from them runs it already.
    pub media_are_os_image: bool,
    /// Install directory, named like `media`.
    pub directory: String,
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Domain that the cluster's name is put in front of.
    pub base_domain: Option<String>,
    /// Machines that boot the media; if there are none, those that the path has.
    pub roles: Vec<Role>,
    /// Path of the device to install to.
    pub disk: Option<String>,
    /// Kernel arguments of the live system, beside those that are in the media.
    pub live_kargs: Vec<String>,
    /// Kernel arguments that the installed system needs, one each, such as a driver's.
    pub dest_kargs: Vec<String>,
    /// Other options for `prepare`, a word each, such as `--driver=NAME`.
    pub prepare_options: Vec<String>,
}

/// Why there is no recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Something that the path needs is not known.
    #[error("install path {path} needs {what}")]
    Missing {
        /// The path.
        path: Path,
        /// What is missing.
        what: &'static str,
        /// The option that tells it.
        option: &'static str,
    },
    /// A file that the path needs has not been baked.
    #[error("install path {path} needs {what}, and none was baked")]
    NotBaked {
        /// The path.
        path: Path,
        /// What is missing.
        what: &'static str,
        /// The medium to bake.
        medium: &'static str,
    },
    /// The path doesn't exist on an architecture.
    #[error("install path {path} doesn't exist on {architecture}: {reason}")]
    NotThere {
        /// The path.
        path: Path,
        /// Its RPM name.
        architecture: String,
        /// Why.
        reason: &'static str,
    },
    /// A URL that somebody on the way would not take.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// An argument that a boot loader would misread.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A word that cannot be written where it has to be.
    #[error("{what} {value:?} {problem}")]
    Word {
        /// What it is.
        what: &'static str,
        /// The word.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl RecipeError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { option, .. } => Some(
                match *option {
                    "--bake" => "give the directory that bake has written with --bake DIR",
                    "--url" => "say it with --url, as in --url http://192.168.1.5:8080",
                    "--disk" => {
                        "say it with --disk, as in --disk /dev/disk/by-id/wwn-0x5000c500a1b2c3d4"
                    }
                    other => return Some(format!("give {other}")),
                }
                .to_owned(),
            ),
            Self::NotBaked { medium, .. } => Some(format!("bake it with -f {medium}")),
            Self::NotThere { .. } => Some("take another path, such as agent".to_owned()),
            Self::Url(error) => Some(error.hint().to_owned()),
            Self::Word { .. } | Self::Argument(_) => None,
        }
    }
}

impl Facts {
    /// The URL of the media, without a slash at its end.
    pub(super) fn base_url(&self) -> Option<&str> {
        self.url.as_deref().map(|url| url.trim_end_matches('/'))
    }

    /// A baked file, if there is one.
    pub(super) fn file(&self, role: &str) -> Option<&BakedFile> {
        self.files.iter().find(|file| file.role == role)
    }

    /// The release as people write it.
    pub(super) fn release_text(&self) -> String {
        let (major, minor) = self.release.minor();
        format!("{major}.{minor}")
    }

    /// Refuses what no path could use.
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        one_of("architecture", &self.architecture, &ARCHITECTURES)?;
        word("OS version", &self.os_version, is_plain)?;
        place("directory of the media", &self.media)?;
        place("install directory", &self.directory)?;
        self.check_files()?;
        if let Some(url) = &self.url {
            check_base(url)?;
        }
        for (what, name) in [
            ("cluster name", &self.cluster),
            ("base domain", &self.base_domain),
        ] {
            if let Some(name) = name {
                domain(what, name)?;
            }
        }
        if let Some(disk) = &self.disk {
            word("target disk", disk, |c| is_plain(c) || "/:@".contains(c))?;
            if !disk.starts_with("/dev/") || disk.len() == "/dev/".len() {
                return Err(wrong("target disk", disk, "is no path below /dev"));
            }
        }
        for karg in few("kernel argument", &self.live_kargs)?
            .iter()
            .chain(few("kernel argument", &self.dest_kargs)?)
        {
            check_argument(karg)?;
            if karg.starts_with('-') {
                return Err(wrong("kernel argument", karg, "begins like an option"));
            }
        }
        for option in few("option", &self.prepare_options)? {
            place("option", option)?;
        }
        Ok(())
    }

    /// Refuses what is too little for that path.
    pub(super) fn check_for(&self, path: Path) -> Result<(), RecipeError> {
        let missing = |what, option| RecipeError::Missing { path, what, option };
        let baked = |role: &str, what, medium| {
            let none = RecipeError::NotBaked { path, what, medium };
            self.file(role).ok_or(none)
        };
        let iso = || baked("iso", "a live ISO", "iso");
        let url = || {
            let url = self.url.as_deref();
            url.ok_or_else(|| missing("the URL that the media are served at", "--url"))
        };
        let disk = || {
            let disk = self.disk.as_deref();
            disk.ok_or_else(|| missing("the disk to install to", "--disk"))
        };
        match path {
            Path::UpiIso => {
                iso()?;
                if self.disk.is_none() && self.url.is_none() {
                    return Err(missing(
                        "the disk to install to, or a URL to install from by hand",
                        "--disk or --url",
                    ));
                }
            }
            Path::UpiPxe if self.architecture == "s390x" => {
                return Err(RecipeError::NotThere {
                    path,
                    architecture: self.architecture.clone(),
                    reason: "there is no boot loader of that kind; parameter files of z/VM or LPAR take its place",
                });
            }
            Path::UpiPxe => {
                url()?;
                disk()?;
                for role in PXE_SET {
                    baked(role, "a PXE set of kernel, initramfs and rootfs", "pxe")?;
                }
            }
            Path::Ipi | Path::Agent | Path::Assisted => {
                url()?;
                let boots_disk = path == Path::Ipi && !self.release.bootstraps_from_iso();
                let file = match boots_disk {
                    true => baked("qcow2", "a qcow2 image for the bootstrap machine", "qcow2")?,
                    false => iso()?,
                };
                if file.link().is_none() {
                    let what = "the checksum of what a compressed file unpacks to";
                    return Err(missing(what, "--bake"));
                }
            }
            Path::Sno => {
                iso()?;
                disk()?;
            }
            Path::ScaleUp if PXE_SET.iter().all(|role| self.file(role).is_some()) => {}
            Path::ScaleUp => {
                baked("iso", "a live system (ISO or PXE set)", "iso,pxe")?;
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), RecipeError> {
        for file in few("file", &self.files)? {
            word("file name", &file.name, is_plain)?;
            word("role of a file", &file.role, is_plain)?;
            if file.name.starts_with(['-', '.']) {
                return Err(wrong("file name", &file.name, "begins with - or a dot"));
            }
            for sum in [Some(&file.sha256), file.uncompressed_sha256.as_ref()]
                .into_iter()
                .flatten()
            {
                if !is_sha256(sum) {
                    return Err(wrong(
                        "checksum",
                        sum,
                        "is no SHA-256 of 64 lower-case hex digits",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Letters, digits and what shells, URLs and boot loaders take as they are.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._+=,".contains(c)
}

fn wrong(what: &'static str, value: &str, problem: &'static str) -> RecipeError {
    RecipeError::Word {
        what,
        value: value.chars().take(WORD_MAX_BYTES).collect(),
        problem,
    }
}

fn word(
    what: &'static str,
    value: &str,
    is_fine: impl Fn(char) -> bool,
) -> Result<(), RecipeError> {
    match value {
        "" => Err(wrong(what, value, "is empty")),
        _ if value.len() > WORD_MAX_BYTES => Err(wrong(what, value, "is too long")),
        _ if !value.chars().all(is_fine) => {
            Err(wrong(what, value, "has a character that cannot be there"))
        }
        _ => Ok(()),
    }
}

/// A path on the admin's machine, which commands quote.
fn place(what: &'static str, value: &str) -> Result<(), RecipeError> {
    word(what, value, |c| !c.is_control())
}

fn one_of(what: &'static str, value: &str, all: &[&str]) -> Result<(), RecipeError> {
    match all.contains(&value) {
        true => Ok(()),
        false => Err(wrong(what, value, "is not known")),
    }
}

fn few<'a, T>(what: &'static str, list: &'a [T]) -> Result<&'a [T], RecipeError> {
    match list.len() <= LIST_MAX {
        true => Ok(list),
        false => Err(wrong(what, "…", "is there too often")),
    }
}

/// Labels of a DNS name (RFC 1123).
fn domain(what: &'static str, value: &str) -> Result<(), RecipeError> {
    word(what, value, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)
    })?;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    match value.split('.').all(is_label) {
        true => Ok(()),
        false => Err(wrong(what, value, "is no DNS name")),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
