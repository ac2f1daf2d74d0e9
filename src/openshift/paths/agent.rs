//! Agent-based installer: one ISO or PXE set for all machines, made of ours.
//!
//! Source: openshift/installer main 5f2b0d3dc3 (2026-08-01): `pkg/asset/rhcos/iso.go` for the override,
//! `pkg/asset/agent/manifests/extramanifests.go` for manifests, `pkg/asset/agent/image` for the rest;
//! `agent create image` was run with an override and with manifests. openshift/assisted-installer
//! `src/ops/ops.go` `OverwriteOsImage` was read.

use serde_json::json;

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::ipi::OVERRIDE;
use super::text::word;

/// First release whose agent-based installer is known to take another base ISO.
const FIRST_WITH_OVERRIDE: (u16, u16) = (4, 14);

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    let url = draft.url()?;
    let iso = draft.published(draft.iso()?)?;
    let arch = draft.facts.architecture.as_str();
    draft.serve_step(vec![iso.command.clone()])?;
    let fragment = "agent-config-pxe.yaml";
    draft.yaml_file(
        fragment,
        "line for agent-config.yaml, for network boot only: where machines find the boot artifacts",
        &json!({ "bootArtifactsBaseURL": url }),
    );
    let prepare = draft.prepare(&draft.named_roles());
    draft.step(
        When::AgentInput,
        format!(
            "With agent-config.yaml and install-config.yaml in {0}, add the manifests that name the nodes' \
             image, drivers and kernel arguments. They go to {0}/openshift: *.yaml and *.yml right below it \
             are all that the agent-based installer takes of others.",
            draft.facts.directory
        ),
        [prepare],
    );
    let with = |what: &str| {
        format!(
            "{OVERRIDE}={} {}",
            word(&iso.checked_url),
            draft.install(what)
        )
    };
    let (image, pxe) = (with("agent create image"), with("agent create pxe-files"));
    draft.step(
        When::AgentInput,
        format!(
            "Make the ISO, agent.{arch}.iso, from yours. openshift-install fetches it by http or https, checks \
             it against the checksum, takes it apart and puts it together anew; coreos-bake check, with --for \
             agent, says before whether it can. Without the variable it takes the release's."
        ),
        [image],
    );
    draft.step(
        When::AgentInput,
        format!(
            "Or, for network boot, put the line of {fragment} into agent-config.yaml before that, and make \
             boot-artifacts instead."
        ),
        [pxe],
    );
    let copy = format!(
        "cp -- {}/* {}/",
        word(&draft.in_directory("boot-artifacts")),
        word(draft.in_media("").trim_end_matches('/'))
    );
    draft.step(
        When::AgentImage,
        format!(
            "For network boot, offer the files at {url} and have machines boot agent.{arch}.ipxe; kernel, \
             initrd and root of one bake belong together."
        ),
        [copy],
    );
    let wait = [
        draft.install("agent wait-for bootstrap-complete"),
        draft.install("agent wait-for install-complete"),
    ];
    draft.step(
        When::Boot,
        format!("Boot all machines from agent.{arch}.iso, and wait."),
        wait,
    );
    draft.overwrite_warning();
    draft.common_warnings();
    if draft.facts.release.minor() < FIRST_WITH_OVERRIDE {
        draft.warn(format!(
            "Whether the agent-based installer of {} takes {OVERRIDE} is not verified; look for its warning \
             in .openshift_install.log.",
            draft.facts.release_text()
        ));
    }
    draft.warn(
        "The installer's cache (~/.cache/agent/image_cache) goes by the file name and doesn't check again: \
         an ISO baked anew under the same name is not fetched. Hence the name with a checksum.",
    );
    draft.warn(
        "On the machine that bootstraps, files and units of bootstrap.ign are applied and nothing else of it, \
         and its own config has Ignition spec 3.2.0: what your manifests carry has to do with that. \
         The config has to fit the ISO's embed area, 256 KiB compressed unless you bake with \
         --ignition-area.",
    );
    if !draft.facts.dest_kargs.is_empty() {
        draft.warn(
            "Kernel arguments of the live system are those in the ISO (bake with --live-karg-append); those \
             of the nodes come from the MachineConfigs that prepare has written.",
        );
    }
    Ok(())
}
