//! References of installed systems to their image, as text.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::ostree::ContainerReference;

pub(super) fn serialize<S: Serializer>(
    origin: &ContainerReference,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ContainerReference, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error: anyhow::Error| D::Error::custom(format!("{error:#}")))
}
