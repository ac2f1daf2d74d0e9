//! The Containerfile of a pool, which names itself in its image.

use sha2::{Digest, Sha256};

/// The label of built images that names the Containerfile in them, by the SHA-256 of its text.
pub const LABEL: &str = "coreos-bake.containerfile";

/// A Containerfile with its own SHA-256 as a label of the image, in its last line. The cluster can lose an
/// edit and say that all is well; what is in an image is told by the image.
pub fn marked(containerfile: &str) -> String {
    let bare = bare(containerfile);
    format!("{bare}\nLABEL {LABEL}={}\n", fingerprint(bare))
}

/// The Containerfile as somebody wrote it, but for empty lines at its end.
pub fn bare(containerfile: &str) -> &str {
    let text = containerfile.trim_end_matches('\n');
    let start = text.rfind('\n').map_or(0, |end| end + 1);
    let is_ours = text[start..]
        .strip_prefix("LABEL ")
        .is_some_and(|rest| rest.starts_with(LABEL));
    match is_ours {
        true => text[..start].trim_end_matches('\n'),
        false => text,
    }
}

/// What [`LABEL`] says of it: SHA-256 of the text without that line and the end of the one before it,
/// in hexadecimal.
pub fn fingerprint(containerfile: &str) -> String {
    hex::encode(Sha256::digest(bare(containerfile)))
}
