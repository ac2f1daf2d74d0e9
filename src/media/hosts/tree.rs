//! A tree for network boot, for web and TFTP servers that know nothing of hosts.
//!
//! ```text
//! boot.ipxe                    sends iPXE on to ipxe/52-54-00-12-34-56.ipxe
//! pxelinux.cfg/01-52-54-…      PXELINUX, in the directory that pxelinux.0 came from
//! grub.cfg-01-52-54-…          GRUB, in its prefix
//! overlay/HOST.img             loaded after the common initramfs
//! ignition/HOST.ign
//! ```
//!
//! Sources: <https://ipxe.org/cfg/mac>, <https://wiki.syslinux.org/wiki/index.php?title=PXELINUX>, GRUB's
//! manual on `net_default_mac` and configuration files over the network.

use anyhow::{Result, bail};

use super::{Content, HostFile};
use crate::failure::Failure;
use crate::foreign::check_arguments;
use crate::foreign::is_plain;
use crate::hosts::kargs::Boot;
use crate::hosts::{Host, Mac};
use crate::kernel::COMMAND_LINE_MAX_BYTES;
use crate::media::pxe::Menu;
use crate::record::{self, Record};
use crate::url;

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
        url::check_base(url)?;
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
        // The card that iPXE came by, then the first one: a machine may be listed with either.
        let script = format!(
            "#!ipxe\n\
             chain --replace {url}/ipxe/${{netX/mac:hexhyp}}.ipxe ||\n\
             chain --replace {url}/ipxe/${{net0/mac:hexhyp}}.ipxe ||\n\
             echo ${{netX/mac}} is not among the hosts of {url}\n\
             sleep 10\n\
             exit 1\n",
            url = self.url
        );
        (file("boot.ipxe", None, "config"), text(script))
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
            let mac = hyphens(*mac);
            let script = own(&format!("ipxe/{mac}.ipxe"), "config");
            files.push((script, text(ipxe.clone())));
            // 01 is the kind of network, Ethernet.
            let pxelinux = own(&format!("pxelinux.cfg/01-{mac}"), "config");
            files.push((pxelinux, text(menu.pxelinux())));
            let grub = own(&format!("grub.cfg-01-{mac}"), "config");
            files.push((grub, text(menu.grub())));
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

fn hyphens(mac: Mac) -> String {
    mac.to_string().replace(':', "-")
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
