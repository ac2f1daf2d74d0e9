//! The ISO's boot menu, and the area in it where installers change kernel arguments in place.
//!
//! An image's own GRUB template comes first (`usr/share/coreos-assembler/live`); the one in
//! `iso-templates/` stands in. Beside it lies the same menu in isolinux's words, which nothing boots,
//! for programs that edit both; always ours, so that both have the same arguments.
//!
//! An embed area is a run of `#` after the line with the arguments:
//!
//! ```text
//! linux /images/pxeboot/vmlinuz rw coreos.liveiso=… ignition.firstboot …\n
//! #################### … 1024 of them … # COREOS_KARG_EMBED_AREA
//! ^ offset is at "rw"; the area ends before the last '#'
//! ```
//!
//! Readers: coreos-installer `src/live/embed.rs`; assisted-image-service `pkg/isoeditor/{kargs,rhcos}.go`
//! @a55e383, which look for the area by its mark, and for lines that begin with blanks and `linux `,
//! `initrd ` or `append `.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::template;

const PLACEHOLDER: &str = "@@KERNEL-ARGS@@";
const MARKER: &str = " COREOS_KARG_EMBED_AREA";
const OWN_TEMPLATE: &str = include_str!("../../iso-templates/grub.cfg");
const OWN_ISOLINUX: &str = include_str!("../../iso-templates/isolinux.cfg");
const OWN_STUB: &str = include_str!("../../iso-templates/efi-stub.cfg");

/// How many `#` our areas have, as upstream's.
const OWN_PADS: usize = 1024;

/// coreos-installer refuses areas longer than this.
const AREA_MAX: usize = 2048;

/// Vendor directories of `EFI` in which programs that edit an ISO look for its menu, and where else
/// they do (assisted-image-service `pkg/isoeditor/rhcos.go` @a55e383).
const EDITED_VENDORS: [&str; 3] = ["redhat", "fedora", "centos"];
const EDITED_DIRECTORY: &str = "boot/grub";

/// The directory on the ISO that has the menu, in a `grub.cfg`.
pub(super) fn directory(vendor: &str) -> String {
    match EDITED_VENDORS.contains(&vendor) {
        true => format!("EFI/{vendor}"),
        false => EDITED_DIRECTORY.to_owned(),
    }
}

/// A menu with its arguments filled in.
#[derive(Debug, PartialEq)]
pub(super) struct Menu {
    /// The configuration's text.
    pub text: String,
    /// The kernel arguments as baked.
    pub default: String,
    /// Where arguments can be changed, if the template has room for that.
    pub area: Option<KargArea>,
}

/// Where kernel arguments lie in a boot menu.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KargArea {
    /// Position of the first argument, in bytes from the start of the file.
    pub offset: usize,
    /// Length of the area in bytes.
    pub size: usize,
    /// What ends the arguments.
    pub end: &'static str,
    /// What the rest of the area is filled with.
    pub pad: &'static str,
}

/// Fills `kargs` into the image's template, or into ours.
pub(super) fn render(template: Option<&str>, title: &str, kargs: &str) -> Result<Menu> {
    match template {
        Some(template) => fill(template, kargs),
        None => {
            let area = padding(OWN_PADS);
            let template = own(OWN_TEMPLATE, &[("TITLE", title), ("KARG-AREA", &area)]);
            fill(&template, kargs)
        }
    }
}

/// The same menu for those who edit that of isolinux; `path` is where `menu` lies on the ISO.
pub(super) fn render_isolinux(menu: &Menu, path: &str, title: &str) -> Result<Menu> {
    // Installers want areas of one size.
    let padding = match &menu.area {
        Some(area) => padding(area.size - menu.default.len()),
        None => String::new(),
    };
    let values = [("TITLE", title), ("KARG-AREA", &padding), ("MENU", path)];
    fill(&own(OWN_ISOLINUX, &values), &menu.default)
}

/// What an area has behind the line with the arguments.
fn padding(pads: usize) -> String {
    format!("{}{MARKER}", "#".repeat(pads))
}

