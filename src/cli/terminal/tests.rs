use super::{GREEN, paint, shown};

#[test]
fn a_result_has_no_orders_but_our_colours() {
    let green = paint(true, GREEN, "✓");
    let text = format!("{green} a\u{1b}[2Jb\rc\u{9b}31m\n\td");
    let expected = format!("{green} a\\u{{1b}}[2Jb\\rc\\u{{9b}}31m\n\td");
    assert_eq!(shown(&text, true), expected);
    // Without colours there are none of ours, so what looks like one is somebody else's.
    assert_eq!(
        shown("\u{1b}[32m✓\u{1b}[0m", false),
        "\\u{1b}[32m✓\\u{1b}[0m"
    );
    assert_eq!(shown("\u{1b}[36;1m", true), "\\u{1b}[36;1m");
    assert_eq!(shown("plain\n", true), "plain\n");
}
