//! A recipe under way, and what several paths have in common.

use serde_json::Value;

use super::facts::{BakedFile, Facts, RecipeError};
use super::text::{command, place, word};
use super::{Path, Recipe, RecipeFile, Step, When};
use crate::openshift::FirstBoot;
use crate::openshift::manifest::yaml;

/// Hex digits of a checksum that go into a file name: enough that two bakes never share it.
const NAME_DIGITS: usize = 12;

/// Endings that openshift-install takes off, with what they mean, before it looks into its cache.
const PACKED: [&str; 2] = [".gz", ".xz"];

/// What comes behind a file with a name of its own: where it is found, and its checksum.
pub(super) struct Published {
    /// The command that gives it that name.
    pub(super) command: String,
    /// Its URL.
    pub(super) url: String,
    /// The same with the checksum that openshift-install looks at.
    pub(super) checked_url: String,
}

/// A recipe under way.
pub(super) struct Draft<'a> {
    pub(super) facts: &'a Facts,
    recipe: Recipe,
}

impl<'a> Draft<'a> {
    pub(super) fn new(path: Path, facts: &'a Facts) -> Self {
        let recipe = Recipe {
            path,
            files: Vec::new(),
            steps: Vec::new(),
            warnings: Vec::new(),
        };
        Self { facts, recipe }
    }

    pub(super) fn finish(self) -> Recipe {
        self.recipe
    }

    pub(super) fn step(
        &mut self,
        when: When,
        text: impl Into<String>,
        commands: impl IntoIterator<Item = String>,
    ) {
        self.recipe.steps.push(Step {
            when,
            text: text.into(),
            commands: commands.into_iter().collect(),
        });
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.recipe.warnings.push(text.into());
    }

    pub(super) fn file(&mut self, name: &str, what: &str, content: String) {
        self.recipe.files.push(RecipeFile {
            name: name.to_owned(),
            content,
            what: what.to_owned(),
        });
    }

    pub(super) fn yaml_file(&mut self, name: &str, what: &str, value: &Value) {
        self.file(name, what, yaml(value));
    }

    /// That something is missing which an option tells.
    pub(super) fn missing(&self, what: &'static str, option: &'static str) -> RecipeError {
        RecipeError::Missing {
            path: self.recipe.path,
            what,
            option,
        }
    }

    /// That the path doesn't exist somewhere.
    pub(super) fn not_there(&self, place: String, reason: &'static str) -> RecipeError {
        RecipeError::NotThere {
            path: self.recipe.path,
            place,
            reason,
        }
    }

