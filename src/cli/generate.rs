//! Shell completions and manual pages, made from the command line's own definition.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "coreos-bake", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Outcome::Done)
    }
}

/// Write manual pages into a directory
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory to write to; must exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<Outcome> {
        let mut command = Cli::command();
        command.build();
        self.page(&command, "coreos-bake")?;
        for sub in command.get_subcommands() {
            if sub.get_name() != "help" {
                self.page(sub, &format!("coreos-bake-{}", sub.get_name()))?;
            }
        }
        Ok(Outcome::Done)
    }

    fn page(&self, command: &clap::Command, name: &str) -> Result<()> {
        let mut page = Vec::new();
        // clap_mangen would date the page with today; pages are the same every day.
        clap_mangen::Man::new(command.clone().display_name(name))
            .title(name)
            .date("")
            .render(&mut page)?;
        let path = self.directory.join(format!("{name}.1"));
        fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
    }
}
