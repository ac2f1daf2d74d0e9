//! Path aliases: `file_contexts.subs` and `file_contexts.subs_dist`.
//!
//! A line `/lib /usr/lib` has `/lib` and everything below looked up as if it were `/usr/lib`. The
//! administrator's file is applied first, then the distribution's to what came of it; each at most
//! once, its last matching line counting.

use std::borrow::Cow;

use anyhow::{Context, Result, ensure};

/// Most aliases of one file, each of which every path is compared with; Fedora's has some 30.
const ALIASES_MAX: usize = 1 << 12;

/// The aliases of one file, in the order in which they are tried.
#[derive(Debug, Default)]
struct List(Vec<Alias>);

#[derive(Debug)]
struct Alias {
    from: Box<[u8]>,
    to: Box<[u8]>,
}

/// Both files' aliases.
#[derive(Debug, Default)]
pub(super) struct Subs {
    local: List,
    distribution: List,
}

impl Subs {
    pub(super) fn parse(local: Option<&str>, distribution: Option<&str>) -> Result<Self> {
        Ok(Self {
            local: List::parse(local.unwrap_or_default()).context("parsing file_contexts.subs")?,
            distribution: List::parse(distribution.unwrap_or_default())
                .context("parsing file_contexts.subs_dist")?,
        })
    }

    /// The path whose label `path` gets.
    pub(super) fn apply<'a>(&self, path: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        let path = self.local.apply(path);
        self.distribution.apply(path)
    }
}

impl List {
    fn parse(text: &str) -> Result<Self> {
        let mut aliases: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_ascii_whitespace();
                let from = fields.next().filter(|field| !field.starts_with('#'))?;
                Some(Alias {
                    from: from.as_bytes().into(),
                    to: fields.next()?.as_bytes().into(),
                })
            })
            .collect();
        ensure!(
            aliases.len() <= ALIASES_MAX,
            "it has {} aliases, where at most {ALIASES_MAX} are taken",
            aliases.len()
        );
        aliases.reverse();
        Ok(Self(aliases))
    }

    fn apply<'a>(&self, path: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        for Alias { from, to } in &self.0 {
            let Some(rest) = path.strip_prefix(&**from) else {
                continue;
            };
            let rest = match (rest, &**to) {
                ([], _) => rest,
                // "/" and "/x" make "/x", not "//x".
                ([b'/', below @ ..], b"/") => below,
                ([b'/', ..], _) => rest,
                _ => continue,
            };
            return Cow::Owned([to, rest].concat());
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_end_at_a_component_and_are_applied_once() {
        let subs = Subs::parse(
            Some("/loc /lib\n"),
            Some(
                "# /usr /no\n/lib /usr/lib\n /lib/systemd\t/sd rest\n/all /\n/usr/lib /no\n/half\n",
            ),
        )
        .unwrap();
        let cases = [
            ("/lib", "/usr/lib"),
            ("/lib/x", "/usr/lib/x"),
            ("/libx", "/libx"),
            ("/lib/systemd/x", "/sd/x"),
            ("/loc/systemd", "/sd"),
            ("/all", "/"),
            ("/all/x", "/x"),
            ("/half", "/half"),
            ("/usr", "/usr"),
        ];
        for (path, expected) in cases {
            let got = subs.apply(Cow::Borrowed(path.as_bytes()));
            assert_eq!(got, expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn the_last_alias_that_fits_is_taken() {
        let text = "/a /b\n".repeat(ALIASES_MAX);
        assert!(Subs::parse(None, Some(&text)).is_ok());
        assert!(Subs::parse(Some(&format!("{text}/a /b\n")), None).is_err());
    }
}
