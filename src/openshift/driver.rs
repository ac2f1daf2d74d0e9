//! Files and units that a driver needs outside of its image.
//!
//! On a bootstrap node the release's `/usr` may be put over the image's own, all but the modules, so
//! everything here lies in `/etc` and `/usr/local`. Only what the image doesn't do itself is written:
//! a driver that hardware loads needs no file.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::ignition::fragment::{config, file, unit};
use crate::ignition::{Error, content};
use crate::kernel::DriverName;

use super::firmware::{self, Firmware, FirmwareError};

/// The unit that looks for the drivers on every boot.
pub const VERIFY_UNIT: &str = "coreos-bake-verify.service";

const VERIFY: &str = include_str!("../../ignition/verify");
const VERIFY_SERVICE: &str = include_str!("../../ignition/verify.service");
const VERIFY_PATH: &str = "/usr/local/bin/coreos-bake-verify";
const NAMES_PATH: &str = "/etc/coreos-bake/drivers";
/// Far more than the names of all modules of a kernel.
const NAMES_MAX_BYTES: usize = 1 << 20;

/// The drivers that an Ignition config of ours names, such as that of a rendered MachineConfig with ours in it.
/// Names that no module can have are left out.
pub fn named_in(config: &Value) -> Vec<DriverName> {
    let mut files = config["storage"]["files"].as_array().into_iter().flatten();
    let file = files.find(|file| file["path"] == NAMES_PATH);
    let Some(Ok(Some(text))) = file.map(|file| content(&file["contents"], NAMES_MAX_BYTES)) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A driver on the machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The module's name.
    pub name: DriverName,
    /// Whether it has to be named, because no hardware and nothing in the image loads it.
    pub load: bool,
    /// Its options, such as `max_msix_vectors=8`.
    pub options: Vec<String>,
    /// Modules that would take its hardware first, and must not be loaded.
    pub instead_of: Vec<DriverName>,
    /// Modules that have to be there before it, without its saying so itself.
    pub after: Vec<DriverName>,
    /// Firmware that it asks for after the system is up.
    pub firmware: Vec<Firmware>,
}

impl Driver {
    /// A driver that needs nothing but its module.
    pub fn named(name: DriverName) -> Self {
        Self {
            name,
            load: false,
            options: Vec::new(),
            instead_of: Vec::new(),
            after: Vec::new(),
            firmware: Vec::new(),
        }
    }
}

/// Why there is no fragment for a driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Two entries for one module.
    #[error("driver {0} is named twice")]
    Twice(DriverName),
    /// Nothing that a line of modprobe.d could hold.
    #[error("driver {driver}: {option:?} is no option; one is a word like name=value")]
    Option {
        /// The driver.
        driver: DriverName,
        /// What was given.
        option: String,
    },
    /// It would be kept from loading by itself.
    #[error("driver {0} can't be loaded instead of itself")]
    InsteadOfItself(DriverName),
    /// It would wait for itself.
    #[error("driver {0} can't be loaded after itself, or after one that must not be loaded")]
    After(DriverName),
    /// One of its firmware files.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Ignition would refuse it.
    #[error(transparent)]
    Config(#[from] Error),
}

/// An Ignition config of spec 3.2.0 that has the drivers loaded, if they need it, and looked for on
/// every boot. It is to be merged into a machine's own config.
pub fn fragment(drivers: &[Driver]) -> Result<Value, DriverError> {
    let mut names = String::new();
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for driver in drivers {
        check(driver)?;
        let name = &driver.name;
        if !seen.insert(name) {
            return Err(DriverError::Twice(name.clone()));
        }
        names += &format!("{name}\n");
        let path = |directory: &str| format!("/etc/{directory}/coreos-bake-{name}.conf");
        if driver.load {
            files.push(file(
                &path("modules-load.d"),
                0o644,
                format!("{name}\n").as_bytes(),
                None,
            ));
        }
        let lines = modprobe_lines(driver);
        if !lines.is_empty() {
            files.push(file(&path("modprobe.d"), 0o644, lines.as_bytes(), None));
        }
    }
    files.push(file(NAMES_PATH, 0o644, names.as_bytes(), None));
    files.push(file(VERIFY_PATH, 0o755, VERIFY.as_bytes(), None));
    let firmware: Vec<&Firmware> = drivers.iter().flat_map(|driver| &driver.firmware).collect();
    let (more, mut units) = firmware::parts(&firmware)?;
    files.extend(more);
    units.push(unit(VERIFY_UNIT, Some(true), Some(VERIFY_SERVICE)));
    Ok(config(files, units)?)
}

