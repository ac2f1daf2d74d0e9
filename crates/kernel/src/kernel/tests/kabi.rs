//! Modules that were built for another kernel than the one that boots.

use std::io::Write;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::object::{self, EM_X86_64};
use super::{Contents, MODULES, RELEASE, system, tree};
use crate::kernel::depmod::INDEX_MAGIC;
use crate::kernel::{Boot, Finding, ModuleInfo, look_up, look_up_at};
use bake_tree::{Meta, Node};

const FLAGS: &str = "SMP preempt mod_unload modversions ";

/// AArch64 (ELF).
const EM_AARCH64: u64 = 183;

const KERNEL: [(&str, u32); 3] = [
    ("module_layout", 0xfedc_ba98),
    ("printk", 0x0000_0001),
    ("scsi_add_host", 0x8000_0000),
];

fn built_for(release: &str, flags: &str) -> object::Module {
    object::module(&[&format!("vermagic={release} {flags}"), "depends="])
}

/// A kernel with one module of its own and a driver in `extra`.
fn kernel(driver: &object::Module) -> Contents {
    let own = built_for(RELEASE, FLAGS).checksums(&KERNEL);
    [
        ("kernel/own.ko", own.bytes()),
        ("extra/driver.ko", driver.bytes()),
        (
            "modules.dep",
            b"extra/driver.ko:\nkernel/own.ko:\n".to_vec(),
        ),
        ("modules.dep.bin", INDEX_MAGIC.to_vec()),
    ]
    .into_iter()
    .map(|(name, content)| (format!("{MODULES}/{name}"), content))
    .collect()
}

fn symvers(symbols: &[(&str, u32)]) -> String {
    symbols
        .iter()
        .map(|(name, checksum)| format!("0x{checksum:08x}\t{name}\tvmlinux\tEXPORT_SYMBOL\t\n"))
        .collect()
}

fn find(contents: &Contents) -> Finding {
    look_up(&tree(contents), RELEASE, "driver").unwrap()
}

/// Notes and warnings on how the module fits, and not on what else there is to say of it.
fn said(finding: Finding) -> (Vec<String>, Vec<String>) {
    let Finding::Present(present) = finding else {
        panic!("{finding}");
    };
    let mut warnings = present.warnings;
    warnings.retain(|text| !text.starts_with("not signed") && !text.starts_with("nothing loads"));
    (present.notes, warnings)
}

#[test]
fn versions_are_read_in_every_layout() {
    let expected: Vec<(String, u32)> = KERNEL
        .iter()
        .map(|(name, checksum)| ((*name).to_owned(), *checksum))
        .collect();
    let read = |module: &object::Module| {
        let versions = ModuleInfo::read(&module.bytes()).unwrap().versions;
        versions.map(|all| all.into_iter().collect::<Vec<_>>())
    };
    for (wide, little) in [(true, true), (true, false), (false, true), (false, false)] {
        let module = built_for(RELEASE, FLAGS).of(EM_X86_64, wide, little);
        assert_eq!(read(&module), None);
        assert_eq!(
            read(&module.clone().checksums(&KERNEL)),
            Some(expected.clone())
        );
        // Where both are there, the newer table counts.
        let both = module.checksums(&[("printk", 9)]).long_checksums(&KERNEL);
        assert_eq!(read(&both), Some(expected.clone()));
    }
    let broken = built_for(RELEASE, FLAGS).section("__version_ext_crcs", vec![0; 8]);
    let error =
        |module: &object::Module| format!("{:#}", ModuleInfo::read(&module.bytes()).unwrap_err());
    assert!(error(&broken).contains("only one of the sections"));
    let broken = broken.section("__version_ext_names", b"a\0".to_vec());
    assert_eq!(
        error(&broken),
        "section __version_ext_names has too few names"
    );
}

