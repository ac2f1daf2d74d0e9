//! Names that lead elsewhere, or nowhere.

use super::case::Case;
use super::case::Verdict::{Accepted, Refused, Warned};
use super::tar::{LINK, MAGIC, MAJOR, MODE, NAME, PREFIX, Tar, header, put, seal};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = upwards();
    cases.extend(spellings());
    cases.extend(through_links());
    cases.extend(targets());
    cases.extend(kinds());
    cases
}

fn upwards() -> Vec<Case> {
    let tar = Tar::new;
    let up = Refused("leads upwards");
    let long = format!("usr/{}../x", "a/".repeat(60));
    [
        ("in the middle", tar().file("usr/../etc/x", "x")),
        ("at the beginning", tar().file("../x", "x")),
        (
            "many times",
            tar().file("../../../../../../../../tmp/x", "x"),
        ),
        ("at the end", tar().file("usr/..", "x")),
        ("after a slash", tar().file("/../x", "x")),
        ("of a directory", tar().dir("usr/../etc/")),
        ("of a symlink", tar().symlink("usr/../x", "y")),
        ("of a hard link", tar().link("usr/../x", "usr/bin/tool")),
        ("of a whiteout", tar().file("usr/../.wh.etc", "")),
        (
            "below /run, where nothing is kept",
            tar().file("run/../usr/x", "x"),
        ),
        (
            "in a PAX record",
            tar().pax(&[("path", b"usr/../../x")]).file("x", "x"),
        ),
        ("in a GNU long name", tar().file(&long, "x")),
        ("in the prefix", tar().with(b'0', "x", PREFIX, b"..")),
        (
            "in a hard link's target",
            tar().link("usr/x", "../../sentinel"),
        ),
        (
            "in a PAX linkpath",
            tar().pax(&[("linkpath", b"../x")]).link("usr/x", "y"),
        ),
        (
            "in a GNU long target",
            tar().link("usr/x", &format!("{}../../x", "a/".repeat(60))),
        ),
    ]
    .into_iter()
    .map(|(name, tar)| Case::layer(&format!("upwards {name}"), up.clone(), tar))
    .collect()
}

fn spellings() -> Vec<Case> {
    let tar = Tar::new;
    let name_255 = format!("usr/{}", "n".repeat(255));
    let name_256 = format!("usr/{}", "n".repeat(256));
    let deepest = format!("usr/{}x", "d/".repeat(2045));
    let too_deep = format!("usr/{}xy", "d/".repeat(2046));
    let mut slash = header(0, "usr/old/", 0);
    put(&mut slash, MAGIC, b"");
    seal(&mut slash);
    let mut latin = header(b'0', "", 0);
    put(&mut latin, NAME, b"usr/\xe9");
    seal(&mut latin);
    let root = Refused("stands where the root directory has to be");
    vec![
        Case::layer(
            "absolute name",
            Accepted(&["+usr/x 0:0 644 \"x\""]),
            tar().file("/usr/x", "x"),
        ),
        Case::layer(
            "doubled slashes",
            Accepted(&["+usr/x 0:0 644 \"x\""]),
            tar().file("//usr///x", "x"),
        ),
        Case::layer(
            "dots",
            Accepted(&["+usr/x 0:0 644 \"x\""]),
            tar().file("./././usr/./x", "x"),
        ),
        Case::layer(
            "three dots",
            Accepted(&["+usr/... 0:0 644 \"x\""]),
            tar().file("usr/...", "x"),
        ),
        Case::layer(
            "file with a slash at its end",
            Accepted(&["+usr/x 0:0 644 \"x\""]),
            tar().file("usr/x/", "x"),
        ),
        Case::layer(
            "old directory by a slash",
            Accepted(&["+usr/old 0:0 644 directory"]),
            tar().raw(&slash, b""),
        ),
        Case::layer("file without a name", root.clone(), tar().file("", "x")),
        Case::layer("file called dot", root.clone(), tar().file(".", "x")),
        Case::layer("file called slash", root.clone(), tar().file("/", "x")),
        Case::layer(
            "symlink instead of the root",
            root.clone(),
            tar().symlink("./", "/tmp"),
        ),
        Case::layer(
            "hard link instead of the root",
            root,
            tar().file("usr/x", "").link("/", "usr/x"),
        ),
        Case::layer(
            "root of another mode",
            Warned("changes owner, mode or attributes of a directory", &[]),
            tar().with(b'5', "./", MODE, b"0000777"),
        ),
        Case::layer(
            "name of 255 bytes",
            Accepted(&["+usr/nnnnnnnnnnnnnnnn…259 0:0 644 \"x\""]),
            tar().file(&name_255, "x"),
        ),
        Case::layer(
            "name of 256 bytes",
            Refused("longer than 255 bytes"),
            tar().file(&name_256, "x"),
        ),
        Case::layer(
            "name of 256 bytes below /run",
            Refused("longer than 255 bytes"),
            tar().file(&name_256.replace("usr", "run"), "x"),
        ),
        Case::layer(
            "path of 4097 bytes in a PAX record",
            Refused("a path is longer than 4096 bytes"),
            tar().pax(&[("path", too_deep.as_bytes())]).file("x", ""),
        ),
        Case::layer(
            "path of 8000 bytes in a GNU long name",
            Refused("at most 4097 are taken"),
            tar().file(&"a/".repeat(4000), ""),
        ),
        Case::layer(
            "long symlink 2046 directories deep",
            Refused("XFS"),
            tar()
                .pax(&[("path", deepest.as_bytes())])
                .symlink("x", &"t".repeat(1024)),
        ),
        Case::layer(
            "name in Latin-1",
            Refused("is not UTF-8"),
            tar().raw(&latin, b""),
        ),
        Case::layer(
            "PAX path in Latin-1",
            Refused("is not UTF-8"),
            tar().pax(&[("path", b"usr/\xe9")]).file("x", ""),
        ),
        Case::layer(
            "PAX path with NUL",
            Refused("contains NUL"),
            tar().pax(&[("path", b"usr/a\0b")]).file("x", ""),
        ),
        Case::layer(
            "line feed in a name",
            Accepted(&["+usr/a\\nb 0:0 644 \"x\""]),
            tar().file("usr/a\nb", "x"),
        ),
        Case::layer(
            "escape sequence in a name",
            Accepted(&["+usr/\\x1b[2J 0:0 644 \"x\""]),
            tar().file("usr/\x1b[2J", "x"),
        ),
        Case::layer(
            "escape sequence in a name that is refused",
            Refused("leads upwards"),
            tar().file("usr/../\x1b[2J\n", "x"),
        ),
        Case::layer(
            "backslashes",
            Accepted(&["+usr/..\\\\..\\\\x 0:0 644 \"x\""]),
            tar().file("usr/..\\..\\x", "x"),
        ),
    ]
}

