//! From descriptions of hardware to drivers.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, proptest};

use super::distribution::{kernel, run};
use super::referee::command;
use super::{Contents, tree};
use crate::kernel::Certainty::{self, Certain, Generic, Likely, Possible};
use crate::kernel::{devices, driver_aliases, drivers_of};

fn described(text: &str) -> Vec<String> {
    let devices = devices(text).unwrap();
    devices.iter().map(ToString::to_string).collect()
}

#[test]
fn devices_are_described_in_many_ways() {
    let sas = "pci:v00001000d00000097sv0000????sd0000????bc01sc07i??";
    let cases: &[(&str, &[&str])] = &[
        (
            "pci:v00001000d00000097sv00001000sd000030E0bc01sc07i00\n",
            &["pci:v00001000d00000097sv00001000sd000030E0bc01sc07i00"],
        ),
        (
            "MODALIAS=usb:v0781p5567d0100dc00dsc00dp00ic08isc06ip50in00",
            &["usb:v0781p5567d0100dc00dsc00dp00ic08isc06ip50in00"],
        ),
        (
            "/sys/bus/virtio/devices/virtio0/modalias:virtio:d00000002v00001AF4\n\
             /sys/bus/acpi/devices/PNP0A08:00/modalias:acpi:PNP0A08:PNP0A03:\n\n\
             /sys/bus/virtio/devices/virtio1/modalias:virtio:d00000002v00001AF4\n",
            &["virtio:d00000002v00001AF4", "acpi:PNP0A08:PNP0A03:"],
        ),
        (
            "1000:0097",
            &["pci:v00001000d00000097sv0000????sd0000????bc??sc??i??"],
        ),
        (
            "c0de:beef",
            &["pci:v0000C0DEd0000BEEFsv0000????sd0000????bc??sc??i??"],
        ),
        (
            "01:00.0 Serial Attached SCSI controller [0107]: Broadcom / LSI SAS3008 [Fury] [1000:0097] (rev 02)",
            &[sas],
        ),
        ("01:00.0 0107: 1000:0097 (rev 02)", &[sas]),
        ("0000:01:00.0 0107: 1000:0097", &[sas]),
        ("10000:01:00.0 0107: 1000:0097", &[sas]),
        (
            "01:00.0 Non-Volatile memory controller [0108]: Maker Name [144d:a80a] (rev 01) (prog-if 02 [NVM Express])\n\
             \tSubsystem: Maker Other [144d:a801]\n\
             \tFlags: bus master, fast devsel\n\
             \tKernel driver in use: nvme\n\
             02:00.0 0200: 8086:1572\n\
             \tSubsystem: 8086:0007\n\
             03:00.0 0604: 8086:1901 (prog-if 00 [Normal decode])\n",
            &[
                "pci:v0000144Dd0000A80Asv0000144Dsd0000A801bc01sc08i02",
                "pci:v00008086d00001572sv00008086sd00000007bc02sc00i??",
                "pci:v00008086d00001901sv0000????sd0000????bc06sc04i00",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(described(text), *expected, "{text}");
    }
}

#[test]
fn what_describes_no_device_is_refused() {
    let error = |text: &str| devices(text).unwrap_err().to_string();
    let nothing = "no device is described: it takes a modalias, or what `lspci -nn` prints";
    for text in [
        "",
        "\n",
        "mpt3sas",
        "Subsystem: a [1000:0097]",
        "C:\\x",
        "a: b",
        "pci:",
    ] {
        assert_eq!(error(text), nothing, "{text}");
    }
    assert_eq!(
        error("01:00.0 SCSI controller: Broadcom SAS3008 (rev 02)\n02:00.0 0200: 8086:1572"),
        "\"01:00.0 SCSI controller: Broadcom SAS3008 (rev 02)\" does not tell which device it is: \
         lspci has to be called with -nn"
    );
    let many: String = (0..9000).map(|n| format!("usb:v{n:04x}\n")).collect();
    assert!(error(&many).starts_with("the list of devices has more than"));
    assert!(error(&format!("usb:{}", "a".repeat(20_000))).contains("a modalias of more than"));
}

#[test]
fn drivers_are_as_certain_as_what_is_known_of_a_device() {
    let aliases = "# comment\n\
        alias pci:v00001000d00000097sv*sd*bc*sc*i* mpt3sas\n\
        alias pci:v*d*sv*sd*bc01sc07i* any-sas\n\
        alias pci:v*d*sv*sd*bc01sc07i02* by_interface\n\
        alias pci:v00001000d00000097sv00001028sd*bc*sc*i* of_vendor\n\
        alias pci:v00001000d00000097sv00001028sd*bc*sc*i* any_sas\n\
        alias pci:v00001000d00000098sv*sd*bc*sc*i* other\n\
        alias of:N*T*Cx,sas-ctrl[0-9] tree\n\
        alias pcmcia:m* card\n";
    let found = |device: &str| -> Vec<(String, Certainty)> {
        let devices = devices(device).unwrap();
        let found = drivers_of(&devices[0], aliases).into_iter();
        found.map(|m| (m.module, m.certainty)).collect()
    };
    let pairs = |list: &[(&str, Certainty)]| -> Vec<(String, Certainty)> {
        list.iter()
            .map(|(name, certainty)| ((*name).to_owned(), *certainty))
            .collect()
    };
    assert_eq!(
        found("01:00.0 0107: 1000:0097"),
        pairs(&[
            ("any_sas", Certain),
            ("mpt3sas", Certain),
            ("by_interface", Likely),
            ("of_vendor", Possible),
        ])
    );
    assert_eq!(
        found("01:00.0 0107: 1000:0097 (prog-if 02)\n\tSubsystem: 1028:1f00"),
        pairs(&[
            ("any_sas", Certain),
            ("by_interface", Certain),
            ("mpt3sas", Certain),
            ("of_vendor", Certain),
        ])
    );
    // Without a class, what is for a whole class is nothing that numbers could tell.
    assert_eq!(
        found("1000:0097"),
        pairs(&[
            ("mpt3sas", Certain),
            ("any_sas", Possible),
            ("of_vendor", Possible),
            ("by_interface", Generic),
        ])
    );
    assert_eq!(
        found("ffff:ffff"),
        pairs(&[("any_sas", Generic), ("by_interface", Generic)])
    );
    assert_eq!(
        found("of:Nsas@1TscsiCx,sas-ctrl7"),
        pairs(&[("tree", Certain)])
    );
    assert_eq!(found("usb:v0001"), []);
}

#[test]
fn aliases_of_what_is_built_in_are_there() {
    let mut contents = Contents::new();
    let directory = "usr/lib/modules/6.1";
    contents.insert(
        format!("{directory}/modules.alias"),
        b"alias pci:v1* a".to_vec(),
    );
    let built_in = b"core.license=GPL\0core.alias=pci:v2*\0x.y=z\0core.aliasx=\0".to_vec();
    contents.insert(format!("{directory}/modules.builtin.modinfo"), built_in);
    let text = driver_aliases(&tree(&contents), "6.1").unwrap();
    assert_eq!(text, "alias pci:v1* a\nalias pci:v2* core\n");
    assert_eq!(driver_aliases(&tree(&contents), "6.2").unwrap(), "");
}

/// Aliases of a distribution's kernel are tried one in so many.
const STEP: usize = 67;

#[test]
fn drivers_agree_with_modprobe() {
    let Some(kernel) = kernel() else { return };
    let text = std::fs::read_to_string(kernel.directory().join("modules.alias")).unwrap();
    // A device for each pattern: nothing for a star, and the first of several characters.
    let names: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("alias ")?.split(' ').next())
        .filter(|alias| alias.contains(':'))
        .step_by(STEP)
        .map(|alias| {
            let mut name = String::new();
            let mut left = alias.chars();
            while let Some(character) = left.next() {
                match character {
                    '*' => {}
                    '?' => name.push('0'),
                    '[' => {
                        name.extend(left.next());
                        left.by_ref().find(|c| *c == ']');
                    }
                    other => name.push(other),
                }
            }
            name
        })
        .collect();
    let mut theirs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut resolve = command("sh");
    let script = "root=$1 release=$2; shift 2; for a; do \
        modprobe -C /dev/null -d \"$root\" -S \"$release\" -R \"$a\" || echo; echo; done";
    resolve
        .args(["-c", script, "sh"])
        .arg(kernel.root())
        .arg(kernel.release());
    let output = run(resolve.args(&names));
    for (name, answer) in names.iter().zip(output.split("\n\n")) {
        let mut modules: Vec<String> = answer.split_ascii_whitespace().map(str::to_owned).collect();
        modules.sort();
        modules.dedup();
        theirs.insert(name, modules);
    }
    let mut found = 0;
    for (name, theirs) in &theirs {
        let devices = devices(name).unwrap();
        let ours = drivers_of(&devices[0], &text);
        assert!(ours.iter().all(|m| m.certainty == Certain), "{name}");
        let ours: Vec<String> = ours.into_iter().map(|m| m.module).collect();
        assert_eq!(ours, *theirs, "{name}");
        found += ours.len();
    }
    println!("{} devices, {found} drivers", theirs.len());
    assert!(found > 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_read_or_refused(
        text in "((0000:)?01:00\\.0 |[a-z]{0,3}|\tSubsystem:|[\\[\\]:()é ]|[0-9a-f]{4}|prog-if |\n){0,24}",
        pattern in "[a-c*?\\[\\]!^:\\\\-]{0,12}",
    ) {
        for device in devices(&text).into_iter().flatten() {
            drivers_of(&device, &format!("alias {pattern} x\n"));
        }
        drivers_of(&devices("ab:c").unwrap()[0], &format!("alias {pattern} x\n"));
    }
}
