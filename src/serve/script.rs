//! What boot loaders are told: iPXE scripts, and lines for dnsmasq.
//!
//! Sources: <https://ipxe.org/scripting>, <https://ipxe.org/cmd>; dnsmasq(8). iPXE splits at white
//! space, knows no quotes, and expands `${…}` everywhere.

use std::fmt::{self, Write};
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::directory::Pxe;
use super::hosts::Host;
use super::ticket::Tickets;
use crate::hosts::kargs::Boot;
use crate::url::percent_encoded;

/// The last part of the URLs of what is one host's. No bake has files of these names.
pub(super) const CONFIG: &str = "config.ign";
/// See [`CONFIG`].
pub(super) const OVERLAY: &str = "overlay.img";

/// Sends a machine that did not say who it is to its own script. With colons in it, iPXE would take
/// what is before the first one for a scheme.
pub(super) const ASK_AGAIN: &str = "#!ipxe\nchain --replace boot.ipxe?mac=${netX/mac:hexhyp}\n";

/// Lets the firmware go on with the next device.
pub(super) fn refusal(sentence: &str) -> String {
    format!("#!ipxe\necho {sentence}\nsleep 10\nexit 1\n")
}

/// Boots the disk, in the way that the firmware would. Its name is not for everyone.
pub(super) const INSTALLED: &str =
    "#!ipxe\necho this machine is done, going on with its disk\nexit\n";

/// The script that boots `pxe` from `url`, which has no slash at its end, with the URLs of one boot.
pub(super) fn boot(
    title: &str,
    pxe: &Pxe,
    url: &str,
    tickets: Tickets,
    (name, host): (&str, Option<&Host>),
) -> String {
    let secret = format!("{url}/b/{}", tickets.secret);
    let rootfs = format!(
        "{url}/b/{}/{}",
        tickets.rootfs,
        percent_encoded(&pxe.rootfs)
    );
    let ignition = host
        .filter(|host| host.ignition.is_some())
        .map(|_| format!("{secret}/{CONFIG}"));
    let has_overlay = host.is_some_and(|host| host.overlay.is_some());
    let kargs = Boot {
        common: &pxe.kargs,
        own: host.map_or(&[], |host| &host.kargs),
        rootfs_url: Some(&rootfs),
        disk: host.and_then(|host| host.target_disk.as_deref()),
        ignition_url: ignition.as_deref(),
        overlay: has_overlay,
    }
    .kargs()
    .join(" ");
    // Under UEFI the kernel asks the firmware for each initramfs by the name given here.
    let (names, overlay) = match has_overlay {
        true => (
            "initrd=main initrd=host",
            format!("initrd --name host {secret}/{OVERLAY} || goto failed\n"),
        ),
        false => ("initrd=main", String::new()),
    };
    format!(
        "#!ipxe\n\
         echo Booting {title} as {name}\n\
         kernel {secret}/{kernel} {names} {kargs} || goto failed\n\
         initrd --name main {secret}/{initramfs} || goto failed\n\
         {overlay}\
         boot || goto failed\n\
         :failed\n\
         echo {name} could not boot {title} from {url}\n\
         sleep 10\n\
         exit 1\n",
        kernel = percent_encoded(&pxe.kernel),
        initramfs = percent_encoded(&pxe.initramfs),
    )
}

/// A network of IPv4 that somebody else gives addresses in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: Ipv4Addr,
    /// Without one, dnsmasq takes that of its machine's interface.
    mask: Option<Ipv4Addr>,
}

/// A text that names no such network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network of IPv4 such as 192.168.1.0/24")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    /// Takes `192.168.1.0`, `192.168.1.0/24`, and for the latter any address in it.
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let refused = || NoNetwork(text.chars().take(64).collect());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: Ipv4Addr = address.parse().map_err(|_| refused())?;
        let Some(length) = length else {
            return Ok(Self {
                address,
                mask: None,
            });
        };
        // Longer ones have no room for machines.
        let length = length
            .parse::<u32>()
            .ok()
            .filter(|length| (1..=30).contains(length));
        let mask = Ipv4Addr::from_bits(!0 << (u32::BITS - length.ok_or_else(refused)?));
        Ok(Self {
            address: address & mask,
            mask: Some(mask),
        })
    }
}

impl fmt::Display for Network {
    /// As dnsmasq 2.90 takes a range that it only adds to: `192.168.1.0,proxy,255.255.255.0`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{},proxy", self.address)?;
        match self.mask {
            Some(mask) => write!(out, ",{mask}"),
            None => Ok(()),
        }
    }
}

/// Lines for dnsmasq that send machines from their firmware to iPXE and from there to the server at
/// `url`, beside the DHCP server of `network`.
///
/// iPXE itself comes by TFTP from `tftp_root`, under the names that Debian and ipxe.org use.
pub fn dnsmasq_lines(url: &str, network: &Network, tftp_root: &str) -> String {
    let script = format!("{}/boot.ipxe", url.trim_end_matches('/'));
    let mut lines = format!(
        "# Network boot beside the DHCP server that is there; dnsmasq gives no addresses.\n\
         port=0\n\
         dhcp-range={network}\n\
         enable-tftp\n\
         tftp-root={tftp_root}\n\
         # iPXE says who it is with option 175.\n\
         dhcp-match=set:ipxe,175\n"
    );
    for (kind, loader) in [
        ("x86PC", "undionly.kpxe"),
        ("X86-64_EFI", "ipxe.efi"),
        // Some firmware says so for x86_64.
        ("BC_EFI", "ipxe.efi"),
        ("ARM64_EFI", "ipxe-arm64.efi"),
    ] {
        let _ = writeln!(lines, "pxe-service=tag:!ipxe,{kind},\"iPXE\",{loader}");
    }
    for kind in ["x86PC", "X86-64_EFI", "BC_EFI", "ARM64_EFI"] {
        let _ = writeln!(
            lines,
            "pxe-service=tag:ipxe,{kind},\"coreos-bake\",{script}"
        );
    }
    lines
}
