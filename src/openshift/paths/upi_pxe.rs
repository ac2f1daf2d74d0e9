//! User-provisioned machines that boot over the network.
//!
//! Source: openshift/installer main 5f2b0d3dc3 (configs and their order; run), coreos-installer 0.27 (its
//! kernel arguments; run in QEMU), openshift/openshift-docs (boot loaders).

use serde_json::{Map, Value, json};

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::text::{command, place};
use super::upi_iso::{ROLES, secrets_warning, wait};

/// What stands for a machine's hardware address. No inventory takes it.
const MAC: &str = "HARDWARE-ADDRESS";

/// What a boot loader is told for one role.
struct Boot<'a> {
    role: &'a str,
    url: &'a str,
    kernel: &'a str,
    initramfs: &'a str,
    kargs: String,
}

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    let facts = draft.facts;
    if facts.architecture == "s390x" {
        return Err(draft.not_there(
            "on s390x".to_owned(),
            "there is no boot loader of that kind; parameter files of z/VM or LPAR take its place",
        ));
    }
    let url = draft.url()?;
    let disk = draft.disk()?;
    let what = "a PXE set of kernel, initramfs and rootfs";
    let kernel = &draft.baked("kernel", what, "pxe")?.name;
    let initramfs = &draft.baked("initramfs", what, "pxe")?.name;
    let rootfs = &draft.baked("rootfs", what, "pxe")?.name;
    let roles = draft.roles(&ROLES);
    for role in &roles {
        let mut kargs = facts.live_kargs.clone();
        kargs.push(format!("coreos.live.rootfs_url={url}/{rootfs}"));
        kargs.push(format!("coreos.inst.install_dev={disk}"));
        kargs.push(format!("coreos.inst.ignition_url={url}/{role}.ign"));
        let boot = Boot {
            role,
            url,
            kernel,
            initramfs,
            kargs: kargs.join(" "),
        };
        loaders(draft, &boot);
    }
    inventory(draft, &roles, disk);
    draft.manifests_steps("");
    draft.configs_steps("create ignition-configs", &draft.named_roles(), "");
    steps(draft, &roles, url);
    wait(draft);
    warnings(draft, url);
    Ok(())
}

/// The configurations of a role, for the loaders that the architecture has.
fn loaders(draft: &mut Draft, boot: &Boot) {
    let arch = draft.facts.architecture.as_str();
    let role = boot.role;
    if ["x86_64", "aarch64"].contains(&arch) {
        draft.file(
            &format!("{role}.ipxe"),
            &format!("iPXE: installs a {role} machine"),
            boot.ipxe(),
        );
    }
    if arch == "x86_64" {
        draft.file(
            &format!("{role}.pxelinux.cfg"),
            &format!(
                "PXELINUX: installs a {role} machine, and boots its disk once DEFAULT says disk"
            ),
            boot.pxelinux(),
        );
    }
    draft.file(
        &format!("{role}.grub.cfg"),
        &format!("GRUB: installs a {role} machine, and boots its disk once default says disk"),
        boot.grub(),
    );
}

impl Boot<'_> {
    /// iPXE splits at white space and knows no quotes; nothing that it expands is let in. Under UEFI the
    /// kernel asks for the initramfs by the name given here.
    fn ipxe(&self) -> String {
        format!(
            "#!ipxe\n\
             kernel {url}/{kernel} initrd=main {kargs} || goto failed\n\
             initrd --name main {url}/{initramfs} || goto failed\n\
             boot || goto failed\n\
             :failed\n\
             echo no {role} machine could be booted from {url}\n\
             sleep 10\n\
             exit 1\n",
            url = self.url,
            kernel = self.kernel,
            initramfs = self.initramfs,
            kargs = self.kargs,
            role = self.role,
        )
    }

    /// PXELINUX fetches by http; with https in the URL, files come from beside `pxelinux.0`.
    fn pxelinux(&self) -> String {
        let from = match self.url.starts_with("http://") {
            true => format!("{}/", self.url),
            false => String::new(),
        };
        format!(
            "DEFAULT install\nPROMPT 0\nTIMEOUT 50\n\n\
             LABEL install\n  KERNEL {from}{kernel}\n  APPEND initrd={from}{initramfs} {kargs}\n\n\
             LABEL disk\n  LOCALBOOT 0\n",
            kernel = self.kernel,
            initramfs = self.initramfs,
            kargs = self.kargs,
        )
    }

    /// GRUB knows the directory of its configuration only while it reads it.
    fn grub(&self) -> String {
        format!(
            "set default=install\nset timeout=5\nset beside=\"$config_directory\"\n\n\
             menuentry 'Install a {role} machine' --id install {{\n\
             \tlinux \"$beside/{kernel}\" {kargs}\n\
             \tinitrd \"$beside/{initramfs}\"\n\
             }}\n\n\
             menuentry 'Go on with the next device' --id disk {{\n\texit\n}}\n",
            role = self.role,
            kernel = self.kernel,
            initramfs = self.initramfs,
            kargs = self.kargs,
        )
    }
}

