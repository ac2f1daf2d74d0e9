//! Blobs of a registry as `Read`, across broken connections.
//!
//! A task on the room's own threads receives and passes chunks on through a short queue, so it is
//! a little ahead of the reader, and never far. When the connection breaks it asks for the rest,
//! from the byte it has reached (`Range`). A server that does not know ranges sends everything
//! again, and what was passed on already is skipped. Nothing is checked here but lengths.

use std::future::poll_fn;
use std::io::{self, Read};
use std::sync::Arc;

use oci_client::client::BlobResponse;
use oci_client::errors::OciDistributionError;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::AbortHandle;

use super::super::blob::Blob;
use super::super::error::ImageError;
use super::Connection;
use super::failure::Failure;

/// Chunks between network and reader. One has 8 KiB to 512 KiB, as much as the network gives.
const QUEUE_CHUNKS: usize = 8;

/// A connection that brings less than this counts as one that brought nothing, so that a server
/// that always breaks off at once is not asked forever.
const PROGRESS_BYTES_MIN: u64 = 64 << 10;

/// Reads a blob; blocks, so it is not for asynchronous code.
pub(in super::super) struct BlobReader {
    chunks: Receiver<Result<Vec<u8>, ImageError>>,
    chunk: Vec<u8>,
    /// How much of `chunk` was read already.
    position: usize,
    task: AbortHandle,
    /// Keeps the threads while there is something to read.
    _runtime: Arc<Runtime>,
}

impl BlobReader {
    pub(super) fn start(runtime: &Arc<Runtime>, connection: &Arc<Connection>, blob: Blob) -> Self {
        let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let transfer = Transfer {
            connection: Arc::clone(connection),
            blob,
            sender,
            reached: 0,
        };
        Self {
            chunks,
            chunk: Vec::new(),
            position: 0,
            task: runtime.spawn(transfer.run()).abort_handle(),
            _runtime: Arc::clone(runtime),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => (self.chunk, self.position) = (chunk, 0),
                Some(Err(error)) => return Err(error.into_io()),
                None => return Ok(0),
            }
        }
        let count = (&self.chunk[self.position..]).read(buffer)?;
        self.position += count;
        Ok(count)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The sending side.
struct Transfer {
    connection: Arc<Connection>,
    blob: Blob,
    sender: Sender<Result<Vec<u8>, ImageError>>,
    /// Bytes passed on.
    reached: u64,
}

/// How one request ended that did not fail.
enum End {
    /// Everything was passed on.
    Complete,
    /// Nobody reads any more.
    Unwanted,
}

impl Transfer {
    async fn run(mut self) {
        let mut failures = 0;
        let mut signed_in_at = None;
        let mut progress_from = 0;
        let error = loop {
            if self.reached == self.blob.size_bytes {
                return;
            }
            let failure = match self.request().await {
                Ok(End::Complete | End::Unwanted) => return,
                Err(failure) => failure,
            };
            if self.reached - progress_from >= PROGRESS_BYTES_MIN {
                progress_from = self.reached;
                failures = 0;
            }
            let failure = match failure {
                // The token may have become old; once at each place that is worth a try.
                Failure::Unauthorized(_) if signed_in_at != Some(self.reached) => {
                    match self.connection.sign_in().await {
                        Ok(_) => {
                            signed_in_at = Some(self.reached);
                            continue;
                        }
                        Err(failure) => failure,
                    }
                }
                failure => failure,
            };
            failures += 1;
            let object = &self.blob.object;
            if let Err(error) = self.connection.bear(failure, failures, object).await {
                break error;
            }
        };
        // If nobody listens, nobody misses it.
        let _ = self.sender.send(Err(error)).await;
    }

    /// Asks once for what is missing.
    async fn response(&self) -> Result<BlobResponse, OciDistributionError> {
        let Connection {
            client, reference, ..
        } = &*self.connection;
        let digest = self.blob.digest.as_str();
        let from = self.reached;
        if from == 0 {
            let whole = client.pull_blob_stream(reference, digest).await;
            return whole.map(BlobResponse::Full);
        }
        tracing::debug!(object = self.blob.object, from, "resuming");
        client
            .pull_blob_stream_partial(reference, digest, from, None)
            .await
    }

    /// Asks once for what is missing, and passes on what comes.
    async fn request(&mut self) -> Result<End, Failure> {
        let connection = &*self.connection;
        let response = connection.in_time(self.response()).await?;
        let (mut stream, from) = match response.map_err(Failure::from_client)? {
            BlobResponse::Full(stream) => (stream, 0),
            BlobResponse::Partial(stream) => (stream, self.reached),
        };
        let promised = self.blob.size_bytes - from;
        if let Some(found) = stream.content_length.filter(|found| *found != promised) {
            return Err(self.blob.wrong_size(from.saturating_add(found)).into());
        }
        let mut skip = self.reached - from;
        while self.reached < self.blob.size_bytes {
            let next = poll_fn(|context| stream.stream.as_mut().poll_next(context));
            let chunk = match connection.in_time(next).await? {
                Some(Ok(chunk)) => chunk,
                // Also when the client finds the digest wrong because too little came.
                Some(Err(error)) => return Err(Failure::Passing(error.into())),
                None => return Err(Failure::Passing("the answer ends early".into())),
            };
            let skipped = chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= skipped as u64;
            let left = self.blob.size_bytes - self.reached;
            let wanted = &chunk[skipped..];
            let wanted = match usize::try_from(left) {
                Ok(left) if left < wanted.len() => &wanted[..left],
                _ => wanted,
            };
            if wanted.is_empty() {
                continue;
            }
            self.reached += wanted.len() as u64;
            if self.sender.send(Ok(wanted.to_vec())).await.is_err() {
                return Ok(End::Unwanted);
            }
        }
        Ok(End::Complete)
    }
}
