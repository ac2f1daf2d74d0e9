//! What is said of a driver that was looked for.

use std::fmt;

use serde::Serialize;

/// What was found of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as drivers times stages: a handful"
)]
pub enum Finding {
    /// The kernel would take it, and nothing keeps it from being loaded.
    Present(Present),
    /// It would not be loaded.
    Missing(Missing),
}

/// A driver that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Present {
    /// The driver's own module.
    #[serde(flatten)]
    pub module: Module,
    /// Everything it depends on, directly or not, in the order of loading.
    pub dependencies: Vec<Module>,
    /// What is loaded with it where it is there.
    pub soft_dependencies: SoftDependencies,
    /// What loads it, each in a few words; empty if nothing does, and if it is part of the kernel.
    pub loaded_by: Vec<String>,
    /// What else was seen, each in a sentence.
    pub notes: Vec<String>,
    /// What may keep the machine from booting all the same, each in a sentence.
    pub warnings: Vec<String>,
}

/// Modules that are loaded together with a driver, but do not keep it from working if they are not
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SoftDependencies {
    /// Names of modules or aliases that are there and loaded before it.
    pub before: Vec<String>,
    /// Names of modules or aliases that are there and loaded after it.
    pub after: Vec<String>,
    /// Names for which there is neither a module nor an alias.
    pub absent: Vec<String>,
}

/// A driver that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Missing {
    /// Why not, in a sentence.
    pub why: String,
}

/// One module, with the evidence for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Whether it is part of the kernel. Then there is nothing else to say about it.
    pub built_in: bool,
    /// Path of its file in the stage's file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size of the file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of the file, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Which kernel it was built for, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vermagic: Option<String>,
    /// Whether a signature is appended to it; whether it holds is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// Who signed it: the common name of the certificate's issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The certificate: its serial number, or its key's identifier, as modinfo shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The digest that was signed (`sha256`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

impl Present {
    /// One that is part of the kernel.
    pub(super) fn built_in(name: &str) -> Self {
        Self {
            module: Module {
                name: name.to_owned(),
                built_in: true,
                ..Module::default()
            },
            dependencies: Vec::new(),
            soft_dependencies: SoftDependencies::default(),
            loaded_by: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Finding {
    /// Whether the driver is there.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Present(_))
    }

    /// Why it is not; empty if it is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Present(_) => "",
            Self::Missing(missing) => &missing.why,
        }
    }

    /// What may keep the machine from booting although the driver is there.
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Present(present) => &present.warnings,
            Self::Missing(_) => &[],
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = match self {
            Self::Missing(missing) => return f.write_str(&missing.why),
            Self::Present(present) => present,
        };
        f.write_str(match &present.module.path {
            Some(path) => path,
            None => "built into the kernel",
        })?;
        let dependencies = present.dependencies.iter().map(|m| m.name.as_str());
        list(f, ", after ", dependencies)?;
        list(f, "; loaded by ", present.loaded_by.iter())?;
        for note in &present.notes {
            write!(f, "; {note}")?;
        }
        for warning in &present.warnings {
            write!(f, "; warning: {warning}")?;
        }
        Ok(())
    }
}

/// Some words, each item with a comma behind the one before.
fn list(
    f: &mut fmt::Formatter<'_>,
    before: &str,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    let separators = std::iter::once(before).chain(std::iter::repeat(", "));
    for (item, separator) in items.zip(separators) {
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}
