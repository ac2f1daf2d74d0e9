//! `coreos-bake inspect`: what an image or a medium is.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use clap_complete::ArgValueCompleter;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Outcome;
use super::completion::Images;
use super::image_args::ImageArgs;
use super::terminal::Terminal;
use crate::format::iso9660;
use crate::kernel;
use crate::media::{Installed, LiveRoot, Medium, Source, System};

/// Tell what an image or a medium is
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory with a PXE set.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Image or medium to look into
    #[arg(value_name = "IMAGE|MEDIUM", add = ArgValueCompleter::new(Images::SUBJECT))]
    subject: String,
    #[command(flatten)]
    access: ImageArgs,
}

impl InspectArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let path = Path::new(&self.subject);
        let facts = if Medium::is_medium(path) {
            medium_facts(&Medium::open(path)?)?
        } else {
            let reference = self
                .subject
                .parse()
                .with_context(|| format!("{} is neither a medium nor an image", self.subject))?;
            let scratch = std::env::temp_dir();
            let options = self.access.read_options(&scratch, None);
            image_facts(&Source::read(&reference, &options, &scratch, terminal)?)
        };
        let mut text = String::new();
        render(&facts, "", &mut text);
        terminal.result(&facts, &text)?;
        Ok(Outcome::Done)
    }
}

fn image_facts(source: &Source) -> Value {
    let (image, facts, imported) = (&source.image, &source.facts, &source.imported);
    json!({
        "schema": "coreos-bake/inspect-image/v1",
        "image": image.reference.to_string(),
        "manifest-digest": image.manifest_digest.as_str(),
        "architecture": image.architecture,
        "os": facts.osname,
        "version": facts.version,
        "name": facts.pretty_name,
        "kernel": facts.kernel.release,
        "initramfs-bytes": facts.kernel.initramfs.len(),
        "efi-vendor": facts.efi_vendor,
        "selinux-policy": source.policy.is_some(),
        "libostree": imported.libostree.to_string(),
        "ostree-base-commit": imported.base_commit.map(|c| c.to_string()),
        "ostree-content-checksum": imported.content_checksum.to_string(),
        "content-bytes": source.content_bytes,
        "layers": image.layers.iter().map(|layer| json!({
            "digest": layer.digest.as_str(),
            "size": layer.size_bytes,
        })).collect::<Vec<_>>(),
        "labels": facts.labels,
    })
}

fn medium_facts(medium: &Medium) -> Result<Value> {
    let mut facts = json!({
        "schema": "coreos-bake/inspect-medium/v1",
        "path": medium.path.display().to_string(),
        "kernel": kernel::release_in(medium.root())?,
    });
    match &medium.system {
        System::Live(live) => {
            let (iso, root) = (&live.iso, &live.root);
            facts["kind"] = json!(if iso.is_some() { "iso" } else { "pxe" });
            facts["deployment"] = json!(root.deployment);
            facts["root"] = root_facts(root)?;
            if let Some(iso) = iso {
                iso_facts(iso, &mut facts)?;
            }
        }
        System::Installed(installed) => disk_facts(installed, &mut facts),
    }
    Ok(facts)
}

fn iso_facts(iso: &iso9660::Reader, facts: &mut Value) -> Result<()> {
    facts["iso"] = iso.facts();
    for name in ["features", "igninfo", "kargs"] {
        if let Some(content) = iso.file(&format!("coreos/{name}.json"))? {
            let bytes = content.to_vec(1 << 20)?;
            facts[name] = serde_json::from_slice(&bytes)
                .with_context(|| format!("parsing coreos/{name}.json"))?;
        }
    }
    Ok(())
}

fn disk_facts(installed: &Installed, facts: &mut Value) {
    let table = &installed.table;
    let sector = table.sector_size.bytes();
    facts["kind"] = json!("disk");
    facts["disk-bytes"] = json!(table.disk_bytes);
    facts["sector-bytes"] = json!(sector);
    facts["disk-guid"] = json!(table.disk_guid.to_string());
    facts["deployment"] = json!(installed.deployment);
    facts["entry"] = json!(installed.entry);
    facts["partitions"] = table
        .partitions
        .iter()
        .map(|partition| {
            json!({
                "number": partition.number,
                "name": partition.name,
                "first-sector": partition.first_lba,
                "size": (partition.last_lba + 1).saturating_sub(partition.first_lba) * sector,
                "type": partition.type_guid.to_string(),
            })
        })
        .collect();
    let (boot, root) = (installed.boot.facts(), installed.root.facts());
    facts["boot"] = json!({
        "label": String::from_utf8_lossy(&boot.label),
        "uuid": Uuid::from_bytes(boot.uuid).to_string(),
        "block-size": boot.block_size,
        "free-bytes": boot.free_bytes,
    });
    facts["root"] = json!({
        "label": String::from_utf8_lossy(&root.label),
        "uuid": Uuid::from_bytes(root.uuid).to_string(),
        "sector-size": root.sector_size,
        "allocation-groups": root.groups,
        "free-bytes": root.free_bytes,
    });
}

fn root_facts(root: &LiveRoot) -> Result<Value> {
    let facts = root.reader.facts();
    let mut names = 0u64;
    root.reader.walk(|_, _| {
        names += 1;
        Ok(())
    })?;
    Ok(json!({
        "compressor": facts.compressor.to_string(),
        "block-size": facts.block_size,
        "inodes": facts.inodes,
        "names": names,
        "fragments": facts.fragments,
        "image-bytes": facts.bytes_used,
        "extended-attributes": facts.has_xattrs,
    }))
}

/// Key and value a line, nested ones indented; byte counts are shown for people.
fn render(value: &Value, indent: &str, text: &mut String) {
    let Value::Object(fields) = value else {
        return;
    };
    let wide = fields.keys().map(String::len).max().unwrap_or(0);
    for (key, value) in fields.iter().filter(|(key, _)| *key != "schema") {
        let deeper = format!("{indent}  ");
        match value {
            Value::Object(_) => {
                text.push_str(&format!("{indent}{key}\n"));
                render(value, &deeper, text);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{indent}{key} ({})\n", items.len()));
                for item in items {
                    text.push_str(&format!("{deeper}{}\n", one_line(item)));
                }
            }
            Value::Number(number) if key.ends_with("bytes") => {
                let bytes = number.as_u64().unwrap_or(0);
                text.push_str(&format!("{indent}{key:wide$}  {}\n", HumanBytes(bytes)));
            }
            other => text.push_str(&format!("{indent}{key:wide$}  {}\n", plain(other))),
        }
    }
}

fn one_line(item: &Value) -> String {
    match item {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value.as_u64() {
                Some(bytes) if key == "size" => HumanBytes(bytes).to_string(),
                _ => plain(value),
            })
            .collect::<Vec<_>>()
            .join("  "),
        other => plain(other),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('\n', "\\n"),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