/// One of our templates with these values; the arguments are filled in as into anybody's.
fn own(text: &str, values: &[(&str, &str)]) -> String {
    template::fill(text, |name| {
        let mut known = values.iter();
        known
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    })
}

fn fill(template: &str, kargs: &str) -> Result<Menu> {
    let Some(offset) = template.find(PLACEHOLDER) else {
        bail!("the boot menu template has no {PLACEHOLDER}, so it can't find its live root");
    };
    if template.matches(PLACEHOLDER).nth(1).is_some() {
        bail!("the boot menu template has more than one {PLACEHOLDER}");
    }
    let text = template.replacen(PLACEHOLDER, kargs, 1);
    let rest = &text[offset..];
    let default = rest
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned();
    let area = match rest.find(MARKER) {
        None => None,
        Some(marker) => Some(area(rest, marker, offset)?),
    };
    Ok(Menu {
        text,
        default,
        area,
    })
}

fn area(rest: &str, marker: usize, offset: usize) -> Result<KargArea> {
    let line_end = rest
        .find('\n')
        .context("the boot menu template ends in its arguments")?;
    let padding = rest.get(line_end + 1..marker).unwrap_or_default();
    if padding.is_empty() || !padding.bytes().all(|b| b == b'#') {
        bail!("the boot menu template has something else than # between its arguments and{MARKER}");
    }
    let size = marker - 1;
    if size > AREA_MAX {
        return Err(Failure::new(
            format!(
                "the live kernel arguments take {} bytes, {} more than fit",
                line_end,
                size - AREA_MAX
            ),
            "shorten extra-kargs in the image's image.json",
        )
        .into());
    }
    Ok(KargArea {
        offset,
        size,
        end: "\n",
        pad: "#",
    })
}

/// `coreos/kargs.json`: where installers may change arguments of these menus, by their paths. `None` if
/// no menu has an area.
pub(super) fn kargs_json(menus: &[(String, Menu)]) -> Result<Option<String>> {
    let mut places = Vec::new();
    for (path, menu) in menus {
        if let Some(area) = &menu.area {
            places.push((path, area, &menu.default));
        }
    }
    places.sort_by_key(|(path, ..)| *path);
    let Some((_, first, default)) = places.first() else {
        return Ok(None);
    };
    if places
        .iter()
        .any(|(_, area, other)| area.size != first.size || other != default)
    {
        bail!(
            "the boot menus differ in their kernel arguments, and installers could not change both"
        );
    }
    let files: Vec<Value> = places
        .iter()
        .map(
            |(path, area, _)| json!({"end": area.end, "offset": area.offset, "pad": area.pad, "path": path}),
        )
        .collect();
    let json = json!({"default": default, "files": files, "size": first.size});
    Ok(Some(serde_json::to_string_pretty(&json)? + "\n"))
}

