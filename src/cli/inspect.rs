//! `coreos-bake inspect`: what an image or a medium is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Outcome;
use super::completion::Images;
use super::image_args::ImageArgs;
use super::sheet::sheet;
use super::terminal::Terminal;
use crate::foreign::visible;
use crate::format::iso9660;
use crate::image;
use crate::kernel;
use crate::os::{Opened, Source};
use crate::paragraph::hanging;
use crate::progress::Progress;
use crate::readback::{Beside, Found, Installed, LiveRoot, Medium, Place, System, unmatched};
use crate::staging::Room;

/// Tell what an image or a medium is
///
/// IMAGE is an image as for bake, or a medium: an ISO, a raw or qcow2 disk
/// image, or a directory of media. What bake.json says of it, such as the
/// drivers that were proven, is told if the medium is byte for byte the one
/// that was baked.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Image or medium to look into
    #[arg(value_name = "IMAGE|MEDIUM", add = ArgValueCompleter::new(Images::SUBJECT))]
    subject: String,
    /// Root file system that a minimal ISO fetches
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,
    #[command(flatten)]
    access: ImageArgs,
}

impl InspectArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let path = Path::new(&self.subject);
        if let Some(error) = image::without_prefix(&self.subject) {
            return Err(error.into());
        }
        if Medium::is_medium(path) {
            let place = Place::open(path, self.rootfs.as_deref())?;
            return tell_of_media(path, &place, terminal);
        }
        if let Some(mistake) = unmatched(&self.subject) {
            return Err(mistake.into());
        }
        ensure!(
            self.rootfs.is_none(),
            "{} is not a minimal ISO, which --rootfs is for",
            self.subject
        );
        let reference = self
            .subject
            .parse()
            .with_context(|| format!("{} is neither a medium nor an image", self.subject))?;
        let scratch = std::env::temp_dir();
        let options = self.access.read_options(&scratch, None);
        let room = Room::of(&scratch);
        let opened = Opened::new(&reference, &options, &scratch)?;
        let needed = opened.read_bytes();
        let source = opened.read(&options, terminal);
        let facts = image_facts(&source.map_err(|error| room.explain(error, needed))?);
        terminal.result(&facts, &sheet(&facts, terminal.columns()))?;
        Ok(Outcome::Done)
    }
}

/// The facts of one medium, or those of all media of a directory.
fn tell_of_media(path: &Path, place: &Place, terminal: &Terminal) -> Result<Outcome> {
    let mut notes = place.notes.clone();
    let mut all = Vec::new();
    for opened in &place.media {
        let facts = medium_facts(opened, &mut notes, terminal);
        all.push(facts.with_context(|| format!("looking into {}", opened.name()))?);
    }
    let columns = terminal.columns();
    let mut text = String::new();
    for facts in &all {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &sheet(facts, columns);
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    text.extend(
        notes
            .iter()
            .map(|note| hanging("note: ", &visible(note), columns)),
    );
    let value = match <[Value; 1]>::try_from(all) {
        Ok([mut one]) => {
            one["notes"] = json!(notes);
            one
        }
        Err(all) => json!({
            "schema": "coreos-bake/inspect-media/v1",
            "path": path.display().to_string(),
            "media": all,
            "notes": notes,
        }),
    };
    terminal.result(&value, &text)?;
    Ok(Outcome::Done)
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

fn medium_facts(opened: &Found, notes: &mut Vec<String>, terminal: &Terminal) -> Result<Value> {
    let mut facts = json!({
        "schema": "coreos-bake/inspect-medium/v1",
        "path": opened.path().display().to_string(),
        "kind": opened.kind(),
        "kernel-arguments": opened.arguments()?,
        "ignition": opened.ignition()?,
    });
    match opened {
        Found::Whole(medium) => whole_facts(medium, &mut facts)?,
        Found::Rootless(rootless) => {
            let initramfs = rootless.read_initramfs()?;
            facts["kernel"] = json!(rootless.release(&initramfs)?);
            notes.push(format!(
                "the root file system that {} fetches was not looked into: give it with --rootfs FILE",
                opened.path().display()
            ));
            iso_facts(&rootless.iso, &mut facts)?;
        }
    }
    terminal.begin("comparing with bake.json", 0);
    let beside = opened.record_beside();
    terminal.end();
    match beside? {
        Beside::Nothing => {}
        Beside::Other(note) => notes.push(note),
        Beside::Of(path, record) => {
            facts["bake"] = json!({
                "record": path.display().to_string(),
                "tool-version": record.tool.version,
                "image": record.image.reference,
                "manifest-digest": record.image.manifest_digest,
                "nodes-only": record.options.nodes_only,
            });
            facts["drivers"] = json!(record.drivers);
        }
    }
    Ok(facts)
}

fn whole_facts(medium: &Medium, facts: &mut Value) -> Result<()> {
    facts["kernel"] = json!(kernel::release_in(medium.root())?);
    facts["image"] = json!(medium.made_of()?);
    // The name by which installed nodes look for updates.
    facts["origin"] = json!(medium.origin()?.map(|origin| origin.to_string()));
    match &medium.system {
        System::Live(live) => {
            facts["installed-kernel-arguments"] = json!(medium.installed_arguments()?);
            facts["deployment"] = json!(live.root.deployment);
            facts["root"] = root_facts(&live.root)?;
            if let Some(rootfs) = &live.fetched {
                facts["rootfs"] = json!(rootfs.display().to_string());
            }
            if let Some(iso) = &live.iso {
                iso_facts(iso, facts)?;
            }
        }
        System::Installed(installed) => disk_facts(installed, facts),
    }
    Ok(())
}

/// Longest document for installers on an ISO; real ones have some hundred bytes.
const ISO_DOCUMENT_MAX_BYTES: u64 = 1 << 20;

fn iso_facts(iso: &iso9660::Reader, facts: &mut Value) -> Result<()> {
    facts["iso"] = iso.facts();
    for name in ["features", "igninfo", "kargs"] {
        if let Some(content) = iso.file(&format!("coreos/{name}.json"))? {
            let bytes = content.to_vec(ISO_DOCUMENT_MAX_BYTES)?;
            facts[name] = serde_json::from_slice(&bytes)
                .with_context(|| format!("parsing coreos/{name}.json"))?;
        }
    }
    Ok(())
}

fn disk_facts(installed: &Installed, facts: &mut Value) {
    let table = &installed.table;
    let sector = table.sector_size.bytes();
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
                // Reading the table has made sure that they are on the disk.
                "size": (partition.last_lba - partition.first_lba + 1) * sector,
                "type": partition.type_guid.to_string(),
            })
        })
        .collect();
    let (boot, root) = (installed.boot.facts(), installed.root.tree.facts());
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
    let facts = root.reader().facts();
    let mut names = 0u64;
    root.reader().walk(|_, _| {
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