fn modprobe_lines(driver: &Driver) -> String {
    let mut lines = String::new();
    if !driver.options.is_empty() {
        lines += &format!("options {} {}\n", driver.name, driver.options.join(" "));
    }
    if !driver.after.is_empty() {
        let after: Vec<&str> = driver.after.iter().map(DriverName::as_str).collect();
        lines += &format!("softdep {} pre: {}\n", driver.name, after.join(" "));
    }
    for other in &driver.instead_of {
        // modprobe by name goes past a blacklist; an install line stops that as well.
        lines += &format!("blacklist {other}\ninstall {other} /bin/false\n");
    }
    lines
}

fn check(driver: &Driver) -> Result<(), DriverError> {
    let name = &driver.name;
    if driver.instead_of.contains(name) {
        return Err(DriverError::InsteadOfItself(name.clone()));
    }
    let is_after = |other: &DriverName| driver.after.contains(other);
    if is_after(name) || driver.instead_of.iter().any(is_after) {
        return Err(DriverError::After(name.clone()));
    }
    // A backslash would continue the line.
    let is_word = |option: &&String| {
        !option.is_empty()
            && option
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '\\' && c != '#')
    };
    match driver.options.iter().find(|option| !is_word(option)) {
        Some(option) => Err(DriverError::Option {
            driver: name.clone(),
            option: option.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::firmware::FIRMWARE_MAX_BYTES;
    use super::*;
    use crate::ignition::{content, validate};
    use bake_referee as referee;

    fn name(text: &str) -> DriverName {
        text.parse().unwrap()
    }

    fn named(text: &str) -> Driver {
        Driver::named(name(text))
    }

    fn paths(config: &Value) -> Vec<&str> {
        let files = config["storage"]["files"].as_array().unwrap();
        files
            .iter()
            .map(|file| file["path"].as_str().unwrap())
            .collect()
    }

    fn text(config: &Value, path: &str) -> String {
        let files = config["storage"]["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == path).unwrap();
        String::from_utf8(content(&file["contents"], 1 << 20).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn a_driver_gets_only_the_files_that_it_needs() {
        let plain = fragment(&[named("megaraid_sas")]).unwrap();
        assert_eq!(paths(&plain), [NAMES_PATH, VERIFY_PATH]);
        assert_eq!(plain["ignition"]["version"], "3.2.0");

        let more = Driver {
            load: true,
            options: vec!["a=1".to_owned(), "b=x,y".to_owned()],
            instead_of: vec![name("old-driver")],
            after: vec![name("first"), name("second")],
            ..named("new")
        };
        let more = fragment(&[more, named("other")]).unwrap();
        assert_eq!(
            paths(&more),
            [
                "/etc/modules-load.d/coreos-bake-new.conf",
                "/etc/modprobe.d/coreos-bake-new.conf",
                NAMES_PATH,
                VERIFY_PATH
            ]
        );
        assert_eq!(text(&more, NAMES_PATH), "new\nother\n");
        assert_eq!(named_in(&more), [name("new"), name("other")]);
        assert!(named_in(&Value::Null).is_empty());
        assert_eq!(
            text(&more, "/etc/modprobe.d/coreos-bake-new.conf"),
            "options new a=1 b=x,y\nsoftdep new pre: first second\nblacklist old_driver\ninstall old_driver /bin/false\n"
        );
    }

    #[test]
    fn nothing_gets_outside_of_its_line() {
        for option in ["", "a b", "a\nb", "a=1\\", "a#"] {
            let driver = Driver {
                options: vec![option.to_owned()],
                ..named("a")
            };
            assert!(
                matches!(fragment(&[driver]), Err(DriverError::Option { .. })),
                "{option:?}"
            );
        }
        let twice = [named("a-b"), named("a_b")];
        assert!(matches!(fragment(&twice), Err(DriverError::Twice(_))));
        let itself = Driver {
            instead_of: vec![name("a-b")],
            ..named("a_b")
        };
        assert!(matches!(
            fragment(&[itself]),
            Err(DriverError::InsteadOfItself(_))
        ));
    }

    #[test]
    fn drivers_wait_for_others_only() {
        for (after, instead_of) in [("a-b", None), ("c", Some("c"))] {
            let driver = Driver {
                after: vec![name(after)],
                instead_of: instead_of.map(name).into_iter().collect(),
                ..named("a_b")
            };
            assert!(
                matches!(fragment(&[driver]), Err(DriverError::After(_))),
                "{after}"
            );
        }
    }

    #[test]
    fn firmware_is_below_its_directory_and_the_kernel_is_told_first() {
        let with = |files: &[(&str, usize)]| {
            let firmware = files.iter().map(|(name, bytes)| Firmware {
                name: name.to_string(),
                content: vec![b'x'; *bytes],
            });
            fragment(&[Driver {
                firmware: firmware.collect(),
                ..named("a")
            }])
        };
        let good = with(&[("acme/nic-1.bin", 3), ("b.fw", FIRMWARE_MAX_BYTES - 3)]).unwrap();
        assert_eq!(
            text(&good, "/etc/coreos-bake/firmware/acme/nic-1.bin"),
            "xxx"
        );
        assert_eq!(
            good["systemd"]["units"][0]["name"],
            "coreos-bake-firmware.service"
        );
        for bad in [
            "", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "a\nb",
        ] {
            let error = with(&[(bad, 1)]).unwrap_err();
            assert!(
                matches!(error, DriverError::Firmware(FirmwareError::Name(_))),
                "{bad:?}"
            );
        }
        for (bad, what) in [
            (
                &[("a", 1), ("a", 1)][..],
                "firmware a is there twice, or is a directory of another one",
            ),
            (
                &[("a/b", 1), ("a", 1)],
                "firmware a is there twice, or is a directory of another one",
            ),
            (&[("a", 0)], "firmware a is empty"),
            (
                &[("a", FIRMWARE_MAX_BYTES), ("b", 1)],
                "the firmware files have 1048577 bytes, and 1048576 can be carried outside of an image",
            ),
        ] {
            assert_eq!(with(bad).unwrap_err().to_string(), what);
        }
    }

    /// The script on this machine, with all that it writes elsewhere.
    #[test]
    fn the_script_tells_what_is_loaded() {
        let mut loaded = std::fs::read_dir("/sys/module").unwrap();
        let loaded = loaded.next().unwrap().unwrap().file_name();
        let loaded = loaded.into_string().unwrap();
        for (names, is_good, state) in [
            (loaded.clone(), true, format!("driver.{loaded}=loaded")),
            (
                "no_such_driver".to_owned(),
                false,
                "driver.no_such_driver=missing".to_owned(),
            ),
        ] {
            let scratch = tempfile::tempdir().unwrap();
            let root = scratch.path().to_str().unwrap();
            std::fs::create_dir_all(format!("{root}/etc/coreos-bake")).unwrap();
            std::fs::write(format!("{root}{NAMES_PATH}"), format!("{names}\n")).unwrap();
            let script = VERIFY
                .replace("/etc/coreos-bake", &format!("{root}/etc/coreos-bake"))
                .replace("\"/run/", &format!("\"{root}/run/"))
                .replace("=/run/", &format!("={root}/run/"));
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(output.status.success(), is_good, "{names}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                said.starts_with(&format!("coreos-bake: {names} ")),
                "{said}"
            );
            let report = std::fs::read_to_string(format!("{root}/run/coreos-bake/driver-check"));
            let report = report.unwrap();
            let lines: Vec<&str> = report.lines().collect();
            assert!(lines[0].starts_with("kernel=") && lines[1].starts_with("image="));
            assert_eq!(lines[2..], [state]);
            for place in ["motd", "issue"] {
                let told = format!("{root}/run/{place}.d/50_coreos-bake.{place}");
                assert_eq!(std::fs::exists(told).unwrap(), !is_good, "{names}");
            }
        }
    }

    #[test]
    fn ignition_takes_it_and_shellcheck_finds_nothing() {
        let driver = Driver {
            load: true,
            options: vec!["a=1".to_owned()],
            firmware: vec![Firmware {
                name: "a.bin".to_owned(),
                content: vec![0, 255],
            }],
            ..named("a")
        };
        let config = fragment(&[driver]).unwrap();
        assert_eq!(validate(&config).unwrap().findings, []);
        for (tool, arguments, input) in [
            ("ignition-validate", &["-"][..], config.to_string()),
            ("shellcheck", &["-"], VERIFY.to_owned()),
        ] {
            if !referee::have(tool) {
                continue;
            }
            let mut child = Command::new(tool)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
            let output = child.wait_with_output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(
                output.status.success(),
                "{tool}: {}",
                String::from_utf8_lossy(&said)
            );
            assert_eq!(String::from_utf8_lossy(&said), "", "{tool}");
        }
    }
}
