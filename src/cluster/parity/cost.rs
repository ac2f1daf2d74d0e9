//! Whether an image is built for a change, and what becomes of nodes.

use std::fmt;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

/// What takes an image of its own, of a rendered MachineConfig's spec. The order of items counts
/// (machine-config-operator pkg/controller/common/helpers.go `RequiresRebuild`@7ff337a4f).
const OF_THE_IMAGE: [&str; 4] = ["osImageURL", "kernelType", "extensions", "kernelArguments"];
/// The rest of it: what nodes take as files, but for `fips`, which takes a restart.
const OF_NODES: [&str; 2] = ["fips", "config"];
/// The first release that keeps the image where only files change, and follows node disruption policies then
/// (an assumption: the branches before it were not run).
const KEEPS_IMAGE_FROM: (u16, u16) = (4, 20);
/// The pool that never has more than one node away.
const ARBITER: &str = "arbiter";

/// What the nodes of a pool are to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// `spec` of the pool's MachineOSConfig; None if no image is built for it.
    pub layered: Option<&'a Value>,
    /// `spec` of the pool's rendered MachineConfig; None if that is as before.
    pub config: Option<&'a Value>,
}

/// How large a pool is, and how much of it may be away at a time.
#[derive(Clone, Copy, Debug)]
pub struct Size<'a> {
    /// The pool.
    pub pool: &'a str,
    /// How many nodes it has.
    pub nodes: u32,
    /// `spec.maxUnavailable` of the pool.
    pub max_unavailable: Option<&'a IntOrString>,
    /// Whether the pool is paused.
    pub is_paused: bool,
}

/// What a change costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Whether an image is built. One that was built from the same before, and is still there, is taken
    /// again.
    pub builds: bool,
    /// What becomes of each node.
    pub nodes: Nodes,
    /// How many nodes there are.
    pub count: u32,
    /// How many of them are away at a time, at most.
    pub at_a_time: u32,
    /// Whether nodes wait for the pool to be resumed.
    pub is_paused: bool,
    /// Fields that make it so, as in `kernelArguments`.
    pub because: Vec<&'static str>,
}

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nodes {
    /// It stays as it is.
    Stay,
    /// It takes files and units; whether it is drained and restarted is for node disruption policies to say.
    TakeFiles,
    /// It is drained and restarted.
    Restart,
    /// It is drained and restarted, and restarted once more: between the two it has nothing of its image.
    RestartTwice,
}

/// What it costs to go from one to the other, in a cluster of `release`, as in (4, 20); None is the newest.
pub fn change(
    from: Wanted<'_>,
    to: Wanted<'_>,
    size: Size<'_>,
    release: Option<(u16, u16)>,
) -> Cost {
    let differ = |names: &[&'static str]| -> Vec<&'static str> {
        let (Some(from), Some(to)) = (from.config, to.config) else {
            return Vec::new();
        };
        let names = names.iter().copied();
        names
            .filter(|name| !is_same(from.get(name), to.get(name)))
            .collect()
    };
    let of_image = differ(&OF_THE_IMAGE);
    let of_nodes = differ(&OF_NODES);
    let keeps_image = release.is_none_or(|release| release >= KEEPS_IMAGE_FROM);
    let is_layered = to.layered.is_some();
    let mut because = Vec::new();
    let (mut builds, mut nodes) = (false, Nodes::Stay);
    let mut takes = |builds_now: bool, now: Nodes, fields: &[&'static str]| {
        builds |= builds_now;
        nodes = nodes.max(now);
        because.extend(fields);
    };
    match (from.layered, to.layered) {
        (Some(_), None) => takes(false, Nodes::RestartTwice, &["MachineOSConfig"]),
        (None, Some(_)) => takes(true, Nodes::Restart, &["MachineOSConfig"]),
        (Some(from), Some(to)) if from != to => takes(true, Nodes::Restart, &["MachineOSConfig"]),
        _ => {}
    }
    if !of_image.is_empty() {
        takes(is_layered, Nodes::Restart, &of_image);
    }
    if !of_nodes.is_empty() {
        let policies_count = !is_layered || keeps_image;
        let now = match policies_count && !of_nodes.contains(&"fips") {
            true => Nodes::TakeFiles,
            false => Nodes::Restart,
        };
        takes(!policies_count, now, &of_nodes);
    }
    Cost {
        builds,
        nodes,
        count: size.nodes,
        at_a_time: at_a_time(size),
        is_paused: size.is_paused,
        because,
    }
}

/// What is not there is as good as empty to the operator, but for lists, of which nobody writes empty ones.
fn is_same(from: Option<&Value>, to: Option<&Value>) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(is_on) => !is_on,
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let said = |value: Option<&Value>| value.filter(|value| !is_empty(value)).cloned();
    said(from) == said(to)
}

