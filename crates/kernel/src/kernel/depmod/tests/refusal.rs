//! What is refused, and that nothing panics.

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::scratch::RELEASE;
use crate::kernel::depmod::{BuildFiles, Depmod};
use crate::kernel::tests::object::{EM_X86_64, Module, module};

fn add(path: &str, bytes: &[u8]) -> Result<Depmod, String> {
    let mut depmod = Depmod::new(RELEASE, &[]).unwrap();
    match depmod.add(path, &mut &*bytes) {
        Ok(()) => Ok(depmod),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn sample() -> Module {
    module(&["alias=char-major-1-2", "alias=devname:a", "softdep=pre: b"])
        .exports_versions(&["a", "b"])
        .needs(&["c", "d"])
}

#[test]
fn what_is_no_module_is_refused_by_its_path() {
    let long = "s".repeat(600);
    let cases: &[(&[u8], &str)] = &[
        (b"", "reading module k/a.ko: reading the object file"),
        (
            b"\x9c\x01\xee random \x00\xff",
            "reading module k/a.ko: reading the object file",
        ),
        (
            b"\x1f\x8bno",
            "reading module k/a.ko: decompressing it (gzip)",
        ),
        (
            b"\xfd7zXZ\0no",
            "reading module k/a.ko: decompressing it (xz)",
        ),
        (
            b"\x28\xb5\x2f\xfdno",
            "reading module k/a.ko: decompressing it (zstd)",
        ),
        (
            &sample().needs(&[&long]).bytes(),
            "reading module k/a.ko: the name of a symbol has 600 bytes",
        ),
        (
            &sample().section("__versions", vec![0; 65]).bytes(),
            "reading module k/a.ko: section __versions has 65 bytes",
        ),
    ];
    for (bytes, message) in cases {
        let error = add("k/a.ko", bytes).expect_err(message);
        assert!(error.starts_with(message), "{error}");
    }
    assert!(add("k/a.ko", &sample().bytes()).is_ok());
}

#[test]
fn facts_are_bounded() {
    let alias = format!("alias={}", "a".repeat(1 << 20));
    let error = add("k/a.ko", &module(&[&*alias; 17]).bytes()).unwrap_err();
    assert!(
        error.contains("names of its symbols and aliases take more"),
        "{error}"
    );
    // A key that no index takes.
    let depmod = add("k/a.ko", &module(&[&alias]).bytes()).unwrap();
    let error = format!("{:#}", depmod.finish(&BuildFiles::default()).unwrap_err());
    assert!(
        error.starts_with("making modules.alias.bin: a key of an index has 1048576"),
        "{error}"
    );
}

#[test]
fn keys_are_ascii() {
    let depmod = add("k/a.ko", &module(&["alias=ä"]).bytes()).unwrap();
    let error = format!("{:#}", depmod.finish(&BuildFiles::default()).unwrap_err());
    assert_eq!(
        error,
        "making modules.alias.bin: \"ä\" can be no key of an index, which are ASCII"
    );
}

#[test]
fn paths() {
    let config = [("a", "external * /opt/build/m")];
    let depmod = Depmod::new(RELEASE, &config).unwrap();
    for path in [
        "a.ko",
        "kernel/x/a-b.ko.xz",
        "a.ko.gz",
        "/opt/build/m/a.ko.zst",
        "builds/a.ko",
    ] {
        assert!(depmod.wants(path), "{path}");
    }
    for path in [
        "modules.dep",
        "a.ko.lz4",
        "build/a.ko",
        "x/source/y/a.ko",
        ".ko",
        "/opt/build/m/build/a.ko",
        "/opt/build/more/a.ko",
    ] {
        assert!(!depmod.wants(path), "{path}");
        assert!(add(path, &sample().bytes()).is_err(), "{path}");
    }
    assert!(add("a\nb.ko", &sample().bytes()).is_err());
    let mut depmod = add("k/a.ko", &sample().bytes()).unwrap();
    let error = depmod.add("k/a.ko", &mut &*sample().bytes()).unwrap_err();
    assert_eq!(error.to_string(), "module k/a.ko was given twice");
}

#[test]
fn dependencies_are_bounded() {
    // Each module needs the one before, and so all before.
    let mut depmod = Depmod::new(RELEASE, &[]).unwrap();
    for n in 0u32..3000 {
        let (own, other) = (format!("s{n}"), format!("s{}", n.wrapping_sub(1)));
        let bytes = module(&[]).exports(&[&own]).needs(&[&other]).bytes();
        depmod.add(&format!("k/m{n}.ko"), &mut &*bytes).unwrap();
    }
    let error = depmod.finish(&BuildFiles::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "modules have more than 4194304 dependencies"
    );
}

#[test]
fn a_chain_as_deep_as_there_are_keys() {
    // Each alias begins with the one before, which makes the deepest trie.
    let aliases: Vec<String> = (1..=2048)
        .map(|n| format!("alias={}", "a".repeat(n)))
        .collect();
    let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
    let depmod = add("k/a.ko", &module(&aliases).bytes()).unwrap();
    let files = depmod.finish(&BuildFiles::default()).unwrap().files;
    assert!(!files["modules.alias.bin"].is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_modules_never_panic(
        wide in any::<bool>(),
        little in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample().of(EM_X86_64, wide, little).versions(&["x"]).bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for bytes in [&bytes[..], &bytes[..length.index(bytes.len())]] {
            if let Ok(depmod) = add("a.ko", bytes) {
                let _ = depmod.finish(&BuildFiles::default());
            }
        }
    }

    #[test]
    fn nonsense_beside_the_modules_never_panics(
        text in "[ \\\\\n#a-c*/.]{0,40}",
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let config = format!("search {text}\noverride {text}\nexternal {text}");
        let mut depmod = Depmod::new(RELEASE, &[("a", &config), ("b", &text)]).unwrap();
        depmod.add("k/a.ko", &mut &*sample().bytes()).unwrap();
        depmod.add("l/a.ko", &mut &*sample().bytes()).unwrap();
        let bytes = Some(&*bytes);
        let build = BuildFiles { order: bytes, builtin: bytes, builtin_modinfo: bytes };
        let _ = depmod.finish(&build);
    }
}
