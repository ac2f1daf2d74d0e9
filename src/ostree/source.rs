//! What is imported: an image whose layers can be opened.

use std::fmt;
use std::io::Read;

use anyhow::Result;

/// Opens the uncompressed tar stream of a layer by position. The stream may report its end only
/// once the layer's digests have been found right: it is always read that far.
pub type OpenLayer<'a> = dyn Fn(usize) -> Result<Box<dyn Read + Send>> + Sync + 'a;

/// An image to be imported.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// `sha256:…` of the manifest.
    pub manifest_digest: &'a str,
    /// The manifest's JSON, as pulled.
    pub manifest: &'a [u8],
    /// The configuration's JSON.
    pub config: &'a [u8],
    /// The layers, lowest first.
    pub layers: &'a [LayerFacts],
    /// Opens a layer.
    pub open: &'a OpenLayer<'a>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("manifest_digest", &self.manifest_digest)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// What is known of a layer before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    /// `sha256:…` of the layer as the manifest has it, compressed.
    pub digest: String,
    /// `sha256:…` of the uncompressed layer, from the configuration.
    pub diff_id: String,
    /// Length of the blob in bytes: the largest are read first. 0 where it is not known.
    pub size_bytes: u64,
}

/// Tells whether the contents of the file at a path are wanted.
pub type Keep<'a> = &'a (dyn Fn(&str) -> bool + Sync);
