//! The whole kernel of a distribution.

use std::fs;
use std::os::unix::fs::symlink;

use super::scratch::{INDEXES, Scratch};
use crate::kernel::depmod::Indexes;
use crate::kernel::tests::distribution::unpacked;
use crate::kernel::tests::object::module;
use bake_referee::{have, is_there};

/// A tree with that kernel's modules, without indexes.
fn scratch() -> Option<Scratch> {
    if !have("depmod") {
        return None;
    }
    let found = unpacked();
    is_there("a kernel to index (KERNEL_ROOT)", found.is_some());
    let (directory, release) = found?;
    let scratch = Scratch::new(&release);
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !INDEXES.contains(&&*name) && name != "build" && name != "source" {
            symlink(entry.path(), scratch.directory().join(name)).unwrap();
        }
    }
    Some(scratch)
}

#[test]
fn stock_modules() {
    let Some(scratch) = scratch() else { return };
    let ours = scratch.agrees();
    assert_eq!(ours.files.len(), INDEXES.len());
    let lines = |name: &str| ours.files[name].split(|byte| *byte == b'\n').count();
    // As many as a distribution has, so that agreement means something.
    assert!(lines("modules.dep") > 1000 && lines("modules.symbols") > 1000);
    assert!(lines("modules.alias") > 1000 && lines("modules.devname") > 2);
}

#[test]
fn stock_modules_with_drivers_added() {
    let Some(mut scratch) = scratch() else { return };
    // One module above that of the kernel, which others depend on; one more beside; an old one of
    // another kernel by a link.
    let other = scratch.directory().parent().unwrap().join("other/extra");
    fs::create_dir_all(&other).unwrap();
    let mdio = module(&["alias=mdio-extra"]).exports_versions(&["mdiobus_scan", "mdio_more"]);
    scratch.file("extra/libphy.ko", mdio.bytes());
    let driver = module(&["alias=pci:v0000dead*"]).needs(&["mdio_more", "mdiobus_scan"]);
    scratch.file("extra/a-driver.ko", driver.bytes());
    let weak = module(&[]).needs(&["mdiobus_scan", "usb_register_driver"]);
    fs::write(other.join("weak.ko"), weak.bytes()).unwrap();
    scratch.link("weak-updates/weak.ko", "../../other/extra/weak.ko");
    scratch.config("x.conf", "search updates extra built-in weak-updates\n");
    let above = text(&scratch.agrees());
    assert!(above.contains("\nextra/a-driver.ko: extra/libphy.ko\n"));
}

fn text(indexes: &Indexes) -> String {
    String::from_utf8(indexes.files["modules.dep"].clone()).unwrap()
}
