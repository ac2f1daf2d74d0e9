//! The tools, and what each is asked.

use std::path::Path;
use std::process::{Command, Output};

/// Where Debian keeps them, beside what PATH says.
const PLACES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Runs a tool; `None`, with a line printed, when it is not there and need not be.
pub(super) fn run(tool: &str, arguments: &[&str], image: &Path) -> Option<Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        .env("PATH", format!("{path}:{}", PLACES.join(":")))
        .env("LC_ALL", "C.UTF-8")
        .args(arguments)
        .arg(image)
        .output();
    match output {
        Ok(output) => Some(output),
        Err(_) if std::env::var_os("REQUIRE_TOOLS").is_none() => {
            println!("skipped: {tool} is not installed");
            None
        }
        Err(error) => panic!("running {tool}: {error}"),
    }
}

/// Both streams of a finished tool.
pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// `e2fsck -fn` must find nothing: its passes, its summary and no other line.
pub(super) fn check(image: &Path) {
    let Some(output) = run("e2fsck", &["-fn"], image) else {
        return;
    };
    let said = text(&output);
    let complaint = said.lines().find(|line| {
        !line.starts_with("e2fsck ")
            && !line.starts_with("Pass ")
            && !line.contains(" files (")
            && !line.is_empty()
    });
    assert!(
        output.status.success() && complaint.is_none() && said.contains("Pass 5"),
        "e2fsck -fn: {}\n{said}",
        output.status
    );
}

/// What `debugfs` answers to one request.
pub(super) fn debugfs(image: &Path, request: &str) -> Option<String> {
    let output = run("debugfs", &["-R", request], image)?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `debugfs` answers to each of these requests.
pub(super) fn debugfs_all(
    image: &Path,
    requests: impl Iterator<Item = String>,
) -> Option<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let requests: Vec<String> = requests.collect();
    std::fs::write(file.path(), requests.join("\n")).unwrap();
    let output = run(
        "debugfs",
        &["-f", &file.path().display().to_string()],
        image,
    )?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // It says each request before it answers.
    let answers = said.split("debugfs: ").skip(1);
    Some(
        answers
            .map(|said| said.split_once('\n').unwrap().1.trim_end().to_owned())
            .collect(),
    )
}

/// A field of `dumpe2fs -h`.
pub(super) fn fields(image: &Path) -> Option<Vec<(String, String)>> {
    let output = run("dumpe2fs", &["-h"], image)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(
        said.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
    )
}
