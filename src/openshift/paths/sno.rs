//! A single node that bootstraps itself: one live ISO with the whole installation in it.
//!
//! Source: openshift/installer main 5f2b0d3dc3, `pkg/asset/ignition/bootstrap/bootstrap_in_place.go` and
//! `data/data/bootstrap/bootstrap-in-place`. What `create ignition-configs` does to such a directory was run.

use serde_json::json;

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::text::{command, place};

const CONFIG: &str = "bootstrap-in-place-for-live-iso.ign";

/// What is booted, in the current directory.
const ISO: &str = "single-node.iso";

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    let facts = draft.facts;
    let iso = draft.iso()?;
    let disk = draft.disk()?;
    let fragment = "install-config-single-node.yaml";
    draft.yaml_file(
        fragment,
        "lines for install-config.yaml: one node, and its disk",
        &json!({
            "controlPlane": { "name": "master", "replicas": 1 },
            "compute": [{ "name": "worker", "replicas": 0 }],
            "platform": { "none": {} },
            "bootstrapInPlace": { "installationDisk": disk },
        }),
    );
    draft.manifests_steps(&format!(
        "Bring install-config.yaml in line with {fragment}. All of {disk} is lost when the node installs. "
    ));
    draft.configs_steps(
        "create single-node-ignition-config",
        &draft.named_roles(),
        &format!(", {CONFIG} and worker.ign"),
    );
    draft.step(
        When::IgnitionConfigs,
        "Put the config into a copy of the ISO. It is the live system's here, not the installed one's.",
        [
            command(["cp", "--reflink=auto", "--", &draft.in_media(&iso.name), ISO]),
            command([
                "coreos-installer",
                "iso",
                "ignition",
                "embed",
                "-fi",
                &draft.in_directory(CONFIG),
                ISO,
            ]),
        ],
    );
    draft.step(
        When::Boot,
        format!(
            "Boot the machine from {ISO}. The live system brings the cluster up, installs to {disk} from \
             itself and reboots."
        ),
        [
            draft.install("wait-for bootstrap-complete"),
            draft.install("wait-for install-complete"),
        ],
    );
    draft.common_warnings();
    draft.warn(
        "The next command after create manifests is create single-node-ignition-config. create \
         ignition-configs would make the configs of an ordinary cluster, with a bootstrap machine of its own, and \
         consume the manifests without an error.",
    );
    draft.first_boot_warning(None);
    if !facts.dest_kargs.is_empty() {
        draft.warn(format!(
            "The installation in place takes no kernel arguments, so {} come from the MachineConfig that \
             prepare has written: the first boot from disk is without them. If the root disk isn't found \
             without them, put them into the image, in extra-kargs of \
             /usr/share/coreos-assembler/image.json, and bake anew: bake --dest-karg-append is for the \
             installer that runs by itself, which this path doesn't use.",
            facts.dest_kargs.join(" ")
        ));
    }
    draft.warn(format!(
        "If the config doesn't fit the ISO's embed area (256 KiB compressed), bake with --ignition-area 1M, \
         or with --live-ignition {} at once.",
        place(&draft.in_directory(CONFIG))
    ));
    Ok(())
}
