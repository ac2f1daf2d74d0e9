//! Core images against `grub-mkimage`, and under SeaBIOS.

mod boot;
mod hostile;
mod referees;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Modules;
use bake_referee::{have, is_there};

/// Where distributions put what we make core images of.
const DIRECTORY: &str = "/usr/lib/grub/i386-pc";

/// Debian has this only in the package grub-ieee1275-bin for ppc64el.
const DIRECTORY_POWERPC: &str = "/usr/lib/grub/powerpc-ieee1275";

type Files = BTreeMap<String, Vec<u8>>;

/// What a disk's core image has on CoreOS.
const ON_DISK: [&str; 4] = ["biosdisk", "part_gpt", "ext2", "mdraid1x"];

/// What a CD's has, which brings no directory of modules: what its menu uses.
const ON_CD: [&str; 10] = [
    "biosdisk", "echo", "halt", "iso9660", "linux", "normal", "part_gpt", "search", "serial",
    "test",
];

const PREFIX: &str = "(,gpt3)/grub2";

fn files() -> Option<Files> {
    files_in(DIRECTORY)
}

fn files_in(directory: &str) -> Option<Files> {
    if !is_there(directory, Path::new(directory).is_dir()) {
        return None;
    }
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    Some(fs::read_dir(directory).unwrap().map(read).collect())
}

fn modules() -> Option<Modules> {
    files().map(|files| Modules::new(files).unwrap())
}
