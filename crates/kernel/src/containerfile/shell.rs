//! The commands in the text of a `RUN`: enough of POSIX shell (2.2 to 2.10) to know what is called
//! with which words, and which files redirections write. Nothing is executed, no pattern expanded.
//!
//! Kept crates either split the words of one command (`shlex`) or are whole shells; this lies
//! between. Where a value is known only at the build (`$(ls /usr/lib/modules)`), its text stays in
//! the word.

use super::script::{Script, Variables};

/// `$(` and `sh -c` inside each other: each level reads its text again.
const MAX_DEPTH: usize = 8;
/// Words that only introduce the command behind them.
const PREFIXES: [&str; 20] = [
    "!", "{", "}", "builtin", "command", "do", "done", "elif", "else", "env", "exec", "fi", "if",
    "nohup", "sudo", "then", "time", "until", "while", "export",
];
const SHELLS: [&str; 4] = ["sh", "bash", "/bin/sh", "/bin/bash"];

/// One simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Line of the Containerfile in which it ends.
    pub(super) line: u32,
    /// Variables set before the command's name.
    pub(super) assignments: Vec<(String, String)>,
    /// The command and its arguments.
    pub(super) words: Vec<String>,
    /// Files that redirections write.
    pub(super) writes: Vec<String>,
    /// Text of its here-document.
    pub(super) input: Option<String>,
}

impl Command {
    /// The command's name without its directory.
    pub(super) fn name(&self) -> &str {
        let word = self.words.first().map_or("", String::as_str);
        word.rsplit('/').next().unwrap_or(word)
    }

    /// Everything behind the name.
    pub(super) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// A shell that runs what it is given, not a file of the image.
    fn is_shell(&self) -> bool {
        self.words.first().is_some_and(|w| SHELLS.contains(&&**w))
    }

    /// The program text of `sh -c`.
    pub(super) fn inline_script(&self) -> Option<&str> {
        if !self.is_shell() {
            return None;
        }
        let flags = self.arguments().iter().take_while(|w| w.starts_with('-'));
        let at = flags
            .clone()
            .position(|w| !w.starts_with("--") && w.contains('c'))?;
        let rest = self.arguments().get(at + 1..)?;
        rest.iter()
            .find(|w| !w.starts_with('-'))
            .map(String::as_str)
    }
}

/// All commands in the order of the text; those of a substitution come before the command they are
/// part of.
pub(super) fn commands(script: &Script, variables: &mut Variables) -> Vec<Command> {
    let mut out = Vec::new();
    read(script, 0, variables, &mut out);
    out
}

/// Words of a text, as the shell would split them.
pub(super) fn words(text: &str, variables: &mut Variables) -> Vec<String> {
    let script = Script::at(text.to_owned(), 0);
    let mut out = Vec::new();
    let mut reader = Reader::new(&script, MAX_DEPTH, variables, &mut out);
    reader.only_words = true;
    reader.run();
    out.pop().map(|command| command.words).unwrap_or_default()
}

fn read(script: &Script, depth: usize, variables: &mut Variables, out: &mut Vec<Command>) {
    if depth < MAX_DEPTH {
        Reader::new(script, depth, variables, out).run();
    }
}

/// What the next word is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Argument,
    Written,
    Ignored,
    Delimiter { tabs: bool },
}

/// A here-document whose text begins behind the line.
struct Pending {
    command: usize,
    delimiter: String,
    tabs: bool,
}

struct Reader<'a> {
    script: &'a Script,
    position: usize,
    depth: usize,
    variables: &'a mut Variables,
    out: &'a mut Vec<Command>,
    /// The word under way; None between words.
    word: Option<String>,
    role: Role,
    command: Command,
    delimiters: Vec<(String, bool)>,
    pending: Vec<Pending>,
    /// Operators and comments mean nothing.
    only_words: bool,
}

impl<'a> Reader<'a> {
    fn new(
        script: &'a Script,
        depth: usize,
        variables: &'a mut Variables,
        out: &'a mut Vec<Command>,
    ) -> Self {
        Self {
            script,
            position: 0,
            depth,
            variables,
            out,
            word: None,
            role: Role::Argument,
            command: Command::default(),
            delimiters: Vec::new(),
            pending: Vec::new(),
            only_words: false,
        }
    }

