//! What shells offer behind a TAB: asked of bash and zsh on a terminal of their own, and of fish.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::{have, run, text};

/// A shell that has started prints this in front of each line.
const PROMPT: &str = "ready>";
/// Stands in front of what was completed when it is echoed, so that it is told from what was typed.
const MARK: &str = "@@";
/// More than a shell takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts all completions into the line, as `insert-completions` of readline is bound by default.
const BASH_ALL: &str = "\x1b*";
/// The same by a widget, see [`ZSH_SETUP`].
const ZSH_ALL: &str = "\x18a";
const ZSH_SETUP: &str = "
autoload -U compinit; compinit -u -D
zle -C all-matches complete-word _generic
zstyle ':completion:all-matches:*' insert yes
zstyle ':completion:all-matches::::' completer _all_matches _complete
bindkey -e
bindkey '^Xa' all-matches
";

/// Files and directories for shells to find, and their scripts.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["layout", "my layout", "media"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        for name in ["archive.tar", "hosts.yaml", "worker.ign"] {
            fs::write(place.path(name), "").unwrap();
        }
        for shell in ["bash", "zsh", "fish"] {
            let script = text(&run(program().args(["completions", shell])));
            fs::write(place.path(&format!(".{shell}")), script).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let binary = Path::new(env!("CARGO_BIN_EXE_coreos-bake"));
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.0.path())
            .env(
                "PATH",
                format!("{}:{path}", binary.parent().unwrap().display()),
            )
            .env("HOME", self.0.path())
            .env("TERM", "dumb");
        command
    }

    /// What the shell makes of `line` if it is to put in everything that may stand at its end; the last
    /// words of the command.
    fn ask(&self, shell: &str, line: &str) -> BTreeSet<String> {
        match shell {
            "fish" => self.ask_fish(line),
            _ => {
                let given = line.split_whitespace().count() - usize::from(!line.ends_with(' '));
                let said = self.ask_on_terminal(shell, line);
                said.into_iter().skip(given).collect()
            }
        }
    }

    fn ask_fish(&self, line: &str) -> BTreeSet<String> {
        let script = format!("source .fish; complete -C '{line}'");
        let said = text(&run(self.command("fish").args([
            "--no-config",
            "-c",
            &script,
        ])));
        let words = said.lines().map(|line| line.split('\t').next().unwrap());
        words.map(str::to_owned).collect()
    }

    fn ask_on_terminal(&self, shell: &str, line: &str) -> Vec<String> {
        let (start, setup, all) = match shell {
            "bash" => ("bash --norc --noprofile -i", "", BASH_ALL),
            _ => ("zsh -f -i", ZSH_SETUP, ZSH_ALL),
        };
        let rc = self.path(&format!(".{shell}.setup"));
        let quietly = "bind 'set enable-bracketed-paste off' 2> /dev/null";
        fs::write(
            &rc,
            format!("{quietly}\n{setup}\nsource ./.{shell}\nPS1='{PROMPT}'\n"),
        )
        .unwrap();
        // A terminal: util-linux's script runs the shell on one.
        let mut child = self
            .command("script")
            .args(["--quiet", "--return", "--command", start, "/dev/null"])
            .env("PS1", "starting")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut screen = Screen::of(&mut child);
        screen.send(&format!(" . {}\r", rc.display()));
        screen.wait(PROMPT);
        // To the front of the line, so that it is echoed instead of run; in quotes it would be one word.
        screen.send(&format!("{line}{all}\x01printf '{MARK}%s{MARK}\\n' \r"));
        screen.wait(&format!("\n{MARK}"));
        // The kernel echoes keys that come while printf still writes: into the middle of its words.
        screen.await_words(PROMPT);
        screen.send("exit\r");
        child.wait().unwrap();
        screen.drain();
        let lines = screen.seen.lines().filter_map(|line| {
            line.trim_end()
                .strip_prefix(MARK)?
                .strip_suffix(MARK)
                .map(str::to_owned)
        });
        lines.collect()
    }
}

/// What a program on a terminal has shown.
struct Screen {
    keys: std::process::ChildStdin,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Screen {
    fn of(child: &mut Child) -> Self {
        let (sender, shown) = mpsc::channel();
        let mut out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                let _ = sender.send(bytes[..count].to_vec());
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            shown,
            seen: String::new(),
        }
    }

    fn send(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Until `words` have been shown; what was shown before is forgotten.
    fn wait(&mut self, words: &str) {
        let at = self.await_words(words);
        self.seen.drain(..at);
    }

    /// Until `words` have been shown; where they stand in what was seen.
    fn await_words(&mut self, words: &str) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(words) {
                return at;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("no {words:?} ({error}), but {:?}", self.seen),
            }
        }
    }

    fn drain(&mut self) {
        while let Ok(bytes) = self.shown.recv_timeout(PATIENCE) {
            self.seen += &String::from_utf8_lossy(&bytes);
        }
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
}

/// The long options that a command's help names.
fn options(command: &str) -> BTreeSet<String> {
    let help = text(&run(program().args([command, "--help"])));
    let lines = help
        .lines()
        .filter(|line| line.starts_with("      --") || line.starts_with("  -"));
    let options =
        lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    options
        .map(|option| option.trim_end_matches("...").to_owned())
        .collect()
}

