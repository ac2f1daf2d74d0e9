//! The real thing: Debian's package `ignition`, version 2.14, which knows specs 3.0.0 to 3.3.0 and an
//! experimental 3.4.0.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use bake_referee as referee;

const ENGINE: &str = "/usr/lib/dracut/modules.d/30ignition/ignition";

/// Whether the package is there.
pub(super) fn have() -> bool {
    referee::have("ignition-validate") && referee::is_there(ENGINE, Path::new(ENGINE).is_file())
}

/// What `ignition-validate` says.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) accepted: bool,
    pub(super) errors: BTreeSet<String>,
    pub(super) warnings: BTreeSet<String>,
    pub(super) text: String,
}

pub(super) fn validate(config: &str) -> Verdict {
    let mut child = Command::new("ignition-validate")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ignition-validate is there");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(config.as_bytes()).expect("it reads all");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // Messages are printed as formats: a % in one takes its newline along, and leaves some of it before
    // the next.
    let paths = |level: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(level));
        lines
            .map(|(_, line)| line)
            .map(|line| line.split([',', ':']).next().unwrap_or(line).to_string())
            .collect()
    };
    Verdict {
        accepted: output.status.success(),
        errors: paths("error at "),
        warnings: paths("warning at "),
        text,
    }
}

/// The config that Ignition would apply: all that it names merged into it.
pub(super) fn fetch(config: &str) -> Result<Value, String> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let cache = run_stage("fetch", config, scratch.path())?;
    let cache = std::fs::read(cache).map_err(|error| error.to_string())?;
    serde_json::from_slice(&cache).map_err(|error| error.to_string())
}

/// Runs a stage in a scratch directory and says where the merged config is.
pub(super) fn run_stage(stage: &str, config: &str, scratch: &Path) -> Result<PathBuf, String> {
    let input = scratch.join("config.ign");
    std::fs::write(&input, config).map_err(|error| error.to_string())?;
    let cache = scratch.join("cache.json");
    let in_scratch = |flag: &str, name: &str| format!("{flag}={}", scratch.join(name).display());
    let output = Command::new(ENGINE)
        .env("IGNITION_CONFIG_FILE", &input)
        .args(["--platform=file", "--log-to-stdout"])
        .arg(format!("--stage={stage}"))
        .arg(in_scratch("--config-cache", "cache.json"))
        .arg(in_scratch("--state-file", "state"))
        .arg(in_scratch("--neednet", "neednet"))
        .arg(in_scratch("--root", "root"))
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Ok(cache)
}
