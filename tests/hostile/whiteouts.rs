//! Whiteouts of all kinds, and names that change what they are.

use super::case::Case;
use super::case::Verdict::{Accepted, Refused, Warned};
use super::tar::Tar;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = removals();
    cases.extend(changes_of_kind());
    cases.extend(places());
    cases
}

fn removals() -> Vec<Case> {
    let tar = Tar::new;
    let nothing = Refused("names nothing that can be removed");
    vec![
        Case::layer(
            "whiteout of a file",
            Accepted(&["-usr/bin/tool"]),
            tar().file("usr/bin/.wh.tool", ""),
        ),
        Case::layer(
            "whiteout of a symlink",
            Accepted(&["-usr/lib/link"]),
            tar().file("usr/lib/.wh.link", ""),
        ),
        Case::layer(
            "whiteout of a directory",
            Accepted(&["-usr/lib/dir", "-usr/lib/dir/a"]),
            tar().file("usr/lib/.wh.dir", ""),
        ),
        Case::layer(
            "whiteout of what is not there",
            Accepted(&[]),
            tar().file("usr/bin/.wh.none", ""),
        ),
        Case::layer(
            "whiteout in a directory that is not there",
            Accepted(&["+usr/new 0:0 755 directory"]),
            tar().file("usr/new/.wh.none", ""),
        ),
        Case::layer(
            "whiteout below /etc",
            Accepted(&["-usr/etc/passwd"]),
            tar().file("etc/.wh.passwd", ""),
        ),
        Case::layer(
            "whiteout of /etc, which is /usr/etc by then",
            Accepted(&[]),
            tar().file(".wh.etc", ""),
        ),
        Case::layer(
            "whiteout of /usr",
            Refused("the image has no kernel"),
            tar().file(".wh.usr", ""),
        ),
        Case::layer(
            "whiteout of the kernels",
            Refused("the image has no kernel"),
            tar().file("usr/lib/.wh.modules", ""),
        ),
        Case::layer(
            "whiteout with content",
            Accepted(&["-usr/bin/tool"]),
            tar().file("usr/bin/.wh.tool", "content"),
        ),
        Case::layer(
            "whiteout by a hard link",
            Accepted(&["+usr/x 0:0 644 \"\"", "-usr/bin/tool"]),
            tar().file("usr/x", "").link("usr/bin/.wh.tool", "usr/x"),
        ),
        Case::layer(
            "whiteout that is a symlink",
            Accepted(&["+usr/bin/.wh.tool 0:0 777 -> x"]),
            tar().symlink("usr/bin/.wh.tool", "x"),
        ),
        Case::layer(
            "whiteout that is a directory",
            Accepted(&["+usr/bin/.wh.tool 0:0 755 directory"]),
            tar().dir("usr/bin/.wh.tool/"),
        ),
        Case::layer(
            "whiteout that is a device",
            Refused("which ostree cannot hold"),
            tar().entry(b'3', "usr/bin/.wh.tool", "", b""),
        ),
        Case::layer(
            "whiteout of nothing",
            nothing.clone(),
            tar().file("usr/.wh.", ""),
        ),
        Case::layer(
            "whiteout of a dot",
            nothing.clone(),
            tar().file("usr/.wh..", ""),
        ),
        Case::layer(
            "whiteout of two dots",
            nothing.clone(),
            tar().file("usr/.wh...", ""),
        ),
        Case::layer(
            "whiteout of two dots in the root",
            nothing,
            tar().file(".wh...", ""),
        ),
        Case::layer(
            "whiteout of a whiteout",
            Accepted(&[]),
            tar().file("usr/bin/.wh..wh.tool", ""),
        ),
        Case::layer(
            "whiteout of aufs",
            Accepted(&[]),
            tar().file("usr/.wh..wh.plnk", ""),
        ),
        Case::layer(
            "whiteout behind what it hides",
            Accepted(&["+usr/bin/z 0:0 644 \"z\""]),
            tar().file("usr/bin/z", "z").file("usr/bin/.wh.z", ""),
        ),
        Case::layer(
            "whiteout before what it hides",
            Accepted(&["+usr/bin/z 0:0 644 \"z\""]),
            tar().file("usr/bin/.wh.z", "").file("usr/bin/z", "z"),
        ),
        Case::layer(
            "whiteout of what sorts before it",
            Accepted(&[]),
            tar().file("usr/bin/.a", "a").file("usr/bin/.wh..a", ""),
        ),
        Case::layer(
            "hard link to a whiteout",
            Accepted(&["+usr/x 0:0 644 \"\"", "-usr/bin/tool"]),
            tar()
                .file("usr/bin/.wh.tool", "")
                .link("usr/x", "usr/bin/.wh.tool"),
        ),
        Case::layer(
            "opaque directory",
            Accepted(&["-usr/bin/tool"]),
            tar().dir("usr/bin/").file("usr/bin/.wh..wh..opq", ""),
        ),
        Case::layer(
            "opaque directory with a file",
            Accepted(&["+usr/bin/new 0:0 644 \"n\"", "-usr/bin/tool"]),
            tar()
                .dir("usr/bin/")
                .file("usr/bin/new", "n")
                .file("usr/bin/.wh..wh..opq", ""),
        ),
        Case::layer(
            "opaque root",
            Refused("the image has no kernel"),
            tar().file(".wh..wh..opq", ""),
        ),
        Case::layer(
            "opaque mark that is a directory",
            Accepted(&["+usr/bin/.wh..wh..opq 0:0 755 directory"]),
            tar().dir("usr/bin/.wh..wh..opq/"),
        ),
        Case::layer(
            "opaque directory that is not there",
            Accepted(&["+usr/new 0:0 755 directory"]),
            tar().file("usr/new/.wh..wh..opq", ""),
        ),
        Case::layers(
            "file that comes back",
            Accepted(&["~usr/bin/tool 0:0 644 \"again\""]),
            [
                tar().file("usr/bin/.wh.tool", ""),
                tar().file("usr/bin/tool", "again"),
            ],
        ),
    ]
}

