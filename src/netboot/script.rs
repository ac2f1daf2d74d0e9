//! iPXE scripts that send machines on, or boot a single one.
//!
//! Sources: <https://ipxe.org/scripting>, <https://ipxe.org/cmd>. iPXE splits at white space, knows no quotes, and
//! expands `${…}` everywhere.

/// Sends a machine that did not say who it is to its own script. With colons in it, iPXE would take
/// what is before the first one for a scheme.
pub const ASK_AGAIN: &str = "#!ipxe\nchain --replace boot.ipxe?mac=${netX/mac:hexhyp}\n";

/// Sends each machine to its own script in the tree at `url`, which has no slash at its end.
pub fn by_mac(url: &str) -> String {
    // The card that iPXE came by, then the first one: a machine may be listed with either.
    format!(
        "#!ipxe\n\
         chain --replace {url}/ipxe/${{netX/mac:hexhyp}}.ipxe ||\n\
         chain --replace {url}/ipxe/${{net0/mac:hexhyp}}.ipxe ||\n\
         echo ${{netX/mac}} is not among the hosts of {url}\n\
         sleep 10\n\
         exit 1\n"
    )
}

/// Lets the firmware go on with the next device.
pub fn refusal(sentence: &str) -> String {
    format!("#!ipxe\necho {sentence}\nsleep 10\nexit 1\n")
}

/// Boots the disk, in the way that the firmware would. Its name is not for everyone.
pub const INSTALLED: &str = "#!ipxe\necho this machine is done, going on with its disk\nexit\n";

/// A boot of a single machine.
#[derive(Clone, Copy, Debug)]
pub struct Single<'a> {
    /// What is booted, a title that means nothing to iPXE ([`crate::foreign::title`]).
    pub title: &'a str,
    /// What the machine is called.
    pub name: &'a str,
    /// The server, for the operator to know.
    pub server: &'a str,
    /// URLs of kernel and initramfs, and of what is loaded after it for this machine alone.
    pub kernel: &'a str,
    /// See `kernel`.
    pub initramfs: &'a str,
    /// See `kernel`.
    pub overlay: Option<&'a str>,
    /// Kernel arguments.
    pub kargs: &'a str,
}

impl Single<'_> {
    /// The script.
    pub fn ipxe(&self) -> String {
        let Self {
            title,
            name,
            server,
            kernel,
            initramfs,
            kargs,
            ..
        } = self;
        // Under UEFI the kernel asks the firmware for each initramfs by the name given here.
        let (names, overlay) = match self.overlay {
            Some(url) => (
                "initrd=main initrd=host",
                format!("initrd --name host {url} || goto failed\n"),
            ),
            None => ("initrd=main", String::new()),
        };
        format!(
            "#!ipxe\n\
             echo Booting {title} as {name}\n\
             kernel {kernel} {names} {kargs} || goto failed\n\
             initrd --name main {initramfs} || goto failed\n\
             {overlay}\
             boot || goto failed\n\
             :failed\n\
             echo {name} could not boot {title} from {server}\n\
             sleep 10\n\
             exit 1\n"
        )
    }
}
