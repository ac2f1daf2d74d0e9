//! A module file of any bytes, read for what it says of itself and for the indexes.
#![no_main]

use bake_kernel::kernel::{BuildFiles, Depmod, ModuleInfo};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ModuleInfo::read(bytes);
    let mut depmod = Depmod::new("6.1.0", &[]).expect("no configuration is a right one");
    if depmod.add("extra/disk.ko", &mut &*bytes).is_ok() {
        let _ = depmod.finish(&BuildFiles::default());
    }
});
