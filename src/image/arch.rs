//! Names of architectures: images say GOARCH, kernels and people say `uname -m`.

/// `uname -m` (also as Rust spells it) and GOARCH, for the architectures that differ.
const NAMES: &[(&str, &str)] = &[
    ("x86_64", "amd64"),
    ("aarch64", "arm64"),
    ("i386", "386"),
    ("i686", "386"),
    ("x86", "386"),
    ("armv7l", "arm"),
    ("loongarch64", "loong64"),
];

/// The GOARCH name of an architecture given by either of its names.
pub fn goarch(name: &str) -> &str {
    NAMES
        .iter()
        .find(|(uname, _)| *uname == name)
        .map_or(name, |(_, goarch)| goarch)
}

/// The `uname -m` name of an architecture given by either of its names.
pub fn uname(name: &str) -> &str {
    NAMES
        .iter()
        .find(|(_, goarch)| *goarch == name)
        .map_or(name, |(uname, _)| uname)
}

/// The GOARCH name of the machine this program runs on.
pub(super) fn host() -> &'static str {
    match std::env::consts::ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        other => goarch(other),
    }
}

#[cfg(test)]
mod tests {
    use super::{goarch, uname};

    #[test]
    fn both_names_are_understood() {
        for (either, go, kernel) in [
            ("x86_64", "amd64", "x86_64"),
            ("amd64", "amd64", "x86_64"),
            ("aarch64", "arm64", "aarch64"),
            ("arm64", "arm64", "aarch64"),
            ("ppc64le", "ppc64le", "ppc64le"),
            ("s390x", "s390x", "s390x"),
            ("riscv64", "riscv64", "riscv64"),
        ] {
            assert_eq!(goarch(either), go);
            assert_eq!(uname(either), kernel);
        }
    }
}
