//! Images in registries.
//!
//! Signing in and moving blobs is `oci-client`'s work. What it has no call for is in `direct`:
//! manifests of bounded size, and access tokens for refresh tokens. Work is asynchronous inside,
//! on two threads of our own; callers see `Read`.
//!
//! Plain HTTP is for hosts that are this host, and for whoever asks for it by turning
//! verification off. There HTTPS is tried first.
//!
//! Proxies are taken from the environment, but not for this host, as Go programs do.
//!
//! Truth: OCI distribution specification 1.1; distribution's "Token authentication";
//! containers-certs.d(5), of which client certificates are left out.

mod auth;
mod direct;
mod failure;
mod helper;
mod push;
mod stream;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use oci_client::{Client, Reference, RegistryOperation};
use tokio::runtime::Runtime;

use super::Access;
use super::blob::Blob;
use super::digest::{Digest, Hasher};
use super::error::{ImageError, list};
use super::manifest::MANIFEST_BYTES_MAX;
use super::reference::{RegistryName, Version};
use crate::failure::sentence;
use crate::kernel::changes;
use crate::progress::WAIT;
use auth::{Login, Secret};
use failure::Failure;
use stream::BlobReader;

/// What registries see us as.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Directories with CA certificates, one directory per registry in each. A path that starts with
/// `~/` is in the user's home.
const CERTIFICATE_DIRECTORIES: [&str; 2] =
    ["/etc/containers/certs.d", "~/.config/containers/certs.d"];

/// All hosts, in the language of `NO_PROXY`: all names, all addresses.
const EVERYTHING: &str = "*,0.0.0.0/0,::/0";

/// Most bytes of a file with CA certificates; all that the world trusts have a quarter.
const CERTIFICATE_BYTES_MAX: u64 = 1 << 20;

/// How often a registry that has never answered is called.
const STRANGER_ATTEMPTS: u32 = 3;

/// How long to bear with a registry that fails for a while. By default one that can't be reached is
/// given up after a second, one that answers with errors after 8, and a silent one after 3 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often something is tried without getting on.
    pub attempts: u32,
    /// Pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// How long a server may take to answer, or to send more.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
            silence: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The pause after failure number `failures`, counted from 1.
    fn pause(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        self.first_pause
            .saturating_mul(factor)
            .min(self.longest_pause)
    }
}

/// A repository in a registry.
pub(super) struct Registry {
    // Dropped by the thread that drops the image, never by one of its own.
    runtime: Arc<Runtime>,
    connection: Arc<Connection>,
}

/// What the threads inside share.
struct Connection {
    name: RegistryName,
    /// The name as `oci-client` wants it.
    reference: Reference,
    client: Client,
    http: reqwest::Client,
    /// `https://host:port`.
    base: String,
    login: Login,
    patience: Patience,
    /// Whether the registry has given us something already.
    has_answered: AtomicBool,
}

