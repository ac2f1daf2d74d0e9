//! User-provisioned machines that boot an ISO.
//!
//! Source: openshift/installer main 5f2b0d3dc3 (configs and their order; run), coreos-installer 0.27 (its
//! options; run as a library), openshift/openshift-docs (how machines are installed).

use super::When;
use super::draft::Draft;
use super::facts::RecipeError;
use super::text::{command, word};

/// Machines of a cluster that need a config.
pub(super) const ROLES: [&str; 3] = ["bootstrap", "master", "worker"];

pub(super) fn write(draft: &mut Draft) -> Result<(), RecipeError> {
    let facts = draft.facts;
    draft.iso()?;
    if facts.disk.is_none() && facts.url.is_none() {
        return Err(draft.missing(
            "the disk to install to, or a URL to install from by hand",
            "--disk or --url",
        ));
    }
    let roles = draft.roles(&ROLES);
    draft.manifests_steps("");
    draft.configs_steps("create ignition-configs", &draft.named_roles(), "");
    match &facts.disk {
        Some(disk) => by_itself(draft, &roles, disk)?,
        None => draft.warn(
            "No disk is named (--disk), so ISOs that install by themselves are left out: every --dest option \
             starts the installer, and without a device it stops with an error.",
        ),
    }
    match facts.base_url() {
        Some(url) => by_hand(draft, &roles, url),
        None => draft.warn(
            "No URL is named (--url), so the way by hand is left out: it fetches the configs.",
        ),
    }
    wait(draft);
    draft.common_warnings();
    draft.warn(
        "Don't pass --image-url to the installer: what is in the ISO is what you have baked, and another \
         image would need --insecure.",
    );
    draft.first_boot_warning(Some("the ISOs or commands made here"));
    draft.serial_warning();
    if !facts.live_kargs.is_empty() {
        draft.warn("Kernel arguments of the live system don't reach the disk.");
    }
    Ok(())
}

/// An ISO for each role, with everything in it.
fn by_itself(draft: &mut Draft, roles: &[&str], disk: &str) -> Result<(), RecipeError> {
    let iso = draft.in_media(&draft.iso()?.name);
    let commands: Vec<String> = roles
        .iter()
        .map(|role| {
            let config = draft.in_directory(&format!("{role}.ign"));
            let mut words: Vec<String> =
                ["coreos-installer", "iso", "customize", "--dest-ignition"]
                    .map(str::to_owned)
                    .to_vec();
            words.extend([config, "--dest-device".to_owned(), disk.to_owned()]);
            for karg in draft.installed_kargs(role) {
                words.push(format!("--dest-karg-append={karg}"));
            }
            for karg in &draft.facts.live_kargs {
                words.push(format!("--live-karg-append={karg}"));
            }
            words.extend(["-o".to_owned(), format!("{role}.iso"), iso.clone()]);
            command(words)
        })
        .collect();
    draft.step(
        When::IgnitionConfigs,
        format!(
            "Make an ISO for each role that installs by itself. It overwrites {disk} of any machine that boots \
             it, without a question. coreos-bake bake takes the same options, and coreos-bake hosts makes an ISO \
             for each machine of an inventory, with its own disk and network."
        ),
        commands,
    );
    draft.step(
        When::Boot,
        "Boot each machine from its role's ISO, the bootstrap machine first.",
        [],
    );
    Ok(())
}

/// The installer, called in the live system.
fn by_hand(draft: &mut Draft, roles: &[&str], url: &str) {
    let configs: Vec<String> = roles
        .iter()
        .map(|role| draft.in_directory(&format!("{role}.ign")))
        .collect();
    let mut copy = vec!["cp".to_owned(), "--".to_owned()];
    copy.extend(configs.iter().cloned());
    copy.push(draft.in_media(""));
    let disk = draft.facts.disk.as_deref().unwrap_or("/dev/DISK");
    let mut commands = vec![command(copy)];
    for (role, config) in roles.iter().zip(&configs) {
        let mut words: Vec<String> = ["sudo", "coreos-installer", "install"]
            .map(str::to_owned)
            .to_vec();
        words.push(format!("--ignition-url={url}/{role}.ign"));
        for karg in draft.installed_kargs(role) {
            words.push(format!("--append-karg={karg}"));
        }
        // The shell that prints the line is not the one that runs it.
        commands.push(format!(
            "printf '%s --ignition-hash=sha512-%s %s\\n' {} \"$(sha512sum < {} | cut -d ' ' -f 1)\" {}",
            word(&command(words)),
            word(config),
            word(&word(disk)),
        ));
    }
    commands.extend(draft.serve());
    draft.step(
        When::IgnitionConfigs,
        format!(
            "Or install by hand. Print the command of each role, and offer the configs at {url}. The hash is \
             that of the config as it is now, after prepare; without one, configs by http are refused.{}",
            draft.serve_note()
        ),
        commands,
    );
    draft.step(
        When::Boot,
        "By hand: boot each machine from the baked ISO, type its role's command with the right disk (add \
         --copy-network if you have set the network up there), and reboot.",
        ["sudo reboot".to_owned()],
    );
    secrets_warning(draft);
}

/// What is done while a user-provisioned cluster comes up.
pub(super) fn wait(draft: &mut Draft) {
    let facts = draft.facts;
    let server = match (&facts.cluster, &facts.base_domain) {
        (Some(cluster), Some(domain)) => format!("api-int.{cluster}.{domain}"),
        _ => "api-int of the cluster's domain".to_owned(),
    };
    let wait = draft.install("wait-for bootstrap-complete");
    let complete = draft.install("wait-for install-complete");
    draft.step(
        When::Boot,
        format!(
            "Wait. Control plane machines fetch their config from {server}, port 22623, and workers keep asking \
             until the control plane answers. When the first command ends, the bootstrap machine can go."
        ),
        [wait],
    );
    draft.step(
        When::Cluster,
        "Approve the workers' certificate requests, twice for each.",
        [
            "oc get csr".to_owned(),
            "oc adm certificate approve CSR".to_owned(),
            complete,
        ],
    );
}

/// What is in configs that a web server offers.
pub(super) fn secrets_warning(draft: &mut Draft) {
    draft.warn(
        "Whoever reaches the web server can read the Ignition configs, and bootstrap.ign has the keys of the \
         cluster in it. Take them away when the machines are installed.",
    );
}
