//! What builds are to be given, as files have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use super::repositories::in_builds;
use super::{CERTIFICATE, KEY, Paper};
use crate::certificate::certificates;
use crate::cluster::kinds::Kind;
use crate::cluster::names::{ENTITLEMENT, KEYS, REPOSITORIES};
use crate::failure::Failure;
use crate::limited;

/// Most bytes of all values of a Secret, and of a ConfigMap (kubernetes pkg/apis/core/types.go
/// `MaxSecretSize`; that ConfigMaps have the same limit is an assumption).
const OBJECT_BYTES_MAX: usize = 1 << 20;
/// Most files of a host's directory.
const FILES_MAX: usize = 512;
/// Most characters of a key of a Secret or a ConfigMap (kubernetes apimachinery `IsConfigMapKey`).
const NAME_MAX: usize = 253;
/// What every private key in PEM has.
const PRIVATE: &str = "PRIVATE KEY-----";
/// What a host calls the key of the entitlement `X.pem`: `X-key.pem`.
const KEY_SUFFIX: &str = "-key";

/// What builds are to be given. It has key material in it, and so neither shows itself.
pub struct Material {
    repositories: BTreeMap<String, String>,
    keys: BTreeMap<String, Vec<u8>>,
    entitlement: Option<Pair>,
    remarks: Vec<String>,
}

/// An entitlement: a certificate and its key, in PEM.
struct Pair {
    paper: Paper,
    certificate: Vec<u8>,
    key: Vec<u8>,
    path: PathBuf,
}

/// An object that a cluster is to have.
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) object: Value,
}

impl Material {
    /// What a subscribed host has, whose root directory is `root`: `etc/yum.repos.d/*.repo`,
    /// `etc/pki/rpm-gpg/*`, and of `etc/pki/entitlement` the pair that is valid the longest.
    ///
    /// # Errors
    /// A host that has nothing of it; files that can't be read, are too many or too large, or are not what
    /// they should be.
    pub fn of_host(root: &Path) -> Result<Self> {
        let all = |directory: &str| files(&root.join(directory));
        let repositories = all("etc/yum.repos.d")?
            .into_iter()
            .filter(|path| has_extension(path, "repo"));
        let keys = all("etc/pki/rpm-gpg")?;
        let pairs = pairs(all("etc/pki/entitlement")?)?;
        let entitlement = pairs.into_iter().max_by_key(|pair| pair.paper.until);
        let material = Self::new(repositories.collect(), keys, entitlement)?;
        if material.is_empty() {
            return Err(Failure::new(
                format!(
                    "{} has neither repositories nor keys nor an entitlement",
                    root.display()
                ),
                "name the root directory of a RHEL host that `subscription-manager` has registered",
            )
            .into());
        }
        Ok(material)
    }

    /// What single files have, of which `entitlement` are the certificate and its key.
    ///
    /// # Errors
    /// As [`Material::of_host`].
    pub fn of_files(
        repositories: Vec<PathBuf>,
        keys: Vec<PathBuf>,
        entitlement: Option<(PathBuf, PathBuf)>,
    ) -> Result<Self> {
        let pair = entitlement.map(|(certificate, key)| Pair::read(certificate, &key));
        Self::new(repositories, keys, pair.transpose()?)
    }

    fn new(
        repositories: Vec<PathBuf>,
        keys: Vec<PathBuf>,
        entitlement: Option<Pair>,
    ) -> Result<Self> {
        let hint = "name those that builds need with --gpg-key";
        let keys = contents(keys, KEYS, hint, |path, content| {
            refuse_private(path, content, "a key that packages are signed by")?;
            Ok(content.to_vec())
        })?;
        let hint = "name those that builds need with --repo";
        let texts = contents(repositories, REPOSITORIES, hint, |path, content| {
            refuse_private(path, content, "a file of repositories")?;
            let text = str::from_utf8(content).ok();
            let text = text.filter(|text| !text.contains('\0'));
            let text = text.with_context(|| format!("{} is not text", path.display()))?;
            Ok(text.to_owned())
        })?;
        let names: BTreeSet<&str> = keys.keys().map(String::as_str).collect();
        let mut remarks = Vec::new();
        let repositories = texts.into_iter().map(|(name, text)| {
            let (text, said) = in_builds(&name, &text, &names);
            remarks.extend(said);
            (name, text)
        });
        let repositories = repositories.collect();
        Ok(Self {
            repositories,
            keys,
            entitlement,
            remarks,
        })
    }

