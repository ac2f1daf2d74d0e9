//! Lines and names as kmod reads them.

/// Lines of kmod's configuration without comments; a `\` at the end joins a line with the next one.
pub(super) fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for part in text.lines() {
        match part.strip_suffix('\\') {
            Some(part) => line.push_str(part),
            None => {
                line.push_str(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
    lines
}

/// A name or alias as kmod compares it: with `_` for `-`, except within brackets.
pub(super) fn underscores(name: &str) -> String {
    let mut within = false;
    name.chars()
        .map(|character| {
            match character {
                '[' => within = true,
                ']' => within = false,
                '-' if !within => return '_',
                _ => {}
            }
            character
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{logical_lines, underscores};

    #[test]
    fn names_are_compared_with_underscores() {
        assert_eq!(underscores("snd-hda[a-c]-x"), "snd_hda[a-c]_x");
    }

    #[test]
    fn lines_go_on_after_a_backslash() {
        let text = "# no\nblacklist a\n\nsoftdep b pre: c \\\n  post: d\\\n";
        assert_eq!(
            logical_lines(text),
            ["blacklist a", "softdep b pre: c   post: d"],
            "{text}"
        );
    }
}
