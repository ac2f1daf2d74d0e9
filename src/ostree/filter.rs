//! Where a derived layer's paths end up in the commit.
//!
//! | Path in the layer               | In the commit                                            |
//! |---------------------------------|----------------------------------------------------------|
//! | `usr/…`                         | the same                                                 |
//! | `etc/…`                         | `usr/etc/…`                                              |
//! | `var/…`                         | the same, or `usr/share/factory/var/…`                   |
//! | `run`, `tmp`, `proc`, `sys`, `dev` | the directory, nothing below                          |
//! | all else                        | dropped, unless the system has an overlay on its root    |
//!
//! Source: ostree-ext `tar/write.rs`, `ostree_prepareroot.rs`.

use std::borrow::Cow;

/// Directories that file systems of the running system are mounted on.
const API_DIRECTORIES: [&str; 5] = ["run", "tmp", "proc", "sys", "dev"];

/// What is done with a layer's `/var`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Var {
    /// It stays; libostree copies it to an empty stateroot.
    Keep,
    /// It goes to `usr/share/factory/var`, for systemd-tmpfiles.
    Factory,
}

/// What depends on the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Whether paths outside `usr`, `etc` and `var` are kept.
    pub(super) keep_foreign: bool,
    pub(super) var: Var,
}

/// What becomes of a path.
#[derive(Debug, PartialEq)]
pub(super) enum Placed<'a> {
    /// It is kept, as this path.
    At(Cow<'a, str>),
    /// It is dropped and counted under this name.
    Dropped(&'a str),
}

/// Applies the table above to a clean path.
pub(super) fn place(path: &str, rules: Rules) -> Placed<'_> {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match first {
        "" | "usr" => Placed::At(path.into()),
        "etc" => Placed::At(format!("usr/{path}").into()),
        "var" => match rules.var {
            Var::Keep => Placed::At(path.into()),
            Var::Factory => Placed::At(format!("usr/share/factory/{path}").into()),
        },
        api if API_DIRECTORIES.contains(&api) => match rest {
            Some(rest) => Placed::Dropped(rest.split('/').next().unwrap_or(rest)),
            None => Placed::At(path.into()),
        },
        _ if rules.keep_foreign => Placed::At(path.into()),
        _ => Placed::Dropped(first),
    }
}

/// Whether a path is dropped under any rules.
pub(super) fn is_never_kept(path: &str) -> bool {
    path.split_once('/')
        .is_some_and(|(first, _)| API_DIRECTORIES.contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules {
        keep_foreign: false,
        var: Var::Keep,
    };

    fn at(path: &str) -> Placed<'_> {
        Placed::At(path.into())
    }

    #[test]
    fn paths_are_placed_as_ostree_ext_places_them() {
        let factory = Rules {
            var: Var::Factory,
            ..STRICT
        };
        let open = Rules {
            keep_foreign: true,
            ..STRICT
        };
        for (path, strict, with_factory, with_open) in [
            ("", at(""), at(""), at("")),
            (
                "usr/etc/x",
                at("usr/etc/x"),
                at("usr/etc/x"),
                at("usr/etc/x"),
            ),
            ("etc", at("usr/etc"), at("usr/etc"), at("usr/etc")),
            (
                "etcc",
                Placed::Dropped("etcc"),
                Placed::Dropped("etcc"),
                at("etcc"),
            ),
            (
                "var/lib/a",
                at("var/lib/a"),
                at("usr/share/factory/var/lib/a"),
                at("var/lib/a"),
            ),
            ("run", at("run"), at("run"), at("run")),
            (
                "run/foo/x",
                Placed::Dropped("foo"),
                Placed::Dropped("foo"),
                Placed::Dropped("foo"),
            ),
            (
                "opt/a/b",
                Placed::Dropped("opt"),
                Placed::Dropped("opt"),
                at("opt/a/b"),
            ),
        ] {
            assert_eq!(place(path, STRICT), strict, "{path}");
            assert_eq!(place(path, factory), with_factory, "{path}");
            assert_eq!(place(path, open), with_open, "{path}");
            if is_never_kept(path) {
                assert!(matches!(place(path, open), Placed::Dropped(_)));
            }
        }
    }
}