/// A `grub.cfg` that goes on to the menu in `directory` of the ISO: for GRUB in the ESP image, and in
/// the vendor's directory where the menu is elsewhere.
pub(super) fn stub(volume_id: &str, directory: &str) -> String {
    own(
        OWN_STUB,
        &[("VOLUME-ID", volume_id), ("DIRECTORY", directory)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_begins_at_the_first_argument_and_ends_before_the_last_pad() {
        let template = format!(
            "x\nlinux /k @@KERNEL-ARGS@@ a=b\n{}{MARKER}\ninitrd\n",
            "#".repeat(1024)
        );
        let menu = render(Some(&template), "", "rw coreos.liveiso=v").unwrap();
        let area = menu.area.unwrap();
        assert_eq!(&menu.text[area.offset..area.offset + 2], "rw");
        assert_eq!(menu.default, "rw coreos.liveiso=v a=b");
        // The figures that a published ISO shows: line with newline, plus 1023.
        assert_eq!(area.size, menu.default.len() + 1 + 1023);
        assert_eq!(&menu.text[area.offset + area.size..][..2], "# ");
    }

    #[test]
    fn own_template_has_one_area_and_a_title() {
        let menu = render(None, "An OS", "rw").unwrap();
        assert!(menu.area.is_some());
        assert!(menu.text.contains("\"An OS (live)\""));
        assert!(!menu.text.contains("@@"));
    }

    #[test]
    fn own_templates_have_a_place_for_every_value_and_no_others() {
        for (text, names) in [
            (OWN_TEMPLATE, &["TITLE", "KERNEL-ARGS", "KARG-AREA"][..]),
            (OWN_ISOLINUX, &["MENU", "TITLE", "KERNEL-ARGS", "KARG-AREA"]),
            (OWN_STUB, &["VOLUME-ID", "DIRECTORY"]),
        ] {
            assert_eq!(template::names(text), names);
        }
        assert!(!stub("a", "b").contains("@@"));
    }

    #[test]
    fn isolinux_has_the_same_arguments_and_says_who_reads_it() {
        // Ours, and one whose area is as long as nobody else's, behind a blank.
        let theirs = format!("linux @@KERNEL-ARGS@@ a=b \n{}{MARKER}\n", "#".repeat(77));
        for template in [None, Some(&*theirs)] {
            let grub = render(template, "An OS", "rw coreos.liveiso=v").unwrap();
            let isolinux = render_isolinux(&grub, "EFI/redhat/grub.cfg", "An OS").unwrap();
            let line = format!(
                "\tappend initrd=/images/pxeboot/initrd.img,/images/ignition.img {}\n#",
                grub.default
            );
            assert!(isolinux.text.contains(&line), "{}", isolinux.text);
            let reader = "\n# /EFI/redhat/grub.cfg under BIOS";
            assert!(isolinux.text.contains(reader), "{}", isolinux.text);
            assert!(!isolinux.text.contains("@@"), "{}", isolinux.text);
            kargs_json(&[("a".into(), grub), ("b".into(), isolinux)]).unwrap();
        }

        // Where installers can't change one, they can't change the other.
        let fixed = render(Some("linux /k @@KERNEL-ARGS@@\n"), "", "rw").unwrap();
        let isolinux = render_isolinux(&fixed, "boot/grub/grub.cfg", "").unwrap();
        assert_eq!(isolinux.area, None);
    }

    #[test]
    fn menus_lie_where_they_are_edited() {
        for (vendor, expected) in [
            ("redhat", "EFI/redhat"),
            ("fedora", "EFI/fedora"),
            ("centos", "EFI/centos"),
            ("debian", "boot/grub"),
        ] {
            assert_eq!(directory(vendor), expected);
        }
    }

    #[test]
    fn templates_that_break_the_contract_are_refused() {
        for (template, complaint) in [
            ("linux x\n", "no @@KERNEL-ARGS@@"),
            ("@@KERNEL-ARGS@@\n@@KERNEL-ARGS@@\n", "more than one"),
            (
                "@@KERNEL-ARGS@@\n##x## COREOS_KARG_EMBED_AREA\n",
                "something else",
            ),
        ] {
            let error = render(Some(template), "", "rw").unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let long = "k".repeat(1100);
        let template = format!("@@KERNEL-ARGS@@\n{}{MARKER}\n", "#".repeat(1024));
        assert!(render(Some(&template), "", &long).is_err());
    }

    #[test]
    fn areas_must_agree() {
        let menu = |path: &str, size, default: &str| {
            let area = Some(KargArea {
                offset: 1,
                size,
                end: "\n",
                pad: "#",
            });
            let (text, default) = (String::new(), default.to_owned());
            (
                path.to_owned(),
                Menu {
                    text,
                    default,
                    area,
                },
            )
        };
        let json = kargs_json(&[menu("b", 9, "rw"), menu("a", 9, "rw")])
            .unwrap()
            .unwrap();
        assert!(json.find("\"path\": \"a\"").unwrap() < json.find("\"path\": \"b\"").unwrap());
        assert!(kargs_json(&[menu("b", 9, "rw"), menu("a", 8, "rw")]).is_err());
        assert!(kargs_json(&[menu("b", 9, "rw"), menu("a", 9, "ro")]).is_err());
        assert!(kargs_json(&[]).unwrap().is_none());
    }
}
