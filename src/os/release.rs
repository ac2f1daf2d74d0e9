//! os-release(5): what a system calls itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::CONFIG_MAX_BYTES;
use crate::kernel::Files;

/// Where it is; `/etc` of a system that is in an image still is at the third.
const PATHS: [&str; 3] = ["usr/lib/os-release", "etc/os-release", "usr/etc/os-release"];

/// Systems that OpenShift's installer boots, by the `ID` of their os-release.
const OPENSHIFT_IDS: [&str; 2] = ["rhcos", "scos"];

/// The fields of an os-release.
#[derive(Debug)]
pub struct OsRelease(BTreeMap<String, String>);

impl OsRelease {
    /// Reads that of the system in `root`; None if it has none.
    pub fn of(root: &dyn Files) -> Result<Option<Self>> {
        for path in PATHS {
            if let Some(content) = root.content(path)? {
                let text = content.to_vec(CONFIG_MAX_BYTES);
                let text = text.with_context(|| format!("reading {path}"))?;
                return Ok(Some(Self::parse(&String::from_utf8_lossy(&text))));
            }
        }
        Ok(None)
    }

    fn parse(text: &str) -> Self {
        let fields = text
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .filter(|(key, _)| !key.starts_with('#'));
        Self(
            fields
                .map(|(key, value)| (key.to_owned(), unquote(value)))
                .collect(),
        )
    }

    /// A field that says something.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether it is a system of OpenShift's.
    pub fn is_openshift(&self) -> bool {
        let id = self.field("ID").unwrap_or_default();
        OPENSHIFT_IDS.iter().any(|known| id.starts_with(known))
            || self.field("OPENSHIFT_VERSION").is_some()
            || (id == "rhel" && self.field("VARIANT_ID") == Some("coreos"))
    }

    /// What CoreOS's builds call the system in names of files, where no label says it.
    pub(super) fn osname(&self) -> Result<String> {
        let id = self.0.get("ID").context(
            "the image's os-release has no ID, and the image no label com.coreos.osname",
        )?;
        Ok(match self.field("VARIANT_ID") {
            // RHCOS says ID=rhcos from 4.x on; RHEL-based builds say ID=rhel, VARIANT_ID=coreos.
            Some("coreos") if id == "rhel" => "rhcos".to_owned(),
            Some(variant) => format!("{id}-{variant}"),
            None => id.clone(),
        })
    }
}

/// Undoes shell quoting as far as os-release(5) allows it.
fn unquote(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return if quote == '"' {
                unescape(inner)
            } else {
                inner.to_owned()
            };
        }
    }
    value.to_owned()
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => chars.next().unwrap_or('\\'),
            other => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted() {
        for (raw, value) in [
            ("plain", "plain"),
            ("\"two words\"", "two words"),
            ("'single \\n'", "single \\n"),
            (r#""a \"quote\"""#, "a \"quote\""),
            ("", ""),
        ] {
            assert_eq!(unquote(raw), value, "{raw}");
        }
    }

    #[test]
    fn names_follow_upstream() {
        for (text, name) in [
            ("ID=fedora\nVARIANT_ID=coreos\n", Some("fedora-coreos")),
            ("ID=rhel\nVARIANT_ID='coreos'\n", Some("rhcos")),
            ("ID=rhcos\n", Some("rhcos")),
            ("#ID=rhcos\n", None),
        ] {
            let found = OsRelease::parse(text).osname().ok();
            assert_eq!(found.as_deref(), name, "{text}");
        }
    }

    #[test]
    fn openshift_has_systems_of_its_own() {
        for (text, expected) in [
            ("ID=fedora\nVARIANT_ID=coreos\n", false),
            ("ID=\"rhcos\"\n", true),
            ("ID=rhel\nVARIANT_ID=\"coreos\"\n", true),
            ("ID=rhel\nOPENSHIFT_VERSION='4.18'\n", true),
            ("ID=rhel\nOPENSHIFT_VERSION=\"\"\n", false),
        ] {
            assert_eq!(OsRelease::parse(text).is_openshift(), expected, "{text}");
        }
    }
}
