//! The same numbers as mke2fs, and what e2fsprogs reads back.

use std::os::unix::fs::FileExt;
use std::process::Command;

use tempfile::NamedTempFile;

use super::kernel::compare_mounted;
use super::referees::{check, debugfs, fields, run, text};
use super::trees::{pattern, varied};
use super::{MIB, UUID, image, options};
use crate::ext4::Layout;
use bake_tree::{Meta, Node, Tree};

/// el9's configuration, as far as it decides what is compared.
const CONFIGURATION: &str = "\
[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
	small = {
		blocksize = 1024
		inode_ratio = 4096
	}
	floppy = {
		blocksize = 1024
		inode_ratio = 8192
	}
";

/// Fields of `dumpe2fs -h` that differ: chance, the clock, what mke2fs counted as it wrote, the sign
/// of its host's characters.
const DIFFERENT: [&str; 7] = [
    "Filesystem flags",
    "Directory Hash Seed",
    "Filesystem created",
    "Last write time",
    "Last checked",
    "Lifetime writes",
    "Checksum",
];

#[test]
fn every_number_is_that_of_mke2fs() {
    let configuration = NamedTempFile::new().unwrap();
    std::fs::write(configuration.path(), CONFIGURATION).unwrap();
    let uuid = "96d15588-3596-4b3c-adca-a2ff7279ea63";
    assert_eq!(uuid.replace('-', ""), hex(&UUID));
    let sizes = [
        8, 9, 16, 17, 33, 64, 127, 128, 384, 511, 512, 1000, 1024, 1025,
    ];
    for (mib, block_size) in sizes.iter().flat_map(|mib| [(*mib, 1024), (*mib, 4096)]) {
        let theirs = NamedTempFile::new().unwrap();
        theirs.as_file().set_len(mib * MIB).unwrap();
        let made = Command::new("mkfs.ext4")
            .env("MKE2FS_CONFIG", configuration.path())
            .args([
                "-q",
                "-F",
                "-U",
                uuid,
                "-L",
                "boot",
                "-O",
                "metadata_csum_seed",
            ])
            .args(["-b", &block_size.to_string()])
            .arg(theirs.path())
            .output();
        match made {
            Ok(output) => assert!(output.status.success(), "mkfs.ext4: {}", text(&output)),
            Err(_) if std::env::var_os("REQUIRE_TOOLS").is_none() => {
                println!("skipped: mkfs.ext4 is not installed");
                return;
            }
            Err(error) => panic!("running mkfs.ext4: {error}"),
        }
        let ours = image(&Tree::new(Meta::root(0o755)), &options(mib, block_size));
        let known = |image| {
            let fields: Vec<_> = fields(image)
                .unwrap()
                .into_iter()
                .filter(|(name, _)| !DIFFERENT.contains(&&**name))
                .collect();
            fields
        };
        let (wanted, found) = (known(theirs.path()), known(ours.path()));
        assert!(wanted.len() > 40);
        assert_eq!(found, wanted, "{mib} MiB in blocks of {block_size}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn debugfs_reads_contents_and_attributes() {
    let tree = varied(1024);
    let image = image(&tree, &options(64, 1024));
    let Some(stat) = debugfs(image.path(), "stat /owners/fixed") else {
        return;
    };
    assert!(stat.contains("Flags: 0x80010"), "{stat}");
    assert!(stat.contains("security.selinux (28)"), "{stat}");
    let listed = debugfs(image.path(), "ea_list /attributes/both").unwrap();
    for name in ["security.selinux (28)", "user.large (300)", "trusted.t (3)"] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    let copy = NamedTempFile::new().unwrap();
    let request = format!("dump /sizes/{} {}", (19 << 20) + 7, copy.path().display());
    debugfs(image.path(), &request).unwrap();
    let len = (19 << 20) + 7;
    assert!(std::fs::read(copy.path()).unwrap() == pattern(len, len as u64));
}

/// Without the first super block and descriptors, e2fsck restores everything from a copy.
#[test]
fn a_copy_of_the_super_block_serves() {
    for (block_size, copy, damage) in [(1024, "221185", 1024..5120), (4096, "32768", 0..8192)] {
        let tree = varied(block_size as usize);
        let image = image(&tree, &options(384, block_size));
        let len = damage.end - damage.start;
        let nothing = vec![0; len];
        image
            .as_file()
            .write_all_at(&nothing, damage.start as u64)
            .unwrap();
        let size = block_size.to_string();
        let arguments = ["-fy", "-b", copy, "-B", &size];
        let Some(output) = run("e2fsck", &arguments, image.path()) else {
            return;
        };
        // 1: errors were corrected.
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        check(image.path());
        compare_mounted(image.path(), &tree);
    }
}

/// The extents told are where the bytes are.
#[test]
fn extents_lead_to_the_bytes() {
    for block_size in [1024, 4096] {
        let tree = varied(block_size as usize);
        let options = options(64, block_size);
        let layout = Layout::plan(&tree, &options).unwrap();
        let image = image(&tree, &options);
        tree.walk(|path, id| {
            let extents = layout.extents(id);
            let Node::File(content) = &tree.inode(id).node else {
                assert!(extents.is_empty());
                return;
            };
            let mut bytes = Vec::new();
            for extent in extents {
                assert_eq!(extent.file_offset, bytes.len() as u64);
                let mut part = vec![0; extent.len as usize];
                image
                    .as_file()
                    .read_exact_at(&mut part, extent.image_offset)
                    .unwrap();
                bytes.extend(part);
            }
            assert!(bytes == content.to_vec(64 * MIB).unwrap(), "{path:?}");
        });
    }
}
