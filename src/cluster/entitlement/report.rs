//! What a cluster has for builds to take RHEL packages with, and which pools lack something.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::repositories::is_entitled;
use super::{CERTIFICATE, KEY, Paper, PoolCopy};
use super::{compared, copy_name};
use crate::certificate::certificates;
use crate::cluster::kinds::Kind;
use crate::cluster::names::{ENTITLEMENT, KEYS, REPOSITORIES};
use crate::cluster::objects::{Build, LayeredConfig, PRE_BUILT, Pool, created, label, name};
use crate::cluster::server::{JSON, MANAGER, Server};
use crate::containerfile::{Package, contents};

/// What a cluster has. The objects themselves are in it, so it does not show itself.
pub struct Entitlement {
    /// When, by the server's clock.
    pub now: Timestamp,
    /// The cluster's entitlement.
    pub source: Option<Source>,
    /// The repositories that builds have.
    pub repositories: Option<Files>,
    /// The keys that builds have.
    pub keys: Option<Files>,
    /// The pools that have a MachineOSConfig.
    pub pools: Vec<PoolEntitlement>,
    /// The objects, by their names.
    pub(super) objects: BTreeMap<&'static str, Value>,
}

/// The cluster's entitlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Who has written it: field managers, the last one first. Foreign text.
    pub managers: Vec<String>,
    /// What its certificate says; None if it has none.
    pub paper: Option<Paper>,
    /// Whether there is a key with it.
    pub has_key: bool,
}

/// Files that take the place of a directory in builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// Whether repositories among them take an entitlement.
    pub are_entitled: bool,
}

/// What builds of a pool have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolEntitlement {
    /// The pool.
    pub name: String,
    /// How many nodes it has.
    pub nodes: u32,
    /// Its copy of the cluster's entitlement.
    pub copy: PoolCopy,
    /// What the certificate of the copy says.
    pub paper: Option<Paper>,
    /// The build that began last.
    pub build: Option<LastBuild>,
    /// Whether the Containerfile seems to need an entitlement.
    pub need: Need,
    /// Packages that the Containerfile takes from repositories, as written.
    pub packages: Vec<String>,
}

/// The build of a pool that began last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastBuild {
    /// The MachineOSBuild.
    pub name: String,
    /// When its pod began.
    pub began: Timestamp,
    /// Whether the copy was there when its objects were made; None if that can't be told.
    pub had_copy: Option<bool>,
}

/// Whether a Containerfile seems to need an entitlement. It is read, not run: this is a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It names a repository that takes one.
    Named {
        /// Line, from one.
        line: u32,
    },
    /// It installs packages by name, and no repositories are known that would have them without one.
    Likely,
    /// It does neither.
    Unlikely,
}

