//! Assisted installer: discovery images made of our ISO.
//!
//! Source: openshift/assisted-service (objects and `OS_IMAGES`) and openshift/assisted-image-service a55e383 (what
//! is made of an ISO); openshift/assisted-installer `src/ops/ops.go` `OverwriteOsImage`. Read; of these, only
//! the image service's ISO editor was run.

use serde_json::{Value, json};

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::text::{command, word};

/// What stands for a name that is not known.
const CLUSTER: &str = "CLUSTER";

/// The ConfigMap with the manifests.
const CONFIG_MAP: &str = "coreos-bake-manifests";

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    draft.url()?;
    let iso = draft.published(draft.iso()?)?;
    let facts = draft.facts;
    // The name that the service turns both spellings into.
    let arch = match facts.architecture.as_str() {
        "aarch64" => "arm64",
        other => other,
    };
    let cluster = facts.cluster.as_deref().unwrap_or(CLUSTER);
    let release = facts.release_text();
    write_files(draft, &iso.url, arch, cluster);
    draft.serve_step(vec![iso.command.clone()])?;
    let objects = draft.in_directory("cluster-manifests");
    let prepare = draft.prepare(&draft.named_roles());
    draft.step(
        When::Hub,
        format!(
            "Have the manifests made that name the nodes' image, drivers and kernel arguments: put a copy of \
             the AgentClusterInstall into {objects}, which tells prepare that no openshift-install comes \
             after it."
        ),
        [command(["mkdir", "-p", "--", &objects]), prepare],
    );
    draft.step(
        When::Hub,
        format!(
            "Give them to the cluster {cluster}, in the namespace of the same name{}.",
            match facts.cluster {
                Some(_) => "",
                None => " (put your cluster's name for CLUSTER, in the files too)",
            }
        ),
        [
            format!(
                "oc -n {} create configmap {CONFIG_MAP} --from-file={} --dry-run=client -o yaml | oc apply -f -",
                word(cluster),
                word(&draft.in_directory("openshift"))
            ),
            patch("agentclusterinstall", cluster, cluster, "agent-cluster-install.yaml"),
        ],
    );
    draft.step(
        When::Hub,
        "Tell the service of the ISO. Without a hub, give the list in os-images.json to both \
         assisted-service and image-service in OS_IMAGES instead. The image service fetches the ISO when it \
         starts, and makes a minimal ISO of every entry: one that it can't take apart keeps it from starting, \
         for all clusters of the hub, so look first: coreos-bake check, with --for assisted, says whether it can.",
        [
            "oc get agentserviceconfig agent -o yaml > agent-service-config.before.yaml".to_owned(),
            "oc patch agentserviceconfig agent --type=merge --patch-file=agent-service-config.yaml".to_owned(),
        ],
    );
    draft.step(
        When::Hub,
        "Have the cluster's discovery image made of it.",
        [patch("infraenv", cluster, cluster, "infra-env.yaml")],
    );
    if !facts.dest_kargs.is_empty() {
        draft.step(
            When::Boot,
            "As each host appears, and before it is approved, have the installed system's first boot get the \
             kernel arguments too; put the host's name for AGENT.",
            [patch("agent", "AGENT", cluster, "agent.yaml")],
        );
    }
    draft.step(
        When::Boot,
        format!("Boot the hosts from the discovery image of {cluster}, and install as usual."),
        [format!(
            "oc -n {0} get infraenv {0} -o {1}",
            word(cluster),
            word("jsonpath={.status.isoDownloadURL}{\"\\n\"}")
        )],
    );
    draft.overwrite_warning();
    draft.common_warnings();
    draft.warn(format!(
        "An InfraEnv of a cluster (clusterRef) gets the ISO of the cluster's release. One without a cluster \
         names it by that release: osImageVersion: '{release}'."
    ));
    draft.warn(
        "The patches replace kernelArguments, installerArgs and manifestsConfigMapRefs as a whole: put those \
         that your objects have already beside them.",
    );
    draft.warn(format!(
        "osImages is one list: the patch replaces all of it. Add the images of other releases that your hub \
         installs, beside the one for {release}."
    ));
    draft.warn(
        "On the machine that bootstraps, files and units of bootstrap.ign are applied and nothing else of it.",
    );
    if facts.from(5, 0) {
        draft.warn(
            "An image-service older than 2.49 can't take ISOs of RHEL 10 apart, which is what this release \
             installs by default.",
        );
    }
    Ok(())
}

/// What the service, the cluster and its hosts are told.
fn write_files(draft: &mut Draft, iso_url: &str, arch: &str, cluster: &str) {
    let facts = draft.facts;
    let release = facts.release_text();
    let version = &facts.os_version;
    let images = json!([{
        "openshift_version": release,
        "cpu_architecture": arch,
        "url": iso_url,
        "version": version,
    }]);
    draft.file(
        "os-images.json",
        "the value of OS_IMAGES, for a service without a hub",
        format!("{images}\n"),
    );
    let service = json!({
        "apiVersion": "agent-install.openshift.io/v1beta1",
        "kind": "AgentServiceConfig",
        "metadata": { "name": "agent" },
        "spec": { "osImages": [{
            "openshiftVersion": release,
            "version": version,
            "url": iso_url,
            "cpuArchitecture": arch,
        }] },
    });
    draft.yaml_file(
        "agent-service-config.yaml",
        "a patch: the ISO that discovery images are made of",
        &service,
    );
    let mut spec = json!({ "cpuArchitecture": arch });
    if !facts.live_kargs.is_empty() {
        let kargs = facts.live_kargs.iter();
        spec["kernelArguments"] = kargs
            .map(|karg| json!({ "operation": "append", "value": karg }))
            .collect();
    }
    let object = |version: &str, kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": { "name": name, "namespace": cluster },
            "spec": spec,
        })
    };
    draft.yaml_file(
        "infra-env.yaml",
        "a patch: whose ISO the hosts boot, and kernel arguments of the live system",
        &object(
            "agent-install.openshift.io/v1beta1",
            "InfraEnv",
            cluster,
            spec,
        ),
    );
    draft.yaml_file(
        "agent-cluster-install.yaml",
        "a patch: the manifests with the nodes' image",
        &object(
            "extensions.hive.openshift.io/v1beta1",
            "AgentClusterInstall",
            cluster,
            json!({ "manifestsConfigMapRefs": [{ "name": CONFIG_MAP }] }),
        ),
    );
    if !facts.dest_kargs.is_empty() {
        let kargs = facts.dest_kargs.iter();
        let args: Vec<&str> = kargs.flat_map(|karg| ["--append-karg", karg]).collect();
        draft.yaml_file(
            "agent.yaml",
            "a patch for each host: kernel arguments of the installed system",
            &object(
                "agent-install.openshift.io/v1beta1",
                "Agent",
                "AGENT",
                json!({ "installerArgs": json!(args).to_string() }),
            ),
        );
    }
}

fn patch(kind: &str, name: &str, namespace: &str, file: &str) -> String {
    command([
        "oc",
        "-n",
        namespace,
        "patch",
        kind,
        name,
        "--type=merge",
        &format!("--patch-file={file}"),
    ])
}
