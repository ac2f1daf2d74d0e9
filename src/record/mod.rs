//! `bake.json`: what a bake has made, from what, and where its drivers were proven to be.
//!
//! `bake` writes it beside the media; `prepare`, `hosts` and `serve` go on from it. All that lasts of a
//! bake is in here, and nobody else reads or writes the file. Its JSON Schema is `docs/bake.schema.json`.
//!
//! A key that is missing, has another type or a value that can't be is an error that names it. Keys that
//! this version does not know are kept, wherever they are.

mod check;
mod mistaken;
mod proof;

#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::foreign::title;
use crate::image::{ImageRef, uname};
use crate::ostree::ContainerReference;

pub use proof::{DriverAtStage, Proof};

/// The record's name in the directory of the media.
pub const NAME: &str = "bake.json";

/// What its `schema` says.
pub const SCHEMA: &str = "coreos-bake/bake/v1";

/// Longest record in bytes. One of a bake with many drivers has some hundred KiB.
pub const MAX_BYTES: u64 = 16 << 20;

/// Keys that this version does not know.
pub type Unknown = Map<String, Value>;

/// What `coreos-bake bake` has made: `bake.json`, beside the media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Record {
    /// Name and version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: String,
    /// What has baked.
    pub tool: Tool,
    /// The image that was baked.
    pub image: Image,
    /// What the image is of.
    pub os: Os,
    /// The ostree repository in the media.
    pub ostree: Ostree,
    /// Each driver that was asked for, at each stage.
    pub drivers: Vec<DriverAtStage>,
    /// What the media mount their roots with, each with the stage that needs it: `squashfs (live root)`.
    pub mounts: Vec<DriverAtStage>,
    /// All stages, and whether the drivers were judged there.
    pub stages: Vec<Proof>,
    /// How it was baked.
    pub options: Options,
    /// The media.
    pub files: Vec<Artifact>,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The program that has baked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A container image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// How it was named on the command line, with its transport.
    pub reference: String,
    /// Digest of its manifest: `sha256:` and lower-case hex.
    pub manifest_digest: String,
    /// Its architecture, as Go names it.
    pub architecture: String,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Layer {
    /// Digest of the layer as it is stored.
    pub digest: String,
    /// Digest of the archive that it unpacks to.
    pub diff_id: String,
    /// Length in bytes, as it is stored.
    pub size: u64,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// An operating system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Os {
    /// Its name in ostree and in file names, such as `rhcos`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it calls itself.
    pub pretty_name: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Whether OpenShift's client is one of its packages; null where nothing tells.
    #[serde(deserialize_with = "nullable")]
    #[cfg_attr(test, schemars(required, extend("type" = ["boolean", "null"])))]
    pub openshift_clients: Option<bool>,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What was imported into the media's repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Ostree {
    /// The commit in the base layers; null where there is none.
    #[serde(deserialize_with = "nullable")]
    #[cfg_attr(test, schemars(required, extend("type" = ["string", "null"])))]
    pub base_commit: Option<String>,
    /// The commit that is deployed.
    pub merge_commit: String,
    /// Checksum of its content.
    pub content_checksum: String,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Options of a bake that show in the media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Block size of the live root in bytes.
    pub block_size: u32,
    /// How raw disk images are packed.
    pub compress: String,
    /// Compressor of the live root, with its level.
    pub compression: String,
    /// Whether the media carry settings of their own.
    pub customized: bool,
    /// Length of disk images in bytes, if it was asked for.
    #[serde(deserialize_with = "nullable")]
    #[cfg_attr(test, schemars(required, extend("type" = ["integer", "null"])))]
    pub disk_size: Option<u64>,
    /// The media that were asked for, as `bake -f` names them.
    pub formats: Vec<String>,
    /// Room for Ignition configs in the ISO, in bytes.
    pub ignition_area: u64,
    /// Kernel arguments of the live system.
    pub live_kargs: String,
    /// Whether only nodes boot the media, and no bootstrap machine.
    pub nodes_only: bool,
    /// What installed systems take as their image.
    #[cfg_attr(test, schemars(with = "String"))]
    pub origin: ContainerReference,
    /// Where the minimal ISO and the PXE set fetch the root file system, if that was said.
    #[serde(deserialize_with = "nullable")]
    #[cfg_attr(test, schemars(required, extend("type" = ["string", "null"])))]
    pub rootfs_url: Option<String>,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One file of the media.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// Its name in the directory.
    pub name: String,
    /// What it is: `iso`, `minimal-iso`, `kernel`, `initramfs`, `rootfs`, `metal`, `metal4k`, `qcow2`, or
    /// `config`.
    pub role: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content, lower-case hex.
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9a-f]{64}$")))]
    pub sha256: String,
    /// The same of the disk that a packed disk image unpacks to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9a-f]{64}$")))]
    pub uncompressed_sha256: Option<String>,
    /// Other keys.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A value or null, but not nothing: serde takes an absent `Option` for null unless told otherwise.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

