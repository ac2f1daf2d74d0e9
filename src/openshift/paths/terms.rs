//! What templates of recipes name: values, and conditions that hold or don't.
//!
//! A value is one text or a list of them. Behind the name and a colon, those that differ by role have the
//! role, and items of a list their number.

use std::collections::BTreeMap;

use serde_json::json;

use super::facts::Facts;
use super::text::{place, word};
use crate::openshift::{FirstBoot, Release};
use crate::template;

/// Machines of a cluster that need a config.
const ROLES: [&str; 3] = ["bootstrap", "master", "worker"];

/// Values and conditions of one recipe.
pub(super) struct Terms {
    texts: BTreeMap<String, String>,
    lists: BTreeMap<String, Vec<String>>,
    conditions: Vec<(&'static str, bool)>,
    release: Release,
    architecture: String,
}

impl Terms {
    pub(super) fn of(facts: &Facts) -> Self {
        let mut terms = Self {
            texts: BTreeMap::new(),
            lists: BTreeMap::new(),
            conditions: conditions(facts),
            release: facts.release,
            architecture: facts.architecture.clone(),
        };
        terms.set_cluster(facts);
        terms.set_media(facts);
        terms.set_options(facts);
        terms.set_roles(facts);
        terms
    }

    pub(super) fn set(&mut self, name: &str, text: impl Into<String>) {
        self.texts.insert(name.to_owned(), text.into());
    }

    fn set_list(&mut self, name: &str, list: impl IntoIterator<Item = String>) {
        self.lists
            .insert(name.to_owned(), list.into_iter().collect());
    }

    fn set_cluster(&mut self, facts: &Facts) {
        self.set("RELEASE", facts.release_text());
        self.set("ARCHITECTURE", &facts.architecture);
        // The name that the assisted service turns both spellings into.
        let cpu = match facts.architecture.as_str() {
            "aarch64" => "arm64",
            other => other,
        };
        self.set("CPU-ARCHITECTURE", cpu);
        self.set("CLUSTER", facts.cluster.as_deref().unwrap_or("CLUSTER"));
        if let Some(domain) = &facts.base_domain {
            self.set("BASE-DOMAIN", domain);
        }
        if let Some(image) = &facts.os_image {
            self.set("OS-IMAGE", image.to_string());
        }
        if let FirstBoot::Compares(all) = first_boot(facts) {
            self.set("ALL-KARGS", all.join(" "));
        }
    }

    fn set_media(&mut self, facts: &Facts) {
        self.set("OS-VERSION", &facts.os_version);
        self.set("MEDIA", place(&facts.media));
        self.set("DIRECTORY", place(&facts.directory));
        self.set("DISK", facts.disk.as_deref().unwrap_or("/dev/DISK"));
        if let Some(url) = facts.base_url() {
            self.set("URL", url);
        }
        if let Some(address) = listening(facts) {
            self.set("LISTEN", address);
        }
        for role in ["iso", "qcow2", "kernel", "initramfs", "rootfs"] {
            let Some(file) = facts.file(role) else {
                continue;
            };
            let name = role.to_uppercase();
            self.set(&name, &file.name);
            if let (Some((link, sum)), "iso" | "qcow2") = (file.link(), role) {
                self.set(&format!("{name}-LINK"), link);
                self.set(&format!("{name}-SHA256"), sum);
            }
        }
    }

    fn set_options(&mut self, facts: &Facts) {
        let option = |name: &str, values: &[String]| -> Vec<String> {
            let pairs = values.iter().map(|value| [name.to_owned(), value.clone()]);
            pairs.flatten().collect()
        };
        let image = facts.os_image.iter().map(ToString::to_string);
        self.set_list(
            "OS-IMAGE-OPTION",
            option("--os-image", &image.collect::<Vec<_>>()),
        );
        // Without one, prepare finds the roles out by itself.
        let roles = facts.roles.iter().map(|role| role.as_str().to_owned());
        self.set_list("ROLE-OPTIONS", option("--role", &roles.collect::<Vec<_>>()));
        let kargs = option("--karg-append", &facts.dest_kargs);
        self.set_list(
            "OTHER-OPTIONS",
            kargs
                .into_iter()
                .chain(facts.prepare_options.iter().cloned()),
        );
        self.set_list("LIVE-KARGS", facts.live_kargs.clone());
        self.set_list("DEST-KARGS", facts.dest_kargs.clone());
        let arguments = option("--append-karg", &facts.dest_kargs);
        self.set("INSTALLER-ARGS", json!(arguments).to_string());
    }

