//! Container images, read and checked: reference in, documents and layers out.
//!
//! ```text
//! reference -> layout, archive or registry -> index -> manifest -> configuration
//!                                                         \-> layers, as streams of tar
//! ```
//!
//! Everything is checked against its digest: documents before they are looked at, layers while
//! they are read ([`LayerReader`]). Nothing is written but what an export from containers-storage
//! needs; derived images are another matter:
//!
//! ```text
//! image + new layer -> derive: manifest, configuration -> write: layout, archive, registry
//! ```
//!
//! Left out on purpose: signatures (`policy.json`), mirrors (`registries.conf`), encrypted
//! layers, Docker's own archive format and its first manifest schema.
//!
//! Truth: OCI image specification 1.1, OCI distribution specification 1.1, Docker's
//! `manifest-v2-2`, and containers-auth.json(5).

mod arch;
mod archive;
mod blob;
mod choose;
mod derive;
mod digest;
mod error;
mod layer;
mod layout;
mod manifest;
mod media_type;
mod quoted;
mod reference;
mod registry;
mod source;
mod storage;
#[cfg(test)]
mod tests;
mod write;

pub use arch::{goarch, uname};
pub use derive::{Derived, NewLayer};
pub use digest::Digest;
pub use error::{ImageError, hint};
pub use layer::{LAYER_BYTES_MAX, LayerReader};
pub use media_type::Compression;
pub use reference::{ImageRef, ReferenceError, RegistryName, Select, Version, without_prefix};
pub use registry::Patience;
pub use write::{Target, write};

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use oci_spec::image::{Descriptor, ImageManifest};

use archive::Archive;
use blob::Blob;
use choose::Chosen;
use layout::Layout;
use manifest::{CONFIG_BYTES_MAX, Config, Document, MANIFEST_BYTES_MAX};
use quoted::shown;
use registry::Registry;
use source::Source;

/// GOOS name of the systems that images here are of.
const LINUX: &str = "linux";

/// Most layers of an image, each of which is read, also if it is there twice. podman's overlay driver takes as many
/// (containers/storage drivers/overlay/overlay.go@83cf5746, `maxDepth`).
const LAYERS_MAX: usize = 500;

/// How images are reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Architecture to choose, by its GOARCH or `uname -m` name; the only one or the host's if
    /// none is given.
    pub arch: Option<String>,
    /// File with credentials; the places that podman looks at if none is given.
    pub authfile: Option<PathBuf>,
    /// Whether registries must have trusted certificates. If not, plain HTTP is tried as well.
    pub tls_verify: bool,
    /// Directory for what must be on disk for a while.
    pub scratch: PathBuf,
    /// How long to bear with registries.
    pub patience: Patience,
    /// Another way to one registry than its name tells.
    pub detour: Option<Detour>,
}

/// Another way to a registry than its name tells, such as a tunnel.
#[derive(Clone, Debug)]
pub struct Detour {
    /// The registry's host, without a port; its certificate is for it.
    pub host: String,
    /// Where connections go. The port is that of the reference.
    pub address: IpAddr,
    /// Who signs the registry's certificate, in PEM.
    pub certificates: Vec<u8>,
}

impl Access {
    /// What holds when the user asks for nothing special.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self {
            arch: None,
            authfile: None,
            tls_verify: true,
            scratch: scratch.into(),
            patience: Patience::default(),
            detour: None,
        }
    }
}

/// An opened image. Layers may be read from several threads at once.
pub struct Image {
    /// What the user named.
    pub reference: ImageRef,
    /// Digest of [`Image::manifest`].
    pub manifest_digest: Digest,
    /// The index that the manifest was chosen from, if there was one.
    pub index_digest: Option<Digest>,
    /// The manifest, byte by byte as it was stored or served.
    pub manifest: Vec<u8>,
    /// The configuration, byte by byte.
    pub config: Vec<u8>,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// GOARCH name of the architecture, from the configuration.
    pub architecture: String,
    /// When the image was made, in seconds since 1970, if that is known.
    pub created: Option<u64>,
    /// The layers, base first.
    pub layers: Vec<Layer>,
    /// What the user should know.
    pub warnings: Vec<String>,
    source: Source,
}

