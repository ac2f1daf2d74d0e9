//! The one deployment: checkout, `/etc`, `/var`, origin, and the links that find it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::plot::Plot;
use super::repo::FileObjects;
use super::{Settings, composefs};
use crate::os::{Facts, wants_composefs};
use crate::ostree::{Checksum, Imported, LibostreeVersion};
use crate::selinux::FileKind;
use crate::tree::{Content, InodeId, Meta, Node, Tree};

/// A file for `/boot`: its name there, owner and mode, content.
type BootFile = (String, Meta, Content);

/// Where the deployment is and what boots it.
pub(super) struct Deployment {
    /// Its directory on the physical root.
    pub(super) path: String,
    /// SHA-256 over kernel and initramfs, which names their directory in `/boot`.
    pub(super) boot_checksum: Checksum,
    /// The kernel's files.
    pub(super) boot_files: Vec<BootFile>,
    /// The `ostree=` kernel argument's value.
    pub(super) boot_link: String,
    /// The libostree that will manage the disk.
    pub(super) libostree: LibostreeVersion,
}

pub(super) fn add(
    plot: &mut Plot,
    imported: &Imported,
    objects: &FileObjects,
    facts: &Facts,
    settings: &Settings,
) -> Result<Deployment> {
    let stateroot = &facts.osname;
    let commit = imported.merge_commit.to_string();
    let path = format!("ostree/deploy/{stateroot}/deploy/{commit}.0");

    check_out(plot, imported, objects, &path);
    add_composefs(plot, imported, &path)?;
    copy_etc(plot, imported, &path);
    add_var(plot, imported, facts, stateroot);
    plot.file(&format!("{path}.origin"), 0o644, settings.origin.origin());
    if imported.libostree.has_backing_directories() {
        add_backing(plot, imported, stateroot, &commit);
    }

    let (boot_checksum, boot_files) = boot_files(imported, facts)?;
    let versioned = format!("ostree/boot.1.1/{stateroot}/{boot_checksum}/0");
    plot.symlink(
        &versioned,
        &format!("../../../deploy/{stateroot}/deploy/{commit}.0"),
    );
    plot.symlink("ostree/boot.1", "boot.1.1");

    Ok(Deployment {
        path,
        boot_link: format!("/ostree/boot.1/{stateroot}/{boot_checksum}/0"),
        boot_checksum,
        boot_files,
        libostree: imported.libostree,
    })
}

/// Checks the merged tree out, files and symlinks as links to their objects.
///
/// Two exceptions of libostree: empty files get inodes of their own, and `var` stays empty, being
/// the mount point of the stateroot's.
fn check_out(plot: &mut Plot, imported: &Imported, objects: &FileObjects, path: &str) {
    let source = &imported.tree;
    let root = plot.directory(path);
    let mut meta = source.inode(Tree::ROOT).meta.clone();
    meta.immutable = true;
    plot.tree().inode_mut(root).meta = meta;

    let mut open = vec![(Tree::ROOT, root)];
    while let Some((from, to)) = open.pop() {
        for (name, child) in source.children(from) {
            let inode = source.inode(child);
            let id = match &inode.node {
                Node::Directory(_) => {
                    let id = plot
                        .tree()
                        .add(inode.meta.clone(), Node::Directory(BTreeMap::new()));
                    if from != Tree::ROOT || name != b"var" {
                        open.push((child, id));
                    }
                    id
                }
                Node::File(content) if content.is_empty() => {
                    plot.tree().add(inode.meta.clone(), inode.node.clone())
                }
                _ => match imported.file_checksum(child).and_then(|c| objects.get(&c)) {
                    Some(object) => *object,
                    None => unreachable!("every file of the merged tree has its object"),
                },
            };
            plot.tree().link(to, name, id);
        }
    }
}

/// The image that the root is mounted from where `prepare-root.conf` says so. Without it, such a
/// system would stop in the initramfs.
fn add_composefs(plot: &mut Plot, imported: &Imported, deployment: &str) -> Result<()> {
    if !wants_composefs(&imported.tree)? {
        return Ok(());
    }
    let image = composefs::image(&imported.tree, &|id| imported.file_checksum(id))
        .context("making the deployment's composefs image")?;
    let meta = Meta {
        // As bootc labels it.
        xattrs: plot.label("usr", FileKind::Directory),
        ..Meta::root(0o644)
    };
    let directory = plot.directory(deployment);
    plot.tree().create(
        directory,
        composefs::NAME,
        meta,
        Node::File(Content::bytes(image)),
    );
    Ok(())
}

/// `/etc` is a copy of `usr/etc`, labelled by its new path.
fn copy_etc(plot: &mut Plot, imported: &Imported, deployment: &str) {
    let Some(from) = imported.tree.lookup("usr/etc") else {
        return;
    };
    let to = plot.directory(deployment);
    let etc = copy(plot, &imported.tree, from, b"etc");
    plot.tree().link(to, b"etc", etc);
}

