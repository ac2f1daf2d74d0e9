//! Good and bad configs: what we say, and what Ignition says.

use super::super::report::Finding;
use super::super::report::Level;
use super::super::{Error, parse};
use super::ignition;

/// What stands for a hash in the tables.
const SHA512: &str = "SHA512";

/// Whether Ignition takes it, and the config.
type Row = (bool, String);

/// The rows of a table, each made a config by what is around its version and its body.
fn rows(table: &str, config: fn(&str, &str) -> String) -> Vec<Row> {
    let hash = format!("sha512-{}", "a".repeat(128));
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (verdict, rest) = line.split_once(' ').expect("a verdict");
            let (version, body) = rest.split_once(' ').unwrap_or((rest, ""));
            let version = version.replace("(none)", "");
            let config = config(&version, body).replace(SHA512, &hash);
            (verdict == "+", config)
        })
        .collect()
}

fn beside_ignition(version: &str, body: &str) -> String {
    let comma = if body.is_empty() { "" } else { "," };
    format!(r#"{{"ignition":{{"version":"{version}"}}{comma}{body}}}"#)
}

fn inside_ignition(version: &str, body: &str) -> String {
    format!(r#"{{"ignition":{{"version":"{version}",{body}}}}}"#)
}

/// What the packaged Ignition can judge.
fn all() -> Vec<Row> {
    let mut all = rows(include_str!("verdicts.txt"), beside_ignition);
    all.extend(rows(include_str!("verdicts-ignition.txt"), inside_ignition));
    all
}

fn newer() -> Vec<Row> {
    rows(include_str!("verdicts-newer.txt"), beside_ignition)
}

/// Our verdict, and the paths of errors and warnings.
fn ours(text: &str) -> (bool, Vec<String>, Vec<String>) {
    let paths = |findings: &[Finding], level| {
        let findings = findings.iter().filter(|f| f.level == level);
        findings.map(|finding| finding.path.clone()).collect()
    };
    let (accepted, findings) = match parse(text.as_bytes()) {
        Ok(config) => (true, config.warnings),
        Err(Error::Invalid(report)) => (false, report.findings),
        Err(_) => (false, Vec::new()),
    };
    (
        accepted,
        paths(&findings, Level::Error),
        paths(&findings, Level::Warning),
    )
}

#[test]
fn verdicts_are_as_expected() {
    for (accepted, text) in all().into_iter().chain(newer()) {
        let verdict = parse(text.as_bytes());
        assert_eq!(verdict.is_ok(), accepted, "{text}: {verdict:?}");
    }
}

#[test]
fn verdicts_are_those_of_ignition() {
    if !ignition::have() {
        return;
    }
    let mut wrong = Vec::new();
    for (_, text) in all() {
        let theirs = ignition::validate(&text);
        let (accepted, errors, _) = ours(&text);
        if theirs.accepted != accepted {
            wrong.push(format!("{text}\n  ours {accepted}, theirs {}", theirs.text));
            continue;
        }
        // Wrong types are found all at once by us and one at a time, without a path, by Go.
        let theirs_have_paths = theirs.errors.iter().any(|path| path.starts_with('$'));
        for path in errors.iter().filter(|_| theirs_have_paths) {
            if !theirs.errors.contains(path) {
                wrong.push(format!("{text}\n  ours at {path}, theirs {}", theirs.text));
            }
        }
        for path in &theirs.warnings {
            let of_the_tool = theirs.text.contains("context tree does not match");
            let (_, _, warnings) = ours(&text);
            if !of_the_tool && !warnings.contains(path) && !errors.contains(path) {
                wrong.push(format!("{text}\n  no warning at {path}: {}", theirs.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_enough_rows() {
    let (good, bad): (Vec<_>, Vec<_>) = all().into_iter().partition(|(accepted, _)| *accepted);
    println!("{} good and {} bad configs", good.len(), bad.len());
    assert!(good.len() >= 30 && bad.len() >= 30);
}

#[test]
fn refusals_say_what_is_wrong() {
    let message = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
    assert!(message("[]").contains("ignition.version"));
    assert!(message("{").contains("no JSON"));
    assert!(message(r#"{"ignition":{"version":"3.6.0-experimental"}}"#).contains("experimental"));
    let two = parse(br#"{"ignition":{"version":"2.2.0"}}"#).unwrap_err();
    assert!(two.hint().is_some());
    let double = message(
        r#"{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/a","mode":1,"mode":2}]}}"#,
    );
    assert!(
        double.contains("$.storage.files.0.mode: the key is there twice"),
        "{double}"
    );
}

#[test]
fn too_much_and_too_deep_is_refused() {
    let long = vec![b' '; super::super::CONFIG_MAX_BYTES + 1];
    assert!(matches!(parse(&long), Err(Error::TooLarge { .. })));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(matches!(parse(deep.as_bytes()), Err(Error::NotJson(_))));
}
