//! Inventories that are right, and many that are wrong.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Host, Inventory, csv, yaml};
use crate::failure::Failure;

const CONFIG: &str = r#"{"ignition":{"version":"3.2.0"}}"#;
const DOCS: &str = include_str!("../../docs/hosts.md");

/// A folder with files that inventories name.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in [
            "bootstrap",
            "master",
            "worker",
            "rescue",
            "debug-shell",
            "a",
        ] {
            folder.file(&format!("{name}.ign"), CONFIG);
        }
        for name in ["bond0", "eth0"] {
            folder.file(&format!("master-0/{name}.nmconnection"), "[connection]\n");
            folder.file(&format!("other/{name}.nmconnection"), "[connection]\n");
        }
        folder.file("worker-0.yaml", "interfaces: []\n");
        folder.file("spec2.ign", r#"{"ignition":{"version":"2.2.0"}}"#);
        folder.file("broken.ign", "{");
        folder
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str, text: &str) -> anyhow::Result<Inventory> {
        Inventory::read(&self.file(name, text))
    }

    /// What is said of an inventory that is wrong, with its folder left out.
    fn refusal(&self, name: &str, text: &str) -> String {
        let error = self.read(name, text).expect_err(text);
        let folder = format!("{}/", self.0.path().display());
        format!("{error:#}").replace(&folder, "")
    }
}

/// The block of docs/hosts.md in this language.
fn example(language: &str) -> &'static str {
    let (_, rest) = DOCS.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_examples_of_the_documentation_say_the_same() {
    let folder = Folder::new();
    let inventory = folder.read("hosts.yaml", example("yaml")).unwrap();
    let table = folder.read("hosts.csv", example("csv")).unwrap();
    assert_eq!(inventory, table);
    let path = |name: &str| folder.0.path().join(name);
    assert_eq!(inventory.hosts.len(), 4);
    assert_eq!(
        inventory.hosts[1],
        Host {
            name: "master-0".to_owned(),
            macs: vec![
                "525400000101".parse().unwrap(),
                "525400000102".parse().unwrap()
            ],
            role: Some("master".to_owned()),
            disk: Some("/dev/disk/by-id/scsi-36000c29f1c0ffee".to_owned()),
            ignition: Some(path("master.ign")),
            live_ignition: None,
            keyfiles: vec![
                path("master-0/bond0.nmconnection"),
                path("master-0/eth0.nmconnection")
            ],
            nmstate: None,
            kargs: vec!["console=ttyS0,115200n8".to_owned()],
            dest_kargs: vec!["console=ttyS0".to_owned(), "nosmt".to_owned()],
        }
    );
    let live = &inventory.hosts[3];
    assert_eq!(
        (&live.disk, &live.ignition),
        (&None, &Some(path("rescue.ign")))
    );
}

#[test]
fn every_key_is_documented() {
    for key in super::raw::KEYS {
        assert!(DOCS.contains(&format!("\n| `{key}` |")), "{key}");
    }
}

#[test]
fn json_is_yaml_too() {
    let inventory = Folder::new()
        .read(
            "hosts.json",
            r#"{"hosts":[{"name":"a","mac":"52:54:00:00:00:01"}]}"#,
        )
        .unwrap();
    assert_eq!(inventory.hosts[0].name, "a");
}

