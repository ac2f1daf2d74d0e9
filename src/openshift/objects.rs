//! All that one installation needs, or why its machines would not come up.
//!
//! ```text
//! manifests  MachineConfigs per pool, or MachineOSConfigs with their seed   before create ignition-configs
//! fragments  Ignition configs per role                                      after it
//! day_two    patches for the running cluster
//! notes      what the admin has to know
//! ```
//!
//! Nodes get the drivers' files and units from a MachineConfig, so that the cluster knows of them; the
//! fragments of nodes are for directories in which no manifest is read any more. The bootstrap machine
//! has its fragment only.
//!
//! Manifests go into `openshift`, the folder that every kind of installation reads.

use std::collections::BTreeMap;

use serde_json::Value;

use super::boot_images::DayTwo;
use super::driver::{DriverError, fragment};
use super::image_reference::{OsImage, OsImageError};
use super::machine_config::{
    MACHINE_CONFIG_MAX_BYTES, MACHINE_CONFIG_WARN_BYTES, MachineConfig, ObjectError, size_bytes,
};
use super::machine_os_config::{Seed, SeedError};
use super::manifest::{Folder, Manifest};
use super::notes::{Note, notes};
use super::release::{Release, Seeding};
use super::request::{Derivation, Request};
use super::role::Role;

/// Bytes of a fragment from which on it may not fit into an ISO with the rest: the area for configs
/// has 256 KiB, of which nesting leaves some 190: `coreos-installer iso customize` puts one config into
/// another, and base64 in between compresses badly.
const FRAGMENT_LARGE_BYTES: usize = 190 << 10;

/// What a request needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Files for the install directory, by folder and name.
    pub manifests: Vec<Manifest>,
    /// Ignition configs of spec 3.2.0 to be flattened into those of the installer.
    pub fragments: BTreeMap<Role, Value>,
    /// Files for the running cluster, in their order.
    pub day_two: Vec<DayTwo>,
    /// What the admin has to know or do later.
    pub notes: Vec<Note>,
}

/// Why there is nothing that would bring a cluster up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody to install.
    #[error("no role is named that could be installed")]
    NoRoles,
    /// An install directory of another release.
    #[error("{file} is of OpenShift {}.{}, and not of {asked}", told.0, told.1)]
    OtherRelease {
        /// The file that says so.
        file: String,
        /// Its release.
        told: (u16, u16),
        /// The one that was named.
        asked: Release,
    },
    /// Nodes would change to an image that nobody looked into.
    #[error(
        "no image is named for {} nodes{}: at their first boot they change to the release's {tag}, which \
         is not known to have your drivers",
        pools.join(" and "),
        if *is_baked { ", and that of the media is in no registry" } else { "" },
    )]
    NoOsImage {
        /// Their pools.
        pools: Vec<String>,
        /// Whether there are media, whose image has no name that nodes could pull.
        is_baked: bool,
        /// The image in the release's payload.
        tag: &'static str,
    },
    /// The bootstrap machine would find two images in its repository.
    #[error(
        "the media are of {name}, which has no OpenShift in it: the bootstrap machine of {release} \
         pulls the node image beside it, finds two images of registries, and gives up"
    )]
    TwoImages {
        /// The image.
        name: String,
        /// The release.
        release: Release,
    },
    /// Nodes would have no kubelet.
    #[error("{0} has no OpenShift in it: nodes that run it never join the cluster")]
    NoKubelet(String),
    /// Two sources for one pool's image.
    #[error("{file} sets the image of pool {pool} as well ({source_name})")]
    TwoSources {
        /// The other's file.
        file: String,
        /// The pool.
        pool: String,
        /// The other's image or stream.
        source_name: String,
    },
    /// Another object of the same name.
    #[error("{file} has a {kind} {name} already")]
    NameTaken {
        /// The other's file.
        file: String,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A seed that nobody would look at.
    #[error("OpenShift {0} can't be installed with a MachineOSConfig; 4.21 is the first that can")]
    NoSeeding(Release),
    /// A seed without the image that was built.
    #[error("a MachineOSConfig needs the image that the machines are installed with")]
    SeedWithoutImage,
    /// A seed for nobody.
    #[error("a MachineOSConfig is for the pool of nodes, and the bootstrap machine is in none")]
    SeedWithoutPool,
    /// The pull secret doesn't have the registry.
    #[error("the pull secret has no credentials for {registry}, where the nodes' image is")]
    NotInPullSecret {
        /// The image's registry.
        registry: String,
    },
    /// The pool's MachineConfigs together.
    #[error(
        "the MachineConfigs of pool {pool} have {bytes} bytes together, and \
         {MACHINE_CONFIG_MAX_BYTES} are taken"
    )]
    TooLarge {
        /// The pool.
        pool: String,
        /// Their length.
        bytes: usize,
    },
    /// The image's name.
    #[error(transparent)]
    Image(#[from] OsImageError),
    /// A driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A MachineConfig.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A MachineOSConfig.
    #[error(transparent)]
    Seed(#[from] SeedError),
}

impl RequestError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OtherRelease { .. } => Some(
                "name the directory's release with --release; if openshift-install is made to install \
                 another one, add --allow-other-release",
            ),
            Self::NoOsImage { .. } => Some(
                "name it with --os-image NAME@sha256:DIGEST; if the release's own image has the drivers, \
                 add --allow-release-image",
            ),
            Self::TwoImages { .. } => Some(
                "bake from an image derived from the release's node image, or with a --target-imgref \
                 that is no registry's",
            ),
            Self::NoKubelet(_) => Some(
                "derive the image from the release's node image (oc adm release info --image-for)",
            ),
            Self::TwoSources { .. } => Some("leave one of them out"),
            Self::NoSeeding(_) => Some(
                "install with osImageURL, and create the MachineOSConfig when the cluster is up",
            ),
            Self::SeedWithoutImage => Some("name it with --os-image"),
            Self::NotInPullSecret { .. } => {
                Some("add the registry to pullSecret of install-config.yaml")
            }
            Self::Image(OsImageError::Tag(_) | OsImageError::TagAndDigest(_)) => {
                Some("write NAME@sha256:DIGEST; skopeo inspect and oc image info show the digest")
            }
            Self::Image(OsImageError::NotForBuilds { .. } | OsImageError::PushSpec { .. }) => Some(
                "a registry with a dot, at most one namespace, a name: quay.example.com/team/os",
            ),
            _ => None,
        }
    }
}