    fn is_empty(&self) -> bool {
        self.repositories.is_empty() && self.keys.is_empty() && self.entitlement.is_none()
    }

    /// What was changed in it, and what would not work in a build. Foreign text in it is visible.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Whether a private key is in it.
    pub fn has_entitlement(&self) -> bool {
        self.entitlement.is_some()
    }

    /// Leaves the entitlement out.
    pub fn without_entitlement(mut self) -> Self {
        self.entitlement = None;
        self
    }

    /// Fails if the entitlement is not valid at `now`.
    ///
    /// # Errors
    /// One that is expired, or not valid yet.
    pub fn check(&self, now: Timestamp) -> Result<()> {
        let Some(Pair { paper, path, .. }) = &self.entitlement else {
            return Ok(());
        };
        let path = path.display();
        let (sentence, time) = match () {
            () if paper.until <= now => ("expired on", paper.until),
            () if paper.from > now => ("is not valid before", paper.from),
            () => return Ok(()),
        };
        Err(Failure::new(
            format!("{path} {sentence} {}", time.strftime("%F %TZ")),
            "renew it on the host: `subscription-manager refresh`",
        )
        .into())
    }

    /// The objects. They have the material in them: they are for the cluster, or a file.
    pub fn objects(&self) -> Vec<Value> {
        let wanted = self.wanted().into_iter();
        wanted.map(|wanted| wanted.object).collect()
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let encoded = |content: &[u8]| json!(STANDARD.encode(content));
        let mut all = Vec::new();
        if !self.keys.is_empty() {
            let data = self.keys.iter();
            let data = data.map(|(name, content)| (name.clone(), encoded(content)));
            all.push(Wanted::new(Kind::SECRET, KEYS, data.collect()));
        }
        if !self.repositories.is_empty() {
            let data = self.repositories.iter();
            let data = data.map(|(name, text)| (name.clone(), json!(text)));
            all.push(Wanted::new(Kind::CONFIG_MAP, REPOSITORIES, data.collect()));
        }
        if let Some(pair) = &self.entitlement {
            let data = [
                (CERTIFICATE.to_owned(), encoded(&pair.certificate)),
                (KEY.to_owned(), encoded(&pair.key)),
            ];
            all.push(Wanted::new(
                Kind::MANAGED_SECRET,
                ENTITLEMENT,
                data.into_iter().collect(),
            ));
        }
        all
    }
}

impl Wanted {
    fn new(kind: Kind, name: &str, data: Map<String, Value>) -> Self {
        let mut object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.name,
            "metadata": { "name": name, "namespace": kind.namespace },
            "data": data,
        });
        if kind.name == Kind::SECRET.name {
            object["type"] = json!("Opaque");
        }
        Self { kind, object }
    }
}

impl Pair {
    fn read(certificate: PathBuf, key: &Path) -> Result<Self> {
        let path = certificate;
        let certificate = content(&path)?;
        let key_path = key.display();
        let key = content(key)?;
        let found = str::from_utf8(&certificate).ok();
        let found = found.and_then(|pem| certificates(pem).next());
        let no_certificate = || format!("{} has no certificate in PEM", path.display());
        let found = found.with_context(no_certificate)?;
        // Its error might say what it read.
        let parsed = PrivateKeyDer::from_pem_slice(&key).ok();
        let parsed = parsed.with_context(|| format!("{key_path} has no private key in PEM"))?;
        // A kind of key that isn't known can't be compared.
        let public = any_supported_type(&parsed).ok();
        let public = public.and_then(|signer| signer.public_key().map(|key| key.to_vec()));
        if public.is_some_and(|public| public != found.public_key) {
            return Err(Failure::new(
                format!("{key_path} is not the key of {}", path.display()),
                "a host calls the key of X.pem X-key.pem",
            )
            .into());
        }
        let paper = Paper::of(&found);
        let paper = paper.with_context(no_certificate)?;
        Ok(Self {
            paper,
            certificate,
            key,
            path,
        })
    }
}

