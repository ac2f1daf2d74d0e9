//! Trees made by hand, one for each thing that depmod decides.

use std::fs;
use std::io::Write;

use super::scratch::{RELEASE, Scratch};
use crate::kernel::depmod::{Cycle, Indexes};
use crate::kernel::tests::object::{EM_SPARCV9, EM_X86_64, Module, STT_SPARC_REGISTER, module};
use bake_referee::have;

/// A tree with these modules, and what the build leaves beside them.
fn tree(modules: &[(&str, Module)]) -> Scratch {
    let scratch = Scratch::new(RELEASE);
    for (path, module) in modules {
        scratch.file(path, module.bytes());
    }
    scratch.file("modules.order", "");
    scratch.file("modules.builtin", "");
    scratch.file("modules.builtin.modinfo", "");
    scratch
}

fn text(indexes: &Indexes, name: &str) -> String {
    String::from_utf8(indexes.files[name].clone()).unwrap()
}

/// Modules that need each other in several ways: `top` needs `mid` and `other`, `mid` needs `base`.
fn family() -> Vec<(&'static str, Module)> {
    vec![
        (
            "kernel/deep/base-a.ko",
            module(&["alias=base-*"]).exports(&["base_call", "base_more"]),
        ),
        (
            "kernel/mid.ko",
            module(&["softdep=pre: base-a post: x"])
                .exports(&["mid_call"])
                .needs(&["base_call", "printk"]),
        ),
        (
            "kernel/other-b.ko",
            module(&["alias=x:y*", "alias=x:y"]).exports(&["other_call"]),
        ),
        (
            "extra/top.ko",
            module(&[
                "alias=x:y*",
                "alias=x:y*",
                "softdep=pre: one",
                "softdep=two",
            ])
            .needs(&["mid_call", "other_call", "base_more"]),
        ),
    ]
}