fn changes_of_kind() -> Vec<Case> {
    let tar = Tar::new;
    let both = Refused("both a directory and something else");
    vec![
        Case::layer(
            "file twice",
            Accepted(&["+usr/x 0:0 644 \"second\""]),
            tar().file("usr/x", "first").file("usr/x", "second"),
        ),
        Case::layer(
            "file, then symlink",
            Accepted(&["+usr/x 0:0 777 -> y"]),
            tar().file("usr/x", "x").symlink("usr/x", "y"),
        ),
        Case::layer(
            "symlink, then file",
            Accepted(&["+usr/x 0:0 644 \"x\""]),
            tar().symlink("usr/x", "/etc/shadow").file("usr/x", "x"),
        ),
        Case::layer(
            "file, then hard link",
            Accepted(&["+usr/x 0:0 644 \"y\"", "+usr/y 0:0 644 \"y\""]),
            tar()
                .file("usr/x", "x")
                .file("usr/y", "y")
                .link("usr/x", "usr/y"),
        ),
        Case::layer(
            "hard link, then file",
            Accepted(&["+usr/x 0:0 644 \"y\"", "+usr/y 0:0 644 \"y\""]),
            tar()
                .file("usr/y", "y")
                .link("usr/x", "usr/y")
                .file("usr/x", "x"),
        ),
        Case::layer(
            "directory twice",
            Accepted(&["+usr/d 0:0 755 directory"]),
            tar().dir("usr/d/").dir("usr/d/"),
        ),
        Case::layer(
            "file, then directory",
            both.clone(),
            tar().file("usr/x", "x").dir("usr/x/"),
        ),
        Case::layer(
            "directory, then file",
            both.clone(),
            tar().dir("usr/x/").file("usr/x", "x"),
        ),
        Case::layer(
            "symlink, then directory",
            both.clone(),
            tar().symlink("usr/x", "/tmp").dir("usr/x/"),
        ),
        Case::layer(
            "directory, then symlink",
            both,
            tar().dir("usr/x/").symlink("usr/x", "/tmp"),
        ),
        Case::layer(
            "/etc and /usr/etc",
            Accepted(&["+usr/etc/x 0:0 644 \"second\""]),
            tar().file("etc/x", "first").file("usr/etc/x", "second"),
        ),
        Case::layer(
            "directory of the base, now a file",
            Accepted(&["~usr/lib/dir 0:0 644 \"x\"", "-usr/lib/dir/a"]),
            tar().file("usr/lib/dir", "x"),
        ),
        Case::layer(
            "directory of the base, now a symlink",
            Accepted(&["~usr/lib/dir 0:0 777 -> /tmp", "-usr/lib/dir/a"]),
            tar().symlink("usr/lib/dir", "/tmp"),
        ),
        Case::layer(
            "file of the base, now a directory",
            Warned(
                "puts a directory where /usr/bin/tool was",
                &["~usr/bin/tool 0:0 755 directory"],
            ),
            tar().dir("usr/bin/tool/"),
        ),
        Case::layer(
            "symlink of the base, now a directory",
            Warned(
                "puts a directory where /usr/lib/link was",
                &["~usr/lib/link 0:0 755 directory"],
            ),
            tar().dir("usr/lib/link/"),
        ),
        Case::layers(
            "file, directory and symlink in turn",
            Warned(
                "puts a directory where /usr/x was",
                &["+usr/x 0:0 777 -> /tmp"],
            ),
            [
                tar().file("usr/x", "x"),
                tar().dir("usr/x/"),
                tar().symlink("usr/x", "/tmp"),
            ],
        ),
        Case::layer(
            "directory of another owner",
            Warned("changes owner, mode or attributes of a directory", &[]),
            tar().with(b'5', "usr/bin/", super::tar::UID, b"0001750"),
        ),
    ]
}