fn through_links() -> Vec<Case> {
    let tar = Tar::new;
    let below = Refused("which is no directory");
    let both = Refused("both a directory and something else");
    vec![
        Case::layer(
            "file through a symlink to /",
            both.clone(),
            tar().symlink("usr/s", "/").file("usr/s/etc/x", "x"),
        ),
        Case::layer(
            "file through a symlink upwards",
            below.clone(),
            tar()
                .symlink("usr/s", "../../..")
                .file("usr/s/sentinel", "x"),
        ),
        Case::layer(
            "file through a chain of symlinks",
            below.clone(),
            tar()
                .symlink("usr/a", "b")
                .symlink("usr/b", "/tmp")
                .file("usr/a/x", "x"),
        ),
        Case::layer(
            "directory through a symlink",
            below.clone(),
            tar().symlink("usr/s", "/tmp").dir("usr/s/x/"),
        ),
        Case::layer(
            "whiteout through a symlink",
            below.clone(),
            tar().symlink("usr/s", "/tmp").file("usr/s/.wh.x", ""),
        ),
        Case::layer(
            "hard link through a symlink",
            below.clone(),
            tar()
                .symlink("usr/s", "/tmp")
                .file("usr/x", "")
                .link("usr/s/y", "usr/x"),
        ),
        Case::layer(
            "hard link to what is behind a symlink",
            Refused("which the layer does not have"),
            tar().symlink("usr/s", "/etc").link("usr/y", "usr/s/shadow"),
        ),
        Case::layer(
            "file below a file",
            below,
            tar().file("usr/x", "").file("usr/x/y", ""),
        ),
        Case::layer(
            "symlink over its own directory",
            both.clone(),
            tar().file("usr/s/x", "x").symlink("usr/s", "/tmp"),
        ),
        Case::layer(
            "hard link over its own directory",
            both,
            tar().file("usr/s/x", "x").link("usr/s", "usr/s/x"),
        ),
        Case::layers(
            "file through a symlink of the layer below",
            Warned(
                "puts a directory where /usr/s was a file or symlink",
                &["+usr/s 0:0 755 directory", "+usr/s/x 0:0 644 \"x\""],
            ),
            [tar().symlink("usr/s", "/tmp"), tar().file("usr/s/x", "x")],
        ),
        Case::layers(
            "file through a symlink upwards of the layer below",
            Warned(
                "puts a directory where /usr/s was a file or symlink",
                &["+usr/s 0:0 755 directory", "+usr/s/sentinel 0:0 644 \"x\""],
            ),
            [
                tar().symlink("usr/s", "../../../.."),
                tar().file("usr/s/sentinel", "x"),
            ],
        ),
        Case::layers(
            "whiteout through a symlink of the layer below",
            Warned(
                "puts a directory where /usr/s was a file or symlink",
                &["+usr/s 0:0 755 directory"],
            ),
            [
                tar().symlink("usr/s", "bin"),
                tar().file("usr/s/.wh.tool", ""),
            ],
        ),
        Case::layers(
            "file below a file of the layer below",
            Warned(
                "puts a directory where /usr/bin/tool was a file or symlink",
                &[
                    "~usr/bin/tool 0:0 755 directory",
                    "+usr/bin/tool/x 0:0 644 \"\"",
                ],
            ),
            [tar().file("usr/bin/tool/x", "")],
        ),
    ]
}

