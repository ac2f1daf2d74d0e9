//! Derived images sent to a registry.
//!
//! Blobs that the repository has are not sent; those of another repository of the same registry
//! are mounted from there, if the registry lets us.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures_util::stream::poll_fn;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use reqwest::header::HeaderValue;
use tokio::sync::mpsc;

use super::auth::Secret;
use super::failure::Failure;
use super::{Connection, Registry};
use crate::image::Digest;
use crate::image::write::{Part, Parts};
use crate::progress::Progress;

/// Bytes handed over at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// How many of them may wait.
const CHUNKS_WAITING: usize = 4;

type Chunk = Result<bytes::Bytes, OciDistributionError>;

impl Registry {
    /// Sends what the repository lacks, the manifest last.
    pub(in crate::image) fn push(&self, parts: &Parts<'_>, progress: &dyn Progress) -> Result<()> {
        let blobs = parts.blobs();
        let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
        progress.begin("sending the image", total);
        self.work(&blobs[0].blob.object, async |it| it.sign_in_to_push().await)?;
        for part in &blobs {
            self.push_blob(parts, part, progress)?;
        }
        let derived = parts.derived();
        let object = format!("manifest of docker://{}", self.connection.name);
        self.work(&object, async |it| {
            let kind = HeaderValue::from_static(derived.media_type);
            let reply = it
                .client
                .push_manifest_raw(&it.reference, derived.manifest.clone(), kind);
            it.in_time(reply).await?.map_err(Failure::from_client)
        })?;
        let stored = self.manifest(&object)?.1;
        ensure!(
            stored == derived.digest,
            "the registry stored {object} as {stored}, where {} was sent",
            derived.digest
        );
        progress.end();
        Ok(())
    }

    fn push_blob(&self, parts: &Parts<'_>, part: &Part, progress: &dyn Progress) -> Result<()> {
        let (object, digest) = (&part.blob.object, &part.blob.digest);
        let there = self.work(object, async |it| it.has(digest).await)?;
        if there || self.mount(parts, digest) {
            progress.advance(part.blob.size_bytes);
            return Ok(());
        }
        // A broken connection begins this blob anew: registries forget half of one.
        let connection = &self.connection;
        let mut failures = 0;
        loop {
            match self.send(parts.read(part)?, part, progress)? {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    failures += 1;
                    self.runtime
                        .block_on(connection.bear(failure, failures, object))?;
                }
            }
        }
    }

    /// Whether the registry has taken the blob from the repository of the image below.
    fn mount(&self, parts: &Parts<'_>, digest: &Digest) -> bool {
        let connection = &self.connection;
        let Some(origin) = parts.origin() else {
            return false;
        };
        if origin.registry != connection.name.registry {
            return false;
        }
        let source = origin.to_client();
        let mounted = connection
            .client
            .mount_blob(&connection.reference, &source, digest.as_str());
        // Whatever it says instead, sending it is the answer.
        self.runtime
            .block_on(connection.in_time(mounted))
            .is_ok_and(|reply| reply.is_ok())
    }

    /// Sends a blob once. The outer error is for what reading it costs, the inner one for the
    /// registry.
    fn send(
        &self,
        mut source: Box<dyn Read + Send>,
        part: &Part,
        progress: &dyn Progress,
    ) -> Result<Result<(), Failure>> {
        let (sender, mut receiver) = mpsc::channel::<Chunk>(CHUNKS_WAITING);
        let connection = Arc::clone(&self.connection);
        let digest = part.blob.digest.clone();
        let size = part.blob.size_bytes;
        let sent = self.runtime.spawn(async move {
            let chunks = poll_fn(move |context| receiver.poll_recv(context));
            connection
                .client
                .push_blob_stream(&connection.reference, chunks, digest.as_str(), Some(size))
                .await
        });
        let read = loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            match source
                .by_ref()
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut chunk)
            {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    if sender.blocking_send(Ok(chunk.into())).is_err() {
                        // The other side has given up, and says why.
                        break Ok(());
                    }
                    progress.advance(count as u64);
                }
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = read {
            sent.abort();
            return Err(error).with_context(|| format!("reading {}", part.blob.object));
        }
        drop(sender);
        let outcome = self.runtime.block_on(sent).context("sending a blob")?;
        Ok(outcome.map(drop).map_err(Failure::from_client))
    }

    /// Does something with patience.
    fn work<T>(
        &self,
        object: &str,
        attempt: impl AsyncFn(&Connection) -> Result<T, Failure>,
    ) -> Result<T> {
        let connection = &self.connection;
        let attempt = async || attempt(connection).await;
        Ok(self.runtime.block_on(connection.persist(object, attempt))?)
    }
}

impl Connection {
    /// Gets the right to push, which the client uses from now on.
    async fn sign_in_to_push(&self) -> Result<(), Failure> {
        let operation = RegistryOperation::Push;
        if let Some(Secret::Identity(refresh)) = &self.login.secret {
            let token = self.access_token(refresh, "pull,push").await?;
            // Looking for blobs is pulling to the client, and has a token of its own.
            self.keep_token(token.clone(), operation).await;
            self.keep_token(token, RegistryOperation::Pull).await;
            return Ok(());
        }
        let auth = self.client_auth();
        let reply = self.client.auth(&self.reference, &auth, operation);
        self.in_time(reply).await?.map_err(Failure::from_client)?;
        self.sign_in().await.map(drop)
    }

    async fn has(&self, digest: &Digest) -> Result<bool, Failure> {
        let reply = self.client.blob_exists(&self.reference, digest.as_str());
        self.in_time(reply).await?.map_err(Failure::from_client)
    }
}
