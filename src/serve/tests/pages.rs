//! The status as people and programs see it.

use std::process::Command;

use super::{Bake, CONFIG, Running, status, status_json, worker};
use bake_referee::{have, is_there};

const MAC: &str = "52:54:00:00:00:01";

fn some_boots(bake: &Bake) -> Running {
    let mut options = bake.options();
    let mut host = worker();
    host.role = Some("<script>alert('role')</script>".to_owned());
    options.hosts = vec![host];
    let running = Running::start(options);
    let urls = running.boot(MAC);
    running.get(&urls.kernel);
    running.get("/boot/525400000009.ipxe");
    running.get_from(9, &format!("/boot/{MAC}.ipxe"));
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

#[test]
fn hosts_are_shown_to_the_operator_only() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    options.status_token = Some("a-token-of-some-length".to_owned());
    let running = Running::start(options);
    let urls = running.boot_from(2, MAC);
    let secret = urls.kernel.split('/').nth(2).unwrap();
    for path in ["/", "/status", "/status.json"] {
        let (status, shown) = running.get(path);
        assert_eq!(status, 200);
        assert!(shown.contains(MAC) && shown.contains("worker-0"), "{shown}");
        assert!(
            !shown.contains(secret) && !shown.contains(CONFIG),
            "{shown}"
        );
        for from in [2, 9] {
            let (status, shown) = running.get_from(from, path);
            assert_eq!(status, 200);
            for word in [MAC, "worker", "127.0.0.2", "script"] {
                assert!(!shown.contains(word), "{word} in {shown}");
            }
            assert!(shown.contains("Mini"), "{shown}");
            let (status, shown) =
                running.get_from(from, &format!("{path}?token=a-token-of-some-length"));
            assert_eq!(status, 200);
            assert!(shown.contains(MAC), "{shown}");
            let (status, shown) = running.get_from(from, &format!("{path}?token=another-token-"));
            assert_eq!((status, shown.contains(MAC)), (403, false));
        }
        let forwarded = running.ask(&format!(
            "GET {path} HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1"
        ));
        assert!(!forwarded.1.contains(MAC), "{}", forwarded.1);
        let rebound = running.ask_raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        ));
        assert!(!String::from_utf8_lossy(&rebound.1).contains(MAC));
    }
    let totals: serde_json::Value =
        serde_json::from_str(&running.get_from(9, "/status.json").1).unwrap();
    assert_eq!(
        totals,
        serde_json::json!({
            "schema": "coreos-bake/serve-totals/v1", "title": "Mini <OS> 1", "hosts": 1, "done": 0
        })
    );
    let (head, page) = running.ask_raw(&format!(
        "GET /status?token=a-token-of-some-length HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        running.address
    ));
    assert_eq!(status(&head), 200);
    let head = head.to_ascii_lowercase();
    for line in ["referrer-policy: no-referrer", "cache-control: no-store"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("access-control"), "{head}");
    let link = "href=\"/status.json?token=a-token-of-some-length\"";
    assert!(String::from_utf8_lossy(&page).contains(link));
    let mut options = bake.options();
    options.status_token = Some("short".to_owned());
    assert_eq!(
        Bake::refusal(options),
        "the status token is shorter than 16 characters"
    );
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
    let dom = dom(found.unwrap(), &[], &format!("{}/status", running.url));
    // What a browser parsed and wrote again is what was sent, so nothing had to be repaired.
    let (status, sent) = running.get("/status");
    assert_eq!(status, 200);
    assert_eq!(canonical(&dom), canonical(&sent));
    assert!(dom.contains("&lt;script&gt;alert('role')"), "{dom}");
    assert!(!dom.contains("<script"), "{dom}");
}

/// What a browser makes of a page.
fn dom(browser: &str, options: &[&str], url: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let shown = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .args(options)
        .arg(url)
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(shown.status.success(), "{shown:?}");
    String::from_utf8(shown.stdout).unwrap()
}

/// Widths of screens: telephones, old and new, and a desktop.
const WIDTHS: [u32; 5] = [320, 390, 768, 1000, 1280];

/// Tells how wide the page is, and what of it is not on the screen.
const RULER: &str = "<script>addEventListener('load', () => {
const off = [...document.body.querySelectorAll('*')]
.filter(e => e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < 0);
document.body.dataset.seen = [innerWidth, document.documentElement.scrollWidth,
off.map(e => e.outerHTML.slice(0, 80)).join()].join(' ');
});</script></body>";

#[test]
fn on_a_telephone() {
    let found = browser();
    if !is_there("chromium-headless-shell", found.is_some()) {
        return;
    }
    let bake = Bake::new();
    let mut options = bake.options();
    let long = "control-plane-of-the-lab-in-the-cellar-0.rack-17.example.com";
    options.hosts = (1..7)
        .map(|number| {
            let mut host = worker();
            host.macs = vec![format!("52:54:00:00:00:0{number}").parse().unwrap()];
            host.name = match number {
                1 => long.to_owned(),
                number => format!("worker-{number}"),
            };
            host.role = Some(["worker", long][number % 2].to_owned());
            host
        })
        .collect();
    options.hosts[1]
        .macs
        .push("52:54:00:00:01:02".parse().unwrap());
    let running = Running::start(options);
    let urls = running.boot(MAC);
    running.get(&urls.kernel);
    running.get("/boot/525400000099.ipxe");
    running.get_from(9, &format!("/boot/{MAC}.ipxe"));
    let (_, page) = running.get("/status");
    assert!(page.contains("7 hosts: 2 heard of, 0 done."), "{page}");
    assert!(
        page.contains(&format!("<code>{}</code>", running.url)),
        "{page}"
    );
    let directory = tempfile::tempdir().unwrap();
    let measured = directory.path().join("page.html");
    std::fs::write(&measured, page.replace("</body>", RULER)).unwrap();
    for width in WIDTHS {
        let size = format!("--window-size={width},844");
        let url = format!("file://{}", measured.display());
        let dom = dom(found.unwrap(), &["--hide-scrollbars", &size], &url);
        let seen = dom
            .split_once("data-seen=\"")
            .expect("the script has run")
            .1;
        let seen = seen.split_once('"').unwrap().0;
        assert_eq!(seen.trim(), format!("{width} {width}"), "{dom}");
    }
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
        text = text
            .replace(&format!(">{seconds} s ago<"), ">ago<")
            .replace(&format!(", {seconds} s ago:"), ", ago:");
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
