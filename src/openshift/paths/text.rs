//! Words of a shell, YAML, and lines for people.

use std::fmt::Write;

use super::{Recipe, When};

/// Columns that lines for people have at most.
const COLUMNS: usize = 80;

/// A word as a POSIX shell reads it back.
pub(crate) fn word(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match !text.is_empty() && text.chars().all(is_safe) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A command of words, each quoted where it has to be.
pub(super) fn command<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|w| word(w.as_ref())).collect();
    words.join(" ")
}

/// A path as an argument that is no option, whatever it begins with.
pub(crate) fn place(path: &str) -> String {
    match path.starts_with('-') {
        true => format!("./{path}"),
        false => path.to_owned(),
    }
}

/// Lines of words, the first behind `first` and the others behind as many spaces.
fn wrapped(out: &mut String, first: &str, text: &str) {
    let indent = " ".repeat(first.chars().count());
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let longer = line.chars().count() + usize::from(!is_empty) + word.chars().count();
        if !is_empty && longer > COLUMNS {
            let _ = writeln!(out, "{}", line.trim_end());
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// All of a recipe, whose commands are run in the directory `place`.
pub(super) fn recipe(recipe: &Recipe, place: &str) -> String {
    let mut out = format!("Install path {}\n\n", recipe.path);
    out += "Run all commands in this directory:\n\n";
    let _ = writeln!(out, "    {}", command(["cd", "--", place]));
    let mut before: Option<When> = None;
    for (index, step) in recipe.steps.iter().enumerate() {
        if before != Some(step.when) {
            let _ = writeln!(out, "\n== {} ==", step.when.about());
            before = Some(step.when);
        }
        out.push('\n');
        wrapped(&mut out, &format!("{:2}. ", index + 1), &step.text);
        if !step.commands.is_empty() {
            out.push('\n');
        }
        for command in &step.commands {
            let _ = writeln!(out, "    {command}");
        }
    }
    if !recipe.files.is_empty() {
        out += "\n== files ==\n\n";
    }
    for file in &recipe.files {
        let _ = writeln!(out, "{}", file.name);
        wrapped(&mut out, "    ", &file.what);
    }
    if !recipe.warnings.is_empty() {
        out += "\n== mind ==\n\n";
    }
    for warning in &recipe.warnings {
        wrapped(&mut out, "! ", warning);
    }
    out
}