impl Registry {
    /// Finds out how to talk to the registry, and as whom. It may not be there at all.
    pub(super) fn connect(name: &RegistryName, access: &Access) -> anyhow::Result<Self> {
        // Fails when somebody has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let login = auth::find(name, access.authfile.as_deref(), &|variable| {
            std::env::var_os(variable)
        })?;
        let certificates = certificates(&name.registry)?;
        let this_host = is_this_host(&name.registry);
        let http = direct::client(access, &certificates, this_host)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("registry")
            .enable_all()
            .build()
            .context("starting the threads that talk to registries")?;
        let reference = name.to_client();
        let host = reference.resolve_registry();
        let may_be_plain = !access.tls_verify || this_host;
        let plain = may_be_plain && !runtime.block_on(direct::talks_tls(&http, host));
        let (scheme, protocol) = match plain {
            true => ("http", ClientProtocol::Http),
            false => ("https", ClientProtocol::Https),
        };
        let base = format!("{scheme}://{host}");
        let client = Client::try_from(ClientConfig {
            protocol,
            accept_invalid_certificates: !access.tls_verify,
            extra_root_certificates: certificates
                .into_iter()
                .map(|data| Certificate {
                    encoding: CertificateEncoding::Pem,
                    data,
                })
                .collect(),
            platform_resolver: None,
            // No read_timeout: it runs while nobody reads as well.
            connect_timeout: Some(access.patience.silence),
            user_agent: USER_AGENT,
            // A proxy that is never used: only so can those of the environment be turned off.
            http_proxy: this_host.then(|| base.clone()),
            no_proxy: this_host.then(|| EVERYTHING.to_owned()),
            ..ClientConfig::default()
        })
        .context("preparing to talk to registries")?;
        let connection = Arc::new(Connection {
            base,
            name: name.clone(),
            reference,
            client,
            http,
            login,
            patience: access.patience,
            has_answered: AtomicBool::new(false),
        });
        tracing::debug!(base = connection.base, login = ?connection.login, "registry");
        Ok(Self {
            runtime: Arc::new(runtime),
            connection,
        })
    }

    /// The manifest or index that the name stands for, and its digest.
    pub(super) fn manifest(&self, image: &str) -> anyhow::Result<(Vec<u8>, Digest)> {
        let connection = &self.connection;
        let object = format!("manifest of {image}");
        let version = match &connection.name.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        };
        let answer = self.fetch(&version, MANIFEST_BYTES_MAX, &object);
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
                let tags = async { connection.in_time(connection.tags()).await.flatten() };
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

    fn fetch(&self, version: &str, limit: u64, object: &str) -> Result<direct::Answer, ImageError> {
        let connection = &self.connection;
        let attempt = async || connection.manifest(version, limit, object).await;
        self.runtime.block_on(connection.persist(object, attempt))
    }
}

impl Connection {
    /// Signs in: gets a fresh access token, which the client uses from now on. None if the
    /// registry wants a password with every request, or nothing.
    async fn sign_in(&self) -> Result<Option<String>, Failure> {
        let operation = RegistryOperation::Pull;
        let Some(Secret::Identity(refresh)) = &self.login.secret else {
            let auth = self.client_auth();
            let reply = self.client.auth(&self.reference, &auth, operation);
            return self.in_time(reply).await?.map_err(Failure::from_client);
        };
        let token = self.access_token(refresh, "pull").await?;
        self.keep_token(token.clone(), operation).await;
        Ok(Some(token))
    }

    /// Has the client use a token.
    async fn keep_token(&self, token: String, operation: RegistryOperation) {
        // The client looks into its cache only for registries it knows.
        let registry = self.reference.resolve_registry();
        self.client
            .store_auth_if_needed(registry, &RegistryAuth::Anonymous)
            .await;
        let entry = RegistryTokenType::Bearer(RegistryToken::Token { token });
        self.client
            .tokens
            .insert(&self.reference, operation, entry)
            .await;
    }

    fn client_auth(&self) -> RegistryAuth {
        match &self.login.secret {
            Some(Secret::Basic(user, password)) => {
                RegistryAuth::Basic(user.clone(), password.clone())
            }
            _ => RegistryAuth::Anonymous,
        }
    }

