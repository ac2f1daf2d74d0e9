//! What the admin has to know about a request that is fine.
//!
//! Source: openshift/installer main 5f2b0d3dc3 (the bootstrap machine) and
//! openshift/machine-config-operator main 7ff337a (nodes and builds), with their release branches.

use super::driver::Driver;
use super::image_reference::OsImage;
use super::kernel_arguments::FirstBoot;
use super::release::Seeding;
use super::request::{Derivation, Request};
use super::role::Role;

/// What the admin has to know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about, in a word that stays the same.
    pub id: &'static str,
    /// The whole of it.
    pub sentence: String,
    /// What to run, in this order.
    pub commands: Vec<String>,
}

/// What follows from a request that is fine.
pub(super) fn notes(request: &Request, image: Option<&OsImage>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |id, sentence: String| {
        notes.push(Note {
            id,
            sentence,
            commands: Vec::new(),
        });
    };
    let release = request.release;
    let has_nodes = request.roles.iter().any(|role| role.pool().is_some());
    if let Some(media) = &request.media {
        let overlays = release.bootstrap_overlays() && request.roles.contains(&Role::Bootstrap);
        match (media.derivation, &media.registry_name) {
            (Derivation::Unknown, Some(name)) if overlays => note(
                "bootstrap",
                format!(
                    "if {name} has no OpenShift in it, the bootstrap machine gives up; coreos-bake \
                     check tells"
                ),
            ),
            (Derivation::Node, _) if overlays => note(
                "bootstrap",
                format!(
                    "the bootstrap machine runs kubelet and oc of the media, so bake them anew for \
                     another release than {release}"
                ),
            ),
            _ => {}
        }
        if let (Some(image), true) = (image, has_nodes)
            && !media.is(image)
        {
            note(
                "pivot",
                format!(
                    "the media are of {}, so every node rebases to {image} and reboots at its first boot",
                    media
                        .registry_name
                        .as_deref()
                        .unwrap_or("an image without a registry's name")
                ),
            );
        }
    }
    if let Some(image) = image
        && has_nodes
        && !request.drivers.is_empty()
        && !request.os_image_is_baked
    {
        let names = request.drivers.iter().map(|driver| &driver.name);
        let options: String = names.map(|name| format!(" --driver {name}")).collect();
        notes.push(Note {
            id: "unseen-image",
            sentence: format!("nobody has looked yet whether {image} has the drivers"),
            commands: vec![format!("coreos-bake check docker://{image}{options}")],
        });
    }
    let mut note = |id, sentence: String| {
        notes.push(Note {
            id,
            sentence,
            commands: Vec::new(),
        });
    };
    if image.is_none() && request.release_image && has_nodes {
        note(
            "no-os-image",
            format!(
                "no image is set for the nodes, so at their first boot they change to the {} of the \
                 release; of your drivers they have those that are in it",
                release.payload_tag(release.default_stream())
            ),
        );
    }
    if let (Some(image), None) = (image, &request.seed) {
        note(
            "os-updates",
            format!(
                "upgrades of the cluster no longer change the OS of these pools: build anew from each \
                 release's image, and set osImageURL to it instead of {image}"
            ),
        );
    }
    if let (Some(image), None, false) = (image, &request.pull_secret, request.anonymous_pull) {
        note(
            "pull-secret",
            format!(
                "no pull secret was found, so nobody looked whether the cluster may pull from {}",
                image.registry()
            ),
        );
    }
    let has_settings = |driver: &&Driver| {
        !driver.options.is_empty() || !driver.instead_of.is_empty() || !driver.after.is_empty()
    };
    if let Some(driver) = request.drivers.iter().find(has_settings) {
        note(
            "initramfs-settings",
            format!(
                "an initramfs that loads {0} doesn't see the files in /etc/modprobe.d: for a root disk \
                 behind it, set kernel arguments ({0}.OPTION=VALUE, modprobe.blacklist=OTHER) when you \
                 bake",
                driver.name
            ),
        );
    }
    if let Some(driver) = request.drivers.iter().find(|d| !d.firmware.is_empty()) {
        note(
            "initramfs-firmware",
            format!(
                "firmware that {} asks for in the initramfs has to be in the initramfs; these files \
                 are found once /etc is there",
                driver.name
            ),
        );
    }
    if let (Some(image), true) = (image, has_nodes) {
        notes.extend(first_boot_note(request, image));
        notes.extend(index_note(request, image));
    }
    notes.extend(seed_notes(request));
    notes
}