#[test]
fn a_role_is_overridden_and_added_to() {
    let inventory = Folder::new()
        .read(
            "hosts.yaml",
            "roles: {w: {disk: /dev/sda, ignition: worker.ign, kargs: a b}}\n\
             hosts:\n\
             - {name: one, mac: '52:54:00:00:00:01', role: w}\n\
             - {name: two, mac: '52:54:00:00:00:02', role: w, disk: /dev/sdb, kargs: [c]}\n",
        )
        .unwrap();
    let [one, two] = &inventory.hosts[..] else {
        panic!("{inventory:?}")
    };
    assert_eq!(one.disk.as_deref(), Some("/dev/sda"));
    assert_eq!(one.kargs, ["a", "b"]);
    assert_eq!(two.disk.as_deref(), Some("/dev/sdb"));
    assert_eq!(two.kargs, ["a", "b", "c"]);
    assert_eq!(two.ignition, one.ignition);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let folder = Folder::new();
    for (keys, complaint) in [
        ("disk: sda", "disk \"sda\" is no path of a device"),
        (
            "disk: /dev/../sda",
            "disk \"/dev/../sda\" is no path of a device",
        ),
        (
            "disk: '/dev/a b'",
            "disk \"/dev/a b\" is no path of a device",
        ),
        (
            "disk: '/dev/${x}'",
            "disk: \"/dev/${x}\" can't be a kernel argument: boot loaders take $ for something else",
        ),
        (
            "role: 'two words'",
            "role \"two words\" is no word of letters, digits, - and _",
        ),
        (
            "mac: 52:54:00:00:00",
            "\"52:54:00:00:00\" is no hardware address such as 52:54:00:12:34:56",
        ),
        (
            "mac: ff:ff:ff:ff:ff:ff",
            "ff:ff:ff:ff:ff:ff is not the address of one card",
        ),
        ("mac: []", "there is no hardware address"),
        (
            "mac: [525400000001, '52-54-00-00-00-01']",
            "hardware address 52:54:00:00:00:01 is that of host \"b\" too",
        ),
        (
            "mac: 52:54:00:00:00:09",
            "hardware address 52:54:00:00:00:09 is that of host \"a\" too",
        ),
        (
            "ignition: none.ign",
            "ignition none.ign: No such file or directory (os error 2)",
        ),
        ("ignition: other", "ignition other is no regular file"),
        ("ignition: ''", "ignition \"\" is no path"),
        (
            "ignition: broken.ign",
            "ignition broken.ign: the config is no JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "ignition: spec2.ign",
            "ignition spec2.ign: the config has version \"2.2.0\", known are 3.0.0 to 3.6.0",
        ),
        (
            "live-ignition: a.ign",
            "there is live-ignition, but no disk to install to",
        ),
        (
            "dest-kargs: nosmt",
            "there are dest-kargs, but no disk to install to",
        ),
        (
            "keyfiles: nothing",
            "keyfile nothing: No such file or directory (os error 2)",
        ),
        (
            "keyfiles: [master-0/eth0.nmconnection, other/eth0.nmconnection]",
            "two keyfiles are called \"eth0.nmconnection\"",
        ),
        (
            "nmstate: nothing",
            "nmstate nothing: No such file or directory (os error 2)",
        ),
        (
            "kargs: coreos.inst.install_dev=/dev/sda",
            "kargs: coreos.inst.install_dev is not for inventories to set",
        ),
        (
            "kargs: 'a || b'",
            "kargs: \"||\" can't be a kernel argument: boot loaders take | for something else",
        ),
    ] {
        let mac = match keys.starts_with("mac") {
            true => "",
            false => "mac: 52:54:00:00:00:01, ",
        };
        let text = format!(
            "hosts:\n- {{name: a, mac: 52:54:00:00:00:09}}\n\n- {{name: b, {mac}{keys}}}\n"
        );
        let expected = format!("hosts.yaml:4: host \"b\": {complaint}");
        assert_eq!(folder.refusal("hosts.yaml", &text), expected, "{keys}");
    }
    let long = format!("kargs: {}", "a".repeat(1100));
    let text = format!("hosts:\n- {{name: b, mac: '52:54:00:00:00:01', {long}}}");
    assert!(
        folder
            .refusal("hosts.yaml", &text)
            .contains("kargs have 1101 bytes")
    );
}

#[test]
fn names_have_to_be_names_of_files() {
    let folder = Folder::new();
    for name in ["a", "A.b-c_9", "9", &"n".repeat(128)] {
        let text = format!("hosts: [{{name: '{name}', mac: '52:54:00:00:00:01'}}]");
        folder.read("hosts.yaml", &text).unwrap();
    }
    for name in [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "a/b",
        "a b",
        "a\\b",
        "ä",
        &"n".repeat(129),
    ] {
        let text = format!("hosts: [{{name: '{name}', mac: '52:54:00:00:00:01'}}]");
        assert!(folder.read("hosts.yaml", &text).is_err(), "{name}");
    }
    let text =
        "hosts:\n- {name: a, mac: '52:54:00:00:00:01'}\n- {name: A, mac: '52:54:00:00:00:02'}";
    assert_eq!(
        folder.refusal("hosts.yaml", text),
        "hosts.yaml:3: host \"A\": the name is that of the host in line 2 too"
    );
}