impl Record {
    /// Reads the record at `path`, or in the directory there.
    pub fn read(path: &Path) -> Result<Self> {
        if let Some(mistake) = mistaken::mistake(path) {
            return Err(mistake.into());
        }
        let file = match path.is_dir() {
            true => path.join(NAME),
            false => path.to_owned(),
        };
        match File::open(&file) {
            Ok(open) => Self::read_from(open, &file),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(not_there(path)),
            Err(error) => Err(error).with_context(|| format!("opening {}", file.display())),
        }
    }

    /// Reads the record of the directory at `path`, which the caller has opened, if it is there.
    pub fn read_in(path: &Path, file: Option<File>) -> Result<Self> {
        match file {
            Some(file) => Self::read_from(file, &path.join(NAME)),
            None => Err(not_there(path)),
        }
    }

    /// Reads an open record. Errors call it `path`.
    fn read_from(file: File, path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {}", path.display()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(no_record(
                path,
                &format!("it is larger than {MAX_BYTES} bytes"),
            ));
        }
        let value = match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => value,
            Err(error) => return Err(no_record(path, &error.to_string())),
        };
        match value["schema"].as_str() {
            Some(SCHEMA) => {}
            Some(other) => {
                return Err(Failure::new(
                    format!("{} has schema {other:?}, not {SCHEMA:?}", path.display()),
                    "use the version of coreos-bake that has baked, or bake again",
                )
                .into());
            }
            None => return Err(no_record(path, "it has no schema")),
        }
        Self::of(value).map_err(|error| {
            Failure::new(
                format!("{}: {error:#}", path.display()),
                "bake again, with this version of coreos-bake",
            )
            .into()
        })
    }

    fn of(value: Value) -> Result<Self> {
        let record: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            anyhow::Error::msg(sentence(&path, &error.into_inner().to_string()))
        })?;
        check::check(&record)?;
        Ok(record)
    }

    /// The record as it is written.
    pub fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The first file that is a `role`.
    pub fn file(&self, role: &str) -> Option<&Artifact> {
        self.files.iter().find(|file| file.role == role)
    }

    /// Kernel, initramfs and root file system for network boot, or the role of which there is none.
    pub fn network_boot(&self) -> Result<[&Artifact; 3], &'static str> {
        let file = |role: &'static str| self.file(role).ok_or(role);
        Ok([file("kernel")?, file("initramfs")?, file("rootfs")?])
    }

    /// Kernel arguments of the live system, one an item.
    pub fn live_kargs(&self) -> Vec<String> {
        let words = self.options.live_kargs.split_whitespace();
        words.map(str::to_owned).collect()
    }

    /// What is booted, in words that boot scripts and pages take as they are.
    pub fn title(&self) -> String {
        title(&self.os.pretty_name)
    }

    /// The architecture by its RPM name.
    pub fn architecture(&self) -> &str {
        uname(&self.image.architecture)
    }

    /// The image by its digest, as nodes can pull it: as the origin names it, or as the registry that it
    /// was read from does.
    pub fn os_image(&self) -> Option<String> {
        let origin = self.options.origin.registry_name();
        if let Some(name) = origin.filter(|name| name.contains('@')) {
            return Some(name.to_owned());
        }
        match self.image.reference.parse() {
            Ok(ImageRef::Registry(name)) => {
                Some(format!("{}@{}", name.name(), self.image.manifest_digest))
            }
            _ => None,
        }
    }
}

/// What is wrong at `path`, from what the parser says of it.
fn sentence(path: &str, said: &str) -> String {
    let missing = said
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    match (missing, path) {
        (Some(key), "") => format!("{key} is missing"),
        (Some(key), path) => format!("{path}.{key} is missing"),
        (None, "") => said.to_owned(),
        (None, path) => format!("{path}: {said}"),
    }
}

fn not_there(path: &Path) -> anyhow::Error {
    let place = match path.file_name() {
        // The record itself was named.
        Some(name) if name == NAME => path.parent().unwrap_or(path),
        _ => path,
    };
    let place = match place == Path::new("") {
        true => PathBuf::from("."),
        false => place.to_owned(),
    };
    Failure::new(
        match place.is_dir() {
            true => format!(
                "{} is not a bake directory: it has no {NAME}",
                place.display()
            ),
            false => format!("there is no bake directory {}", place.display()),
        },
        "give the directory that `coreos-bake bake -o` wrote",
    )
    .into()
}

fn no_record(path: &Path, why: &str) -> anyhow::Error {
    Failure::new(
        format!("{} is not the record of a bake: {why}", path.display()),
        "give the directory that `coreos-bake bake -o` wrote",
    )
    .into()
}