    fn set_roles(&mut self, facts: &Facts) {
        let roles: Vec<String> = match facts.roles.is_empty() {
            true => ROLES.map(str::to_owned).to_vec(),
            false => facts
                .roles
                .iter()
                .map(|role| role.as_str().to_owned())
                .collect(),
        };
        let directory = place(&facts.directory);
        let mut files = Vec::new();
        for role in &roles {
            self.set(&format!("ROLE:{role}"), role);
            self.set_list(&format!("POOL-KARGS:{role}"), installed_kargs(facts, role));
            files.push(format!("{directory}/{role}.ign"));
            if facts.architecture != "ppc64le" {
                files.push(format!("{role}.ipxe"));
            }
            files.push(format!("{role}.grub.cfg"));
        }
        self.set_list("WORKERS-KARGS", installed_kargs(facts, "worker"));
        self.set_list("LOADED-FILES", files);
        self.set_list("ROLES", roles);
    }

    /// The machines that boot the media.
    pub(super) fn roles(&self) -> &[String] {
        &self.lists["ROLES"]
    }

    /// `text` with the names that differ by role made those of `role`.
    pub(super) fn of_role(&self, text: &str, role: &str) -> String {
        template::fill(text, |name| {
            let own = format!("{name}:{role}");
            let is_there = self.texts.contains_key(&own) || self.lists.contains_key(&own);
            is_there.then(|| format!("@@{own}@@"))
        })
    }

    /// Whether what a template says of some of its lines holds.
    pub(super) fn holds(&self, condition: &str) -> bool {
        let release = |text: &str| text.parse::<Release>().expect("a release").minor();
        let one_of = |list: &str| list.split(" or ").any(|name| name == self.architecture);
        match condition.split_once(' ') {
            Some(("from", first)) => self.release.minor() >= release(first.trim_end_matches(" on")),
            Some(("before", first)) => self.release.minor() < release(first),
            Some(("on", list)) => one_of(list),
            Some(("not", list)) => !one_of(list.trim_start_matches("on ")),
            _ => {
                let mut known = self.conditions.iter();
                let known = known.find(|(name, _)| *name == condition);
                known.expect("templates have conditions of the list").1
            }
        }
    }

    /// A line of text with its values. A word that names a list is there once for each item.
    pub(super) fn prose(&self, line: &str) -> String {
        self.words(line, |word| self.fill(word))
    }

    /// A line of a shell with its values. A word that has any is quoted where it has to be; so is, in a
    /// word with quotes, what is between two of them.
    pub(super) fn command(&self, line: &str) -> String {
        self.words(line, |text| {
            if !text.contains('\'') {
                return word(&self.fill(text));
            }
            let pieces = text.split('\'').enumerate();
            let pieces = pieces.map(|(index, piece)| match index % 2 {
                0 => piece.to_owned(),
                _ => word(&self.fill(piece)),
            });
            pieces.collect()
        })
    }

    /// A line of data, once for each item of a list that it names. Values are filled in once the data is read.
    pub(super) fn data(&self, line: &str) -> String {
        self.repeated(line).join("\n")
    }

    fn words(&self, line: &str, finish: impl Fn(&str) -> String) -> String {
        let mut words = Vec::new();
        for word in line.split(' ') {
            match template::names(word).is_empty() {
                true => words.push(word.to_owned()),
                false => words.extend(self.repeated(word).iter().map(|word| finish(word))),
            }
        }
        words.join(" ")
    }

