//! Images in OCI layout directories, and our import of them.

use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use bake_format::progress::Silent;
use bake_tree::{Store, Tree};
use coreos_bake::testing::ostree::{
    self, Checksum, FileType, Imported, Importer, Labels, LayerFacts, LibostreeVersion, Limits,
    Options, Source,
};
use coreos_bake::testing::selinux::{FileKind, Policy};
use serde_json::{Value, json};

use super::support::run;

/// An OCI layout directory with one image.
pub(super) struct Oci {
    directory: PathBuf,
    pub(super) manifest: Value,
    config: Value,
}

impl Oci {
    pub(super) fn open(directory: &Path) -> Self {
        let json =
            |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
        let index = json(directory.join("index.json"));
        let blob = |digest: &Value| blob(directory, digest.as_str().unwrap());
        let manifest = json(blob(&index["manifests"][0]["digest"]));
        let config = json(blob(&manifest["config"]["digest"]));
        Self {
            directory: directory.to_owned(),
            manifest,
            config,
        }
    }

    /// The same image with uncompressed layers on top, in a new directory.
    pub(super) fn with_layers(&self, directory: &Path, layers: &[Vec<u8>]) -> Self {
        run(Command::new("cp")
            .args(["-al"])
            .arg(&self.directory)
            .arg(directory));
        let mut image = Self {
            directory: directory.to_owned(),
            manifest: self.manifest.clone(),
            config: self.config.clone(),
        };
        for layer in layers {
            let digest = image.put(layer);
            let descriptor = json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest,
                "size": layer.len(),
            });
            image.manifest["layers"]
                .as_array_mut()
                .unwrap()
                .push(descriptor);
            image.config["rootfs"]["diff_ids"]
                .as_array_mut()
                .unwrap()
                .push(digest.into());
        }
        // Optional by the specification, demanded by ostree-ext 0.15.
        image.config["history"] = json!([{}]);
        let config = serde_json::to_vec(&image.config).unwrap();
        image.manifest["config"]["size"] = config.len().into();
        image.manifest["config"]["digest"] = image.put(&config).into();
        let manifest = serde_json::to_vec(&image.manifest).unwrap();
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.put(&manifest),
                "size": manifest.len(),
            }],
        });
        let path = directory.join("index.json");
        fs::remove_file(&path).unwrap();
        fs::write(path, serde_json::to_vec(&index).unwrap()).unwrap();
        image
    }

    fn put(&self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", Checksum::of(bytes));
        fs::write(blob(&self.directory, &digest), bytes).unwrap();
        digest
    }

    fn layer(&self, index: usize) -> Result<Box<dyn Read + Send>> {
        let descriptor = &self.manifest["layers"][index];
        let file = fs::File::open(blob(
            &self.directory,
            descriptor["digest"].as_str().unwrap(),
        ))?;
        Ok(match descriptor["mediaType"].as_str().unwrap() {
            "application/vnd.oci.image.layer.v1.tar" => Box::new(file),
            _ => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(
                file,
            ))),
        })
    }

    fn facts(&self) -> Vec<LayerFacts> {
        let layers = self.manifest["layers"].as_array().unwrap().iter();
        let diff_ids = self.config["rootfs"]["diff_ids"].as_array().unwrap().iter();
        layers
            .zip(diff_ids)
            .map(|(layer, diff_id)| LayerFacts {
                digest: layer["digest"].as_str().unwrap().to_owned(),
                diff_id: diff_id.as_str().unwrap().to_owned(),
                size_bytes: 0,
            })
            .collect()
    }

    pub(super) fn reference(&self) -> String {
        format!("ostree-unverified-image:oci:{}", self.directory.display())
    }

    /// Our import, under the rules of the oracle's versions unless told otherwise.
    pub(super) fn import(
        &self,
        importer: Importer,
        libostree: Option<LibostreeVersion>,
    ) -> Result<Imported> {
        let layers = self.facts();
        let manifest = serde_json::to_vec(&self.manifest)?;
        let config = serde_json::to_vec(&self.config)?;
        ostree::import(
            &Source {
                manifest_digest: "sha256:0",
                manifest: &manifest,
                config: &config,
                layers: &layers,
                open: &|index| self.layer(index),
            },
            &Store::create(&std::env::temp_dir(), 8 << 30)?,
            &Options {
                threads: NonZeroUsize::new(2).unwrap(),
                reference: &self.reference().parse()?,
                importer,
                libostree,
                labels: &find_labels,
                limits: Limits::default(),
            },
            &Silent,
        )
    }
}

fn blob(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs").join(digest.replace(':', "/"))
}

struct PolicyLabels(Policy);

impl Labels for PolicyLabels {
    fn label(&self, path: &[u8], file_type: FileType) -> Option<Arc<[u8]>> {
        let kind = match file_type {
            FileType::Directory => FileKind::Directory,
            FileType::Regular => FileKind::Regular,
            FileType::Symlink => FileKind::Symlink,
        };
        self.0.label(path, kind)
    }

    fn check(&self) -> Result<()> {
        Ok(self.0.check()?)
    }
}

fn find_labels(tree: &Tree) -> Result<Option<Box<dyn Labels>>> {
    let policy = Policy::from_tree(tree, "usr/etc")?;
    Ok(policy.map(|policy| Box::new(PolicyLabels(policy)) as Box<dyn Labels>))
}
