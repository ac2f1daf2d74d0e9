//! What a pool's rendered MachineConfig becomes with one more MachineConfig in it, as far as that decides about
//! images and nodes.
//!
//! Truth: machine-config-operator pkg/controller/common/helpers.go (MergeMachineConfigs)@7ff337a4f, read.

use serde_json::{Map, Value, json};

/// The pool that a MachineConfig is for.
const ROLE: &str = "machineconfiguration.openshift.io/role";

/// Whether a MachineConfig is for `pool`. Pools of one's own have those of workers, too.
pub fn is_for(config: &Value, pool: &str) -> bool {
    let role = config["metadata"]["labels"][ROLE].as_str();
    let is_own = !matches!(pool, "master" | "worker" | "arbiter");
    role == Some(pool) || (is_own && role == Some("worker"))
}

/// The `spec` of a rendered MachineConfig with that of one more in it, which comes last. One that is there
/// already by the same name is not taken out before.
pub fn applied(rendered: &Value, more: &Value) -> Value {
    let mut spec = rendered.clone();
    if !spec.is_object() {
        spec = json!({});
    }
    let image = more["osImageURL"].as_str().unwrap_or_default();
    if !image.is_empty() {
        spec["osImageURL"] = json!(image);
    }
    // Any kind of kernel but the usual one wins.
    let kernel = more["kernelType"].as_str().unwrap_or_default();
    if !matches!(kernel, "" | "default") {
        spec["kernelType"] = json!(kernel);
    }
    if more["fips"] == true {
        spec["fips"] = json!(true);
    }
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut arguments = items(&spec["kernelArguments"]);
    arguments.extend(items(&more["kernelArguments"]));
    let mut extensions = items(&spec["extensions"]);
    for extension in items(&more["extensions"]) {
        if !extensions.contains(&extension) {
            extensions.push(extension);
        }
    }
    for (field, all) in [("kernelArguments", arguments), ("extensions", extensions)] {
        if !all.is_empty() {
            spec[field] = Value::Array(all);
        }
    }
    let parts = [
        ("storage", "files", "path"),
        ("systemd", "units", "name"),
        ("passwd", "users", "name"),
    ];
    for (part, list, key) in parts {
        for item in items(&more["config"][part][list]) {
            put(&mut spec, part, list, key, item);
        }
    }
    spec
}

/// Puts an item into a list of the Ignition config, in the place of the one with the same key.
fn put(spec: &mut Value, part: &str, list: &str, key: &str, item: Value) {
    let mut at = spec;
    for step in ["config", part] {
        if !at[step].is_object() {
            at[step] = Value::Object(Map::new());
        }
        at = &mut at[step];
    }
    if !at[list].is_array() {
        at[list] = json!([]);
    }
    let Some(items) = at[list].as_array_mut() else {
        return;
    };
    match items.iter_mut().find(|known| known[key] == item[key]) {
        Some(known) => *known = item,
        None => items.push(item),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::Nodes;
    use super::super::{Size, Wanted, change};
    use super::*;

    #[test]
    fn what_a_machine_config_costs_hangs_on_what_it_says() {
        let rendered = json!({
            "osImageURL": "q.io/a@sha256:1", "kernelType": "default", "kernelArguments": ["a"],
            "extensions": ["usbguard"], "fips": false,
            "config": { "storage": { "files": [{ "path": "/etc/a", "contents": { "source": "data:,1" } }] } },
        });
        let layered = json!({ "machineConfigPool": { "name": "worker" } });
        let cost = |more: Value| {
            let to = applied(&rendered, &more);
            let of = |config| Wanted {
                layered: Some(&layered),
                config: Some(config),
            };
            let size = Size {
                pool: "worker",
                nodes: 3,
                max_unavailable: None,
                is_paused: false,
            };
            let cost = change(of(&rendered), of(&to), size, None);
            (cost.builds, cost.nodes)
        };
        let file = |text: &str| json!({ "config": { "storage": { "files": [{ "path": "/etc/a", "contents": { "source": text } }] } } });
        for (more, builds, nodes) in [
            (json!({}), false, Nodes::Stay),
            (
                json!({ "kernelType": "default", "extensions": ["usbguard"] }),
                false,
                Nodes::Stay,
            ),
            (file("data:,1"), false, Nodes::Stay),
            (file("data:,2"), false, Nodes::TakeFiles),
            (
                json!({ "config": { "systemd": { "units": [{ "name": "a.service" }] } } }),
                false,
                Nodes::TakeFiles,
            ),
            (json!({ "kernelArguments": ["b"] }), true, Nodes::Restart),
            (json!({ "extensions": ["sysstat"] }), true, Nodes::Restart),
            (json!({ "kernelType": "realtime" }), true, Nodes::Restart),
            (
                json!({ "osImageURL": "q.io/b@sha256:2" }),
                true,
                Nodes::Restart,
            ),
            (json!({ "fips": true }), false, Nodes::Restart),
        ] {
            assert_eq!(cost(more.clone()), (builds, nodes), "{more}");
        }
        assert_eq!(applied(&Value::Null, &json!({})), json!({}));
    }

    #[test]
    fn pools_of_ones_own_have_what_workers_have() {
        let config = |role: &str| json!({ "metadata": { "labels": { ROLE: role } } });
        assert!(is_for(&config("worker"), "worker") && is_for(&config("worker"), "edge"));
        assert!(!is_for(&config("worker"), "master") && !is_for(&config("edge"), "worker"));
        assert!(is_for(&config("edge"), "edge") && !is_for(&json!({}), "edge"));
    }
}
