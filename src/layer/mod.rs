//! One more layer on an image: drivers added, and what keeps drivers from loading repaired.
//!
//! ```text
//! image ──► request: modules, firmware, names of drivers
//!   │          │
//!   └──────────┴──► root:      files below usr/lib/modules, indexes made anew
//!                              dracut told to take the drivers, whoever runs it later
//!                   initramfs: the image's own, and a cpio segment with the drivers behind it
//!                      │
//!                      └──► archive: the layer's tar stream
//! ```
//!
//! The layers below stay as they are, so that nodes fetch the new one only. The same image and the
//! same request give the same bytes. Left out on purpose: signing modules; rebuilding an initramfs
//! (dracut in a Containerfile does that); removing what dracut has put into one.
//!
//! The kernel unpacks segments one after the other, a later file over an earlier one (Linux
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

mod archive;
mod indexes;
mod initramfs;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

pub use archive::write as write_archive;

use self::overlay::Overlay;
use crate::failure::Failure;
use crate::kernel::{
    self, Files, Finding, Initramfs, Kept, ModuleInfo, canonical_name, module_name,
};
use crate::os::{Facts, Parts};
use crate::progress::Progress;
use crate::stages::{self, LIVE, Presence};
use crate::tree::{Content, Tree};

/// Where added modules go, below the kernel's own directory.
const EXTRA: &str = "extra";

/// Where firmware goes.
const FIRMWARE: &str = "usr/lib/firmware";

/// Where depmod and systemd look for configuration that comes with the image.
const DEPMOD_CONFIGURATION: &str = "usr/lib/depmod.d";
const LOAD_CONFIGURATION: &str = "usr/lib/modules-load.d";

/// A file that is to be added.
#[derive(Clone, Debug)]
pub struct Added {
    /// A module's file name (`mydriver.ko.xz`), or a firmware's name as the driver asks for it.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What the layer shall do.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Modules for `extra/`.
    pub modules: Vec<Added>,
    /// Firmware for `/usr/lib/firmware`.
    pub firmware: Vec<Added>,
    /// Drivers that are in the image, and shall be there at every boot.
    pub drivers: Vec<String>,
    /// Whether to load them at boot even if no hardware asks for them.
    pub load: bool,
}

impl Request {
    /// Whether a module of that name is among those to be added.
    fn adds(&self, driver: &str) -> bool {
        let name = canonical_name(driver);
        let mut modules = self.modules.iter();
        modules.any(|module| module_name(&module.name).as_ref() == Some(&name))
    }
}

/// A layer, before it is a tar stream.
#[derive(Debug)]
pub struct Layer {
    /// Regular files by path, with what they will hold.
    pub files: BTreeMap<String, Content>,
    /// Files of the image that it takes away.
    pub removed: BTreeSet<String>,
    /// Members of the segment behind the initramfs, by path; none if that is as it should be.
    pub initramfs: Vec<String>,
    /// The drivers in the image as it was.
    pub before: Vec<Presence>,
    /// The drivers in the image with the layer.
    pub after: Vec<Presence>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Layer {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.removed.is_empty()
    }
}

