//! Credential helpers: programs that keep secrets for Docker and podman.
//!
//! `docker-credential-NAME get` reads the server's name and answers with JSON. Truth:
//! docker/docker-credential-helpers, "Development".

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use serde::Deserialize;

use super::super::storage::tail;
use super::secret::Secret;

/// The user name that marks a secret as a refresh token.
const TOKEN_USER: &str = "<token>";

/// What all helpers say when they keep nothing for a server.
const NOTHING_KEPT: &str = "credentials not found";

/// Most bytes that a helper may say; tokens of big sites have some KiB. It may take its time,
/// since it may be asking the user for a password.
const SAID_BYTES_MAX: u64 = 1 << 20;

/// What came of asking a helper.
pub(super) enum Answer {
    Secret(Secret),
    NoneKept,
    NotInstalled,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    username: String,
    secret: String,
}

/// Asks the helper `name`, looked for in `path`, for what it keeps for `server`.
pub(super) fn get(name: &str, server: &str, path: Option<&OsStr>) -> Result<Answer, String> {
    // The name becomes part of a path.
    let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(sound) {
        return Err(format!("{name:?} is not a name of a credential helper"));
    }
    let program = format!("docker-credential-{name}");
    let found = path
        .into_iter()
        .flat_map(std::env::split_paths)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(&program))
        .find(|file| file.is_file());
    let Some(file) = found else {
        return Ok(Answer::NotInstalled);
    };
    tracing::debug!(?file, server, "asking a credential helper");
    let run = run(&file, server);
    let (status, stdout, stderr) =
        run.map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !status.success() {
        if String::from_utf8_lossy(&stdout).contains(NOTHING_KEPT) {
            return Ok(Answer::NoneKept);
        }
        let said = tail(&[&stdout[..], b"\n", &stderr].concat());
        return Err(format!("{program} failed for {server}: {said}"));
    }
    let reply: Reply = serde_json::from_slice(&stdout)
        .map_err(|_| format!("{program} gave an answer for {server} that is malformed"))?;
    Ok(Answer::Secret(match reply.username.as_str() {
        TOKEN_USER => Secret::Identity(reply.secret),
        _ => Secret::Basic(reply.username, reply.secret),
    }))
}

/// Runs a helper; what it says beyond the limit is not read, and ends it.
fn run(file: &Path, server: &str) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = Command::new(file)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("the child was given a pipe");
    // One that does not listen will say so in its answer.
    let _ = stdin.write_all(server.as_bytes());
    drop(stdin);
    let stderr = child.stderr.take().expect("the child was given a pipe");
    let stderr = thread::spawn(move || said(stderr));
    let stdout = said(child.stdout.take().expect("the child was given a pipe"));
    let status = child.wait()?;
    let stderr = stderr.join().unwrap_or_else(|_| Ok(Vec::new()));
    Ok((status, stdout?, stderr?))
}

/// Closes the pipe after the limit, so that whoever writes on fails.
fn said(pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(SAID_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Answer, Command, Secret, get};

    #[test]
    fn helpers_are_asked_and_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = Some(directory.path().as_os_str());
        let script = r#"#!/bin/sh
            read server
            case "$1 $server" in
            "get user.example") echo '{"ServerURL":"x","Username":"u","Secret":"p"}';;
            "get token.example") echo '{"Username":"<token>","Secret":"t"}';;
            "get none.example") echo 'credentials not found in native keychain'; exit 1;;
            "get odd.example") echo 'secret';;
            "get endless.example") yes secret;;
            *) echo 'locked' >&2; exit 2;;
            esac
        "#;
        let (text, file) = (
            directory.path().join("text"),
            directory.path().join("docker-credential-test"),
        );
        std::fs::write(&text, script).unwrap();
        // Installed by another process, so that no thread here has it open for writing when it
        // is run.
        let installed = Command::new("install")
            .arg("-m755")
            .args([text, file])
            .status();
        assert!(installed.unwrap().success());

        for (server, expected) in [
            ("user.example", Secret::Basic("u".into(), "p".into())),
            ("token.example", Secret::Identity("t".into())),
        ] {
            match get("test", server, path) {
                Ok(Answer::Secret(secret)) => assert_eq!(secret, expected),
                _ => panic!("{server}"),
            }
        }
        assert!(matches!(
            get("test", "none.example", path),
            Ok(Answer::NoneKept)
        ));
        assert!(matches!(
            get("other", "user.example", path),
            Ok(Answer::NotInstalled)
        ));
        let locked = get("test", "locked.example", path).err().unwrap();
        assert!(locked.contains("locked"), "{locked}");
        let endless = get("test", "endless.example", path).err().unwrap();
        assert!(endless.len() < 2000, "{} bytes", endless.len());
        let odd = get("test", "odd.example", path).err().unwrap();
        assert!(
            odd.contains("malformed") && !odd.contains("secret"),
            "{odd}"
        );
    }
}
