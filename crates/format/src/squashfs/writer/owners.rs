//! The id table: every user and group that occurs, named by a 16-bit index.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use zerocopy::little_endian::U32;

/// Users and groups in the order in which they came; both share one table.
#[derive(Default)]
pub(super) struct Owners {
    ids: Vec<U32>,
    indices: BTreeMap<u32, u16>,
}

impl Owners {
    /// The index of `id`, which is added if need be.
    pub(super) fn index(&mut self, id: u32) -> Result<u16> {
        if let Some(index) = self.indices.get(&id) {
            return Ok(*index);
        }
        // The count has 16 bits too, so the last index is one less than the last number.
        let index = u16::try_from(self.ids.len())
            .ok()
            .filter(|index| *index < u16::MAX)
            .context("the image has more than 65535 different users and groups")?;
        self.ids.push(U32::new(id));
        self.indices.insert(id, index);
        Ok(index)
    }

    /// All ids, by index.
    pub(super) fn ids(&self) -> &[U32] {
        &self.ids
    }

    /// How many there are.
    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.ids.len()).expect("index() stops at 65535")
    }
}
