//! A Containerfile of any bytes.
#![no_main]

use bake_kernel::containerfile::{Wanted, lint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let drivers = ["disk".to_owned()];
    let wanted = Wanted {
        drivers: &drivers,
        kernel: Some("6.1.0"),
        left_out: &drivers,
    };
    let _ = lint(bytes, &wanted);
});