/// The stateroot's `/var`. libostree 2024.3 and later copy what the commit has; older ones make a
/// fixed skeleton instead, and later ones still do so where no tmpfiles.d would.
fn add_var(plot: &mut Plot, imported: &Imported, facts: &Facts, stateroot: &str) {
    let parent = plot.directory(&format!("ostree/deploy/{stateroot}"));
    let keeps_var = imported.libostree.keeps_var();
    let var = match imported.tree.lookup("var") {
        Some(from) if keeps_var => copy(plot, &imported.tree, from, b"var"),
        _ => {
            let meta = Meta {
                xattrs: plot.label_bytes(b"var", FileKind::Directory, false),
                ..Meta::root(0o755)
            };
            plot.tree().add(meta, Node::Directory(BTreeMap::new()))
        }
    };
    plot.tree().link(parent, b"var", var);
    if !keeps_var || !facts.has_tmpfiles {
        for (name, mode) in [("log", 0o755), ("lib", 0o755), ("tmp", 0o1777)] {
            let label =
                plot.label_bytes(format!("var/{name}").as_bytes(), FileKind::Directory, false);
            if plot.tree().child(var, name.as_bytes()).is_none() {
                let meta = Meta {
                    xattrs: label,
                    ..Meta::root(mode)
                };
                plot.tree()
                    .create(var, name, meta, Node::Directory(BTreeMap::new()));
            }
        }
        for (name, target) in [("run", "../run"), ("lock", "../run/lock")] {
            let label =
                plot.label_bytes(format!("var/{name}").as_bytes(), FileKind::Symlink, false);
            if plot.tree().child(var, name.as_bytes()).is_none() {
                let meta = Meta {
                    xattrs: label,
                    ..Meta::root(0o777)
                };
                plot.tree()
                    .create(var, name, meta, Node::Symlink(target.as_bytes().into()));
            }
        }
    }
    let label = plot.label_bytes(b"var/.ostree-selabeled", FileKind::Regular, false);
    if !label.is_empty() {
        let meta = Meta {
            xattrs: label,
            ..Meta::root(0o644)
        };
        let stamp = Node::File(Content::bytes(Vec::new()));
        plot.tree().create(var, ".ostree-selabeled", meta, stamp);
    }
}

/// Scratch directories for `root.transient`, made by libostree 2024.1 and later.
fn add_backing(plot: &mut Plot, imported: &Imported, stateroot: &str, commit: &str) {
    let backing = format!("ostree/deploy/{stateroot}/backing");
    plot.directory_with_mode(&backing, 0o700);
    plot.directory_with_mode(&format!("{backing}/{commit}.0"), 0o700);
    let transient = format!("{backing}/{commit}.0/root-transient");
    plot.directory_with_mode(&transient, 0o700);
    plot.directory_with_mode(&format!("{transient}/work"), 0o700);
    let upper = plot.directory(&format!("{transient}/upper"));
    plot.tree().inode_mut(upper).meta = imported.tree.inode(Tree::ROOT).meta.clone();
}

/// Copies a subtree of the merged tree to new inodes labelled as if it lay at `/name`.
fn copy(plot: &mut Plot, source: &Tree, from: InodeId, name: &[u8]) -> InodeId {
    let mut copied = BTreeMap::new();
    copy_inode(plot, source, from, name, &mut copied)
}

fn copy_inode(
    plot: &mut Plot,
    source: &Tree,
    from: InodeId,
    path: &[u8],
    copied: &mut BTreeMap<InodeId, InodeId>,
) -> InodeId {
    if let Some(done) = copied.get(&from) {
        return *done;
    }
    let inode = source.inode(from);
    let (kind, node) = match &inode.node {
        Node::Directory(_) => (FileKind::Directory, Node::Directory(BTreeMap::new())),
        Node::Symlink(target) => (FileKind::Symlink, Node::Symlink(target.clone())),
        other => (FileKind::Regular, other.clone()),
    };
    let mut meta = inode.meta.clone();
    let label = plot.label_bytes(path, kind, false);
    if let Some(context) = label.get(b"security.selinux") {
        meta.xattrs = meta.xattrs.with(b"security.selinux", context);
    }
    let id = plot.tree().add(meta, node);
    copied.insert(from, id);
    for (name, child) in source.children(from) {
        let path = [path, b"/", name].concat();
        let child = copy_inode(plot, source, child, &path, copied);
        plot.tree().link(id, name, child);
    }
    id
}

/// Kernel, initramfs, device trees and checksum file as they go to `/boot`, and the checksum over
/// those that libostree counts (`_ostree_kernel_layout`, `get_kernel_from_tree`).
fn boot_files(imported: &Imported, facts: &Facts) -> Result<(Checksum, Vec<BootFile>)> {
    let kernel = &facts.kernel;
    let directory = format!("usr/lib/modules/{}", kernel.release);
    let hashed = [
        ("vmlinuz".to_owned(), format!("vmlinuz-{}", kernel.release)),
        (
            kernel.initramfs_name().to_owned(),
            format!("initramfs-{}.img", kernel.release),
        ),
    ];
    let mut files = Vec::new();
    let mut contents = Vec::new();
    for (name, boot_name) in hashed {
        let (meta, content) = file_of(&imported.tree, &format!("{directory}/{name}"))?;
        contents.push(content.clone());
        files.push((boot_name, meta, content));
    }
    if let Ok((meta, content)) = file_of(&imported.tree, &format!("{directory}/.vmlinuz.hmac")) {
        files.push((format!(".vmlinuz-{}.hmac", kernel.release), meta, content));
    }
    let checksum = Checksum::of_contents(&contents)?;
    Ok((checksum, files))
}

fn file_of(tree: &Tree, path: &str) -> Result<(Meta, Content)> {
    let id = tree.lookup(path);
    match id.map(|id| tree.inode(id)) {
        Some(inode) => match &inode.node {
            Node::File(content) => Ok((inode.meta.clone(), content.clone())),
            _ => anyhow::bail!("{path} is not a regular file"),
        },
        None => anyhow::bail!("the image has no {path}"),
    }
}
