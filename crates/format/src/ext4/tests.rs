//! Images against tools that we did not write: e2fsprogs, GRUB's own driver and the kernel.

mod cases;
mod grub;
mod kernel;
mod mke2fs;
mod random;
mod read_back;
mod referees;
mod refused;
mod trees;

use tempfile::NamedTempFile;

use super::{Layout, Options};
use bake_tree::Tree;

/// CoreOS's first UUID of the boot partition.
const UUID: [u8; 16] = 0x96d15588_3596_4b3c_adca_a2ff7279ea63_u128.to_be_bytes();
const MIB: u64 = 1 << 20;

fn options(mib: u64, block_size: u32) -> Options {
    Options {
        size_bytes: mib * MIB,
        block_size,
        label: "boot".into(),
        uuid: UUID,
        time: 1_700_000_000,
    }
}

/// Plans and writes `tree` into a fresh file of zeros.
fn image(tree: &Tree, options: &Options) -> NamedTempFile {
    let layout = Layout::plan(tree, options).unwrap();
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(options.size_bytes).unwrap();
    layout.write(file.as_file(), 0).unwrap();
    file
}
