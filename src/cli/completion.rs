//! What shells offer behind a TAB. Their scripts ask the program itself, so they are right for whatever
//! version is installed.
//!
//! ```text
//! TAB ─► script ─► coreos-bake, with COREOS_BAKE_COMPLETE=bash ─► clap_complete's engine ─► candidates
//! ```
//!
//! clap_complete's engine is marked as unstable, so its version is pinned; `tests/completion.rs` asks real
//! shells. The scripts that clap_complete 4.6.11 generates otherwise offer nothing behind a subcommand if
//! the program has a hyphen in its name (clap-rs/clap issue 6421).
//!
//! The scripts for bash and zsh are ours. In bash, words end at `:` and `=`, and the engine would take
//! `oci:./im` for three of them; in both, no space should follow what is not finished (`oci:`, `layout/`).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::builder::StyledStr;
use clap_complete::CompleteEnv;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter, complete};
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Shells};

use super::arguments;

/// Names the shell that asks.
const VARIABLE: &str = "COREOS_BAKE_COMPLETE";
/// What bash has of the line in front of the cursor, and which end of it is replaced by a candidate.
const BASH_LINE: &str = "COREOS_BAKE_COMPLETE_LINE";
const BASH_WORD: &str = "COREOS_BAKE_COMPLETE_WORD";

pub(super) const SHELLS: Shells<'static> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Ends the program if a shell asked it for candidates.
pub(super) fn answer_shell() {
    let asked = CompleteEnv::with_factory(arguments::command).var(VARIABLE);
    asked.shells(SHELLS).complete();
}

/// The script that has `shell` ask `program`.
pub(super) fn script(shell: &dyn EnvCompleter, program: &str) -> io::Result<Vec<u8>> {
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, program, program, program, &mut script)?;
    Ok(script)
}

/// What an image is called: a transport, and what is behind it.
#[derive(Clone, Copy)]
pub(super) struct Images {
    /// Whether files and directories may be named without a transport as well.
    pub(super) paths: bool,
    /// The transports that can be named.
    pub(super) transports: &'static [&'static str],
}

impl Images {
    const READ: &'static [&'static str] =
        &["oci:", "oci-archive:", "docker://", "containers-storage:"];

    /// An image to read.
    pub(super) const SOURCE: Self = Self {
        paths: false,
        transports: Self::READ,
    };
    /// An image or a medium to read.
    pub(super) const SUBJECT: Self = Self {
        paths: true,
        transports: Self::READ,
    };
    /// An image to write.
    pub(super) const TARGET: Self = Self {
        paths: false,
        transports: &["oci:", "oci-archive:", "docker://"],
    };
}

impl ValueCompleter for Images {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let text = current.to_str().unwrap_or_default();
        for (transport, paths) in [
            ("oci:", PathCompleter::dir()),
            ("oci-archive:", PathCompleter::file()),
        ] {
            if let Some(path) = text.strip_prefix(transport) {
                return behind(transport, path, &paths);
            }
        }
        let transports = self
            .transports
            .iter()
            .filter(|transport| transport.starts_with(text));
        let mut candidates: Vec<_> = transports.map(CompletionCandidate::new).collect();
        if self.paths {
            candidates.extend(PathCompleter::any().complete(current));
        }
        candidates
    }
}

/// `@FILE`.
pub(super) fn file_behind_at(current: &OsStr) -> Vec<CompletionCandidate> {
    let path = current.to_str().and_then(|text| text.strip_prefix('@'));
    path.map_or_else(Vec::new, |path| behind("@", path, &PathCompleter::file()))
}

/// Paths that begin with `path`, with `prefix` in front.
fn behind(prefix: &str, path: &str, paths: &PathCompleter) -> Vec<CompletionCandidate> {
    let found = paths.complete(OsStr::new(path)).into_iter();
    found
        .map(|candidate| candidate.add_prefix(prefix))
        .collect()
}

/// bash 4 and newer.
struct Bash;

const BASH_SCRIPT: &str = r#"_coreos_bake() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <(VARIABLE=bash LINE="${COMP_LINE:0:COMP_POINT}" WORD="$2" PROGRAM -- . 2> /dev/null)
    # What is not finished goes on without a space.
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/:=@] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _coreos_bake PROGRAM 2> /dev/null || complete -F _coreos_bake PROGRAM
"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        _: &str,
        program: &str,
        _: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let script = BASH_SCRIPT
            .replace("PROGRAM", program)
            .replace("VARIABLE", variable)
            .replace("LINE=", &format!("{BASH_LINE}="))
            .replace("WORD=", &format!("{BASH_WORD}="));
        out.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        _: Vec<OsString>,
        directory: Option<&Path>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let text = |name| env::var(name).unwrap_or_default();
        let line = Line::split(&text(BASH_LINE));
        let replaced = Line::split(&text(BASH_WORD))
            .words
            .pop()
            .unwrap_or_default();
        let typed = line.words.last().cloned().unwrap_or_default();
        let kept = typed
            .strip_suffix(&*replaced)
            .unwrap_or_default()
            .to_owned();
        let last = line.words.len() - 1;
        let words = line.words.into_iter().map(OsString::from).collect();
        for candidate in complete(command, words, last, directory)? {
            let value = candidate.get_value().to_string_lossy();
            let Some(rest) = value.strip_prefix(&*kept) else {
                continue;
            };
            match line.is_quoted {
                true => writeln!(out, "{rest}")?,
                false => writeln!(out, "{}", escaped(rest))?,
            }
        }
        Ok(())
    }
}