/// Makes the objects for a request, or says what would keep its machines from coming up.
pub fn objects(request: &Request) -> Result<Objects, RequestError> {
    let release = request.release;
    if request.roles.is_empty() {
        return Err(RequestError::NoRoles);
    }
    let image = request
        .os_image
        .as_deref()
        .map(str::parse::<OsImage>)
        .transpose()?;
    check_release(request)?;
    check_media(request)?;
    if let Some(image) = &image {
        check_image(request, image)?;
    }
    check_seed(request, image.as_ref())?;
    check_nodes(request)?;

    let config = match request.drivers.is_empty() {
        true => None,
        false => Some(fragment(&request.drivers)?),
    };
    let mut objects = Objects {
        manifests: Vec::new(),
        fragments: BTreeMap::new(),
        day_two: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(config) = &config {
        let configs = request.roles.iter().map(|role| (*role, config.clone()));
        objects.fragments = configs.collect();
        let bytes = size_bytes(config);
        if bytes > FRAGMENT_LARGE_BYTES {
            objects.notes.push(Note {
                id: "ignition-area",
                sentence: format!(
                    "the drivers add {bytes} bytes to each Ignition config; for those embedded into an \
                     ISO, bake it with --ignition-area"
                ),
                commands: Vec::new(),
            });
        }
    }
    for pool in request.roles.iter().filter_map(|role| role.pool()) {
        let made = pool_objects(request, pool, image.as_ref(), config.as_ref())?;
        objects.notes.extend(size_note(pool, &made)?);
        for (name, value) in made {
            check_found(request, pool, &value)?;
            objects.manifests.push(Manifest {
                folder: Folder::Openshift,
                name: format!("{name}.yaml"),
                value,
            });
        }
    }
    if let Some(secret) = request
        .seed
        .as_ref()
        .map(Seed::secret)
        .transpose()?
        .flatten()
    {
        objects.manifests.push(Manifest {
            folder: Folder::Openshift,
            name: "99-coreos-bake-push-secret.yaml".to_owned(),
            value: secret,
        });
    }
    objects
        .manifests
        .sort_by(|a, b| (a.folder, &a.name).cmp(&(b.folder, &b.name)));
    objects.notes.extend(notes(request, image.as_ref()));
    if let Some(boot_images) = &request.boot_images {
        objects.day_two = boot_images.day_two(release);
        let notes = objects.day_two.iter().map(|step| Note {
            id: "boot-images",
            sentence: format!("{}: {}", step.name, step.sentence),
            commands: step.commands.clone(),
        });
        objects.notes.extend(notes);
    }
    Ok(objects)
}

/// The objects of one pool, by the names of their files.
fn pool_objects(
    request: &Request,
    pool: &str,
    image: Option<&OsImage>,
    config: Option<&Value>,
) -> Result<Vec<(String, Value)>, RequestError> {
    let mut made = Vec::new();
    // With a seed, the operator makes the MachineConfig that names the image.
    let os_image = image.filter(|_| request.seed.is_none());
    for machine_config in [
        MachineConfig {
            role: pool.to_owned(),
            about: "drivers".to_owned(),
            ignition: config.cloned(),
            ..MachineConfig::default()
        },
        MachineConfig {
            role: pool.to_owned(),
            about: "os".to_owned(),
            os_image: os_image.cloned(),
            kernel_arguments: request.kernel_arguments.clone(),
            ..MachineConfig::default()
        },
    ] {
        let is_empty = machine_config.os_image.is_none()
            && machine_config.kernel_arguments.is_empty()
            && machine_config.ignition.is_none();
        if !is_empty {
            made.push((machine_config.name(), machine_config.object()?));
        }
    }
    if let (Some(seed), Some(image)) = (&request.seed, image) {
        let name = format!("99-{pool}-coreos-bake-machineosconfig");
        made.push((name, seed.object(pool, image)?));
    }
    Ok(made)
}

/// Rules differ between releases, so they have to be those of the directory.
fn check_release(request: &Request) -> Result<(), RequestError> {
    match &request.told_release {
        Some(told) if told.minor != request.release.minor() => Err(RequestError::OtherRelease {
            file: told.file.clone(),
            told: told.minor,
            asked: request.release,
        }),
        _ => Ok(()),
    }
}

/// Nodes that are told of no image leave the one that they were installed with.
fn check_nodes(request: &Request) -> Result<(), RequestError> {
    let has_drivers = request.media.is_some() || !request.drivers.is_empty();
    if request.os_image.is_some() || request.release_image || !has_drivers {
        return Ok(());
    }
    let pools = request.roles.iter().filter_map(|role| role.pool());
    let pools: Vec<String> = pools
        .filter(|pool| !request.imaged_pools.contains(*pool))
        .map(str::to_owned)
        .collect();
    match pools.is_empty() {
        true => Ok(()),
        false => Err(RequestError::NoOsImage {
            pools,
            is_baked: request.media.is_some(),
            tag: request
                .release
                .payload_tag(request.release.default_stream()),
        }),
    }
}

/// The bootstrap machine's repository may hold one image of a registry only.
fn check_media(request: &Request) -> Result<(), RequestError> {
    let release = request.release;
    let Some(media) = &request.media else {
        return Ok(());
    };
    let overlays = release.bootstrap_overlays() && request.roles.contains(&Role::Bootstrap);
    match &media.registry_name {
        Some(name) if overlays && media.derivation == Derivation::Base => {
            Err(RequestError::TwoImages {
                name: name.clone(),
                release,
            })
        }
        _ => Ok(()),
    }
}

fn check_image(request: &Request, image: &OsImage) -> Result<(), RequestError> {
    // Up to 4.18 the plain OS has all of OpenShift's programs in it.
    let is_plain =
        |derivation| derivation == Derivation::Base && request.release.bootstrap_overlays();
    let media = request.media.as_ref();
    let is_media = media.is_some_and(|media| media.is(image) && is_plain(media.derivation));
    if is_media || is_plain(request.os_image_derivation) {
        return Err(RequestError::NoKubelet(image.to_string()));
    }
    match &request.pull_secret {
        Some(secret) if !request.anonymous_pull && secret.entry_for(image).is_none() => {
            Err(RequestError::NotInPullSecret {
                registry: image.registry().to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn check_seed(request: &Request, image: Option<&OsImage>) -> Result<(), RequestError> {
    if request.seed.is_none() {
        return Ok(());
    }
    if request.release.seeding() == Seeding::Missing {
        return Err(RequestError::NoSeeding(request.release));
    }
    if image.is_none() {
        return Err(RequestError::SeedWithoutImage);
    }
    match request.roles.iter().any(|role| role.pool().is_some()) {
        true => Ok(()),
        false => Err(RequestError::SeedWithoutPool),
    }
}

/// Fails if another manifest takes the object's name, or decides about the pool's image.
fn check_found(request: &Request, pool: &str, object: &Value) -> Result<(), RequestError> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    for found in &request.found {
        if found.kind == kind && found.name == name {
            return Err(RequestError::NameTaken {
                file: found.file.clone(),
                kind: found.kind.clone(),
                name: found.name.clone(),
            });
        }
        // A build replaces the image of its pool, whether it names one or not.
        let builds = (found.kind == "MachineOSConfig").then_some(&found.name);
        let sets = found.os_image.as_ref().or(found.stream.as_ref()).or(builds);
        if let Some(source_name) = sets
            && found.pool == pool
            && request.os_image.is_some()
        {
            return Err(RequestError::TwoSources {
                file: found.file.clone(),
                pool: pool.to_owned(),
                source_name: source_name.clone(),
            });
        }
    }
    Ok(())
}

/// The operator renders a pool's MachineConfigs into one, and measures that.
fn size_note(pool: &str, made: &[(String, Value)]) -> Result<Option<Note>, RequestError> {
    let bytes: usize = made
        .iter()
        .filter(|(_, object)| object["kind"] == "MachineConfig")
        .map(|(_, object)| size_bytes(object))
        .sum();
    if bytes > MACHINE_CONFIG_MAX_BYTES {
        let pool = pool.to_owned();
        return Err(RequestError::TooLarge { pool, bytes });
    }
    Ok((bytes > MACHINE_CONFIG_WARN_BYTES).then(|| Note {
        id: "machine-config-size",
        sentence: format!(
            "the MachineConfigs of pool {pool} have {bytes} bytes of the {MACHINE_CONFIG_MAX_BYTES} \
             that all of a pool's may have; those of the release and of yours come on top"
        ),
        commands: Vec::new(),
    }))
}
