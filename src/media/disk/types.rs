//! The types of the partitions that hold `/boot` and the root file system.
//!
//! They are those of the Discoverable Partitions Specification, which coreos-assembler gives every image
//! since 2025-12 (`src/osbuild-manifests/coreos.osbuild.<arch>.mpp.yaml`@ca0cb56dc). Before, both were plain
//! Linux data. Nothing that boots a disk asks for the types: GRUB and the first boot go by labels
//! (fedora-coreos-config `40ignition-ostree`@2d0fce6d reads types of the user's own partitions only), and
//! coreos-installer by names and numbers.
//!
//! What does ask is `systemd-gpt-auto-generator`: once it finds a root by its type, it mounts the other
//! partitions of the disk as it sees fit, such as the EFI system partition over an empty `/boot`. Images of
//! CoreOS come without it (fedora-coreos-config@2d0fce6d takes it out); one that has it keeps plain Linux data.
//!
//! An image can say otherwise in the partition table that it describes to image-builder
//! (<https://osbuild.org/docs/developer-guide/projects/image-builder/advanced/bootc/sources-of-configuration/>).
//! Sizes, numbers and labels in there are not taken: the first boot and installers know only those of
//! [`super::table`].

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_saphyr::options;
use uuid::{Uuid, uuid};

use crate::tree::Tree;

/// Linux file system data, of no purpose in particular.
const LINUX_DATA: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
const EXTENDED_BOOT: Uuid = uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172");
const ROOT_X86_64: Uuid = uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
const ROOT_AARCH64: Uuid = uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae");
const ROOT_PPC64LE: Uuid = uuid!("c31c45e6-3f39-412e-80fb-4809c4980599");
const ROOT_S390X: Uuid = uuid!("5eead9a9-fe09-4a1e-a1d7-520d00531306");
const ROOT_RISCV64: Uuid = uuid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224");

/// What mounts partitions by their types.
const MOUNTS_BY_TYPE: &str = "usr/lib/systemd/system-generators/systemd-gpt-auto-generator";

/// Where an image describes its partitions, the place that counts first.
const DESCRIPTIONS: [&str; 2] = [
    "usr/lib/image-builder/bootc/disk.yaml",
    "usr/lib/bootc-image-builder/disk.yaml",
];

/// Longest description in bytes; one has some two thousand.
const DESCRIPTION_MAX_BYTES: u64 = 1 << 20;

/// The types of two partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types {
    /// Of the one that holds `/boot`.
    pub(super) boot: Uuid,
    /// Of the one that holds the physical root.
    pub(super) root: Uuid,
}

impl Types {
    /// Those of an architecture (`uname -m`).
    pub(super) fn of(architecture: &str) -> Result<Self> {
        let root = match architecture {
            "x86_64" => ROOT_X86_64,
            "aarch64" => ROOT_AARCH64,
            "ppc64le" => ROOT_PPC64LE,
            "s390x" => ROOT_S390X,
            "riscv64" => ROOT_RISCV64,
            other => bail!("no disk layout is known for architecture {other}"),
        };
        Ok(Self {
            boot: EXTENDED_BOOT,
            root,
        })
    }

    /// Those of an image: what it says itself counts before what its architecture has.
    pub(super) fn of_image(architecture: &str, merged: &Tree) -> Result<Self> {
        let mut types = Self::of(architecture)?;
        if merged.file(MOUNTS_BY_TYPE).is_some() {
            types = Self {
                boot: LINUX_DATA,
                root: LINUX_DATA,
            };
        }
        let mut places = DESCRIPTIONS.into_iter();
        let Some((path, content)) = places.find_map(|path| Some((path, merged.file(path)?))) else {
            return Ok(types);
        };
        let bytes = content
            .to_vec(DESCRIPTION_MAX_BYTES)
            .with_context(|| format!("reading {path}"))?;
        types
            .take(&bytes)
            .with_context(|| format!("reading {path} of the image"))?;
        Ok(types)
    }

    fn take(&mut self, description: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(description).context("it is not UTF-8")?;
        let options = options! { with_snippet: false };
        let described: Described = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| anyhow!("{}", error.to_string().replace('\n', " ")))?;
        for partition in described.partition_table.unwrap_or_default().partitions {
            let mount_point = partition.payload.and_then(|payload| payload.mountpoint);
            let place = match mount_point.as_deref() {
                Some("/boot") => &mut self.boot,
                Some("/") => &mut self.root,
                _ => continue,
            };
            if let Some(text) = partition.type_guid {
                *place = text
                    .parse()
                    .with_context(|| format!("the partition type {text:?} is not a GUID"))?;
            }
        }
        Ok(())
    }
}

