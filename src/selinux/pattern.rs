//! One spec's regular expression: PCRE as libselinux uses it, matched with the `regex` crate.
//!
//! A pattern is split into the literal bytes that every match begins with and the rest. The rest is
//! nearly always one of three shapes that need no expression at all; otherwise it is translated
//! from PCRE's syntax to that of `regex`, where the two differ in what they take literally, and
//! compiled when first asked for.

use std::fmt::Write;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::effort::{COMPILED_BYTES, Effort};

/// Deepest nesting of groups.
const NESTING_MAX: u32 = 50;

/// A pattern, anchored at both ends.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Every match begins with these bytes.
    literal: Box<[u8]>,
    rest: Rest,
}

/// What follows the literal bytes.
#[derive(Debug)]
enum Rest {
    /// Nothing.
    Empty,
    /// `(/.*)?`
    Below,
    /// `.*`
    Anything,
    /// Something else, in PCRE's syntax.
    Expression {
        source: Box<str>,
        /// Whether it has to match the literal bytes, too.
        whole: bool,
        compiled: OnceLock<Result<Regex, String>>,
    },
}

impl Pattern {
    /// Takes a pattern apart; whether it is a valid one shows when it is first consulted.
    pub(super) fn new(source: &str) -> Self {
        let whole = !literal_can_be_split(source);
        let (literal, rest) = if whole {
            (stem(source).into(), source)
        } else {
            split_literal(source)
        };
        let rest = match rest {
            "" => Rest::Empty,
            "(/.*)?" => Rest::Below,
            ".*" => Rest::Anything,
            _ => Rest::Expression {
                source: rest.into(),
                whole,
                compiled: OnceLock::new(),
            },
        };
        Self {
            literal: literal.into(),
            rest,
        }
    }

    /// The bytes that every match begins with.
    pub(super) fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// Whether the literal bytes are all there is.
    pub(super) fn is_literal(&self) -> bool {
        matches!(self.rest, Rest::Empty)
    }

    /// Whether `path` matches; an error says why the expression cannot be used. What it costs is added to `effort`.
    pub(super) fn matches(&self, path: &[u8], effort: &Effort) -> Result<bool, &str> {
        let Some(tail) = path.strip_prefix(&*self.literal) else {
            return Ok(false);
        };
        Ok(match &self.rest {
            // PCRE's `$` also matches before a newline at the very end.
            Rest::Empty => matches!(tail, b"" | b"\n"),
            Rest::Below => matches!(tail, b"" | b"\n" | [b'/', ..]),
            Rest::Anything => true,
            Rest::Expression {
                source,
                whole,
                compiled,
            } => compiled
                .get_or_init(|| compile(source, effort))
                .as_ref()
                .map_err(String::as_str)?
                .is_match(if *whole { path } else { tail }),
        })
    }
}

