//! The checker of Kubernetes objects itself: objects of every kind are accepted, each broken one
//! is refused for the one thing that is wrong with it.

#[path = "support/crd/mod.rs"]
mod crd;
#[path = "crds/objects.rs"]
mod objects;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crd::Crds;
use objects::{
    DIGESTED, build, complete, configuration, machine_config, node, object, os_config, pool, stream,
};

/// The object with the value at `pointer` set, or taken away.
fn changed(mut object: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("pointer has a slash");
    let parent = object.pointer_mut(parent).expect("parent exists");
    match (parent, value) {
        (Value::Object(fields), Some(value)) => {
            fields.insert(key.to_owned(), value);
        }
        (Value::Object(fields), None) => {
            fields.shift_remove(key).expect("field exists");
        }
        (Value::Array(elements), Some(value)) => {
            elements[key.parse::<usize>().expect("index")] = value;
        }
        _ => panic!("{pointer} can't be changed"),
    }
    object
}

#[test]
fn every_rule_compiles() {
    let Some(crds) = Crds::load() else { return };
    let broken: Vec<_> = crds.rules().filter(|(_, error)| error.is_some()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn accepts_what_is_right_and_evaluates_every_rule() {
    let Some(crds) = Crds::load() else { return };
    let plain = [
        machine_config(),
        os_config(),
        configuration(),
        pool(),
        node(),
        build(),
        stream(),
    ];
    for object in plain.iter().chain(&complete()) {
        assert_eq!(crds.check(object), Vec::<String>::new(), "{object:#}");
    }
    let kinds: BTreeSet<String> = plain
        .iter()
        .map(|object| [&object["apiVersion"], &object["kind"]].map(|v| v.as_str().expect("text")))
        .map(|names| names.join(" "))
        .collect();
    assert_eq!(kinds, crds.kinds().collect(), "a kind has no object here");

    // Transition rules can't be evaluated on create; every other one must have been.
    let evaluated = crds.evaluated();
    let left: Vec<&str> = crds
        .rules()
        .map(|(rule, _)| rule)
        .filter(|rule| !evaluated.contains(*rule))
        .collect();
    println!(
        "{} rules evaluated, {} skipped",
        evaluated.len(),
        left.len()
    );
    for rule in left {
        assert!(crds.is_transition(rule), "never evaluated: {rule}");
    }
}

#[test]
fn refuses_what_is_wrong() {
    let Some(crds) = Crds::load() else { return };
    let long = "x".repeat(4097);
    let twice = json!([
        { "content": "FROM configs AS final\n" },
        { "containerfileArch": "NoArch", "content": "FROM configs AS final\n" },
    ]);
    let push = "spec.renderedImagePushSpec: the OCI Image name should follow the \
        host[:port][/namespace]/name format, resembling a valid URL without the scheme. Or it must \
        be a valid .svc followed by a port, repository, image name, and tag.";
    let pool_name = "object: MachineOSConfig name must match the referenced MachineConfigPool \
        name; can only have one MachineOSConfig per MachineConfigPool";
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
        characters, '-' or '.', and must start and end with an alphanumeric character.";
    let files = "/spec/nodeDisruptionPolicy/files/0/actions";
    let actions = "spec.nodeDisruptionPolicy.files[0].actions";
    let set = "/spec/pinnedImageSets/0/name";
    let set_pattern = r"^([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])(\.([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9]))*$";
    let selected = "/spec/managedBootImages/machineManagers/0/selection";
    let cases: Vec<(Value, &str, Option<Value>, String)> = vec![
        (
            machine_config(),
            "/spec/kernelArgs",
            Some(json!(["quiet"])),
            "spec.kernelArgs: unknown field".to_owned(),
        ),
        (
            machine_config(),
            "/spec/fips",
            Some(json!("no")),
            "spec.fips: must be of type boolean".to_owned(),
        ),
        (
            machine_config(),
            "/spec/kernelArguments",
            Some(json!(["quiet", 1])),
            "spec.kernelArguments[1]: must be of type string".to_owned(),
        ),
        (
            machine_config(),
            "/metadata/name",
            Some(json!("99_worker")),
            "metadata.name: must be a dns1123Subdomain".to_owned(),
        ),
        (
            machine_config(),
            "/metadata/name",
            None,
            "metadata.name: required field is missing".to_owned(),
        ),
        (
            machine_config(),
            "/metadata/namespace",
            Some(json!("openshift-machine-config-operator")),
            "metadata.namespace: not allowed: the kind is cluster-scoped".to_owned(),
        ),
        (
            machine_config(),
            "/metadata/lables",
            Some(json!({})),
            "metadata.lables: unknown field".to_owned(),
        ),
        (
            machine_config(),
            "/metadata/labels/role",
            Some(json!(1)),
            "metadata.labels: must be an object of strings".to_owned(),
        ),
        (
            machine_config(),
            "/apiVersion",
            Some(json!("machineconfiguration.openshift.io/v1alpha1")),
            "object: no CRD serves \"MachineConfig\" of \
             \"machineconfiguration.openshift.io/v1alpha1\""
                .to_owned(),
        ),
        (
            os_config(),
            "/spec",
            None,
            "spec: required field is missing".to_owned(),
        ),
        (
            os_config(),
            "/spec/renderedImagePushSecret",
            None,
            "spec.renderedImagePushSecret: required field is missing".to_owned(),
        ),
        (
            os_config(),
            "/spec/renderedImagePushSecret/name",
            Some(json!("Push")),
            format!("spec.renderedImagePushSecret.name: {subdomain}"),
        ),
        (
            os_config(),
            "/metadata/name",
            Some(json!("layered")),
            pool_name.to_owned(),
        ),
        (
            os_config(),
            "/spec/renderedImagePushSpec",
            Some(json!(DIGESTED)),
            push.to_owned(),
        ),
        (
            os_config(),
            "/spec/renderedImagePushSpec",
            Some(json!("localhost/layered:latest")),
            push.to_owned(),
        ),
        (
            os_config(),
            "/spec/containerFile/0/content",
            Some(json!(long)),
            "spec.containerFile[0].content: must have at most 4096 characters".to_owned(),
        ),
        (
            os_config(),
            "/spec/containerFile",
            Some(twice),
            "spec.containerFile[1]: duplicate value [\"NoArch\"]".to_owned(),
        ),
        (
            os_config(),
            "/spec/containerFile/1/containerfileArch",
            Some(json!("aarch64")),
            "spec.containerFile[1].containerfileArch: must be one of \"ARM64\", \"AMD64\", \
             \"PPC64LE\", \"S390X\", \"NoArch\""
                .to_owned(),
        ),
        (
            os_config(),
            "/spec/imageBuilder/imageBuilderType",
            Some(json!("PodImageBuilder")),
            "spec.imageBuilder.imageBuilderType: must be one of \"Job\"".to_owned(),
        ),
        (
            configuration(),
            "/spec/managementState",
            Some(json!("Ignored")),
            "spec.managementState: must match ^(Managed|Unmanaged|Force|Removed)$".to_owned(),
        ),
        (
            configuration(),
            "/spec/failedRevisionLimit",
            Some(json!(2_147_483_648_i64)),
            "spec.failedRevisionLimit: must fit int32".to_owned(),
        ),
        (
            configuration(),
            "/spec/irreconcilableValidationOverrides/storage",
            Some(json!(["Raid", "Raid"])),
            "spec.irreconcilableValidationOverrides.storage[1]: duplicate value \"Raid\""
                .to_owned(),
        ),
        (
            configuration(),
            "/spec/irreconcilableValidationOverrides/storage",
            Some(json!([])),
            "spec.irreconcilableValidationOverrides.storage: must have at least 1 items".to_owned(),
        ),
        (
            configuration(),
            "/spec/irreconcilableValidationOverrides",
            Some(json!({})),
            "spec.irreconcilableValidationOverrides: must have at least 1 properties".to_owned(),
        ),
        (
            configuration(),
            files,
            Some(json!([{ "type": "Reboot" }, { "type": "Drain" }])),
            format!(
                "{actions}: Reboot action can only be specified standalone, as it will override \
                 any other actions"
            ),
        ),
        (
            configuration(),
            files,
            Some(json!([{ "type": "Reload" }])),
            format!(
                "{actions}[0]: reload is required when type is Reload, and forbidden otherwise"
            ),
        ),
        (
            configuration(),
            selected,
            Some(json!({ "mode": "Partial" })),
            "spec.managedBootImages.machineManagers[0].selection: Partial is required when type \
             is partial, and forbidden otherwise"
                .to_owned(),
        ),
        (
            configuration(),
            "/spec/bootImageSkewEnforcement/manual/rhcosVersion",
            Some(json!("9.6.2025102-00")),
            "spec.bootImageSkewEnforcement.manual.rhcosVersion: rhcosVersion must match format \
             [major].[minor].[datestamp(YYYYMMDD)]-[buildnumber] or must match legacy format \
             [major].[minor].[timestamp(YYYYMMDDHHmm)]-[buildnumber]"
                .to_owned(),
        ),
        (
            pool(),
            "/spec/maxUnavailable",
            Some(json!(1.5)),
            "spec.maxUnavailable: must be of type integer or string".to_owned(),
        ),
        (
            pool(),
            set,
            Some(json!("-worker")),
            format!("spec.pinnedImageSets[0].name: must match {set_pattern}"),
        ),
        (
            pool(),
            "/spec/nodeSelector/matchLabels/x",
            Some(json!(true)),
            "spec.nodeSelector.matchLabels[x]: must be of type string".to_owned(),
        ),
        (
            complete().swap_remove(4),
            "/status/buildEnd",
            Some(json!("2026-11-23T10:59:59+01:00")),
            "status: buildEnd must be after buildStart".to_owned(),
        ),
        (
            complete().swap_remove(4),
            "/status/buildEnd",
            Some(json!("2026-11-23 11:00")),
            "status.buildEnd: must be an RFC 3339 date-time".to_owned(),
        ),
        (
            complete().swap_remove(0),
            "/spec/managedBootImages/machineManagers",
            Some(json!([])),
            "object: when skew enforcement is in Automatic mode, \
             managedBootImages.machineManagers must not be an empty list"
                .to_owned(),
        ),
        (
            complete().swap_remove(4),
            "/status/conditions/0/status",
            Some(json!(true)),
            "status.conditions[0].status: must be of type string".to_owned(),
        ),
        (
            stream(),
            "/metadata/name",
            Some(json!("default")),
            "object: osimagestream is a singleton, .metadata.name must be 'cluster'".to_owned(),
        ),
    ];
    println!("{} broken objects", cases.len());
    for (object, pointer, value, expected) in cases {
        let object = changed(object, pointer, value);
        assert_eq!(crds.check(&object), [expected], "{pointer} of {object:#}");
    }
}

/// A kind of our own, for what the definitions above don't use.
fn gadgets() -> Crds {
    let mut crds = Crds::new();
    crds.add(&json!({ "spec": {
        "group": "example.com",
        "names": { "kind": "Gadget" },
        "scope": "Namespaced",
        "versions": [
            { "name": "v1", "served": false, "schema": { "openAPIV3Schema": {} } },
            { "name": "v2", "served": true, "schema": { "openAPIV3Schema": {
                "type": "object",
                "properties": { "spec": { "type": "object", "properties": {
                    "one": { "type": "object",
                        "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
                        "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] },
                    "all": { "type": "integer", "allOf": [{ "minimum": 3 }, { "maximum": 5 }],
                        "not": { "enum": [4] } },
                    "half": { "type": "number", "minimum": 0, "exclusiveMinimum": true,
                        "x-kubernetes-validations": [{ "rule": "self <= 0.5" }] },
                    "bytes": { "type": "string", "format": "byte",
                        "x-kubernetes-validations": [
                            { "rule": "size(self) < 3", "message": "at most 2 bytes" }] },
                    "embedded": { "type": "object", "x-kubernetes-embedded-resource": true,
                        "x-kubernetes-preserve-unknown-fields": true },
                    "namespace": { "type": "string", "default": "here" },
                    "a-b": { "type": "string" },
                    "nothing": { "type": "string", "nullable": true },
                    "calls": { "type": "string", "x-kubernetes-validations": [
                        { "rule": "self.soundex() == 'x'", "message": "m" }] },
                    "broken": { "type": "string", "x-kubernetes-validations": [
                        { "rule": "self ==", "message": "m" }] },
                    "number": { "type": "string", "x-kubernetes-validations": [
                        { "rule": "size(self)", "message": "m" }] },
                }, "x-kubernetes-validations": [
                    { "rule": "self.__namespace__ == 'here'", "fieldPath": ".namespace",
                      "messageExpression": "'not ' + self.__namespace__" },
                    { "rule": "!has(self.a__dash__b) || self.a__dash__b == 'c'" },
                    { "rule": "self == oldSelf", "message": "never on create" },
                ] } },
            } } },
        ],
    } }));
    crds
}

#[test]
fn knows_the_rest_of_structural_schemas() {
    let crds = gadgets();
    let check = |spec: Value| {
        let mut gadget = object("example.com/v2", "Gadget", "g", &spec);
        gadget["metadata"]["namespace"] = json!("default");
        crds.check(&gadget)
    };
    let right = json!({
        "one": { "a": "" }, "all": 3, "half": 0.5, "bytes": "AAE=", "a-b": "c", "nothing": null,
        "embedded": { "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {} },
        "number": null,
    });
    assert_eq!(check(right), Vec::<String>::new());
    let cases = [
        (
            json!({ "one": {} }),
            "spec.one: must match exactly one of oneOf's schemas",
        ),
        (
            json!({ "one": { "a": "", "b": "" } }),
            "spec.one: must match exactly one of oneOf's schemas",
        ),
        (json!({ "all": 2 }), "spec.all: must be at least 3"),
        (json!({ "all": 6 }), "spec.all: must be at most 5"),
        (json!({ "all": 4 }), "spec.all: must not match not's schema"),
        (json!({ "half": 0 }), "spec.half: must be more than 0"),
        (
            json!({ "half": 0.75 }),
            "spec.half: failed rule: self <= 0.5",
        ),
        (
            json!({ "bytes": "AAECAw==" }),
            "spec.bytes: at most 2 bytes",
        ),
        (json!({ "bytes": "A" }), "spec.bytes: must be base64"),
        (
            json!({ "embedded": { "kind": "Pod" } }),
            "spec.embedded.apiVersion: required field is missing",
        ),
        (json!({ "namespace": "there" }), "spec.namespace: not there"),
        (
            json!({ "a-b": "d" }),
            "spec: failed rule: !has(self.a__dash__b) || self.a__dash__b == 'c'",
        ),
        (
            json!({ "number": "four" }),
            "spec.number: cannot evaluate: size(self): gives Int(4)",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(check(spec.clone()), [expected], "{spec}");
    }
    for (spec, expected) in [
        (
            json!({ "calls": "" }),
            "spec.calls: cannot evaluate: self.soundex() == 'x': ",
        ),
        (
            json!({ "broken": "" }),
            "spec.broken: cannot evaluate: self ==: ",
        ),
    ] {
        let found = check(spec);
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{found:?}"
        );
    }
    let unserved = object("example.com/v1", "Gadget", "g", &json!({}));
    let expected = "object: no CRD serves \"Gadget\" of \"example.com/v1\"";
    assert_eq!(crds.check(&unserved), [expected]);
}