/// What image-builder calls a disk. Only what is taken is named.
#[derive(Deserialize)]
struct Described {
    partition_table: Option<Layout>,
}

#[derive(Default, Deserialize)]
struct Layout {
    #[serde(default)]
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    #[serde(rename = "type")]
    type_guid: Option<String>,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    mountpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta, Node};

    fn image(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new(Meta::root(0o755));
        for (path, text) in files {
            let (directory, name) = path.rsplit_once('/').unwrap();
            let directory = tree.make_directories(directory, &Meta::root(0o755));
            let node = Node::File(Content::bytes(text.as_bytes()));
            tree.create(directory, name, Meta::root(0o644), node);
        }
        tree
    }

    fn described(boot: &str, root: &str) -> String {
        format!(
            "mount_configuration: none\npartition_table:\n  type: gpt\n  partitions:\n    \
             - size: 1 MiB\n      type: 21686148-6449-6E6F-744E-656564454649\n    \
             - size: 1 GiB\n      {boot}\n      payload_type: filesystem\n      payload:\n        mountpoint: /boot\n    \
             - {root}\n      payload:\n        type: xfs\n        mountpoint: \"/\"\n"
        )
    }

    /// The types that `sfdisk` of util-linux 2.38 calls `Linux extended boot` and `Linux root (…)`.
    #[test]
    fn an_image_that_says_nothing_has_the_types_of_its_architecture() {
        for (architecture, root) in [
            ("x86_64", ROOT_X86_64),
            ("aarch64", ROOT_AARCH64),
            ("ppc64le", ROOT_PPC64LE),
            ("s390x", ROOT_S390X),
            ("riscv64", ROOT_RISCV64),
        ] {
            let types = Types::of_image(architecture, &image(&[])).unwrap();
            let boot = EXTENDED_BOOT;
            assert_eq!(types, Types { boot, root }, "{architecture}");
        }
        assert!(Types::of_image("mips", &image(&[])).is_err());
    }

    #[test]
    fn what_an_image_describes_counts() {
        let plain = "type: 0FC63DAF-8483-4772-8E79-3D69D8477DE4";
        let of = |files: &[(&str, &str)]| Types::of_image("x86_64", &image(files));
        let [first, second] = DESCRIPTIONS;
        let both = Types {
            boot: LINUX_DATA,
            root: LINUX_DATA,
        };
        assert_eq!(of(&[(first, &described(plain, plain))]).unwrap(), both);
        assert_eq!(of(&[(second, &described(plain, plain))]).unwrap(), both);
        // The place of old does not count beside the other, and a type that is not told is not changed.
        let root_alone =
            described("size: 1 GiB", plain).replacen("size: 1 GiB\n      size", "size", 1);
        let types = of(&[(first, &root_alone), (second, &described(plain, plain))]).unwrap();
        let boot = EXTENDED_BOOT;
        assert_eq!(
            types,
            Types {
                boot,
                root: LINUX_DATA
            }
        );
        let untold = of(&[(first, "mount_configuration: none\n")]).unwrap();
        assert_eq!(untold, Types::of("x86_64").unwrap());
    }

    /// It would mount the EFI system partition over `/boot`.
    #[test]
    fn an_image_that_mounts_by_type_keeps_types_without_a_purpose() {
        let plain = Types {
            boot: LINUX_DATA,
            root: LINUX_DATA,
        };
        let generator = (MOUNTS_BY_TYPE, "ELF");
        let types = Types::of_image("x86_64", &image(&[generator])).unwrap();
        assert_eq!(types, plain);
        // Who describes partitions knows.
        let root = "type: 4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
        let boot = "type: BC13C2FF-59E6-4262-A352-B275FD6F7172";
        let told = described(boot, root);
        let types = Types::of_image("x86_64", &image(&[generator, (DESCRIPTIONS[0], &told)]));
        assert_eq!(types.unwrap(), Types::of("x86_64").unwrap());
    }

    #[test]
    fn a_type_that_is_no_guid_is_refused_with_the_files_name() {
        let text = described("type: xbootldr", "type: root");
        let error = Types::of_image("x86_64", &image(&[(DESCRIPTIONS[0], &text)])).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("image-builder/bootc/disk.yaml"), "{error}");
        assert!(error.contains("\"xbootldr\" is not a GUID"), "{error}");
    }
}