#[test]
fn a_family_in_every_class_and_byte_order() {
    if !have("depmod") {
        return;
    }
    let mut seen = Vec::new();
    for (wide, little) in [(true, true), (true, false), (false, true), (false, false)] {
        let modules: Vec<(&str, Module)> = family()
            .into_iter()
            .map(|(path, module)| (path, module.of(EM_X86_64, wide, little)))
            .collect();
        let ours = tree(&modules).agrees();
        assert!(
            text(&ours, "modules.dep")
                .contains("extra/top.ko: kernel/other-b.ko kernel/mid.ko kernel/deep/base-a.ko\n")
        );
        seen.push(ours);
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn nothing_at_all() {
    if !have("depmod") {
        return;
    }
    tree(&[]).agrees();
    // Without what the build leaves, depmod does with what there is.
    let bare = Scratch::new(RELEASE);
    bare.agrees();
}

#[test]
fn many_modules_with_and_without_an_order() {
    if !have("depmod") {
        return;
    }
    let modules: Vec<(String, Module)> = (0..300)
        .map(|n| {
            let exports = format!("call_{n}");
            let needs: Vec<String> = [n * 7 % 300, n * 11 % 300]
                .into_iter()
                .filter(|other| *other < n)
                .map(|other| format!("call_{other}"))
                .collect();
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            let module = module(&["alias=pci:v*"]).exports(&[&exports]).needs(&needs);
            (format!("kernel/d{}/m-{}.ko", n % 5, n * 31), module)
        })
        .collect();
    let modules: Vec<(&str, Module)> = modules
        .iter()
        .map(|(path, module)| (&**path, module.clone()))
        .collect();
    let scratch = tree(&modules);
    scratch.agrees();
    let mut order: Vec<&str> = modules.iter().step_by(3).map(|(path, _)| *path).collect();
    order.reverse();
    order.extend(["kernel/absent.ko", modules[3].0, ""]);
    scratch.file("modules.order", order.join("\n") + "\n");
    scratch.agrees();
    fs::remove_file(scratch.directory().join("modules.order")).unwrap();
    scratch.agrees();
}

#[test]
fn one_name_twice() {
    if !have("depmod") {
        return;
    }
    let paths = [
        "extra/a/net-x.ko",
        "kernel/net-x.ko",
        "updates/net_x.ko",
        "weak-updates/net-x.ko",
    ];
    let configs: &[(&str, &str)] = &[
        ("", "kernel/other.ko"),
        ("search updates extra built-in\n", "updates/net_x.ko"),
        ("search extra updates built-in\n", "extra/a/net-x.ko"),
        ("search extra/a weak-updates built-in\nsearch kernel\n", ""),
        ("search built-in extra updates\n", "kernel/net-x.ko"),
        (
            "# a comment\nsearch weak-updates \\\n\tbuilt-in\n",
            "weak-updates/net-x.ko",
        ),
        ("override net-x * extra/a\n", "extra/a/net-x.ko"),
        ("override net-x 6.1.0-test kernel\n", "kernel/net-x.ko"),
        ("override net-x 6.1.0-other kernel\n", "updates/net_x.ko"),
        ("override net_x * kernel\n", "updates/net_x.ko"),
        ("override net-x * kernel\noverride net-x * extra/a\n", ""),
        (
            "override net-x *\nmake_map_files no\nnonsense\n",
            "updates/net_x.ko",
        ),
    ];
    for (config, chosen) in configs {
        for removed in 0..=paths.len() {
            let modules: Vec<(&str, Module)> = paths
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != removed)
                .map(|(_, path)| (*path, module(&["alias=a"]).exports(&[*path])))
                .collect();
            let mut scratch = tree(&modules);
            if !config.is_empty() {
                scratch.config("10-a.conf", config);
            }
            let ours = scratch.agrees();
            let dep = text(&ours, "modules.dep");
            assert_eq!(dep.lines().count(), 1);
            if removed == paths.len() && chosen.ends_with("x.ko") {
                assert_eq!(dep, format!("{chosen}:\n"), "{config}");
            }
        }
    }
}

#[test]
fn modules_from_outside() {
    if !have("depmod") {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let place = outside.path().to_str().unwrap().to_owned();
    fs::create_dir(outside.path().join("sub")).unwrap();
    fs::write(
        outside.path().join("sub/mid.ko"),
        module(&[]).exports(&["mid_call"]).bytes(),
    )
    .unwrap();
    fs::create_dir(outside.path().join("more")).unwrap();
    let other = module(&["alias=more"]).exports(&["mid_call", "more"]);
    fs::write(outside.path().join("more/mid.ko"), other.bytes()).unwrap();
    let searches = [
        ("search external built-in", "sub"),
        ("search updates external", "sub"),
        ("search built-in external", ""),
        ("", ""),
    ];
    for (search, chosen) in searches {
        for pattern in ["*", "6.1.0-test", "-t.st$", "other", "["] {
            let mut scratch = tree(&family());
            let config = format!(
                "{search}\nexternal {pattern} {place}/sub\nexternal {pattern} {place}/more\n"
            );
            scratch.config("a.conf", &config);
            let dep = text(&scratch.agrees(), "modules.dep");
            let matches = !matches!(pattern, "other" | "[");
            assert_eq!(
                dep.contains(&format!("{place}/sub/mid.ko:")),
                matches && chosen == "sub",
                "{config}"
            );
            // Without the kernel's own, the two directories are left.
            fs::remove_file(scratch.directory().join("kernel/mid.ko")).unwrap();
            scratch.agrees();
        }
    }
}

#[test]
fn links_into_another_kernel() {
    if !have("depmod") {
        return;
    }
    let scratch = tree(&family());
    let other = scratch
        .directory()
        .parent()
        .unwrap()
        .join("6.1.0-old/extra");
    fs::create_dir_all(&other).unwrap();
    let linked = module(&["alias=weak"]).needs(&["mid_call"]);
    fs::write(other.join("weak-a.ko"), linked.bytes()).unwrap();
    scratch.link("weak-updates/weak-a.ko", "../../6.1.0-old/extra/weak-a.ko");
    scratch.link("build", "../6.1.0-old/extra");
    let ours = scratch.agrees();
    let line = "weak-updates/weak-a.ko: kernel/mid.ko kernel/deep/base-a.ko\n";
    assert!(text(&ours, "modules.dep").contains(line));
}

#[test]
fn compressed_modules() {
    if !have("depmod") {
        return;
    }
    let scratch = tree(&family());
    let user = module(&[])
        .exports(&["user_call"])
        .needs(&["mid_call"])
        .bytes();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&user).unwrap();
    scratch.file("kernel/a-xz.ko.xz", xz.finish().unwrap());
    let second = module(&[]).needs(&["user_call"]).bytes();
    scratch.file(
        "kernel/a-zst.ko.zst",
        zstd::bulk::compress(&second, 1).unwrap(),
    );
    scratch.file("kernel/a-lz4.ko.lz4", b"");
    scratch.file(
        "modules.order",
        "kernel/a-zst.ko\nkernel/a-xz.ko.xz\nkernel/a-xz.ko\n",
    );
    let ours = scratch.agrees();
    assert!(text(&ours, "modules.dep").starts_with("kernel/a-zst.ko.zst: kernel/a-xz.ko.xz "));

    // Debian's depmod is built without gzip, so what it says of the others is the measure.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&user).unwrap();
    fs::remove_file(scratch.directory().join("kernel/a-xz.ko.xz")).unwrap();
    scratch.file("kernel/a-xz.ko.gz", gzip.finish().unwrap());
    let gzipped = text(&scratch.ours().unwrap(), "modules.dep");
    assert_eq!(
        gzipped,
        text(&ours, "modules.dep").replace("ko.xz", "ko.gz")
    );
}

#[test]
fn symbols_in_every_way() {
    if !have("depmod") {
        return;
    }
    // One symbol in two modules, in both orders.
    let modules = [
        ("kernel/one.ko", module(&[]).exports(&["both", "first"])),
        (
            "kernel/two.ko",
            module(&[]).exports_versions(&["both", "second", "_a-b"]),
        ),
        (
            "kernel/user.ko",
            module(&[]).needs(&["both", "", "both", "first"]),
        ),
        // Namespaces are among the strings, and padding.
        (
            "kernel/spaces.ko",
            module(&[]).exports(&["", "spaced", "", "NAMESPACE", ""]),
        ),
        // A symbol with a version and in no symbol table.
        (
            "kernel/hidden.ko",
            module(&[]).versions(&["second", "module_layout"]),
        ),
        (
            "kernel/hidden32.ko",
            module(&[])
                .of(EM_X86_64, false, false)
                .needs(&["spaced"])
                .versions(&["first", "spaced"]),
        ),
        (
            "kernel/sparc.ko",
            module(&[])
                .of(EM_SPARCV9, true, false)
                .undefined("first", STT_SPARC_REGISTER)
                .needs(&["second"]),
        ),
        (
            "kernel/no-sparc.ko",
            module(&[]).undefined("first", STT_SPARC_REGISTER),
        ),
    ];
    let scratch = tree(&modules);
    for order in [
        "kernel/one.ko\nkernel/two.ko\n",
        "kernel/two.ko\nkernel/one.ko\n",
    ] {
        scratch.file("modules.order", order);
        scratch.agrees();
    }
}

#[test]
fn aliases_and_devices() {
    if !have("depmod") {
        return;
    }
    let modules = [
        (
            "kernel/plain.ko",
            module(&[
                "alias=a-b[a-c]d-e*",
                "alias=ä".trim_end_matches('ä'),
                "alias",
            ]),
        ),
        (
            "kernel/broken.ko",
            module(&[
                "alias=a]b",
                "alias=a[b",
                "alias=[a]]",
                "alias=[[a]-",
                "alias=fine",
            ]),
        ),
        (
            "kernel/node-c.ko",
            module(&["alias=devname:net/tun", "alias=char-major-10-200"]),
        ),
        (
            "kernel/node-b.ko",
            module(&[
                "alias=block-major-7-0x",
                "alias=char-major-10-*",
                "alias=devname:loop-control",
            ]),
        ),
        ("kernel/numbers.ko", module(&["alias=char-major-1-2"])),
        (
            "kernel/nameless.ko",
            module(&["alias=devname:x", "alias=char-major-10-*"]),
        ),
        (
            "kernel/twice.ko",
            module(&[
                "alias=char-major-1-2",
                "alias=block-major-3-4",
                "alias=devname:a",
                "alias=devname:b",
                "alias=char-major-5-6",
            ]),
        ),
        (
            "kernel/signs.ko",
            module(&["alias=devname:s", "alias=char-major- +7-08"]),
        ),
    ];
    let scratch = tree(&modules);
    let ours = scratch.agrees();
    let warnings = ours.warnings.join("\n");
    assert_eq!(ours.warnings.len(), 4, "{warnings}");
}

#[test]
fn what_is_built_in() {
    if !have("depmod") {
        return;
    }
    let scratch = tree(&family());
    let cases: &[(&str, &[u8])] = &[
        (
            "kernel/a-b.ko\nkernel/c.ko\n",
            b"a_b.alias=x-y\0a_b.alias=[a-b]\0c.license=GPL\0",
        ),
        (
            "kernel/c.ko\n\n1/d.ko\n/e.ko\nkernel/f.ko",
            b"c.alias=x\0d.alias=x\0c.alias=y\0",
        ),
        (
            "kernel/c.ko\nkernel/c.ko\n",
            b"c.alias=x\0c.alias=x\0c-d.alias=x\0",
        ),
        (
            "kernel/sub/\nplain\n",
            b"c.parm=a.alias=b\0c.alias=a]\0c.alias=a=b\0c.alias=z",
        ),
    ];
    for (builtin, modinfo) in cases {
        scratch.file("modules.builtin", builtin);
        scratch.file("modules.builtin.modinfo", modinfo);
        scratch.agrees();
    }
}

#[test]
fn circles_are_named() {
    let mut modules = family();
    modules[0].1 = module(&[])
        .exports(&["base_call", "base_more"])
        .needs(&["loop_b"]);
    modules.push((
        "kernel/ring-b.ko",
        module(&[]).exports(&["loop_b"]).needs(&["mid_call"]),
    ));
    let scratch = tree(&modules);
    let error = scratch.ours().unwrap_err();
    let cycle = error.downcast_ref::<Cycle>().unwrap();
    assert_eq!(cycle.modules.len(), 4);
    assert_eq!(cycle.modules.first(), cycle.modules.last());
    let mut names = cycle.modules[1..].to_vec();
    names.sort();
    assert_eq!(names, ["base_a", "mid", "ring_b"]);
    let next = |name: &str| match name {
        "base_a" => "ring_b",
        "ring_b" => "mid",
        _ => "base_a",
    };
    assert!(cycle.modules.windows(2).all(|two| two[1] == next(&two[0])));
    if have("depmod") {
        let output = scratch.depmod();
        assert!(!output.status.success());
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("ycle"), "{words}");
    }
}

#[test]
fn a_module_that_needs_itself_is_a_circle() {
    let itself = module(&[]).exports(&["own"]).needs(&["own"]);
    let scratch = tree(&[("kernel/a.ko", itself)]);
    let error = scratch.ours().unwrap_err();
    assert_eq!(
        error.to_string(),
        "modules depend on each other in a circle: a -> a"
    );
    if have("depmod") {
        assert!(!scratch.depmod().status.success());
    }
}
