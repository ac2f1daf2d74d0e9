//! What the user sees while the work goes on, and in what form results are printed.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::progress::Progress;

/// Options of every command
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct TerminalArgs {
    /// Say more; twice for each object
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Form of results on standard output
    #[arg(
        long,
        value_name = "FORM",
        default_value = "text",
        global = true,
        env = "COREOS_BAKE_FORMAT"
    )]
    format: Format,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    color: When,
    /// Show no progress
    #[arg(long, global = true)]
    no_progress: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// A phase that is being watched.
struct Phase {
    name: String,
    bar: ProgressBar,
    began: Instant,
    bytes: u64,
}

/// The user's terminal, or what stands in for it.
pub(super) struct Terminal {
    json: bool,
    quiet: bool,
    bars: bool,
    color_out: bool,
    color_err: bool,
    phase: Mutex<Option<Phase>>,
}

impl Terminal {
    pub(super) fn new(args: &TerminalArgs) -> Self {
        let level = match args.verbose {
            0 => "coreos_bake=warn",
            1 => "coreos_bake=debug,info",
            _ => "coreos_bake=trace,debug",
        };
        let filter = EnvFilter::try_from_env("COREOS_BAKE_LOG").unwrap_or_else(|_| level.into());
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .without_time()
            .init();
        let color = |terminal: bool| match args.color {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
        };
        Self {
            json: args.format == Format::Json,
            quiet: args.quiet,
            bars: !args.no_progress && !args.quiet && io::stderr().is_terminal(),
            color_out: color(io::stdout().is_terminal()),
            color_err: color(io::stderr().is_terminal()),
            phase: Mutex::new(None),
        }
    }

    /// Prints a result: `value` for machines, `text` for people.
    pub(super) fn result(&self, value: &Value, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        out.flush()?;
        Ok(())
    }

    /// Whether nothing but errors is wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether results are for machines.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether there is a terminal on which things may move.
    pub(super) fn is_live(&self) -> bool {
        self.bars
    }

    /// Prints an error and what to do about it.
    pub(super) fn error(&self, sentence: &str, hint: Option<&str>) {
        self.drop_phase();
        // Nobody is left to be told that telling failed.
        let mut err = io::stderr().lock();
        let _ = writeln!(err, "{} {sentence}", self.paint_err("31;1", "error:"));
        if let Some(hint) = hint {
            let _ = writeln!(err, "{} {hint}", self.paint_err("36", "hint:"));
        }
    }

    /// `text` in green, yellow or red where results are shown in colour.
    pub(super) fn good(&self, text: &str) -> String {
        paint(self.color_out, "32", text)
    }

    /// See [`Terminal::good`].
    pub(super) fn doubtful(&self, text: &str) -> String {
        paint(self.color_out, "33;1", text)
    }

    /// See [`Terminal::good`].
    pub(super) fn bad(&self, text: &str) -> String {
        paint(self.color_out, "31;1", text)
    }

    fn paint_err(&self, code: &str, text: &str) -> String {
        paint(self.color_err, code, text)
    }

    fn drop_phase(&self) {
        if let Some(phase) = self.phase().take() {
            phase.bar.finish_and_clear();
        }
    }

    fn phase(&self) -> std::sync::MutexGuard<'_, Option<Phase>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn paint(color: bool, code: &str, text: &str) -> String {
    if color {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Phases shorter than this need no line of their own.
const WORTH_TELLING: Duration = Duration::from_millis(100);

impl Progress for Terminal {
    fn begin(&self, phase: &str, total: u64) {
        let bar = match self.bars {
            true => {
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10))
            }
            false => ProgressBar::hidden(),
        };
        let template = match total {
            0 => "{spinner} {msg}  {bytes}, {bytes_per_sec}",
            _ => "{msg:32} {bar:24} {bytes:>10} of {total_bytes}, {bytes_per_sec}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a template of our own"));
        bar.set_message(phase.to_owned());
        *self.phase() = Some(Phase {
            name: phase.to_owned(),
            bar,
            began: Instant::now(),
            bytes: 0,
        });
    }

    fn advance(&self, bytes: u64) {
        if let Some(phase) = self.phase().as_mut() {
            phase.bytes += bytes;
            phase.bar.inc(bytes);
        }
    }

    fn end(&self) {
        let Some(phase) = self.phase().take() else {
            return;
        };
        phase.bar.finish_and_clear();
        let took = phase.began.elapsed();
        if self.quiet || self.json || took < WORTH_TELLING {
            return;
        }
        let seconds = took.as_secs_f64();
        let mut line = format!("  {:32} {seconds:6.1} s", phase.name);
        if phase.bytes > 0 {
            let rate = (phase.bytes as f64 / seconds) as u64;
            line += &format!("  {:>11}  {}/s", HumanBytes(phase.bytes), HumanBytes(rate));
        }
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn warn(&self, sentence: &str) {
        if self.quiet {
            return;
        }
        let line = format!("{} {sentence}", self.paint_err("33", "warning:"));
        match self.phase().as_ref() {
            Some(phase) if self.bars => phase.bar.println(line),
            _ => {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }
}
