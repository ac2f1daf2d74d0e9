//! Boot configurations beside a PXE set: iPXE, PXELINUX and GRUB.
//!
//! Sources: <https://ipxe.org/cfg/mac>, <https://wiki.syslinux.org/wiki/index.php?title=PXELINUX>, GRUB's
//! manual on `net_default_mac` and configuration files over the network.
//!
//! Without a URL the root file system is loaded as a second initramfs, which needs no address but
//! twice the memory; with one, the live system fetches it.

use super::kargs::rootfs_url;

/// What the configurations start.
#[derive(Clone, Debug)]
pub struct Menu<'a> {
    /// What is shown to the operator: a title that means nothing to boot loaders
    /// ([`crate::foreign::title`]).
    pub title: &'a str,
    /// File names of kernel, initramfs and root file system, beside the configuration.
    pub kernel: &'a str,
    /// See `kernel`.
    pub initrd: &'a str,
    /// What is loaded after the initramfs, for one host alone.
    pub overlay: Option<&'a str>,
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
            Some(url) => format!("{} {}", self.kargs, rootfs_url(url)),
            None => self.kargs.to_owned(),
        }
    }

    /// The initramfs, and what is loaded after it.
    fn initrds(&self) -> Vec<&str> {
        let rootfs = match self.rootfs_url {
            Some(_) => None,
            None => Some(self.rootfs),
        };
        [Some(self.initrd), self.overlay, rootfs]
            .into_iter()
            .flatten()
            .collect()
    }

    /// An iPXE script; names are relative to its own URL.
    pub fn ipxe(&self) -> String {
        let initrds = self.initrds();
        // Under UEFI the kernel asks the firmware for each file by the name given here, and takes a slash
        // for one of the firmware's.
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let names: String = initrds
            .iter()
            .map(|path| format!("initrd={} ", last(path)))
            .collect();
        let loads: String = initrds
            .iter()
            .map(|path| format!("initrd --name {} {path}\n", last(path)))
            .collect();
        format!(
            "#!ipxe\n# {title}\nkernel {kernel} {names}{kargs}\n{loads}boot\n",
            title = self.title,
            kernel = self.kernel,
            kargs = self.kargs(),
        )
    }

    /// A PXELINUX configuration; names are relative to the directory that `pxelinux.0` came from.
    pub fn pxelinux(&self) -> String {
        format!(
            "DEFAULT live\nPROMPT 0\nTIMEOUT 50\n\nLABEL live\n  MENU LABEL {title}\n  KERNEL {kernel}\n  INITRD {initrds}\n  APPEND {kargs}\n",
            title = self.title,
            kernel = self.kernel,
            initrds = self.initrds().join(","),
            kargs = self.kargs(),
        )
    }

    /// A GRUB configuration; the files are taken from beside it, or else from the server's root.
    ///
    /// GRUB takes a bare name as one in the server's root, and knows the configuration's own
    /// directory only while it reads it. What `grub-mknetdir` and distributions' signed GRUB read
    /// is often below the root, with the kernel above it, so that place is tried too.
    pub fn grub(&self) -> String {
        format!(
            "set default=0\nset timeout=5\nset beside=\"$config_directory\"\n\n\
             menuentry \"{title}\" {{\n\
             \tfor directory in \"$beside\" \"($root)\"; do\n\
             \t\tif linux \"$directory/{kernel}\" {kargs}; then\n\
             \t\t\tbreak\n\
             \t\tfi\n\
             \tdone\n\
             \tinitrd {initrds}\n\
             }}\n",
            title = self.title,
            kernel = self.kernel,
            kargs = grub_words(&self.kargs()),
            initrds = self
                .initrds()
                .iter()
                .map(|name| format!("\"$directory/{name}\""))
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}

/// Where boot loaders look for what is for the machine with the hardware address `mac` alone: iPXE, as
/// [`super::by_mac`] sends it, PXELINUX, and GRUB.
pub fn names_of(mac: &str) -> [String; 3] {
    let mac = mac.replace(':', "-");
    [
        format!("ipxe/{mac}.ipxe"),
        // 01 is the kind of network, Ethernet.
        format!("pxelinux.cfg/01-{mac}"),
        format!("grub.cfg-01-{mac}"),
    ]
}

/// Kernel arguments as words of GRUB's script language, where `&` in a URL would end the command.
/// Double quotes mean to GRUB what they mean to the kernel, so they stay.
fn grub_words(kargs: &str) -> String {
    let mut words = String::with_capacity(kargs.len());
    let mut quoted = false;
    let mut starts_word = true;
    for letter in kargs.chars() {
        let special = match letter {
            '\\' | '$' => true,
            ';' | '&' | '|' | '<' | '>' | '{' | '}' | '\'' => !quoted,
            '#' => starts_word,
            _ => false,
        };
        if special {
            words.push('\\');
        }
        words.push(letter);
        quoted ^= letter == '"';
        starts_word = !quoted && letter.is_ascii_whitespace();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const MENU: Menu<'static> = Menu {
        title: "Mini OS",
        kernel: "k",
        initrd: "i.img",
        overlay: None,
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
                .contains("initrd \"$directory/i.img\" \"$directory/r.img\"\n")
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

    #[test]
    fn a_hosts_own_initramfs_comes_after_the_common_one() {
        let menu = Menu {
            overlay: Some("o/h.img"),
            ..MENU
        };
        let ipxe = menu.ipxe();
        assert!(ipxe.contains("kernel k initrd=i.img initrd=h.img initrd=r.img "));
        assert!(ipxe.contains("\ninitrd --name h.img o/h.img\n"), "{ipxe}");
        assert!(menu.pxelinux().contains("INITRD i.img,o/h.img,r.img\n"));
        assert!(menu.grub().contains("\"$directory/o/h.img\""));
    }

    #[test]
    fn grub_takes_arguments_as_words() {
        for (kargs, words) in [
            (
                "quiet console=ttyS0,115200n8",
                "quiet console=ttyS0,115200n8",
            ),
            ("url=http://h/r?a=1&b=$2;c", r"url=http://h/r?a=1\&b=\$2\;c"),
            (r#"a="b & c" d'e"#, r#"a="b & c" d\'e"#),
            (r#"a="$b" c\d"#, r#"a="\$b" c\\d"#),
            ("a={b}|<c> #d e#f", r"a=\{b\}\|\<c\> \#d e#f"),
        ] {
            assert_eq!(grub_words(kargs), words);
        }
    }
}
