//! Drivers that are there, and every way of not being there.

use serde_json::json;

use super::signature::signed;
use super::{Contents, MODULES, RELEASE, archive, module, system, tree};
use crate::kernel::depmod::INDEX_MAGIC;
use crate::kernel::{Boot, Finding, Initramfs, Root, kernel_in, look_up, mounts, release_in};

fn insert(contents: &mut Contents, name: &str, content: impl Into<Vec<u8>>) {
    contents.insert(format!("{MODULES}/{name}"), content.into());
}

fn remove(contents: &mut Contents, name: &str) {
    contents.remove(&format!("{MODULES}/{name}")).unwrap();
}

/// The finding, which has to be the same in a tree and in an initramfs.
fn find(contents: &Contents, driver: &str) -> Finding {
    let in_tree = look_up(&tree(contents), RELEASE, driver).unwrap();
    let initramfs = Initramfs::read(&archive(contents)[..]).unwrap();
    assert_eq!(look_up(&initramfs, RELEASE, driver).unwrap(), in_tree);
    in_tree
}

#[test]
fn a_driver_that_is_there() {
    let Finding::Present(present) = find(&system(), "disk") else {
        panic!("disk is there");
    };
    let names: Vec<&str> = present
        .dependencies
        .iter()
        .map(|m| m.name.as_str())
        .collect();
    assert_eq!(names, ["lib_a", "bus"]);
    assert_eq!(
        present.module.path,
        Some(format!("{MODULES}/kernel/disk.ko"))
    );
    assert_eq!(
        present.warnings[0],
        "not signed, so refused under Secure Boot: disk, lib_a, bus"
    );
    for name in ["lib-a", "lib_a", "kernel/lib-a.ko.xz"] {
        assert!(find(&system(), name).is_present(), "{name}");
    }
    let Finding::Present(built_in) = find(&system(), "core-x") else {
        panic!("core_x is built in");
    };
    assert!(built_in.module.built_in);
}

#[test]
fn findings_keep_their_names_in_json() {
    let mut contents = system();
    insert(&mut contents, "modules.alias", "alias pci:v1* disk\n");
    insert(&mut contents, "modules.alias.bin", INDEX_MAGIC);
    let signed = signed(module(&[]).bytes());
    insert(&mut contents, "kernel/lib-a.ko", signed.clone());
    let value = |driver| serde_json::to_value(find(&contents, driver)).unwrap();
    use sha2::Digest;
    assert_eq!(
        value("lib-a"),
        json!({
            "status": "present",
            "name": "lib_a",
            "built-in": false,
            "path": "usr/lib/modules/6.1.0-test/kernel/lib-a.ko",
            "size": signed.len(),
            "sha256": hex::encode(sha2::Sha256::digest(&signed)),
            "vermagic": "6.1.0-test SMP mod_unload",
            "signed": true,
            "signer": "Tester",
            "key": "0A:0B",
            "hash": "sha512",
            "dependencies": [],
            "soft-dependencies": { "before": [], "after": [], "absent": [] },
            "loaded-by": ["whatever loads disk"],
            "notes": [],
            "warnings": [],
        })
    );
    assert_eq!(
        value("core_x"),
        json!({
            "status": "present", "name": "core_x", "built-in": true,
            "dependencies": [],
            "soft-dependencies": { "before": [], "after": [], "absent": [] },
            "loaded-by": [], "notes": [], "warnings": [],
        })
    );
    assert_eq!(
        value("none"),
        json!({
            "status": "missing",
            "why": "kernel 6.1.0-test has no module none here, neither as a file nor built in",
        })
    );
    assert_eq!(
        find(&contents, "bus").to_string(),
        "usr/lib/modules/6.1.0-test/kernel/bus.ko, after lib_a; loaded by whatever loads disk; \
         warning: not signed, so refused under Secure Boot: bus"
    );
}