/// Something that needs somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem<'a> {
    /// The cluster's entitlement is of no use any more.
    Expired(&'a Paper),
    /// The cluster's entitlement lacks its certificate or its key.
    Damaged,
    /// The copy of a pool is of no use any more, and is not the cluster's.
    CopyExpired(&'a PoolEntitlement, &'a Paper),
    /// A pool seems to need an entitlement, and builds of it have none.
    Lacking(&'a PoolEntitlement),
}

/// Asks a cluster: six requests, and one for each pool that has a MachineOSConfig. With `pools`, only those
/// are looked at.
///
/// # Errors
/// As [`Server::snapshot`].
pub async fn look(server: &Server, pools: &[String]) -> Result<Entitlement> {
    let all = server.list::<Pool>(Kind::POOL, None, JSON).await?;
    let (all, now) = (all.items, all.now);
    let configs = server.list::<LayeredConfig>(Kind::LAYERED_CONFIG, None, JSON);
    let mut configs = configs.await?.items;
    configs.retain(|config| pools.is_empty() || pools.iter().any(|pool| pool == pool_of(config)));
    configs.sort_by(|a, b| pool_of(a).cmp(pool_of(b)));
    server.for_pools(configs.iter().map(pool_of));
    let builds = server.list::<Build>(Kind::BUILD, None, JSON).await?.items;
    let source: Option<Value> = server.get(Kind::MANAGED_SECRET, ENTITLEMENT).await?;
    let repositories: Option<Value> = server.get(Kind::CONFIG_MAP, REPOSITORIES).await?;
    let keys: Option<Value> = server.get(Kind::SECRET, KEYS).await?;
    let files = repositories.as_ref().map(files);
    let mut told = Vec::new();
    for config in &configs {
        let pool = pool_of(config);
        let copy: Option<Value> = server.get(Kind::SECRET, &copy_name(pool)).await?;
        let made = copy.as_ref().and_then(|copy| created(&metadata(copy)));
        let text = config.containerfile().unwrap_or_default();
        let (need, packages) = need(text, files.as_ref());
        let machines = all.iter().find(|one| name(&one.metadata) == pool);
        told.push(PoolEntitlement {
            name: pool.to_owned(),
            nodes: machines.map_or(0, |pool| pool.status.machine_count),
            copy: compared(source.as_ref(), copy.as_ref()),
            paper: copy.as_ref().and_then(paper),
            build: last_build(name(&config.metadata), &builds, made),
            need,
            packages,
        });
    }
    let objects = [
        (ENTITLEMENT, &source),
        (REPOSITORIES, &repositories),
        (KEYS, &keys),
    ];
    let objects = objects.into_iter();
    Ok(Entitlement {
        now,
        source: source.as_ref().map(|source| Source {
            managers: managers(source),
            paper: paper(source),
            has_key: source["data"][KEY].is_string(),
        }),
        repositories: files,
        keys: keys.as_ref().map(self::files),
        pools: told,
        objects: objects
            .filter_map(|(name, object)| Some((name, object.clone()?)))
            .collect(),
    })
}

fn pool_of(config: &LayeredConfig) -> &str {
    &config.spec.machine_config_pool.name
}

fn metadata(object: &Value) -> ObjectMeta {
    // It is not of the material; what is damaged is as good as not there.
    ObjectMeta::deserialize(&object["metadata"]).unwrap_or_default()
}

/// Field managers of an object, the last one first.
fn managers(object: &Value) -> Vec<String> {
    let mut fields = metadata(object).managed_fields.unwrap_or_default();
    fields.sort_by_key(|entry| std::cmp::Reverse(entry.time.as_ref().map(|time| time.0)));
    let mut names: Vec<String> = Vec::new();
    for name in fields.into_iter().filter_map(|entry| entry.manager) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What the certificate in a Secret says.
fn paper(secret: &Value) -> Option<Paper> {
    let pem = STANDARD
        .decode(secret["data"][CERTIFICATE].as_str()?)
        .ok()?;
    let found = certificates(str::from_utf8(&pem).ok()?).next()?;
    Paper::of(&found)
}

fn files(object: &Value) -> Files {
    let data = object["data"].as_object();
    let data = || data.into_iter().flatten();
    let mut names: Vec<String> = data().map(|(name, _)| name.clone()).collect();
    names.sort();
    let are_entitled = data().any(|(_, text)| text.as_str().is_some_and(is_entitled));
    Files {
        names,
        are_entitled,
    }
}

fn need(containerfile: &str, repositories: Option<&Files>) -> (Need, Vec<String>) {
    let contents = contents(containerfile.as_bytes());
    let packages = contents.packages.iter();
    let packages: Vec<String> = packages
        .filter(|package| package.is_by_name())
        .map(|Package { text, .. }| text.clone())
        .collect();
    // These take the place of all that the image and the Containerfile have.
    let has_others = match repositories {
        Some(repositories) => !repositories.are_entitled,
        None => contents.has_repositories,
    };
    let need = match contents.entitled {
        Some(line) if repositories.is_none_or(|files| files.are_entitled) => Need::Named { line },
        _ if packages.is_empty() || has_others => Need::Unlikely,
        _ => Need::Likely,
    };
    (need, packages)
}

/// The build of `config` that began last. Those that took over an image never began.
fn last_build(config: &str, builds: &[Build], copied: Option<Timestamp>) -> Option<LastBuild> {
    let of_config = builds
        .iter()
        .filter(|build| build.spec.config.name == config);
    let run = of_config.filter(|build| label(&build.metadata, PRE_BUILT).is_none());
    let begun = run.filter_map(|build| Some((build.status.build_start.as_ref()?.0, build)));
    let (began, build) = begun.max_by_key(|(began, _)| *began)?;
    // Its objects are made between these two.
    let asked = created(&build.metadata);
    let had_copy = copied.and_then(|copied| match () {
        () if asked.is_some_and(|asked| copied < asked) => Some(true),
        () if copied > began => Some(false),
        () => None,
    });
    Some(LastBuild {
        name: name(&build.metadata).to_owned(),
        began,
        had_copy,
    })
}

impl Source {
    /// Whether nobody else has written it.
    pub fn is_ours(&self) -> bool {
        let mut managers = self.managers.iter();
        managers.all(|manager| manager == MANAGER)
    }

    /// Whether the Insights operator writes it, which it does again every eight hours
    /// (insights-operator pkg/ocm/sca/sca.go@1a3bd690de; that its field manager is called so is an
    /// assumption).
    pub fn is_of_insights(&self) -> bool {
        let mut managers = self.managers.iter();
        managers.any(|manager| manager.contains("insights"))
    }
}

impl Problem<'_> {
    /// Whether it is of this pool.
    pub fn is_of(&self, pool: &PoolEntitlement) -> bool {
        match self {
            Self::CopyExpired(of, _) | Self::Lacking(of) => of.name == pool.name,
            Self::Expired(_) | Self::Damaged => false,
        }
    }
}

impl PoolEntitlement {
    /// Whether builds of the pool find an entitlement.
    pub fn has_copy(&self) -> bool {
        !matches!(self.copy, PoolCopy::NoSource | PoolCopy::Missing)
    }
}

impl Entitlement {
    /// What needs somebody.
    pub fn problems(&self) -> Vec<Problem<'_>> {
        let is_over = |paper: &&Paper| paper.until <= self.now;
        let mut problems = Vec::new();
        if let Some(source) = &self.source {
            match &source.paper {
                Some(paper) if is_over(&paper) => problems.push(Problem::Expired(paper)),
                Some(_) if source.has_key => {}
                _ => problems.push(Problem::Damaged),
            }
        }
        for pool in &self.pools {
            let is_own = pool.copy != PoolCopy::Current;
            let over = pool.paper.as_ref().filter(is_over).filter(|_| is_own);
            match over {
                Some(paper) => problems.push(Problem::CopyExpired(pool, paper)),
                None if pool.need != Need::Unlikely && !pool.has_copy() => {
                    problems.push(Problem::Lacking(pool));
                }
                None => {}
            }
        }
        problems
    }
}
