//! What the user sees while the work goes on, and in what form results are printed.
//!
//! Standard output has results only. Everything else goes to standard error by one voice: progress,
//! warnings, errors and what `tracing` records. For machines (`--format json`) that is one JSON object
//! a line.

mod log;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::screen::columns;
use crate::foreign::{visible, visible_lines};
use crate::paragraph::hanging;
use crate::progress::Progress;

/// Schema of lines on standard error with `--format json`.
const MESSAGE_SCHEMA: &str = "coreos-bake/message/v1";

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
pub(super) enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Whether what goes to a terminal, or to something else, is coloured.
    pub(super) fn colors(self, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                is_terminal && moves() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        }
    }
}

/// Whether a terminal takes control sequences. `dumb` is what editors set for their shells.
fn moves() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
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
    color_out: bool,
    voice: Arc<Voice>,
}

/// What speaks on standard error.
struct Voice {
    json: bool,
    quiet: bool,
    verbose: bool,
    /// Whether lines may be written over.
    live: bool,
    /// Whether the ends of phases are told.
    phases: bool,
    color: bool,
    screen: MultiProgress,
    phase: Mutex<Option<Phase>>,
    /// The line that tells of a wait, and what it said last.
    wait: Mutex<Option<(ProgressBar, String)>>,
    /// What to do when a signal has ended the program.
    way_on: Mutex<Option<String>>,
}

impl Terminal {
    pub(super) fn new(args: &TerminalArgs) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let json = args.format == Format::Json;
        let live = !args.quiet && !json && is_terminal && moves();
        let target = match live {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let terminal = Self {
            color_out: args.color.colors(io::stdout().is_terminal()),
            voice: Arc::new(Voice {
                json,
                quiet: args.quiet,
                verbose: args.verbose > 0,
                live: live && !args.no_progress,
                phases: !args.quiet && !args.no_progress,
                color: args.color.colors(is_terminal),
                screen: MultiProgress::with_draw_target(target),
                phase: Mutex::new(None),
                wait: Mutex::new(None),
                way_on: Mutex::new(None),
            }),
        };
        log::listen(&terminal.voice, args.verbose);
        terminal
    }

    /// Prints a result: `value` for machines, `text` for people.
    pub(super) fn result(&self, value: &Value, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        if self.voice.json {
            serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            out.write_all(shown(text, self.color_out).as_bytes())?;
        }
        out.flush()?;
        Ok(())
    }

    /// Whether nothing but errors is wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.voice.quiet
    }

    /// Whether more than usual is wanted.
    pub(super) fn is_verbose(&self) -> bool {
        self.voice.verbose
    }

    /// Columns that lines of results have at most.
    pub(super) fn columns(&self) -> usize {
        columns(io::stdout())
    }

    /// Whether results are for machines.
    pub(super) fn is_json(&self) -> bool {
        self.voice.json
    }

    /// Whether there is a terminal on which things may move.
    pub(super) fn is_live(&self) -> bool {
        self.voice.live
    }

    /// A line that moves, in one place with all others that do.
    pub(super) fn moving(&self, bar: ProgressBar) -> ProgressBar {
        self.voice.screen.add(bar)
    }

    /// Tells why the program ends with `code`, and what to do about it.
    pub(super) fn error(
        &self,
        sentence: &str,
        hint: Option<&str>,
        facts: Option<&Value>,
        code: u8,
    ) {
        self.voice.error(sentence, hint, facts, code);
    }

    /// What tells of a signal, from another thread.
    pub(super) fn interrupted(&self) -> impl FnOnce(&str, u8) + Send + use<> {
        let voice = Arc::clone(&self.voice);
        move |sentence, code| {
            let way_on = locked(&voice.way_on).clone();
            voice.error(sentence, way_on.as_deref(), None, code);
        }
    }

    /// What to do should a signal end the program from here on.
    pub(super) fn way_on(&self, hint: String) {
        *locked(&self.voice.way_on) = Some(hint);
    }

    /// `text` in green, yellow or red where results are shown in colour.
    pub(super) fn good(&self, text: &str) -> String {
        paint(self.color_out, GREEN, text)
    }

    /// See [`Terminal::good`].
    pub(super) fn doubtful(&self, text: &str) -> String {
        paint(self.color_out, YELLOW, text)
    }

    /// See [`Terminal::good`].
    pub(super) fn bad(&self, text: &str) -> String {
        paint(self.color_out, RED, text)
    }
}

/// The line for machines that says why the program ends.
pub(super) fn error_line(
    sentence: &str,
    hint: Option<&str>,
    facts: Option<&Value>,
    code: u8,
) -> String {
    let value = json!({
        "schema": MESSAGE_SCHEMA,
        "kind": "error",
        "sentence": sentence,
        "hint": hint,
        "facts": facts,
        "exit-code": code,
    });
    value.to_string()
}

