//! How a system's initramfs sets up the root, as far as disks depend on it.
//!
//! Truth: libostree `otcore-prepare-root.c`.

use anyhow::{Context, Result, bail};

use super::CONFIG_MAX_BYTES;
use crate::failure::Failure;
use crate::kernel::Files;
use crate::tree::{Node, Tree};

/// Where the initramfs is told how to set up the root. Of two the first counts, as a whole: it is
/// `/etc` in the initramfs and read last.
const CONFIGURATIONS: [&str; 2] = [
    "usr/etc/ostree/prepare-root.conf",
    "usr/lib/ostree/prepare-root.conf",
];

/// Whether the system in `tree` wants its root from a composefs image, if only where there is one. The
/// initramfs goes by its own copy of the file, which was the same when it was made.
pub fn wants_composefs(tree: &Tree) -> Result<bool> {
    let found = CONFIGURATIONS
        .iter()
        .find_map(|path| Some((path, tree.lookup(path)?)));
    let Some((path, id)) = found else {
        return Ok(false);
    };
    let Node::File(content) = &tree.inode(id).node else {
        bail!("{path} is not a regular file");
    };
    let bytes = content
        .to_vec(CONFIG_MAX_BYTES)
        .with_context(|| format!("reading {path}"))?;
    let text = std::str::from_utf8(&bytes)
        .with_context(|| format!("reading {path}, which is not UTF-8"))?;
    match enabled(text) {
        None | Some("no" | "false" | "0") => Ok(false),
        Some("maybe" | "yes" | "true" | "1") => Ok(true),
        Some(value @ ("signed" | "verity")) => Err(Failure::new(
            format!(
                "{path} says composefs enabled={value}, which needs fs-verity, and the root's file \
                 system, XFS, does not have it"
            ),
            format!(
                "write `enabled = yes` in {path} and make the initramfs anew in the same layer"
            ),
        )
        .into()),
        Some(value) => bail!(
            "{path} says composefs enabled={value:?}, which is none of yes, maybe, no, signed and \
             verity"
        ),
    }
}

/// Whether an initramfs with these files mounts a composefs image, if there is one.
pub fn mounts_composefs(initramfs: &dyn Files) -> Result<bool> {
    for path in ["etc/ostree/prepare-root.conf", CONFIGURATIONS[1]] {
        if let Some(bytes) = initramfs.read(path)? {
            let text = String::from_utf8_lossy(&bytes);
            return Ok(!matches!(enabled(&text), None | Some("no" | "false" | "0")));
        }
    }
    Ok(false)
}

/// The last value of `enabled` in the groups called `composefs`, as GLib reads key files.
fn enabled(text: &str) -> Option<&str> {
    let mut group = "";
    let mut found = None;
    for line in text.lines().map(str::trim) {
        let name = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
        if let Some(name) = name {
            group = name;
        } else if let Some((key, value)) = line.split_once('=')
            && (group, key.trim()) == ("composefs", "enabled")
        {
            found = Some(value.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta};

    fn wanted_by(files: &[(&str, &str)]) -> anyhow::Result<bool> {
        let mut tree = Tree::new(Meta::root(0o755));
        for (above, text) in files {
            let directory = tree.make_directories(above, &Meta::root(0o755));
            let meta = Meta::root(0o644);
            let node = Node::File(Content::bytes(text.as_bytes()));
            tree.create(directory, "prepare-root.conf", meta, node);
        }
        wants_composefs(&tree)
    }

    const VENDOR: &str = "usr/lib/ostree";
    const LOCAL: &str = "usr/etc/ostree";

    #[test]
    fn the_configuration_is_read_as_prepare_root_reads_it() {
        for (text, expected) in [
            ("", false),
            ("[composefs]\nenabled=yes\n", true),
            ("[composefs]\nenabled = true", true),
            ("[composefs]\n enabled=1 \n", true),
            (" [composefs] \nenabled=yes\n", true),
            ("[composefs]\nenabled=maybe\n", true),
            ("[composefs]\nenabled=no\n", false),
            ("[composefs]\nenabled=false\n", false),
            ("[composefs]\nenabled=0\n", false),
            ("[composefs]\n# enabled=yes\n", false),
            ("[root]\nenabled=yes\n[etc]\ntransient=true\n", false),
            ("[composefs]\nkeypath=/k\n[root]\nenabled=yes\n", false),
            (
                "[sysroot]\nreadonly=true\n\n[composefs]\r\nenabled=yes\r\n",
                true,
            ),
            ("[composefs]\nenabled=no\nenabled=yes\n", true),
        ] {
            assert_eq!(wanted_by(&[(VENDOR, text)]).unwrap(), expected, "{text:?}");
        }
        assert!(!wanted_by(&[]).unwrap());
        let (yes, no) = ("[composefs]\nenabled=yes\n", "[composefs]\nenabled=no\n");
        assert!(!wanted_by(&[(VENDOR, yes), (LOCAL, no)]).unwrap());
        assert!(wanted_by(&[(VENDOR, no), (LOCAL, yes)]).unwrap());
        // The second file replaces the first, also where it says nothing.
        assert!(!wanted_by(&[(VENDOR, yes), (LOCAL, "")]).unwrap());
    }

    #[test]
    fn verity_and_nonsense_are_refused() {
        for value in ["signed", "verity"] {
            let text = format!("[composefs]\nenabled={value}\n");
            let error = wanted_by(&[(VENDOR, &text)]).unwrap_err();
            assert!(error.to_string().contains(value), "{error}");
            let failure = error.downcast_ref::<crate::failure::Failure>().unwrap();
            assert!(failure.hint().contains("enabled = yes"));
        }
        for value in ["Yes", "on", "none", "", "yes please"] {
            let text = format!("[composefs]\nenabled={value}\n");
            let error = wanted_by(&[(VENDOR, &text)]).unwrap_err();
            assert!(error.to_string().contains("none of yes"), "{error}");
        }
    }
}
