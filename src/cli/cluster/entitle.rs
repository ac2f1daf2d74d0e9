//! `coreos-bake cluster entitle`: whether builds can install RHEL packages, and what they do that with.

mod shown;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tempfile::NamedTempFile;

use super::{AccessArgs, print_roles, runtime};
use crate::cli::Outcome;
use crate::cli::terminal::Terminal;
use crate::cluster::entitlement::{Entitlement, Material, Plan, Step, Work, look};
use crate::cluster::{Conflict, Server, Task};
use crate::failure::Failure;
use crate::foreign::visible;

/// Pools that every cluster has; roles are printed for these if none are named.
const POOLS: [&str; 2] = ["master", "worker"];

/// Tell whether builds can install RHEL packages, and set it up once
///
/// Without options it only looks: the cluster's entitlement and until when it is
/// valid, the copy of it that builds of each pool take, repositories and keys, and
/// whether the last build had the copy. Exits with 3 if an entitlement has expired, or
/// a pool's Containerfile seems to need one and has none. With files, it gives them to
/// the cluster; builds that run and nodes are not affected. Keys are never shown.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("material").multiple(true)))]
pub(super) struct EntitleArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Only this pool; for several, say it again
    #[arg(long = "pool", value_name = "POOL")]
    pools: Vec<String>,
    /// Give the cluster what a registered RHEL host has [default DIR: /]
    ///
    /// DIR/etc/yum.repos.d/*.repo, DIR/etc/pki/rpm-gpg/*, and if the cluster has no
    /// entitlement, the pair of DIR/etc/pki/entitlement that is valid the longest.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "/", group = "material", conflicts_with_all = ["repo", "gpg_key", "entitlement"])]
    from_host: Option<PathBuf>,
    /// Give builds these repositories, which hide those of the image
    #[arg(long, value_name = "FILE", num_args = 1.., group = "material")]
    repo: Vec<PathBuf>,
    /// Give builds these keys of packages, which hide those of the image
    #[arg(long, value_name = "FILE", num_args = 1.., group = "material")]
    gpg_key: Vec<PathBuf>,
    /// Give the cluster this entitlement: a certificate
    #[arg(
        long,
        value_name = "FILE",
        group = "material",
        requires = "entitlement_key"
    )]
    entitlement: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "entitlement")]
    entitlement_key: Option<PathBuf>,
    /// Take over what others have set
    #[arg(long, requires = "material")]
    force_conflicts: bool,
    /// Only tell what would be done
    #[arg(long, requires = "material")]
    dry_run: bool,
    /// Write the objects to FILE, and ask no cluster
    ///
    /// For GitOps. With an entitlement, FILE has a private key, and only its owner can
    /// read it.
    #[arg(short, long, value_name = "FILE", requires = "material", conflicts_with_all = ["dry_run", "force_conflicts"])]
    output: Option<PathBuf>,
    /// Print the roles that this needs in the cluster, and stop
    #[arg(long)]
    print_rbac: bool,
}

impl EntitleArgs {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Outcome> {
        let is_set_up = self.from_host.is_some()
            || !self.repo.is_empty()
            || !self.gpg_key.is_empty()
            || self.entitlement.is_some();
        let task = match is_set_up {
            true => Task::SetEntitlement,
            false => Task::Entitle,
        };
        let mut pools = self.pools;
        if self.print_rbac {
            if pools.is_empty() {
                pools = POOLS.map(str::to_owned).to_vec();
            }
            return print_roles(task, &pools, terminal);
        }
        let is_of_host = self.from_host.is_some();
        let material = match (self.from_host, is_set_up) {
            (_, false) => None,
            (Some(root), true) => Some(Material::of_host(&root)?),
            (None, true) => {
                let pair = self.entitlement.zip(self.entitlement_key);
                Some(Material::of_files(self.repo, self.gpg_key, pair)?)
            }
        };
        if let (Some(material), Some(path)) = (&material, &self.output) {
            return write(material, path, terminal);
        }
        let access = self.access.access();
        let (force, is_dry) = (self.force_conflicts, self.dry_run);
        runtime()?.block_on(async {
            let server = Server::new(&access, task).await?;
            let found = look(&server, &pools).await?;
            require_pools(&found, &pools)?;
            let Some(mut material) = material else {
                return shown::show(&found, server.spent(), terminal);
            };
            let is_others = found
                .source
                .as_ref()
                .is_some_and(|source| !source.is_ours());
            let is_left_out = is_of_host && is_others && material.has_entitlement();
            if is_left_out {
                material = material.without_entitlement();
            }
            let plan = Plan::new(&material, &found, force)?;
            if !is_dry {
                server.require_rights().await?;
                apply(&plan, &server, force).await?;
            }
            let set = shown::Set {
                steps: &plan.steps,
                remarks: material.remarks(),
                found: &found,
                is_dry,
                is_left_out,
                is_none_there: is_of_host && found.source.is_none() && !material.has_entitlement(),
            };
            set.show(terminal)
        })
    }
}

