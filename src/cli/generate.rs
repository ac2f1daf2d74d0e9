//! Shell completions and manual pages, made from the command line's own definition.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::env::EnvCompleter;

use super::completion::{self, SHELLS};
use super::{Outcome, PROGRAM, arguments, manual};

/// Print a completion script for a shell
///
/// The script asks coreos-bake, which has to be on the PATH, for options, values and
/// file names. bash has to be 4 or newer.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_name = "SHELL", value_parser = SHELLS.names().collect::<Vec<_>>())]
    shell: String,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<Outcome> {
        let shell: &dyn EnvCompleter = SHELLS
            .completer(&self.shell)
            .context("a shell of the list has a script")?;
        let script = completion::script(shell, PROGRAM)?;
        io::stdout().write_all(&script)?;
        Ok(Outcome::Done)
    }
}

/// Write manual pages into a directory
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory to write to; made if missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<Outcome> {
        let shown = self.directory.display();
        fs::create_dir_all(&self.directory).with_context(|| format!("making directory {shown}"))?;
        let mut command = arguments::command().disable_help_subcommand(true);
        command.build();
        self.pages(&command, PROGRAM, &command)?;
        Ok(Outcome::Done)
    }

    /// The page of a command, and those of its subcommands.
    fn pages(&self, command: &Command, title: &str, whole: &Command) -> Result<()> {
        let path = self.directory.join(format!("{title}.1"));
        let page = manual::page(command, title, whole)?;
        fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
        for sub in command.get_subcommands() {
            self.pages(sub, &format!("{title}-{}", sub.get_name()), whole)?;
        }
        Ok(())
    }
}
