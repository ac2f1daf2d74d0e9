//! Images of an encapsulated commit: labels that lie, layers out of order.

use super::case::Case;
use super::case::Verdict::{Accepted, Refused, Warned};
use super::image::{ENCAPSULATED, Image};
use super::tar::Tar;

pub(crate) fn cases() -> Vec<Case> {
    let image = Image::encapsulated;
    let tar = Tar::new;
    let on = |tar: Tar| image().layer(tar.end());
    let x = || tar().file("usr/x", "");
    let label = |value: &str| image().label("ostree.commit", value);
    let other = "f".repeat(64);
    let commit = &ENCAPSULATED.commit;
    let dropped = "where ostree keeps none";
    vec![
        Case::image("encapsulated commit", Accepted(&[]), image()),
        Case::image(
            "encapsulated commit with a layer",
            Accepted(&["+usr/x 0:0 644 \"\""]),
            on(x()),
        ),
        Case::image("label of the right commit", Accepted(&[]), label(commit)),
        Case::image(
            "label of another commit",
            Warned("the label ostree.commit names \"ffff", &[]),
            label(&other),
        ),
        Case::image(
            "label of the commit in capitals",
            Warned("the label ostree.commit names", &[]),
            label(&commit.to_uppercase()),
        ),
        Case::image(
            "label of a commit of nothing",
            Warned("the label ostree.commit names \"\"", &[]),
            label(""),
        ),
        Case::image(
            "label of a commit with an escape sequence",
            Warned("names \"\\u{1b}[2J", &[]),
            label("\u{1b}[2J"),
        ),
        Case::image(
            "label of a commit of 1 MB",
            Warned("names \"xxx", &[]),
            label(&"x".repeat(1 << 20)),
        ),
        Case::image(
            "label of the commit without a commit",
            Accepted(&[]),
            Image::tiny().label("ostree.commit", &other),
        ),
        Case::image(
            "final layer that is not there",
            Refused("which is no layer of the image"),
            image().label("ostree.final-diffid", &format!("sha256:{other}")),
        ),
        Case::image(
            "final layer of nonsense",
            Refused("which is no layer of the image"),
            image().label("ostree.final-diffid", "\u{1b}[2J"),
        ),
        Case::image(
            "final layer that is the first",
            Refused("the image lacks the object"),
            image().label("ostree.final-diffid", &image().diff_id(0)),
        ),
        Case::image(
            "final layer without a commit",
            Refused("the layer has no ostree commit"),
            Image::tiny().config(|c| {
                c["config"]["Labels"]["ostree.final-diffid"] = c["rootfs"]["diff_ids"][0].clone()
            }),
        ),
        Case::image(
            "base layers in another order",
            Accepted(&[]),
            image()
                .order(&[0, 2, 1])
                .label("ostree.final-diffid", &image().diff_id(1)),
        ),
        Case::image(
            "commit behind its files",
            Refused("metadata objects belong into the first layer"),
            image().order(&[1, 0, 2]),
        ),
        Case::image(
            "base layer twice",
            Warned("is there twice in the ostree commit", &[]),
            image().order(&[0, 1, 1, 2]),
        ),
        Case::image(
            "base layer 40 times",
            Warned("is there twice in the ostree commit", &[]),
            image().order(&[&[0][..], &[1; 40], &[2]].concat()),
        ),
        Case::image(
            "commit twice",
            Refused("metadata objects belong into the first layer"),
            image().order(&[0, 0, 1, 2]),
        ),
        Case::image(
            "final layer twice",
            Refused("which ends the ostree commit, occurs twice"),
            image().order(&[0, 1, 2, 2]),
        ),
        Case::image(
            "base layer left out",
            Refused("the image lacks the object"),
            image().order(&[0, 2]),
        ),
        Case::image(
            "files outside of /usr and /etc",
            Warned(dropped, &[]),
            on(tar().file("opt/x", "")),
        ),
        Case::image(
            "symlink instead of /etc of a commit",
            Warned(
                "has a symlink where the directory /etc has to be",
                &["~usr/etc 0:0 777 -> /tmp", "-usr/etc/passwd"],
            ),
            on(tar().symlink("etc", "/tmp")),
        ),
        Case::image(
            "symlink instead of /boot of a commit",
            Warned(dropped, &[]),
            on(tar().symlink("boot", "/tmp")),
        ),
        Case::image(
            "symlink instead of /sysroot of a commit",
            Warned(dropped, &[]),
            on(tar().symlink("sysroot", "/tmp")),
        ),
        Case::image(
            "symlink instead of /ostree of a commit",
            Warned(dropped, &[]),
            on(tar().symlink("ostree", "/tmp")),
        ),
        Case::image(
            "whiteout of /usr of a commit",
            Warned(dropped, &[]),
            on(tar().file(".wh.usr", "")),
        ),
        Case::image(
            "whiteout of /etc of a commit",
            Accepted(&["-usr/etc", "-usr/etc/passwd"]),
            on(tar().file("usr/.wh.etc", "")),
        ),
        Case::image(
            "object of the base changed",
            Warned("these changes are lost", &[]),
            on(tar().file("sysroot/ostree/repo/objects/00/0.file", "x")),
        ),
        Case::image(
            "hard link to an object that was not changed",
            Warned("these changes are lost", &[]),
            on(tar().link("usr/x", "sysroot/ostree/repo/objects/00/0.file")),
        ),
        Case::image(
            "hard link through an object",
            Accepted(&["+usr/x 0:0 644 \"x\""]),
            on(tar()
                .file("sysroot/ostree/repo/objects/00/0.file", "x")
                .link("usr/x", "sysroot/ostree/repo/objects/00/0.file")),
        ),
    ]
}