/// What stands where directories have to be.
fn places() -> Vec<Case> {
    let tar = Tar::new;
    vec![
        Case::layer(
            "symlink instead of /etc",
            Warned(
                "has a symlink where the directory /etc has to be",
                &["~usr/etc 0:0 777 -> /tmp", "-usr/etc/passwd"],
            ),
            tar().symlink("etc", "/tmp"),
        ),
        Case::layer(
            "symlink instead of /usr/etc",
            Warned(
                "has a symlink where the directory /etc has to be",
                &["~usr/etc 0:0 777 -> /tmp", "-usr/etc/passwd"],
            ),
            tar().symlink("usr/etc", "/tmp"),
        ),
        Case::layer(
            "file instead of /etc",
            Warned(
                "has a file where the directory /etc has to be",
                &["~usr/etc 0:0 644 \"\"", "-usr/etc/passwd"],
            ),
            tar().file("etc", ""),
        ),
        Case::layer(
            "symlink instead of /var",
            Warned(
                "has a symlink where the directory /var has to be",
                &["~var 0:0 777 -> /tmp"],
            ),
            tar().symlink("var", "/tmp"),
        ),
        Case::layer(
            "symlink instead of /boot",
            Warned(
                "has a symlink where the directory /boot has to be",
                &["~boot 0:0 777 -> /tmp"],
            ),
            tar().symlink("boot", "/tmp"),
        ),
        Case::layer(
            "file instead of /sysroot",
            Warned(
                "has a file where the directory /sysroot has to be",
                &["~sysroot 0:0 644 \"\""],
            ),
            tar().file("sysroot", ""),
        ),
        Case::layer(
            "symlink instead of /dev",
            Warned(
                "has a symlink where the directory /dev has to be",
                &["~dev 0:0 777 -> /tmp"],
            ),
            tar().symlink("dev", "/tmp"),
        ),
        Case::layer(
            "symlink instead of /proc",
            Warned(
                "has a symlink where the directory /proc has to be",
                &["~proc 0:0 777 -> /tmp"],
            ),
            tar().symlink("proc", "/tmp"),
        ),
        Case::layer(
            "symlink instead of /usr",
            Refused("the image has no kernel"),
            tar().symlink("usr", "/tmp"),
        ),
        Case::layers(
            "symlink instead of /etc that is taken back",
            Warned("puts a directory where /usr/etc was", &["-usr/etc/passwd"]),
            [tar().symlink("etc", "/tmp"), tar().dir("etc/")],
        ),
        Case::layer(
            "/ostree, where most images have a symlink",
            Accepted(&["+ostree 0:0 777 -> sysroot/ostree"]),
            tar().symlink("ostree", "sysroot/ostree"),
        ),
    ]
}
