//! What loads a driver, and what keeps it from being loaded.

use super::signature::{signed, signed_by};
use super::{Contents, MODULES, RELEASE, archive, module, system, tree};
use crate::kernel::depmod::INDEX_MAGIC;
use crate::kernel::{Boot, Files, Finding, Initramfs, look_up_at};
use bake_tree::{Meta, Node, Tree};

const LOADER: &str = "usr/lib/systemd/systemd-modules-load";

/// A driver `disk` for some hardware, with two dependencies, all signed.
fn machine() -> Contents {
    let mut contents = system();
    for (name, depends, alias) in [
        ("disk", "bus,lib-a", Some("alias=pci:v00001234d*")),
        ("bus", "lib-a", None),
        ("lib-a", "", None),
    ] {
        let depends = format!("depends={depends}");
        let mut fields = vec![depends.as_str()];
        fields.extend(alias);
        let bytes = signed(module(&fields).bytes());
        contents.insert(format!("{MODULES}/kernel/{name}.ko"), bytes);
    }
    put(
        &mut contents,
        &format!("{MODULES}/modules.alias"),
        "alias pci:v00001234d* disk\n",
    );
    let index = format!("{MODULES}/modules.alias.bin");
    contents.insert(index, INDEX_MAGIC.to_vec());
    put(&mut contents, LOADER, "");
    contents
}

fn put(contents: &mut Contents, path: &str, text: &str) {
    contents.insert(path.to_owned(), text.into());
}

fn at(files: &dyn Files, arguments: &[&str], initramfs: bool, driver: &str) -> Finding {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let boot = Boot {
        files,
        image: files,
        release: RELEASE,
        arguments: &arguments,
        initramfs,
    };
    look_up_at(&boot, driver).unwrap()
}

/// In the system's root, and in an initramfs, which say the same in these cases.
fn find(contents: &Contents, arguments: &[&str], driver: &str) -> Finding {
    let in_tree = at(&tree(contents), arguments, false, driver);
    let initramfs = Initramfs::read(&archive(contents)[..]).unwrap();
    assert_eq!(at(&initramfs, arguments, true, driver), in_tree);
    in_tree
}

fn in_initramfs(contents: &Contents, arguments: &[&str], driver: &str) -> Finding {
    let initramfs = Initramfs::read(&archive(contents)[..]).unwrap();
    at(&initramfs, arguments, true, driver)
}

fn loaded_by(finding: Finding) -> Vec<String> {
    match finding {
        Finding::Present(present) => present.loaded_by,
        Finding::Missing(missing) => panic!("{}", missing.why),
    }
}

const HARDWARE: &str = "hardware pci:v00001234d*";

