//! The ISO's boot menu, and the area in it where installers change kernel arguments in place.
//!
//! An image's own templates come first (`usr/share/coreos-assembler/live`); the ones in
//! `iso-templates/` stand in. An embed area is a run of `#` after the line with the arguments:
//!
//! ```text
//! linux /images/pxeboot/vmlinuz rw coreos.liveiso=… ignition.firstboot …\n
//! #################### … 1024 of them … # COREOS_KARG_EMBED_AREA
//! ^ offset is at "rw"; the area ends before the last '#'
//! ```
//!
//! Reader: coreos-installer `src/live/embed.rs`.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::failure::Failure;

const PLACEHOLDER: &str = "@@KERNEL-ARGS@@";
const MARKER: &str = " COREOS_KARG_EMBED_AREA";
const OWN_TEMPLATE: &str = include_str!("../../iso-templates/grub.cfg");
const OWN_STUB: &str = include_str!("../../iso-templates/efi-stub.cfg");

/// coreos-installer refuses areas longer than this.
const AREA_MAX: usize = 2048;

/// A menu with its arguments filled in.
#[derive(Debug, PartialEq)]
pub(super) struct Menu {
    /// The configuration's text.
    pub text: String,
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
    /// The arguments as baked.
    pub default: String,
    /// What ends them.
    pub end: &'static str,
    /// What the rest of the area is filled with.
    pub pad: &'static str,
}

/// Fills `kargs` into the image's template, or into ours.
pub(super) fn render(template: Option<&str>, title: &str, kargs: &str) -> Result<Menu> {
    let own;
    let template = match template {
        Some(template) => template,
        None => {
            own = OWN_TEMPLATE
                .replace("@@TITLE@@", &title.replace(['"', '$', '\\', '`'], ""))
                .replace("@@KARG-AREA@@", &format!("{}{MARKER}", "#".repeat(1024)));
            &own
        }
    };
    let Some(offset) = template.find(PLACEHOLDER) else {
        bail!("the boot menu template has no {PLACEHOLDER}, so it can't find its live root");
    };
    let text = template.replacen(PLACEHOLDER, kargs, 1);
    if text.contains(PLACEHOLDER) {
        bail!("the boot menu template has more than one {PLACEHOLDER}");
    }
    let rest = &text[offset..];
    let default = rest
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned();
    let area = match rest.find(MARKER) {
        None => None,
        Some(marker) => Some(area(rest, marker, offset, default)?),
    };
    Ok(Menu { text, area })
}

fn area(rest: &str, marker: usize, offset: usize, default: String) -> Result<KargArea> {
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
        default,
        end: "\n",
        pad: "#",
    })
}

/// `coreos/kargs.json`: where installers may change arguments. `None` if no file has an area.
pub(super) fn kargs_json(areas: &[(String, KargArea)]) -> Result<Option<String>> {
    let Some((_, first)) = areas.first() else {
        return Ok(None);
    };
    if areas
        .iter()
        .any(|(_, area)| area.size != first.size || area.default != first.default)
    {
        bail!(
            "the boot menus differ in their kernel arguments, and installers could not change both"
        );
    }
    let mut areas = areas.to_vec();
    areas.sort_by(|a, b| a.0.cmp(&b.0));
    let files: Vec<Value> = areas
        .iter()
        .map(|(path, area)| json!({"end": area.end, "offset": area.offset, "pad": area.pad, "path": path}))
        .collect();
    let json = json!({"default": first.default, "files": files, "size": first.size});
    Ok(Some(serde_json::to_string_pretty(&json)? + "\n"))
}

/// `EFI/BOOT/grub.cfg` in the ESP image: goes on to the menu on the ISO.
pub(super) fn efi_stub(volume_id: &str, vendor: &str) -> String {
    OWN_STUB
        .replace("@@VOLUME-ID@@", volume_id)
        .replace("@@VENDOR@@", vendor)
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
        assert_eq!(area.default, "rw coreos.liveiso=v a=b");
        // The figures that a published ISO shows: line with newline, plus 1023.
        assert_eq!(area.size, area.default.len() + 1 + 1023);
        assert_eq!(&menu.text[area.offset + area.size..][..2], "# ");
    }

    #[test]
    fn own_template_has_one_area_and_a_harmless_title() {
        let menu = render(None, "A \"$(quoted)\" OS", "rw").unwrap();
        assert!(menu.area.is_some());
        assert!(menu.text.contains("\"A (quoted) OS (live)\""));
        assert!(!menu.text.contains("@@"));
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
        let area = |size| KargArea {
            offset: 1,
            size,
            default: "rw".into(),
            end: "\n",
            pad: "#",
        };
        let json = kargs_json(&[("b".into(), area(9)), ("a".into(), area(9))])
            .unwrap()
            .unwrap();
        assert!(json.find("\"path\": \"a\"").unwrap() < json.find("\"path\": \"b\"").unwrap());
        assert!(kargs_json(&[("b".into(), area(9)), ("a".into(), area(8))]).is_err());
        assert!(kargs_json(&[]).unwrap().is_none());
    }
}
