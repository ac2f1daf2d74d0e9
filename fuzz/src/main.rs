//! Feeds the reader that `FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use coreos_bake::fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let named = TARGETS.iter().find(|(known, _)| *known == name);
    named
        .unwrap_or_else(|| {
            panic!(
                "{name:?} is not one of {:?}",
                TARGETS.map(|(known, _)| known)
            )
        })
        .1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
