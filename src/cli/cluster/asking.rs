//! Questions before something is changed.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use anyhow::{Context, Result};

use crate::failure::Failure;

/// Tells what will be done and asks; what is typed, without space around it.
///
/// # Errors
/// Nobody is there to be asked.
pub(super) fn ask(told: &str, question: &str) -> Result<String> {
    if !stdin().is_terminal() {
        return Err(Failure::new(
            "nobody is there to be asked whether to go on",
            "say --yes if that is what you want; --dry-run tells what would be done",
        )
        .into());
    }
    let mut out = stderr();
    let asked = write!(out, "{told}{question} ").and_then(|()| out.flush());
    asked.context("asking")?;
    let mut answer = String::new();
    let read = stdin().lock().read_line(&mut answer);
    read.context("reading the answer")?;
    Ok(answer.trim().to_owned())
}
