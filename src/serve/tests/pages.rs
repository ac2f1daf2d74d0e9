//! The status as people and programs see it.

use std::process::Command;

use super::{Bake, KERNEL, Running, status_json, worker};
use crate::referee::{have, is_there};

const MAC: &str = "52:54:00:00:00:01";

fn some_boots(bake: &Bake) -> Running {
    let mut options = bake.options();
    let mut host = worker();
    host.role = Some("<script>alert('role')</script>".to_owned());
    options.hosts = vec![host];
    let running = Running::start(options);
    running.get(&format!("/boot/{MAC}.ipxe"));
    running.get(&format!("/{KERNEL}?mac={MAC}"));
    running.get("/boot/525400000009.ipxe");
    running
}

#[test]
fn as_json() {
    let bake = Bake::new();
    let running = some_boots(&bake);
    let status = status_json(&running);
    assert_eq!(status["schema"], "coreos-bake/serve/v1");
    assert_eq!(status["title"], "Mini <OS> 1");
    let host = &status["hosts"][0];
    assert_eq!(host["name"], "worker-0");
    assert_eq!(host["macs"][0], MAC);
    assert_eq!(host["phase"], "kernel");
    assert_eq!(host["client"], "127.0.0.1");
    assert_eq!(host["ignition"], "ready");
    assert_eq!(host["boots"], 1);
    assert_eq!(host["steps"][1]["step"], "kernel");
    assert_eq!(host["steps"][1]["bytes-sent"], 100_000);
    assert_eq!(host["steps"][1]["bytes-total"], 100_000);
    assert!(
        host["steps"][1]["began"].as_u64().unwrap() >= host["steps"][0]["began"].as_u64().unwrap()
    );
    assert_eq!(status["hosts"][1]["declared"], false);
    assert_eq!(status["hosts"][1]["name"], "52:54:00:00:00:09");
}

/// The name under which Debian or others have it.
fn browser() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["chromium-headless-shell", "chromium", "google-chrome"]
        .into_iter()
        .find(|name| std::env::split_paths(&path).any(|directory| directory.join(name).is_file()))
}

#[test]
fn as_a_page_in_a_browser() {
    let bake = Bake::new();
    let running = some_boots(&bake);
    let found = browser();
    if !is_there("chromium-headless-shell", found.is_some()) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let shown = Command::new(found.unwrap())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(format!("{}/status", running.url))
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let dom = String::from_utf8(shown.stdout).unwrap();
    // What a browser parsed and wrote again is what was sent, so nothing had to be repaired.
    let (status, sent) = running.get("/status");
    assert_eq!(status, 200);
    assert_eq!(canonical(&dom), canonical(&sent));
    assert!(dom.contains("&lt;script&gt;alert('role')"), "{dom}");
    assert!(!dom.contains("<script"), "{dom}");
}

/// Without what a browser writes differently though it means the same, and without the time.
fn canonical(html: &str) -> String {
    let mut text: String = html
        .replace("<!DOCTYPE html>", "")
        .replace("&#39;", "'")
        .replace("&quot;", "\"")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("> <", "><");
    for seconds in 0..120 {
        text = text.replace(&format!("<td>{seconds} s ago</td>"), "<td>ago</td>");
    }
    text.trim().to_owned()
}

#[test]
fn the_page_is_well_formed() {
    let bake = Bake::new();
    let running = some_boots(&bake);
    let (status, page) = running.get("/");
    assert_eq!(status, 200);
    assert!(page.contains("Mini &lt;OS&gt; 1"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("100 % of 97 KiB"), "{page}");
    assert!(page.contains("not declared"), "{page}");
    if !have("tidy") {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), page).unwrap();
    let judged = Command::new("tidy")
        .args(["-quiet", "-errors"])
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success(), "{said}");
}
