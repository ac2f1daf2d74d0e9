use super::harmless;

#[test]
fn foreign_text_moves_no_cursor() {
    assert_eq!(harmless("a\x1b[31mb\r\nc"), "a\u{fffd}[31mb\u{fffd}\nc");
}
