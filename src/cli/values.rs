//! Values of options that have names: what shells complete and help lists is what is taken.

use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

use super::Usage;
use crate::netboot::{UrlError, check_base, check_rootfs};

/// Takes what `T` is parsed from, and tells what the common ones are called.
#[derive(Clone)]
pub(super) struct Named<T> {
    names: Vec<&'static str>,
    parse: fn(&str) -> Result<T, String>,
}

/// A parser of values that are called `names`; others may be taken as well, such as `zstd:3`.
pub(super) fn named<T>(names: impl IntoIterator<Item = &'static str>) -> Named<T>
where
    T: FromStr<Err: Display>,
{
    Named {
        names: names.into_iter().collect(),
        parse: |text| text.parse().map_err(|error: T::Err| format!("{error:#}")),
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Named<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        self.parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(PossibleValue::new)))
    }
}

/// Refuses what no names of files can be put behind. clap does not ask this: it would print the value, which
/// may have a password in it.
pub(super) fn checked_url(url: &str) -> Result<(), Usage> {
    check_base(url).map_err(wrong_url)
}

/// The same for the URL of a root file system.
pub(super) fn checked_rootfs_url(url: &str) -> Result<(), Usage> {
    check_rootfs(url).map_err(wrong_url)
}

fn wrong_url(error: UrlError) -> Usage {
    Usage::new(error.to_string()).with_hint(error.hint())
}