#[test]
fn ways_of_not_being_there() {
    type Change = fn(&mut Contents);
    let cases: &[(&str, Change, &str)] = &[
        (
            "nothing installed",
            |c| c.clear(),
            "there are no modules for kernel 6.1.0-test",
        ),
        (
            "modules of other kernels only",
            |c| {
                c.clear();
                c.insert("usr/lib/modules/6.0/modules.dep".into(), Vec::new());
                c.insert("usr/lib/modules/5.9/modules.dep".into(), Vec::new());
            },
            "there are no modules for kernel 6.1.0-test, only for 5.9, 6.0",
        ),
        (
            "no such module",
            |c| {
                remove(c, "kernel/disk.ko");
                insert(c, "modules.dep", "");
            },
            "kernel 6.1.0-test has no module disk here, neither as a file nor built in",
        ),
        (
            "there for another kernel",
            |c| {
                remove(c, "kernel/disk.ko");
                insert(c, "modules.dep", "");
                c.insert("usr/lib/modules/6.0/extra/x/disk.ko.xz".into(), Vec::new());
            },
            "module disk is there for kernel 6.0, and 6.1.0-test boots",
        ),
        (
            "depmod forgotten",
            |c| insert(c, "modules.dep", "kernel/bus.ko:\n"),
            "usr/lib/modules/6.1.0-test/kernel/disk.ko is there, but modules.dep does not name it: \
             depmod was not run after it was installed",
        ),
        (
            "depmod never run",
            |c| remove(c, "modules.dep"),
            "usr/lib/modules/6.1.0-test/kernel/disk.ko is there, but there is no modules.dep: \
             depmod was not run",
        ),
        (
            "no binary index",
            |c| remove(c, "modules.dep.bin"),
            "usr/lib/modules/6.1.0-test has a modules.dep, but no modules.dep.bin: \
             depmod was not run there",
        ),
        (
            "an empty binary index",
            |c| insert(c, "modules.dep.bin", ""),
            "usr/lib/modules/6.1.0-test/modules.dep.bin is damaged, so modprobe finds nothing: \
             depmod failed there",
        ),
        (
            "file deleted",
            |c| remove(c, "kernel/disk.ko"),
            "modules.dep names usr/lib/modules/6.1.0-test/kernel/disk.ko, which is not there",
        ),
        (
            "dependency deleted",
            |c| remove(c, "kernel/lib-a.ko"),
            "its dependency lib_a: modules.dep names \
             usr/lib/modules/6.1.0-test/kernel/lib-a.ko, which is not there",
        ),
        (
            "built for another kernel",
            |c| {
                let other = super::object::module(&["vermagic=6.1.0-test2 SMP"]);
                insert(c, "kernel/disk.ko", other.bytes());
            },
            "usr/lib/modules/6.1.0-test/kernel/disk.ko was built for kernel 6.1.0-test2, \
             and 6.1.0-test boots",
        ),
        (
            "dependency built for another kernel",
            |c| {
                let other = super::object::module(&["vermagic=6 SMP"]);
                insert(c, "kernel/bus.ko", other.bytes());
            },
            "its dependency bus: usr/lib/modules/6.1.0-test/kernel/bus.ko was built for kernel 6, \
             and 6.1.0-test boots",
        ),
        (
            "no vermagic",
            |c| {
                insert(
                    c,
                    "kernel/disk.ko",
                    super::object::module(&["name=disk"]).bytes(),
                )
            },
            "usr/lib/modules/6.1.0-test/kernel/disk.ko does not say for which kernel it was built",
        ),
        (
            "no object file",
            |c| insert(c, "kernel/disk.ko", "#!/bin/sh\n"),
            "usr/lib/modules/6.1.0-test/kernel/disk.ko is no usable module: \
             reading the object file: Could not read file magic",
        ),
        (
            "index that lists more than the module asks for: present",
            |c| insert(c, "kernel/disk.ko", module(&["depends=bus"]).bytes()),
            "",
        ),
        (
            "index older than the module",
            |c| {
                let needs = module(&["depends=bus,disk"]).bytes();
                insert(c, "kernel/lib-a.ko", needs.clone());
                insert(
                    c,
                    "kernel/disk.ko",
                    module(&["depends=bus,core-x,new"]).bytes(),
                );
                insert(
                    c,
                    "modules.dep",
                    "kernel/disk.ko: kernel/bus.ko\nkernel/bus.ko:\nk/new.ko:\n",
                );
            },
            "it depends on new, which modules.dep does not say: \
             depmod was not run after it was installed",
        ),
        (
            "unknown dependency",
            |c| insert(c, "kernel/disk.ko", module(&["depends=vendor-lib"]).bytes()),
            "it depends on vendor_lib, and there is no such module",
        ),
    ];
    for (about, change, why) in cases {
        let mut contents = system();
        change(&mut contents);
        assert_eq!(find(&contents, "disk").reason(), *why, "{about}");
    }
}

