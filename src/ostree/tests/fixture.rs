//! Images of a few files, and tar archives as odd as needed.

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Result;

use super::super::commit::{self, Metadata, Objects};
use super::super::object::{self, file_checksum};
use super::super::{
    Checksum, ContainerReference, FileType, Imported, Importer, Keep, Kind, Labels, LayerFacts,
    LibostreeVersion, Limits, Object, OpenLayer, Options, Source, import, read_tree,
};
use crate::progress::Silent;
use crate::tree::{Content, Meta, Node, Store, Tree};

/// A tar archive in the making.
pub(super) struct Tar(Vec<u8>);

impl Tar {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// An entry with a header as given; its checksum is set, and the content padded.
    pub(super) fn raw(mut self, mut header: tar::Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// An entry, with GNU long names where they are needed.
    pub(super) fn entry(
        mut self,
        kind: u8,
        path: &str,
        mode: u32,
        data: &[u8],
        link: &str,
    ) -> Self {
        for (kind, name) in [(b'K', link), (b'L', path)] {
            if name.len() > 100 {
                self = self.long(kind, name);
            }
        }
        self.raw(header(kind, path, mode, data.len() as u64, link), data)
    }

    pub(super) fn file(self, path: &str, data: &str) -> Self {
        self.entry(b'0', path, 0o644, data.as_bytes(), "")
    }

    pub(super) fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(b'5', path, mode, b"", "")
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, 0o777, b"", target)
    }

    pub(super) fn link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, 0o644, b"", target)
    }

    /// PAX records for the entry that comes next.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(b'x', "pax", 0o644, &data, "")
    }

    /// A GNU long name (`L`) or link target (`K`) for the entry that comes next.
    pub(super) fn long(self, kind: u8, name: &str) -> Self {
        self.entry(
            kind,
            "././@LongLink",
            0o644,
            format!("{name}\0").as_bytes(),
            "",
        )
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(super) fn header(kind: u8, path: &str, mode: u32, size: u64, link: &str) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(mode);
    header.set_mtime(1);
    header.set_size(size);
    let old = header.as_old_mut();
    for (field, name) in [(&mut old.name, path), (&mut old.linkname, link)] {
        let length = name.len().min(100);
        field[..length].copy_from_slice(&name.as_bytes()[..length]);
    }
    header
}

/// The tree that most images here begin with.
pub(super) fn base_tree() -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    for path in ["usr/bin", "usr/etc", "usr/lib/dir", "var", "sysroot"] {
        tree.make_directories(path, &Meta::root(0o755));
    }
    let mut put = |directory: &str, name: &str, meta: Meta, node: Node| {
        let directory = tree.lookup(directory).unwrap();
        tree.create(directory, name, meta, node);
    };
    let text = |text: &str| Node::File(Content::bytes(text.as_bytes()));
    let capability = Meta {
        uid: 3,
        gid: 4,
        ..Meta::root(0o4755)
    };
    put("usr/bin", "tool", Meta::root(0o755), text("tool"));
    put("usr/bin", "su", capability, text("su"));
    put("usr/bin", "empty", Meta::root(0o644), text(""));
    put("usr/lib/dir", "a", Meta::root(0o644), text("a"));
    put("usr/lib/dir", "b", Meta::root(0o600), text("b"));
    put(
        "usr/lib",
        "odd",
        Meta::root(0o777),
        Node::Symlink(b"../..//bin/tool"[..].into()),
    );
    put("usr/etc", "passwd", Meta::root(0o644), text("root"));
    tree
}

/// Which form of encapsulation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format {
    V0,
    V1,
}

/// The layers of a tree's encapsulation: the first has commit and metadata, files are dealt out to
/// all in turn.
pub(super) fn encapsulate(tree: &Tree, layers: usize, format: Format) -> Vec<Vec<u8>> {
    let mut checksums = vec![None; tree.len()];
    tree.walk(|_, id| {
        let inode = tree.inode(id);
        if !tree.is_directory(id) {
            checksums[id.index()] = Some(file_checksum(&inode.meta, &inode.node).unwrap());
        }
    });
    let mut objects = Objects::new();
    let root = commit::write_tree(tree, &checksums, &mut objects).unwrap();
    let metadata = Metadata::default().string("version", "1");
    let commit = commit::write_commit(&metadata, None, 7, root, &mut objects);
    encapsulate_objects(&objects, commit, layers, format)
}