    fn rest(&self) -> &'a str {
        &self.script.text[self.position..]
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.position += text.len();
        }
        found
    }

    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn run(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\n' if !self.only_words => {
                    self.end_command();
                    self.here_documents();
                }
                c if c.is_ascii_whitespace() => self.end_word(),
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => self.push(c.encode_utf8(&mut [0; 4])),
                },
                '\'' => {
                    let text = self.until('\'');
                    self.push(text);
                }
                '"' => self.double_quoted(),
                '$' => self.dollar(false),
                '`' => {
                    let text = self.until('`');
                    self.substitute(text);
                }
                c if self.only_words => self.push(c.encode_utf8(&mut [0; 4])),
                '#' if self.word.is_none() => {
                    let rest = self.rest();
                    self.position += rest.find('\n').unwrap_or(rest.len());
                }
                '&' if self.rest().starts_with('>') => self.end_word(),
                ';' | '&' | '|' | '(' | ')' => self.end_command(),
                '>' => self.output(),
                '<' => self.input(),
                c => self.push(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.end_command();
    }

    /// The text up to `end`, which is passed over; all of the rest if it never comes.
    fn until(&mut self, end: char) -> &'a str {
        let rest = self.rest();
        let length = rest.find(end).unwrap_or(rest.len());
        self.position += (length + end.len_utf8()).min(rest.len());
        &rest[..length]
    }

    fn double_quoted(&mut self) {
        self.push("");
        while let Some(c) = self.next() {
            match c {
                '"' => return,
                '$' => self.dollar(true),
                '`' => {
                    let text = self.until('`');
                    self.substitute(text);
                }
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.push(c.encode_utf8(&mut [0; 4])),
                    Some(c) => {
                        self.push("\\");
                        self.push(c.encode_utf8(&mut [0; 4]));
                    }
                },
                c => self.push(c.encode_utf8(&mut [0; 4])),
            }
        }
    }

    fn dollar(&mut self, quoted: bool) {
        let rest = self.rest();
        if rest.starts_with('(') {
            let length = balanced(rest);
            self.position += length;
            let inner = rest[..length].trim_start_matches('(');
            let inner = inner.strip_suffix(')').unwrap_or(inner);
            self.substitute(inner);
            return;
        }
        let (name, text) = if let Some(braced) = rest.strip_prefix('{') {
            let length = braced.find('}').unwrap_or(braced.len());
            let text = &rest[..(length + 2).min(rest.len())];
            (&braced[..length], text)
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            (&rest[..length], &rest[..length])
        };
        self.position += text.len();
        match self.variables.expand(name) {
            // A substitution gives one word in nearly every use (`$(ls /usr/lib/modules)`).
            Some(value) if !quoted && !value.contains("$(") && value.contains(' ') => {
                for part in value.split_ascii_whitespace() {
                    self.push(part);
                    self.end_word();
                }
            }
            Some(value) => self.push(&value),
            None => {
                self.push("$");
                self.push(text);
            }
        }
    }

    /// A command substitution: its commands are commands too, its value is not known.
    fn substitute(&mut self, inner: &str) {
        let line = self.script.line(self.position.saturating_sub(1));
        let script = Script::at(inner.to_owned(), line);
        read(&script, self.depth + 1, self.variables, self.out);
        self.push("$(");
        self.push(inner);
        self.push(")");
    }

    fn output(&mut self) {
        // `2>` names a descriptor.
        if self
            .word
            .as_ref()
            .is_some_and(|w| w.chars().all(|c| c.is_ascii_digit()))
        {
            self.word = None;
        }
        self.end_word();
        self.role = match self.take("&") {
            true => Role::Ignored,
            false => {
                let _ = self.take(">") || self.take("|");
                Role::Written
            }
        };
    }

    fn input(&mut self) {
        self.end_word();
        if self.take("(") {
            self.position -= 1;
            self.dollar(true);
        } else if self.take("<<") {
            self.role = Role::Ignored;
        } else if self.take("<") {
            let tabs = self.take("-");
            self.role = Role::Delimiter { tabs };
        } else {
            self.role = Role::Ignored;
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else {
            return;
        };
        match std::mem::replace(&mut self.role, Role::Argument) {
            Role::Argument => self.command.words.push(word),
            Role::Written => self.command.writes.push(word),
            Role::Ignored => {}
            Role::Delimiter { tabs } => self.delimiters.push((word, tabs)),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.role = Role::Argument;
        let mut command = std::mem::take(&mut self.command);
        let delimiters = std::mem::take(&mut self.delimiters);
        command.line = self.script.line(self.position.saturating_sub(1));
        if !self.only_words {
            self.strip_prefixes(&mut command);
        }
        if command.words.is_empty() || command.words == ["export"] {
            for (name, value) in &command.assignments {
                self.variables.set(name, value);
            }
            let nothing = command.words.is_empty() && command.writes.is_empty();
            if nothing && delimiters.is_empty() {
                return;
            }
        }
        for (delimiter, tabs) in delimiters {
            self.pending.push(Pending {
                command: self.out.len(),
                delimiter,
                tabs,
            });
        }
        let nested = command.inline_script().map(str::to_owned);
        let line = command.line;
        self.out.push(command);
        if let Some(text) = nested {
            read(
                &Script::at(text, line),
                self.depth + 1,
                self.variables,
                self.out,
            );
        }
    }

    fn strip_prefixes(&mut self, command: &mut Command) {
        let mut kept = 0;
        let mut exported = false;
        for word in &command.words {
            if let Some((name, value)) = assignment(word) {
                command
                    .assignments
                    .push((name.to_owned(), value.to_owned()));
            } else if PREFIXES.contains(&&**word) {
                exported |= word == "export";
            } else {
                break;
            }
            kept += 1;
        }
        command.words.drain(..kept);
        if exported {
            // `export A B` names variables, and these hold for all that follows.
            command.words = vec!["export".to_owned()];
        }
    }

    fn here_documents(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let start = self.position;
            let mut text = String::new();
            for line in self.rest().split_inclusive('\n') {
                self.position += line.len();
                let line = match pending.tabs {
                    true => line.trim_start_matches('\t'),
                    false => line,
                };
                if line.trim_end_matches(['\r', '\n']) == pending.delimiter {
                    break;
                }
                text.push_str(line);
            }
            let Some(command) = self.out.get_mut(pending.command) else {
                continue;
            };
            let runs = command.is_shell() && command.inline_script().is_none();
            command.input = Some(text.clone());
            if runs {
                let script = Script::verbatim(&text, self.script.line(start));
                read(&script, self.depth + 1, self.variables, self.out);
            }
        }
    }
}

/// `NAME=value`.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, value))
}

/// Length of the parenthesis that `text` begins with; all of it if it is never closed.
fn balanced(text: &str) -> usize {
    let mut open = 0usize;
    let mut quote = None;
    let mut escaped = false;
    for (offset, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => escaped = true,
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => open += 1,
            (None, ')') => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return offset + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}
