//! What each command shows on a screen of 80 columns and on one of 120, without an image.

#[path = "support/record.rs"]
mod record;
#[path = "support/screen.rs"]
mod screen;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use libcoreinst::io::Initrd;
use serde_json::json;
use site::{IMAGE, Site};
use support::have;
use tempfile::TempDir;

const HOSTS: &str = "hosts:\n\
    - {name: worker-0, mac: '52:54:00:00:00:01', role: worker, disk: /dev/vda}\n\
    - {name: control-plane-of-the-lab-in-the-cellar-0.example.com, mac: '52:54:00:00:00:02', role: master}\n";

/// A bake directory with a PXE set, and an inventory.
struct Bake(TempDir);

impl Bake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut initramfs = Initrd::default();
        initramfs.add("etc/coreos-live-initramfs", b"1\n".to_vec());
        let features = br#"{"installer-config":true,"live-initrd-network":true}"#;
        initramfs.add("etc/coreos/features.json", features.to_vec());
        let mut files = Vec::new();
        for (name, role, content) in [
            ("mini-1-live-kernel.x86_64", "kernel", b"kernel".to_vec()),
            (
                "mini-1-live-initramfs.x86_64.img",
                "initramfs",
                initramfs.to_bytes().unwrap(),
            ),
            (
                "mini-1-live-rootfs.x86_64.img",
                "rootfs",
                vec![7; 3_000_000],
            ),
        ] {
            let (size, sha256) = (content.len(), "1".repeat(64));
            files.push(json!({ "name": name, "role": role, "size": size, "sha256": sha256 }));
            fs::write(directory.path().join(name), content).unwrap();
        }
        let mut record = record::sample();
        record["files"] = files.into();
        record::write(directory.path(), &record);
        fs::write(directory.path().join("hosts.yaml"), HOSTS).unwrap();
        Self(directory)
    }

    /// The program with its arguments, which are below this directory.
    fn line(&self, arguments: &str) -> String {
        let program = env!("CARGO_BIN_EXE_coreos-bake");
        format!("cd {} && {program} {arguments}", self.0.path().display())
    }

    fn places(&self) -> Vec<(PathBuf, &'static str)> {
        vec![(self.0.path().to_owned(), "BAKE")]
    }
}

fn nothing(_: &str) -> bool {
    false
}

#[test]
fn hosts() {
    let bake = Bake::new();
    let line =
        bake.line("hosts . hosts.yaml --url http://192.168.1.5/coreos -o tree --dry-run 2> log");
    screen::look("hosts", &line, &bake.places(), nothing);
}

#[test]
fn what_is_printed_for_others() {
    let bake = Bake::new();
    let containerfile = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/mini-os/layered.Containerfile"
    );
    fs::copy(containerfile, bake.0.path().join("Containerfile")).unwrap();
    let dnsmasq = "serve . --url http://192.168.1.5:8080 --dnsmasq 192.168.1.0/24";
    for (name, arguments) in [
        ("serve-dnsmasq", dnsmasq),
        ("check-containerfile", "check --containerfile Containerfile"),
        ("cache", "cache show --cache empty"),
    ] {
        screen::look(name, &bake.line(arguments), &bake.places(), nothing);
    }
    // Commands are for pasting.
    let path = "prepare cluster --release 4.19 --path upi-pxe --bake . --disk /dev/vda --url http://192.168.1.5/coreos \
                --os-image quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let is_command = |line: &str| line.starts_with(' ');
    screen::look("prepare-path", &bake.line(path), &bake.places(), is_command);
}

#[test]
fn prepare() {
    let site = Site::new(&["4.19/upi-manifests"]);
    let places = [(site.0.path().to_owned(), "SITE")];
    let directory = Path::new("4.19/upi-manifests");
    let line = |more: &str| {
        format!(
            "cd {} && ./coreos-bake prepare {} --release 4.19 --driver acme_nic --os-image {IMAGE} {more}",
            site.0.path().display(),
            directory.display(),
        )
    };
    // Files are shown as they are.
    let is_content = |line: &str| line.starts_with('+') || line.starts_with("    coreos-bake ");
    screen::look("prepare-dry-run", &line("--dry-run"), &places, is_content);
    let undo = format!("; ./coreos-bake prepare {} --undo", directory.display());
    let both = line("--karg-append acme_nic.debug=1") + &undo;
    screen::look("prepare", &both, &places, is_content);
}

/// A server's table before and after Ctrl-C, with machines that nobody declared.
#[test]
fn serve() {
    if !have("tmux") || !have("curl") {
        return;
    }
    let bake = Bake::new();
    for size in screen::SIZES {
        let arguments = "serve . --listen 127.0.0.1:0 --hosts hosts.yaml --allow-missing-driver";
        let terminal = screen::Terminal::start("serve", size, &bake.line(arguments)).unwrap();
        terminal.wait(|row| row.contains("hosts heard of"));
        let rows = terminal.rows();
        let url = rows.iter().find_map(|row| {
            let rest = row.split_once("listening at ")?.1;
            Some(rest.split_once(',')?.0.to_owned())
        });
        let url = url.unwrap();
        let curl = |from: &str, url: &str| {
            let mut curl = std::process::Command::new("curl");
            curl.args(["--silent", "--noproxy", "*", "--interface", from, url]);
            String::from_utf8_lossy(&support::run(&mut curl).stdout).into_owned()
        };
        let worker = format!("{url}/boot/52-54-00-00-00-01.ipxe");
        let script = curl("127.0.0.2", &worker);
        let rootfs = script
            .split_whitespace()
            .find_map(|word| word.strip_prefix("coreos.live.rootfs_url="));
        curl("127.0.0.2", rootfs.unwrap());
        curl("127.0.0.2", &format!("{url}/boot/52-54-00-00-00-09.ipxe"));
        let refused = curl("127.0.0.9", &worker);
        assert!(refused.contains("gets nothing here"), "{refused}");
        terminal.wait(|row| row.contains("2 of 3 hosts heard of"));
        // A key, and another that takes it back.
        let asks = |row: &str| row.contains("1  worker-0 at 127.0.0.9");
        for (key, shows) in [("r", true), ("x", false), ("r", true), ("1", false)] {
            terminal.press(key);
            match shows {
                true => terminal.wait(asks),
                false => terminal.wait(|row| row.contains("hosts heard of")),
            }
        }
        terminal.wait(|row| row.contains("the next boot of 127.0.0.9 is let through"));
        assert!(curl("127.0.0.9", &worker).contains("/b/"));
        curl("127.0.0.2", &worker);
        terminal.wait(|row| row.contains("127.0.0.2 was refused"));
        let rows_of_table = |rows: &[String]| {
            let head = rows.iter().position(|row| row.contains("ADDRESS")).unwrap();
            let end = rows
                .iter()
                .position(|row| row.contains("hosts heard of"))
                .unwrap();
            end - head - 1
        };
        // A line that is too long would be two rows.
        let rows = terminal.rows();
        assert_eq!(rows_of_table(&rows), 3, "{}", rows.join("\n"));
        terminal.press("C-c");
        terminal.wait_for_end();
        let rows = terminal.rows();
        let shown = rows.join("\n");
        assert_eq!(rows_of_table(&rows), 3, "{shown}");
        assert_eq!(shown.matches("ADDRESS").count(), 1, "{shown}");
        screen::compare("serve", size, &screen::steady(&rows, &bake.places()));
    }
}
