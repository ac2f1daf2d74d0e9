//! What a call of dracut says (dracut(8)).

use super::heredoc::excerpt;
use super::paths::{below, normal};
use super::remark::Remark;
use super::shell::Command;

/// Options whose value is the next word.
const VALUED: [&str; 40] = [
    "--add",
    "--add-confdir",
    "--add-device",
    "--add-drivers",
    "--add-fstab",
    "--compress",
    "--conf",
    "--confdir",
    "--device",
    "--drivers",
    "--filesystems",
    "--force-add",
    "--force-drivers",
    "--fscks",
    "--fwdir",
    "--install",
    "--install-optional",
    "--kernel-cmdline",
    "--kernel-image",
    "--kmoddir",
    "--kver",
    "--libdirs",
    "--logfile",
    "--modules",
    "--mount",
    "--omit",
    "--omit-drivers",
    "--persistent-policy",
    "--prefix",
    "--squash-compressor",
    "--sshkey",
    "--stdlog",
    "--sysroot",
    "--tmpdir",
    "--uefi-splash-image",
    "--uefi-stub",
    "-I",
    "-L",
    "-c",
    "-k",
];
/// Short options with a value, besides those above.
const VALUED_SHORT: [&str; 5] = ["-a", "-d", "-m", "-o", "-r"];

/// Where a kernel's initramfs is looked for.
const MODULES: &str = "/usr/lib/modules";

/// A call of dracut.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) line: u32,
    /// For which kernel, as written.
    pub(super) kernel: Option<String>,
    image: Option<String>,
    all_kernels: bool,
    hostonly: Option<bool>,
    reproducible: bool,
    force: bool,
    /// DRACUT_NO_XATTR is set for it.
    pub(super) no_xattr: bool,
    /// Names behind --add-drivers and --force-drivers.
    pub(super) added: Vec<String>,
    /// Names behind --omit-drivers.
    pub(super) omitted: Vec<String>,
}