fn paint(color: bool, code: &str, text: &str) -> String {
    if color {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A sentence behind a coloured word: in lines that fit a terminal, in one for a pipe.
pub(super) fn headed(word: &str, code: &str, color: bool, sentence: &str) -> String {
    let head = format!("{} ", paint(color, code, &format!("{word}:")));
    let sentence = visible_lines(sentence);
    match io::stderr().is_terminal() {
        true => hanging(&head, &sentence, columns(io::stderr())),
        false => head + &sentence + "\n",
    }
}

/// What [`paint`] puts around a word.
const PAINTS: [&str; 4] = [GREEN, YELLOW, RED, CYAN];
const GREEN: &str = "32";
const WARNING: &str = "33";
const FAINT: &str = "2";
const YELLOW: &str = "33;1";
pub(super) const RED: &str = "31;1";
pub(super) const CYAN: &str = "36";

/// A result for people, in which nothing but our own colours does anything to the terminal. Whoever composes
/// it has foreign text in one line already; this is for what was forgotten.
fn shown(text: &str, has_colors: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        out += &visible_lines(before);
        let code = PAINTS.into_iter().chain(["0"]).find_map(|code| {
            let end = after.strip_prefix('[')?.strip_prefix(code)?;
            end.strip_prefix('m').map(|end| (code, end))
        });
        rest = match code.filter(|_| has_colors) {
            Some((code, end)) => {
                out += &format!("\u{1b}[{code}m");
                end
            }
            None => {
                out += &visible_lines("\u{1b}");
                after
            }
        };
    }
    out + &visible_lines(rest)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Voice {
    /// Writes a line, above those that move.
    fn line(&self, line: &str) {
        self.end_wait();
        // Nobody is left to be told that telling failed.
        self.screen.suspend(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Writes what is not an error: for machines with its `kind`, for people behind a coloured word.
    fn say(&self, kind: &str, code: &str, sentence: &str, more: Value) {
        if self.quiet {
            return;
        }
        if self.json {
            let mut value = json!({
                "schema": MESSAGE_SCHEMA,
                "kind": kind,
                "sentence": sentence,
            });
            if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
                value.extend(more);
            }
            return self.line(&value.to_string());
        }
        self.line(headed(kind, code, self.color, &visible(sentence)).trim_end());
    }

    fn error(&self, sentence: &str, hint: Option<&str>, facts: Option<&Value>, code: u8) {
        if let Some(phase) = locked(&self.phase).take() {
            phase.bar.finish_and_clear();
        }
        if self.json {
            return self.line(&error_line(sentence, hint, facts, code));
        }
        self.line(headed("error", RED, self.color, &visible(sentence)).trim_end());
        if let Some(hint) = hint {
            self.line(headed("hint", CYAN, self.color, hint).trim_end());
        }
    }

    /// Tells of a wait: in one line that is written over where that can be, else once for each cause.
    fn wait(&self, sentence: &str, cause: &str) {
        if self.quiet {
            return;
        }
        let mut wait = locked(&self.wait);
        if !self.live {
            let is_news = wait.as_ref().is_none_or(|(_, told)| told != cause);
            *wait = Some((ProgressBar::hidden(), cause.to_owned()));
            drop(wait);
            if is_news {
                self.say("warning", WARNING, sentence, Value::Null);
            }
            return;
        }
        let (bar, _) = wait.get_or_insert_with(|| {
            let bar = self.screen.add(ProgressBar::no_length());
            bar.set_style(
                ProgressStyle::with_template("{wide_msg}").expect("a template of our own"),
            );
            (bar, String::new())
        });
        let head = paint(self.color, WARNING, "waiting:");
        bar.set_message(format!("{head} {}", visible_lines(sentence)));
        bar.tick();
    }

    /// The wait is over.
    fn end_wait(&self) {
        if self.live
            && let Some((bar, _)) = locked(&self.wait).take()
        {
            bar.finish_and_clear();
        }
    }
}

/// Phases shorter than this need no line of their own.
const WORTH_TELLING: Duration = Duration::from_secs(1);

impl Progress for Terminal {
    fn begin(&self, phase: &str, total: u64) {
        let voice = &self.voice;
        let bar = match voice.live {
            true => voice.screen.add(ProgressBar::new(total)),
            false => ProgressBar::hidden(),
        };
        // Fits 60 columns; what is wider goes to the bar.
        let template = match total {
            0 => "{spinner} {msg}  {bytes}, {bytes_per_sec}",
            _ => "{msg:!26} {wide_bar} {bytes:>10} of {total_bytes:<10} {eta:>4}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a template of our own"));
        bar.set_message(visible(phase));
        *locked(&voice.phase) = Some(Phase {
            name: visible(phase),
            bar,
            began: Instant::now(),
            bytes: 0,
        });
    }

    fn advance(&self, bytes: u64) {
        if let Some(phase) = locked(&self.voice.phase).as_mut() {
            phase.bytes += bytes;
            // Totals are told before the work, and some are estimates.
            if phase
                .bar
                .length()
                .is_some_and(|total| total > 0 && phase.bytes > total)
            {
                phase.bar.set_length(phase.bytes);
            }
            phase.bar.inc(bytes);
        }
        self.voice.end_wait();
    }

    fn end(&self) {
        let voice = &self.voice;
        voice.end_wait();
        let Some(phase) = locked(&voice.phase).take() else {
            return;
        };
        phase.bar.finish_and_clear();
        let took = phase.began.elapsed();
        if !voice.phases || took < WORTH_TELLING {
            return;
        }
        let seconds = took.as_secs_f64();
        if voice.json {
            let value = json!({
                "schema": MESSAGE_SCHEMA,
                "kind": "phase",
                "name": phase.name,
                "seconds": (seconds * 10.0).round() / 10.0,
                "bytes": phase.bytes,
            });
            return voice.line(&value.to_string());
        }
        let mut line = format!("  {:32} {seconds:6.1} s", phase.name);
        if phase.bytes > 0 {
            let rate = (phase.bytes as f64 / seconds) as u64;
            line += &format!("  {:>11}  {}/s", HumanBytes(phase.bytes), HumanBytes(rate));
        }
        voice.line(&line);
    }

    fn warn(&self, sentence: &str) {
        self.voice.say("warning", WARNING, sentence, Value::Null);
    }
}

#[cfg(test)]
mod tests;
