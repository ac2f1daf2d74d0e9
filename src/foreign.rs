//! Text that somebody else wrote: an image's names and labels, a medium's boot entry, names of files.
//!
//! It goes to three places that give characters a meaning of their own. A terminal gets all of it, with
//! what would move the cursor or turn the line round written out ([`visible`]). A boot loader's text
//! gets only what none of their languages gives a meaning to ([`title`], [`check_arguments`]). A URL gets it
//! escaped ([`percent_encoded`]). JSON has it as it is.

use crate::failure::Failure;
use crate::kernel::{COMMAND_LINE_MAX_BYTES, check_argument};

/// What a title's line on a loader's screen has room for, in characters.
const TITLE_MAX_CHARACTERS: usize = 120;

/// Characters besides letters, digits and blanks that no loader gives a meaning to: not GRUB (quotes,
/// `$`, `\`, `;`, `{`…), iPXE (`${`, `||`), PXELINUX (`^` marks a key) or our own templates (`@@`). In a title,
/// which is in quotes or the rest of a line, `<` and `>` mean nothing; pages of HTML escape what they show.
const TITLE_MARKS: &str = "._-+~(),:/<>";

/// Whether a terminal would do something with `character` but show it.
///
/// Control characters, those of Latin-1 (C1) too; separators of lines and paragraphs; and marks that
/// change the direction of what comes after (Unicode Standard Annex #9, explicit directional
/// formatting characters and implicit marks).
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// `text` for a terminal, in one line: what would not be shown is written out, as `\u{1b}` or `\n`.
pub fn visible(text: &str) -> String {
    escaped(text, |_| false)
}

/// The same for text of ours with foreign text in it: it keeps its lines and tabs.
pub fn visible_lines(text: &str) -> String {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match is_active(character) && !is_kept(character) {
            true => out.extend(character.escape_default()),
            false => out.push(character),
        }
    }
    out
}

/// `text` as a title in any boot loader's text and in a BLS entry: what could mean something there becomes
/// a blank.
pub fn title(text: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || TITLE_MARKS.contains(character);
    let words: Vec<&str> = text
        .split(|character| !plain(character))
        .filter(|word| !word.is_empty())
        .collect();
    match words.is_empty() {
        true => "unnamed".to_owned(),
        false => words.join(" ").chars().take(TITLE_MAX_CHARACTERS).collect(),
    }
}

/// `text` as a part of a URL: what is neither a letter, a digit nor one of `-._~` is escaped (RFC 3986).
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether `name` is itself in a file name, a URL, a kernel argument and every loader's text: letters
/// and digits of ASCII and `._-+~`, and neither `.` nor `-` first.
pub fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte);
    !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(is_plain)
}

/// Refuses arguments that `place` gives.
///
/// # Errors
/// One with the place, the first argument that can't be one, and why; or that they are too long together.
pub fn check_arguments(place: &str, arguments: &[String]) -> Result<(), Failure> {
    const HINT: &str = "an argument is one word, such as console=ttyS0,115200n8; what needs blanks goes \
                        into a file, such as /etc/modprobe.d/NAME.conf for a module's options";
    for argument in arguments {
        check_argument(argument)
            .map_err(|error| Failure::new(format!("{place}: {error}"), HINT))?;
    }
    let bytes: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    if bytes > COMMAND_LINE_MAX_BYTES {
        let most = COMMAND_LINE_MAX_BYTES - 1;
        return Err(Failure::new(
            format!("{place}: the kernel arguments have {bytes} bytes, and kernels take {most}"),
            "shorten them",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a terminal takes for orders, and how it is shown.
    const ACTIVE: [(&str, &str); 9] = [
        ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
        ("a\u{7}\u{8}", "a\\u{7}\\u{8}"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("\u{7f}", "\\u{7f}"),
        (
            "a\u{202e}b\u{2066}c\u{2069}",
            "a\\u{202e}b\\u{2066}c\\u{2069}",
        ),
        ("\u{200f}\u{61c}", "\\u{200f}\\u{61c}"),
        ("a\u{2028}b\u{85}c", "a\\u{2028}b\\u{85}c"),
        ("Größe ‹日本› \"'$`\\", "Größe ‹日本› \"'$`\\"),
    ];

    #[test]
    fn what_moves_a_cursor_is_written_out() {
        for (text, shown) in ACTIVE {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_lines("a\n\tb\r\u{1b}"), "a\n\tb\\r\\u{1b}");
    }

    #[test]
    fn titles_mean_nothing_to_loaders() {
        for (text, expected) in [
            (
                "Red Hat Enterprise Linux CoreOS 9.6.20250826-1 (Plow)",
                "Red Hat Enterprise Linux CoreOS 9.6.20250826-1 (Plow)",
            ),
            (
                "Fedora CoreOS 41.20241122.3.0",
                "Fedora CoreOS 41.20241122.3.0",
            ),
            ("A \"$(quoted)\" OS", "A (quoted) OS"),
            ("a\noptions init=/bin/sh", "a options init /bin/sh"),
            ("a}; reboot; #", "a reboot"),
            ("${net0/mac} || shell", "net0/mac shell"),
            (
                "^M<b>&amp;</b> @@KERNEL-ARGS@@",
                "M<b> amp </b> KERNEL-ARGS",
            ),
            ("\u{202e}Größe`'\\", "Größe"),
            ("\u{1b}\n", "unnamed"),
        ] {
            assert_eq!(title(text), expected, "{text:?}");
        }
        assert_eq!(title(&"x".repeat(500)).len(), TITLE_MAX_CHARACTERS);
    }

    #[test]
    fn plain_names_are_themselves_everywhere() {
        for name in ["rhcos-9.6.20250826-1", "a", "41+x~y_z"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "", ".a", "-a", "a b", "a/b", "a,b", "a\n", "ü", "a%20", "a#b",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_active_afterwards(text in "\\PC{0,8}[\u{0}-\u{a0}\u{2000}-\u{206f}]{0,40}") {
            prop_assert!(!visible(&text).contains(is_active));
            let title = title(&text);
            prop_assert!(!title.contains(is_active));
            let means = |c: char| "\"'$`\\;{}|&#@^=".contains(c);
            prop_assert!(!title.contains(means), "{}", title);
        }
    }

    #[test]
    fn arguments_are_refused_with_their_place() {
        let given = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let error = check_arguments("image.json", &given(&["quiet", "a;b"])).unwrap_err();
        let expected = "image.json: \"a;b\" can't be a kernel argument: boot loaders take ; for something else";
        assert_eq!(error.to_string(), expected);
        let long = vec!["x".repeat(700); 3];
        let error = check_arguments("image.json", &long).unwrap_err();
        assert!(error.to_string().contains("2103 bytes"), "{error}");
        assert!(check_arguments("image.json", &long[..2]).is_ok());
    }
}
