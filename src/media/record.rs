//! What a bake leaves beside the media: the record of what was made.

use super::bake::Bake;
use super::proof::Proven;
use crate::record::{self, Artifact, DriverAtStage, Record, Unknown};

impl Bake<'_> {
    /// The record of this bake.
    pub(super) fn record(
        &self,
        files: Vec<Artifact>,
        proven: &Proven,
        openshift_clients: Option<bool>,
    ) -> serde_json::Result<Record> {
        let (plan, source, request) = (self.plan, self.source, self.request);
        let (image, facts, imported) = (&source.image, &source.facts, &source.imported);
        let unknown = Unknown::new;
        let layers = image.layers.iter().map(|layer| record::Layer {
            digest: layer.digest.to_string(),
            diff_id: layer.diff_id.to_string(),
            size: layer.size_bytes,
            unknown: unknown(),
        });
        let drivers = proven.drivers.iter().map(DriverAtStage::of);
        let mounts = proven.mounts.iter().map(DriverAtStage::of);
        Ok(Record {
            schema: record::SCHEMA.to_owned(),
            tool: record::Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                unknown: unknown(),
            },
            image: record::Image {
                reference: image.reference.to_string(),
                manifest_digest: image.manifest_digest.to_string(),
                architecture: image.architecture.clone(),
                layers: layers.collect(),
                unknown: unknown(),
            },
            os: record::Os {
                name: facts.osname.clone(),
                version: facts.version.clone(),
                pretty_name: facts.pretty_name.clone(),
                kernel: facts.kernel.release.clone(),
                openshift_clients,
                unknown: unknown(),
            },
            ostree: record::Ostree {
                base_commit: imported.base_commit.map(|commit| commit.to_string()),
                merge_commit: imported.merge_commit.to_string(),
                content_checksum: imported.content_checksum.to_string(),
                unknown: unknown(),
            },
            drivers: drivers.collect::<Result<_, _>>()?,
            mounts: mounts.collect::<Result<_, _>>()?,
            stages: proven.stages.clone(),
            options: record::Options {
                block_size: plan.block_size,
                compress: request.archive.name().to_owned(),
                compression: plan.compressor.to_string(),
                customized: !request.customization.is_empty(),
                disk_size: request.disk_bytes,
                formats: plan.formats.iter().map(|f| f.name().to_owned()).collect(),
                ignition_area: request.ignition_area_bytes,
                live_kargs: plan.live_kargs.clone(),
                nodes_only: request.nodes_only,
                origin: plan.origin.clone(),
                rootfs_url: request.rootfs_url.clone(),
                unknown: unknown(),
            },
            files,
            unknown: unknown(),
        })
    }
}
