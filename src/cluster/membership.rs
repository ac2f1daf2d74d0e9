//! Which pool a node is in.
//!
//! Truth: machine-config-operator pkg/helpers/helpers.go@7ff337a4f, GetPoolsForNode: `master` goes before
//! all others, then a custom pool, then `worker`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::objects::{DESIRED_CONFIG, Pool, annotation, name};

/// Digits of the hash behind the pool's name in that of a rendered configuration.
const HASH_DIGITS: usize = 32;

/// The pool among `pools` whose node this is: the one whose configuration it was given; before that, the
/// one that selects it.
pub(super) fn pool_of<'a>(node: &ObjectMeta, pools: &'a [Pool]) -> Option<&'a str> {
    let given = annotation(node, DESIRED_CONFIG).and_then(pool_of_rendered);
    if let Some(pool) = given.and_then(|given| {
        let mut names = pools.iter().map(|pool| name(&pool.metadata));
        names.find(|name| *name == given)
    }) {
        return Some(pool);
    }
    let selecting = pools.iter().filter(|pool| {
        let selector = pool.spec.node_selector.as_ref();
        selector.is_some_and(|selector| selects(selector, node))
    });
    selecting
        .map(|pool| name(&pool.metadata))
        .min_by_key(|name| match *name {
            "master" => 0,
            "worker" => 2,
            _ => 1,
        })
}

/// The pool in the name of a rendered configuration.
fn pool_of_rendered(config: &str) -> Option<&str> {
    let (pool, hash) = config.strip_prefix("rendered-")?.rsplit_once('-')?;
    let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(pool)
}

fn selects(selector: &LabelSelector, node: &ObjectMeta) -> bool {
    let labels = node.labels.as_ref();
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let exact = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    exact
        .into_iter()
        .all(|(key, wanted)| value(key) == Some(wanted))
        && expressions.all(|wanted| {
            let value = value(&wanted.key);
            let among = |value: &String| wanted.values.iter().flatten().any(|one| one == value);
            match &*wanted.operator {
                "In" => value.is_some_and(among),
                "NotIn" => !value.is_some_and(among),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(name: &str, selector: serde_json::Value) -> Pool {
        let pool = json!({ "metadata": { "name": name }, "spec": { "nodeSelector": selector } });
        serde_json::from_value(pool).unwrap()
    }

    fn role(role: &str) -> serde_json::Value {
        json!({ "matchLabels": { format!("node-role.kubernetes.io/{role}"): "" } })
    }

    #[test]
    fn what_a_node_was_given_goes_before_what_selects_it() {
        let custom = json!({ "matchExpressions": [
            { "key": "node-role.kubernetes.io/edge-2", "operator": "Exists" },
            { "key": "zone", "operator": "NotIn", "values": ["west"] },
        ]});
        let pools = [
            pool("master", role("master")),
            pool("worker", role("worker")),
            pool("edge-2", custom),
        ];
        let hash = "0123456789abcdef0123456789abcdef";
        for (labels, given, expected) in [
            (&["worker"][..], None, Some("worker")),
            (&["worker", "edge-2"], None, Some("edge-2")),
            (&["worker", "master", "edge-2"], None, Some("master")),
            (&["infra"], None, None),
            (
                &["worker"],
                Some(format!("rendered-edge-2-{hash}")),
                Some("edge-2"),
            ),
            (
                &["worker"],
                Some(format!("rendered-gone-{hash}")),
                Some("worker"),
            ),
            (
                &["worker"],
                Some("rendered-edge-2-short".to_owned()),
                Some("worker"),
            ),
        ] {
            let mut node = ObjectMeta::default();
            let labels = labels.iter();
            let labels =
                labels.map(|label| (format!("node-role.kubernetes.io/{label}"), String::new()));
            node.labels = Some(labels.collect());
            node.annotations = given.map(|given| [(DESIRED_CONFIG.to_owned(), given)].into());
            assert_eq!(pool_of(&node, &pools), expected, "{node:?}");
        }
        let mut node = ObjectMeta::default();
        let west = [("node-role.kubernetes.io/edge-2", ""), ("zone", "west")];
        node.labels = Some(west.map(|(key, value)| (key.into(), value.into())).into());
        assert_eq!(pool_of(&node, &pools), None);
    }
}
