//! The small base commit, and layers that make it difficult.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::archive::Tar;
use super::oci::Oci;
use super::repository::Repository;
use super::support::run;

const CONTEXTS: &str = "\
/.*\tsystem_u:object_r:default_t:s0
/\t-d\tsystem_u:object_r:root_t:s0
/usr(/.*)?\tsystem_u:object_r:usr_t:s0
/usr/bin(/.*)?\tsystem_u:object_r:bin_t:s0
/usr/lib/.*\\.so\t--\tsystem_u:object_r:lib_t:s0
/etc(/.*)?\tsystem_u:object_r:etc_t:s0
/mnt\t-d\tsystem_u:object_r:mnt_t:s0
/proc\t-d\t<<none>>
/var(/.*)?\tsystem_u:object_r:var_t:s0
";

/// What the small base commit has, with or without a policy.
pub(super) fn base_tree(policy: bool) -> Tar {
    let mut tar = Tar::new();
    for path in [
        "./",
        "usr/",
        "usr/bin/",
        "usr/lib/",
        "usr/lib/dir/",
        "usr/etc/",
        "proc/",
        "run/",
        "var/",
        "sysroot/",
    ] {
        tar = tar.directory(path);
    }
    tar = tar
        .mode("tmp/", (0, 0), 0o1777)
        .mode("usr/lib/private/", (3, 4), 0o2750)
        .file("usr/bin/tool", "tool")
        .owned("usr/bin/su", (0, 0), 0o4755, "su")
        .file("usr/bin/empty", "")
        .file("usr/lib/dir/a", "a")
        .file("usr/lib/dir/b", "b")
        .file("usr/lib/private/c", "c")
        .file("usr/lib/x.so", "so")
        .link("usr/lib/hard", "usr/lib/x.so")
        .symlink("usr/lib/odd", "../..//bin/tool")
        .symlink("usr/lib64", "lib")
        .symlink("bin", "usr/bin")
        .file("usr/etc/passwd", "root:x:0:0")
        .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
        .file("usr/bin/ping", "ping");
    if policy {
        tar = tar
            .file(
                "usr/etc/selinux/config",
                "SELINUX=enforcing\nSELINUXTYPE=mini\n",
            )
            .file(
                "usr/etc/selinux/mini/contexts/files/file_contexts",
                CONTEXTS,
            )
            .file(
                "usr/etc/selinux/mini/contexts/files/file_contexts.subs_dist",
                "/usr/etc /etc\n",
            )
            .file("usr/etc/selinux/mini/policy/policy.33", "binary");
    }
    tar
}

