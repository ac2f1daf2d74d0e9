//! The command line: one file per subcommand, and the terminal. The only room that prints.

mod arguments;
mod bake;
mod baked;
mod cache;
mod cache_args;
mod check;
mod cluster;
mod completion;
mod consumers;
mod driver_names;
mod generate;
mod hosts;
mod image_args;
mod inspect;
mod layer;
mod manual;
mod misuse;
mod outcome;
mod prepare;
mod report;
mod screen;
mod serve;
mod sheet;
mod size;
mod table;
mod terminal;
mod values;
mod verify;

use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Failure, sentence};
use crate::staging;
use crate::staging::Abandoned;
use outcome::{Outcome, USAGE, Usage, hint};
use terminal::{Terminal, TerminalArgs};

/// What the program is called.
const PROGRAM: &str = "coreos-bake";

/// Which program it is, to its commit where that is known. No output has it: media of two commits that bake
/// alike are the same.
const VERSION: &str = env!("COREOS_BAKE_VERSION");

/// Turn a layered CoreOS container image into media that boot
///
/// Reads an image with drivers layered onto RHEL CoreOS, Fedora CoreOS or a
/// relative, and writes a live ISO and a PXE set that boot from it: without
/// root, without loop devices, without a container engine.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version = VERSION,
    max_term_width = 80,
    propagate_version = true
)]
pub struct Cli {
    #[command(flatten)]
    terminal: TerminalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bake(Box<bake::BakeArgs>),
    Check(check::CheckArgs),
    Layer(Box<layer::LayerArgs>),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Prepare(Box<prepare::PrepareArgs>),
    Hosts(hosts::HostsArgs),
    Serve(serve::ServeArgs),
    Cluster(cluster::ClusterCommand),
    Cache(cache::CacheCommand),
    Completions(generate::CompletionsArgs),
    Man(generate::ManArgs),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    completion::answer_shell();
    let cli = match arguments::parse() {
        Ok(cli) => cli,
        Err(error) => return misuse::end(&error),
    };
    let terminal = Terminal::new(&cli.terminal);
    // A server ends in its own time.
    let watched = match cli.command {
        Command::Serve(_) => Ok(()),
        _ => watch_signals(&terminal),
    };
    let result = watched.and_then(|()| cli.command.run(&terminal));
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Doubtful) => ExitCode::from(3),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<Usage>() { USAGE } else { 1 };
            let facts = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<Failure>()?.facts());
            terminal.error(&sentence(&*error), hint(&*error).as_deref(), facts, code);
            ExitCode::from(code)
        }
    }
}

impl Command {
    fn run(self, terminal: &Terminal) -> Result<Outcome> {
        match self {
            Self::Bake(args) => args.run(terminal),
            Self::Check(args) => args.run(terminal),
            Self::Layer(args) => args.run(terminal),
            Self::Inspect(args) => args.run(terminal),
            Self::Verify(args) => args.run(terminal),
            Self::Prepare(args) => args.run(terminal),
            Self::Hosts(args) => args.run(terminal),
            Self::Serve(args) => args.run(terminal),
            Self::Cluster(args) => args.run(terminal),
            Self::Cache(args) => args.run(terminal),
            Self::Completions(args) => args.run(),
            Self::Man(args) => args.run(),
        }
    }
}

/// Removes unfinished output when a signal ends the program.
fn watch_signals(terminal: &Terminal) -> Result<()> {
    let tell = terminal.interrupted();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("watching for signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let rest = match staging::abandon() {
                Abandoned::Nothing => "",
                Abandoned::Unfinished => "; nothing was written",
                Abandoned::Finished => " when everything was done already",
            };
            let code = 128 + signal;
            tell(
                &format!("interrupted{rest}"),
                code.try_into().unwrap_or(u8::MAX),
            );
            std::process::exit(code);
        }
    });
    Ok(())
}

/// Whoever reads our output has seen enough: not an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