#[test]
fn what_loads_a_driver() {
    let contents = machine();
    assert_eq!(loaded_by(find(&contents, &[], "disk")), [HARDWARE]);
    assert_eq!(
        loaded_by(find(&contents, &[], "lib-a")),
        ["whatever loads disk"]
    );

    type Change = fn(&mut Contents);
    let cases: &[(&str, Change, &[&str], &[&str])] = &[
        (
            "several aliases",
            |c| {
                let text = "alias pci:v1* disk\nalias fs-disk disk\nalias pci:v2* disk\n";
                put(c, &format!("{MODULES}/modules.alias"), text);
            },
            &[],
            &["hardware pci:v1* (3 aliases)"],
        ),
        (
            "no hardware",
            |c| {
                put(
                    c,
                    &format!("{MODULES}/modules.alias"),
                    "alias fs-disk disk\n",
                )
            },
            &[],
            &["the kernel's request for fs-disk"],
        ),
        (
            "a node in /dev",
            |c| {
                put(
                    c,
                    &format!("{MODULES}/modules.alias"),
                    "alias devname:disk disk\n",
                )
            },
            &[],
            &["opening /dev/disk"],
        ),
        (
            "an alias of the configuration, and none in the index",
            |c| {
                put(c, &format!("{MODULES}/modules.alias"), "");
                put(c, "etc/modprobe.d/a.conf", "alias acpi*:X0001:* disk\n");
            },
            &[],
            &["hardware acpi*:X0001:*"],
        ),
        (
            "modules-load.d",
            |c| {
                put(
                    c,
                    "etc/modules-load.d/a.conf",
                    "# x\n; y\n\n  other\ndisk \n",
                )
            },
            &[],
            &[HARDWARE, "etc/modules-load.d/a.conf"],
        ),
        (
            "modules-load.d, without anything that reads it",
            |c| {
                c.remove(LOADER);
                put(c, "etc/modules-load.d/a.conf", "disk\n");
            },
            &["modules-load=disk"],
            &[HARDWARE],
        ),
        (
            "modules-load.d, emptied by a file in a better place",
            |c| {
                put(c, "usr/lib/modules-load.d/a.conf", "disk\n");
                put(c, "etc/modules-load.d/a.conf", "");
            },
            &[],
            &[HARDWARE],
        ),
        (
            "by an alias",
            |c| put(c, "usr/lib/modules-load.d/a.conf", "pci:v00001234d1\n"),
            &[],
            &[HARDWARE, "usr/lib/modules-load.d/a.conf"],
        ),
        (
            "an argument for systemd",
            |_| {},
            &["modules_load=x,disk", "quiet modules-load=disk"],
            &[
                HARDWARE,
                "the kernel argument modules_load=x,disk",
                "the kernel argument modules-load=disk",
            ],
        ),
        (
            "the first file of two with one name",
            |c| {
                put(c, "run/modprobe.d/a.conf", "blacklist disk\n");
                put(c, "etc/modprobe.d/a.conf", "blacklist other\n");
            },
            &[],
            &[HARDWARE],
        ),
        (
            "no configuration by its name",
            |c| {
                put(c, "etc/modprobe.d/.a.conf", "blacklist disk\n");
                put(c, "etc/modprobe.d/a.conf.rpmsave", "blacklist disk\n");
                put(
                    c,
                    "etc/modprobe.d/b.conf",
                    "#blacklist disk\nblacklist\noptions disk x=1\n",
                );
            },
            &[],
            &[HARDWARE],
        ),
        (
            "arguments that kmod and the kernel compare as they are",
            |_| {},
            &[
                "modprobe.blacklist=dis-k",
                "module_blacklist=dis,disk2",
                "initcall_blacklist=disk",
            ],
            &[HARDWARE],
        ),
        (
            "the last argument counts for the kernel",
            |_| {},
            &["module_blacklist=disk", "module_blacklist=other"],
            &[HARDWARE],
        ),
        (
            "a dependency is loaded all the same",
            |c| {
                put(
                    c,
                    "etc/modprobe.d/a.conf",
                    "blacklist bus\nblacklist lib_a\n",
                )
            },
            &["modprobe.blacklist=lib_a"],
            &[HARDWARE],
        ),
    ];
    for (about, change, arguments, expected) in cases {
        let mut contents = machine();
        change(&mut contents);
        let found = loaded_by(find(&contents, arguments, "disk"));
        assert_eq!(found, *expected, "{about}");
    }
}

#[test]
fn what_keeps_a_driver_from_being_loaded() {
    type Change = fn(&mut Contents);
    let cases: &[(&str, Change, &[&str], &str)] = &[
        (
            "blacklist",
            |c| put(c, "usr/lib/modprobe.d/a.conf", "blacklist\tdisk\n"),
            &[],
            "usr/lib/modprobe.d/a.conf blacklists disk, and nothing loads it by its name",
        ),
        (
            "systemd keeps to the blacklist",
            |c| {
                put(c, "etc/modprobe.d/a.conf", "blacklist disk\n");
                put(c, "etc/modules-load.d/a.conf", "disk\n");
            },
            &["modules-load=disk"],
            "etc/modprobe.d/a.conf blacklists disk, and nothing loads it by its name",
        ),
        (
            "blacklist in the commit's /etc",
            |c| put(c, "usr/etc/modprobe.d/a.conf", "blacklist disk\n"),
            &[],
            "usr/etc/modprobe.d/a.conf blacklists disk, and nothing loads it by its name",
        ),
        (
            "blacklist on the command line",
            |_| {},
            &["quiet modprobe.blacklist=a,disk"],
            "the kernel argument modprobe.blacklist=a,disk blacklists disk, \
             and nothing loads it by its name",
        ),
        (
            "the kernel's blacklist",
            |_| {},
            &["module_blacklist=a,disk"],
            "the kernel argument module_blacklist=a,disk makes the kernel refuse disk",
        ),
        (
            "the kernel's blacklist, of a dependency",
            |_| {},
            &["module-blacklist=lib_a"],
            "its dependency lib_a: \
             the kernel argument module-blacklist=lib_a makes the kernel refuse lib_a",
        ),
        (
            "a command",
            |c| put(c, "etc/modprobe.d/a.conf", "install disk \\\n  /bin/true\n"),
            &[],
            "etc/modprobe.d/a.conf has a command run in place of loading disk: /bin/true",
        ),
        (
            "a command, for a dependency",
            |c| put(c, "etc/modprobe.d/a.conf", "install lib-a /bin/false\n"),
            &[],
            "its dependency lib_a: \
             etc/modprobe.d/a.conf has a command run in place of loading lib_a: /bin/false",
        ),
        (
            "another module by its name",
            |c| {
                put(c, &format!("{MODULES}/modules.alias"), "");
                put(c, "etc/modprobe.d/a.conf", "alias disk off\n");
            },
            &[],
            "etc/modprobe.d/a.conf has off loaded in place of disk",
        ),
        (
            "no index of aliases",
            |c| drop(c.remove(&format!("{MODULES}/modules.alias.bin"))),
            &[],
            "usr/lib/modules/6.1.0-test has a modules.alias, which names disk for \
             pci:v00001234d*, but no usable modules.alias.bin: depmod was not run there",
        ),
        (
            "an empty index of aliases",
            |c| put(c, &format!("{MODULES}/modules.alias.bin"), ""),
            &[],
            "usr/lib/modules/6.1.0-test has a modules.alias, which names disk for \
             pci:v00001234d*, but no usable modules.alias.bin: depmod was not run there",
        ),
        (
            "an old index of aliases",
            |c| put(c, &format!("{MODULES}/modules.alias"), "alias x other\n"),
            &[],
            "its module asks to be loaded for pci:v00001234d*, which \
             usr/lib/modules/6.1.0-test/modules.alias does not say: \
             depmod was not run after it was installed",
        ),
        (
            "no signature where one is asked for",
            |c| drop(c.insert(format!("{MODULES}/kernel/bus.ko"), module(&[]).bytes())),
            &["module.sig_enforce"],
            "the kernel argument module.sig_enforce makes the kernel refuse what is not signed: bus",
        ),
        (
            "no signature under lockdown",
            |c| drop(c.insert(format!("{MODULES}/kernel/bus.ko"), module(&[]).bytes())),
            &["lockdown=integrity"],
            "the kernel argument lockdown=integrity makes the kernel refuse what is not signed: bus",
        ),
    ];
    for (about, change, arguments, why) in cases {
        let mut contents = machine();
        change(&mut contents);
        assert_eq!(find(&contents, arguments, "disk").reason(), *why, "{about}");
    }
}

