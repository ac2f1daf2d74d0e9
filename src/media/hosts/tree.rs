//! A tree for network boot, for web and TFTP servers that know nothing of hosts.
//!
//! ```text
//! boot.ipxe                    sends iPXE on to ipxe/52-54-00-12-34-56.ipxe
//! pxelinux.cfg/01-52-54-…      PXELINUX, in the directory that pxelinux.0 came from
//! grub.cfg-01-52-54-…          GRUB, in its prefix
//! overlay/HOST.img             loaded after the common initramfs
//! ignition/HOST.ign
//! ```

use anyhow::{Result, bail};

use super::{Content, HostFile};
use crate::failure::Failure;
use crate::foreign::check_arguments;
use crate::foreign::is_plain;
use crate::hosts::Host;
use crate::kernel::COMMAND_LINE_MAX_BYTES;
use crate::netboot::{Boot, Menu, by_mac, check_base, names_of};
use crate::record::{self, Record};

/// The common part of a tree.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    title: String,
    live_kargs: Vec<String>,
    url: &'a str,
    kernel: &'a str,
    initramfs: &'a str,
    rootfs: &'a str,
}

impl<'a> Tree<'a> {
    /// A tree that machines find at `url`.
    pub(super) fn new(record: &'a Record, url: &'a str) -> Result<Self> {
        let url = url.trim_end_matches('/');
        check_base(url)?;
        let files = record.network_boot().map_err(|role| {
            Failure::new(
                format!("the bake has no {role} to boot over the network"),
                "bake with `-f pxe`",
            )
        })?;
        let [kernel, initramfs, rootfs] = files.map(|file| file.name.as_str());
        let tree = Self {
            title: record.title(),
            live_kargs: record.live_kargs(),
            url,
            kernel,
            initramfs,
            rootfs,
        };
        check_arguments(record::NAME, &tree.live_kargs)?;
        for name in [tree.kernel, tree.initramfs, tree.rootfs] {
            if !is_plain(name) {
                return Err(Failure::new(
                    format!("{name:?} can't be a word of a boot loader's text"),
                    "bake with a --prefix of letters, digits and ._-+~",
                )
                .into());
            }
        }
        Ok(tree)
    }

    /// Names of the large files, which the tree needs beside it.
    pub(super) fn payload(&self) -> [(&'a str, &'static str); 3] {
        [
            (self.kernel, "kernel"),
            (self.initramfs, "initramfs"),
            (self.rootfs, "rootfs"),
        ]
    }

    /// The script that sends each machine to its own.
    pub(super) fn entry(&self) -> (HostFile, Content) {
        (file("boot.ipxe", None, "config"), text(by_mac(self.url)))
    }

    /// The files of `host`, with an initramfs of its own if it needs one.
    pub(super) fn host(&self, host: &Host) -> Result<Vec<(HostFile, Content)>> {
        let (url, name) = (self.url, &host.name);
        let overlay_name = host.needs_overlay().then(|| format!("overlay/{name}.img"));
        let ignition_name = format!("ignition/{name}.ign");
        let ignition_url = format!("{url}/{ignition_name}");
        let rootfs_url = format!("{url}/{}", self.rootfs);
        let boot = Boot {
            common: &self.live_kargs,
            own: &host.kargs,
            rootfs_url: Some(&rootfs_url),
            disk: host.disk.as_deref(),
            ignition_url: host.ignition.as_ref().map(|_| ignition_url.as_str()),
            overlay: overlay_name.is_some(),
        };
        let bytes = boot.kargs().join(" ").len();
        if bytes >= COMMAND_LINE_MAX_BYTES {
            bail!(
                "host {name:?} has kernel arguments of {bytes} bytes, and kernels take {}",
                COMMAND_LINE_MAX_BYTES - 1
            );
        }
        // Menus add the root file system.
        let rootfs_apart = Boot {
            rootfs_url: None,
            ..boot
        };
        let kargs = rootfs_apart.kargs().join(" ");
        let menu = Menu {
            title: &format!("{} on {name}", self.title),
            kernel: self.kernel,
            initrd: self.initramfs,
            overlay: overlay_name.as_deref(),
            rootfs: self.rootfs,
            rootfs_url: Some(&rootfs_url),
            kargs: &kargs,
        };
        // The script lies in a directory of its own.
        let absolute = |name: &str| format!("{url}/{name}");
        let ipxe = Menu {
            kernel: &absolute(menu.kernel),
            initrd: &absolute(menu.initrd),
            overlay: menu.overlay.map(absolute).as_deref(),
            ..menu
        }
        .ipxe();
        let mut files = Vec::new();
        let own = |path: &str, role: &str| file(path, Some(name), role);
        for mac in &host.macs {
            let texts = [ipxe.clone(), menu.pxelinux(), menu.grub()];
            for (name, script) in names_of(&mac.to_string()).iter().zip(texts) {
                files.push((own(name, "config"), text(script)));
            }
        }
        if let Some(path) = &overlay_name {
            let content = Content::Overlay(Box::new(host.clone()));
            files.push((own(path, "overlay"), content));
        }
        if let Some(path) = &host.ignition {
            let content = Content::Copy(path.clone());
            files.push((own(&ignition_name, "ignition"), content));
        }
        Ok(files)
    }
}

/// A file whose length is found out later.
pub(super) fn file(name: &str, host: Option<&str>, role: &str) -> HostFile {
    HostFile {
        name: name.to_owned(),
        host: host.map(str::to_owned),
        role: role.to_owned(),
        size: 0,
        shares_blocks: None,
    }
}

fn text(text: String) -> Content {
    Content::Bytes(text.into_bytes())
}
