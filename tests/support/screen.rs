//! What people see: a command run in a terminal of a size, and what the terminal then shows.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use regex::Regex;
use textwrap::core::display_width;

use super::support::{have, run, text};

/// Sizes that screens are looked at: the smallest that anybody has, and a window of today.
pub const SIZES: [(usize, usize); 2] = [(80, 24), (120, 40)];

/// Longest wait for a command to end, or for something to be shown.
const PATIENCE: Duration = Duration::from_secs(240);

/// What follows a command's output, with its exit code.
const END: &str = "== ended with ";

/// A terminal in which a shell runs one command line, and stays when that has ended.
pub struct Terminal {
    socket: String,
    columns: usize,
}

impl Terminal {
    /// None without tmux on a laptop.
    pub fn start(name: &str, (columns, rows): (usize, usize), line: &str) -> Option<Self> {
        if !have("tmux") {
            return None;
        }
        let socket = format!("coreos-bake-{}-{name}-{columns}", std::process::id());
        let terminal = Self { socket, columns };
        // Ctrl-C is for the command; the shell tells how that ended.
        let line = format!("trap : INT; {line}; echo \"{END}$?\"; exec sleep 600");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        run(terminal
            .tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, "sh", "-c"])
            .arg(line)
            .env_remove("COLUMNS")
            .env("NO_COLOR", "1"));
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .args(["-L", &self.socket, "-f", "/dev/null"])
            .args(words);
        command
    }

    /// All lines that were shown; those that the terminal broke are whole again.
    pub fn lines(&self) -> Vec<String> {
        self.capture(&["-J"])
    }

    /// All rows that were shown, for what fills its lines with blanks: those would be joined.
    pub fn rows(&self) -> Vec<String> {
        self.capture(&[])
    }

    fn capture(&self, options: &[&str]) -> Vec<String> {
        let words = [&["capture-pane", "-p", "-S", "-"], options].concat();
        let shown = run(&mut self.tmux(&words));
        let shown = text(&shown);
        let mut lines: Vec<String> = shown.lines().map(|l| l.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Waits until a row is `wanted`.
    pub fn wait(&self, wanted: impl Fn(&str) -> bool) {
        let began = Instant::now();
        loop {
            let rows = self.rows();
            if rows.iter().any(|row| wanted(row)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{}", rows.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the command has ended; its exit code is in the last row.
    pub fn wait_for_end(&self) {
        self.wait(|row| row.starts_with(END));
    }

    pub fn press(&self, key: &str) {
        run(&mut self.tmux(&["send-keys", key]));
    }

    /// Fails on a line that the terminal had to break, unless it is one word or for pasting.
    pub fn check(&self, lines: &[String], is_pasted: impl Fn(&str) -> bool) {
        for line in lines {
            let is_word = !line.trim().contains(' ');
            assert!(
                display_width(line) <= self.columns || is_word || is_pasted(line),
                "wider than {} columns: {line}\n\n{}",
                self.columns,
                lines.join("\n")
            );
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}

/// Compares lines with those in `tests/screens`; `UPDATE=1` writes them anew.
pub fn compare(name: &str, (columns, rows): (usize, usize), lines: &[String]) {
    let file = format!("{name}-{columns}x{rows}.txt");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/screens")
        .join(&file);
    let shown = lines.join("\n") + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, shown).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        squeezed(&kept) == squeezed(&shown),
        "{file} is another one (UPDATE=1 writes it anew):\n{shown}\nwas:\n{kept}"
    );
}

/// Where a line breaks depends on how long a kernel's release is, and on digits of sizes.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines without what is different on every machine and day: `places` are directories, each with what
/// stands for it.
pub fn steady(lines: &[String], places: &[(PathBuf, &str)]) -> Vec<String> {
    let patterns = [
        (r"[0-9a-f]{32,}", "HASH"),
        (r"\d+\.\d+\.\d+(-\d+)?-amd64", "KERNEL"),
        (r"\d+(\.\d+)? (B|KiB|MiB|GiB)\b", "SIZE"),
        (r"\d+ bytes\b", "N bytes"),
        (r"in \d+\.\d s\b", "in TIME"),
        (r"\d+ s ago", "TIME ago"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\(\d+ aliases\)", "(N aliases)"),
        (r"[0-9A-F]{2}(:[0-9A-F]{2}){19}", "KEY"),
        (r"(names|inodes|fragments)( +)\d+", "$1${2}N"),
        (r"\d+ characters", "N characters"),
    ];
    let patterns = patterns.map(|(pattern, name)| (Regex::new(pattern).unwrap(), name));
    let line = |line: &String| {
        let mut line = line.clone();
        for (place, name) in places {
            line = line.replace(place.to_str().unwrap(), name);
        }
        for (pattern, name) in &patterns {
            line = pattern.replace_all(&line, *name).into_owned();
        }
        line
    };
    lines.iter().map(line).collect()
}

/// Runs a command line at all sizes; each screen has to hold, and to be the one that is kept.
pub fn look(name: &str, line: &str, places: &[(PathBuf, &str)], is_pasted: fn(&str) -> bool) {
    for size in SIZES {
        let Some(terminal) = Terminal::start(name, size, line) else {
            return;
        };
        terminal.wait_for_end();
        let lines = terminal.lines();
        terminal.check(&lines, is_pasted);
        compare(name, size, &steady(&lines, places));
    }
}
