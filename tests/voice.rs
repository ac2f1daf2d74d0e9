//! Standard error: one voice, whoever listens.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

const ESCAPE: char = '\x1b';

fn program(words: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    program
        .args(words)
        .env_remove("NO_COLOR")
        .env_remove("COREOS_BAKE_LOG");
    program
}

fn told(output: &Output) -> (Vec<String>, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text(&output.stderr).lines().map(str::to_owned).collect();
    (lines, text(&output.stdout))
}

/// An image at a port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("docker://{}/a/os:1", listener.local_addr().unwrap())
}

#[test]
fn a_registry_that_is_not_there_is_told_in_three_lines() {
    let image = nobody();
    let output = program(&["inspect", &image]).output().unwrap();
    let (lines, out) = told(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out, "");
    let heads: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    // Attempts with the same cause are told once where lines can't be written over.
    assert_eq!(heads, ["warning:", "error:", "hint:"], "{lines:?}");
    assert_eq!(lines[1].matches("refused").count(), 1, "{lines:?}");
    assert!(!lines.concat().contains(ESCAPE), "{lines:?}");

    let output = program(&["inspect", "-q", &image]).output().unwrap();
    let (lines, _) = told(&output);
    let heads: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(heads, ["error:", "hint:"], "{lines:?}");
}

#[test]
fn nothing_in_a_pipe_is_coloured_unless_asked() {
    let image = nobody();
    for words in [
        &["inspect", &image][..],
        &["inspect", "-vv", &image],
        &["inspect", "--color", "never", &image],
        &["inspect", "--nonsense"],
        &["bake", "./nowhere", "-o", "x"],
    ] {
        let (lines, _) = told(&program(words).output().unwrap());
        assert!(
            !lines.is_empty() && !lines.concat().contains(ESCAPE),
            "{words:?}: {lines:?}"
        );
    }
    for words in [
        &["inspect", "--color", "always", &image][..],
        &["inspect", "--color=always", "--nonsense"],
    ] {
        let (lines, _) = told(&program(words).output().unwrap());
        assert!(lines.concat().contains(ESCAPE), "{words:?}: {lines:?}");
    }
}

#[test]
fn machines_get_an_object_a_line() {
    let image = nobody();
    for (words, code, kinds) in [
        (&["inspect", &image][..], 1, &["warning", "error"][..]),
        (&["inspect", "-q", &image], 1, &["error"]),
        (&["inspect", "--nonsense"], 2, &["error"]),
        (&["bake", "./nowhere", "-o", "x"], 2, &["error"]),
        (
            &["check", "-v", "--driver", "a", &image],
            1,
            &["debug", "warning", "error"],
        ),
    ] {
        let output = program(words).args(["--format", "json"]).output().unwrap();
        let (lines, out) = told(&output);
        assert_eq!(
            (output.status.code(), out.as_str()),
            (Some(code), ""),
            "{words:?}"
        );
        let values: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect();
        for value in &values {
            assert_eq!(value["schema"], "coreos-bake/message/v1");
            assert!(
                value["sentence"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
        }
        let told: Vec<_> = values
            .iter()
            .filter_map(|value| value["kind"].as_str())
            .collect();
        let told: Vec<_> = told
            .into_iter()
            .filter(|kind| kinds.contains(kind))
            .collect();
        assert!(
            kinds.iter().all(|kind| told.contains(kind)),
            "{words:?}: {lines:?}"
        );
        let error = values.last().unwrap();
        assert_eq!(
            (&error["kind"], &error["exit-code"]),
            (&"error".into(), &code.into())
        );
    }
}

/// Runs a command before a terminal, and gives what the terminal got.
fn on_a_terminal(words: &[&str], term: &str) -> String {
    let command = [&[env!("CARGO_BIN_EXE_coreos-bake")], words]
        .concat()
        .join(" ");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", term)
        .env_remove("NO_COLOR")
        .output()
        .expect("script comes with the base system");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_terminal_sees_one_line_that_tells_of_the_wait() {
    let image = nobody();
    let screen = on_a_terminal(&["inspect", &image], "xterm");
    assert!(screen.contains("(attempt 2 of 3)"), "{screen:?}");
    assert!(screen.contains("(attempt 3 of 3)"), "{screen:?}");
    // Written over, and gone before the error.
    assert!(!screen.contains("warning:"), "{screen:?}");
    let lines: Vec<&str> = screen
        .split('\n')
        .filter(|line| line.contains("attempt "))
        .collect();
    assert!(lines.len() <= 1, "{screen:?}");
    assert!(screen.contains("\x1b[31;1merror:"), "{screen:?}");

    let screen = on_a_terminal(&["inspect", &image], "dumb");
    assert!(
        screen.contains("warning:") && !screen.contains(ESCAPE),
        "{screen:?}"
    );
    let screen = on_a_terminal(&["inspect", "--nonsense"], "dumb");
    assert!(
        screen.contains("error:") && !screen.contains(ESCAPE),
        "{screen:?}"
    );
}
