//! Bare metal that the installer provisions.
//!
//! Source: openshift/installer main 5f2b0d3dc3 (2026-08-01) and release-4.21, for what the bootstrap machine
//! boots and where images are cached; openshift/cluster-baremetal-operator main 4ecb36c (2026-08-06), for
//! what it takes in its Provisioning object and what workers boot. The operator's validation and the
//! commands up to `create ignition-configs` were run; nobody has run `create cluster`.

use serde_json::json;

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::text::word;

/// What names the live ISO to openshift-install.
pub(super) const OVERRIDE: &str = "OPENSHIFT_INSTALL_OS_IMAGE_OVERRIDE";

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    draft.url()?;
    let from_iso = draft.facts.release.bootstraps_from_iso();
    let bootstrap = match from_iso {
        true => draft.iso()?,
        false => draft.baked("qcow2", "a qcow2 image for the bootstrap machine", "qcow2")?,
    };
    let bootstrap = draft.published(bootstrap)?;
    draft.serve_step(vec![bootstrap.command.clone()])?;
    if from_iso {
        draft.manifests_steps("");
    } else {
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
    }
    draft.configs_steps(
        "create ignition-configs",
        &["bootstrap"],
        ", of the bootstrap machine alone: the installer would take edited configs of nodes apart and \
         make MachineConfigs of them, which are there already",
    );
    let create = draft.install("create cluster");
    match from_iso {
        true => draft.step(
            When::Boot,
            "Create the cluster. The variable names the ISO that the bootstrap machine boots and hands on to \
             the control plane, by http or https. Set it for this command only: at create manifests, the URL \
             would be written into the Provisioning object (provisioningOSDownloadURL), and the bare-metal \
             operator refuses an object whose URL doesn't end in .qcow2.gz or .qcow2.xz.",
            [format!(
                "{OVERRIDE}={} {create}",
                word(&bootstrap.checked_url)
            )],
        ),
        false => draft.step(When::Boot, "Create the cluster.", [create]),
    }
    draft.common_warnings();
    match from_iso {
        true => {
            draft.first_boot_warning(None);
            draft.warn(live_system_of_the_release("Workers"));
        }
        false => {
            draft.warn(
                "Up to 4.21, the bootstrap machine alone boots what you have baked. The control plane is \
                 provisioned like workers are, by the live system of the release.",
            );
            draft.warn(live_system_of_the_release(
                "Control plane machines and workers",
            ));
        }
    }
    draft.warn(match from_iso {
        true => {
            "The installer keeps the ISO in ~/.cache/agent/image_cache until it is used, by its file name, and \
             doesn't check what is there already: an ISO baked anew under the same name might not be fetched. \
             Hence the name with a checksum; don't shorten it. bootstrapOSImage is ignored."
        }
        false => {
            "The installer keeps the disk image in ~/.cache/openshift-installer/image_cache by its file name, \
             and doesn't check what is there already: one baked anew under the same name is not fetched. Hence \
             the name with a checksum; don't shorten it."
        }
    });
    draft.warn(
        "No cluster has been created this way from baked media yet. What was tried is in docs/verified.md of \
         coreos-bake.",
    );
    Ok(())
}

/// What is true of machines that metal³ provisions.
pub(super) fn live_system_of_the_release(who: &str) -> String {
    format!(
        "{who} that are provisioned through their BMCs boot the live system of the release's machine-os-images, which \
         installs the release's OS; they change over to osImageURL and reboot when they first boot from disk. So \
         they have to reach disk and network without your driver until then. No field of the Provisioning object changes \
         that: preProvisioningOSDownloadURLs is read by no release since 4.10. If the driver is needed, boot these \
         machines from the baked ISO by virtual media or from the PXE set, as upi-iso and upi-pxe do; or install a \
         release payload of your own with another machine-os-images, the base that the image-customization \
         service works on, which nobody has tried. There is no other way."
    )
}
