//! Tells the program which commit it is of, for `--version`.
//!
//! Packagers who build from an archive set `COREOS_BAKE_COMMIT`; a checkout knows its own. A build for
//! development doesn't look: with the commit in it, everything would be compiled anew after each one.
//! Nothing else is asked, neither the clock nor the network, so the same commit builds the same program.

use std::env;
use std::path::Path;
use std::process::Command;

/// The commit, where there is no repository to ask.
const COMMIT: &str = "COREOS_BAKE_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let mut version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let named = env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = named.or_else(of_checkout) {
        version += &format!(" ({commit})");
    }
    println!("cargo::rustc-env=COREOS_BAKE_VERSION={version}");
}

/// The commit that is checked out here, in a build that is to be used.
fn of_checkout() -> Option<String> {
    let is_for_use = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // A repository further up is somebody else's.
    if !is_for_use || !Path::new(".git").exists() {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", &branch, "packed-refs"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    commit
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(commit)
}

/// What git prints; nothing without git.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
