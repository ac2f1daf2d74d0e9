//! Whether a customization can be done, before there is anything to do it to.
//!
//! coreos-installer itself judges, on the smallest initramfs that it takes for a live one. What only an OS
//! image can tell, such as that it has no room for network settings, is found later.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Error, Result};
use libcoreinst::cmdline::PxeCustomizeConfig;
use libcoreinst::io::Initrd;
use libcoreinst::live;

use super::{Customization, utf8, with_hint};
use crate::failure::Failure;
use crate::foreign::check_arguments;
use crate::netboot::is_device;
use crate::readback::{FEATURES, INITRAMFS_STAMP};

/// Here, everything (coreos-installer 0.27.0 `src/live/customize.rs`).
const ALL_FEATURES: &str = r#"{
    "installer-config": true,
    "installer-config-directives": { "console": true },
    "live-initrd-network": true
}"#;

/// In front of each certificate; Ignition takes nothing else.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// As much of a file as a certificate is looked for in; all that Mozilla trusts have 250 KiB.
const CERTIFICATES_MAX_BYTES: u64 = 16 << 20;

/// What the library says of a customized PXE set besides. The boot files that are written have them.
const PXE_ADVICE: [&str; 2] = [
    "PXE configuration must include kernel arguments:",
    "ignition.firstboot ignition.platform.id=metal",
];

impl Customization {
    /// Refuses what could not be put on media: kernel arguments that a boot loader would misread, files that are not there or not what they have to be, a
    /// device that is none, more than the `area_bytes` that an ISO has room for. Returns what
    /// coreos-installer has to say besides.
    ///
    /// # Errors
    /// One that names the option or the file.
    pub fn check(&self, area_bytes: Option<u64>) -> Result<Vec<String>> {
        // What is deleted is looked for, and written nowhere.
        for (option, arguments) in [
            ("--live-karg-append", &self.live_karg_append),
            ("--dest-karg-append", &self.common.dest_karg_append),
        ] {
            check_arguments(option, arguments)?;
        }
        if !self.changes_initrd() {
            return Ok(Vec::new());
        }
        for (option, path) in self.files() {
            check_file(Path::new(path))
                .map_err(|error| error.context(format!("--{option} {path}")))?;
        }
        for path in &self.common.ignition_ca {
            let mut text = Vec::new();
            File::open(path)
                .and_then(|file| file.take(CERTIFICATES_MAX_BYTES).read_to_end(&mut text))
                .with_context(|| format!("reading {path}"))?;
            if !text.windows(PEM.len()).any(|window| window == PEM) {
                return Err(Error::msg(format!(
                    "--ignition-ca {path} has no certificate in PEM"
                )));
            }
        }
        if let Some(device) = &self.common.dest_device
            && !is_device(device)
        {
            return Err(Failure::new(
                format!("--dest-device {device} is not a path below /dev"),
                "give a path such as /dev/sda or /dev/disk/by-id/…",
            )
            .into());
        }
        let place = tempfile::tempdir().context("making a scratch directory")?;
        let (plain, customized) = (place.path().join("plain"), place.path().join("customized"));
        let mut initrd = Initrd::default();
        initrd.add(INITRAMFS_STAMP, b"any".to_vec());
        initrd.add(FEATURES, ALL_FEATURES.into());
        let bytes = initrd.to_bytes()?;
        fs::write(&plain, &bytes).context("writing a scratch file")?;
        let config = PxeCustomizeConfig {
            common: self.common(),
            output: utf8(&customized)?,
            input: utf8(&plain)?,
        };
        let (applied, said) = overheard(|| live::pxe_customize(config))?;
        applied.context("trying the customization")?;
        let added = fs::metadata(&customized)?.len() - bytes.len() as u64;
        if let Some(area) = area_bytes.filter(|area| added > *area) {
            return Err(with_hint(Error::msg(format!(
                "{}: {added} > {area}",
                super::TOO_LARGE
            ))));
        }
        Ok(said)
    }

    /// The files that options name.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let c = &self.common;
        let lists = [
            ("dest-ignition", &c.dest_ignition),
            ("network-keyfile", &c.network_keyfile),
            ("network-nmstate", &c.network_nmstate),
            ("ignition-ca", &c.ignition_ca),
            ("pre-install", &c.pre_install),
            ("post-install", &c.post_install),
            ("installer-config", &c.installer_config),
            ("live-ignition", &c.live_ignition),
        ];
        lists
            .into_iter()
            .flat_map(|(option, paths)| paths.iter().map(move |path| (option, path)))
    }
}

fn check_file(path: &Path) -> Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Err(Error::msg("it is a directory"));
    }
    File::open(path)?;
    Ok(())
}

