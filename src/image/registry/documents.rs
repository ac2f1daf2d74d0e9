//! Manifests and tags: small documents, of limited length.

use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Method, Request, StatusCode, Url};
use serde::Deserialize;

use super::Connection;
use super::failure::Failure;
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::media_type::MANIFESTS;
use crate::image::reference::is_tag;

/// Most tags that are asked for.
const TAGS_MAX: usize = 1000;

/// Most bytes of a list of them; a tag has up to 128.
const TAGS_BYTES_MAX: u64 = 256 << 10;

/// The header with the digest that a registry has computed.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest as it was served.
pub(super) struct Manifest {
    pub(super) bytes: Vec<u8>,
    /// What the registry says its digest is, if it is one we can check.
    pub(super) digest: Option<Digest>,
}

impl Connection {
    /// Fetches a manifest or index by tag or digest.
    pub(super) async fn manifest(
        &self,
        version: &str,
        limit: u64,
        object: &str,
    ) -> Result<Manifest, Failure> {
        let mut request = self.request(Method::GET, &format!("manifests/{version}"))?;
        let accepted = MANIFESTS.join(", ");
        let accepted = accepted.try_into().expect("media types fit a header");
        request.headers_mut().insert(ACCEPT, accepted);
        let answer = self.ask(request, &self.pull, limit).await?;
        let answer = answer.expect(StatusCode::OK)?;
        let digest = digest_header(&answer.headers);
        let bytes = answer.body.whole().ok_or_else(|| {
            let object = object.to_owned();
            ImageError::TooLarge { object, limit }
        })?;
        Ok(Manifest { bytes, digest })
    }

    /// Some of the tags of the repository.
    pub(super) async fn tags(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Reply {
            /// Null if there are none.
            tags: Option<Vec<String>>,
        }
        let request = self.request(Method::GET, &format!("tags/list?n={TAGS_MAX}"))?;
        let answer = self.ask(request, &self.pull, TAGS_BYTES_MAX).await?;
        let text = answer.expect(StatusCode::OK)?.body.whole();
        let malformed = || Failure::Answer("a list of tags that is malformed".into());
        let text = text.ok_or_else(malformed)?;
        let reply: Reply = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let mut tags = reply.tags.unwrap_or_default();
        tags.retain(|tag| is_tag(tag));
        tags.truncate(TAGS_MAX);
        Ok(tags)
    }

    /// A request for something of the repository.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<Request, Failure> {
        let url = format!("{}v2/{}/{path}", self.base, self.name.repository);
        let url = Url::parse(&url);
        let url = url.map_err(|_| Failure::Answer("an address that is malformed".into()))?;
        Ok(Request::new(method, url))
    }
}

fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}
