//! Media for hosts, compared with what coreos-installer makes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use libcoreinst::cmdline::IsoCustomizeConfig;
use libcoreinst::io::Initrd;
use libcoreinst::live::iso_customize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::overlay::{Overlays, everything};
use super::share::share;
use super::{HostFile, HostsPlan, HostsRequest, overlays};
use crate::format::iso9660;
use crate::hosts::{Host, Inventory};
use crate::ignition::content;
use crate::media::customize::{Customization, utf8};
use crate::progress::Silent;
use crate::record::tests::sample_of;
use crate::staging::Staging;
use crate::tree::Content;
use bake_referee::have;

const KERNEL: &str = "mini-1-live-kernel.x86_64";
const INITRAMFS: &str = "mini-1-live-initramfs.x86_64.img";
const ROOTFS: &str = "mini-1-live-rootfs.x86_64.img";
const ISO: &str = "mini-1-live-iso.x86_64.iso";
const FEATURES: &str = r#"{"installer-config":true,"installer-config-directives":{"console":true},"live-initrd-network":true}"#;
const CONFIG: &str = r#"{"ignition":{"version":"3.2.0"}}"#;
const KEYFILE: &str = "[connection]\nid=eth0\ntype=ethernet\n";
const NMSTATE: &str = "interfaces:\n- name: eth1\n  type: ethernet\n  state: up\n  ipv4: {enabled: true, dhcp: true}\n";
const KARGS: &str = "rw coreos.liveiso=mini";
/// What the operator of OpenShift wants on nodes, and something of one's own.
const DEST_KARGS: [&str; 4] = [
    "systemd.unified_cgroup_hierarchy=1",
    "cgroup_no_v1=\"all\"",
    "psi=0",
    "nosmt",
];
const AREA: usize = 8192;
const URL: &str = "http://192.0.2.1/os";

/// A bake directory, and files of hosts.
struct Bake {
    scratch: TempDir,
    igninfo: String,
    area: Vec<u8>,
}