/// What is known of a layer without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob as it is stored.
    pub digest: Digest,
    /// Digest of the tar stream.
    pub diff_id: Digest,
    /// Length of the blob as it is stored.
    pub size_bytes: u64,
    /// Media type in the manifest.
    pub media_type: String,
    /// What the media type says.
    pub compression: Compression,
    /// Annotations of the layer's descriptor.
    pub annotations: BTreeMap<String, String>,
}

/// Opens an image: reads and checks its documents, but no layer yet.
pub fn open(reference: &ImageRef, access: &Access) -> anyhow::Result<Image> {
    let wanted = access.arch.as_deref();
    let image = reference.to_string();
    let mut warnings = Vec::new();
    let (source, chosen) = match reference {
        ImageRef::Layout { path, select } => {
            let (layout, index) = Layout::open(path)?;
            warnings.extend(layout.warning().cloned());
            let source = Source::Layout(layout);
            let chosen = choose::from_layout(&source, &image, &index, select, wanted)?;
            (source, chosen)
        }
        ImageRef::Archive { path, select } => {
            let (archive, index) = Archive::open(path)?;
            warnings.extend_from_slice(archive.warnings());
            let source = Source::Archive(archive);
            let chosen = choose::from_layout(&source, &image, &index, select, wanted)?;
            (source, chosen)
        }
        ImageRef::Storage(name) => {
            let file = storage::export(name, &access.scratch, std::env::var_os("PATH"))?;
            let (archive, index) = Archive::from_file(file, &image)?;
            warnings.extend_from_slice(archive.warnings());
            let source = Source::Archive(archive);
            let chosen = choose::from_layout(&source, &image, &index, &Select::Only, wanted)?;
            (source, chosen)
        }
        ImageRef::Registry(name) => from_registry(name, &image, access)?,
    };
    warnings.extend(chosen.warnings.iter().cloned());
    let mut image = Image::read(reference.clone(), source, chosen, wanted)?;
    image.warnings = warnings;
    Ok(image)
}

fn from_registry(
    name: &RegistryName,
    image: &str,
    access: &Access,
) -> anyhow::Result<(Source, Chosen)> {
    let registry = Registry::connect(name, access)?;
    let (bytes, digest) = registry.manifest(image)?;
    let manifest = Blob {
        object: format!("manifest of {image}"),
        digest: digest.clone(),
        size_bytes: bytes.len() as u64,
    };
    let document = Document::parse(&bytes, &manifest.object)?;
    let source = Source::Registry(registry);
    let chosen = match document {
        Document::Index(index) => {
            choose::from_index(&source, image, &index, &digest, access.arch.as_deref())?
        }
        Document::Image(_) => Chosen {
            manifest,
            bytes: Some(bytes),
            index: None,
            architecture: None,
            warnings: Vec::new(),
        },
    };
    Ok((source, chosen))
}

impl Image {
    fn read(
        reference: ImageRef,
        source: Source,
        chosen: Chosen,
        wanted: Option<&str>,
    ) -> anyhow::Result<Self> {
        let image = reference.to_string();
        let bytes = match chosen.bytes {
            Some(bytes) => bytes,
            None => source.document(&chosen.manifest, MANIFEST_BYTES_MAX)?,
        };
        let object = &chosen.manifest.object;
        let Document::Image(manifest) = Document::parse(&bytes, object)? else {
            return Err(ImageError::Malformed {
                object: object.clone(),
                reason: "it is an index, not a manifest".to_owned(),
            }
            .into());
        };
        let config_blob = manifest::config_blob(&manifest, object)?;
        let config_bytes = source.blob(&config_blob, CONFIG_BYTES_MAX)?;
        let config = Config::parse(&config_bytes, &config_blob.object)?;
        // The specification wants it to be there (config.md of version 1.1). buildah 1.28.2 was run: it warns of
        // another system, and takes an image without one for its own; no node boots either.
        if config.os != LINUX {
            return Err(ImageError::WrongOs {
                object: config_blob.object,
                found: shown(&config.os),
            }
            .into());
        }
        let wanted = wanted.map(goarch).or(chosen.architecture.as_deref());
        if let Some(wanted) = wanted
            && wanted != config.architecture
        {
            return Err(ImageError::WrongArch {
                image,
                // An index may say anything.
                wanted: shown(wanted).escape_debug().to_string(),
                found: config.architecture,
            }
            .into());
        }
        let layers = layers(&manifest, config.diff_ids, object)?;
        let annotations = manifest.annotations().clone().unwrap_or_default();
        let image = Self {
            reference,
            manifest_digest: chosen.manifest.digest,
            index_digest: chosen.index,
            manifest: bytes,
            config: config_bytes,
            labels: config.labels,
            annotations: annotations.into_iter().collect(),
            architecture: config.architecture,
            created: config.created,
            layers,
            warnings: Vec::new(),
            source,
        };
        image.expect_layers(&manifest)?;
        Ok(image)
    }