/// `cap_net_raw=ep`, as the kernel stores it (`struct vfs_cap_data`, version 2).
const CAPABILITY: &[u8] = &[
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Makes an image of a tree with the oracle's own encapsulation.
pub(super) fn encapsulate(oracle: &Path, directory: &Path, tree: Tar, policy: bool) -> Oci {
    let repository = Repository::create(directory.join("base.repo"));
    let archive = directory.join("base.tar");
    fs::write(&archive, tree.finish()).unwrap();
    let mut commit = Command::new("ostree");
    commit
        .arg(format!("--repo={}", repository.0.display()))
        .args([
            "commit",
            "--branch=base",
            "--no-bindings",
            "--tar-autocreate-parents",
        ])
        .args([
            "--timestamp=2024-01-01T00:00:00Z",
            "--add-metadata-string=version=1",
        ])
        .arg(format!("--tree=tar={}", archive.display()));
    if policy {
        let root = directory.join("policy");
        fs::create_dir(&root).unwrap();
        run(Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .arg("-C")
            .arg(&root)
            .arg("usr/etc/selinux"));
        commit.arg(format!("--selinux-policy={}", root.display()));
    }
    run(&mut commit);
    let image = directory.join("base.oci");
    run(Command::new(oracle)
        .args(["container", "encapsulate", "--repo"])
        .arg(&repository.0)
        .arg("base")
        .arg(format!("oci:{}", image.display())));
    Oci::open(&image)
}

/// Images made of the small base: a name for each, its layers, whether the base has a policy.
pub(super) fn nasty() -> Vec<(&'static str, bool, Vec<Tar>)> {
    let tar = Tar::new;
    let long = format!("usr/share/{}/{}", "long".repeat(40), "name".repeat(40));
    vec![
        ("no_layers", true, vec![]),
        ("empty_layer", true, vec![tar()]),
        (
            "plain_files",
            true,
            vec![
                tar()
                    .directory("usr/")
                    .directory("usr/share/")
                    .file("usr/share/new", "new")
                    .symlink("usr/share/link", "new"),
            ],
        ),
        (
            "symlink_targets",
            true,
            vec![
                tar()
                    .symlink("usr/lib/a", "..//share/./new")
                    .symlink("usr/lib/b", "./x/../y//")
                    .symlink("usr/lib/c", "//usr/x/.")
                    .symlink("usr/lib/d", &format!("{}//x", "d".repeat(97)))
                    .symlink("usr/lib/e", &format!("{}//x", "d".repeat(98)))
                    .pax(&[("linkpath", b"a//b")])
                    .symlink("usr/lib/f", "a//b")
                    .symlink("usr/lib/g", "./."),
            ],
        ),
        (
            "whiteouts",
            true,
            vec![
                tar()
                    .file("usr/lib/dir/.wh.a", "")
                    .file("usr/lib/.wh.private", "")
                    .file("usr/.wh.nothing", "")
                    .file("etc/.wh.passwd", "")
                    .file("usr/.wh.lib64", ""),
            ],
        ),
        (
            "whiteout_and_again",
            true,
            vec![
                tar()
                    .file("usr/lib/.wh.dir", "")
                    .mode("usr/lib/dir/", (5, 6), 0o700)
                    .file("usr/lib/dir/new", "x"),
                tar()
                    .file("usr/lib/dir/.wh.new", "")
                    .file("usr/lib/dir/newer", "y"),
            ],
        ),
        // '+' comes before '.', so the file is there when its whiteout is processed.
        (
            "whiteout_of_its_own_file",
            true,
            vec![
                tar()
                    .file("usr/share/+x", "1")
                    .file("usr/share/.wh.+x", "")
                    .file("usr/share/x", "2")
                    .file("usr/share/.wh.x", ""),
            ],
        ),
        (
            "whiteout_with_content_or_as_symlink",
            true,
            vec![
                tar()
                    .file("usr/lib/dir/.wh.a", "content")
                    .symlink("usr/lib/dir/.wh.b", "x"),
            ],
        ),
        (
            "opaque",
            true,
            vec![
                tar()
                    .mode("usr/lib/private/", (7, 8), 0o711)
                    .file("usr/lib/private/.wh..wh..opq", "")
                    .file("usr/lib/private/d", "d")
                    .file("usr/lib/fresh/.wh..wh..opq", "")
                    .file("usr/lib/fresh/x", "x"),
            ],
        ),
        (
            "opaque_root",
            false,
            vec![
                tar()
                    .mode("./", (1, 1), 0o751)
                    .file(".wh..wh..opq", "")
                    .file("usr/x", "x"),
                tar().file("usr/.wh..wh..opq", "").file("usr/y", "y"),
            ],
        ),
        (
            "hard_links",
            true,
            vec![
                tar()
                    .file("usr/share/a", "a")
                    .link("usr/share/b", "usr/share/a")
                    .link("usr/bin/c", "/usr/share/a")
                    .file("etc/conf", "conf")
                    .link("etc/conf2", "etc/conf")
                    .link("usr/lib/conf3", "./etc/conf")
                    .file("usr/share/empty", "")
                    .link("usr/share/empty2", "usr/share/empty")
                    .symlink("usr/share/s", "a")
                    .link("usr/share/s2", "usr/share/s"),
            ],
        ),
        (
            "link_before_its_target",
            true,
            vec![
                tar()
                    .link("usr/share/b", "usr/share/a")
                    .file("usr/share/a", "a"),
            ],
        ),
        (
            "filtered",
            true,
            vec![
                tar()
                    .directory("opt/")
                    .file("opt/x", "x")
                    .file("boot/y", "y")
                    .directory("run/")
                    .file("run/foo/z", "z")
                    .file("tmp/foo", "t")
                    .device("dev/null")
                    .directory("dev/")
                    .file("bin/through-symlink", "b")
                    .file("toplevel", "")
                    .file("usr/share/kept", "k"),
            ],
        ),
        (
            "etc_and_var",
            true,
            vec![
                tar()
                    .directory("etc/")
                    .mode("etc/d/", (0, 9), 0o750)
                    .file("etc/d/f", "f")
                    .directory("var/")
                    .mode("var/lib/", (2, 2), 0o700)
                    .file("var/lib/state", "s")
                    .file("usr/etc/direct", "d"),
            ],
        ),
        (
            "file_over_directory",
            true,
            vec![
                tar().file("usr/lib/dir", "file now"),
                tar().symlink("usr/lib/private", "dir"),
                tar().file("usr/bin", ""),
            ],
        ),
        (
            "missing_parents",
            true,
            vec![tar().owned("usr/a/b/c/file", (11, 12), 0o600, "x")],
        ),
        // A missing parent makes libostree describe all directories above it anew.
        (
            "missing_parent_below_described_one",
            true,
            vec![
                tar()
                    .mode("usr/p/", (1, 2), 0o700)
                    .file("usr/p/f", "f")
                    .owned("usr/p/q/r", (3, 4), 0o600, "r"),
            ],
        ),
        (
            "described_after_missing_parent",
            true,
            vec![
                tar()
                    .owned("usr/p/q/r", (3, 4), 0o600, "r")
                    .mode("usr/p/", (1, 2), 0o700),
            ],
        ),
        (
            "directory_metadata",
            true,
            vec![
                tar()
                    .mode("usr/lib/private/", (0, 0), 0o777)
                    .mode("usr/lib/dir/", (9, 9), 0o1700)
                    .mode("./", (1, 2), 0o700),
            ],
        ),
        (
            "modes_and_capabilities",
            true,
            vec![
                tar()
                    .owned("usr/bin/s", (5, 6), 0o6755, "s")
                    .owned("usr/bin/t", (0, 0), 0o1000, "")
                    .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
                    .owned("usr/bin/cap", (0, 0), 0o755, "cap")
                    .pax(&[("SCHILY.xattr.security.aa", b"a\0b\0\0")])
                    .mode("usr/lib/xdir/", (0, 0), 0o755),
            ],
        ),
        (
            "user_attributes",
            false,
            vec![
                tar()
                    .pax(&[
                        ("SCHILY.xattr.user.b", b"2"),
                        ("SCHILY.xattr.user.a", b"\xff\0"),
                    ])
                    .file("usr/bin/u", "u")
                    .pax(&[("SCHILY.xattr.user.d", b"d")])
                    .directory("usr/lib/udir/"),
            ],
        ),
        (
            "duplicates",
            true,
            vec![
                tar()
                    .file("usr/share/f", "1")
                    .link("usr/share/g", "usr/share/f")
                    .owned("usr/share/f", (1, 1), 0o600, "2")
                    .directory("usr/share/d/")
                    .mode("usr/share/d/", (4, 4), 0o711)
                    .symlink("usr/share/s", "a")
                    .file("usr/share/s", "b"),
            ],
        ),
        (
            "names",
            true,
            vec![
                tar()
                    .file(&long, "long")
                    .file("usr/share/späße", "u")
                    .link("usr/share/l", &long)
                    .symlink("usr/share/longlink", &"t/".repeat(80))
                    .file("/usr/share/absolute", "a")
                    .file("./usr//share/./dots", "d")
                    .pax(&[("path", b"usr/share/from-pax")])
                    .file("usr/share/other", "p"),
            ],
        ),
        (
            "changed_base_file",
            true,
            vec![
                tar()
                    .file("sysroot/ostree/repo/objects/00/00.file", "changed")
                    .link("usr/bin/tool", "sysroot/ostree/repo/objects/00/00.file")
                    .link("usr/bin/tool2", "sysroot/ostree/repo/objects/00/00.file")
                    .link("usr/bin/lost", "sysroot/ostree/repo/objects/11/11.file"),
            ],
        ),
        (
            "build_leftovers",
            true,
            vec![
                tar()
                    .file("etc/hostname", "")
                    .file("etc/resolv.conf", "")
                    .file("etc/hosts", ""),
            ],
        ),
        (
            "new_policy",
            true,
            vec![
                tar()
                    .file(
                        "etc/selinux/mini/contexts/files/file_contexts",
                        &CONTEXTS.replace("bin_t", "tool_t"),
                    )
                    .file("usr/bin/n", "n"),
                tar().file("usr/bin/m", "m"),
            ],
        ),
        (
            "same_layer_twice",
            true,
            vec![
                tar().file("usr/share/x", "x"),
                tar().file("usr/share/.wh.x", ""),
                tar().file("usr/share/x", "x"),
            ],
        ),
    ]
}

/// Layers that libostree cannot import, and neither can we: what our error says.
pub(super) fn impossible() -> Vec<(&'static str, &'static str, Tar)> {
    let tar = Tar::new;
    vec![
        (
            "device",
            "which ostree cannot hold",
            tar().device("usr/lib/null"),
        ),
        (
            "link_to_lower_layer",
            "which the layer does not have",
            tar().link("usr/lib/y.so", "usr/lib/x.so"),
        ),
        (
            "link_to_dropped_file",
            "which ostree does not keep",
            tar().file("opt/x", "x").link("usr/x", "opt/x"),
        ),
        ("upwards", "leads upwards", tar().file("usr/../../x", "x")),
        (
            "not_utf8",
            "is not UTF-8",
            tar().pax(&[("path", b"usr/\xff")]).file("usr/x", "x"),
        ),
        (
            "file_over_own_directory",
            "both a directory and something else",
            tar().directory("usr/d/").file("usr/d", "x"),
        ),
        (
            "file_as_root",
            "where the root directory has to be",
            tar().file("./", "x"),
        ),
        (
            "whiteout_of_nothing",
            "names nothing",
            tar().file("usr/.wh.", ""),
        ),
        (
            "user_attribute_of_symlink",
            "has user attributes",
            tar()
                .pax(&[("SCHILY.xattr.user.a", b"1")])
                .symlink("usr/s", "x"),
        ),
        (
            "foreign_attribute",
            "Linux has no attribute",
            tar()
                .pax(&[("SCHILY.xattr.com.apple.x", b"1")])
                .file("usr/s", "x"),
        ),
        (
            "through_own_symlink",
            "which is no directory",
            tar().symlink("usr/s", "lib").file("usr/s/x", "x"),
        ),
        (
            "long_name",
            "longer than 255",
            tar().file(&format!("usr/{}", "n".repeat(256)), "x"),
        ),
    ]
}