pub(super) fn encapsulate_objects(
    objects: &Objects,
    commit: Checksum,
    layers: usize,
    format: Format,
) -> Vec<Vec<u8>> {
    let mut tars: Vec<Tar> = (0..layers)
        .map(|_| Tar::new().directory("sysroot/", 0o755))
        .collect();
    let mut append = |layer: usize, change: &dyn Fn(Tar) -> Tar| {
        let tar = std::mem::replace(&mut tars[layer], Tar::new());
        tars[layer] = change(tar);
    };
    let config = "sysroot/ostree/repo/config";
    (0..layers).for_each(|layer| append(layer, &|tar| tar.file(config, "[core]\n")));
    let (commits, others): (Vec<_>, Vec<_>) = objects
        .iter()
        .partition(|(name, _)| name.checksum == commit);
    let mut turn = 0;
    for (name, object) in commits.into_iter().chain(others) {
        let path = object_path(name.checksum, name.kind.extension());
        match object {
            Object::Metadata(bytes) => {
                append(0, &|tar| tar.entry(b'0', &path, 0o644, bytes, ""));
            }
            Object::File { meta, node } => {
                let xattrs = object::xattrs(&meta.xattrs);
                let set = Checksum::of(&xattrs);
                let (stored, link) = match format {
                    Format::V0 => (
                        format!("sysroot/ostree/repo/xattrs/{set}"),
                        object_path(name.checksum, "file.xattrs"),
                    ),
                    Format::V1 => (
                        object_path(set, "file-xattrs"),
                        object_path(name.checksum, "file-xattrs-link"),
                    ),
                };
                append(turn % layers, &|tar| {
                    let tar = tar.entry(b'0', &stored, 0o644, &xattrs, "");
                    let tar = tar.link(&link, &stored);
                    let mut header = header(b'0', &path, u32::from(meta.mode), 0, "");
                    header.set_uid(meta.uid.into());
                    header.set_gid(meta.gid.into());
                    header.set_mtime(0);
                    match node {
                        Node::File(content) => {
                            header.set_size(content.len());
                            let data = content.to_vec(1 << 20).unwrap();
                            tar.raw(header, &data).link("usr/seen", &path)
                        }
                        Node::Symlink(target) => {
                            header.set_entry_type(tar::EntryType::Symlink);
                            header.set_link_name_literal(target).unwrap();
                            tar.raw(header, b"")
                        }
                        _ => unreachable!(),
                    }
                });
                turn += 1;
            }
        }
    }
    tars.into_iter().map(Tar::finish).collect()
}

pub(super) fn object_path(checksum: Checksum, extension: &str) -> String {
    let name = checksum.to_string();
    format!(
        "sysroot/ostree/repo/objects/{}/{}.{extension}",
        &name[..2],
        &name[2..]
    )
}

/// An image, and how it is to be imported.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) layers: Vec<Vec<u8>>,
    /// How many layers are the encapsulated commit's.
    pub(super) base: usize,
    pub(super) created: Option<&'static str>,
    pub(super) threads: usize,
    pub(super) importer: Importer,
    pub(super) libostree: Option<LibostreeVersion>,
    pub(super) limits: Limits,
    /// Labels everything by this, and what comes after a `/` by its path.
    pub(super) labels: bool,
}

impl Image {
    /// The small base with layers on top.
    pub(super) fn on_base(layers: impl IntoIterator<Item = Tar>) -> Self {
        let mut all = encapsulate(&base_tree(), 2, Format::V1);
        let base = all.len();
        all.extend(layers.into_iter().map(Tar::finish));
        Self {
            layers: all,
            base,
            ..Self::of(vec![])
        }
    }

    /// An image without ostree.
    pub(super) fn of(layers: Vec<Vec<u8>>) -> Self {
        Self {
            layers,
            base: 0,
            created: Some("2024-01-01T00:00:00Z"),
            threads: 2,
            importer: Importer::Bootc,
            libostree: None,
            limits: Limits::default(),
            labels: true,
        }
    }

    pub(super) fn digest(&self, layer: usize) -> String {
        // Compressed and uncompressed digests differ in real images.
        format!(
            "sha256:{}",
            Checksum::of(&[&self.layers[layer][..], b"gz"].concat())
        )
    }

