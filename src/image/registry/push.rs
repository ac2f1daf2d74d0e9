//! Derived images sent to a registry.
//!
//! Blobs that the repository has are not sent; those of another repository of the same registry
//! are mounted from there, if the registry lets us. A blob is sent as a whole: `POST` for a place,
//! `PUT` of the bytes there. The place may be on another server, which then does not learn who we
//! are.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, StatusCode, Url};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, timeout};

use super::client::location;
use super::failure::Failure;
use super::patience::Failures;
use super::places::{Purpose, same_origin};
use super::scope::Scope;
use super::{Connection, Registry};
use crate::image::write::{Part, Parts};
use crate::image::{Digest, RegistryName};
use crate::progress::Progress;

/// Bytes handed over at a time. Small, since the pace is measured by how many are taken.
const CHUNK_BYTES: usize = 64 << 10;

/// How many of them may wait.
const CHUNKS_WAITING: usize = 8;

/// Most bytes of an answer to something sent, of which only the head matters.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

impl Registry {
    /// Sends what the repository lacks, the manifest last.
    pub(in crate::image) fn push(&self, parts: &Parts<'_>, progress: &dyn Progress) -> Result<()> {
        let blobs = parts.blobs();
        let total = blobs.iter().map(|part| part.blob.size_bytes).sum();
        progress.begin("sending the image", total);
        for part in &blobs {
            self.push_blob(parts, part, progress)?;
        }
        let derived = parts.derived();
        let object = format!("manifest of docker://{}", self.connection.name);
        self.work(&object, async |it| {
            it.put_manifest(derived.media_type, &derived.manifest).await
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
        let connection = &self.connection;
        if self.work(object, async |it| it.has(digest).await)? || self.mount(parts, digest) {
            progress.advance(part.blob.size_bytes);
            return Ok(());
        }
        // A broken connection begins this blob anew: registries forget half of one.
        let mut failures = Failures::none();
        let mut may_renew = true;
        loop {
            let place = self.runtime.block_on(connection.begin_upload());
            let outcome = match place {
                Ok(place) => self.send(place, parts.read(part)?, part, progress)?,
                Err(failure) => Err(failure),
            };
            let Err(failure) = outcome else {
                return Ok(());
            };
            // The token may have become old while bytes went.
            if matches!(failure, Failure::Unauthorized(_))
                && std::mem::take(&mut may_renew)
                && self.runtime.block_on(connection.forget_tokens())
            {
                continue;
            }
            self.runtime
                .block_on(connection.bear(failure, &mut failures, object))?;
        }
    }

    /// Whether the registry has taken the blob from the repository of the image below.
    fn mount(&self, parts: &Parts<'_>, digest: &Digest) -> bool {
        let connection = &self.connection;
        let origin = parts.origin();
        let Some(origin) = origin.filter(|origin| origin.registry == connection.name.registry)
        else {
            return false;
        };
        // Whatever it says instead, sending it is the answer.
        let mounted = self.runtime.block_on(connection.mount(origin, digest));
        mounted.is_ok()
    }

    /// Sends a blob once. The outer error is for what reading it costs, the inner one for the
    /// registry.
    fn send(
        &self,
        place: Url,
        mut source: Box<dyn Read + Send>,
        part: &Part,
        progress: &dyn Progress,
    ) -> Result<Result<(), Failure>> {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let upload = Upload {
            chunks,
            left: part.blob.size_bytes,
        };
        let connection = Arc::clone(&self.connection);
        let patience = connection.patience;
        let digest = part.blob.digest.clone();
        let mut sent = self
            .runtime
            .spawn(async move { connection.put_blob(place, &digest, upload).await });
        let mut pace = patience.upload();
        let outcome = loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = source.by_ref().take(CHUNK_BYTES as u64);
            match { read }.read_to_end(&mut chunk) {
                Ok(0) => break Ok(Ok(())),
                Ok(_) => (),
                Err(error) => break Err(error),
            }
            let count = chunk.len();
            match self.runtime.block_on(pace.wait(sender.reserve())) {
                Ok(Ok(room)) => room.send(Bytes::from(chunk)),
                // The other side has given up, and says why.
                Ok(Err(_)) => break Ok(Ok(())),
                Err(failure) => break Ok(Err(failure)),
            }
            if let Err(failure) = pace.count(count) {
                break Ok(Err(failure));
            }
            progress.advance(count as u64);
        };
        let outcome = match outcome {
            Ok(Ok(())) => {
                drop(sender);
                let stored = async { timeout(patience.storing, &mut sent).await };
                match self.runtime.block_on(stored) {
                    Ok(outcome) => return outcome.context("sending a blob"),
                    // It was sent: sending it again would cost as much again.
                    Err(_) => Ok(Err(Failure::TooSlow(format!(
                        "it did not say in {:?} that it has stored what was sent",
                        patience.storing
                    )))),
                }
            }
            Ok(Err(failure)) => Ok(Err(failure)),
            Err(error) => Err(error).with_context(|| format!("reading {}", part.blob.object)),
        };
        sent.abort();
        outcome
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
    /// Whether the repository has a blob.
    async fn has(&self, digest: &Digest) -> Result<bool, Failure> {
        let request = self.request(Method::HEAD, &format!("blobs/{digest}"))?;
        let answer = self.ask(request, &self.push, ANSWER_BYTES_MAX);
        match answer.await?.expect(StatusCode::OK) {
            Ok(_) => Ok(true),
            Err(Failure::NotFound) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Has the registry take a blob from another of its repositories.
    async fn mount(&self, origin: &RegistryName, digest: &Digest) -> Result<(), Failure> {
        let mut request = self.upload()?;
        let pairs = [("mount", digest.as_str()), ("from", &origin.repository)];
        request.url_mut().query_pairs_mut().extend_pairs(pairs);
        // The token has to be good for both, as containers/image asks for it (`mountBlob` in
        // `docker/docker_image_dest.go` at df7e80d).
        let scope = self.push.clone();
        let scope = scope.and(Scope::new(&origin.repository, "pull"));
        let answer = self.ask(request, &scope, ANSWER_BYTES_MAX).await?;
        answer.expect(StatusCode::CREATED).map(drop)
    }

    /// Asks for a place to send a blob to.
    async fn begin_upload(&self) -> Result<Url, Failure> {
        let answer = self.ask(self.upload()?, &self.push, ANSWER_BYTES_MAX);
        let answer = answer.await?.expect(StatusCode::ACCEPTED)?;
        let place = location(&answer.url, &answer.headers)?;
        if !same_origin(&place, &self.base) {
            self.places.permit(&place, Purpose::Upload)?;
        }
        Ok(place)
    }

    /// The request that begins an upload or a mount.
    fn upload(&self) -> Result<Request, Failure> {
        let mut request = self.request(Method::POST, "blobs/uploads/")?;
        // Some registries insist on a length.
        let nothing = HeaderValue::from_static("0");
        request.headers_mut().insert(CONTENT_LENGTH, nothing);
        Ok(request)
    }

    /// Sends the bytes of a blob to its place. Who calls this sees to it that it ends.
    async fn put_blob(&self, place: Url, digest: &Digest, upload: Upload) -> Result<(), Failure> {
        let at_home = same_origin(&place, &self.base);
        let mut url = place;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let request = self
            .http
            .put(url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, upload.left)
            .body(reqwest::Body::wrap(upload));
        let pass = match at_home {
            true => Some(self.pass(&self.push).await?),
            false => None,
        };
        let request = match pass.as_ref().and_then(|pass| pass.header()) {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        };
        let response = request.send().await.map_err(Failure::from_request)?;
        let deadline = Instant::now() + self.patience.answer;
        let answer = self.small(response, ANSWER_BYTES_MAX, deadline).await?;
        answer.expect(StatusCode::CREATED).map(drop)
    }

    /// Stores a manifest under the name's tag or digest.
    async fn put_manifest(&self, media_type: &'static str, bytes: &[u8]) -> Result<(), Failure> {
        let path = format!("manifests/{}", self.name.version.word());
        let mut request = self.request(Method::PUT, &path)?;
        let media_type = HeaderValue::from_static(media_type);
        request.headers_mut().insert(CONTENT_TYPE, media_type);
        *request.body_mut() = Some(bytes.to_vec().into());
        let answer = self.ask(request, &self.push, ANSWER_BYTES_MAX);
        answer.await?.expect(StatusCode::CREATED).map(drop)
    }
}

/// The bytes of a blob on their way.
struct Upload {
    chunks: Receiver<Bytes>,
    left: u64,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.chunks.poll_recv(context).map(|chunk| {
            let chunk = chunk?;
            self.left = self.left.saturating_sub(chunk.len() as u64);
            Some(Ok(Frame::data(chunk)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
