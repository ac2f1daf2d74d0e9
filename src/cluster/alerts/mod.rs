//! Objects that have a cluster's own monitoring call somebody.
//!
//! ```text
//! options   what somebody is to be called for
//! rules     what Prometheus can tell, as an AlertingRule
//! job       what it can't, looked for by a CronJob that runs `coreos-bake cluster status`
//! schedule  when that runs
//! ```
//!
//! Nothing here talks to a cluster.

mod job;
mod options;
mod rules;
mod schedule;

use serde_json::{Value, json};

pub use options::{AlertOptions, Claim, Namespace, Watch};
pub use schedule::Schedule;

/// All objects, those first that others are in. The same options give the same objects.
pub fn objects(options: &AlertOptions) -> Vec<Value> {
    let mut objects = options.watch.as_ref().map(job::objects).unwrap_or_default();
    objects.push(rules::alerting_rule(options));
    for object in &mut objects {
        object["metadata"]["labels"]["app.kubernetes.io/name"] = json!("coreos-bake");
    }
    objects
}