/// Runs `work`, and keeps what the library prints meanwhile from standard error: it knows nothing of `--quiet`
/// or of machines that read there. Its lines, without advice that is followed anyway.
pub(super) fn overheard<T>(work: impl FnOnce() -> T) -> Result<(T, Vec<String>)> {
    /// Gives standard error back, also when the work panics.
    struct Restore(OwnedFd);
    impl Drop for Restore {
        fn drop(&mut self) {
            // Without it nobody could be told.
            let _ = rustix::stdio::dup2_stderr(&self.0);
        }
    }
    std::io::stderr()
        .flush()
        .context("writing to standard error")?;
    let heard = tempfile::NamedTempFile::new().context("making a scratch file")?;
    let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0)
        .context("keeping standard error")?;
    let restore = Restore(before);
    rustix::stdio::dup2_stderr(heard.as_file()).context("redirecting standard error")?;
    let done = work();
    drop(restore);
    let text = fs::read(heard.path()).context("reading a scratch file")?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !PXE_ADVICE.contains(line));
    Ok((
        done,
        lines
            .map(|line| line.trim_end_matches('.').to_owned())
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        customization: Customization,
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn file(&self, name: &str, content: &str) -> String {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        }
    }

    fn check(words: &[&str], area: Option<u64>) -> Result<Vec<String>, String> {
        let options = Options::parse_from([&["bake"], words].concat());
        options
            .customization
            .check(area)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_can_be_done_is_not_refused() {
        let place = Place(tempfile::tempdir().unwrap());
        let ignition = place.file("a.ign", r#"{"ignition":{"version":"3.2.0"}}"#);
        let keyfile = place.file("eth0.nmconnection", "[connection]\nid=eth0\n");
        let said = check(
            &[
                "--dest-ignition",
                &ignition,
                "--live-ignition",
                &ignition,
                "--dest-device",
                "/dev/disk/by-id/x",
                "--network-keyfile",
                &keyfile,
                "--dest-console",
                "ttyS0,115200n8",
                "--dest-karg-append",
                "nosmt",
            ],
            Some(256 << 10),
        );
        assert!(said.is_ok(), "{said:?}");
        assert_eq!(
            check(&["--live-karg-append", "quiet"], None),
            Ok(Vec::new())
        );
    }

    #[test]
    fn what_cannot_be_done_is_told_with_its_name() {
        let place = Place(tempfile::tempdir().unwrap());
        let text = place.file("text", "01:00.0 RAID bus controller\n");
        let old = place.file("old.ign", r#"{"ignition":{"version":"2.2.0"}}"#);
        let directory = place.0.path().to_str().unwrap();
        let missing = format!("{directory}/nosuch");
        for option in [
            "dest-ignition",
            "live-ignition",
            "network-keyfile",
            "network-nmstate",
            "ignition-ca",
            "pre-install",
            "post-install",
            "installer-config",
        ] {
            let option = format!("--{option}");
            let said = check(&[&option, &missing], None).unwrap_err();
            assert!(
                said.starts_with(&format!("{option} {missing}: No such file")),
                "{said}"
            );
            let said = check(&[&option, directory], None).unwrap_err();
            assert_eq!(said, format!("{option} {directory}: it is a directory"));
        }
        for (words, complaint) in [
            (["--dest-ignition", &text], text.as_str()),
            (["--live-ignition", &text], &text),
            (["--dest-ignition", &old], &old),
            (["--network-nmstate", &text], "nmstate"),
            (["--ignition-ca", &text], "has no certificate in PEM"),
            (["--installer-config", &text], &text),
            (
                ["--dest-device", "sda"],
                "--dest-device sda is not a path below /dev",
            ),
            (["--dest-device", "/dev/"], "is not a path below /dev"),
            (
                ["--dest-karg-append", "a;b"],
                "--dest-karg-append: \"a;b\" can't be a kernel argument",
            ),
            (
                ["--live-karg-append", "a b"],
                "--live-karg-append: \"a b\" is not one kernel argument",
            ),
        ] {
            let said = check(&words, None).unwrap_err();
            assert!(said.contains(complaint), "{words:?}: {said}");
        }
    }

    #[test]
    fn what_an_iso_has_no_room_for_is_told() {
        let place = Place(tempfile::tempdir().unwrap());
        // What doesn't compress.
        let noise: String = (0..20_000u64)
            .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let script = place.file("hook", &noise);
        let words = ["--pre-install", &script];
        assert_eq!(check(&words, None), Ok(Vec::new()));
        let said = check(&words, Some(64 << 10)).unwrap_err();
        assert!(
            said.contains("larger, compressed, than the ISO's room"),
            "{said}"
        );
    }
}
