//! The script that boots a machine by URLs of its own.

use super::directory::Pxe;
use super::hosts::Host;
use super::ticket::Tickets;
use crate::foreign::percent_encoded;
use crate::netboot::{Boot, Single};

/// The last part of the URLs of what is one host's. No bake has files of these names.
pub(super) const CONFIG: &str = "config.ign";
/// See [`CONFIG`].
pub(super) const OVERLAY: &str = "overlay.img";

/// The script that boots `pxe` from `url`, which has no slash at its end, with the URLs of one boot.
pub(super) fn boot(
    title: &str,
    pxe: &Pxe,
    url: &str,
    tickets: Tickets,
    (name, host): (&str, Option<&Host>),
) -> String {
    let secret = |name: &str| format!("{url}/b/{}/{name}", tickets.secret);
    let rootfs = format!(
        "{url}/b/{}/{}",
        tickets.rootfs,
        percent_encoded(&pxe.rootfs)
    );
    let ignition = host
        .filter(|host| host.ignition.is_some())
        .map(|_| secret(CONFIG));
    let overlay = host.filter(|host| host.overlay.is_some());
    let boot = Boot {
        common: &pxe.kargs,
        own: host.map_or(&[], |host| &host.kargs),
        rootfs_url: Some(&rootfs),
        disk: host.and_then(|host| host.target_disk.as_deref()),
        ignition_url: ignition.as_deref(),
        overlay: overlay.is_some(),
    };
    Single {
        title,
        name,
        server: url,
        kernel: &secret(&percent_encoded(&pxe.kernel)),
        initramfs: &secret(&percent_encoded(&pxe.initramfs)),
        overlay: overlay.map(|_| secret(OVERLAY)).as_deref(),
        kargs: &boot.kargs().join(" "),
    }
    .ipxe()
}
