//! What in a pool's manifests has initramfs made anew on nodes.
//!
//! ```text
//! MachineConfig      units and files with rpm-ostree initramfs --enable, or a call of dracut
//! InitramfsModule    of the kernel-module-management operator
//! anything else      texts with the same commands
//! ```
//!
//! rpm-ostree then runs dracut with the deployment's `/usr` and the node's `/etc` and, for images of
//! containers, the arguments that the initramfs was made with, where it can read them there (rpm-ostree
//! d5ef5f0 `rpmostree-sysroot-upgrader.cxx`, `rpmostree-kernel.cxx`).
//!
//! Assumption: an `InitramfsModule` has `rpm-ostree initramfs --enable` run on the nodes it selects. The
//! operator's design says so; there is no such kind yet at kubernetes-sigs/kernel-module-management
//! de3f8c9 and rh-ecosystem-edge/kernel-module-management 0419e2f, where a `Module` leaves initramfs
//! alone.

use serde_json::Value;

use super::machine_config::ROLE_LABEL;
use crate::ignition;
use crate::stages::Rerun;

/// API group of the kernel-module-management operator, and its kind that is about initramfs.
const KMM_GROUP: &str = "kmm.sigs.x-k8s.io/";
const KMM_INITRAMFS: &str = "InitramfsModule";

/// Largest file of a MachineConfig that is read.
const CONTENT_MAX_BYTES: usize = 4 << 20;

/// Deepest nesting of an object that texts are looked for in.
const DEPTH_MAX: usize = 64;

