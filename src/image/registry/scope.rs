//! What a request to a registry needs to be allowed.

/// What may be done in which repositories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope(Vec<String>);

impl Scope {
    /// `actions` are words with commas between them: `pull,push`.
    pub(super) fn new(repository: &str, actions: &str) -> Self {
        Self(vec![format!("repository:{repository}:{actions}")])
    }

    /// One for each repository, as a token server is asked for them.
    pub(super) fn parts(&self) -> &[String] {
        &self.0
    }

    /// This and that.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}
