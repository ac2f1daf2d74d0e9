//! Bare metal that the installer provisions.
//!
//! Source: openshift-install notes, sections 1.4 and 1.7.

use serde_json::{Map, Value, json};

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::text::{command, word};

/// Last release whose bootstrap machine boots a disk image of its own.
const LAST_WITH_DISK_IMAGE: (u16, u16) = (4, 20);

/// What names the image of all live systems that the installer boots.
pub(super) const OVERRIDE: &str = "OPENSHIFT_INSTALL_OS_IMAGE_OVERRIDE";

/// The object that says from what the cluster provisions machines.
pub(super) const PROVISIONING_FILE: &str = "provisioning-patch.yaml";

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    draft.url()?;
    let has_disk_image = draft.facts.release.minor() <= LAST_WITH_DISK_IMAGE;
    let bootstrap = match has_disk_image {
        true => draft.baked("qcow2", "a qcow2 image for the bootstrap machine", "qcow2")?,
        false => draft.iso()?,
    };
    let bootstrap = draft.published(bootstrap)?;
    let (provisioning, mut links) = provisioning(draft)?;
    links.insert(0, bootstrap.command.clone());
    links.dedup();
    draft.yaml_file(
        PROVISIONING_FILE,
        "where the cluster finds the live system with which it provisions workers and later nodes",
        &provisioning,
    );
    draft.serve_step(links)?;
    if has_disk_image {
        let name = "install-config-bootstrap.yaml";
        draft.yaml_file(
            name,
            "lines for install-config.yaml: the bootstrap machine's image",
            &json!({ "platform": { "baremetal": { "bootstrapOSImage": bootstrap.checked_url } } }),
        );
        draft.manifests_steps(&format!(
            "Put the line bootstrapOSImage of {name} into install-config.yaml, below platform.baremetal. The \
             installer asks for the URL at once, so it has to be served by now; the checksum is that of \
             the unpacked bytes. "
        ));
    } else {
        draft.step(
            When::First,
            "Name the ISO to every openshift-install command that follows; the bootstrap machine boots it \
             and hands it on to the control plane. http and https only, no file.",
            [format!("export {OVERRIDE}={}", word(&bootstrap.checked_url))],
        );
        draft.manifests_steps("");
    }
    let find = format!(
        "grep -l '^kind: Provisioning' {}/*.yaml",
        word(&draft.in_directory("openshift"))
    );
    draft.step(
        When::Manifests,
        format!(
            "Put preProvisioningOSDownloadURLs of {PROVISIONING_FILE} into the manifest of \
             provisioning-configuration, below its spec, so that workers are provisioned with your live \
             system from the beginning."
        ),
        [find],
    );
    draft.configs_steps(
        "create ignition-configs",
        &["bootstrap"],
        ", of the bootstrap machine alone: the installer would take edited configs of nodes apart and \
         make MachineConfigs of them, which are there already",
    );
    let create = draft.install("create cluster");
    draft.step(
        When::Boot,
        "Create the cluster in the same shell.",
        [create],
    );
    draft.step(
        When::Cluster,
        "See that the cluster has the URLs, and set them if not. Only machines that are provisioned \
         from then on use them.",
        provisioning_commands(),
    );
    draft.common_warnings();
    if has_disk_image {
        draft.warn(format!(
            "Up to {}.{} the control plane is provisioned with the live system of the release's \
             machine-os-images, which no option replaces. If root disks or the network of control plane \
             machines need the driver, take agent, upi-iso or upi-pxe, or a release payload with your \
             own machine-os-images.",
            LAST_WITH_DISK_IMAGE.0, LAST_WITH_DISK_IMAGE.1
        ));
    } else {
        draft.warn(
            "Which release is the first whose bootstrap machine boots the live ISO is not verified: 4.21 and \
             later were read from the installer's code, not tried. bootstrapOSImage is ignored there.",
        );
    }
    draft.warn(
        "The installer's cache (~/.cache/openshift-installer/image_cache) goes by the file name and doesn't \
         check again: an ISO or disk image baked anew under the same name is not fetched. Hence the names \
         with checksums; don't shorten them.",
    );
    provisioning_warnings(draft);
    Ok(())
}

/// The object, and the commands that give its files their names.
pub(super) fn provisioning(draft: &Draft) -> Result<(Value, Vec<String>), RecipeError> {
    let mut urls = Map::new();
    let mut links = Vec::new();
    let network = ["kernel", "initramfs", "rootfs"];
    let mut wanted = vec![];
    if draft.found("iso").is_some() {
        wanted.push("iso");
    }
    // Kernel, initramfs and root belong together; some of them are of no use.
    if network.iter().all(|role| draft.found(role).is_some()) {
        wanted.extend(network);
    }
    for role in wanted {
        let published = draft.published(draft.baked(role, "a live system", "iso,pxe")?)?;
        urls.insert(format!("{role}URL"), Value::String(published.url));
        links.push(published.command);
    }
    if urls.is_empty() {
        draft.baked("iso", "a live system (ISO or PXE set)", "iso,pxe")?;
    }
    let object = json!({
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "Provisioning",
        "metadata": { "name": "provisioning-configuration" },
        "spec": { "preProvisioningOSDownloadURLs": urls },
    });
    Ok((object, links))
}

/// What shows the URLs in a running cluster, and sets them.
pub(super) fn provisioning_commands() -> [String; 2] {
    let object = ["oc", "get", "provisioning", "provisioning-configuration"];
    [
        command(object.into_iter().chain([
            "-o",
            "jsonpath={.spec.preProvisioningOSDownloadURLs}{\"\\n\"}",
        ])),
        command([
            "oc",
            "patch",
            "provisioning",
            "provisioning-configuration",
            "--type=merge",
            &format!("--patch-file={PROVISIONING_FILE}"),
        ]),
    ]
}

pub(super) fn provisioning_warnings(draft: &mut Draft) {
    draft.warn(
        "Whether preProvisioningOSDownloadURLs come before the live system of the release's payload is not \
         verified for 4.20 and later: look at what a first worker boots before you provision the others.",
    );
    if draft.found("iso").is_none() {
        draft.warn(
            "No ISO was baked, and BMCs with virtual media boot from isoURL: they would get the release's \
             live system.",
        );
    }
    if draft.found("rootfs").is_none() {
        draft.warn(
            "No PXE set was baked, and machines that boot over the provisioning network use it: they would \
             get the release's live system.",
        );
    }
}