#[test]
fn dracut_has_arguments_for_the_initramfs() {
    let blacklisted = "the kernel argument rd.driver.blacklist=x,disk blacklists disk, \
                       and nothing loads it by its name";
    let contents = machine();
    let arguments = ["rd.driver.blacklist=x,disk"];
    assert_eq!(
        in_initramfs(&contents, &arguments, "disk").reason(),
        blacklisted
    );
    let Finding::Present(later) = at(&tree(&contents), &arguments, false, "disk") else {
        panic!("later it is loaded");
    };
    assert_eq!(
        later.warnings,
        [
            "the kernel argument rd.driver.blacklist=x,disk is for the initramfs, but with newer \
          dracut it keeps disk from being loaded later, too"
        ]
    );
    assert_eq!(later.loaded_by, [HARDWARE]);

    // What dracut loads by its name is loaded although it is blacklisted.
    for argument in ["rd.driver.pre=disk", "rd.driver.post=x,disk"] {
        let arguments = ["rd.driver.blacklist=disk", argument];
        let by = format!("the kernel argument {argument}");
        assert_eq!(
            loaded_by(in_initramfs(&contents, &arguments, "disk")),
            std::slice::from_ref(&by)
        );
        let lib = loaded_by(in_initramfs(&contents, &[argument], "lib-a"));
        assert_eq!(lib, ["whatever loads disk"]);
    }
    let arguments = ["rd.driver.post=disk"];
    assert_eq!(
        loaded_by(at(&tree(&contents), &arguments, false, "disk")),
        [HARDWARE]
    );
    let arguments = ["rd.modules-load=disk"];
    let by = "the kernel argument rd.modules-load=disk";
    assert_eq!(
        loaded_by(in_initramfs(&contents, &arguments, "disk")),
        [HARDWARE, by]
    );
    assert_eq!(
        loaded_by(at(&tree(&contents), &arguments, false, "disk")),
        [HARDWARE]
    );

    // force_drivers, as dracut writes it down.
    let mut contents = machine();
    put(
        &mut contents,
        "etc/cmdline.d/20-force_drivers.conf",
        "rd.driver.pre=bus\nrd.driver.pre=disk\n",
    );
    put(&mut contents, "etc/modprobe.d/a.conf", "blacklist disk\n");
    put(&mut contents, "etc/cmdline", "module_blacklist=disk\n");
    let by = "rd.driver.pre=disk in etc/cmdline.d/20-force_drivers.conf";
    assert_eq!(loaded_by(in_initramfs(&contents, &[], "disk")), [by]);
    assert!(!at(&tree(&contents), &[], false, "disk").is_present());
}

#[test]
fn an_index_whose_text_is_missing_is_not_proved() {
    let mut contents = machine();
    contents
        .remove(&format!("{MODULES}/modules.alias"))
        .unwrap();
    let found = find(&contents, &[], "disk");
    assert!(found.is_present());
    let [warning] = found.warnings() else {
        panic!("{found}");
    };
    assert!(warning.contains("modules.alias is missing"), "{warning}");
}

