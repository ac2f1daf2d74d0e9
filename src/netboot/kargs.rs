//! What a host's live boot over the network is told: kernel arguments.
//!
//! Source of truth: coreos-installer's `coreos-installer-service` and Ignition's `ignition.config.url`.

/// Arguments that are made from what a host is, so that nobody sets them by hand.
pub const OURS: [&str; 5] = [
    ROOTFS_URL,
    INSTALL_DEVICE,
    INSTALL_IGNITION,
    LIVE_IGNITION,
    "initrd",
];

/// Where a live system fetches its root (fedora-coreos-config `35coreos-live`).
pub const ROOTFS_URL: &str = "coreos.live.rootfs_url";
const INSTALL_DEVICE: &str = "coreos.inst.install_dev";
const INSTALL_IGNITION: &str = "coreos.inst.ignition_url";
const LIVE_IGNITION: &str = "ignition.config.url";

/// Without both, a live system asks for no Ignition config, neither at a URL nor in its initramfs.
pub const RUN_IGNITION: [&str; 2] = ["ignition.firstboot", "ignition.platform.id=metal"];

/// The argument of a live system that fetches its root at `url`.
pub fn rootfs_url(url: &str) -> String {
    format!("{ROOTFS_URL}={url}")
}

/// Whether it is a path below `/dev` that can be a word of a kernel's command line.
pub fn is_device(path: &str) -> bool {
    let odd = |letter: char| letter.is_whitespace() || letter.is_control();
    let name = path.strip_prefix("/dev/");
    let plain =
        name.is_some_and(|name| name.split('/').all(|part| !["", ".", ".."].contains(&part)));
    plain && !path.contains(odd)
}

/// A boot over the network.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The arguments of all hosts.
    pub common: &'a [String],
    /// The host's own.
    pub own: &'a [String],
    /// Where the root file system is fetched, unless somebody else says so.
    pub rootfs_url: Option<&'a str>,
    /// Where to install, if at all.
    pub disk: Option<&'a str>,
    /// Where the Ignition config is fetched: the installed system's, or without `disk` the live one's.
    pub ignition_url: Option<&'a str>,
    /// Whether an initramfs of the host's own is loaded too, which names the disk as well.
    pub overlay: bool,
}

impl Boot<'_> {
    /// All kernel arguments. What is made here replaces what `common` and `own` say under the same key.
    pub fn kargs(&self) -> Vec<String> {
        let mut made = Vec::new();
        made.extend(self.rootfs_url.map(rootfs_url));
        let mut runs_ignition = false;
        match self.disk {
            // The installer takes a device from its configuration or from here, and not from both.
            Some(_) if self.overlay => runs_ignition = true,
            Some(disk) => made.push(format!("{INSTALL_DEVICE}={disk}")),
            None => runs_ignition = self.ignition_url.is_some(),
        }
        if let Some(url) = self.ignition_url {
            let key = match self.disk {
                Some(_) => INSTALL_IGNITION,
                None => LIVE_IGNITION,
            };
            made.push(format!("{key}={url}"));
        }
        let key = |karg: &str| karg.split_once('=').map(|(key, _)| key.to_owned());
        let replaced = |karg: &str| {
            let own = key(karg);
            own.is_some() && made.iter().any(|made| key(made) == own)
        };
        let mut kargs: Vec<String> = self
            .common
            .iter()
            .chain(self.own)
            .flat_map(|karg| karg.split_whitespace())
            .filter(|karg| !replaced(karg))
            .map(str::to_owned)
            .collect();
        if runs_ignition {
            for switch in RUN_IGNITION {
                if !kargs.iter().any(|karg| karg == switch) {
                    kargs.push(switch.to_owned());
                }
            }
        }
        kargs.extend(made);
        kargs
    }
}

#[cfg(test)]
mod tests {
    use super::Boot;

    #[test]
    fn a_boot_is_told_what_its_disk_and_config_are() {
        let common = [
            "console=ttyS0".to_owned(),
            "ignition.platform.id=metal".to_owned(),
        ];
        let own = [
            "quiet".to_owned(),
            "coreos.live.rootfs_url=http://elsewhere".to_owned(),
        ];
        let boot = Boot {
            common: &common,
            own: &own,
            rootfs_url: Some("http://h/r"),
            disk: None,
            ignition_url: None,
            overlay: false,
        };
        let (disk, ignition_url) = (Some("/dev/sda"), Some("http://h/i"));
        const HEAD: &str = "console=ttyS0 ignition.platform.id=metal quiet";
        const ROOT: &str = "coreos.live.rootfs_url=http://h/r";
        for (boot, kargs) in [
            (boot, format!("{HEAD} {ROOT}")),
            (
                Boot {
                    overlay: true,
                    ..boot
                },
                format!("{HEAD} {ROOT}"),
            ),
            (
                Boot {
                    ignition_url,
                    ..boot
                },
                format!("{HEAD} ignition.firstboot {ROOT} ignition.config.url=http://h/i"),
            ),
            (
                Boot { disk, ..boot },
                format!("{HEAD} {ROOT} coreos.inst.install_dev=/dev/sda"),
            ),
            (
                Boot {
                    disk,
                    ignition_url,
                    ..boot
                },
                format!(
                    "{HEAD} {ROOT} coreos.inst.install_dev=/dev/sda coreos.inst.ignition_url=http://h/i"
                ),
            ),
            (
                // The overlay names the disk, and the installer takes one from one place only.
                Boot {
                    disk,
                    ignition_url,
                    overlay: true,
                    ..boot
                },
                format!("{HEAD} ignition.firstboot {ROOT} coreos.inst.ignition_url=http://h/i"),
            ),
            (
                Boot {
                    rootfs_url: None,
                    own: &[],
                    ..boot
                },
                "console=ttyS0 ignition.platform.id=metal".to_owned(),
            ),
        ] {
            assert_eq!(boot.kargs().join(" "), kargs, "{boot:?}");
        }
    }
}
