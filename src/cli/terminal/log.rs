//! What `tracing` records, told by the terminal's voice: warnings always, the rest with `-v`.

use std::fmt::{Debug, Write};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{FAINT, Voice, WARNING};
use crate::progress::WAIT;

/// Has `voice` tell what is recorded from now on. `COREOS_BAKE_LOG` chooses other events.
pub(super) fn listen(voice: &Arc<Voice>, verbose: u8) {
    let level = match verbose {
        0 => "coreos_bake=warn",
        1 => "coreos_bake=debug,info",
        _ => "coreos_bake=trace,debug",
    };
    let filter = EnvFilter::try_from_env("COREOS_BAKE_LOG").unwrap_or_else(|_| level.into());
    let ear = Ear(Arc::clone(voice)).with_filter(filter);
    // Fails where a test has one already.
    let _ = tracing_subscriber::registry().with(ear).try_init();
}

struct Ear(Arc<Voice>);

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if target == WAIT {
            let cause = said.fields.get("cause").and_then(Value::as_str);
            return self.0.wait(&said.message, cause.unwrap_or_default());
        }
        if level <= Level::WARN {
            let more = match said.fields.is_empty() {
                true => Value::Null,
                false => json!({ "fields": said.fields }),
            };
            return self.0.say("warning", WARNING, &said.message, more);
        }
        let kind = level.as_str().to_ascii_lowercase();
        if self.0.json {
            let more = json!({ "target": target, "fields": said.fields });
            return self.0.say(&kind, FAINT, &said.message, more);
        }
        let mut sentence = said.message;
        for (name, value) in &said.fields {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(sentence, "; {name} {value}");
        }
        // Whose words they are matters only where they are not ours.
        if !target.starts_with(env!("CARGO_CRATE_NAME")) {
            sentence = format!("{target}: {sentence}");
        }
        self.0.say(&kind, FAINT, &sentence, Value::Null);
    }
}

/// The sentence of an event, and what else it has.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => {
                self.fields.insert(name.to_owned(), Value::String(text));
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => {
                self.fields
                    .insert(name.to_owned(), Value::String(value.to_owned()));
            }
        }
    }
}
