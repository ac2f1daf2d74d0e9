//! An initramfs of any bytes, and a driver looked up in it.
#![no_main]

use bake_kernel::kernel::{Boot, Files, Initramfs, look_up_at};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(initramfs) = Initramfs::read(bytes) else {
        return;
    };
    for release in initramfs.list("usr/lib/modules").unwrap_or_default() {
        let boot = Boot {
            files: &initramfs,
            image: &initramfs,
            release: &release,
            arguments: &[],
            initramfs: true,
        };
        let _ = look_up_at(&boot, "disk");
    }
});
