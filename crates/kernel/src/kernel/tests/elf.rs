//! What is read from object files of either class and byte order.

use std::io::Write;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::module;
use super::object::{EM_X86_64, Module};
use crate::kernel::ModuleInfo;

fn sample() -> Module {
    module(&[
        "name=a",
        "firmware=f/1",
        "firmware=f/2",
        "depends=b,c",
        "softdep=pre: d",
    ])
    .needs(&["printk", "b_init"])
}

#[test]
fn every_class_and_byte_order_is_read() {
    for (wide, little) in [(true, true), (true, false), (false, true), (false, false)] {
        let info = ModuleInfo::read(&sample().of(EM_X86_64, wide, little).bytes()).unwrap();
        assert_eq!(info.vermagic(), Some("6.1.0-test SMP mod_unload "));
        assert_eq!(info.release(), Some("6.1.0-test"));
        assert_eq!(info.all("firmware").collect::<Vec<_>>(), ["f/1", "f/2"]);
        assert_eq!(info.depends().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(info.get("softdep"), Some("pre: d"));
        assert_eq!(info.undefined, ["b_init", "printk"]);
        assert_eq!(info.signature, None);
    }
}

#[test]
fn signatures_and_compression_are_seen_through() {
    let signed = [
        sample().bytes(),
        b"pkcs7~Module signature appended~\n".to_vec(),
    ]
    .concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&signed).unwrap();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&signed).unwrap();
    let files = [
        signed.clone(),
        gzip.finish().unwrap(),
        xz.finish().unwrap(),
        zstd::bulk::compress(&signed, 1).unwrap(),
    ];
    for file in files {
        let info = ModuleInfo::read(&file).unwrap();
        let signature = info.signature.as_ref().unwrap();
        assert!(signature.unreadable.is_some());
        assert_eq!(info.get("name"), Some("a"));
        if file[0] != 0x7f {
            assert!(ModuleInfo::read(&file[..file.len() - 9]).is_err());
        }
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let message = |bytes: &[u8]| format!("{:#}", ModuleInfo::read(bytes).unwrap_err());
    assert!(message(b"text").starts_with("reading the object file"));
    assert!(message(b"").starts_with("reading the object file"));
    let mut bytes = sample().bytes();
    let at = bytes
        .windows(8)
        .position(|part| part == b".modinfo")
        .unwrap();
    bytes[at] = b'x';
    assert_eq!(message(&bytes), "the object file has no section .modinfo");
    let large = module(&["x"; 3 << 20]).bytes();
    assert!(message(&large).starts_with("section .modinfo has"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_modules_never_panic(
        wide in any::<bool>(),
        little in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample().of(EM_X86_64, wide, little).bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = ModuleInfo::read(&bytes);
        let _ = ModuleInfo::read(&bytes[..length.index(bytes.len())]);
    }
}