/// The pairs of a certificate and its key among `paths`.
fn pairs(paths: Vec<PathBuf>) -> Result<Vec<Pair>> {
    let all: BTreeSet<PathBuf> = paths.into_iter().collect();
    let mut pairs = Vec::new();
    for path in all.iter().filter(|path| has_extension(path, "pem")) {
        let stem = path.file_stem().unwrap_or_default();
        let mut key = stem.to_os_string();
        key.push(format!("{KEY_SUFFIX}.pem"));
        let key = path.with_file_name(key);
        if all.contains(&key) {
            pairs.push(Pair::read(path.clone(), &key)?);
        }
    }
    Ok(pairs)
}

/// The regular files in a directory, by name; none if it is not there.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut paths = Vec::new();
    for entry in entries.take(FILES_MAX + 1) {
        let path = entry.with_context(reading)?.path();
        // What a link leads to counts.
        if path.is_file() {
            paths.push(path);
        }
    }
    anyhow::ensure!(
        paths.len() <= FILES_MAX,
        "{} has more than {FILES_MAX} files",
        directory.display()
    );
    paths.sort();
    Ok(paths)
}

/// What files have, by their names, if the object `object` can hold all of it.
fn contents<T>(
    paths: Vec<PathBuf>,
    object: &str,
    hint: &str,
    read: impl Fn(&Path, &[u8]) -> Result<T>,
) -> Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    let mut bytes = 0;
    for path in paths {
        let name = name(&path)?;
        let content = content(&path)?;
        bytes += content.len();
        if bytes > OBJECT_BYTES_MAX {
            return Err(Failure::new(
                format!(
                    "{object} would have more than the {OBJECT_BYTES_MAX} bytes that it can hold"
                ),
                hint,
            )
            .into());
        }
        let value = read(&path, &content)?;
        if all.insert(name.clone(), value).is_some() {
            return Err(Failure::new(
                format!("two files are called {name}"),
                "builds have them in one directory: rename one",
            )
            .into());
        }
    }
    Ok(all)
}

/// A file's name, if it can be one in a Secret or a ConfigMap.
fn name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let may = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_key = |name: &&str| {
        name.len() <= NAME_MAX && name.chars().all(may) && *name != "." && !name.starts_with("..")
    };
    name.filter(is_key).map(str::to_owned).ok_or_else(|| {
        Failure::new(
            format!("{} has a name that no object can hold", path.display()),
            "letters, digits, `-`, `_` and `.` can be in it: rename a copy",
        )
        .into()
    })
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let reading = || format!("reading {}", path.display());
    // Others, such as a pipe, may never end.
    anyhow::ensure!(
        !path.exists() || path.is_file(),
        "{} is not a file",
        path.display()
    );
    let limit = u64::try_from(OBJECT_BYTES_MAX)?;
    let read = File::open(path).and_then(|file| limited::stream(file, limit));
    let content = read.with_context(reading)?.with_context(|| {
        format!(
            "{} has more than {OBJECT_BYTES_MAX} bytes, which is all that an object can hold",
            path.display()
        )
    })?;
    anyhow::ensure!(!content.is_empty(), "{} is empty", path.display());
    Ok(content)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Fails on what was meant for another option; nobody would want it where many can read it.
fn refuse_private(path: &Path, content: &[u8], what: &str) -> Result<()> {
    let mut parts = content.windows(PRIVATE.len());
    if parts.any(|part| part == PRIVATE.as_bytes()) {
        return Err(Failure::new(
            format!("{} has a private key, and is not {what}", path.display()),
            "the key of an entitlement is named with --entitlement-key",
        )
        .into());
    }
    Ok(())
}
