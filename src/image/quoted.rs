//! What messages quote of foreign text, within what a person reads.

/// How many characters of foreign text messages show: a tag has 128 at most (distribution specification 1.1), digests
/// have fewer than 140.
const SHOWN_MAX: usize = 160;

/// The beginning of foreign text, for messages.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is wrong with JSON; the parser quotes as much of it as there is.
pub(super) fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.len() > 2 * SHOWN_MAX {
        true => format!(
            "{} at line {} column {}",
            shown(&text),
            error.line(),
            error.column()
        ),
        false => text,
    }
}

/// How many names a message lists at most.
const LISTED_MAX: usize = 20;

pub(super) fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED_MAX)].join(", ");
    match names.len() {
        0 => "nothing".to_owned(),
        n if n > LISTED_MAX => format!("{shown} and {} more", n - LISTED_MAX),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn lists_stay_short() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(list(&names(0)), "nothing");
        assert_eq!(list(&names(2)), "0, 1");
        assert!(list(&names(20)).ends_with("18, 19"));
        assert!(list(&names(22)).ends_with("19 and 2 more"));
    }
}