/// Whether libselinux counts the pattern as an exact path: no meta character without a backslash.
pub(super) fn is_exact(source: &str) -> bool {
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' | b'^' | b'$' | b'?' | b'*' | b'+' | b'|' | b'[' | b'(' | b'{' => return false,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    true
}

/// The first component with its slashes, if it is plain text; else nothing. libselinux compares
/// this much by itself, even where the expression as such could do without (`/a/b|/c`).
fn stem(source: &str) -> &[u8] {
    let bytes = source.as_bytes();
    let slash = bytes.iter().skip(1).position(|byte| *byte == b'/');
    match slash.map(|at| &bytes[..at + 2]) {
        Some(stem) if !stem.iter().any(|byte| br".^$?*+|[({\".contains(byte)) => stem,
        _ => b"",
    }
}

/// The bytes that every match begins with, and the pattern of what follows them.
fn split_literal(source: &str) -> (Vec<u8>, &str) {
    let bytes = source.as_bytes();
    let mut literal = Vec::with_capacity(bytes.len());
    // Where the last literal byte's notation begins, in case a quantifier turns out to follow it.
    let mut last = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (value, len) = match (byte, bytes.get(at + 1)) {
            (b'?' | b'*' | b'+' | b'{', _) => {
                literal.pop();
                at = last;
                break;
            }
            (b'.' | b'^' | b'$' | b'|' | b'[' | b'(' | b')', _) => break,
            (b'\\', Some(&next)) if next.is_ascii_punctuation() => (next, 2),
            (b'\\', _) => break,
            _ => (byte, 1),
        };
        last = at;
        literal.push(value);
        at += len;
    }
    // All of it is ASCII: see `literal_can_be_split`.
    (literal, &source[at..])
}

/// Whether the literal beginning of a pattern may be matched apart from the rest. Not with an
/// alternative outside of groups, which would be one to the literal too, nor with anything that
/// looks back at what precedes it. Answers no when in doubt.
fn literal_can_be_split(source: &str) -> bool {
    // A quantifier after the last byte of a longer character could not be cut off as text.
    if !source.is_ascii() {
        return false;
    }
    let bytes = source.as_bytes();
    let mut depth = 0u32;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => match bytes.get(at) {
                Some(b'b' | b'B' | b'A' | b'G' | b'K') | None => return false,
                Some(_) => at += 1,
            },
            b'[' => match class_len(&bytes[at..]) {
                Some(len) => at += len,
                None => return false,
            },
            b'(' => depth += 1,
            b')' if depth == 0 => return false,
            b')' => depth -= 1,
            b'|' if depth == 0 => return false,
            b'^' => return false,
            _ => {}
        }
    }
    depth == 0
}

/// Length of a class, from behind its `[` to behind its `]`; None if it has no end.
fn class_len(text: &[u8]) -> Option<usize> {
    let first = usize::from(text.first() == Some(&b'^'));
    let mut at = first;
    loop {
        match text.get(at)? {
            // A `]` that comes first is a member.
            b']' if at > first => return Some(at + 1),
            b'\\' => at += 2,
            b'[' => at += 1 + set_len(&text[at + 1..]).unwrap_or(0),
            _ => at += 1,
        }
    }
}

/// Length of a named set in a class (`:digit:]`), from behind its `[`; None if it is no such set,
/// but an ordinary `[`.
fn set_len(text: &[u8]) -> Option<usize> {
    let name = text.strip_prefix(b":")?;
    let negated = usize::from(name.first() == Some(&b'^'));
    let letters = name[negated..]
        .iter()
        .take_while(|byte| byte.is_ascii_lowercase());
    let len = negated + letters.count();
    name[len..].starts_with(b":]").then_some(1 + len + 2)
}

fn compile(source: &str, effort: &Effort) -> Result<Regex, String> {
    // Once there is no room, no time is spent on the next ones.
    effort.compiled(0)?;
    let body = Translator::new(source).translate()?;
    for bytes in COMPILED_BYTES {
        if let Some(expression) = compile_within(&body, bytes)? {
            effort.compiled(bytes)?;
            return Ok(expression);
        }
    }
    Err("it is too large when compiled".to_owned())
}

/// None if it takes more than `bytes`.
fn compile_within(body: &str, bytes: usize) -> Result<Option<Regex>, String> {
    // libselinux writes `^` before and `$` behind without a group: with alternatives outside of
    // groups the first is anchored at the start only and the last at the end only.
    RegexBuilder::new(&format!(r"\A{body}\n?\z"))
        .unicode(false)
        .dot_matches_new_line(true)
        .nest_limit(NESTING_MAX)
        .size_limit(bytes)
        .dfa_size_limit(bytes)
        .build()
        .map(Some)
        .or_else(|error| match error {
            regex::Error::CompiledTooBig(_) => Ok(None),
            // The last line of a syntax error says what is wrong, the others draw where.
            error => Err(error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned()),
        })
}

/// Rewrites PCRE's syntax in that of `regex`. Bytes that stand for themselves come out as `\xHH`,
/// so nothing that `regex` gives a meaning of its own gets through.
struct Translator<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
}

