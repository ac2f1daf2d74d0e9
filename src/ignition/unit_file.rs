//! Whether a text is a systemd unit file, by the reader that Ignition has for them.
//!
//! It is stricter than systemd in some things (every line with text is "NAME=VALUE") and laxer in
//! others (anything may stand before the first section). Lines of 2048 bytes and more, which systemd
//! reads today and that reader refuses depending on its buffer, are left to it.

/// The sections of a unit file that have at least one option, each once for each option.
pub(super) fn sections_with_options(text: &str) -> Result<Vec<&str>, UnitFileError> {
    let mut sections = Vec::new();
    let mut rest = text;
    let mut section = None;
    loop {
        let Some(c) = rest.chars().next() else {
            return Ok(sections);
        };
        let behind = &rest[c.len_utf8()..];
        match (c, section) {
            ('[', _) => {
                let (name, after) = behind.split_once(']').ok_or(UnitFileError::OpenSection)?;
                let (garbage, after) = line(after);
                if !garbage.trim().is_empty() {
                    return Err(UnitFileError::Garbage);
                }
                section = Some(name);
                rest = after;
            }
            ('#' | ';', _) => rest = behind_comment(behind),
            (_, None) => rest = behind,
            (c, _) if c.is_whitespace() => rest = behind,
            (_, Some(name)) => {
                let end = rest.find(['=', '\n', '\r']);
                let end = end.filter(|end| rest[*end..].starts_with('='));
                let end = end.ok_or(UnitFileError::NoValue)?;
                rest = behind_value(&rest[end + 1..]);
                sections.push(name);
            }
        }
    }
}

/// Why a text is no unit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnitFileError {
    #[error("a section without its closing bracket")]
    OpenSection,
    #[error("text behind a section's name")]
    Garbage,
    #[error("a line that is not NAME=VALUE")]
    NoValue,
}

fn line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// A comment goes on behind a backslash, too.
fn behind_comment(mut text: &str) -> &str {
    loop {
        let (comment, rest) = line(text);
        let goes_on = comment.strip_suffix(' ').unwrap_or(comment).ends_with('\\');
        if !goes_on || rest.is_empty() {
            return rest;
        }
        text = rest;
    }
}

fn behind_value(mut text: &str) -> &str {
    loop {
        let (value, rest) = line(text);
        if !value.ends_with('\\') {
            return rest;
        }
        text = rest;
    }
}