impl Bake {
    fn new() -> Self {
        let bake = Self {
            scratch: tempfile::tempdir().unwrap(),
            igninfo: json!({ "file": "images/ignition.img" }).to_string(),
            area: vec![0; AREA],
        };
        fs::create_dir(bake.path("media")).unwrap();
        for (name, text) in [
            ("config.ign", CONFIG),
            ("live.ign", CONFIG),
            ("eth0.nmconnection", KEYFILE),
            ("net.yaml", NMSTATE),
        ] {
            fs::write(bake.path(name), text).unwrap();
        }
        bake.write(&[]);
        bake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes the media; the initramfs also has these members.
    fn write(&self, members: &[(&str, &str)]) {
        let media = self.path("media");
        self.write_iso(&media.join(ISO));
        let mut initramfs = Initrd::default();
        initramfs.add("etc/coreos-live-initramfs", b"1\n".to_vec());
        initramfs.add("etc/coreos/features.json", FEATURES.as_bytes().to_vec());
        for (name, text) in members {
            initramfs.add(name, text.as_bytes().to_vec());
        }
        fs::write(media.join(INITRAMFS), initramfs.to_bytes().unwrap()).unwrap();
        fs::write(media.join(KERNEL), "kernel").unwrap();
        fs::write(media.join(ROOTFS), "rootfs").unwrap();
        let files: Vec<_> = [
            (ISO, "iso"),
            (KERNEL, "kernel"),
            (INITRAMFS, "initramfs"),
            (ROOTFS, "rootfs"),
        ]
        .map(|(name, role)| {
            let size = media.join(name).metadata().unwrap().len();
            json!({ "name": name, "role": role, "size": size, "sha256": "1".repeat(64) })
        })
        .into();
        self.record(&json!(files));
    }

    fn record(&self, files: &serde_json::Value) {
        let mut record = sample_of(files.clone());
        record["os"]["pretty-name"] = json!("Mini $OS 1");
        record["options"]["live-kargs"] = json!("console=ttyS0");
        fs::write(self.path("media/bake.json"), record.to_string()).unwrap();
    }

    fn write_iso(&self, path: &Path) {
        let head = "linux /vmlinuz ";
        let size = KARGS.len() + 1 + 200;
        let menu = format!("{head}{KARGS}\n{}\n", "#".repeat(300));
        let kargs = json!({
            "default": KARGS,
            "files": [{ "path": "EFI/mini/grub.cfg", "offset": head.len(), "pad": "#", "end": "\n" }],
            "size": size,
        });
        let files = [
            ("EFI/mini/grub.cfg", menu.into_bytes()),
            ("coreos/features.json", FEATURES.into()),
            ("coreos/igninfo.json", self.igninfo.clone().into_bytes()),
            ("coreos/kargs.json", kargs.to_string().into_bytes()),
            ("images/ignition.img", self.area.clone()),
            ("images/pxeboot/rootfs.img", b"rootfs".repeat(10_000)),
        ];
        let volume = iso9660::Volume {
            id: "mini".to_owned(),
            set_id: "mini".to_owned(),
            time: 0,
            files: BTreeMap::from(
                files.map(|(name, bytes)| (name.to_owned(), Content::bytes(bytes))),
            ),
            boot: Vec::new(),
            catalog: None,
        };
        let out = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        volume.layout().unwrap().write(&out, &|_| ()).unwrap();
    }

    /// Hosts that have all there is to have, something, and nothing.
    fn hosts(&self) -> Vec<Host> {
        let mac = |last: u8| vec![format!("52:54:00:00:00:{last:02x}").parse().unwrap()];
        let installed = Host {
            name: "installed".to_owned(),
            macs: [mac(1), mac(2)].concat(),
            role: Some("worker".to_owned()),
            disk: Some("/dev/disk/by-id/x".to_owned()),
            ignition: Some(self.path("config.ign")),
            live_ignition: Some(self.path("live.ign")),
            keyfiles: vec![self.path("eth0.nmconnection")],
            nmstate: Some(self.path("net.yaml")),
            kargs: vec!["quiet".to_owned(), "a=b".to_owned()],
            dest_kargs: DEST_KARGS.map(str::to_owned).to_vec(),
        };
        let plain = Host {
            name: "plain".to_owned(),
            macs: mac(3),
            disk: Some("/dev/sda".to_owned()),
            ignition: Some(self.path("config.ign")),
            ..Host::default()
        };
        let live = Host {
            name: "live".to_owned(),
            macs: mac(4),
            ignition: Some(self.path("config.ign")),
            keyfiles: vec![self.path("eth0.nmconnection")],
            ..Host::default()
        };
        let bare = Host {
            name: "bare".to_owned(),
            macs: mac(5),
            ..Host::default()
        };
        vec![installed, plain, live, bare]
    }

    fn request(&self, iso: bool, url: Option<&str>) -> HostsRequest {
        HostsRequest {
            directory: self.path("media"),
            inventory: Inventory {
                hosts: self.hosts(),
            },
            iso,
            pxe_url: url.map(str::to_owned),
            force: false,
        }
    }

    fn make(&self, request: &HostsRequest, out: &str) -> anyhow::Result<Vec<HostFile>> {
        let out = self.path(out);
        let plan = HostsPlan::new(request, &out)?;
        plan.execute(Staging::new(&out, false)?, &Silent)
    }

    /// Why these media can't be made, which leaves nothing behind.
    fn refusal(&self, request: &HostsRequest) -> String {
        let error = self.make(request, "refused").expect_err("it is refused");
        assert!(!self.path("refused").exists());
        let scratch = format!("{}/", self.scratch.path().display());
        format!("{error:#}").replace(&scratch, "")
    }
}

fn customization(host: &Host) -> Customization {
    Customization {
        common: everything(host).unwrap(),
        live_karg_append: host.kargs.clone(),
        live_karg_delete: Vec::new(),
    }
}

#[test]
fn an_iso_is_what_coreos_installer_would_have_made_of_it() {
    let bake = Bake::new();
    bake.make(&bake.request(true, None), "isos").unwrap();
    for host in bake.hosts() {
        let theirs = bake.path(&format!("{}.theirs", host.name));
        iso_customize(IsoCustomizeConfig {
            common: everything(&host).unwrap(),
            live_karg_append: host.kargs.clone(),
            live_karg_delete: Vec::new(),
            live_karg_replace: Vec::new(),
            force: false,
            output: Some(utf8(&theirs).unwrap()),
            input: utf8(&bake.path("media").join(ISO)).unwrap(),
        })
        .unwrap();
        // An archive without members is to coreos-installer the same as zeros.
        let theirs = fs::read(theirs).unwrap();
        let ours = fs::read(bake.path(&format!("isos/{}.iso", host.name))).unwrap();
        assert!(ours == theirs, "{}", host.name);
    }
    let baked = fs::read(bake.path("media").join(ISO)).unwrap();
    let read = |name: &str| fs::read(bake.path(name)).unwrap();
    assert!(read("isos/bare.iso") == baked);
    assert!(read("isos/plain.iso") != baked);
    assert_ne!(read("isos/plain.iso"), read("isos/installed.iso"));
}

#[test]
fn an_overlay_is_what_coreos_installer_would_have_appended() {
    let bake = Bake::new();
    let initramfs = bake.path("media").join(INITRAMFS);
    let length = fs::read(&initramfs).unwrap().len();
    let makes = Overlays::for_initramfs(&initramfs).unwrap();
    for host in &bake.hosts()[..3] {
        let out = bake.path(&host.name);
        customization(host)
            .apply_to_initrd(&initramfs, &out)
            .unwrap();
        let theirs = fs::read(out).unwrap().split_off(length);
        assert_eq!(makes.for_iso(host).unwrap(), Some(theirs), "{}", host.name);
    }
}

#[test]
fn a_network_boot_loads_only_what_arguments_cannot_say() {
    let bake = Bake::new();
    let initramfs = bake.path("media").join(INITRAMFS);
    let makes = Overlays::for_initramfs(&initramfs).unwrap();
    let members = |overlay: Option<Vec<u8>>| -> Vec<String> {
        let read = Initrd::from_reader(&overlay.unwrap()[..]).unwrap();
        let all = libcoreinst::io::GlobMatcher::new(&["*"]).unwrap();
        read.find(&all)
            .keys()
            .map(|path| path.to_string())
            .collect()
    };
    let hosts = bake.hosts();
    let of = |index: usize, reports| makes.for_network_boot(&hosts[index], reports).unwrap();
    assert_eq!(
        members(of(0, false)),
        [
            "config.ign",
            "etc/coreos-firstboot-network/eth0.nmconnection",
            "etc/coreos-firstboot-network/eth1.nmconnection"
        ]
    );
    assert_eq!(of(1, false), None);
    assert_eq!(members(of(1, true)), ["config.ign"]);
    assert_eq!(
        members(of(2, true)),
        ["etc/coreos-firstboot-network/eth0.nmconnection"]
    );
    assert_eq!(of(3, true), None);
    // The installed system's config is fetched by URL, once.
    let config = |overlay: Option<Vec<u8>>| {
        let read = Initrd::from_reader(&overlay.unwrap()[..]).unwrap();
        String::from_utf8(read.get("config.ign").unwrap().to_vec()).unwrap()
    };
    // What the installer puts on the disk is what the inventory says, quotes and order included.
    let told: Value = serde_json::from_str(&config(of(0, false))).unwrap();
    let mut files = told["storage"]["files"].as_array().unwrap().iter();
    let is_installers = |file: &&Value| {
        let path = file["path"].as_str().unwrap();
        path.starts_with("/etc/coreos/installer.d/")
    };
    let file = files.find(is_installers).unwrap();
    let yaml = content(&file["contents"], 1 << 20).unwrap().unwrap();
    let yaml: Value = serde_saphyr::from_str(str::from_utf8(&yaml).unwrap()).unwrap();
    assert_eq!(yaml["append-karg"], json!(DEST_KARGS), "{yaml}");
    assert!(!config(of(0, false)).contains("dest.ign"));
    assert!(config(makes.for_iso(&hosts[0]).unwrap()).contains("dest.ign"));
    assert!(!config(of(0, false)).contains("report-done"));
    assert!(config(of(0, true)).contains("report-done"));

    let directory = bake.path("media");
    let all = overlays(
        &directory,
        &Inventory {
            hosts: hosts.clone(),
        },
    )
    .unwrap();
    let there: Vec<bool> = all.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, true, true, false]);
    fs::remove_file(directory.join(INITRAMFS)).unwrap();
    let bare = Inventory {
        hosts: hosts[3..].to_vec(),
    };
    assert_eq!(overlays(&directory, &bare).unwrap(), [None]);
    assert!(overlays(&directory, &Inventory { hosts }).is_err());
}

