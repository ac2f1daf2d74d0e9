//! Lines for dnsmasq, which sends machines from their firmware to iPXE.
//!
//! Source: dnsmasq(8).

use std::fmt::{self, Write};
use std::net::Ipv4Addr;
use std::str::FromStr;

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
