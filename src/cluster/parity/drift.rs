//! Files that a Containerfile writes and the rendered MachineConfig has, too.
//!
//! The Containerfile's lines are run after the MachineConfig was put into the image. The daemon compares content
//! and mode of each file, unit and drop-in of the MachineConfig with what a node has, and takes a node that
//! differs out of service (machine-config-operator pkg/daemon/on_disk_validation.go@7ff337a4f). Whether a node gets
//! the image's file at all is decided by ostree's merge of `/etc`: one that the node has changed stays
//! (ostree-admin-upgrade(1); for nodes of a pool, an assumption). Neither is what the Containerfile was meant for.

use std::fmt;

use serde_json::Value;

use crate::containerfile::{Becomes, FileChange, UnitChange, contents};
use crate::foreign::visible;
use crate::ignition::content;

/// Files that the daemon doesn't compare: it writes them itself, from elsewhere.
const SKIPPED: [&str; 3] = [
    "/etc/kubernetes/kubelet-ca.crt",
    "/etc/kubernetes/static-pod-resources/configmaps/cloud-config/ca-bundle.pem",
    "/etc/mco/internal-registry-pull-secret.json",
];
/// Where units are.
const UNITS: &str = "/etc/systemd/system";
/// The mode of a file that the MachineConfig gives none, of units, and of what a `COPY` writes.
const MODE: u64 = 0o644;
/// Most bytes of a file in a MachineConfig that are compared; all of one has less.
const CONTENT_MAX_BYTES: usize = 4 << 20;

/// Something that a Containerfile does to what the MachineConfig has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Line of the Containerfile, from one.
    pub line: u32,
    /// The file's path, or the unit's name.
    pub what: String,
    /// What it does.
    pub how: How,
}

/// What a Containerfile does to what the MachineConfig has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It removes it.
    Removes,
    /// It writes something else.
    Differs,
    /// It writes the same with mode 0644, and the MachineConfig has another.
    Mode(u64),
    /// It makes a link of it.
    Links,
    /// It writes it, and the text does not tell with what: the bytes have to be the same.
    Writes,
    /// It switches a unit the other way, with this verb.
    Switches(&'static str),
}

impl fmt::Display for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, what) = (self.line, visible(&self.what));
        let how = match self.how {
            How::Removes => "removes it".to_owned(),
            How::Differs => "writes something else".to_owned(),
            How::Mode(mode) => format!("writes it with mode 0644 instead of {mode:04o}"),
            How::Links => "makes a link of it".to_owned(),
            How::Writes => "writes it, which has to be the same, byte for byte".to_owned(),
            How::Switches(verb) => format!("switches it the other way (systemctl {verb})"),
        };
        write!(out, "{what} is of the MachineConfig, and line {line} {how}")
    }
}

/// A file of the MachineConfig.
struct Managed<'a> {
    path: String,
    mode: u64,
    text: Text<'a>,
}