impl Call {
    /// Reads the words behind `dracut`; `more` says that further words come from elsewhere (xargs).
    pub(super) fn parse(command: &Command, words: &[String], more: bool) -> Self {
        let mut call = Self {
            line: command.line,
            ..Self::default()
        };
        call.no_xattr = command
            .assignments
            .iter()
            .any(|(n, v)| n == "DRACUT_NO_XATTR" && v == "1");
        let mut positional = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (option, inline) = match word.split_once('=') {
                Some((option, value)) if word.starts_with("--") => (option, Some(value)),
                _ => (word.as_str(), None),
            };
            if !option.starts_with('-') {
                positional.push(word.as_str());
                continue;
            }
            let value = match inline {
                Some(value) => value,
                None if VALUED.contains(&option) || VALUED_SHORT.contains(&option) => {
                    words.next().map_or("", String::as_str)
                }
                None => "",
            };
            let names = || {
                value
                    .split([' ', ','])
                    .filter(|n| !n.is_empty())
                    .map(str::to_owned)
            };
            match option {
                "--kver" => call.kernel = Some(value.to_owned()).filter(|v| !v.is_empty()),
                "--regenerate-all" => call.all_kernels = true,
                "--no-hostonly" => call.hostonly = Some(false),
                "--hostonly" => call.hostonly = Some(true),
                "--reproducible" => call.reproducible = true,
                "--force" => call.force = true,
                "--add-drivers" | "--force-drivers" => call.added.extend(names()),
                "--omit-drivers" => call.omitted.extend(names()),
                // --include SOURCE TARGET
                "--include" | "-i" => {
                    words.next();
                    if inline.is_none() {
                        words.next();
                    }
                }
                short if !short.starts_with("--") => {
                    call.force |= short.contains('f');
                    if short.contains('N') {
                        call.hostonly = Some(false);
                    } else if short.contains('H') {
                        call.hostonly = Some(true);
                    }
                }
                _ => {}
            }
        }
        let mut positional = positional.into_iter().map(str::to_owned);
        call.image = positional.next();
        call.kernel = call.kernel.or(positional.next());
        if more && call.kernel.is_none() {
            call.kernel = Some("$(xargs)".to_owned());
        }
        call
    }

    /// What is wrong with the kernel: it holds for every call.
    pub(super) fn check_kernel(&self) -> Option<Remark> {
        (self.kernel.is_none() && !self.all_kernels).then(|| {
            Remark::error(
                "builder-kernel",
                self.line,
                "dracut without --kver takes the release of the kernel that runs the build",
            )
            .hint("give it the image's: --kver \"$(ls /usr/lib/modules)\"")
        })
    }

    /// What is wrong with the call that makes the final initramfs. `settings` are texts of
    /// dracut.conf.d as far as they are known, `unseen` says that there are others.
    pub(super) fn check(&self, settings: &[String], unseen: bool) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let configured =
            |name: &str, value: &str| unseen || settings.iter().any(|text| sets(text, name, value));
        let image = self.image.as_deref().map(normal);
        match image.as_deref() {
            None => remarks.push(elsewhere(
                self.line,
                "dracut is not told where to write and chooses a file in /boot",
            )),
            Some(path) if is_initramfs(path) => {}
            Some(path) => remarks.push(elsewhere(
                self.line,
                &format!("dracut writes to {}", excerpt(path)),
            )),
        }
        if !self.force && image.is_some() {
            remarks.push(
                Remark::error(
                    "dracut-without-force",
                    self.line,
                    "dracut refuses to overwrite the initramfs of the base image without --force",
                )
                .hint("add --force"),
            );
        }
        match self.hostonly {
            Some(false) => {}
            Some(true) => remarks.push(hostonly(self.line, true)),
            None if configured("hostonly", "no") => {}
            None => remarks.push(hostonly(self.line, false)),
        }
        if !self.reproducible && !configured("reproducible", "yes") {
            remarks.push(
                Remark::note(
                    "dracut-not-reproducible",
                    self.line,
                    "without --reproducible every build gives another initramfs",
                )
                .hint("add --reproducible"),
            );
        }
        if !self.no_xattr {
            remarks.push(
                Remark::note(
                    "dracut-xattr",
                    self.line,
                    "dracut tries to copy extended attributes, which fails with errors in the log in an unprivileged build",
                )
                .hint("set DRACUT_NO_XATTR=1 for it"),
            );
        }
        remarks
    }
}

/// Is it the place from which a deployment takes the initramfs?
pub(super) fn is_initramfs(path: &str) -> bool {
    // A value known only at the build may be anything.
    let unknown = path.starts_with('$');
    let name = path.ends_with("/initramfs.img");
    (name && below(path, MODULES)) || (unknown && (name || !path.contains('/')))
}

/// Does the text of a dracut.conf give `name` the value?
fn sets(text: &str, name: &str, value: &str) -> bool {
    let plain: String = text.chars().filter(|c| !"'\" \t".contains(*c)).collect();
    let wanted = format!("{name}={value}");
    plain.split(['\n', ';']).any(|line| line.ends_with(&wanted))
}

fn elsewhere(line: u32, what: &str) -> Remark {
    Remark::error(
        "initramfs-elsewhere",
        line,
        format!("{what}, but a node boots /usr/lib/modules/<kernel release>/initramfs.img"),
    )
    .hint("give dracut that path as its first argument")
}

fn hostonly(line: u32, asked: bool) -> Remark {
    let hint = "add --no-hostonly";
    if asked {
        Remark::error(
            "hostonly-initramfs",
            line,
            "--hostonly makes an initramfs for the machine of the build only",
        )
        .hint(hint)
    } else {
        Remark::warning(
            "hostonly-initramfs",
            line,
            "without --no-hostonly the initramfs may be made for the machine of the build only, as the base image's dracut.conf.d says",
        )
        .hint(hint)
    }
}
