//! What assisted-image-service asks of the ISOs of `osImages` that it downloads at its start: where one
//! fails, the service ends.

use anyhow::Result;

use super::iso::{Iso, KERNEL, Machines, ROOTFS, only, refused};
use super::objection::Objection;
use crate::format::cpio;
use crate::kernel::Files;
use crate::readback::LiveRoot;
use crate::tree::Content;

const STORE: &str = "openshift/assisted-image-service pkg/imagestore/imagestore.go@a55e383";
const NMSTATE: &str = "openshift/assisted-image-service pkg/isoeditor/nmstate_handler.go@a55e383";

/// Names that the service's ISOs begin with.
const VOLUME_IDS: [&str; 3] = ["rhcos-", "fedora-coreos-", "scos-"];

/// What the service takes for cut off, in bytes.
const LEAST_ROOTFS: u64 = 100 << 20;
const LEAST_KERNEL: u64 = 5 << 20;

const S390X_KERNEL: &str = "images/pxeboot/kernel.img";

/// When only some services are concerned.
const FROM_4_18: &str = "the osImages entry is for OpenShift 4.18 or later";
const OLD_SERVICE: &str = "the service is older than 2.49";

impl Iso {
    /// What the service asks of an ISO that it has downloaded.
    pub(super) fn stored(&self) -> Result<Vec<Objection>> {
        let mut found = Vec::new();
        let id = self.reader.volume_id();
        if !VOLUME_IDS.iter().any(|known| id.starts_with(known)) {
            found.push(refused(
                STORE,
                format!(
                    "its volume id {id:?} begins with none of {}",
                    VOLUME_IDS.join(", ")
                ),
                format!("ISO volume identifier ({id}) is invalid"),
            ));
        }
        let kernel = match (self.bytes(KERNEL)?, self.machines) {
            (None, Machines::S390x) => self.bytes(S390X_KERNEL)?,
            (bytes, _) => bytes,
        };
        for (what, bytes, least) in [
            ("rootfs", self.bytes(ROOTFS)?, LEAST_ROOTFS),
            ("kernel", kernel, LEAST_KERNEL),
        ] {
            match bytes {
                None => found.push(refused(
                    STORE,
                    format!("its {what} is missing in images/pxeboot"),
                    format!("{what} not found in ISO"),
                )),
                Some(bytes) if bytes < least => found.push(refused(
                    STORE,
                    format!(
                        "its {what} has {bytes} bytes, and less than {least} are taken for cut off"
                    ),
                    format!("{what} size {bytes} bytes is below minimum {least}"),
                )),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// A program that the service takes out of the live root.
    pub(super) fn nmstatectl(&self) -> Result<Vec<Objection>> {
        let Some(rootfs) = self.reader.file(ROOTFS)? else {
            return Ok(Vec::new());
        };
        let objections = match root_of(&rootfs)? {
            Root::Squashfs(root) if root.system.exists("usr/bin/nmstatectl")? => Vec::new(),
            Root::Squashfs(_) => {
                let missing = refused(
                    NMSTATE,
                    "its live root has no usr/bin/nmstatectl",
                    "failed to extract and cache nmstatectl",
                );
                only(FROM_4_18, vec![missing]).collect()
            }
            Root::Erofs => {
                let unknown = refused(
                    NMSTATE,
                    "its live root is EROFS, which only newer services read",
                    "failed to extract and cache nmstatectl",
                );
                only(OLD_SERVICE, vec![unknown]).collect()
            }
            Root::Unknown => vec![refused(
                NMSTATE,
                format!("{ROOTFS} begins with no root.squashfs or root.erofs"),
                "failed to find root file extension",
            )],
        };
        Ok(objections)
    }
}

/// The file system in a rootfs.img.
enum Root {
    Squashfs(Box<LiveRoot>),
    Erofs,
    Unknown,
}

fn root_of(rootfs: &Content) -> Result<Root> {
    let Ok(head) = cpio::read_first_header(rootfs) else {
        return Ok(Root::Unknown);
    };
    Ok(match &*head.name {
        b"root.squashfs" => Root::Squashfs(Box::new(LiveRoot::open(rootfs)?)),
        b"root.erofs" => Root::Erofs,
        _ => Root::Unknown,
    })
}