#[test]
fn yaml_that_is_no_inventory() {
    let folder = Folder::new();
    for (text, complaint) in [
        ("hosts: []", "hosts.yaml: there are no hosts"),
        (
            "hosts:\n- {mac: '52:54:00:00:00:01'}",
            "hosts.yaml:2: host \"\": there is no name",
        ),
        (
            "hosts:\n- {name: a}",
            "hosts.yaml:2: host \"a\": there is no hardware address",
        ),
        (
            "hosts:\n- name: a\n  colour: red",
            "hosts.yaml:3: unknown key \"colour\", known are name, mac, role, disk, ignition, live-ignition, keyfiles, \
             nmstate, kargs, dest-kargs",
        ),
        (
            "hosts:\n- name: a\n  mac: 525400000001",
            "hosts.yaml:3: mac is no text",
        ),
        ("hosts:\n- name: [a]", "hosts.yaml:2: name is no text"),
        ("hosts:\n- name: a\n  name: b", "hosts.yaml:3: "),
        (
            "roles:\n  x: {name: b}\nhosts: []",
            "hosts.yaml:2: a role can't have key \"name\"",
        ),
        (
            "roles:\n  x: {disk: /dev/sda}\nhosts:\n- {name: a, mac: '52:54:00:00:00:01'}",
            "hosts.yaml:2: no host has role \"x\"",
        ),
        ("machines: []", "hosts.yaml:1: "),
        ("hosts: {", "hosts.yaml:"),
        ("- a", "hosts.yaml:1: "),
        ("", "hosts.yaml"),
        ("hosts: []\n---\nhosts: []", "hosts.yaml"),
    ] {
        let said = folder.refusal("hosts.yaml", text);
        match complaint.ends_with([' ', ':']) || complaint == "hosts.yaml" {
            true => assert!(said.starts_with(complaint), "{text}: {said}"),
            false => assert_eq!(said, complaint, "{text}"),
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn tables_that_are_no_inventory() {
    let folder = Folder::new();
    for (text, complaint) in [
        ("", "hosts.csv:1: there is no column \"name\""),
        ("name,mac\n", "hosts.csv: there are no hosts"),
        ("name\na\n", "hosts.csv:1: there is no column \"mac\""),
        (
            "name,mac,mac\n",
            "hosts.csv:1: column \"mac\" is there twice",
        ),
        ("name,mac\na\n", "hosts.csv:2: 1 values for 2 columns"),
        (
            "# comment\nname,mac\na,52:54:00:00:00:01\n\na,52:54:00:00:00:02\n",
            "hosts.csv:5: host \"a\": the name is that of the host in line 3 too",
        ),
        (
            "name, mac , disk\na , 52:54:00:00:00:01,sda\n",
            "hosts.csv:2: host \"a\": disk \"sda\" is no path of a device",
        ),
    ] {
        assert_eq!(folder.refusal("hosts.csv", text), complaint, "{text}");
    }
}

#[test]
fn files_that_are_no_inventory() {
    let folder = Folder::new();
    let said = folder.refusal("hosts.txt", "hosts: []");
    assert_eq!(said, "inventory hosts.txt is neither .yaml nor .csv");
    let large = format!("# {}\nhosts: []\n", "x".repeat(4 << 20));
    let said = folder.refusal("hosts.yaml", &large);
    assert_eq!(said, "inventory hosts.yaml is larger than 4194304 bytes");
    let path = folder.0.path().join("binary.csv");
    fs::write(&path, b"name,mac\n\xff\xfe,x\n").unwrap();
    assert!(Inventory::read(&path).is_err());
    assert!(Inventory::read(Path::new("/nowhere/hosts.yaml")).is_err());
    assert!(Inventory::read(folder.0.path()).is_err());
}

#[test]
fn an_error_can_come_with_advice() {
    let error = Folder::new()
        .read(
            "h.yaml",
            "hosts: [{name: a, mac: '52:54:00:00:00:01', disk: sda}]",
        )
        .unwrap_err();
    let failure = error.downcast_ref::<Failure>().unwrap();
    assert_eq!(failure.hint(), "give a path such as /dev/disk/by-id/…");
}

#[test]
fn anchors_serve_many_hosts() {
    let hosts: String = (0..500u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            format!("- {{<<: *all, name: n{n}, mac: '52:54:00:00:{high:02x}:{low:02x}'}}\n")
        })
        .collect();
    let text = format!(
        "hosts:\n- &all {{name: first, mac: '52:54:00:00:99:99', disk: /dev/sda}}\n{hosts}"
    );
    let inventory = Folder::new().read("hosts.yaml", &text).unwrap();
    assert_eq!(inventory.hosts.len(), 501);
    assert!(
        inventory
            .hosts
            .iter()
            .all(|host| host.disk.as_deref() == Some("/dev/sda"))
    );
}

#[test]
fn there_are_limits() {
    let folder = Folder::new();
    let deep = format!("hosts: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(folder.read("hosts.yaml", &deep).is_err());
    let mut bomb = "hosts: []\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{},", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(folder.read("hosts.yaml", &bomb).is_err());
    for (name, head, rows) in [
        ("h.yaml", "hosts:\n", "- {name: n#, mac: '@'}\n"),
        ("h.csv", "name,mac\n", "n#,@\n"),
    ] {
        let many = |count: u32| {
            let row = |n: u32| {
                let [a, b, c, d] = n.to_be_bytes();
                let mac = format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
                rows.replace('#', &n.to_string()).replace('@', &mac)
            };
            head.to_owned() + &(0..count).map(row).collect::<String>()
        };
        assert_eq!(folder.read(name, &many(4096)).unwrap().hosts.len(), 4096);
        let said = folder.refusal(name, &many(4097));
        assert!(said.contains("4096"), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics(text in "[-{}\\[\\]:,&*#'\"|>!? \na-z0-9]{0,80}") {
        let _ = yaml::rows(&text);
        let _ = csv::rows(&text);
        let _ = yaml::rows(&format!("hosts:\n- name: {text}"));
        let _ = csv::rows(&format!("name,mac\n{text}"));
    }
}
