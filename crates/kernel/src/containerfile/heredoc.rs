//! Here-documents that do not begin a `RUN` (`RUN cat <<EOF >/usr/lib/…`): buildah takes them, but
//! `parse-dockerfile` reads their lines as instructions. They are found and blanked before it looks.

use std::collections::BTreeMap;
use std::ops::Range;

use super::refusal::Refusal;

/// The text with the here-documents of `RUN` blanked, byte for byte, and where they were.
pub(super) struct Blanked {
    pub(super) text: String,
    /// Lines of here-documents by the line in which their `RUN` begins.
    pub(super) documents: BTreeMap<u32, Document>,
}

/// The lines behind an instruction that belong to it.
pub(super) struct Document {
    pub(super) first_line: u32,
    pub(super) bytes: Range<usize>,
}

/// Finds here-documents; `escape` is what continues a line.
pub(super) fn blank(text: &str, escape: char) -> Result<Blanked, Refusal> {
    let mut lines = Lines {
        text,
        position: 0,
        number: 0,
    };
    let mut documents = BTreeMap::new();
    let mut blanked = String::with_capacity(text.len());
    let mut copied = 0;
    while let Some(line) = lines.next() {
        if is_passed_over(line) {
            continue;
        }
        let number = lines.number;
        let mut logical = String::new();
        let mut current = line;
        loop {
            match current.trim_end().strip_suffix(escape) {
                Some(head) => logical.push_str(head),
                None => {
                    logical.push_str(current);
                    break;
                }
            }
            loop {
                let Some(next) = lines.next() else {
                    return Err(Refusal {
                        rule: "continuation-at-end",
                        line: Some(lines.number),
                        message: "the last line asks to be continued, but the file ends".into(),
                    });
                };
                if !is_passed_over(next) {
                    current = next;
                    break;
                }
            }
        }
        let (keyword, arguments) = split_keyword(&logical);
        let is_run = keyword.eq_ignore_ascii_case("RUN");
        let is_copy = ["ADD", "COPY"]
            .iter()
            .any(|k| keyword.eq_ignore_ascii_case(k));
        let exec = arguments.starts_with('[');
        if exec || !(is_run || is_copy) {
            continue;
        }
        let delimiters = delimiters(arguments);
        if delimiters.is_empty() {
            continue;
        }
        let begins = without_options(arguments).starts_with("<<");
        let start = lines.position;
        let first_line = lines.number + 1;
        for (delimiter, tabs) in delimiters {
            loop {
                let Some(line) = lines.next() else {
                    return Err(Refusal {
                        rule: "unterminated-heredoc",
                        line: Some(number),
                        message: format!(
                            "the here-document that ends at {:?} does not end before the file does",
                            excerpt(&delimiter)
                        ),
                    });
                };
                let line = match tabs {
                    true => line.trim_start_matches('\t'),
                    false => line,
                };
                if line.trim_end_matches(['\r', '\n']) == delimiter {
                    break;
                }
            }
        }
        if is_run && !begins {
            let bytes = start..lines.position;
            blanked.push_str(&text[copied..start]);
            blanked.extend(text[bytes.clone()].bytes().map(|b| match b {
                b'\n' => '\n',
                _ => ' ',
            }));
            copied = bytes.end;
            documents.insert(number, Document { first_line, bytes });
        }
    }
    blanked.push_str(&text[copied..]);
    Ok(Blanked {
        text: blanked,
        documents,
    })
}

/// A word of the file, short enough for a message.
pub(super) fn excerpt(word: &str) -> String {
    word.chars().take(80).collect()
}

struct Lines<'a> {
    text: &'a str,
    position: usize,
    /// Number of the line last read, from one.
    number: u32,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.text[self.position..].split_inclusive('\n').next()?;
        self.position += line.len();
        self.number += 1;
        Some(line)
    }
}

fn is_passed_over(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn split_keyword(logical: &str) -> (&str, &str) {
    let logical = logical.trim();
    match logical.split_once(|c: char| c.is_ascii_whitespace()) {
        Some((keyword, rest)) => (keyword, rest.trim_start()),
        None => (logical, ""),
    }
}

fn without_options(mut arguments: &str) -> &str {
    while arguments.starts_with("--") {
        arguments = split_keyword(arguments).1;
    }
    arguments
}

/// The word at the beginning of `text` without its quotes, and what is behind it.
fn delimiter(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '\\') => word.extend(characters.next().map(|(_, c)| c)),
            (None, c) if c.is_ascii_whitespace() || "<>;&|()".contains(c) => {
                return (word, &text[at..]);
            }
            (_, c) => word.push(c),
        }
    }
    (word, "")
}

/// Here-documents a command line asks for: what each ends at, and whether leading tabs go.
fn delimiters(arguments: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut rest = arguments;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (quote, c) {
            (None | Some('"'), '\\') => {
                rest = rest.chars().next().map_or(rest, |c| &rest[c.len_utf8()..]);
            }
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '<') if rest.starts_with("<<") => rest = &rest[2..],
            (None, '<') if rest.starts_with('<') => {
                rest = &rest[1..];
                let tabs = rest.starts_with('-');
                rest = rest.strip_prefix('-').unwrap_or(rest);
                let (word, behind) = delimiter(rest.trim_start_matches([' ', '\t']));
                // `1<<3` is arithmetic.
                if word.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                    found.push((word, tabs));
                }
                rest = behind;
            }
            _ => {}
        }
    }
    found
}