#[test]
fn a_tree_has_all_that_its_scripts_name() {
    let bake = Bake::new();
    let files = bake.make(&bake.request(false, Some(URL)), "tree").unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    for name in [KERNEL, INITRAMFS, ROOTFS, "boot.ipxe"] {
        assert!(names.contains(&name), "{name}");
    }
    let read = |name: &str| fs::read_to_string(bake.path("tree").join(name)).unwrap();
    for host in bake.hosts() {
        for mac in &host.macs {
            let mac = mac.to_string().replace(':', "-");
            let ipxe = read(&format!("ipxe/{mac}.ipxe"));
            let grub = read(&format!("grub.cfg-01-{mac}"));
            let pxelinux = read(&format!("pxelinux.cfg/01-{mac}"));
            let mut named = 0;
            for word in ipxe.split_whitespace() {
                let url = word
                    .split_once("=http")
                    .map_or(word.to_owned(), |(_, url)| format!("http{url}"));
                if let Some(path) = url.strip_prefix(&format!("{URL}/")) {
                    assert!(names.contains(&path), "{path} of {mac}");
                    named += 1;
                }
            }
            assert!(named >= 3, "{ipxe}");
            for word in grub
                .split('"')
                .filter_map(|word| word.strip_prefix("$directory/"))
            {
                assert!(names.contains(&word), "{word} of {mac}");
            }
            for line in pxelinux
                .lines()
                .filter_map(|line| line.trim().strip_prefix("INITRD "))
            {
                assert!(line.split(',').all(|name| names.contains(&name)), "{line}");
            }
            for text in [&ipxe, &grub, &pxelinux] {
                assert!(
                    text.contains(&format!("Mini OS 1 on {}", host.name)),
                    "{text}"
                );
                assert!(text.contains(&format!("coreos.live.rootfs_url={URL}/{ROOTFS}")));
                let installs = text.contains("coreos.inst.install_dev=/dev/sda");
                assert_eq!(installs, host.name == "plain", "{text}");
                assert_eq!(text.contains("quiet a=b"), host.name == "installed");
            }
        }
    }
    assert_eq!(read("ignition/live.ign"), CONFIG);
    assert!(
        read("boot.ipxe")
            .contains("chain --replace http://192.0.2.1/os/ipxe/${netX/mac:hexhyp}.ipxe ||\n")
    );
    assert!(!names.contains(&"ignition/bare.ign") && !names.contains(&"overlay/plain.img"));

    if have("grub-script-check") {
        for name in names.iter().filter(|name| name.starts_with("grub.cfg")) {
            let checked = Command::new("grub-script-check")
                .arg(bake.path("tree").join(name))
                .output()
                .unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
    }
}

#[test]
fn in_the_bakes_own_directory_nothing_large_is_written() {
    let bake = Bake::new();
    let files = bake.make(&bake.request(false, Some(URL)), "media").unwrap();
    assert!(files.iter().all(|file| file.shares_blocks.is_none()));
    assert!(!files.iter().any(|file| file.role == "kernel"));
    // Once more, it would replace files.
    let again = bake
        .make(&bake.request(false, Some(URL)), "media")
        .unwrap_err();
    assert!(
        again.to_string().contains("media/boot.ipxe exists"),
        "{again}"
    );
    let request = HostsRequest {
        force: true,
        ..bake.request(false, Some(URL))
    };
    let plan = HostsPlan::new(&request, &bake.path("media")).unwrap();
    let staging = Staging::new(&bake.path("media"), true).unwrap();
    plan.execute(staging, &Silent).unwrap();
    let left: Vec<_> = fs::read_dir(bake.path("media"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_str().unwrap().starts_with('.')),
        "{left:?}"
    );
}

#[test]
fn the_same_twice_is_the_same() {
    let bake = Bake::new();
    let request = bake.request(true, Some(URL));
    let one = bake.make(&request, "one").unwrap();
    assert_eq!(one, bake.make(&request, "two").unwrap());
    for file in one {
        let read = |directory: &str| fs::read(bake.path(directory).join(&file.name)).unwrap();
        assert!(read("one") == read("two"), "{}", file.name);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let bake = Bake::new();
    // Digits that can't be compressed to less than half.
    let noise: String = (0..1000u32)
        .map(|n| hex::encode(Sha256::digest(n.to_be_bytes())))
        .collect();
    let large = json!({
        "ignition": { "version": "3.2.0" },
        "storage": { "files": [{ "path": "/etc/x", "contents": { "source": format!("data:,{noise}") } }] },
    });
    fs::write(bake.path("config.ign"), large.to_string()).unwrap();
    let said = bake.refusal(&bake.request(true, None));
    assert!(
        said.starts_with("the settings of host \"installed\" have "),
        "{said}"
    );
    assert!(
        said.ends_with(" bytes compressed, and the ISO has room for 8192"),
        "{said}"
    );
    bake.make(&bake.request(false, Some(URL)), "tree").unwrap();

    let mut request = bake.request(false, Some(URL));
    request.inventory.hosts[3].kargs = vec!["x".repeat(2000)];
    let said = bake.refusal(&request);
    assert!(
        said.contains("host \"bare\" has kernel arguments of "),
        "{said}"
    );
}

#[test]
fn media_that_are_somebodys_are_refused() {
    let mut bake = Bake::new();
    bake.area[100] = 1;
    bake.write(&[]);
    let said = bake.refusal(&bake.request(true, None));
    assert_eq!(
        said,
        format!("media/{ISO} carries settings of its own already")
    );
    for member in ["config.ign", "etc/coreos-firstboot-network/x"] {
        bake.write(&[(member, "{}")]);
        let said = bake.refusal(&bake.request(false, Some(URL)));
        assert_eq!(
            said,
            format!("media/{INITRAMFS} carries settings of its own already")
        );
    }
}

#[test]
fn bake_directories_that_are_not_what_they_say() {
    let bake = Bake::new();
    let request = bake.request(true, Some(URL));
    let file = |name: &str, role: &str, size: u64| json!([{ "name": name, "role": role, "size": size, "sha256": "1".repeat(64) }]);
    for (files, complaint) in [
        (json!([]), "media has no ISO"),
        (
            file(ISO, "iso", 1),
            "of bake directory media is not as recorded",
        ),
        (
            file("../config.ign", "iso", 32),
            "files[0].name \"../config.ign\" is not the name of a file in the directory",
        ),
        (
            file("", "iso", 0),
            "files[0].name \"\" is not the name of a file in the directory",
        ),
        (
            file(KERNEL, "iso", 6),
            &format!("reading ISO media/{KERNEL}"),
        ),
    ] {
        bake.record(&files);
        let said = bake.refusal(&request);
        assert!(said.contains(complaint), "{said}");
    }
    let request = bake.request(false, Some(URL));
    for (files, complaint) in [
        (json!([]), "the bake has no kernel to boot over the network"),
        (
            json!([{ "name": KERNEL, "role": "kernel", "size": 6, "sha256": "1".repeat(64) }]),
            "the bake has no initramfs",
        ),
    ] {
        bake.record(&files);
        let said = bake.refusal(&request);
        assert!(said.contains(complaint), "{said}");
    }
    fs::write(bake.path("media/bake.json"), "{}").unwrap();
    assert_eq!(
        bake.refusal(&request),
        "media/bake.json is not the record of a bake: it has no schema"
    );
    fs::remove_file(bake.path("media/bake.json")).unwrap();
    assert_eq!(
        bake.refusal(&request),
        "media is not a bake directory: it has no bake.json"
    );
}

#[test]
fn urls_that_are_none_are_refused() {
    let bake = Bake::new();
    for url in [
        "",
        "192.0.2.1",
        "ftp://h/",
        "http://",
        "http://h/a b",
        "http://h/${x}",
        "http://h/?a",
    ] {
        let said = bake.refusal(&bake.request(false, Some(url)));
        assert!(said.starts_with("URL "), "{url}: {said}");
    }
}

#[test]
fn isos_that_lie_about_their_areas_are_refused() {
    for (igninfo, complaint) in [
        ("{", "finding the embed area of"),
        (r#"{"file":"images/none.img"}"#, "finding the embed area of"),
        (r#"{"file":"images"}"#, "finding the embed area of"),
        (
            r#"{"file":"images/ignition.img","offset":8193}"#,
            "points beyond the end",
        ),
        (
            r#"{"file":"images/ignition.img","offset":1,"length":8192}"#,
            "points beyond the end",
        ),
        (
            r#"{"file":"images/ignition.img","length":18446744073709551615}"#,
            "points beyond the end",
        ),
        (
            r#"{"file":"images/ignition.img","offset":18446744073709551615,"length":2}"#,
            "points beyond the end",
        ),
    ] {
        let mut bake = Bake::new();
        bake.igninfo = igninfo.to_owned();
        bake.write(&[]);
        let said = bake.refusal(&bake.request(true, None));
        assert!(said.contains(complaint), "{igninfo}: {said}");
    }
    // A part of a larger file, as on s390x.
    let mut bake = Bake::new();
    bake.igninfo = r#"{"file":"images/ignition.img","offset":4096,"length":4096}"#.to_owned();
    bake.write(&[]);
    bake.make(&bake.request(true, None), "isos").unwrap();
}

#[test]
fn a_shared_copy_is_a_copy() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let content: Vec<u8> = b"0123456789".repeat(20_001);
    fs::write(path("original"), &content).unwrap();
    let original = File::open(path("original")).unwrap();
    for name in ["one", "two"] {
        let mut copy = File::create(path(name)).unwrap();
        share(&original, &mut copy, &Silent).unwrap();
        assert!(fs::read(path(name)).unwrap() == content);
    }
    fs::write(path("one"), "changed").unwrap();
    assert!(fs::read(path("original")).unwrap() == content);
}