/// machine-config-operator pkg/controller/node/node_controller.go `maxUnavailable`@7ff337a4f.
pub fn at_a_time(size: Size<'_>) -> u32 {
    let most = match size.max_unavailable {
        _ if size.pool == ARBITER => 1,
        None => 1,
        Some(IntOrString::Int(count)) => u32::try_from(*count).unwrap_or(0),
        Some(IntOrString::String(share)) => {
            let percent = share.strip_suffix('%').and_then(|share| share.parse().ok());
            let percent: u64 = percent.unwrap_or(0);
            let count = u64::from(size.nodes).saturating_mul(percent) / 100;
            u32::try_from(count).unwrap_or(u32::MAX)
        }
    };
    most.max(1).min(size.nodes.max(1))
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            builds,
            nodes,
            count,
            at_a_time,
            ..
        } = self;
        let node = if *count == 1 { "node" } else { "nodes" };
        let pace = match count {
            0 | 1 => String::new(),
            _ => format!(", {at_a_time} at a time"),
        };
        let pause = match self.is_paused {
            true => ", once the pool is resumed",
            false => "",
        };
        let nodes = match nodes {
            _ if *count == 0 => None,
            Nodes::Stay => None,
            Nodes::TakeFiles => Some(format!(
                "gives files to {count} {node}{pace}{pause}; node disruption policies decide whether they restart"
            )),
            Nodes::Restart => Some(format!("restarts {count} {node}{pace}{pause}")),
            Nodes::RestartTwice => Some(format!("restarts {count} {node} twice{pace}{pause}")),
        };
        match (builds, nodes) {
            (true, Some(nodes)) => write!(out, "builds an image, then {nodes}"),
            (true, None) => write!(out, "builds an image; the pool has no nodes"),
            (false, Some(nodes)) => write!(out, "builds nothing, and {nodes}"),
            (false, None) => write!(out, "builds nothing, and leaves nodes alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SIZE: Size<'_> = Size {
        pool: "worker",
        nodes: 3,
        max_unavailable: None,
        is_paused: false,
    };

    #[test]
    fn a_change_is_told_by_what_it_costs() {
        let one = json!({ "containerFile": [{ "content": "FROM configs\n" }] });
        let two = json!({ "containerFile": [{ "content": "FROM configs\nRUN true\n" }] });
        let rendered = json!({
            "osImageURL": "quay.io/a@sha256:1", "kernelType": "default", "extensions": [],
            "kernelArguments": ["a", "b"], "fips": false, "config": { "storage": { "files": [] } },
        });
        let with = |name: &str, value: Value| {
            let mut changed = rendered.clone();
            changed[name] = value;
            changed
        };
        let arguments = with("kernelArguments", json!(["b", "a"]));
        let extension = with("extensions", json!(["usbguard"]));
        let files = with(
            "config",
            json!({ "storage": { "files": [{ "path": "/etc/a" }] } }),
        );
        let both = {
            let mut both = files.clone();
            both["osImageURL"] = json!("quay.io/a@sha256:2");
            both
        };
        let wanted = |layered, config| Wanted {
            layered,
            config: Some(config),
        };
        let (stock, old) = (wanted(None, &rendered), wanted(Some(&one), &rendered));
        let restart = "builds an image, then restarts 3 nodes, 1 at a time";
        for (from, to, release, said) in [
            (old, old, None, "builds nothing, and leaves nodes alone"),
            (old, wanted(Some(&two), &rendered), None, restart),
            (stock, old, None, restart),
            (
                old,
                stock,
                None,
                "builds nothing, and restarts 3 nodes twice, 1 at a time",
            ),
            (old, wanted(Some(&one), &arguments), None, restart),
            (old, wanted(Some(&one), &extension), None, restart),
            (
                stock,
                wanted(None, &extension),
                None,
                "builds nothing, and restarts 3 nodes, 1 at a time",
            ),
            (
                old,
                wanted(Some(&one), &files),
                Some((4, 20)),
                "builds nothing, and gives files to 3 nodes, 1 at a time; node disruption policies decide \
                 whether they restart",
            ),
            (old, wanted(Some(&one), &files), Some((4, 19)), restart),
            (old, wanted(Some(&one), &both), None, restart),
        ] {
            assert_eq!(change(from, to, SIZE, release).to_string(), said);
        }
        let cost = change(old, wanted(Some(&two), &both), SIZE, None);
        assert_eq!(cost.because, ["MachineOSConfig", "osImageURL", "config"]);
        // Nobody has changed what only one of them says to be as it is anyway.
        let silent = json!({ "osImageURL": "quay.io/a@sha256:1", "kernelArguments": ["a", "b"],
            "kernelType": "default", "config": { "storage": { "files": [] } } });
        assert_eq!(
            change(old, wanted(Some(&one), &silent), SIZE, None).nodes,
            Nodes::Stay
        );
    }

    #[test]
    fn so_many_nodes_are_away_at_a_time() {
        let number = IntOrString::Int;
        let share = |text: &str| IntOrString::String(text.to_owned());
        for (pool, nodes, most, expected) in [
            ("worker", 10, None, 1),
            ("worker", 10, Some(number(4)), 4),
            ("worker", 3, Some(number(4)), 3),
            ("worker", 10, Some(number(0)), 1),
            ("worker", 10, Some(number(-1)), 1),
            ("worker", 19, Some(share("10%")), 1),
            ("worker", 20, Some(share("10%")), 2),
            ("worker", 5, Some(share("10%")), 1),
            ("worker", 5, Some(share("nonsense")), 1),
            ("worker", 5, Some(share("99999999999999999999%")), 1),
            ("arbiter", 10, Some(number(4)), 1),
        ] {
            let size = Size {
                pool,
                nodes,
                max_unavailable: most.as_ref(),
                is_paused: false,
            };
            assert_eq!(at_a_time(size), expected, "{pool} {nodes} {most:?}");
        }
        let spec = json!({});
        let to = Wanted {
            layered: Some(&spec),
            config: None,
        };
        let said = |nodes, is_paused| {
            let size = Size {
                nodes,
                is_paused,
                ..SIZE
            };
            change(Wanted::default(), to, size, None).to_string()
        };
        assert_eq!(said(0, false), "builds an image; the pool has no nodes");
        assert_eq!(
            said(1, true),
            "builds an image, then restarts 1 node, once the pool is resumed"
        );
    }
}