fn targets() -> Vec<Case> {
    let tar = Tar::new;
    let link = |target: &str| tar().symlink("usr/s", target);
    let no_target = Refused("empty or not UTF-8");
    vec![
        Case::layer(
            "symlink to a file of the host",
            Accepted(&["+usr/s 0:0 777 -> /etc/shadow"]),
            link("/etc/shadow"),
        ),
        Case::layer(
            "symlink to what lies beside the image",
            Accepted(&["+usr/s 0:0 777 -> ../../../sentinel"]),
            link("../../../sentinel"),
        ),
        Case::layer(
            "symlink to a device of the host",
            Accepted(&["+usr/s 0:0 777 -> /dev/zero"]),
            link("/dev/zero"),
        ),
        Case::layer(
            "symlink to itself",
            Accepted(&["+usr/s 0:0 777 -> s"]),
            link("s"),
        ),
        Case::layer(
            "symlinks in a circle",
            Accepted(&["+usr/s 0:0 777 -> t", "+usr/t 0:0 777 -> s"]),
            link("t").symlink("usr/t", "s"),
        ),
        Case::layer(
            "symlink with ANSI in its target",
            Accepted(&["+usr/s 0:0 777 -> \\x1b[2J"]),
            link("\x1b[2J"),
        ),
        Case::layer(
            "symlink to 1023 bytes",
            Accepted(&["+usr/s 0:0 777 -> 1023 bytes"]),
            link(&"t".repeat(1023)),
        ),
        Case::layer(
            "symlink to 1024 bytes",
            Refused("the symlink's target has 1024 bytes"),
            link(&"t".repeat(1024)),
        ),
        Case::layer(
            "symlink to 4095 bytes",
            Refused("the symlink's target has 4095 bytes"),
            link(&"t".repeat(4095)),
        ),
        Case::layer(
            "symlink to 4097 bytes by PAX",
            Refused("a path is longer than 4096"),
            tar()
                .pax(&[("linkpath", &[b't'; 4097])])
                .symlink("usr/s", "x"),
        ),
        Case::layer("symlink to nothing", no_target.clone(), link("")),
        Case::layer(
            "symlink to Latin-1",
            no_target,
            tar().pax(&[("linkpath", b"\xe9")]).symlink("usr/s", "x"),
        ),
        Case::layer(
            "symlink to NUL",
            Refused("contains NUL"),
            tar().pax(&[("linkpath", b"a\0b")]).symlink("usr/s", "x"),
        ),
    ]
}

fn kinds() -> Vec<Case> {
    let tar = Tar::new;
    let device = Refused("which ostree cannot hold");
    let of = |kind| tar().entry(kind, "usr/x", "", b"");
    let mut cases: Vec<Case> = [
        ("character device", b'3'),
        ("block device", b'4'),
        ("FIFO", b'6'),
        ("socket of star", b's'),
        ("directory of GNU dumps", b'D'),
        ("volume label", b'V'),
        ("continued file", b'M'),
        ("unknown kind", b'Z'),
        ("kind 0xff", 0xff),
    ]
    .into_iter()
    .map(|(name, kind)| Case::layer(name, device.clone(), of(kind)))
    .collect();
    cases.extend([
        Case::layer(
            "contiguous file",
            Accepted(&["+usr/x 0:0 644 \"\""]),
            of(b'7'),
        ),
        Case::layer(
            "file of kind NUL",
            Accepted(&["+usr/x 0:0 644 \"\""]),
            of(0),
        ),
        Case::layer(
            "device numbers out of range",
            device,
            tar().with(b'3', "usr/x", MAJOR, b"\x80\x7f\xff\xff\xff\xff\xff\xff"),
        ),
        Case::layer(
            "device where nothing is kept",
            Warned("where ostree keeps none: null (1)", &[]),
            tar().entry(b'3', "dev/null", "", b""),
        ),
        Case::layer(
            "file where nothing is kept",
            Warned("where ostree keeps none: x (1)", &[]),
            tar().file("run/x", "x"),
        ),
        Case::layer(
            "directory where nothing is kept",
            Accepted(&[]),
            tar().dir("run/x/"),
        ),
        Case::layer(
            "file claiming devices",
            Accepted(&["+usr/x 0:0 644 \"\""]),
            tar().with(b'0', "usr/x", MAJOR, b"garbage"),
        ),
    ]);
    for (name, kind) in [
        ("directory", b'5'),
        ("symlink", b'2'),
        ("hard link", b'1'),
        ("device", b'3'),
    ] {
        let mut header = header(kind, "usr/x", 512);
        put(&mut header, LINK, b"usr/bin/tool");
        seal(&mut header);
        let hidden = Tar::new().file("usr/hidden", "");
        cases.push(Case::layer(
            &format!("{name} with content that is a header"),
            Refused("claims 512 bytes of content"),
            tar().raw(&header, &hidden.0),
        ));
    }
    cases
}