/// Composes the layer for an image with these `facts`, whose merged tree is `tree`.
pub fn compose(
    tree: &Tree,
    facts: &Facts,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Layer> {
    let release = &facts.kernel.release;
    let directory = format!("usr/lib/modules/{release}");
    let drivers = names(request)?;
    let base = &facts.kernel.initramfs;
    let parts = facts.parts(tree);
    progress.begin("looking into the initramfs", 0);
    let old = parts.read_initramfs()?;
    let before = stages::check(&parts, &old, &drivers, &LIVE)?;
    progress.end();

    let mut root = Overlay::new(tree);
    let mut removed = BTreeSet::new();
    for module in &request.modules {
        add_module(&mut root, &mut removed, &directory, module)?;
    }
    for firmware in &request.firmware {
        let name = clean_name(&firmware.name)?;
        root.add(format!("{FIRMWARE}/{name}"), firmware.bytes.clone());
    }
    if request.load {
        for driver in &drivers {
            let text = format!("{}\n", canonical_name(driver));
            root.add(load_configuration(driver), text);
        }
    }
    let stale = before
        .iter()
        .any(|presence| presence.stage == LIVE[1] && presence.fails());
    let mut warnings = Vec::new();
    if stale || !request.modules.is_empty() {
        progress.begin("indexing modules", 0);
        let said = indexes::renew(&mut root, release, &directory)?;
        warnings.extend(said.iter().map(|text| format!("indexing modules: {text}")));
        progress.end();
    }
    let there = |driver: &String| usable(&root, release, driver, request);
    drivers.iter().try_for_each(there)?;
    for driver in &drivers {
        let is_added = request.adds(driver);
        warnings.extend(name_to_dracut(&mut root, &old, release, driver, is_added)?);
    }

    progress.begin("composing the initramfs", 0);
    let mut wanted = kernel::closure(&root, release, &drivers)?;
    for driver in &drivers {
        let load = load_configuration(driver);
        if root.exists(&load)? {
            wanted.insert(load);
        }
    }
    let segment = initramfs::compose(&old, &root, tree, release, &wanted)?;
    progress.end();
    let mut members = Vec::new();
    let mut initrd = base.clone();
    if let Some(segment) = segment {
        members = segment.members;
        initrd = initramfs::append(base, &segment.archive)?;
        root.add(format!("{directory}/initramfs.img"), initrd.clone());
    }
    let parts = Parts {
        initrd: &initrd,
        root: &root,
        ..parts
    };
    let after = stages::check(&parts, &parts.read_initramfs()?, &drivers, &LIVE)?;
    if let Some(missing) = after.iter().find(|presence| presence.fails()) {
        return Err(Failure::new(
            format!(
                "driver {} would still be missing in {}: {}",
                missing.driver,
                missing.stage.name(),
                missing.verdict
            ),
            "a Containerfile that runs depmod and dracut can do more than one more layer",
        )
        .into());
    }
    Ok(Layer {
        files: root.into_changes(),
        removed,
        initramfs: members,
        before,
        after,
        warnings,
    })
}

/// The drivers that matter, each once: those named, and those added.
fn names(request: &Request) -> Result<Vec<String>> {
    let mut names = request.drivers.clone();
    for module in &request.modules {
        names.push(module_name(&module.name).ok_or_else(|| {
            Failure::new(
                format!("{:?} is no name of a kernel module", module.name),
                "modules end in .ko, .ko.xz, .ko.gz or .ko.zst",
            )
        })?);
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(canonical_name(name)));
    ensure!(!names.is_empty(), "no driver is named and none is added");
    Ok(names)
}

/// Puts a module into `extra/`, and takes an older one from there.
fn add_module(
    root: &mut Overlay<'_>,
    removed: &mut BTreeSet<String>,
    directory: &str,
    module: &Added,
) -> Result<()> {
    let name = module_name(&module.name).expect("checked with the names");
    // Read for the sentence that names the file; whether it fits the kernel is judged in place.
    ModuleInfo::read(&module.bytes).with_context(|| format!("reading module {}", module.name))?;
    let extra = format!("{directory}/{EXTRA}");
    for other in root.list(&extra)? {
        let path = format!("{extra}/{other}");
        let is_older = root.added(&path).is_none() && other != module.name;
        if is_older && module_name(&other).as_ref() == Some(&name) {
            root.remove(&path);
            removed.insert(path);
        }
    }
    let twice = root.added(&format!("{extra}/{}", module.name)).is_some();
    ensure!(!twice, "module {} is added twice", module.name);
    // Where an image has no depmod.d, a module in kernel/ counts as much as one in extra/.
    if indexes::paths(root, directory)?
        .iter()
        .any(|path| module_name(path).as_ref() == Some(&name))
    {
        let stem = module.name.split(".ko").next().unwrap_or(&module.name);
        root.add(
            format!("{DEPMOD_CONFIGURATION}/{name}.conf"),
            format!("override {stem} * {EXTRA}\n"),
        );
    }
    root.add(format!("{extra}/{}", module.name), module.bytes.clone());
    Ok(())
}

/// Writes the file that has every later dracut take a driver: one that is added unless it is named
/// already, and one of the image if it would be left out. Gives what keeps the file from counting.
fn name_to_dracut(
    root: &mut Overlay<'_>,
    initramfs: &Initramfs,
    release: &str,
    driver: &str,
    is_added: bool,
) -> Result<Option<String>> {
    match kernel::kept(root, initramfs, release, driver)? {
        Kept::Named(_) => return Ok(None),
        Kept::ByItself(_) if !is_added => return Ok(None),
        Kept::ByItself(_) | Kept::Left(_) => {}
    }
    let path = kernel::dracut_configuration(driver);
    // Somebody else's file of that name keeps what it says.
    let old = root.read(&path)?.unwrap_or_default();
    let mut text = String::from_utf8(old).with_context(|| format!("{path} is not UTF-8"))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &kernel::dracut_line(driver);
    text.push('\n');
    root.add(path.clone(), text);
    let counts = matches!(
        kernel::kept(root, initramfs, release, driver)?,
        Kept::Named(_)
    );
    Ok((!counts).then(|| {
        format!("{path} names {driver} to dracut, but other files of dracut.conf.d take that back")
    }))
}

/// The file that has a driver loaded at boot.
fn load_configuration(driver: &str) -> String {
    format!("{LOAD_CONFIGURATION}/{}.conf", canonical_name(driver))
}

/// A firmware's name: a path below the directory of all firmware.
fn clean_name(name: &str) -> Result<&str> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    ensure!(
        name.split('/').all(is_plain) && !name.contains('\0'),
        "{name:?} is no name for firmware; it is a path below /{FIRMWARE}"
    );
    Ok(name)
}

/// Refuses what no layer of ours makes loadable.
fn usable(root: &Overlay<'_>, release: &str, driver: &str, request: &Request) -> Result<()> {
    let Finding::Missing(missing) = kernel::look_up(root, release, driver)? else {
        return Ok(());
    };
    Err(match request.adds(driver) {
        true => Failure::new(
            format!("driver {driver} can't be used: {}", missing.why),
            format!("build it for kernel {release}, the one in the image"),
        ),
        false => Failure::new(
            format!("driver {driver} is not in the image: {}", missing.why),
            "give its file with --add-driver",
        ),
    }
    .into())
}
