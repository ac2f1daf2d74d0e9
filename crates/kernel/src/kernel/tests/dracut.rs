//! What dracut takes by itself, and what has to be named to it. Real dracut judges the same in
//! `tests/layer.rs`.

use super::object::Module;
use super::{Contents, MODULES, RELEASE, module, tree};
use crate::kernel::{Kept, kept};

const CONF: &str = "usr/lib/dracut/dracut.conf.d";
const EXTRA: &str = "usr/lib/dracut/modules.d/90kernel-modules-extra/module-setup.sh";
const DIST: &str = "usr/lib/depmod.d/dist.conf";
const SEARCH: &str = "search updates extra built-in weak-updates\n";

/// A root with the driver `my-raid` at a path, which calls a function of block devices.
fn root(path: &str) -> Contents {
    of(
        path,
        module(&["depends="]).needs(&["scsi_add_host_with_dma"]),
    )
}

fn of(path: &str, driver: Module) -> Contents {
    Contents::from([
        (format!("{MODULES}/{path}"), driver.bytes()),
        (
            format!("{MODULES}/modules.dep"),
            format!("{path}:\n").into_bytes(),
        ),
        (EXTRA.to_owned(), Vec::new()),
    ])
}

fn judge(root: &Contents, initramfs: &Contents) -> Kept {
    kept(&tree(root), &tree(initramfs), RELEASE, "my-raid").unwrap()
}

#[test]
fn drivers_are_taken_by_their_place() {
    for (path, taken) in [
        ("extra/my-raid.ko", false),
        ("extra/vendor/my-raid.ko.xz", false),
        ("weak-updates/my-raid.ko", false),
        ("misc/my-raid.ko", false),
        // What depmod searches if nobody says otherwise.
        ("updates/my-raid.ko", true),
        ("extra/drivers/scsi/my-raid.ko", true),
        ("kernel/drivers/scsi/my-raid.ko", true),
        ("kernel/fs/my-raid.ko", true),
        ("kernel/fs/nfs/my-raid.ko", false),
        ("kernel/arch/x86/crypto/my-raid.ko", true),
        ("kernel/net/my-raid.ko", false),
    ] {
        let found = judge(&root(path), &Contents::new());
        assert_eq!(
            matches!(found, Kept::ByItself(_)),
            taken,
            "{path}: {found:?}"
        );
        assert_eq!(found.lost().is_none(), taken);
    }
    // A driver that is none of block devices.
    let driver = module(&["depends="]).needs(&["register_netdev"]);
    let path = "kernel/drivers/net/my-raid.ko";
    let other = of(path, driver);
    assert!(judge(&other, &Contents::new()).lost().is_some());
    // It got into the initramfs that is there by itself, so it will again; unless it was named.
    let there = format!("{MODULES}/{path}");
    let mut initramfs = Contents::from([(there, Vec::new())]);
    assert!(judge(&other, &initramfs).lost().is_none());
    let parameters = "usr/lib/dracut/build-parameter.txt".to_owned();
    let text = "--force --no-hostonly --add-drivers 'a my-raid'\n";
    initramfs.insert(parameters.clone(), text.into());
    let found = judge(&other, &initramfs);
    assert!(found.lost().unwrap().contains(&parameters), "{found:?}");

    let mut built_in = root("extra/my-raid.ko");
    built_in.insert(
        format!("{MODULES}/modules.builtin"),
        "a/my-raid.ko\n".into(),
    );
    assert!(judge(&built_in, &Contents::new()).lost().is_none());
}

#[test]
fn directories_that_depmod_searches_are_taken() {
    let none = Contents::new();
    let with = |path: &str, text: &str| {
        let mut root = root("extra/my-raid.ko");
        root.insert(path.to_owned(), text.into());
        root
    };
    let dist = with(DIST, SEARCH);
    assert_eq!(
        judge(&dist, &none),
        Kept::ByItself("dracut takes what depmod.d names: search extra".into())
    );
    // Of two files of one name the administrator's counts.
    let mut hidden = dist.clone();
    hidden.insert(
        "usr/etc/depmod.d/dist.conf".into(),
        "search built-in\n".into(),
    );
    assert!(judge(&hidden, &none).lost().is_some());
    let named = with(DIST, "override my-raid * extra\n");
    assert!(judge(&named, &none).lost().is_none());
    let other = with(DIST, "override other * extra\n");
    assert!(judge(&other, &none).lost().is_some());
    // The part of dracut that asks depmod.d has to be there, and used.
    let mut without = dist.clone();
    without.remove(EXTRA);
    assert!(judge(&without, &none).lost().is_some());
    let mut omitted = dist;
    let text = "omit_dracutmodules+=\" nfs kernel-modules-extra \"\n";
    omitted.insert(format!("{CONF}/10-os.conf"), text.into());
    assert!(judge(&omitted, &none).lost().is_some());
}

#[test]
fn drivers_are_taken_by_their_name() {
    let none = Contents::new();
    let with = |files: &[(&str, &str)]| {
        let mut root = root("extra/my-raid.ko");
        let files = files.iter();
        root.extend(files.map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())));
        judge(&root, &none)
    };
    let add = "add_drivers+=\" my_raid \"\n";
    for path in [
        "usr/lib/dracut/dracut.conf.d/50-x.conf",
        "usr/etc/dracut.conf.d/50-x.conf",
        "etc/dracut.conf.d/50-x.conf",
        "usr/etc/dracut.conf",
    ] {
        assert_eq!(with(&[(path, add)]), Kept::Named(path.into()));
    }
    let a = "usr/lib/dracut/dracut.conf.d/a.conf";
    let b = "usr/lib/dracut/dracut.conf.d/b.conf";
    let lost = |files: &[(&str, &str)]| with(files).lost().map(str::to_owned);
    assert!(lost(&[("usr/lib/dracut/dracut.conf.d/x", add)]).is_some());
    assert!(lost(&[(a, add), ("usr/etc/dracut.conf.d/a.conf", "")]).is_some());
    assert!(lost(&[(a, add), (b, "add_drivers=' other '")]).is_some());
    assert!(lost(&[(b, add), (a, "add_drivers=' other '")]).is_none());
    // What is added is not omitted.
    assert!(lost(&[(a, add), (b, "omit_drivers+=' my_raid '")]).is_none());

    let mut own = root("kernel/drivers/scsi/my-raid.ko");
    own.insert(a.to_owned(), "omit_drivers+=' my-raid '".into());
    assert_eq!(
        judge(&own, &none),
        Kept::Left(format!("{a} has dracut leave it out"))
    );
}
