//! For tests: tools that we did not write and that judge what we did.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Whether `tool` is there, on the path or among the administrators' tools, which ordinary users
/// don't have on theirs. A missing one skips the test on a laptop, and fails it where REQUIRE_TOOLS
/// is set.
pub fn have(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(tool).is_file());
    is_there(tool, found)
}

/// The same for what is no tool.
pub fn is_there(what: &str, found: bool) -> bool {
    assert!(
        found || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "{what} is not installed"
    );
    if !found {
        println!("skipped: {what} is not installed");
    }
    found
}

/// Unmounts `target`, if need be at another try: a child of another test holds our open files for
/// the moment between fork and exec.
pub fn unmount(target: &Path) {
    for _ in 0..100 {
        let status = Command::new("umount").arg("-q").arg(target).status();
        if status.is_ok_and(|status| status.success()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // No panic in a panic.
    assert!(std::thread::panicking(), "{} is busy", target.display());
}
