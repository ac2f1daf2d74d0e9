//! `/boot`: kernel, initramfs, boot entry, first-boot stamp.

use super::deployment::Deployment;
use super::plot::Plot;
use crate::os::Facts;
use crate::tree::Meta;

/// What the boot loader starts.
#[derive(Debug)]
pub(super) struct Boot {
    /// Directory of kernel and initramfs, below the boot file system's root: `ostree/<stateroot>-<checksum>`.
    pub(super) directory: String,
    /// Path of the boot entry, whose text [`entry`] makes.
    pub(super) entry: String,
    /// Kernel arguments of every platform, in order.
    pub(super) kargs: Vec<String>,
}

pub(super) fn add(plot: &mut Plot, facts: &Facts, deployment: &Deployment) -> Boot {
    let directory = format!("ostree/{}-{}", facts.osname, deployment.boot_checksum);
    for (name, meta, content) in &deployment.boot_files {
        let meta = Meta {
            uid: meta.uid,
            gid: meta.gid,
            ..Meta::root(meta.mode)
        };
        plot.content(&format!("boot/{directory}/{name}"), meta, content.clone());
    }
    // Makes paths that begin with /boot valid on a boot file system of its own as well.
    plot.symlink("boot/boot", ".");
    plot.symlink("boot/loader", "loader.1");

    let mut kargs = vec!["rw".to_owned()];
    // zipl has no variables: its command line is fixed when it runs.
    if facts.architecture != "s390x" {
        kargs.push("$ignition_firstboot".to_owned());
    }
    kargs.extend(facts.image.extra_kargs.iter().cloned());
    kargs.push(format!("ostree={}", deployment.boot_link));

    let name = match deployment.libostree.names_entries_without_stateroot() {
        true => "ostree-1.conf".to_owned(),
        false => format!("ostree-1-{}.conf", facts.osname),
    };
    let entry = format!("boot/loader.1/entries/{name}");
    plot.file(&entry, 0o644, "");
    // GRUB sources it and turns it into the karg; the first boot removes it.
    plot.file("boot/ignition.firstboot", 0o644, "");
    if let Some(platforms) = &facts.platforms.text {
        plot.file("boot/coreos/platforms.json", 0o644, platforms.clone());
    }
    Boot {
        directory,
        entry,
        kargs,
    }
}

/// The boot entry with these kernel arguments, of a kernel in `directory` of the boot file system.
pub(super) fn entry(facts: &Facts, directory: &str, kargs: &[String]) -> String {
    let release = &facts.kernel.release;
    format!(
        "title {title}\nversion 1\noptions {options}\n\
         linux /boot/{directory}/vmlinuz-{release}\n\
         initrd /boot/{directory}/initramfs-{release}.img\n",
        title = title(facts),
        options = kargs.join(" "),
    )
}

/// The menu's line, as libostree composes it of names that mean nothing to a boot loader.
fn title(facts: &Facts) -> String {
    let name = facts.title();
    match name.contains(&facts.version) {
        true => format!("{name} (ostree:0)"),
        false => format!("{name} {} (ostree:0)", facts.version),
    }
}