    /// Waits for the other side, but not for ever.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let silence = self.patience.silence;
        let outcome = tokio::time::timeout(silence, work).await;
        outcome.map_err(|_| Failure::Passing(format!("nothing came for {silence:?}").into()))
    }

    /// Tries until it works, cannot work, or patience is at its end.
    async fn persist<T>(
        &self,
        object: &str,
        attempt: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, ImageError> {
        let mut failures = 0;
        loop {
            let failure = match attempt().await {
                Ok(value) => {
                    self.has_answered.store(true, Relaxed);
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            failures += 1;
            self.bear(failure, failures, object).await?;
        }
    }

    /// Pauses after failure number `failures`, unless going on is pointless.
    async fn bear(&self, failure: Failure, failures: u32, object: &str) -> Result<(), ImageError> {
        let limit = self.patience.attempts;
        let (cause, limit) = match &failure {
            Failure::Passing(cause) => (sentence(&**cause), limit),
            // One that has answered may be starting anew; the name of one that never has may be wrong.
            Failure::Unreachable(cause) if self.has_answered.load(Relaxed) => {
                (cause.clone(), limit)
            }
            Failure::Unreachable(cause) => (cause.clone(), limit.min(STRANGER_ATTEMPTS)),
            _ => return Err(self.explain(failure, object, failures)),
        };
        if failures >= limit {
            return Err(self.explain(failure, object, failures));
        }
        let pause = self.patience.pause(failures);
        tracing::warn!(
            target: WAIT,
            cause,
            "trying {} again in {:.1} s (attempt {} of {limit}): {cause}",
            self.name.registry,
            pause.as_secs_f64(),
            failures + 1,
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The error that failure number `attempts` becomes.
    fn explain(&self, failure: Failure, object: &str, attempts: u32) -> ImageError {
        let registry = self.name.registry.clone();
        let hint = self.login.story.clone();
        match failure {
            Failure::Lasting(error) => *error,
            Failure::Unauthorized(reason) => ImageError::Refused {
                registry,
                object: object.to_owned(),
                reason,
                hint,
            },
            Failure::NotFound => ImageError::NotFound {
                registry,
                object: object.to_owned(),
                hint,
            },
            Failure::Tls(source) => ImageError::Tls { registry, source },
            Failure::Answer(reason) => ImageError::Answer {
                registry,
                object: object.to_owned(),
                reason,
            },
            Failure::Passing(source) => ImageError::GaveUp {
                registry,
                object: object.to_owned(),
                attempts,
                source,
            },
            Failure::Unreachable(reason) => ImageError::Unreachable { registry, reason },
        }
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

/// Whether a registry's name means this host.
fn is_this_host(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => registry,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The CA certificates that are configured for a registry, in PEM.
fn certificates(registry: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut found = Vec::new();
    for directory in CERTIFICATE_DIRECTORIES {
        let directory = match (directory.strip_prefix("~/"), &home) {
            (None, _) => PathBuf::from(directory),
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_), None) => continue,
        };
        found.extend(certificates_in(&directory.join(registry))?);
    }
    Ok(found)
}

/// The contents of the files `*.crt` in a directory, in the order of their names.
fn certificates_in(directory: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let Ok(entries) = directory.read_dir() else {
        // Usually there is none.
        return Ok(Vec::new());
    };
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("reading the directory {}", directory.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "crt"));
    files.sort();
    let read = |file: PathBuf| {
        let len = file.metadata().map(|metadata| metadata.len());
        len.and_then(|len| match len > CERTIFICATE_BYTES_MAX {
            true => Err(std::io::Error::other("too large for certificates")),
            false => std::fs::read(&file),
        })
        .with_context(|| format!("reading {}", file.display()))
    };
    files.into_iter().map(read).collect()
}

#[cfg(test)]
mod names {
    use std::time::Duration;

    use super::{Patience, certificates_in, is_this_host};

    #[test]
    fn this_host_has_many_names() {
        for (name, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("quay.io", false),
            ("128.0.0.1:5000", false),
            ("[2001:db8::1]:5000", false),
        ] {
            assert_eq!(is_this_host(name), expected, "{name}");
        }
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let patience = Patience::default();
        let pauses: Vec<u128> = (1..=7).map(|n| patience.pause(n).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!(patience.pause(40), Duration::from_secs(8));
    }

    #[test]
    fn certificates_are_taken_by_suffix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["b.crt", "a.crt", "client.cert", "client.key"] {
            std::fs::write(path.join(name), name).unwrap();
        }
        assert_eq!(certificates_in(path).unwrap(), [b"a.crt", b"b.crt"]);
        assert!(certificates_in(&path.join("none")).unwrap().is_empty());
    }
}