    pub(super) fn import(&self) -> Result<Imported> {
        self.import_with(&|layer| Ok(Box::new(Cursor::new(self.layers[layer].clone()))))
    }

    pub(super) fn import_with(&self, open: &OpenLayer<'_>) -> Result<Imported> {
        self.read(open, |source, store, options| {
            import(source, store, options, &Silent)
        })
    }

    /// The tree, with the contents of those files that `keep` asks for.
    pub(super) fn tree(&self, keep: Keep<'_>) -> Result<Tree> {
        let open = |layer: usize| Ok(Box::new(Cursor::new(self.layers[layer].clone())) as _);
        self.read(&open, |source, store, options| {
            Ok(read_tree(source, store, keep, options, &Silent)?.0)
        })
    }

    fn read<T>(
        &self,
        open: &OpenLayer<'_>,
        read: impl FnOnce(&Source, &Store, &Options) -> Result<T>,
    ) -> Result<T> {
        let layers: Vec<LayerFacts> = (0..self.layers.len())
            .map(|layer| LayerFacts {
                digest: self.digest(layer),
                diff_id: format!("sha256:{}", Checksum::of(&self.layers[layer])),
                size_bytes: 0,
            })
            .collect();
        let mut config = serde_json::json!({ "config": { "Labels": {} } });
        if let Some(created) = self.created {
            config["created"] = created.into();
        }
        if let Some(last) = self.base.checked_sub(1) {
            let diff_id = layers[last].diff_id.clone();
            config["config"]["Labels"]["ostree.final-diffid"] = diff_id.into();
        }
        read(
            &Source {
                manifest_digest: "sha256:ab",
                manifest: b"{}",
                config: config.to_string().as_bytes(),
                layers: &layers,
                open,
            },
            &Store::create(&std::env::temp_dir(), 1 << 30)?,
            &Options {
                threads: NonZeroUsize::new(self.threads).unwrap(),
                reference: &ContainerReference::registry("q.io/x:y"),
                importer: self.importer,
                libostree: self.libostree,
                labels: &|_| Ok(self.labels.then(|| Box::new(ByPath) as Box<dyn Labels>)),
                limits: self.limits,
            },
        )
    }

    /// The whole error of an import that has to fail.
    pub(super) fn error(&self) -> String {
        format!(
            "{:#}",
            self.import().expect_err("this image cannot be imported")
        )
    }
}

/// A policy that labels by type and first directory, and says nothing about `/usr/lib/dir`.
struct ByPath;

impl Labels for ByPath {
    fn label(&self, path: &[u8], file_type: FileType) -> Option<Arc<[u8]>> {
        assert!(path.starts_with(b"/") && !path.ends_with(b"\0"));
        let path = String::from_utf8(path.to_vec()).unwrap();
        let second = path.split('/').nth(2).unwrap_or_default();
        let label = format!("{file_type:?}:{second}");
        (!path.starts_with("/usr/lib/dir")).then(|| label.into_bytes().into())
    }
}

/// Every path with type, owner, mode, attributes and content or target: what two trees are
/// compared by.
pub(super) fn listing(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    tree.walk(|path, id| {
        let inode = tree.inode(id);
        let meta = &inode.meta;
        let node = match &inode.node {
            Node::Directory(_) => "d".to_owned(),
            Node::File(content) => {
                format!(
                    "- {:?}",
                    String::from_utf8(content.to_vec(1 << 20).unwrap()).unwrap()
                )
            }
            Node::Symlink(target) => format!("l {:?}", String::from_utf8_lossy(target)),
            _ => panic!("ostree has no devices"),
        };
        let xattrs: Vec<String> = meta
            .xattrs
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        lines.push(format!(
            "/{} {node} {}:{} {:o} {}",
            String::from_utf8_lossy(path),
            meta.uid,
            meta.gid,
            meta.mode,
            xattrs.join(" ")
        ));
    });
    lines
}

/// What the listing says of one path.
pub(super) fn line(imported: &Imported, path: &str) -> Option<String> {
    let start = format!("{path} ");
    let lines = listing(&imported.tree);
    lines.into_iter().find(|line| line.starts_with(&start))
}

/// Checksums of all objects of a kind.
pub(super) fn objects(imported: &Imported, kind: Kind) -> Vec<Checksum> {
    let names = imported.objects.keys().filter(|name| name.kind == kind);
    names.map(|name| name.checksum).collect()
}