/// Fails on a pool that nothing is built for.
fn require_pools(found: &Entitlement, pools: &[String]) -> Result<()> {
    let is_there = |pool: &&String| !found.pools.iter().any(|known| known.name == **pool);
    match pools.iter().find(is_there) {
        None => Ok(()),
        Some(pool) => Err(Failure::new(
            format!("no image is built for pool {pool:?}: it has no MachineOSConfig"),
            "`coreos-bake cluster status` tells which pools there are",
        )
        .into()),
    }
}

async fn apply(plan: &Plan, server: &Server, force: bool) -> Result<()> {
    let mut done: Vec<String> = Vec::new();
    for step in plan.steps.iter().filter(|step| step.work != Work::Nothing) {
        let conflicts = step.apply(server, force).await?;
        if !conflicts.is_empty() {
            return Err(refused(step, &conflicts, &done));
        }
        done.push(step.object());
    }
    Ok(())
}

fn refused(step: &Step, conflicts: &[Conflict], done: &[String]) -> anyhow::Error {
    let conflicts: Vec<String> = conflicts
        .iter()
        .map(|conflict| {
            let (field, owner) = (visible(&conflict.field), visible(&conflict.owner));
            format!("{field} is of {owner}")
        })
        .collect();
    let done = match done {
        [] => String::new(),
        done => format!("; done before it: {}", done.join(", ")),
    };
    let (object, conflicts) = (step.object(), conflicts.join(", "));
    Failure::new(
        format!("{object} has fields of others: {conflicts}{done}"),
        "ask them, or take the fields over with --force-conflicts",
    )
    .into()
}

/// Writes the objects to a file that is not there yet.
fn write(material: &Material, path: &Path, terminal: &Terminal) -> Result<Outcome> {
    // There is no server whose clock would tell.
    material.check(Timestamp::now())?;
    let writing = || format!("writing {}", path.display());
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Only the owner can read it.
    let mut file = NamedTempFile::new_in(directory).with_context(writing)?;
    let objects = material.objects();
    let mut text =
        "# For `oc apply --server-side -f`: without --server-side, what is in here would \
                    become an annotation, which may be too large for one.\n"
            .to_owned();
    for object in &objects {
        text += "---\n";
        text += &serde_saphyr::to_string(object).context("writing YAML")?;
    }
    file.write_all(text.as_bytes()).with_context(writing)?;
    if !material.has_entitlement() {
        let everybody = Permissions::from_mode(0o644);
        file.as_file()
            .set_permissions(everybody)
            .with_context(writing)?;
    }
    file.as_file().sync_all().with_context(writing)?;
    if let Err(error) = file.persist_noclobber(path) {
        let is_there = error.error.kind() == std::io::ErrorKind::AlreadyExists;
        return match is_there {
            true => Err(Failure::new(
                format!("{} exists", path.display()),
                "name another file, or remove it",
            )
            .into()),
            false => Err(error.error).with_context(writing),
        };
    }
    let value = json!({
        "schema": "coreos-bake/cluster-entitlement-file/v1",
        "file": path,
        "has-private-key": material.has_entitlement(),
        "remarks": material.remarks(),
    });
    terminal.result(&value, &shown::written(material, path, terminal))?;
    Ok(Outcome::Done)
}
