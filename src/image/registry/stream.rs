//! Blobs of a registry as `Read`, across broken connections.
//!
//! A task on the room's own threads receives and passes chunks on through a short queue, so it is
//! a little ahead of the reader, and never far. When the connection breaks it asks for the rest,
//! from the byte it has reached (`Range`). A server that does not know ranges sends everything
//! again, and what was passed on already is skipped. Nothing is checked here but lengths.

use std::io::{self, Read};
use std::sync::Arc;

use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::AbortHandle;

use super::Connection;
use super::failure::Failure;
use super::patience::Failures;
use crate::image::blob::Blob;
use crate::image::error::ImageError;

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
        let mut failures = Failures::none();
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
                failures = Failures::none();
            }
            let object = &self.blob.object;
            let borne = self.connection.bear(failure, &mut failures, object);
            if let Err(error) = borne.await {
                break error;
            }
        };
        // If nobody listens, nobody misses it.
        let _ = self.sender.send(Err(error)).await;
    }

    /// Asks once for what is missing; also returns which byte the answer begins at.
    async fn response(&self) -> Result<(Response, u64), Failure> {
        let connection = &self.connection;
        let path = format!("blobs/{}", self.blob.digest);
        let mut request = connection.request(Method::GET, &path)?;
        let from = self.reached;
        if from > 0 {
            tracing::debug!(object = self.blob.object, from, "resuming");
            let range = format!("bytes={from}-");
            let range = range.try_into().expect("digits fit a header");
            request.headers_mut().insert(RANGE, range);
        }
        let response = connection.ask_blob(request, &connection.pull).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((response, 0));
        }
        match first_byte(response.headers()) {
            Some(first) if first != from => Err(Failure::Answer(format!(
                "the bytes from {first} on, where those from {from} on were asked for"
            ))),
            _ => Ok((response, from)),
        }
    }

    /// Asks once for what is missing, and passes on what comes.
    async fn request(&mut self) -> Result<End, Failure> {
        let (mut response, from) = self.response().await?;
        let promised = self.blob.size_bytes - from;
        if let Some(found) = response.content_length().filter(|len| *len != promised) {
            return Err(self.blob.wrong_size(from.saturating_add(found)).into());
        }
        let mut skip = self.reached - from;
        let mut pace = self.connection.patience.download();
        while self.reached < self.blob.size_bytes {
            let chunk = match pace.wait(response.chunk()).await? {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Err(Failure::Passing("the answer ends early".into())),
                Err(error) => return Err(Failure::Passing(error.without_url().into())),
            };
            pace.count(chunk.len())?;
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

/// Where a part begins: `bytes FIRST-LAST/LENGTH`. Some servers don't say.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let range = text.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}
