//! What every live medium has, be it an ISO or a PXE set.

use crate::tree::Content;

/// Kernel, initramfs and root file system as PXE has them too.
#[derive(Clone, Debug)]
pub struct Payload {
    /// `images/pxeboot/vmlinuz`
    pub kernel: Content,
    /// `images/pxeboot/initrd.img`
    pub initrd: Content,
    /// `images/pxeboot/rootfs.img`
    pub rootfs: Content,
}