fn shells() -> Vec<&'static str> {
    let mut shells = Vec::new();
    for (shell, tools) in [
        ("bash", &["bash", "script"][..]),
        ("zsh", &["zsh", "script"]),
        ("fish", &["fish"]),
    ] {
        if tools.iter().all(|tool| have(tool)) {
            shells.push(shell);
        }
    }
    shells
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn values_are_completed_in_every_shell() {
    let place = Place::new();
    let media = [
        "all",
        "iso",
        "metal",
        "metal4k",
        "minimal-iso",
        "pxe",
        "qcow2",
    ];
    let roles = ["arbiter", "bootstrap", "master", "worker"];
    let stages = [
        "bootstrap",
        "day2",
        "install-initramfs",
        "install-root",
        "live-initramfs",
        "live-root",
        "pivot",
    ];
    let paths = [
        "agent", "assisted", "ipi", "scale-up", "sno", "upi-iso", "upi-pxe",
    ];
    for shell in shells() {
        for (line, expected) in [
            ("coreos-bake che", &["check"][..]),
            ("coreos-bake bake -f ", &media),
            (
                "coreos-bake bake --media m",
                &["metal", "metal4k", "minimal-iso"],
            ),
            ("coreos-bake bake -f iso,px", &["iso,pxe"]),
            (
                "coreos-bake bake -f iso,pxe,me",
                &["iso,pxe,metal", "iso,pxe,metal4k"],
            ),
            (
                "coreos-bake hosts media hosts.yaml -f ",
                &["all", "iso", "pxe"],
            ),
            ("coreos-bake prepare d --path ", &paths),
            ("coreos-bake prepare d --role ", &roles),
            ("coreos-bake check --explain ", &stages),
            ("coreos-bake check --for a", &["agent", "assisted"]),
            (
                "coreos-bake bake --compression ",
                &["fast", "gzip", "image", "xz", "zstd"],
            ),
            (
                "coreos-bake bake --compress ",
                &["gzip", "none", "xz", "zstd"],
            ),
            (
                "coreos-bake bake --qcow2-compression ",
                &["none", "zlib", "zstd"],
            ),
            ("coreos-bake inspect --format ", &["json", "text"]),
            ("coreos-bake --color ", &["always", "auto", "never"]),
            (
                "coreos-bake completions ",
                &["bash", "elvish", "fish", "powershell", "zsh"],
            ),
        ] {
            let said = place.ask(shell, line);
            // Where a word may begin anything, options may follow as well.
            let said: BTreeSet<String> = said
                .into_iter()
                .filter(|word| !word.starts_with('-'))
                .collect();
            assert_eq!(said, set(expected), "{shell}: {line}");
        }
    }
}

#[test]
fn options_of_every_command_are_completed_in_every_shell() {
    let place = Place::new();
    for shell in shells() {
        for command in [
            "bake",
            "check",
            "layer",
            "inspect",
            "verify",
            "prepare",
            "hosts",
            "serve",
            "cache show",
            "completions",
            "man",
        ] {
            let expected = match command.split_once(' ') {
                None => options(command),
                Some(_) => set(&[
                    "--cache",
                    "--cache-size",
                    "--color",
                    "--format",
                    "--help",
                    "--no-progress",
                    "--quiet",
                    "--verbose",
                    "--version",
                ]),
            };
            let said = place.ask(shell, &format!("coreos-bake {command} --"));
            assert_eq!(said, expected, "{shell}: {command}");
        }
        let said = place.ask(shell, "coreos-bake bake --comp");
        assert_eq!(said, set(&["--compress", "--compression"]), "{shell}");
    }
}

#[test]
fn files_and_images_are_completed_in_every_shell() {
    let place = Place::new();
    for shell in shells() {
        for (line, expected) in [
            ("coreos-bake serve me", "media/"),
            ("coreos-bake check --containerfile wor", "worker.ign"),
            ("coreos-bake bake --dest-ignition wor", "worker.ign"),
            ("coreos-bake bake --authfile=wor", "--authfile=worker.ign"),
            ("coreos-bake bake oci-a", "oci-archive:"),
            ("coreos-bake bake dock", "docker://"),
            ("coreos-bake bake oci:lay", "oci:layout/"),
            ("coreos-bake bake oci:./lay", "oci:./layout/"),
            (
                "coreos-bake bake oci-archive:arch",
                "oci-archive:archive.tar",
            ),
            ("coreos-bake inspect me", "media/"),
            ("coreos-bake layer oci:layout -o oci:lay", "oci:layout/"),
            ("coreos-bake check --device @wor", "@worker.ign"),
            ("coreos-bake bake oci:my", "oci:my layout/"),
        ] {
            let said = place.ask(shell, line);
            // zsh may leave the slash to the next key.
            let said: Vec<&str> = said.iter().map(|word| word.trim_end_matches('/')).collect();
            // fish completes what is behind `=` by itself.
            let expected = expected.trim_end_matches('/');
            assert_eq!(said, [expected], "{shell}: {line}");
        }
    }
}