#[test]
fn soft_dependencies_and_firmware_are_noted() {
    let mut contents = system();
    let fields = [
        "depends=",
        "softdep=pre: not-in-the-index",
        "firmware=there.bin",
        "firmware=packed.bin",
        "firmware=own.bin",
        "firmware=lost.bin",
        "firmware=group/*.bin",
    ];
    insert(
        &mut contents,
        "kernel/disk.ko",
        signed(module(&fields).bytes()),
    );
    insert(
        &mut contents,
        "modules.dep",
        "kernel/disk.ko:\nkernel/lib-a.ko:\n",
    );
    insert(
        &mut contents,
        "modules.softdep",
        "softdep bus pre: x\nsoftdep disk gone-0 pre: lib-a core-x gone-1 post: crypto-x gone-2\n\
         softdep disk pre: second-line\n",
    );
    insert(
        &mut contents,
        "modules.alias",
        "alias crypto-x bus\nalias gone bus\n",
    );
    for path in ["there.bin", "packed.bin.xz", "6.1.0-test/own.bin.zst"] {
        contents.insert(format!("usr/lib/firmware/{path}"), Vec::new());
    }
    let Finding::Present(present) = find(&contents, "disk") else {
        panic!("disk is there");
    };
    let soft = &present.soft_dependencies;
    assert_eq!(soft.before, ["lib_a", "core_x"]);
    assert_eq!(soft.after, ["crypto_x"]);
    assert_eq!(
        present.notes,
        ["soft dependencies that are not there: gone_1, gone_2"]
    );
    assert_eq!(present.warnings[0], "firmware that is not there: lost.bin");
}

#[test]
fn exactly_one_kernel() {
    let mut contents = system();
    let error = |contents: &Contents| release_in(&tree(contents)).unwrap_err().to_string();
    assert_eq!(
        error(&contents),
        "the image has no kernel: no usr/lib/modules/*/vmlinuz"
    );
    insert(&mut contents, "vmlinuz", "kernel");
    assert_eq!(
        error(&contents),
        "kernel 6.1.0-test has no initramfs: no usr/lib/modules/6.1.0-test/initramfs.img"
    );
    insert(&mut contents, "initramfs.img", "initramfs");
    contents.insert("usr/lib/modules/6.0/weak-updates/x.ko".into(), Vec::new());
    let kernel = kernel_in(&tree(&contents)).unwrap();
    assert_eq!(kernel.release, RELEASE);
    assert_eq!(kernel.vmlinuz.to_vec(99).unwrap(), b"kernel");
    assert_eq!(kernel.initramfs.to_vec(99).unwrap(), b"initramfs");
    for name in ["vmlinuz", "initramfs.img"] {
        let mut contents = contents.clone();
        insert(&mut contents, name, "");
        let error = kernel_in(&tree(&contents)).unwrap_err().to_string();
        assert_eq!(error, format!("usr/lib/modules/6.1.0-test/{name} is empty"));
    }
    contents.insert("usr/lib/modules/6.0/vmlinuz".into(), Vec::new());
    assert_eq!(
        error(&contents),
        "the image has 2 kernels (6.0, 6.1.0-test), and only one can be booted"
    );
}

