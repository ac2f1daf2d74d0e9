//! Words of a shell, and lines for people.

use std::fmt::Write;

use super::{Recipe, When};
use crate::paragraph::hanging;

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

/// A path as an argument that is no option, whatever it begins with.
pub(crate) fn place(path: &str) -> String {
    match path.starts_with('-') {
        true => format!("./{path}"),
        false => path.to_owned(),
    }
}

/// All of a recipe, whose commands are run in the directory `place`.
pub(super) fn recipe(recipe: &Recipe, place: &str) -> String {
    let mut out = format!("Install path {}\n\n", recipe.path);
    out += "Run all commands in this directory:\n\n";
    let _ = writeln!(out, "    cd -- {}", word(place));
    let mut before: Option<When> = None;
    for (index, step) in recipe.steps.iter().enumerate() {
        if before != Some(step.when) {
            let _ = writeln!(out, "\n== {} ==", step.when.about());
            before = Some(step.when);
        }
        out.push('\n');
        out += &hanging(&format!("{:2}. ", index + 1), &step.text, COLUMNS);
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
        out += &hanging("    ", &file.what, COLUMNS);
    }
    if !recipe.warnings.is_empty() {
        out += "\n== mind ==\n\n";
    }
    for warning in &recipe.warnings {
        out += &hanging("! ", warning, COLUMNS);
    }
    out
}
