//! Images in registries.
//!
//! Work is asynchronous inside, on two threads of our own; callers see `Read`.
//!
//! * `client` sends requests, with limits for every answer, and `patience` for every wait.
//! * `places` says which servers may be asked, `token` and `auth` as whom.
//! * `documents`, `stream` and `push` are what is asked for: manifests and tags, blobs, uploads.
//!
//! Plain HTTP is for hosts that are this host, and for whoever asks for it by turning
//! verification off. There HTTPS is tried first, and a host that talks TLS is never talked to
//! without.
//!
//! Proxies are taken from the environment, but not for this host, as Go programs do.
//!
//! Truth: OCI distribution specification 1.1; distribution's "Token authentication".

mod auth;
mod certificates;
mod client;
mod documents;
mod failure;
mod helper;
mod patience;
mod places;
mod push;
mod scope;
mod secret;
mod stream;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use reqwest::Url;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::Access;
use super::blob::Blob;
use super::digest::{Digest, Hasher};
use super::error::ImageError;
use super::manifest::MANIFEST_BYTES_MAX;
use super::quoted::list;
use super::reference::{RegistryName, Version};
use crate::kernel::changes;
use auth::Login;
use documents::Manifest;
pub use patience::Patience;
use places::{Neighbours, Places, is_this_host};
use scope::Scope;
use stream::BlobReader;
use token::Session;

/// What registries see us as.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// A repository in a registry.
pub(super) struct Registry {
    // Dropped by the thread that drops the image, never by one of its own.
    runtime: Arc<Runtime>,
    connection: Arc<Connection>,
}

/// What the threads inside share.
struct Connection {
    name: RegistryName,
    http: reqwest::Client,
    /// `https://host:port/`.
    base: Url,
    places: Places,
    login: Login,
    session: Mutex<Session>,
    /// Reading in the repository.
    pull: Scope,
    /// Reading and writing there.
    push: Scope,
    patience: Patience,
    /// Whether anybody has answered already.
    has_answered: AtomicBool,
}

impl Registry {
    /// Finds out how to talk to the registry, and as whom. It may not be there at all.
    pub(super) fn connect(name: &RegistryName, access: &Access) -> anyhow::Result<Self> {
        // Fails when somebody has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let environment: auth::Environment<'_> = &|variable| std::env::var_os(variable);
        let login = auth::find(name, access.authfile.as_deref(), environment)?;
        let certificates = certificates::find(&name.registry)?;
        let host = name.host();
        let address = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}/"))
                .with_context(|| format!("reading the address {host}"))
        };
        let mut base = address("https")?;
        // Names of hosts have no case.
        let bare_host = base.host_str().unwrap_or(host).to_owned();
        let this_host = is_this_host(&bare_host);
        let neighbours = Neighbours::new(&bare_host, environment);
        let connect_max = access.patience.silence;
        let http = client::client(access, &certificates, this_host, &neighbours, connect_max)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("registry")
            .enable_all()
            .build()
            .context("starting the threads that talk to registries")?;
        let may_be_plain = !access.tls_verify || this_host;
        if may_be_plain {
            let talks = client::talks_tls(access, this_host, &neighbours, host);
            if !runtime.block_on(talks)? {
                base = address("http")?;
            }
        }
        let connection = Arc::new(Connection {
            places: Places::new(&base, &neighbours, access.tls_verify),
            base,
            pull: Scope::new(&name.repository, "pull"),
            push: Scope::new(&name.repository, "pull,push"),
            name: name.clone(),
            http,
            login,
            session: Mutex::default(),
            patience: access.patience,
            has_answered: AtomicBool::new(false),
        });
        tracing::debug!(base = %connection.base, login = ?connection.login, "registry");
        Ok(Self {
            runtime: Arc::new(runtime),
            connection,
        })
    }

    /// The manifest or index that the name stands for, and its digest.
    pub(super) fn manifest(&self, image: &str) -> anyhow::Result<(Vec<u8>, Digest)> {
        let connection = &self.connection;
        let object = format!("manifest of {image}");
        let version = connection.name.version.word();
        let answer = self.fetch(version, MANIFEST_BYTES_MAX, &object);
        let answer = answer.map_err(|error| self.with_tags(error))?;
        let wrong = |expected: &Digest, actual| ImageError::WrongDigest {
            object: object.clone(),
            what: "digest",
            expected: expected.clone(),
            actual,
        };
        let asked = match &connection.name.version {
            Version::Tag(_) => None,
            Version::Digest(digest) => Some(digest.clone()),
        };
        // The registry may name it by another algorithm than we do.
        for expected in [&asked, &answer.digest].into_iter().flatten() {
            let actual = Hasher::of(&answer.bytes, expected);
            if actual != *expected {
                return Err(wrong(expected, actual).into());
            }
        }
        let digest = asked.unwrap_or_else(|| Digest::sha256(&answer.bytes));
        Ok((answer.bytes, digest))
    }

    /// Has the error for a tag that is not there name those that are.
    fn with_tags(&self, error: ImageError) -> ImageError {
        let connection = &self.connection;
        match (error, &connection.name.version) {
            (
                ImageError::NotFound {
                    registry,
                    object,
                    hint,
                },
                Version::Tag(tag),
            ) => {
                // Whoever may not see the tags may need credentials.
                let tags = connection.tags();
                let tags = self.runtime.block_on(tags).ok();
                let known = tags.map(|tags| told_tags(tag, tags));
                ImageError::NotFound {
                    registry,
                    object,
                    hint: known.unwrap_or(hint),
                }
            }
            (error, _) => error,
        }
    }

    /// The manifest or index with a digest, checked.
    pub(super) fn manifest_by_digest(&self, blob: &Blob, limit: u64) -> anyhow::Result<Vec<u8>> {
        let answer = self.fetch(blob.digest.as_str(), limit, &blob.object)?;
        if answer.bytes.len() as u64 != blob.size_bytes {
            return Err(blob.wrong_size(answer.bytes.len()).into());
        }
        let actual = Hasher::of(&answer.bytes, &blob.digest);
        if actual != blob.digest {
            return Err(ImageError::WrongDigest {
                object: blob.object.clone(),
                what: "digest",
                expected: blob.digest.clone(),
                actual,
            }
            .into());
        }
        Ok(answer.bytes)
    }

    /// A reader of a blob, which goes on where it was when the connection breaks.
    pub(super) fn read(&self, blob: &Blob) -> BlobReader {
        BlobReader::start(&self.runtime, &self.connection, blob.clone())
    }

    fn fetch(&self, version: &str, limit: u64, object: &str) -> Result<Manifest, ImageError> {
        let connection = &self.connection;
        let attempt = async || connection.manifest(version, limit, object).await;
        self.runtime.block_on(connection.persist(object, attempt))
    }
}

/// What a repository has instead of `wanted`; the likeliest first.
fn told_tags(wanted: &str, mut tags: Vec<String>) -> String {
    if tags.is_empty() {
        return "the repository has no tags".to_owned();
    }
    tags.sort_by_cached_key(|tag| (changes(wanted.as_bytes(), tag.as_bytes()), tag.clone()));
    format!("the repository has these tags: {}", list(&tags))
}
