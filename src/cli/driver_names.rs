//! Names of drivers on the command line: the same for every command that takes `--driver`.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Usage;
use crate::kernel::DriverName;

/// The names as texts; a name that is given twice is a mistake, as another one was likely meant.
pub(super) fn each_once(names: &[DriverName]) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Usage::new(format!("driver {name} is named twice")).into());
        }
    }
    Ok(names.iter().map(ToString::to_string).collect())
}