    /// A reader of layer `index` as uncompressed tar, which checks what it reads.
    ///
    /// From a registry this waits for the first bytes, and must not be called from asynchronous
    /// code.
    ///
    /// # Panics
    /// When there are not so many layers.
    pub fn layer(&self, index: usize) -> anyhow::Result<LayerReader> {
        self.layer_with_limit(index, LAYER_BYTES_MAX)
    }

    fn layer_with_limit(&self, index: usize, limit_bytes: u64) -> anyhow::Result<LayerReader> {
        let layer = &self.layers[index];
        let blob = self.layer_blob(index);
        let source = self.source.read(&blob)?;
        Ok(LayerReader::new(
            blob,
            source,
            layer.compression,
            &layer.media_type,
            layer.diff_id.clone(),
            limit_bytes,
        )?)
    }

    fn layer_blob(&self, index: usize) -> Blob {
        let layer = &self.layers[index];
        Blob {
            object: format!(
                "layer {} ({}) of {}",
                index + 1,
                layer.digest,
                self.reference
            ),
            digest: layer.digest.clone(),
            size_bytes: layer.size_bytes,
        }
    }

    /// Finds missing and cut-off layers before any work is done.
    fn expect_layers(&self, manifest: &ImageManifest) -> anyhow::Result<()> {
        for (index, descriptor) in manifest.layers().iter().enumerate() {
            let blob = self.layer_blob(index);
            self.source.expect(&blob).map_err(|error| {
                let missing = matches!(error.downcast_ref(), Some(ImageError::Missing { .. }));
                let url = descriptor.urls().iter().flatten().next();
                match url.filter(|_| missing) {
                    Some(url) => ImageError::ForeignLayer {
                        object: blob.object.clone(),
                        url: shown(url),
                    }
                    .into(),
                    None => error,
                }
            })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("reference", &self.reference)
            .field("manifest_digest", &self.manifest_digest)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

/// Pairs the layers of a manifest with the diff-ids of the configuration.
fn layers(
    manifest: &ImageManifest,
    diff_ids: Vec<Digest>,
    object: &str,
) -> anyhow::Result<Vec<Layer>> {
    let descriptors = manifest.layers();
    if descriptors.len() != diff_ids.len() {
        let reason = format!(
            "it has {} layers, but its configuration has {} diff-ids",
            descriptors.len(),
            diff_ids.len()
        );
        let object = object.to_owned();
        return Err(ImageError::Malformed { object, reason }.into());
    }
    if descriptors.len() > LAYERS_MAX {
        let reason = format!(
            "it has {} layers, where at most {LAYERS_MAX} are taken",
            descriptors.len()
        );
        let object = object.to_owned();
        return Err(ImageError::Malformed { object, reason }.into());
    }
    let numbered = descriptors.iter().zip(diff_ids).enumerate();
    numbered
        .map(|(index, (descriptor, diff_id))| {
            let object = format!("layer {} of {object}", index + 1);
            layer(descriptor, diff_id, object)
        })
        .collect()
}

fn layer(descriptor: &Descriptor, diff_id: Digest, object: String) -> anyhow::Result<Layer> {
    let media_type = descriptor.media_type().to_string();
    let Some(compression) = Compression::of_media_type(&media_type) else {
        let media_type = shown(&media_type);
        return Err(ImageError::LayerMediaType { object, media_type }.into());
    };
    let blob = manifest::blob(descriptor, object)?;
    let annotations = descriptor.annotations().clone().unwrap_or_default();
    Ok(Layer {
        digest: blob.digest,
        diff_id,
        size_bytes: blob.size_bytes,
        media_type,
        compression,
        annotations: annotations.into_iter().collect(),
    })
}
