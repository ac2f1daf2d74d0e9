//! Patterns as aliases of modules have them: `fnmatch(3)` without flags.
//!
//! ```text
//! *       any characters, also `/`
//! ?       one character
//! [a-f]   one of these; [!a-f] and [^a-f] one that is none of these
//! \x      x itself
//! ```
//!
//! A name may have characters that are not known. They match `*` and `?` for sure, and anything
//! else perhaps.

/// Whether a name without unknown characters matches.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let name: Vec<Option<u8>> = name.bytes().map(Some).collect();
    matches_partly(pattern.as_bytes(), &name, |_| false)
}

/// Whether a name matches. None stands for an unknown character of it, which is taken for what the
/// pattern asks for where `may_be` says so of its position, and else for something different.
pub(super) fn matches_partly(
    pattern: &[u8],
    name: &[Option<u8>],
    may_be: impl Fn(usize) -> bool,
) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on if it turns out that the last star has to take one character more.
    let mut again: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            again = Some((p, n));
            continue;
        }
        let step = match (
            pattern.get(p..).filter(|rest| !rest.is_empty()),
            name.get(n),
        ) {
            (None, None) => return true,
            (Some(rest), Some(character)) => one(rest, *character, || may_be(n)),
            _ => None,
        };
        if let Some(len) = step {
            (p, n) = (p + len, n + 1);
            continue;
        }
        match again {
            Some((star, from)) if from < name.len() => {
                (p, n) = (star, from + 1);
                again = Some((star, from + 1));
            }
            _ => return false,
        }
    }
}

/// How much of the pattern matches this one character; None if it does not match.
fn one(pattern: &[u8], character: Option<u8>, may_be: impl Fn() -> bool) -> Option<usize> {
    let is = |matches: &dyn Fn(u8) -> bool| match character {
        Some(character) => matches(character),
        None => may_be(),
    };
    match *pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => match bracket(pattern) {
            Some(set) => is(&|character| set.has(character)).then_some(set.len),
            None => is(&|character| character == b'[').then_some(1),
        },
        [b'\\', literal, ..] => is(&|character| character == literal).then_some(2),
        [literal, ..] => is(&|character| character == literal).then_some(1),
        [] => None,
    }
}

/// `[…]` at the beginning of a pattern.
struct Bracket<'a> {
    members: &'a [u8],
    negated: bool,
    len: usize,
}

fn bracket(pattern: &[u8]) -> Option<Bracket<'_>> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    // A bracket that comes first is a member.
    let end = pattern.get(start + 1..)?.iter().position(|c| *c == b']')? + start + 1;
    Some(Bracket {
        members: &pattern[start..end],
        negated,
        len: end + 1,
    })
}

impl Bracket<'_> {
    fn has(&self, character: u8) -> bool {
        let mut members = self.members;
        let mut found = false;
        while let [first, rest @ ..] = members {
            members = match rest {
                [b'-', last, rest @ ..] => {
                    found |= (*first..=*last).contains(&character);
                    rest
                }
                _ => {
                    found |= *first == character;
                    rest
                }
            };
        }
        found != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_partly};

    #[test]
    fn patterns() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[0-9a-f]x", "bx", true),
            ("[0-9a-f]x", "gx", false),
            ("[!0-9]", "a", true),
            ("[^0-9]", "5", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("usb:v1234p*d0[0-2]*", "usb:v1234p9999d0199dc00", true),
            ("usb:v1234p*d0[0-2]*", "usb:v1234p9999d0399dc00", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn unknown_characters_match_for_sure_or_perhaps() {
        let name = [Some(b'a'), None, Some(b'c')];
        let cases = [
            ("a*c", true, true),
            ("a?c", true, true),
            ("abc", false, true),
            ("a[x]c", false, true),
            ("ab", false, false),
            ("x*", false, false),
        ];
        for (pattern, sure, perhaps) in cases {
            let pattern = pattern.as_bytes();
            assert_eq!(matches_partly(pattern, &name, |_| false), sure);
            assert_eq!(matches_partly(pattern, &name, |_| true), perhaps);
        }
        let two = [None, None];
        assert!(matches_partly(b"a?", &two, |at| at == 0));
        assert!(!matches_partly(b"a?", &two, |at| at == 1));
    }
}
