//! What of a text keeps it from being read as a Containerfile.

/// Why a text is not read.
pub(super) struct Refusal {
    pub(super) rule: &'static str,
    pub(super) line: Option<u32>,
    pub(super) message: String,
}