    /// Where machines find the media.
    pub(super) fn url(&self) -> Result<&'a str, RecipeError> {
        self.facts
            .base_url()
            .ok_or_else(|| self.missing("the URL that the media are served at", "--url"))
    }

    /// The disk to install to.
    pub(super) fn disk(&self) -> Result<&'a str, RecipeError> {
        let disk = self.facts.disk.as_deref();
        disk.ok_or_else(|| self.missing("the disk to install to", "--disk"))
    }

    /// A baked file, if there is one.
    pub(super) fn found(&self, role: &str) -> Option<&'a BakedFile> {
        self.facts.files.iter().find(|file| file.role == role)
    }

    /// A baked file that the path needs.
    pub(super) fn baked(
        &self,
        role: &str,
        what: &'static str,
        medium: &'static str,
    ) -> Result<&'a BakedFile, RecipeError> {
        self.found(role).ok_or(RecipeError::NotBaked {
            path: self.recipe.path,
            what,
            medium,
        })
    }

    /// The live ISO, which the path needs.
    pub(super) fn iso(&self) -> Result<&'a BakedFile, RecipeError> {
        self.baked("iso", "a live ISO", "iso")
    }

    /// The path of a file in the directory of the media.
    pub(super) fn in_media(&self, name: &str) -> String {
        inside(&self.facts.media, name)
    }

    /// The path of a file in the install directory.
    pub(super) fn in_directory(&self, name: &str) -> String {
        inside(&self.facts.directory, name)
    }

    /// `openshift-install WHAT --dir DIR`.
    pub(super) fn install(&self, what: &str) -> String {
        format!(
            "openshift-install {what} --dir {}",
            word(&place(&self.facts.directory))
        )
    }

    /// `coreos-bake prepare DIR …`, for the roles given or else all.
    pub(super) fn prepare(&self, roles: &[&str]) -> String {
        let facts = self.facts;
        let mut words = vec![
            "coreos-bake".to_owned(),
            "prepare".to_owned(),
            place(&facts.directory),
            "--release".to_owned(),
            facts.release_text(),
            "--bake".to_owned(),
            place(&facts.media),
        ];
        let mut option =
            |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        if let Some(image) = &facts.os_image {
            option("--os-image", &image.to_string());
        }
        for role in roles {
            option("--role", role);
        }
        for karg in &facts.dest_kargs {
            option("--karg-append", karg);
        }
        words.extend(facts.prepare_options.iter().cloned());
        command(words)
    }

    /// The roles that were named, or those of the path.
    pub(super) fn roles(&self, default: &[&'a str]) -> Vec<&'a str> {
        match self.facts.roles.is_empty() {
            true => default.to_vec(),
            false => self.facts.roles.iter().map(|role| role.as_str()).collect(),
        }
    }

    /// The roles that were named, for `prepare`, which finds them out by itself otherwise.
    pub(super) fn named_roles(&self) -> Vec<&'a str> {
        self.roles(&[])
    }

    /// Kernel arguments that a machine of that role is installed with: those of its pool in the pool's
    /// order, if its first boot would look at them. A bootstrap machine is in no pool.
    pub(super) fn installed_kargs(&self, role: &str) -> Vec<String> {
        match self.first_boot() {
            FirstBoot::Compares(all) if role != "bootstrap" => all,
            _ => self.facts.dest_kargs.clone(),
        }
    }

    fn first_boot(&self) -> FirstBoot {
        FirstBoot::of(self.facts.release, &self.facts.dest_kargs)
    }

    /// A file under a name that has its checksum in it. openshift-install takes a file from its cache by
    /// the last part of the URL and doesn't look at the checksum again.
    pub(super) fn published(&self, file: &BakedFile) -> Result<Published, RecipeError> {
        let packed = PACKED.iter().find(|end| file.name.ends_with(**end));
        let sum = match (packed, &file.uncompressed_sha256) {
            (_, Some(sum)) => sum,
            (None, None) => &file.sha256,
            (Some(_), None) => {
                return Err(self.missing(
                    "the checksum of what a compressed file unpacks to",
                    "--bake",
                ));
            }
        };
        let (head, packing) = file
            .name
            .split_at(file.name.len() - packed.map_or(0, |end| end.len()));
        let (stem, ending) = match head.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
            _ => (head, String::new()),
        };
        let digits: String = sum.chars().take(NAME_DIGITS).collect();
        let name = format!("{stem}-{digits}{ending}{packing}");
        let url = format!("{}/{name}", self.url()?);
        Ok(Published {
            command: command([
                "ln",
                "-f",
                "--",
                &self.in_media(&file.name),
                &self.in_media(&name),
            ]),
            checked_url: format!("{url}?sha256={sum}"),
            url,
        })
    }

    /// The command that serves the media where the URL says, if this program can. It goes on and on, so
    /// that it has to be the last of its step.
    pub(super) fn serve(&self) -> Vec<String> {
        let Some(url) = self.facts.base_url() else {
            return Vec::new();
        };
        let Some(authority) = url
            .strip_prefix("http://")
            .filter(|rest| !rest.contains('/'))
        else {
            return Vec::new();
        };
        let (any, port) = match authority.rsplit_once(']') {
            Some((_, port)) => ("[::]", port),
            None => (
                "0.0.0.0",
                authority.find(':').map_or("", |at| &authority[at..]),
            ),
        };
        let port = port.strip_prefix(':').unwrap_or("80");
        let listen = format!("{any}:{port}");
        vec![command([
            "coreos-bake",
            "serve",
            &place(&self.facts.media),
            "--listen",
            &listen,
            "--url",
            url,
        ])]
    }

    /// What has to be said where the command of [`Self::serve`] is the last of a step.
    pub(super) fn serve_note(&self) -> &'static str {
        match self.serve().is_empty() {
            true => "",
            false => " The server runs until Ctrl-C: give it a terminal of its own.",
        }
    }

    /// The step that makes the media reachable, before anybody fetches them.
    pub(super) fn serve_step(&mut self, names: Vec<String>) -> Result<(), RecipeError> {
        let url = self.url()?;
        let text = format!(
            "Have a web server offer the directory {} at {url}, reachable from the machines, their BMCs \
             and the one that openshift-install runs on, until all are installed. Links with \
             checksums in their names are made first, because caches go by names.{}",
            self.facts.media,
            self.serve_note()
        );
        let commands: Vec<String> = names.into_iter().chain(self.serve()).collect();
        self.step(When::First, text, commands);
        Ok(())
    }

    /// `create manifests` and what has to follow at once.
    pub(super) fn manifests_steps(&mut self, before: &str) {
        let create = self.install("create manifests");
        self.step(
            When::First,
            format!(
                "{before}Keep a copy of install-config.yaml: openshift-install deletes what it reads. Then \
                 make the manifests."
            ),
            [
                command([
                    "cp",
                    "--",
                    &self.in_directory("install-config.yaml"),
                    &format!("{}.install-config.yaml", self.facts.directory.trim_end_matches('/')),
                ]),
                create,
            ],
        );
        let prepare = self.prepare(&self.named_roles());
        self.step(
            When::Manifests,
            "Add the manifests that name the nodes' image, drivers and kernel arguments. Before or after \
             this moment they would be ignored.",
            [prepare],
        );
    }

    /// Ignition configs, and the drivers in them.
    pub(super) fn configs_steps(&mut self, create: &str, roles: &[&str], why: &str) {
        let create = self.install(create);
        self.step(
            When::Manifests,
            "Make the Ignition configs. The manifests are read and deleted; certificates in the configs \
             are good for 24 hours.",
            [create],
        );
        let prepare = self.prepare(roles);
        self.step(
            When::IgnitionConfigs,
            format!(
                "Put the drivers into the Ignition configs{why}. It is no error to skip this if it says \
                 that nothing is to be prepared."
            ),
            [prepare],
        );
    }

    /// What is true of all paths that install a cluster.
    pub(super) fn common_warnings(&mut self) {
        if self.facts.os_image.is_none() {
            self.warn(
                "No image is named for the nodes (--os-image). Unless bake.json names one, nodes change \
                 to the release's own image when they first boot, and your drivers are gone.",
            );
        }
        if self.facts.release.bootstrap_overlays() {
            self.warn(
                "A bootstrap machine whose image has no OpenShift in it gets /usr of the release's node \
                 image over its own; kernel modules stay, firmware and programs below /usr don't. \
                 An image made of the release's node image is left as it is, so bake anew for each \
                 release.",
            );
        }
    }

    /// Whether nodes reboot at their first boot; `installs` says what on this path installs the pool's
    /// kernel arguments, if anything does.
    pub(super) fn first_boot_warning(&mut self, installs: Option<&str>) {
        let facts = self.facts;
        let Some(image) = &facts.os_image else {
            return;
        };
        if !facts.media_are_os_image {
            self.warn(format!(
                "Nodes are installed with another image, or one by another name, so they change over to \
                 {image} and reboot once at their first boot."
            ));
            return;
        }
        let release = facts.release_text();
        match (self.first_boot(), installs) {
            (FirstBoot::NoArguments, _) => self.warn(
                "Nodes are expected not to reboot at their first boot: they run the pool's image already, and \
                 the pool has no kernel arguments. Kernel arguments, another kernel, extensions or FIPS in \
                 another MachineConfig cost a reboot. No cluster has confirmed this yet.",
            ),
            (FirstBoot::Compares(all), Some(how)) => {
                self.warn(format!(
                    "Nodes are expected not to reboot at their first boot, if they are installed with {how}: \
                     the image is the pool's, and so are the kernel arguments and their order ({}). More \
                     arguments, another kernel, extensions or FIPS in another MachineConfig cost a reboot. No \
                     cluster has confirmed this yet.",
                    all.join(" ")
                ));
                self.cgroup_warnings();
            }
            (FirstBoot::Compares(all), None) => self.warn(format!(
                "Nodes are expected to reboot once at their first boot: their pool has the kernel arguments \
                 {}, and nothing on this path installs them.",
                all.join(" ")
            )),
            (FirstBoot::Reboots, _) => self.warn(format!(
                "Nodes are expected to reboot once at their first boot: their pool has kernel arguments, and \
                 {release} doesn't look at those that a node is installed with."
            )),
        }
    }

    /// When a cluster's arguments are others than those of the table.
    fn cgroup_warnings(&mut self) {
        if !self.facts.from(4, 19) {
            self.warn(
                "If your manifests set cgroupMode v1 (nodes.config.openshift.io), take \
                 systemd.unified_cgroup_hierarchy=1 and cgroup_no_v1=\"all\" out of what is installed: the \
                 cluster would not remove them.",
            );
        }
        if self.facts.release.minor() == (4, 16) {
            self.warn(
                "Patch releases of 4.16 from before August 2024 give pools psi=1 instead of psi=0; with them, \
                 nodes reboot once.",
            );
        }
    }

    /// What ISOs leave dark: they are without the image's `console=`, as published ones are (osbuild
    /// `stages/org.osbuild.coreos.live-artifacts.mono`@a08736b).
    pub(super) fn serial_warning(&mut self) {
        if !self
            .facts
            .live_kargs
            .iter()
            .any(|karg| karg.starts_with("console="))
        {
            self.warn(
                "The live system shows nothing on a serial port unless console= is among its arguments: say \
                 --live-karg-append console=ttyS0,115200n8 for that.",
            );
        }
    }

    /// What is true of agent-based and assisted installation.
    pub(super) fn overwrite_warning(&mut self) {
        if self.facts.architecture == "s390x" {
            self.warn(
                "Elsewhere the installer puts osImageURL on the disk at once; on s390x it doesn't, so \
                 nodes run the ISO's OS first, and then change to osImageURL and reboot.",
            );
            return;
        }
        self.warn(
            "The installer puts osImageURL on the disk before it reboots (OverwriteOsImage), so the first \
             boot from disk already runs that image and not the ISO's: a driver for the root disk has to \
             be in that image's initramfs. If the image can't be pulled, the installer logs a warning \
             and goes on with the ISO's.",
        );
    }
}

fn inside(directory: &str, name: &str) -> String {
    format!("{}/{name}", place(directory).trim_end_matches('/'))
}
