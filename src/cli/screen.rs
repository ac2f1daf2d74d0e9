//! How wide the screen is on which something is printed.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// Columns where nothing tells how many there are.
const COLUMNS: u16 = 80;

/// Lines shorter than this break at every second word, and longer ones are hard to read.
const RANGE: (u16, u16) = (60, 120);

/// Columns that lines for people have at most on `stream`: those of the terminal, else what the
/// environment says (`COLUMNS`), else 80.
pub(super) fn columns(stream: impl AsFd) -> usize {
    let named = || std::env::var("COLUMNS").ok()?.parse().ok();
    // Terminals that don't know their size say that it is nothing.
    let shown = tcgetwinsize(stream).ok().map(|size| size.ws_col);
    let columns = shown.filter(|columns| *columns > 0).or_else(named);
    usize::from(columns.unwrap_or(COLUMNS).clamp(RANGE.0, RANGE.1))
}
