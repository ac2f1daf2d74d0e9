//! Arguments that go onto a kernel's command line, whoever gives them: an image, an inventory, a bake's
//! record, an option.
//!
//! They stand as they are in texts of several languages, because installers and firmware change or read
//! them there: GRUB's `grub.cfg` and, since GRUB makes a script of its options, the boot entry (rhboot/grub2
//! `grub-core/commands/blscfg.c`@00ebc6ce5); iPXE, PXELINUX, zipl and `coreos/kargs.json`. So an argument has only what
//! means the same to all of these. What GRUB gives a meaning to was tried with grub-script-check 2.06: it
//! ends a command at `;`, refuses `&`, `|`, `<`, `>`, `{` and `}`, expands `$`, and takes `\` and quotes away.
//! Quotes in pairs do no harm, as the kernel takes them away too: OpenShift's nodes have `cgroup_no_v1="all"`.
//! A word that begins like a path or a device is a pattern to it (`grub-core/commands/wildcard.c`@13a29e8c4).
//!
//! An argument with blanks in quotes is refused as well: the kernel takes one, but coreos-installer and
//! whoever edits a command line by words does not.

use thiserror::Error;

/// What kernels take on most architectures, with the NUL at its end (Linux `COMMAND_LINE_SIZE`), in bytes.
pub const COMMAND_LINE_MAX_BYTES: usize = 2048;

/// Characters that a boot loader expands, splits at or takes away.
const MEANINGFUL: &str = "'`$\\;&|<>{}";

/// An argument that would not reach the kernel as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{argument:?} {problem}")]
pub struct ArgumentError {
    argument: String,
    problem: String,
}

/// Refuses an argument that a boot loader or the kernel would read as anything but itself.
///
/// # Errors
/// One with the argument and what is wrong with it.
pub fn check_argument(argument: &str) -> Result<(), ArgumentError> {
    let problem = if argument.is_empty() {
        "is not a kernel argument: it is empty".to_owned()
    } else if argument.len() >= COMMAND_LINE_MAX_BYTES {
        "is longer than a kernel's command line".to_owned()
    } else if argument.contains(char::is_whitespace) {
        "is not one kernel argument: it has white space in it".to_owned()
    } else if argument.contains(|c: char| !c.is_ascii_graphic()) {
        "can't be a kernel argument: it has other than printable ASCII in it".to_owned()
    } else if let Some(letter) = argument.chars().find(|c| MEANINGFUL.contains(*c)) {
        format!("can't be a kernel argument: boot loaders take {letter} for something else")
    } else if argument.matches('"').count() % 2 == 1 {
        "can't be a kernel argument: a quote in it is not closed".to_owned()
    } else if argument.starts_with('#') {
        "can't be a kernel argument: boot loaders take # for a comment".to_owned()
    } else if argument.starts_with(['/', '(', '*']) && argument.contains(['*', '?']) {
        "can't be a kernel argument: GRUB looks for files that it fits".to_owned()
    } else if argument == "--" {
        "can't be a kernel argument: it ends those of the kernel".to_owned()
    } else {
        return Ok(());
    };
    let argument = argument.chars().take(COMMAND_LINE_MAX_BYTES).collect();
    Err(ArgumentError { argument, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_arguments_pass() {
        for argument in [
            "console=ttyS0,115200n8",
            "root=LABEL=x",
            "root=UUID=0a1b-2c",
            "rd.luks.options=0a1b-2c=tpm2-device=auto,discard",
            "rd.luks.name=0a1b-2c=root",
            "mitigations=auto,nosmt",
            "ip=10.0.0.2::10.0.0.1:255.255.255.0:h:eno1:none",
            "ip=[fd00::2]::[fd00::1]:64::eno1:none",
            "rd.znet=qeth,0.0.bdf0,0.0.bdf1,0.0.bdf2,layer2=1",
            "hugepagesz=1G",
            "isolcpus=1-3,5",
            "crashkernel=1G-4G:192M,4G-64G:256M",
            "ostree=/ostree/boot.1/rhcos/0a/0",
            "ignition.firstboot",
            "cgroup_no_v1=\"all\"",
            "rw",
            "-b",
            "vfio-pci.ids=10de:1eb8",
            "proxy=http://u@h:3128/?a=b%20c#d",
            "dev=!x,~y,^z*(1)[2]@3+4?5",
        ] {
            assert_eq!(check_argument(argument), Ok(()), "{argument}");
        }
    }

    #[test]
    fn what_a_loader_would_change_is_refused() {
        for (argument, why) in [
            ("", "empty"),
            ("a b", "white space"),
            ("a=b\noptions evil", "white space"),
            ("a\tb", "white space"),
            ("a\u{a0}b", "white space"),
            ("a\u{1b}[2J", "printable ASCII"),
            ("a\0", "printable ASCII"),
            ("a=ü", "printable ASCII"),
            ("a\u{202e}", "printable ASCII"),
            ("#a", "comment"),
            ("--", "ends"),
            ("a=\"b", "not closed"),
            ("/boot/*", "looks for files"),
            ("(hd?)", "looks for files"),
            ("*", "looks for files"),
        ] {
            let error = check_argument(argument).unwrap_err().to_string();
            assert!(error.contains(why), "{argument:?}: {error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        for letter in MEANINGFUL.chars() {
            let error = check_argument(&format!("a={letter}b")).unwrap_err();
            let why = format!("boot loaders take {letter} for");
            assert!(error.to_string().contains(&why), "{error}");
        }
        assert!(check_argument(&"x".repeat(COMMAND_LINE_MAX_BYTES)).is_err());
    }

    /// Judged by GRUB's own parser: what passes is one word there, and each character that is refused for a
    /// loader's sake would break the line or be taken away.
    #[test]
    fn grub_reads_what_passes_as_words() {
        use std::io::Write;
        use std::process::{Command, Stdio};

        if !bake_referee::have("grub-script-check") {
            return;
        }
        let is_taken = |argument: &str| {
            let mut child = Command::new("grub-script-check")
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let text = format!("menuentry \"x\" {{\n\tlinux /k rw {argument} x\n}}\n");
            child
                .stdin
                .take()
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            child.wait().unwrap().success()
        };
        let passing: String = ('!'..='~')
            .filter(|c| check_argument(&format!("a={c}")).is_ok())
            .collect();
        assert!(passing.len() > 70, "{passing}");
        assert!(is_taken(&format!("a={passing}")), "{passing}");
        assert!(is_taken("cgroup_no_v1=\"all\""));
        for broken in ["&", "|", "<", ">", "{", "}", "'", "\""] {
            assert!(!is_taken(&format!("a={broken}")), "{broken}");
        }
    }
}