    /// `text` once for each item of the list that it names, with the items' names; itself if it names none.
    fn repeated(&self, text: &str) -> Vec<String> {
        let mut names = template::names(text).into_iter();
        let list = names.find_map(|name| Some((name, self.lists.get(name)?)));
        let Some((name, items)) = list else {
            return vec![text.to_owned()];
        };
        let mark = format!("@@{name}@@");
        let numbers = 0..items.len();
        numbers
            .map(|number| text.replace(&mark, &format!("@@{name}:{number}@@")))
            .collect()
    }

    /// `text` with its values.
    pub(super) fn fill(&self, text: &str) -> String {
        template::fill(text, |name| match self.texts.get(name) {
            Some(text) => Some(text),
            None => {
                let (list, number) = name.rsplit_once(':')?;
                self.lists.get(list)?.get(number.parse::<usize>().ok()?)
            }
        })
    }

    /// The names of all values, and the conditions that are not of releases and architectures.
    #[cfg(test)]
    pub(super) fn names(&self) -> (Vec<&str>, Vec<&'static str>) {
        let names = self.texts.keys().chain(self.lists.keys());
        let names = names.map(|name| name.split(':').next().unwrap());
        let conditions = self.conditions.iter().map(|(name, _)| *name);
        (names.collect(), conditions.collect())
    }
}

/// What templates ask besides release and architecture.
fn conditions(facts: &Facts) -> Vec<(&'static str, bool)> {
    let url = |scheme| facts.base_url().is_some_and(|url| url.starts_with(scheme));
    let has_image = facts.os_image.is_some();
    let first_boot = (has_image && facts.media_are_os_image).then(|| first_boot(facts));
    let first_boot = first_boot.as_ref();
    vec![
        ("with --disk", facts.disk.is_some()),
        ("with --url", facts.url.is_some()),
        ("with http:// in --url", url("http://")),
        ("with https:// in --url", url("https://")),
        (
            "with http:// and no path in --url",
            listening(facts).is_some(),
        ),
        ("with --cluster", facts.cluster.is_some()),
        (
            "with --cluster and --base-domain",
            facts.cluster.is_some() && facts.base_domain.is_some(),
        ),
        ("with --karg-append", !facts.dest_kargs.is_empty()),
        ("with --live-karg-append", !facts.live_kargs.is_empty()),
        (
            "without console= in --live-karg-append",
            !facts
                .live_kargs
                .iter()
                .any(|karg| karg.starts_with("console=")),
        ),
        (
            "with --disk and a baked ISO",
            facts.disk.is_some() && facts.file("iso").is_some(),
        ),
        ("with an image for the nodes", has_image),
        ("without an image for the nodes", !has_image),
        (
            "with another image for the nodes than that of the media",
            has_image && !facts.media_are_os_image,
        ),
        (
            "where the pool has no kernel arguments",
            first_boot == Some(&FirstBoot::NoArguments),
        ),
        (
            "where the pool has kernel arguments, and its release does not look at a node's",
            first_boot == Some(&FirstBoot::Reboots),
        ),
        (
            "where the release compares a node's kernel arguments with its pool's",
            matches!(first_boot, Some(FirstBoot::Compares(_))),
        ),
    ]
}

fn first_boot(facts: &Facts) -> FirstBoot {
    FirstBoot::of(facts.release, &facts.dest_kargs)
}

/// Kernel arguments that a machine of that role is installed with: those of its pool in the pool's
/// order, if its first boot would look at them. A bootstrap machine is in no pool.
fn installed_kargs(facts: &Facts, role: &str) -> Vec<String> {
    match first_boot(facts) {
        FirstBoot::Compares(all) if role != "bootstrap" => all,
        _ => facts.dest_kargs.clone(),
    }
}

/// Where this program has to listen for the media's URL to lead to it, if it can: every address of the
/// family that the URL is of.
fn listening(facts: &Facts) -> Option<String> {
    let url = facts.base_url()?.strip_prefix("http://")?;
    let authority = Some(url).filter(|rest| !rest.contains('/'))?;
    let (any, port) = match authority.rsplit_once(']') {
        Some((_, port)) => ("[::]", port),
        None => (
            "0.0.0.0",
            authority.find(':').map_or("", |at| &authority[at..]),
        ),
    };
    Some(format!("{any}:{}", port.strip_prefix(':').unwrap_or("80")))
}
