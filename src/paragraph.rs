//! Text for people in lines that fit a screen: broken between words, never within one.
//!
//! Words that are longer than a line, such as digests and paths, get one of their own, which is longer
//! then. What is to be pasted stays in one piece: words between backquotes are one word, and a line of
//! the text that begins with a blank is a command, which is kept as it is.

use std::ops::Range;

use textwrap::core::display_width;

/// Lines of words: how they begin, and how wide they are.
#[derive(Clone, Copy, Debug)]
pub struct Paragraph<'a> {
    /// What the first line begins with.
    pub first: &'a str,
    /// What the others begin with.
    pub rest: &'a str,
    /// Columns that a line has at most. Colour codes take none, and wide characters two.
    pub columns: usize,
}

impl Paragraph<'_> {
    /// `text` in such lines, each with its end.
    pub fn of(&self, text: &str) -> String {
        let mut out = String::new();
        let mut start = self.first;
        for source in text.lines() {
            if source.starts_with(' ') {
                out += source.trim_end();
                out.push('\n');
                continue;
            }
            let mut line = start.to_owned();
            let mut is_empty = true;
            for word in words(source) {
                let space = usize::from(!is_empty);
                // A long beginning stays alone where the first word has more room below it.
                let has_room_below = !is_empty || display_width(&line) > display_width(self.rest);
                let longer = display_width(&line) + space + display_width(word);
                if has_room_below && longer > self.columns {
                    finish(&mut out, &line);
                    self.rest.clone_into(&mut line);
                    is_empty = true;
                }
                if !is_empty {
                    line.push(' ');
                }
                line += word;
                is_empty = false;
            }
            finish(&mut out, &line);
            start = self.rest;
        }
        out
    }
}

/// `text` behind `first`, and lines after the first one below its beginning.
pub fn hanging(first: &str, text: &str, columns: usize) -> String {
    let rest = " ".repeat(display_width(first));
    let paragraph = Paragraph {
        first,
        rest: &rest,
        columns,
    };
    paragraph.of(text)
}

/// Columns that `text` takes on a screen, in one line.
pub fn width(text: &str) -> usize {
    display_width(text)
}

/// At most `columns` columns of `text`: what is too much goes from its middle, as names that are alike
/// differ at their ends.
pub fn shortened(text: &str, columns: usize) -> String {
    if display_width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let head = prefix(text.chars(), room.div_ceil(2));
    let tail = prefix(text.chars().rev(), room / 2);
    let tail: String = tail.chars().rev().collect();
    format!("{head}…{tail}")
}

/// As many characters as `columns` columns hold.
fn prefix(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut text = String::new();
    for character in characters {
        text.push(character);
        if display_width(&text) > columns {
            text.pop();
            break;
        }
    }
    text
}

fn finish(out: &mut String, line: &str) {
    *out += line.trim_end();
    out.push('\n');
}

/// Units that stay behind their number.
const UNITS: [&str; 8] = ["B", "KiB", "MiB", "GiB", "TiB", "bytes", "s", "%"];

/// Words of a line: what is between two backquotes is one, and a number with its unit.
fn words(line: &str) -> Vec<&str> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for word in ranges(line) {
        let unit = line[word.clone()].trim_end_matches([',', '.', ';', ':', ')']);
        match joined.last_mut() {
            Some(number) if UNITS.contains(&unit) && is_number(&line[number.clone()]) => {
                number.end = word.end;
            }
            _ => joined.push(word),
        }
    }
    joined.into_iter().map(|word| &line[word]).collect()
}

fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches('(');
    !digits.is_empty()
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Where words are, those between two backquotes together.
fn ranges(line: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut is_quoted = false;
    for (at, character) in line.char_indices() {
        if character == '`' {
            // One that nothing closes is a character like others.
            is_quoted = !is_quoted && line[at + 1..].contains('`');
        }
        let is_space = character.is_ascii_whitespace() && !is_quoted;
        match (start, is_space) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| from..line.len()));
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(
            hanging("note: ", "one two three four", 16),
            "note: one two\n      three four\n"
        );
        assert_eq!(hanging("note: ", "one two", 13), "note: one two\n");
        assert_eq!(hanging("note: ", "one two", 12), "note: one\n      two\n");
        assert_eq!(hanging("", "", 20), "");
        assert_eq!(
            hanging("", "it has (61.22 GiB), and 3 files", 14),
            "it has\n(61.22 GiB),\nand 3 files\n"
        );
    }

    #[test]
    fn a_long_word_has_a_line_of_its_own() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let text = format!("it is {digest}, not another one");
        let expected = format!("  it is\n  {digest},\n  not another\n  one\n");
        assert_eq!(hanging("  ", &text, 14), expected);
    }

    #[test]
    fn a_long_beginning_stays_alone() {
        let paragraph = Paragraph {
            first: "/a/Containerfile:3: error: ",
            rest: "    ",
            columns: 28,
        };
        let expected = "/a/Containerfile:3: error:\n    no modules\n";
        assert_eq!(paragraph.of("no modules"), expected);
    }

    #[test]
    fn what_is_pasted_stays_in_one_piece() {
        assert_eq!(
            hanging("hint: ", "bake with `-f pxe,metal` or so", 18),
            "hint: bake with\n      `-f pxe,metal`\n      or so\n"
        );
        assert_eq!(hanging("", "one ` two", 5), "one `\ntwo\n");
        let hint = "end the Containerfile with:\n    RUN one && two && three && four";
        assert_eq!(
            hanging("hint: ", hint, 25),
            "hint: end the\n      Containerfile with:\n    RUN one && two && three && four\n"
        );
    }

    #[test]
    fn width_is_that_of_a_screen() {
        assert_eq!(width("\x1b[32;1m✓\x1b[0m a"), 3);
        assert_eq!(width("日本"), 4);
        assert_eq!(
            hanging("\x1b[31m✗\x1b[0m ", "a b c", 5),
            "\x1b[31m✗\x1b[0m a b\n  c\n"
        );
    }

    #[test]
    fn names_lose_their_middle() {
        assert_eq!(shortened("worker-0", 8), "worker-0");
        assert_eq!(shortened("worker-0.example.com", 9), "work….com");
        assert_eq!(shortened("worker-0.example.com", 8), "work…com");
        assert_eq!(shortened("日本日本日本", 6), "日…本");
        assert_eq!(shortened("abc", 0), "…");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_too_long(
            text in "[a-z`\u{e9}\u{65e5} ]{0,200}",
            columns in 10usize..100,
        ) {
            let out = hanging("  ", text.trim_start(), columns);
            let before: Vec<&str> = text.split_ascii_whitespace().collect();
            let after: Vec<&str> = out.split_ascii_whitespace().collect();
            prop_assert_eq!(before, after);
            for line in out.lines() {
                prop_assert!(width(line) <= columns || words(line).len() == 1, "{}", line);
            }
        }
    }
}
