//! For tests: tools that we did not write and that judge what we did.

/// Whether `tool` is there, on the path or among the administrators' tools, which ordinary users
/// don't have on theirs. A missing one skips the test on a laptop, and fails it where REQUIRE_TOOLS
/// is set.
pub(crate) fn have(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(tool).is_file());
    is_there(tool, found)
}

/// The same for what is no tool.
pub(crate) fn is_there(what: &str, found: bool) -> bool {
    assert!(
        found || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "{what} is not installed"
    );
    if !found {
        println!("skipped: {what} is not installed");
    }
    found
}
