//! What `bake.json` says of a bake directory, as far as machines that boot from it need it.

use anyhow::{Result, bail};
use serde::Deserialize;

/// The part of a bake's record that boots need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What is booted, in words that boot scripts leave as they are.
    pub title: String,
    /// Kernel arguments of the live system.
    pub live_kargs: Vec<String>,
    /// The files that were baked.
    pub files: Vec<RecordedFile>,
}

/// One file that was baked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RecordedFile {
    /// Its name in the directory.
    pub name: String,
    /// What it is, such as `iso` or `kernel`.
    pub role: String,
    /// Length in bytes.
    pub size: u64,
    /// Of its content, in hex.
    pub sha256: String,
}

#[derive(Deserialize)]
struct Record {
    schema: String,
    os: Os,
    options: Options,
    files: Vec<RecordedFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Os {
    name: String,
    version: String,
    #[serde(default)]
    pretty_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    #[serde(default)]
    live_kargs: String,
}

impl Recorded {
    /// Reads the text of a `bake.json`.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let record: Record = serde_json::from_slice(text)?;
        if record.schema != "coreos-bake/bake/v1" {
            bail!(
                "it has schema {:?}, which this version doesn't know",
                record.schema
            );
        }
        let os = record.os;
        let title = os
            .pretty_name
            .unwrap_or_else(|| format!("{} {}", os.name, os.version));
        Ok(Self {
            title: one_line(&title),
            live_kargs: record
                .options
                .live_kargs
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            files: record.files,
        })
    }

    /// The first file that is a `role`.
    pub fn file(&self, role: &str) -> Option<&RecordedFile> {
        self.files.iter().find(|file| file.role == role)
    }
}

/// Text for one line of a script or page.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '$' | '|' | '&' | ';' | '#' => ' ',
            _ if letter.is_control() => ' ',
            _ => letter,
        })
        .take(120)
        .collect()
}