/// What the object, or each object of a list, has run. `file` is where it is from.
pub fn reruns(file: &str, object: &Value) -> Vec<Rerun> {
    let kind = object["kind"].as_str().unwrap_or_default();
    if kind.ends_with("List")
        && let Some(items) = object["items"].as_array()
    {
        return items.iter().flat_map(|item| reruns(file, item)).collect();
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let group = object["apiVersion"].as_str().unwrap_or_default();
    let rerun = |what: String, certain: bool| Rerun {
        what: format!("{kind} {name} in {file} {what}"),
        certain,
    };
    if group.starts_with(KMM_GROUP) && kind == KMM_INITRAMFS {
        let what = "is expected to have rpm-ostree make the initramfs anew".to_owned();
        return vec![rerun(what, false)];
    }
    if kind != "MachineConfig" {
        let command = texts(object, 0).find_map(command);
        let found = command.map(|command| rerun(format!("has a text with {command}"), false));
        return found.into_iter().collect();
    }
    let pool = match object["metadata"]["labels"][ROLE_LABEL].as_str() {
        Some(role) => format!(" on nodes of pool {role}"),
        None => String::new(),
    };
    let config = &object["spec"]["config"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for unit in list(&config["systemd"]["units"]) {
        let own = unit["contents"].as_str().map(str::to_owned);
        let dropins = list(&unit["dropins"]).into_iter();
        let dropins = dropins.filter_map(|dropin| dropin["contents"].as_str().map(str::to_owned));
        let name = unit["name"].as_str().unwrap_or_default();
        let on = unit["enabled"] != false && unit["mask"] != true;
        found.extend(own.into_iter().chain(dropins).filter_map(|text| {
            let command = command(&text)?;
            let certain = on && command == ENABLE;
            Some(rerun(
                format!("runs {command}{pool} (unit {name})"),
                certain,
            ))
        }));
    }
    for entry in list(&config["storage"]["files"]) {
        // What can't be read is somebody else's to complain about.
        let content = ignition::content(&entry["contents"], CONTENT_MAX_BYTES);
        let Ok(Some(bytes)) = content else {
            continue;
        };
        let path = entry["path"].as_str().unwrap_or_default();
        if let Some(command) = command(&String::from_utf8_lossy(&bytes)) {
            let what = format!("brings {path} with {command}{pool}");
            found.push(rerun(what, false));
        }
    }
    found
}

/// The command that has rpm-ostree make the initramfs of every later deployment.
const ENABLE: &str = "rpm-ostree initramfs --enable";

/// The command in a script or a unit that has an initramfs made anew.
fn command(text: &str) -> Option<&'static str> {
    text.lines().find_map(|line| {
        let line = line.trim_start();
        if line.starts_with(['#', ';']) {
            return None;
        }
        let separates = |c: char| c.is_whitespace() || "'\"`()=,[];&|".contains(c);
        let words: Vec<&str> = line
            .split(separates)
            .filter(|word| !word.is_empty())
            .collect();
        let program = |word: &str, name: &str| word.rsplit('/').next() == Some(name);
        words.iter().enumerate().find_map(|(at, word)| {
            let rest = &words[at + 1..];
            let has = |options: &[&str]| rest.iter().any(|word| options.contains(word));
            if program(word, "rpm-ostree") && has(&["initramfs"]) && has(&["--enable"]) {
                return Some(ENABLE);
            }
            let writes = has(&["-f", "--force", "--regenerate-all"]);
            (program(word, "dracut") && writes).then_some("dracut --force")
        })
    })
}

/// All texts in an object.
fn texts(value: &Value, depth: usize) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(values) if depth < DEPTH_MAX => {
            Box::new(values.iter().flat_map(move |value| texts(value, depth + 1)))
        }
        Value::Object(values) if depth < DEPTH_MAX => {
            let values = values.values();
            Box::new(values.flat_map(move |value| texts(value, depth + 1)))
        }
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine_config(unit: Value, file: Value) -> Value {
        json!({
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": { "name": "50-x", "labels": { ROLE_LABEL: "worker" } },
            "spec": { "config": {
                "ignition": { "version": "3.4.0" },
                "systemd": { "units": [unit] },
                "storage": { "files": [file] },
            } },
        })
    }

    #[test]
    fn commands_are_known_in_units_and_scripts() {
        for (text, found) in [
            (
                "ExecStart=/usr/bin/rpm-ostree initramfs --enable\n",
                Some(ENABLE),
            ),
            (
                "[Service]\nExecStart=rpm-ostree initramfs --enable --arg=-v",
                Some(ENABLE),
            ),
            (
                "ExecStart=/bin/sh -c 'rpm-ostree --quiet initramfs --enable'",
                Some(ENABLE),
            ),
            (
                "  command: [\"rpm-ostree\", \"initramfs\", \"--enable\"]",
                Some(ENABLE),
            ),
            ("if dracut -f; then", Some("dracut --force")),
            ("/usr/bin/dracut --regenerate-all", Some("dracut --force")),
            ("# rpm-ostree initramfs --enable", None),
            ("rpm-ostree initramfs --disable", None),
            ("rpm-ostree initramfs-etc --track=/etc/x", None),
            ("rpm-ostree kargs --append=x", None),
            ("dracut --list-modules", None),
            ("After=rpm-ostreed.service\nDescription=no initramfs", None),
        ] {
            assert_eq!(command(text), found, "{text}");
        }
    }

    #[test]
    fn only_units_that_run_are_certain() {
        let run = "[Service]\nExecStart=/usr/bin/rpm-ostree initramfs --enable\n";
        let certain = |unit: Value, file: Value| {
            let found = reruns("a.yaml", &machine_config(unit, file));
            found
                .into_iter()
                .map(|rerun| rerun.certain)
                .collect::<Vec<_>>()
        };
        let none = json!({});
        let unit = json!({ "name": "i.service", "enabled": true, "contents": run });
        assert_eq!(certain(unit, none.clone()), [true]);
        let off = json!({ "name": "i.service", "enabled": false, "contents": run });
        assert_eq!(certain(off, none.clone()), [false]);
        let dropin = json!({ "name": "i.service", "dropins": [{ "name": "a", "contents": run }] });
        assert_eq!(certain(dropin, none.clone()), [true]);
        let source = "data:;base64,cnBtLW9zdHJlZSBpbml0cmFtZnMgLS1lbmFibGUK";
        let script = json!({ "path": "/usr/local/bin/x", "contents": { "source": source } });
        assert_eq!(certain(none.clone(), script), [false]);
        assert_eq!(certain(none.clone(), none), [false; 0]);
    }

    #[test]
    fn the_object_is_named() {
        let unit =
            json!({ "name": "i.service", "contents": "ExecStart=rpm-ostree initramfs --enable" });
        let list = json!({ "kind": "List", "items": [machine_config(unit, json!({}))] });
        let [found] = &reruns("a.yaml", &list)[..] else {
            panic!("one is there");
        };
        assert_eq!(
            found.what,
            "MachineConfig 50-x in a.yaml runs rpm-ostree initramfs --enable on nodes of pool worker \
             (unit i.service)"
        );
        let kmm = |kind| json!({ "apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "kind": kind, "metadata": { "name": "m" } });
        assert_eq!(reruns("a", &kmm("InitramfsModule")).len(), 1);
        assert_eq!(reruns("a", &kmm("Module")), []);
        let daemon = json!({
            "kind": "DaemonSet",
            "spec": { "command": ["sh", "-c", "rpm-ostree initramfs --enable"] },
        });
        assert_eq!(reruns("a", &daemon).len(), 1);
    }
}