/// What is in it.
enum Text<'a> {
    /// As the config has it: a resource.
    Resource(&'a Value),
    Plain(&'a str),
    /// It is a link to nowhere.
    Masked,
}

/// What of `containerfile` nodes of a pool with the rendered MachineConfig `rendered`, an object, would not
/// keep, or stumble over; by lines. Paths are compared as they are written.
pub fn drift(containerfile: &str, rendered: &Value) -> Vec<Drift> {
    let contents = contents(containerfile.as_bytes());
    let config = &rendered["spec"]["config"];
    let files = managed(config);
    let of_files = files.iter().filter_map(|file| {
        let mut changes = contents.files.iter();
        let last = changes.rfind(|change| change.touches(&file.path))?;
        let how = file.compared(last)?;
        Some(Drift {
            line: last.line,
            what: file.path.clone(),
            how,
        })
    });
    let of_units = units(config).filter_map(|unit| {
        let name = unit["name"].as_str()?;
        let is_on = unit["enabled"].as_bool()?;
        // The daemon looks only at those that have a text of their own.
        unit["contents"].as_str().filter(|text| !text.is_empty())?;
        let mut changes = contents.units.iter();
        let last: &UnitChange = changes.rfind(|change| change.name == name)?;
        let is_other = match last.verb {
            "enable" => !is_on,
            "disable" | "mask" => is_on,
            _ => false,
        };
        is_other.then(|| Drift {
            line: last.line,
            what: name.to_owned(),
            how: How::Switches(last.verb),
        })
    });
    let mut found: Vec<Drift> = of_files.chain(of_units).collect();
    found.sort_by(|a, b| (a.line, &a.what).cmp(&(b.line, &b.what)));
    found
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn units(config: &Value) -> impl Iterator<Item = &Value> {
    items(&config["systemd"]["units"])
}

fn managed(config: &Value) -> Vec<Managed<'_>> {
    let files = items(&config["storage"]["files"]).filter_map(|file| {
        let path = file["path"].as_str()?;
        let managed = Managed {
            path: path.to_owned(),
            mode: file["mode"].as_u64().unwrap_or(MODE),
            text: Text::Resource(&file["contents"]),
        };
        (!SKIPPED.contains(&path)).then_some(managed)
    });
    let mut all: Vec<Managed<'_>> = files.collect();
    for unit in units(config) {
        let Some(name) = unit["name"].as_str() else {
            continue;
        };
        let mut add = |path: String, text| {
            all.push(Managed {
                path,
                mode: MODE,
                text,
            });
        };
        if let Some(text) = unit["contents"].as_str().filter(|text| !text.is_empty()) {
            let text = match unit["mask"] == true {
                true => Text::Masked,
                false => Text::Plain(text),
            };
            add(format!("{UNITS}/{name}"), text);
        }
        for part in items(&unit["dropins"]) {
            let text = part["contents"].as_str().filter(|text| !text.is_empty());
            if let (Some(file), Some(text)) = (part["name"].as_str(), text) {
                add(format!("{UNITS}/{name}.d/{file}"), Text::Plain(text));
            }
        }
    }
    all
}

impl Managed<'_> {
    /// What is other once `change` is made.
    fn compared(&self, change: &FileChange) -> Option<How> {
        let is_masked = matches!(self.text, Text::Masked);
        match &change.becomes {
            Becomes::Removed => Some(How::Removes),
            Becomes::Written => Some(How::Writes),
            // Where it leads to is not looked at.
            Becomes::Link => (!is_masked).then_some(How::Links),
            Becomes::Text(text) => {
                let is_same = match &self.text {
                    Text::Plain(wanted) => text == wanted,
                    Text::Masked => false,
                    Text::Resource(resource) => match content(resource, CONTENT_MAX_BYTES) {
                        Ok(wanted) => text.as_bytes() == wanted.unwrap_or_default(),
                        Err(_) => return Some(How::Writes),
                    },
                };
                match is_same {
                    true => (self.mode != MODE).then_some(How::Mode(self.mode)),
                    // A variable in it becomes something when it is built.
                    false if text.contains('$') => Some(How::Writes),
                    false => Some(How::Differs),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ignition::resource;

    /// As the render controller makes it; the names are those of a real pool.
    fn rendered() -> Value {
        let file = |path: &str, mode: u64, text: &str| json!({ "path": path, "mode": mode, "overwrite": true, "contents": resource(text.as_bytes(), None) });
        let long = "server ntp.example.com iburst\n".repeat(40);
        json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
            "metadata": { "name": "rendered-worker-e39eee3771466e921ddb6e3b77ab3d22" },
            "spec": {
                "osImageURL": "quay.io/a@sha256:1", "kernelType": "default", "extensions": [],
                "config": {
                    "ignition": { "version": "3.5.0" },
                    "storage": { "files": [
                        file("/etc/chrony.conf", 0o644, &long),
                        file("/etc/sysctl.d/inotify.conf", 0o644, "fs.inotify.max_user_watches = 65536\n"),
                        file("/etc/crio/crio.conf.d/00-default", 0o600, "[crio]\n"),
                        file("/etc/kubernetes/kubelet-ca.crt", 0o644, "ca\n"),
                        file("/usr/local/bin/nm-clean.sh", 0o755, "#!/bin/sh\n"),
                    ]},
                    "systemd": { "units": [
                        { "name": "kubelet.service", "enabled": true, "contents": "[Unit]\n",
                          "dropins": [{ "name": "10-mco.conf", "contents": "[Service]\n" }, { "name": "20-none.conf", "contents": "" }] },
                        { "name": "zincati.service", "mask": true, "contents": "# off\n" },
                        { "name": "crio.service", "dropins": [{ "name": "10-mco.conf", "contents": "[Unit]\n" }] },
                        { "name": "gcp-routes.service", "enabled": false, "contents": "[Unit]\n" },
                    ]},
                },
            },
        })
    }

    fn found(lines: &str) -> Vec<String> {
        let containerfile = format!("FROM configs AS final\n{lines}\n");
        let found = drift(&containerfile, &rendered()).into_iter();
        found.map(|drift| drift.to_string()).collect()
    }

    #[test]
    fn what_the_machine_config_has_too_is_found() {
        for (lines, expected) in [
            (
                "COPY --from=a /chrony.conf /etc/chrony.conf",
                "/etc/chrony.conf is of the MachineConfig, and line 2 writes it, which",
            ),
            (
                "RUN echo a > /etc/sysctl.d/inotify.conf",
                "line 2 writes it, which has to be the same, byte for byte",
            ),
            (
                "RUN sed -i s/a/b/ /etc/chrony.conf",
                "line 2 writes it, which",
            ),
            (
                "RUN rm -rf /etc/sysctl.d",
                "/etc/sysctl.d/inotify.conf is of the MachineConfig, and line 2 removes it",
            ),
            (
                "RUN ln -sf /usr/share/a /etc/chrony.conf",
                "line 2 makes a link of it",
            ),
            (
                "COPY <<EOF /etc/sysctl.d/inotify.conf\nfs.inotify.max_user_watches = 1\nEOF",
                "line 2 writes something else",
            ),
            (
                "COPY <<EOF /etc/sysctl.d/inotify.conf\nfs.inotify.max_user_watches = $MANY\nEOF",
                "line 2 writes it, which",
            ),
            (
                "COPY <<EOF /etc/crio/crio.conf.d/00-default\n[crio]\nEOF",
                "line 2 writes it with mode 0644 instead of 0600",
            ),
            (
                "COPY --from=a /x /etc/systemd/system/kubelet.service.d/10-mco.conf",
                "kubelet.service.d/10-mco.conf is of",
            ),
            (
                "RUN true\nRUN systemctl disable kubelet",
                "kubelet.service is of the MachineConfig, and line 3 switches it the other way (systemctl disable)",
            ),
            (
                "RUN systemctl enable gcp-routes.service",
                "gcp-routes.service is of",
            ),
            (
                "RUN rm /etc/systemd/system/zincati.service",
                "zincati.service is of the MachineConfig, and line 2 removes it",
            ),
        ] {
            let found = found(lines);
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert!(found[0].contains(expected), "{lines}: {found:?}");
        }
    }

    #[test]
    fn what_nodes_keep_is_not() {
        for lines in [
            "COPY <<EOF /etc/sysctl.d/inotify.conf\nfs.inotify.max_user_watches = 65536\nEOF",
            // The last one counts.
            "RUN rm /etc/sysctl.d/inotify.conf\nCOPY <<EOF /etc/sysctl.d/inotify.conf\nfs.inotify.max_user_watches = 65536\nEOF",
            "COPY --from=a /b /etc/other.conf",
            "COPY --from=a /b /etc/kubernetes/kubelet-ca.crt",
            // In /var, which is the node's own.
            "COPY --from=a /b /usr/local/bin/nm-clean.sh",
            "RUN mkdir -p /etc/sysctl.d && systemctl enable kubelet && systemctl daemon-reload",
            "RUN ln -sf /dev/null /etc/systemd/system/zincati.service",
            "COPY --from=a /b /etc/systemd/system/kubelet.service.d/20-none.conf",
            "RUN systemctl disable crio",
        ] {
            assert_eq!(found(lines), Vec::<String>::new(), "{lines}");
        }
        // Another stage is another image.
        let other =
            "FROM a AS b\nRUN rm /etc/chrony.conf\nFROM configs\nCOPY --from=b /x /usr/bin/x\n";
        assert_eq!(drift(other, &rendered()), Vec::new());
        for damaged in [
            json!(null),
            json!({ "spec": { "config": { "storage": { "files": [1, { "path": 2 }, { "path": "/etc/chrony.conf", "contents": 3 }] }, "systemd": { "units": [{ "name": 1 }, "x"] } } } }),
        ] {
            drift("FROM configs\nRUN rm /etc/chrony.conf\n", &damaged);
        }
    }
}