#[test]
fn versions_decide_in_place_of_the_release() {
    let other = built_for("6.1.0-other", FLAGS).checksums(&KERNEL);
    let mut contents = kernel(&other);
    let path = format!("{MODULES}/extra/driver.ko");

    let unproved = format!(
        "{path} was built for kernel 6.1.0-other, and that its 3 symbol versions match those of \
         6.1.0-test cannot be proved: there is no symvers of that kernel"
    );
    assert_eq!(said(find(&contents)), (vec![], vec![unproved]));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(symvers(&KERNEL).as_bytes()).unwrap();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(symvers(&KERNEL).as_bytes()).unwrap();
    let zstd = zstd::bulk::compress(symvers(&KERNEL).as_bytes(), 1).unwrap();
    for (name, bytes) in [
        (format!("{MODULES}/symvers.gz"), gzip.finish().unwrap()),
        (format!("{MODULES}/symvers.xz"), xz.finish().unwrap()),
        (format!("{MODULES}/symvers.zst"), zstd),
        (
            format!("{MODULES}/modules.symvers"),
            symvers(&KERNEL).into(),
        ),
        (
            format!("usr/src/kernels/{RELEASE}/Module.symvers"),
            symvers(&KERNEL).into(),
        ),
    ] {
        contents.insert(name.clone(), bytes);
        let note = format!(
            "{path} was built for kernel 6.1.0-other; its 3 symbol versions match those of \
             6.1.0-test in {name}"
        );
        assert_eq!(said(find(&contents)), (vec![note], vec![]));
        contents.remove(&name);
    }

    // In the image, but not in the initramfs.
    let mut image = contents.clone();
    image.insert(format!("{MODULES}/symvers"), symvers(&KERNEL).into());
    let (files, image) = (tree(&contents), tree(&image));
    let boot = Boot {
        files: &files,
        image: &image,
        release: RELEASE,
        arguments: &[],
        initramfs: true,
    };
    let (notes, warnings) = said(look_up_at(&boot, "driver").unwrap());
    assert_eq!((notes.len(), warnings.len()), (1, 0));
}

#[test]
fn modules_that_do_not_fit() {
    let path = format!("{MODULES}/extra/driver.ko");
    let symbols = symvers(&KERNEL);
    let changed = [
        ("printk", 2),
        ("scsi_add_host", 3),
        ("module_layout", 0xfedc_ba98),
    ];
    let needs = |module: object::Module| module.needs(&["printk", "gone_a", "gone_b"]);
    let gone = [
        ("printk", 1),
        ("gone_a", 7),
        ("gone_b", 7),
        ("not_needed", 7),
    ];
    let cases: [(&str, object::Module, String); 8] = [
        (
            "changed symbols",
            built_for("6.1.0-other", FLAGS).checksums(&changed),
            format!(
                "{path} disagrees with kernel 6.1.0-test about the version of 2 symbols, \
                 by {MODULES}/symvers: printk, scsi_add_host"
            ),
        ),
        (
            "the same release, built differently",
            built_for(RELEASE, FLAGS).checksums(&changed),
            format!(
                "{path} disagrees with kernel 6.1.0-test about the version of 2 symbols, \
                 by {MODULES}/symvers: printk, scsi_add_host"
            ),
        ),
        (
            "symbols that are gone",
            needs(built_for("6.1.0-other", FLAGS)).checksums(&gone),
            format!(
                "{path} needs what kernel 6.1.0-test has not: 2 symbols, \
                 by {MODULES}/symvers: gone_a, gone_b"
            ),
        ),
        (
            "no versions",
            built_for("6.1.0-other", FLAGS),
            format!("{path} was built for kernel 6.1.0-other, and 6.1.0-test boots"),
        ),
        (
            "other flags",
            built_for("6.1.0-other", "SMP mod_unload modversions ").checksums(&KERNEL),
            format!(
                "{path} was built for a kernel that is `SMP mod_unload modversions`, and \
                 6.1.0-test is `SMP preempt mod_unload modversions`, as {MODULES}/kernel/own.ko says"
            ),
        ),
        (
            "the same release, other flags",
            built_for(RELEASE, "SMP modversions ").checksums(&KERNEL),
            format!(
                "{path} was built for a kernel that is `SMP modversions`, and \
                 6.1.0-test is `SMP preempt mod_unload modversions`, as {MODULES}/kernel/own.ko says"
            ),
        ),
        (
            "another machine",
            built_for(RELEASE, FLAGS)
                .of(EM_AARCH64, true, true)
                .checksums(&KERNEL),
            format!("{path} is built for aarch64, and kernel 6.1.0-test for x86_64"),
        ),
        (
            "another byte order",
            built_for(RELEASE, FLAGS)
                .of(21, true, false)
                .checksums(&KERNEL),
            format!("{path} is built for ppc64, and kernel 6.1.0-test for x86_64"),
        ),
    ];
    for (about, driver, why) in cases {
        let mut contents = kernel(&driver);
        contents.insert(format!("{MODULES}/symvers"), symbols.clone().into());
        assert_eq!(find(&contents).reason(), why, "{about}");
    }
}

#[test]
fn a_kernel_without_versions_goes_by_the_release() {
    let mut contents = system();
    let other = object::module(&["vermagic=6.1.0-other SMP mod_unload ", "depends=bus,lib-a"]);
    let other = other.checksums(&KERNEL);
    contents.insert(format!("{MODULES}/kernel/disk.ko"), other.bytes());
    let finding = look_up(&tree(&contents), RELEASE, "disk").unwrap();
    assert_eq!(
        finding.reason(),
        format!("{MODULES}/kernel/disk.ko was built for kernel 6.1.0-other, and 6.1.0-test boots")
    );
}