#[test]
fn what_nothing_loads_is_warned_of() {
    let mut contents = machine();
    let bytes = signed(module(&["depends="]).bytes());
    contents.insert(format!("{MODULES}/kernel/lone.ko"), bytes.clone());
    contents.insert(format!("{MODULES}/kernel/dm-lone.ko"), bytes);
    let index = format!("{MODULES}/modules.dep");
    let text =
        "kernel/lone.ko:\nkernel/dm-lone.ko:\nkernel/disk.ko: kernel/bus.ko kernel/lib-a.ko\n";
    put(&mut contents, &index, text);
    let warning = "nothing loads lone by itself: it has no alias of hardware, no module that is \
                   loaded needs it, and no kernel argument or file in modules-load.d names it";
    assert_eq!(find(&contents, &[], "lone").warnings(), [warning]);
    contents.remove(LOADER);
    let without = format!("{warning} (nor is there a systemd-modules-load to read that)");
    assert_eq!(find(&contents, &[], "lone").warnings(), [without]);
    let by = ["the kernel's request by its name"];
    assert_eq!(loaded_by(find(&contents, &[], "dm-lone")), by);

    // As a soft dependency of what is loaded, at any distance.
    let path = format!("{MODULES}/modules.softdep");
    put(
        &mut contents,
        &path,
        "softdep dm_lone pre: lone\nsoftdep disk post: dm-lone\n",
    );
    assert_eq!(
        loaded_by(find(&contents, &[], "lone")),
        ["whatever loads dm_lone"]
    );
    put(&mut contents, &path, "softdep bus post: lone\n");
    assert_eq!(loaded_by(find(&contents, &[], "lone")), [] as [&str; 0]);
    put(
        &mut contents,
        &index,
        "kernel/lone.ko:\nkernel/bus.ko:\nkernel/disk.ko: kernel/bus.ko\n",
    );
    assert_eq!(
        loaded_by(find(&contents, &[], "lone")),
        ["whatever loads disk"]
    );
    put(&mut contents, "etc/modprobe.d/a.conf", "blacklist disk\n");
    assert_eq!(find(&contents, &[], "lone").warnings().len(), 1);
}

#[test]
fn commands_that_load_modules_are_warned_of() {
    let mut contents = machine();
    let command = "/sbin/modprobe --ignore-install disk && /bin/more";
    put(
        &mut contents,
        "etc/modprobe.d/a.conf",
        &format!("install disk {command}\n"),
    );
    assert_eq!(
        find(&contents, &[], "disk").warnings(),
        [format!(
            "etc/modprobe.d/a.conf runs a command to load disk, which may do it or not: {command}"
        )]
    );
}

#[test]
fn signers_other_than_the_kernels_are_warned_of() {
    let mut contents = machine();
    let vendor = signed_by(module(&["depends=bus,lib-a"]).bytes(), "Vendor");
    contents.insert(format!("{MODULES}/extra/disk.ko"), vendor);
    put(
        &mut contents,
        &format!("{MODULES}/modules.dep"),
        "extra/disk.ko: kernel/bus.ko kernel/lib-a.ko\nkernel/bus.ko: kernel/lib-a.ko\nkernel/lib-a.ko:\n",
    );
    assert_eq!(
        find(&contents, &[], "disk").warnings(),
        [
            "signed by Vendor and not by Tester as the kernel's own modules, so refused under Secure \
          Boot unless that key is enrolled or in the kernel: disk"
        ]
    );
    assert_eq!(find(&contents, &[], "bus").warnings(), [] as [&str; 0]);
}

#[test]
fn firmware_may_be_in_a_directory_of_an_argument() {
    let mut contents = machine();
    let bytes = signed(module(&["depends=", "firmware=a/b.bin"]).bytes());
    contents.insert(format!("{MODULES}/kernel/lib-a.ko"), bytes);
    put(&mut contents, "var/firmware/a/b.bin.xz", "");
    let warnings = |arguments: &[&str]| find(&contents, arguments, "disk").warnings().len();
    assert_eq!(warnings(&[]), 1);
    assert_eq!(warnings(&["firmware_class.path=/var/firmware"]), 0);
}

#[test]
fn configuration_is_emptied_by_a_link_to_nothing() {
    let contents = {
        let mut contents = machine();
        put(
            &mut contents,
            "usr/lib/modprobe.d/a.conf",
            "blacklist disk\n",
        );
        contents
    };
    assert!(!at(&tree(&contents), &[], false, "disk").is_present());
    let mut tree: Tree = tree(&contents);
    let directory = tree.make_directories("etc/modprobe.d", &Meta::root(0o755));
    let null = Node::Symlink(b"/dev/null"[..].into());
    tree.create(directory, "a.conf", Meta::root(0o777), null);
    assert_eq!(loaded_by(at(&tree, &[], false, "disk")), [HARDWARE]);
}
