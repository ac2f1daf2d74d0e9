//! Keys that the operator presses beside the table.
//!
//! The terminal gives keys at once and shows none of them while the server is in its foreground;
//! indicatif would take them for a part of the table and leave a line of it behind. It gets its modes
//! back when this is dropped: at every end, as signals end a server in its own time.

use std::io::{self, IsTerminal, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use tokio::sync::watch;

/// Between two looks for keys.
const PAUSE: Duration = Duration::from_millis(100);

/// A terminal whose keys are ours, until this is dropped.
pub(super) struct Keys {
    kept: Kept,
    heard: watch::Receiver<Key>,
}

/// The modes that the terminal gets back; nothing once it has them.
type Kept = Arc<Mutex<Option<Termios>>>;

/// The key that was pressed last, and how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) letter: char,
    count: u64,
}

impl Keys {
    pub(super) fn new() -> Self {
        let kept = tcgetattr(io::stderr()).ok().filter(|_| is_in_front());
        if let Some(modes) = &kept {
            take(modes);
        }
        let has_keys = kept.is_some() && io::stdin().is_terminal();
        let kept = Arc::new(Mutex::new(kept));
        let (sender, heard) = watch::channel(Key::default());
        if has_keys {
            let kept = Arc::clone(&kept);
            thread::spawn(move || listen(&kept, &sender));
        }
        Self { kept, heard }
    }

    /// What hears of keys.
    pub(super) fn heard(&self) -> watch::Receiver<Key> {
        self.heard.clone()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(modes) = kept.filter(|_| is_in_front()) {
            let _ = tcsetattr(io::stderr(), OptionalActions::Now, &modes);
        }
    }
}

/// Makes the terminal give keys at once, or nothing if there are none, instead of lines. If that fails,
/// a line too many is shown at the end.
fn take(modes: &Termios) {
    let mut modes = modes.clone();
    let echo = LocalModes::ECHO | LocalModes::ECHOCTL;
    modes.local_modes.remove(LocalModes::ICANON | echo);
    modes.special_codes[SpecialCodeIndex::VMIN] = 0;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    let _ = tcsetattr(io::stderr(), OptionalActions::Now, &modes);
}

fn listen(kept: &Kept, sender: &watch::Sender<Key>) {
    loop {
        thread::sleep(PAUSE);
        // Held until the end of this round, so that nothing is taken after it was given back.
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(modes) = &*kept else {
            return;
        };
        // A process in the background that reads is stopped, and so is one that waits in a read while it
        // is sent there. So nothing here waits.
        if !is_in_front() {
            continue;
        }
        let Ok(now) = tcgetattr(io::stdin()) else {
            return;
        };
        if now.local_modes.contains(LocalModes::ICANON) {
            // A shell has set its own meanwhile.
            take(modes);
            continue;
        }
        let mut byte = [0];
        if let Ok(1) = io::stdin().read(&mut byte) {
            sender.send_modify(|key| {
                key.letter = char::from(byte[0]);
                key.count += 1;
            });
        }
    }
}

/// Whether the terminal is ours: it stops processes in the background that change its modes.
fn is_in_front() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group == getpgrp())
}
