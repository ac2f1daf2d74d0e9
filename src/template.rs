//! Texts that are filled in: `@@NAME@@` stands for a value, in boot menus as in recipes.
//!
//! The boot menus that images bring have such names (`usr/share/coreos-assembler/live` in them), so all of our
//! own texts are written in the same way. A value is never looked into for names.

/// What stands on both sides of a name.
const MARK: &str = "@@";

/// `text` with the value of each name; a name without one is left.
pub(crate) fn fill<V: AsRef<str>>(text: &str, value: impl Fn(&str) -> Option<V>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = first(rest) {
        out += before;
        match value(name) {
            Some(value) => out += value.as_ref(),
            None => out.extend([MARK, name, MARK]),
        }
        rest = after;
    }
    out + rest
}

/// The names in `text`, in their order.
pub(crate) fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, name, after)) = first(rest) {
        names.push(name);
        rest = after;
    }
    names
}

/// What is before the first name, the name, and what is after it.
fn first(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(MARK)?;
    let (name, after) = rest.split_once(MARK)?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_values_are_not() {
        let value = |name: &str| match name {
            "A" => Some("@@B@@"),
            "B" => Some("b"),
            _ => None,
        };
        assert_eq!(fill("@@A@@-@@B@@ @@C@@ me@@", value), "@@B@@-b @@C@@ me@@");
        assert_eq!(names("@@A@@ x @@B@@@@A@@ @@"), ["A", "B", "A"]);
    }
}
