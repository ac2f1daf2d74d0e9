//! Arguments that are wrong: told in the same voice as every other error, though what they say of the
//! terminal could not be parsed with the rest.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::terminal::{CYAN, RED, When, error_line, headed};
use super::{USAGE, hint};
use crate::failure::sentence;
use crate::foreign::visible_lines;

/// Says what is wrong, or what was asked for (`--help`), and how the program ends.
pub(super) fn end(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let manners = Manners::of(std::env::args_os());
    let told = Told::of(error);
    let text = match manners.json {
        true => error_line(&told.sentence, told.hint.as_deref(), None, USAGE),
        false => told.text(manners.color),
    };
    // Nobody is left to be told that telling failed.
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
    ExitCode::from(USAGE)
}

/// What is said about wrong arguments.
struct Told {
    sentence: String,
    hint: Option<String>,
    /// What clap has to add: similar options, the usage, where help is.
    rest: String,
}

impl Told {
    fn of(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let (first, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let first = first.strip_prefix("error: ").unwrap_or(first);
        Self {
            sentence: of_value(error).unwrap_or_else(|| first.to_owned()),
            hint: error.source().and_then(hint),
            rest: rest.to_owned(),
        }
    }

    fn text(&self, color: bool) -> String {
        let mut text = headed("error", RED, color, &self.sentence);
        if let Some(hint) = &self.hint {
            text += &headed("hint", CYAN, color, hint);
        }
        text + "\n" + &visible_lines(&self.rest)
    }
}

/// Why a value is refused, where the parser's own sentence names the value: clap would name it again.
fn of_value(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let value = context(ContextKind::InvalidValue)?;
    let why = sentence(error.source()?);
    if !why.contains(&format!("{value:?}")) {
        return None;
    }
    let argument = context(ContextKind::InvalidArg)?;
    let option = argument
        .split(' ')
        .next()
        .filter(|word| word.starts_with('-'));
    Some(match option {
        Some(option) => format!("{option}: {why}"),
        None => why,
    })
}

/// How errors are to be told, as far as the command line says.
struct Manners {
    json: bool,
    color: bool,
}

impl Manners {
    /// By the words of the command line.
    fn of(words: impl Iterator<Item = OsString>) -> Self {
        let words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .take_while(|word| word != "--")
            .collect();
        let value = |option: &str| {
            let joined = format!("{option}=");
            words
                .iter()
                .enumerate()
                .find_map(|(index, word)| match word.strip_prefix(&joined) {
                    Some(value) => Some(value.to_owned()),
                    None if word == option => words.get(index + 1).cloned(),
                    None => None,
                })
        };
        let when = value("--color").and_then(|text| When::from_str(&text, false).ok());
        Self {
            json: value("--format")
                .or_else(|| std::env::var("COREOS_BAKE_FORMAT").ok())
                .is_some_and(|form| form == "json"),
            color: when
                .unwrap_or(When::Auto)
                .colors(io::stderr().is_terminal()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::{Manners, Told};

    fn manners(line: &str) -> Manners {
        Manners::of(line.split(' ').map(Into::into))
    }

    #[test]
    fn manners_are_found_in_any_command_line() {
        assert!(manners("coreos-bake --format json bake").json);
        assert!(manners("coreos-bake bake --format=json").json);
        assert!(!manners("coreos-bake bake --format text").json);
        assert!(!manners("coreos-bake bake -- --format json").json);
        assert!(!manners("coreos-bake bake --format").json);
        assert!(manners("coreos-bake bake --color always").color);
        assert!(!manners("coreos-bake bake --color=never").color);
    }

    fn told(line: &str) -> Told {
        let words = line.split(' ');
        Told::of(&Cli::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn advice_on_values_is_not_lost() {
        let image = told("coreos-bake bake -o x ./os.oci");
        assert!(image.sentence.starts_with("\"./os.oci\" is not an image"));
        assert!(image.hint.unwrap().contains("oci:DIR"));
        let target = told("coreos-bake layer oci:x --repair --driver a -o os:vendor");
        assert!(
            target.sentence.starts_with("--output: \"os:vendor\""),
            "{}",
            target.sentence
        );
        assert!(target.hint.is_some());
    }

    #[test]
    fn what_clap_says_besides_is_kept() {
        let option = told("coreos-bake bake --outptu x oci:x");
        assert!(option.sentence.contains("--outptu"), "{}", option.sentence);
        assert!(option.rest.contains("--output") && option.rest.contains("--help"));
        let size = told("coreos-bake bake oci:x -o x --disk-size 1X");
        assert!(size.sentence.contains("--disk-size"), "{}", size.sentence);
    }
}