#[test]
fn what_an_initramfs_can_mount() {
    let mut contents = Contents::new();
    let squashfs = module(&["alias=fs-squashfs"]);
    let squashfs = squashfs.needs(&["zstd_decompress_stream", "zlib_inflate", "kfree"]);
    insert(&mut contents, "squashfs.ko", signed(squashfs.bytes()));
    insert(&mut contents, "modules.dep", "squashfs.ko:\n");
    insert(&mut contents, "modules.dep.bin", INDEX_MAGIC);
    insert(
        &mut contents,
        "modules.alias",
        "alias fs-squashfs squashfs\n",
    );
    insert(&mut contents, "modules.alias.bin", INDEX_MAGIC);
    let mut root = Contents::new();
    insert(
        &mut root,
        "modules.builtin",
        "kernel/drivers/block/loop.ko\n",
    );
    // To compare others with.
    insert(&mut root, "kernel/own.ko", module(&[]).bytes());
    insert(&mut root, "modules.dep", "kernel/own.ko:\n");
    let judge = |contents: &Contents, root: &Contents, arguments: &[&str], algorithm| {
        let initramfs = Initramfs::read(&archive(contents)[..]).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let boot = Boot {
            files: &initramfs,
            image: &tree(root),
            release: RELEASE,
            arguments: &arguments,
            initramfs: true,
        };
        let live = Root::Live {
            iso: false,
            compression: Some(algorithm),
        };
        let found = mounts(&boot, live).unwrap();
        let names: Vec<&str> = found.iter().map(|mount| mount.module).collect();
        assert_eq!(names, ["squashfs", "loop"]);
        let [squashfs, loops] = found.try_into().expect("there are two");
        (squashfs.finding, loops.finding)
    };
    // What is said of squashfs: what it is known from, a warning, or why it is not there.
    let squashfs = |contents: &Contents, root: &Contents, algorithm| {
        let (squashfs, loops) = judge(contents, root, &[], algorithm);
        assert!(loops.is_present());
        match squashfs {
            Finding::Present(present) => [present.notes, present.warnings].concat().join("; "),
            Finding::Missing(missing) => missing.why,
        }
    };

    let module = "usr/lib/modules/6.1.0-test/squashfs.ko";
    for (algorithm, said) in [
        ("zstd", format!("{module} calls zstd_decompress_stream")),
        ("gzip", format!("{module} calls zlib_inflate")),
        ("xz", format!("{module} was built without xz")),
        (
            "brotli",
            "nobody can tell whether it reads a squashfs compressed with brotli: squashfs knows no \
             compression brotli"
                .to_owned(),
        ),
    ] {
        assert_eq!(squashfs(&contents, &root, algorithm), said);
    }
    let (_, loops) = judge(&contents, &Contents::new(), &[], "zstd");
    assert!(loops.reason().contains("no module loop"), "{loops}");

    // Arguments of the kernel count, and what it has built in does not care.
    for (argument, kept_out) in [
        ("module_blacklist=squashfs", true),
        ("modprobe.blacklist=x,squashfs", true),
        ("rd.driver.blacklist=squashfs", true),
        ("module_blacklist=loop", false),
    ] {
        let (squashfs, loops) = judge(&contents, &root, &["quiet", argument], "zstd");
        assert_eq!(squashfs.reason().contains(argument), kept_out, "{squashfs}");
        assert!(loops.is_present(), "{loops}");
    }

    // Built in: the configuration decides.
    insert(&mut root, "modules.builtin", "a/squashfs.ko\na/loop.ko\n");
    remove(&mut contents, "squashfs.ko");
    insert(&mut contents, "modules.dep", "");
    let said = squashfs(&contents, &root, "zstd");
    assert!(
        said.contains("whose configuration is not in the image"),
        "{said}"
    );
    insert(
        &mut root,
        "config",
        "CONFIG_SQUASHFS_ZSTD=y\n# CONFIG_SQUASHFS_XZ is not set\n",
    );
    let config = "usr/lib/modules/6.1.0-test/config";
    assert_eq!(
        squashfs(&contents, &root, "zstd"),
        format!("{config} sets CONFIG_SQUASHFS_ZSTD")
    );
    assert_eq!(
        squashfs(&contents, &root, "xz"),
        format!("{config} does not set CONFIG_SQUASHFS_XZ")
    );
}