/// An inventory for `serve`, complete but for the addresses.
fn inventory(draft: &mut Draft, roles: &[&str], disk: &str) {
    let facts = draft.facts;
    let settings: Map<String, Value> = roles
        .iter()
        .map(|role| {
            let config = draft.in_directory(&format!("{role}.ign"));
            let mut keys = json!({ "disk": disk, "ignition": config });
            for (key, kargs) in [
                ("kargs", facts.live_kargs.clone()),
                ("dest-kargs", draft.installed_kargs(role)),
            ] {
                if !kargs.is_empty() {
                    keys[key] = json!(kargs);
                }
            }
            ((*role).to_owned(), keys)
        })
        .collect();
    let hosts: Vec<Value> = roles
        .iter()
        .map(|role| json!({ "name": format!("{role}-0"), "mac": MAC, "role": role }))
        .collect();
    draft.yaml_file(
        "hosts.yaml",
        "an inventory for coreos-bake serve and hosts, once it has your machines' hardware addresses",
        &json!({ "roles": settings, "hosts": hosts }),
    );
}

fn steps(draft: &mut Draft, roles: &[&str], url: &str) {
    let has_ipxe = draft.facts.architecture != "ppc64le";
    let mut serve = draft.serve();
    let own = "coreos-bake serve gives each machine its config once, sends it on to its disk when it is installed, \
               and carries the kernel arguments of the installed system";
    if has_ipxe && !serve.is_empty() {
        if let Some(serve) = serve.first_mut() {
            *serve += " --hosts hosts.yaml";
        }
        draft.step(
            When::IgnitionConfigs,
            format!(
                "Put the machines' hardware addresses for {MAC} in hosts.yaml, and serve. {own}. \
                 With --dnsmasq NETWORK for the inventory, it prints what DHCP has to say.{}",
                draft.serve_note()
            ),
            serve,
        );
    }
    let mut files: Vec<String> = ["cp", "--"].map(str::to_owned).to_vec();
    for role in roles {
        files.push(draft.in_directory(&format!("{role}.ign")));
        if has_ipxe {
            files.push(format!("{role}.ipxe"));
        }
        files.push(format!("{role}.grub.cfg"));
    }
    files.push(draft.in_media(""));
    let tree = match has_ipxe {
        true => vec![
            command(files),
            command([
                "coreos-bake",
                "hosts",
                &place(&draft.facts.media),
                "hosts.yaml",
                "-f",
                "pxe",
                "--url",
                url,
            ]),
        ],
        false => vec![command(files)],
    };
    draft.step(
        When::IgnitionConfigs,
        format!(
            "Or use a web server of your own: offer the media, the configs and the boot loaders' files at {url}, \
             and have DHCP name the one of each machine's role{}.",
            match has_ipxe {
                true => "; with an inventory, coreos-bake hosts makes a tree that tells machines apart",
                false => "",
            }
        ),
        tree,
    );
    draft.step(
        When::Boot,
        "Boot the machines, the bootstrap machine first. Each installs without a question and reboots: its \
         disk has to come before the network in its boot order by then, or the boot server has to send it on \
         to its disk (serve does; in a role's own files, set default to disk).",
        [],
    );
}

fn warnings(draft: &mut Draft, url: &str) {
    let facts = draft.facts;
    draft.common_warnings();
    secrets_warning(draft);
    draft.warn(
        "Kernel, initramfs and rootfs of one bake belong together: the initramfs has the rootfs's checksum in \
         it and asks for nothing else.",
    );
    draft.first_boot_warning(Some("the inventory"));
    draft.warn(
        "Kernel arguments on a loader's line don't reach the disk, but for those of the network at the \
         first boot. The inventory has those of the installed system (dest-kargs); the files for each role are \
         without them, so bake with --dest-karg-append if you use these and need some.",
    );
    draft.warn(
        "A machine that boots an initramfs with a config of its own (coreos-installer pxe customize, bake \
         --dest-ignition or --dest-karg-append) needs ignition.firstboot ignition.platform.id=metal on the loader's line too.",
    );
    if facts.architecture == "aarch64" {
        draft.warn("iPXE has to be built with IMAGE_GZIP, as kernels for aarch64 are compressed.");
    }
    if facts.architecture == "ppc64le" {
        draft.warn("There is no iPXE for ppc64le; firmware boots by GRUB or petitboot.");
    }
    if url.starts_with("https://") && facts.architecture == "x86_64" {
        draft.warn(
            "PXELINUX knows no https: have kernel and initramfs beside it. iPXE knows https if it trusts the \
             server's certificate.",
        );
    }
    draft.serial_warning();
}