impl<'a> Translator<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            bytes: source.as_bytes(),
            at: 0,
            out: String::with_capacity(4 * source.len()),
        }
    }

    fn translate(mut self) -> Result<String, String> {
        // Whether something precedes that can be repeated.
        let mut repeatable = false;
        while let Some(byte) = self.next() {
            repeatable = match byte {
                b'.' | b')' => {
                    self.out.push(char::from(byte));
                    true
                }
                b'|' => {
                    self.out.push('|');
                    false
                }
                b'^' => {
                    self.out.push_str(r"\A");
                    false
                }
                b'$' => {
                    self.out.push_str(r"(?:\n?\z)");
                    false
                }
                b'(' => {
                    self.group()?;
                    false
                }
                b'[' => {
                    self.class()?;
                    true
                }
                b'\\' => {
                    self.escape()?;
                    true
                }
                b'?' | b'*' | b'+' => {
                    self.quantifier(byte, repeatable)?;
                    false
                }
                b'{' if self.counts_follow() => {
                    self.quantifier(byte, repeatable)?;
                    false
                }
                _ => {
                    self.literal(byte);
                    true
                }
            };
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn literal(&mut self, byte: u8) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, r"\x{byte:02x}");
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        match self.peek() {
            Some(b'*') => Err("it uses a verb, (*…)".to_owned()),
            Some(b'?') if self.bytes.get(self.at + 1) == Some(&b':') => {
                self.at += 2;
                self.out.push_str("?:");
                Ok(())
            }
            Some(b'?') => Err("it uses an extended group, (?…)".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether the text after `{` makes it a quantifier, as in `{2}`, `{2,}` and `{2,3}`; in PCRE
    /// it is an ordinary character otherwise.
    fn counts_follow(&self) -> bool {
        let text = &self.bytes[self.at..];
        let Some(end) = text.iter().position(|byte| *byte == b'}') else {
            return false;
        };
        let mut parts = text[..end].split(|byte| *byte == b',');
        let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        let first = parts.next().is_some_and(|n| !n.is_empty() && is_number(n));
        first && parts.next().is_none_or(is_number) && parts.next().is_none()
    }

    fn quantifier(&mut self, byte: u8, repeatable: bool) -> Result<(), String> {
        if !repeatable {
            return Err("a quantifier follows nothing that can be repeated".to_owned());
        }
        self.out.push(char::from(byte));
        if byte == b'{' {
            while let Some(byte) = self.next() {
                self.out.push(char::from(byte));
                if byte == b'}' {
                    break;
                }
            }
        }
        match self.peek() {
            Some(b'+') => Err("it uses a possessive quantifier".to_owned()),
            Some(b'?') => {
                self.at += 1;
                self.out.push('?');
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        match self.next() {
            Some(byte @ (b'b' | b'B' | b'A' | b'd' | b'D' | b's' | b'S' | b'w' | b'W')) => {
                self.out.push('\\');
                self.out.push(char::from(byte));
            }
            Some(byte) => {
                let byte = self.escaped_byte(byte)?;
                self.literal(byte);
            }
            None => return Err("it ends in a backslash".to_owned()),
        }
        Ok(())
    }

    /// The byte that a backslash and `byte` stand for.
    fn escaped_byte(&mut self, byte: u8) -> Result<u8, String> {
        Ok(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'f' => 0x0c,
            b'a' => 0x07,
            b'e' => 0x1b,
            b'x' => {
                let digits = self.bytes.get(self.at..self.at + 2);
                let value = digits
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .ok_or(r"\x is not followed by two hexadecimal digits")?;
                self.at += 2;
                value
            }
            _ if byte.is_ascii_alphanumeric() => {
                return Err(format!(r"it uses \{}", char::from(byte)));
            }
            _ => byte,
        })
    }

    /// A class, from behind its `[` to its `]`.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.peek() == Some(b'^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(byte) = self.next() else {
                return Err("a class is not closed".to_owned());
            };
            if byte == b']' && !first {
                break;
            }
            first = false;
            let Some(low) = self.class_member(byte)? else {
                continue;
            };
            // A range, unless the `-` is the last member or names no byte on its right.
            let range = self.peek() == Some(b'-')
                && !matches!(self.bytes.get(self.at + 1), None | Some(b']'));
            self.literal(low);
            if range {
                self.at += 1;
                let byte = self.next().ok_or("a class is not closed")?;
                self.out.push('-');
                let high = self
                    .class_member(byte)?
                    .ok_or("a range in a class ends in a set")?;
                self.literal(high);
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// One member of a class: a byte, or a set that has been written already.
    fn class_member(&mut self, byte: u8) -> Result<Option<u8>, String> {
        match byte {
            b'[' => {
                let Some(len) = set_len(&self.bytes[self.at..]) else {
                    return match self.peek() {
                        Some(b'.' | b'=') => Err("it uses a collating element".to_owned()),
                        _ => Ok(Some(byte)),
                    };
                };
                self.out.push('[');
                for byte in &self.bytes[self.at..self.at + len] {
                    self.out.push(char::from(*byte));
                }
                self.at += len;
                Ok(None)
            }
            b'\\' => match self.next() {
                Some(byte @ (b'd' | b'D' | b's' | b'S' | b'w' | b'W')) => {
                    self.out.push('\\');
                    self.out.push(char::from(byte));
                    Ok(None)
                }
                Some(b'b') => Ok(Some(0x08)),
                Some(byte) => self.escaped_byte(byte).map(Some),
                None => Err("a class is not closed".to_owned()),
            },
            _ => Ok(Some(byte)),
        }
    }
}