#[test]
fn a_module_without_versions_is_doubtful_where_the_kernel_has_them() {
    let (notes, warnings) = said(find(&kernel(&built_for(RELEASE, FLAGS))));
    assert!(notes.is_empty());
    assert_eq!(
        warnings,
        [format!(
            "{MODULES}/extra/driver.ko has no symbol versions, and kernel 6.1.0-test, which was \
             built with them, may refuse it"
        )]
    );
}

#[test]
fn what_other_added_modules_have_is_not_compared() {
    let symbols = [("printk", 1), ("vendor_call", 7), ("scsi_add_host", 7)];
    let driver = object::module(&[&format!("vermagic=6.1.0-other {FLAGS}"), "depends=vendor"]);
    let driver = driver.needs(&["printk", "vendor_call"]).checksums(&symbols);
    let mut contents = kernel(&driver);
    // One of them takes the place of the kernel's own.
    let vendor = built_for("6.1.0-other", FLAGS).checksums(&[("printk", 1)]);
    let vendor = vendor.exports(&["vendor_call", "scsi_add_host"]);
    contents.insert(format!("{MODULES}/extra/vendor.ko"), vendor.bytes());
    contents.insert(format!("{MODULES}/symvers"), symvers(&KERNEL).into());
    let index = "extra/driver.ko: extra/vendor.ko\nextra/vendor.ko:\nkernel/own.ko:\n";
    contents.insert(format!("{MODULES}/modules.dep"), index.into());
    let (notes, warnings) = said(find(&contents));
    assert_eq!((notes.len(), warnings.len()), (2, 0));
}

#[test]
fn weak_updates_lead_to_another_kernels_modules() {
    let other = built_for("6.1.0-other", FLAGS).checksums(&KERNEL);
    let mut contents = kernel(&other);
    let bytes = contents
        .remove(&format!("{MODULES}/extra/driver.ko"))
        .unwrap();
    contents.insert(
        "usr/lib/modules/6.1.0-other/extra/driver.ko".to_owned(),
        bytes,
    );
    contents.insert(format!("{MODULES}/symvers"), symvers(&KERNEL).into());
    contents.insert(
        format!("{MODULES}/modules.dep"),
        b"weak-updates/driver.ko:\nkernel/own.ko:\n".to_vec(),
    );
    let mut tree = tree(&contents);
    let weak = tree.make_directories(&format!("{MODULES}/weak-updates"), &Meta::root(0o755));
    let target = b"../../6.1.0-other/extra/driver.ko"[..].into();
    tree.create(weak, "driver.ko", Meta::root(0o777), Node::Symlink(target));
    let Finding::Present(present) = look_up(&tree, RELEASE, "driver").unwrap() else {
        panic!("driver is there");
    };
    let path = format!("{MODULES}/weak-updates/driver.ko");
    assert_eq!(present.notes.len(), 1);
    assert!(present.notes[0].starts_with(&path), "{:?}", present.notes);
    assert_eq!(present.module.path, Some(path));
}

#[test]
fn an_unusable_list_of_symbols_is_an_error() {
    let mut contents = kernel(&built_for(RELEASE, FLAGS).checksums(&KERNEL));
    contents.insert(format!("{MODULES}/symvers.gz"), b"\x1f\x8b junk".to_vec());
    let error = look_up(&tree(&contents), RELEASE, "driver").unwrap_err();
    assert_eq!(error.to_string(), format!("reading {MODULES}/symvers.gz"));
}

#[test]
fn modules_that_need_themselves() {
    let mut contents = system();
    let mut index = |text: &str| {
        contents.insert(format!("{MODULES}/modules.dep"), text.into());
        let finding = look_up(&tree(&contents), RELEASE, "disk").unwrap();
        finding.reason().to_owned()
    };
    assert_eq!(
        index("kernel/disk.ko: kernel/bus.ko\nkernel/bus.ko: kernel/disk.ko\n"),
        "by modules.dep, disk and bus depend on each other, so neither can be loaded"
    );
    assert_eq!(
        index("kernel/disk.ko: kernel/disk.ko\n"),
        "by modules.dep, disk depends on itself"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_versions_never_panic(
        wide in any::<bool>(),
        little in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let module = built_for(RELEASE, FLAGS).of(EM_X86_64, wide, little);
        let mut bytes = module.checksums(&KERNEL).long_checksums(&KERNEL).bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = ModuleInfo::read(&bytes);
    }
}