/// What a node on its pool's image reboots for. One that isn't reboots anyway.
fn first_boot_note(request: &Request, image: &OsImage) -> Option<Note> {
    if request.media.as_ref().is_some_and(|media| !media.is(image)) {
        return None;
    }
    let release = request.release;
    let sentence = match FirstBoot::of(release, &request.kernel_arguments) {
        FirstBoot::NoArguments => return None,
        FirstBoot::Compares(all) => format!(
            "nodes that run {image} already reboot once at their first boot unless the media have installed \
             these kernel arguments in this order: {}; the recipes of --path put them there",
            all.join(" ")
        ),
        FirstBoot::Reboots => format!(
            "nodes reboot once at their first boot: {release} does not look at the kernel arguments that \
             the media have installed"
        ),
    };
    Some(Note {
        id: "kernel-arguments",
        sentence,
        commands: Vec::new(),
    })
}

/// That a digest may be an index's, which only a registry could tell.
fn index_note(request: &Request, image: &OsImage) -> Option<Note> {
    let media = request.media.as_ref();
    let known = media.and_then(|media| media.manifest_digest.as_deref());
    if !request.release.redeploys_indexes() || known == Some(image.digest()) {
        return None;
    }
    let baked = match known {
        Some(digest) => format!("; the manifest that was baked is {digest}"),
        None => String::new(),
    };
    let sentence = format!(
        "the digest of {image} may be that of an index for several architectures; then nodes whose skopeo is \
         older than 1.22.2 deploy the image again and reboot once more at their first boot{baked}"
    );
    let commands = vec![format!("skopeo inspect --raw docker://{image}")];
    Some(Note {
        id: "index-digest",
        sentence,
        commands,
    })
}

/// What the documents don't say about seeds.
fn seed_notes(request: &Request) -> Vec<Note> {
    let mut notes = Vec::new();
    let Some(seed) = &request.seed else {
        return notes;
    };
    let mut note = |id, sentence: String, commands| {
        notes.push(Note {
            id,
            sentence,
            commands,
        });
    };
    let release = request.release;
    match release.seeding() {
        Seeding::Unannounced => note(
            "seed-release",
            format!(
                "{release} has the code for MachineOSConfigs at installation, but which release \
                 supports them first is not documented; try it before you rely on it"
            ),
            Vec::new(),
        ),
        Seeding::There | Seeding::Missing => note(
            "seed-release",
            format!(
                "that {release} supports MachineOSConfigs at installation was read from its code, and \
                 that code was run at 5.0; no cluster has been installed so yet"
            ),
            Vec::new(),
        ),
    }
    let pools: Vec<&str> = request
        .roles
        .iter()
        .filter_map(|role| role.pool())
        .collect();
    let base = match release.builds_on_os_image() {
        true => "builds start from the seed instead of the release's image",
        false => "a build has to be asked for by hand",
    };
    note(
        "seed-trap",
        format!(
            "a seeded pool keeps its image when the cluster is upgraded, and the upgrade is said to \
             have succeeded: nothing is built, and {base}; after an upgrade, look at what the nodes run, \
             and set osImageURL to the new release's image with a MachineConfig whose name sorts behind \
             10-prebuiltimage-osimageurl-POOL"
        ),
        pools
            .iter()
            .map(|pool| {
                format!(
                    "oc get machineosconfig {pool} -o jsonpath='{{.status.currentImagePullSpec}}'"
                )
            })
            .collect(),
    );
    note(
        "seed-reboot",
        "when the cluster takes the seed over, nodes reboot once although their image is right already"
            .to_owned(),
        Vec::new(),
    );
    if seed.push_secret.content.is_none() {
        note(
            "seed-secret",
            format!(
                "the seed is taken over once the secret {} is there; its credentials must also allow \
                 deleting, or old images stay",
                seed.push_secret.name
            ),
            vec![format!(
                "oc -n openshift-machine-config-operator get secret {}",
                seed.push_secret.name
            )],
        );
    }
    notes
}
