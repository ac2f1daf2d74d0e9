//! The command line as a whole: its definition with all that help says, and how it is read.
//!
//! What can be set by a variable gives way to the command line. An empty variable counts as unset, a
//! variable never contradicts an option (`--no-cache` holds whatever `COREOS_BAKE_CACHE` says), and a value
//! that is refused is told to come from a variable.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Error, FromArgMatches, ValueHint};

use super::{Cli, manual};

/// The definition.
pub(super) fn command() -> Command {
    command_without(&BTreeSet::new())
}

/// The definition, as if these variables were unset.
fn command_without(unset: &BTreeSet<OsString>) -> Command {
    let adapt = |arg: Arg| adapted(arg, unset);
    let command = Cli::command().mut_args(adapt);
    let command = command.mut_subcommands(|sub| {
        let sub = sub.mut_args(adapt);
        sub.mut_subcommands(|inner| inner.mut_args(adapt))
    });
    manual::with_sections(command)
}

/// An argument as help and shells have it. coreos-installer calls values in small letters, and ours are called in
/// capitals.
fn adapted(arg: Arg, unset: &BTreeSet<OsString>) -> Arg {
    let arg = match arg.get_env() {
        Some(variable) if unset.contains(variable) || is_empty(variable) => arg.env(None::<&str>),
        // What help says is the same on every machine.
        _ => arg.hide_env_values(true),
    };
    match arg.get_value_names() {
        Some([name]) if name == "path" => arg.value_name("PATH").value_hint(ValueHint::AnyPath),
        Some([name]) if name == "spec" => arg.value_name("SPEC"),
        Some([name]) if name == "arg" => arg.value_name("ARG"),
        _ => arg,
    }
}

fn is_empty(variable: &OsStr) -> bool {
    env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// What the user said.
pub(super) fn parse() -> Result<Cli, Error> {
    let mut unset = BTreeSet::new();
    loop {
        let mut command = command_without(&unset);
        let parsed = command
            .try_get_matches_from_mut(env::args_os())
            .and_then(|matches| Cli::from_arg_matches(&matches));
        let error = match parsed {
            Ok(cli) => return Ok(cli),
            Err(error) => error.format(&mut command),
        };
        let giving_way = contradicting(&error, &command);
        if giving_way.is_subset(&unset) {
            return Err(explained(error, &command));
        }
        unset.extend(giving_way);
    }
}

/// The variables of arguments that contradict others.
fn contradicting(error: &Error, command: &Command) -> BTreeSet<OsString> {
    if error.kind() != ErrorKind::ArgumentConflict {
        return BTreeSet::new();
    }
    let mut named = BTreeSet::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match error.get(kind) {
            Some(ContextValue::String(name)) => drop(named.insert(name.clone())),
            Some(ContextValue::Strings(names)) => named.extend(names.iter().cloned()),
            _ => {}
        }
    }
    let set = set_by_variable(command).filter(|arg| named.contains(&arg.to_string()));
    set.filter_map(|arg| arg.get_env().map(OsStr::to_owned))
        .collect()
}

/// The error, with what clap does not say.
fn explained(mut error: Error, command: &Command) -> Error {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::InvalidUtf8, _) => {
            let odd = env::args_os()
                .skip(1)
                .filter(|word| word.to_str().is_none());
            let odd: Vec<String> = odd.map(|word| format!("{word:?}")).collect();
            let sentence = format!(
                "{} is not UTF-8, and not a file that may be called so\n",
                odd.join(", ")
            );
            Error::raw(ErrorKind::InvalidUtf8, sentence)
        }
        (_, Some(ContextValue::String(name))) => {
            let set = set_by_variable(command).find(|arg| arg.to_string() == *name);
            if let Some(variable) = set.and_then(Arg::get_env) {
                let advice = format!(
                    "the value is that of the variable {}",
                    variable.to_string_lossy()
                );
                let advice = ContextValue::StyledStrs(vec![advice.into()]);
                error.insert(ContextKind::Suggested, advice);
            }
            error
        }
        _ => error,
    }
}

/// The arguments of the command at hand that have a variable, and are not on the command line.
fn set_by_variable(command: &Command) -> impl Iterator<Item = &Arg> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let sub = words.iter().find_map(|word| command.find_subcommand(word));
    let all = command
        .get_arguments()
        .chain(sub.into_iter().flat_map(Command::get_arguments));
    all.filter(move |arg| {
        let said = |word: &OsString| {
            let text = word.to_string_lossy();
            let long = arg.get_long().zip(text.strip_prefix("--"));
            long.is_some_and(|(long, said)| said.split('=').next() == Some(long))
        };
        arg.get_env()
            .is_some_and(|variable| env::var_os(variable).is_some())
            && !words.iter().any(said)
    })
}
