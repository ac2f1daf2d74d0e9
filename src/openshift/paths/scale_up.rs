//! Machines that join a cluster that is there.
//!
//! Source: openshift/installer main 5f2b0d3dc3 (the ConfigMap coreos-bootimages, node images),
//! openshift/cluster-baremetal-operator main 4ecb36c (what machines boot that it provisions),
//! openshift/machine-config-operator main 7ff337a (workers' configs, boot images). Read, not run.

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::ipi::live_system_of_the_release;
use super::text::{command, word};

/// First release with `oc adm node-image create`.
const FIRST_WITH_NODE_IMAGE: (u16, u16) = (4, 17);

/// Pool of the machines that can be added so; a new machine of the control plane is another matter.
const POOL: &str = "worker";

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    let has_network = ["kernel", "initramfs", "rootfs"]
        .iter()
        .all(|role| draft.found(role).is_some());
    if !has_network {
        draft.baked("iso", "a live system (ISO or PXE set)", "iso,pxe")?;
    }
    stale(draft);
    config(draft);
    media(draft);
    draft.step(
        When::Cluster,
        "Approve the node's certificate requests, twice.",
        [
            "oc get csr".to_owned(),
            "oc adm certificate approve CSR".to_owned(),
        ],
    );
    draft.step(
        When::Cluster,
        "See that the node runs the pool's image.",
        [
            "oc get nodes -o wide".to_owned(),
            "oc debug node/NODE -- chroot /host rpm-ostree status".to_owned(),
        ],
    );
    warnings(draft);
    Ok(())
}

/// Whether the media are those of the cluster as it is today.
fn stale(draft: &mut Draft) {
    let facts = draft.facts;
    let expected = match &facts.os_image {
        Some(_) => "The first command compares the pool's image with that of the media".to_owned(),
        None => format!(
            "bake.json says what the media are of (OS {})",
            facts.os_version
        ),
    };
    let rendered = format!(
        "oc get machineconfig \"$(oc get machineconfigpool {POOL} -o jsonpath='{{.spec.configuration.name}}')\" \
         -o jsonpath='{{.spec.osImageURL}}{{\"\\n\"}}'"
    );
    let rendered = match &facts.os_image {
        Some(image) => format!(
            "test \"$({rendered})\" = {} && echo the media are right || echo bake anew",
            word(&image.to_string())
        ),
        None => rendered,
    };
    draft.step(
        When::Cluster,
        format!(
            "See whether the media are still right. {expected}; if the pool has another image now, bake anew from \
             that: the node would change over at its first boot, and an image too old cannot. The second command \
             shows the release's own boot image."
        ),
        [
            rendered,
            "oc -n openshift-machine-config-operator get configmap coreos-bootimages \
             -o jsonpath='{.data.releaseVersion}{\"\\n\"}{.data.stream}'"
                .to_owned(),
        ],
    );
}

/// A worker's config with certificates of today.
fn config(draft: &mut Draft) {
    draft.step(
        When::Cluster,
        "Get a worker's Ignition config from the cluster. That of the installation trusts the certificate of \
         the day, and the cluster changes it.",
        [
            format!(
                "oc -n openshift-machine-api extract secret/{POOL}-user-data-managed --keys=userData --to=- > {POOL}.ign"
            ),
            format!("chmod 600 {POOL}.ign"),
        ],
    );
}

/// What a machine boots that is not provisioned by the cluster.
fn media(draft: &mut Draft) {
    let facts = draft.facts;
    let (Some(iso), Some(disk)) = (draft.found("iso"), &facts.disk) else {
        draft.step(
            When::Cluster,
            format!(
                "Boot the machine from the media as upi-iso or upi-pxe do, with this {POOL}.ign for the one of \
                 the installation."
            ),
            [],
        );
        return;
    };
    let mut words: Vec<String> = ["coreos-installer", "iso", "customize", "--dest-ignition"]
        .map(str::to_owned)
        .to_vec();
    words.extend([
        format!("{POOL}.ign"),
        "--dest-device".to_owned(),
        disk.clone(),
    ]);
    for karg in draft.installed_kargs(POOL) {
        words.push(format!("--dest-karg-append={karg}"));
    }
    for karg in &facts.live_kargs {
        words.push(format!("--live-karg-append={karg}"));
    }
    words.extend([
        "-o".to_owned(),
        format!("{POOL}.iso"),
        draft.in_media(&iso.name),
    ]);
    draft.step(
        When::Cluster,
        format!(
            "Make an ISO of it and boot the machine from that: it overwrites {disk} without a question. Or \
             take the config to upi-pxe's inventory."
        ),
        [command(words)],
    );
}

fn warnings(draft: &mut Draft) {
    let facts = draft.facts;
    draft.first_boot_warning(Some("the ISO made here, or with the inventory of upi-pxe"));
    draft.warn(live_system_of_the_release("Machines with a BareMetalHost"));
    if facts.from(4, 19) {
        draft.warn(
            "How the certificate in a worker's config is renewed from 4.19 on is not verified: if the machine \
             says that it doesn't trust the server at port 22623, get the config again.",
        );
    }
    if facts.release.minor() >= FIRST_WITH_NODE_IMAGE {
        let arch = word(&facts.architecture);
        draft.warn(format!(
            "oc adm node-image create makes node.{arch}.iso of the live system in the release's payload, without \
             your drivers. It runs in the cluster, where no variable of yours reaches it, and whether \
             anything can name another ISO to it is not verified: use it for machines only that boot without \
             the driver."
        ));
    }
    draft.warn(
        "Boot images are never upgraded by themselves. Where machine sets make machines (clouds, vSphere), keep the \
         cluster from replacing your boot image: prepare --output writes the patches, day2-1 first, day2-2 when \
         the status follows.",
    );
    if facts.release.enforces_skew() {
        draft.warn(
            "From 4.22 on, boot images that are too old keep the cluster from upgrading: tell it the new version \
             (day2-1-boot-image-skew.yaml) whenever you bake.",
        );
    }
    draft.warn(
        "In a pool that the cluster builds images for, a new node gets the built image at once only if its \
         registry is outside the cluster; otherwise it runs the release's image first, without your \
         drivers.",
    );
}
