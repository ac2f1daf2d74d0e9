//! MachineConfigs that keep releases away from a pool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::super::objects::name;
use super::super::snapshot::Snapshot;

/// A MachineConfig, as far as it keeps releases away from a pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PinningConfig {
    /// Name and identity.
    pub metadata: ObjectMeta,
    spec: PinningSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PinningSpec {
    #[serde(rename = "osImageURL")]
    os_image_url: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl PinningConfig {
    /// The image that it sets for its pools.
    pub fn image(&self) -> Option<&str> {
        let image = &*self.spec.os_image_url;
        (!image.is_empty()).then_some(image)
    }

    /// Whether `prepare` or `handoff` made it, for this pool.
    pub fn is_ours(&self, pool: &str) -> bool {
        name(&self.metadata) == format!("99-{pool}-coreos-bake-os")
    }

    /// Whether it says nothing but which image.
    pub fn is_only_that(&self) -> bool {
        let says = |value: &Value| match value {
            Value::Null => false,
            Value::Bool(said) => *said,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Number(_) => true,
        };
        // An Ignition config with a version and nothing else configures nothing.
        let config = self.spec.rest.get("config").and_then(Value::as_object);
        let is_bare = config.is_none_or(|config| {
            let parts = config.iter().filter(|(name, _)| *name != "ignition");
            parts.map(|(_, part)| part).all(|part| !says(part))
        });
        let rest = self.spec.rest.iter().filter(|(name, _)| *name != "config");
        is_bare && rest.map(|(_, value)| value).all(|value| !says(value))
    }
}

/// Other pools whose configuration has the MachineConfig `config` in it, and which no image is built for:
/// they would go to the release's own image without it.
pub fn exposed<'a>(snapshot: &'a Snapshot, config: &str, handed_off: &[String]) -> Vec<&'a str> {
    let pools = snapshot.pools.iter().filter(|pool| {
        let mut sources = pool.spec.configuration.source.iter();
        sources.any(|source| source.name == config)
    });
    pools
        .map(|pool| name(&pool.metadata))
        .filter(|pool| !handed_off.iter().any(|handed| handed == pool))
        .filter(|pool| snapshot.config_of(pool).is_none())
        .collect()
}