/// `text` as a word of a shell outside of quotes.
fn escaped(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphanumeric() && !"%+,-./:=@_^~".contains(letter)
        {
            word.push('\\');
        }
        word.push(letter);
    }
    word
}

/// A command line up to the cursor.
struct Line {
    /// Never empty; the last one is what the cursor is behind.
    words: Vec<String>,
    /// Whether the cursor is inside of quotes.
    is_quoted: bool,
}

impl Line {
    /// Splits as shells do, without expanding anything.
    fn split(line: &str) -> Self {
        let mut words = vec![String::new()];
        let (mut quote, mut is_inside) = (None, false);
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            let word = words.last_mut().expect("there is always a word");
            match (quote, letter) {
                (None, ' ' | '\t' | '\n') => {
                    if is_inside {
                        words.push(String::new());
                    }
                    is_inside = false;
                    continue;
                }
                (None, '"' | '\'') => quote = Some(letter),
                (Some(end), _) if end == letter => quote = None,
                (None | Some('"'), '\\') => word.extend(letters.next()),
                _ => word.push(letter),
            }
            is_inside = true;
        }
        Self {
            words,
            is_quoted: quote.is_some(),
        }
    }
}

/// zsh
struct Zsh;

const ZSH_SCRIPT: &str = r#"#compdef PROGRAM
_coreos_bake() {
    local line value entry
    local -a unfinished finished
    for line in "${(@f)$(VARIABLE=zsh PROGRAM -- "${(@Q)words[1,CURRENT]}" 2> /dev/null)}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        entry=${value//:/\\:}
        [[ $line == *$'\t'* ]] && entry+=:${line#*$'\t'}
        # What is not finished goes on without a space.
        if [[ $value == *[/:=@] ]]; then unfinished+=("$entry"); else finished+=("$entry"); fi
    done
    (( $#unfinished )) && _describe -V PROGRAM unfinished -S ''
    (( $#finished )) && _describe -V PROGRAM finished
    (( $#unfinished + $#finished ))
}
if [[ ${funcstack[1]} == _coreos_bake ]]; then
    _coreos_bake "$@"
else
    compdef _coreos_bake PROGRAM
fi
"#;

impl EnvCompleter for Zsh {
    fn name(&self) -> &'static str {
        "zsh"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        _: &str,
        program: &str,
        _: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let script = ZSH_SCRIPT
            .replace("PROGRAM", program)
            .replace("VARIABLE", variable);
        out.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        directory: Option<&Path>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let last = words.len().saturating_sub(1);
        for candidate in complete(command, words, last, directory)? {
            let help = candidate
                .get_help()
                .map(StyledStr::to_string)
                .unwrap_or_default();
            let value = candidate.get_value().to_string_lossy();
            match help.lines().next() {
                Some(help) => writeln!(out, "{value}\t{help}")?,
                None => writeln!(out, "{value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, escaped};

    #[test]
    fn lines_are_split_as_shells_do() {
        for (line, words, is_quoted) in [
            ("", &[""][..], false),
            ("a  b", &["a", "b"], false),
            ("a ", &["a", ""], false),
            (r"a my\ b", &["a", "my b"], false),
            (r#"a "my b" 'it''s' c"#, &["a", "my b", "its", "c"], false),
            ("a 'my b", &["a", "my b"], true),
            (r#"a "my \" b"#, &["a", "my \" b"], true),
            (r"a '\", &["a", r"\"], true),
            ("a '' ", &["a", "", ""], false),
            ("é ü", &["é", "ü"], false),
            (r"a \", &["a", ""], false),
        ] {
            let split = Line::split(line);
            assert_eq!(split.words, words, "{line}");
            assert_eq!(split.is_quoted, is_quoted, "{line}");
        }
    }

    #[test]
    fn words_come_back_as_they_were() {
        for word in [
            "plain",
            "my $(rm) dir",
            "a'b\"c\\d",
            "*?[x]{y}~&|;<>#!",
            "é",
        ] {
            assert_eq!(Line::split(&escaped(word)).words, [word]);
        }
    }
}
