//! Boot configurations beside a PXE set: iPXE, PXELINUX and GRUB.
//!
//! Without a URL the root file system is loaded as a second initramfs, which needs no address but
//! twice the memory; with one, the live system fetches it.

/// What the configurations start.
#[derive(Clone, Debug)]
pub(super) struct Menu<'a> {
    /// What is shown to the operator.
    pub title: &'a str,
    /// File names of kernel, initramfs and root file system, beside the configuration.
    pub kernel: &'a str,
    /// See `kernel`.
    pub initrd: &'a str,
    /// See `kernel`.
    pub rootfs: &'a str,
    /// Where the live system fetches the root file system.
    pub rootfs_url: Option<&'a str>,
    /// Kernel arguments.
    pub kargs: &'a str,
}

impl Menu<'_> {
    fn kargs(&self) -> String {
        match self.rootfs_url {
            Some(url) => format!("{} coreos.live.rootfs_url={url}", self.kargs),
            None => self.kargs.to_owned(),
        }
    }

    /// The initramfs, and what is loaded after it.
    fn initrds(&self) -> Vec<&str> {
        match self.rootfs_url {
            Some(_) => vec![self.initrd],
            None => vec![self.initrd, self.rootfs],
        }
    }

    /// An iPXE script; names are relative to its own URL.
    pub(super) fn ipxe(&self) -> String {
        let initrds = self.initrds();
        // Under UEFI the kernel asks the firmware for each file by the name given here.
        let names: String = initrds
            .iter()
            .map(|name| format!("initrd={name} "))
            .collect();
        let loads: String = initrds
            .iter()
            .map(|name| format!("initrd --name {name} {name}\n"))
            .collect();
        format!(
            "#!ipxe\n# {title}\nkernel {kernel} {names}{kargs}\n{loads}boot\n",
            title = self.title,
            kernel = self.kernel,
            kargs = self.kargs(),
        )
    }

    /// A PXELINUX configuration; names are relative to the TFTP root.
    pub(super) fn pxelinux(&self) -> String {
        format!(
            "DEFAULT live\nPROMPT 0\nTIMEOUT 50\n\nLABEL live\n  MENU LABEL {title}\n  KERNEL {kernel}\n  INITRD {initrds}\n  APPEND {kargs}\n",
            title = self.title,
            kernel = self.kernel,
            initrds = self.initrds().join(","),
            kargs = self.kargs(),
        )
    }

    /// A GRUB configuration; names are relative to where GRUB found it.
    pub(super) fn grub(&self) -> String {
        format!(
            "set default=0\nset timeout=5\n\nmenuentry \"{title}\" {{\n\tlinux ${{net_prefix}}{kernel} {kargs}\n\tinitrd {initrds}\n}}\n",
            title = self.title.replace(['"', '$', '\\', '`'], ""),
            kernel = self.kernel,
            kargs = self.kargs().replace('$', "\\$"),
            initrds = self
                .initrds()
                .iter()
                .map(|name| format!("${{net_prefix}}{name}"))
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MENU: Menu<'static> = Menu {
        title: "Mini OS",
        kernel: "k",
        initrd: "i.img",
        rootfs: "r.img",
        rootfs_url: None,
        kargs: "ignition.firstboot",
    };

    #[test]
    fn without_a_url_the_root_is_a_second_initramfs() {
        assert!(
            MENU.ipxe()
                .contains("kernel k initrd=i.img initrd=r.img ignition.firstboot\n")
        );
        assert!(MENU.pxelinux().contains("INITRD i.img,r.img\n"));
        assert!(
            MENU.grub()
                .contains("initrd ${net_prefix}i.img ${net_prefix}r.img\n")
        );
    }

    #[test]
    fn with_a_url_the_live_system_fetches_it() {
        let menu = Menu {
            rootfs_url: Some("http://h/r.img"),
            ..MENU
        };
        for text in [menu.ipxe(), menu.pxelinux(), menu.grub()] {
            assert!(
                text.contains("coreos.live.rootfs_url=http://h/r.img"),
                "{text}"
            );
            assert_eq!(text.matches("r.img").count(), 1, "{text}");
        }
    }
}
