//! Objects that the API server accepts, one or more of each kind.
#![allow(unreachable_pub, reason = "a module of a test program")]

use serde_json::{Value, json};

/// The group and version of most kinds.
pub const OCP: &str = "machineconfiguration.openshift.io/v1";
/// An image reference with a digest.
pub const DIGESTED: &str = "registry.example.com/os/layered@sha256:\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// An object without labels or status.
pub fn object(api: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// The object as its controller left it.
fn with_status(mut object: Value, status: Value) -> Value {
    object["status"] = status;
    object
}

/// A MachineConfig with every field of its schema that matters to images.
pub fn machine_config() -> Value {
    let mut object = object(
        OCP,
        "MachineConfig",
        "99-worker-layered",
        &json!({
            "config": { "ignition": { "version": "3.4.0" }, "anything": [null, { "goes": 1.5 }] },
            "extensions": ["usbguard"],
            "fips": false,
            "kernelArguments": null,
            "kernelType": "default",
            "osImageURL": DIGESTED,
        }),
    );
    let role = json!({ "machineconfiguration.openshift.io/role": "worker" });
    object["metadata"]["labels"] = role;
    object
}

/// A MachineOSConfig with a Containerfile for all architectures and one for ARM64.
pub fn os_config() -> Value {
    object(
        OCP,
        "MachineOSConfig",
        "worker",
        &json!({
            "baseImagePullSecret": { "name": "pull" },
            "containerFile": [
                { "content": "FROM configs AS final\n" },
                { "containerfileArch": "ARM64", "content": "FROM configs AS final\n" },
            ],
            "imageBuilder": { "imageBuilderType": "Job" },
            "machineConfigPool": { "name": "worker" },
            "renderedImagePushSecret": { "name": "push" },
            "renderedImagePushSpec": "registry.example.com:5000/os/layered:latest",
        }),
    )
}

/// The MachineConfiguration of a cluster.
pub fn configuration() -> Value {
    let reload = json!({ "type": "Reload", "reload": { "serviceName": "crio.service" } });
    let restart = json!({ "type": "Restart", "restart": { "serviceName": "my\\x2dunit.timer" } });
    object(
        "operator.openshift.io/v1",
        "MachineConfiguration",
        "cluster",
        &json!({
            "managementState": "Managed",
            "irreconcilableValidationOverrides": { "storage": ["Disks", "Raid"] },
            "nodeDisruptionPolicy": {
                "files": [{ "path": "/etc/x", "actions": [reload, restart] }],
                "units": [{ "name": "x.socket", "actions": [{ "type": "None" }] }],
                "sshkey": { "actions": [{ "type": "Drain" }] },
            },
            "managedBootImages": { "machineManagers": [{
                "apiGroup": "machine.openshift.io",
                "resource": "machinesets",
                "selection": { "mode": "All" },
            }] },
            "bootImageSkewEnforcement": {
                "mode": "Manual",
                "manual": { "mode": "RHCOSVersion", "rhcosVersion": "9.6.20251023-0" },
            },
        }),
    )
}

/// A MachineConfigPool.
pub fn pool() -> Value {
    object(
        OCP,
        "MachineConfigPool",
        "worker",
        &json!({
            "configuration": { "name": "rendered-worker-0" },
            "machineConfigSelector": { "matchExpressions": [{
                "key": "machineconfiguration.openshift.io/role",
                "operator": "In",
                "values": ["worker"],
            }] },
            "maxUnavailable": "10%",
            "nodeSelector": { "matchLabels": { "node-role.kubernetes.io/worker": "" } },
            "osImageStream": { "name": "rhel-9" },
            "paused": null,
            "pinnedImageSets": [{ "name": "worker-set" }],
        }),
    )
}

/// A MachineConfigNode.
pub fn node() -> Value {
    object(
        OCP,
        "MachineConfigNode",
        "worker-0.example.com",
        &json!({
            "configVersion": { "desired": "rendered-worker-0" },
            "node": { "name": "worker-0.example.com" },
            "pool": { "name": "worker" },
        }),
    )
}

/// A MachineOSBuild that pushes to the registry inside the cluster.
pub fn build() -> Value {
    object(
        OCP,
        "MachineOSBuild",
        "worker-0",
        &json!({
            "machineConfig": { "name": "rendered-worker-0" },
            "machineOSConfig": { "name": "worker" },
            "renderedImagePushSpec":
                "image-registry.openshift-image-registry.svc:5000/os/layered:latest",
        }),
    )
}

/// An OSImageStream.
pub fn stream() -> Value {
    object(
        OCP,
        "OSImageStream",
        "cluster",
        &json!({ "defaultStream": "rhel-9" }),
    )
}

/// The same kinds with everything in them that a rule looks at, a status among it.
pub fn complete() -> Vec<Value> {
    let job = json!({
        "group": "batch", "name": "build", "namespace": "mco", "resource": "jobs",
    });
    let stream_status = json!({
        "availableStreams": [
            { "name": "rhel-9", "osImage": DIGESTED, "osExtensionsImage": DIGESTED },
        ],
        "defaultStream": "rhel-9",
    });
    vec![
        with_status(
            configuration(),
            json!({
                "bootImageSkewEnforcementStatus": {
                    "mode": "Automatic", "automatic": { "ocpVersion": "4.20.1" },
                },
                "managedBootImagesStatus": { "machineManagers": [{
                    "apiGroup": "machine.openshift.io",
                    "resource": "machinesets",
                    "selection": { "mode": "All" },
                }] },
            }),
        ),
        with_status(
            configuration(),
            json!({ "bootImageSkewEnforcementStatus": {
                "mode": "Manual", "manual": { "mode": "OCPVersion", "ocpVersion": "4.20.1" },
            } }),
        ),
        with_status(
            pool(),
            json!({ "machineCount": 3, "poolSynchronizersStatus": [{
                "poolSynchronizerType": "PinnedImageSets",
                "machineCount": 3, "updatedMachineCount": 3, "availableMachineCount": 3,
                "readyMachineCount": 2, "unavailableMachineCount": 0,
            }] }),
        ),
        with_status(
            node(),
            json!({
                "internalReleaseImage": { "releases": [{
                    "name": "ocp-release-bundle-4.20.1-x86_64", "image": DIGESTED,
                }] },
                "irreconcilableChanges": [
                    { "fieldPath": "spec.config.storage.disks[0]", "diff": "-a\n+b" },
                ],
                "pinnedImageSets": [{
                    "name": "set", "currentGeneration": 1, "desiredGeneration": 2,
                    "lastFailedGeneration": 1, "lastFailedGenerationError": "no space",
                }],
            }),
        ),
        with_status(
            build(),
            json!({
                "buildStart": "2026-11-23T10:00:00Z",
                "buildEnd": "2026-11-23T11:00:01+01:00",
                "builder": { "imageBuilderType": "Job", "job": job },
                "conditions": [{
                    "type": "Succeeded", "status": "True", "reason": "Ready", "message": "",
                    "lastTransitionTime": "2026-11-23T10:00:00.5Z",
                }],
                "digestedImagePushSpec": DIGESTED,
                "relatedObjects": [job],
            }),
        ),
        with_status(os_config(), json!({ "currentImagePullSpec": DIGESTED })),
        with_status(stream(), stream_status),
    ]
}
