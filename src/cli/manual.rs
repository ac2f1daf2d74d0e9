//! What `--help` and the manual pages say behind the options: examples, exit status, files, variables, and
//! where to read on. The facts are here once; both are made from them.

mod facts;

use std::fmt::Write;

use clap::Command;
use clap::builder::StyledStr;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use facts::{ELSEWHERE, EXAMPLES, EXIT_STATUS, Example, FILES, VARIABLES};

/// A heading, and lines of a term and what it means.
struct Section {
    heading: &'static str,
    lines: Vec<(String, String)>,
}

/// The definition, with what long help says behind the options.
pub(super) fn with_sections(command: Command) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let globals: Vec<clap::Arg> = command.get_arguments().cloned().collect();
    let text = help(&command, "", &[], &names);
    command.after_long_help(text).mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        let text = help(&sub, &name, &globals, &names);
        let sub = sub.after_long_help(text);
        sub.mut_subcommands(|inner| {
            let text = help(&inner, &name, &globals, &names);
            inner.after_long_help(text)
        })
    })
}

fn help(command: &Command, name: &str, globals: &[clap::Arg], names: &[String]) -> StyledStr {
    let header = command.get_styles().get_header();
    let mut text = String::new();
    let heading = |text: &mut String, words: &str| {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{header}{words}:{header:#}");
    };
    heading(&mut text, "Examples");
    for (what, command) in examples(name) {
        let _ = writeln!(text, "  {what}:");
        for line in command.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    for section in sections(command, globals) {
        heading(&mut text, section.heading);
        let wide = section
            .lines
            .iter()
            .map(|(term, _)| term.len())
            .max()
            .unwrap_or(0);
        for (term, meaning) in section.lines {
            let _ = writeln!(text, "  {term:wide$}  {meaning}");
        }
    }
    heading(&mut text, "See also");
    let _ = write!(text, "  {}", see_also(name, names).join(", "));
    text.into()
}

fn examples(name: &str) -> &'static [Example] {
    let known = EXAMPLES.iter().find(|(known, _)| *known == name);
    known.map_or(&[], |(_, examples)| examples)
}

/// What is to be said of a command beside its examples.
fn sections(command: &Command, globals: &[clap::Arg]) -> Vec<Section> {
    let arguments = || command.get_arguments().chain(globals);
    // All of them together are what the program as a whole has.
    let is_whole = command.has_subcommands() && command.get_name() == super::PROGRAM;
    let has = |name: &str| is_whole || arguments().any(|arg| arg.get_id() == name);
    let line = |term: &str, meaning: &str| (term.to_owned(), meaning.to_owned());
    let statuses = EXIT_STATUS
        .iter()
        .filter(|(_, _, argument)| argument.is_empty() || has(argument));
    let files = FILES.iter().filter(|(argument, ..)| has(argument));
    let mut variables: Vec<(String, String)> = Vec::new();
    let inner = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter(|_| is_whole);
    for arg in arguments().chain(inner) {
        if let (Some(variable), Some(long)) = (arg.get_env(), arg.get_long()) {
            let variable = line(
                &variable.to_string_lossy(),
                &format!("as --{long}, which it gives way to"),
            );
            if !variables.contains(&variable) {
                variables.push(variable);
            }
        }
    }
    let others = VARIABLES.iter().filter(|(argument, ..)| has(argument));
    variables.extend(others.map(|(_, variable, meaning)| line(variable, meaning)));
    let sections = [
        (
            "Exit status",
            statuses
                .map(|(code, meaning, _)| line(code, meaning))
                .collect(),
        ),
        (
            "Files",
            files
                .map(|(_, path, meaning)| line(path, meaning))
                .collect(),
        ),
        ("Environment", variables),
    ];
    let sections = sections
        .into_iter()
        .map(|(heading, lines)| Section { heading, lines });
    sections
        .filter(|section| !section.lines.is_empty())
        .collect()
}

/// The program's own page and its neighbours', and those of others.
fn see_also(name: &str, names: &[String]) -> Vec<String> {
    let own = match name {
        "" => names
            .iter()
            .map(|name| format!("{}-{name}(1)", super::PROGRAM))
            .collect(),
        _ => vec![format!("{}(1)", super::PROGRAM)],
    };
    own.into_iter()
        .chain(ELSEWHERE.map(str::to_owned))
        .collect()
}

/// The manual page of a command, `title`, which is built.
pub(super) fn page(command: &Command, title: &str, whole: &Command) -> std::io::Result<Vec<u8>> {
    let (_, name) = title.split_once("bake-").unwrap_or((title, ""));
    let name = name.split('-').next().unwrap_or_default();
    // The commit is not for pages; and clap_mangen would date them with today.
    let named = command
        .clone()
        .display_name(title)
        .version(env!("CARGO_PKG_VERSION"));
    let source = format!("{} {}", super::PROGRAM, env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(named)
        .title(title)
        .date("")
        .source(source);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    rest.control("SH", ["EXAMPLES"]);
    for (what, command) in examples(name) {
        rest.control("PP", []);
        rest.text([roman(format!("{what}:"))]);
        rest.control("PP", []);
        rest.control("RS", ["4"]);
        rest.control("nf", []);
        for line in command.lines() {
            rest.text([roman(line)]);
        }
        rest.control("fi", []);
        rest.control("RE", []);
    }
    for section in sections(command, &[]) {
        let heading = section.heading.to_uppercase();
        rest.control("SH", [heading.as_str()]);
        for (term, meaning) in section.lines {
            rest.control("TP", []);
            rest.text([bold(term)]);
            rest.text([roman(meaning)]);
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    let names = whole.get_subcommands().map(|sub| sub.get_name().to_owned());
    let names: Vec<String> = names.filter(|name| name != "help").collect();
    rest.text([roman(see_also(name, &names).join(", "))]);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// The command with its options and their values, which clap_mangen leaves out.
fn synopsis(command: &Command) -> Roff {
    let mut words = vec![bold(command.get_bin_name().unwrap_or(super::PROGRAM))];
    for arg in command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !arg.is_positional())
    {
        let value = arg.get_num_args().is_some_and(|range| range.takes_values());
        let value = arg
            .get_value_names()
            .filter(|_| value)
            .map(|names| names.join(" "));
        let name = match (arg.get_short(), arg.get_long()) {
            (Some(short), _) => format!("-{short}"),
            (None, Some(long)) => format!("--{long}"),
            (None, None) => continue,
        };
        let mut option = vec![bold(name)];
        option.extend(
            value
                .into_iter()
                .flat_map(|value| [roman(" "), italic(value)]),
        );
        words.extend(around(option, arg.is_required_set()));
    }
    for arg in command.get_positionals().filter(|arg| !arg.is_hide_set()) {
        let name = arg
            .get_value_names()
            .map_or_else(|| arg.get_id().to_string(), |names| names.join(" "));
        words.extend(around(vec![italic(name)], arg.is_required_set()));
    }
    if command.has_subcommands() {
        words.extend([roman(" "), italic("COMMAND")]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text(words);
    roff
}

/// `inner` behind a space, in brackets where it may be left out.
fn around(inner: Vec<Inline>, is_required: bool) -> Vec<Inline> {
    let (open, close) = if is_required { (" ", "") } else { (" [", "]") };
    let mut words = vec![roman(open)];
    words.extend(inner);
    words.push(roman(close));
    words
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use clap::Command;

    use super::super::arguments::command;
    use super::{EXAMPLES, examples};

    /// The words that a shell makes of a command.
    fn words(line: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {line}");
        let output = Process::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{line}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn every_example_parses() {
        let mut seen = 0;
        for (name, examples) in EXAMPLES {
            for (_, example) in examples {
                // Words of the shell around our own.
                // The list need not be there.
                let lines = example
                    .replace("\\\n", " ")
                    .replace("@lspci.txt", "1000:005b");
                let lines = lines.lines().filter(|line| line.contains("coreos-bake "));
                for line in lines {
                    let ours = &line[line.find("coreos-bake ").unwrap()..];
                    let end = ours.find([')', '>', '|']).unwrap_or(ours.len());
                    let words = words(&ours[..end]);
                    let parsed = command().try_get_matches_from(&words);
                    assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                    assert!(name.is_empty() || words[1] == name, "{line}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 20);
        assert!(
            command()
                .try_get_matches_from(words("coreos-bake bake x --lisp"))
                .is_err()
        );
    }

    #[test]
    fn every_command_has_examples() {
        let command = command();
        for sub in command.get_subcommands().map(Command::get_name) {
            assert!(!examples(sub).is_empty(), "{sub}");
        }
    }
}
