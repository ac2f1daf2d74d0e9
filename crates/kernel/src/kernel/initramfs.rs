//! An initramfs read into a small file system: all names, and the contents that tell about modules.
//!
//! Names are entered the way the kernel enters them: through symbolic links that are there already
//! (`lib -> usr/lib`), later ones over earlier ones, and not at all where the directory is missing.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::files::Files;
use super::modules::module_name;
use bake_format::cpio::{Limits, Member, Segment, read_initramfs};
use bake_tree::{Follow, Step, walk};

/// Largest file whose content is kept.
const KEPT_FILE_MAX_BYTES: u64 = 64 << 20;

/// Most memory that kept contents take. Modules that are not compressed are kept compressed, so
/// even initramfs with every module of a distribution stay below this.
const KEPT_MAX_BYTES: usize = 192 << 20;

/// How much is kept as it is before modules are compressed, which takes longer than reading them.
const PLAIN_MAX_BYTES: usize = 48 << 20;

/// Most memory that names and targets of links take; real ones come to less than a megabyte.
const NAMES_MAX_BYTES: usize = 64 << 20;

/// Longest path and longest target of a symbolic link, with a NUL (`PATH_MAX`).
const PATH_MAX_BYTES: usize = 4096;

/// How much an initramfs may hold. Each member costs memory here, and real ones have some 10 000.
const LIMITS: Limits = Limits {
    members: 1 << 18,
    expanded_bytes: 8 << 30,
};

/// How many names of lost members are remembered.
const LOST_MAX: usize = 20;

/// Directories with configuration that decides about modules.
const CONFIGURATION: [&str; 2] = ["modprobe.d", "modules-load.d"];

/// Files by which dracut tells how it made the initramfs, in its own directory, and arguments that it
/// put in.
const DRACUT_DIRECTORY: &str = "lib/dracut";
const DRACUT_ARGUMENTS: &str = "etc/cmdline";

/// Indexes of which it is looked at whether they are whole.
const BINARY_INDEXES: [&str; 2] = ["modules.dep.bin", "modules.alias.bin"];

/// What files of a live system's initramfs begin with that tell of its root file system.
const LIVE_FILES: &str = "etc/coreos-live-";

/// An initramfs that was read.
#[derive(Debug, Default)]
pub struct Initramfs {
    segments: Vec<Segment>,
    /// By path without `/` in front.
    nodes: BTreeMap<String, Node>,
    files: Vec<File>,
    kept_bytes: usize,
    names_bytes: usize,
    lost: Vec<String>,
}

#[derive(Clone, Debug)]
enum Node {
    Directory,
    /// Position in `files`; names of the same file share one.
    File(usize),
    Symlink(String),
    Other,
}

#[derive(Debug)]
struct File {
    size: u64,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Not,
    Plain(Box<[u8]>),
    /// zstd, of a file of this many bytes.
    Compressed(Box<[u8]>, usize),
}

impl Initramfs {
    /// Reads an initramfs to its end.
    pub fn read(input: impl Read) -> Result<Self> {
        let mut index = Self::default();
        // The kernel has these before anything is unpacked (`usr/default_cpio_list`).
        for path in ["", "dev", "root"] {
            index.nodes.insert(path.to_owned(), Node::Directory);
        }
        let segments = read_initramfs(input, &LIMITS, &mut |member, data| index.add(member, data))?;
        index.segments = segments;
        Ok(index)
    }

    /// The segments it is made of.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Paths of members that the kernel cannot unpack, as no member made their directories before;
    /// at most 20 of them.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// All paths, sorted, with the size of regular files.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.nodes
            .iter()
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, node)| {
                let size = match node {
                    Node::File(id) => Some(self.files[*id].size),
                    _ => None,
                };
                (path.as_str(), size)
            })
    }

    /// The path that is reached by following every symbolic link on `path`; whether anything is there
    /// is not asked. None if there are too many links.
    fn follow(&self, path: &str) -> Option<String> {
        let step = |path: String| Step {
            is_directory: true,
            target: match self.nodes.get(&path) {
                Some(Node::Symlink(target)) => Some(target.as_bytes().into()),
                _ => None,
            },
            entry: path,
        };
        let root = Step {
            target: None,
            ..step(String::new())
        };
        walk(root, path.as_bytes(), Follow::Last, |at, name| {
            let name = std::str::from_utf8(name)?;
            Ok(Some(step(match &**at {
                "" => name.to_owned(),
                _ => format!("{at}/{name}"),
            })))
        })
        .ok()
        .flatten()
    }

    /// What a path leads to.
    fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&self.follow(path)?)
    }

    fn add(&mut self, member: &Member, data: &mut dyn Read) -> Result<()> {
        // Nothing that is asked for has a name that is not text.
        let Ok(name) = std::str::from_utf8(&member.name) else {
            return Ok(());
        };
        let room = |path: &String| member.is_directory() || !self.is_occupied(path);
        let Some(path) = self.place(name).filter(room) else {
            if self.lost.len() < LOST_MAX {
                self.lost.push(name.to_owned());
            }
            return Ok(());
        };
        if path.is_empty() {
            return Ok(());
        }
        self.names_bytes += path.len();
        let node = if member.is_directory() {
            Node::Directory
        } else if member.is_file() {
            Node::File(self.file(member, &path, data)?)
        } else if member.is_symlink() {
            let target = target(member, data)?;
            self.names_bytes += target.len();
            Node::Symlink(target)
        } else {
            Node::Other
        };
        ensure!(
            self.names_bytes <= NAMES_MAX_BYTES,
            "names of files take more than {NAMES_MAX_BYTES} bytes"
        );
        self.nodes.insert(path, node);
        Ok(())
    }

    /// The path that a member of that name gets; None if the directory is missing.
    fn place(&self, name: &str) -> Option<String> {
        let name = name.trim_end_matches('/');
        let (directory, last) = name.rsplit_once('/').unwrap_or(("", name));
        let directory = self.follow(directory)?;
        if !matches!(self.nodes.get(&directory), Some(Node::Directory)) {
            return None;
        }
        match (&*directory, last) {
            (_, "" | ".") => Some(directory),
            (_, "..") => None,
            ("", _) => Some(last.to_owned()),
            _ => Some(format!("{directory}/{last}")).filter(|path| path.len() < PATH_MAX_BYTES),
        }
    }

    /// Whether a directory with something in it is there: it does not give way to a file.
    fn is_occupied(&self, path: &str) -> bool {
        matches!(self.nodes.get(path), Some(Node::Directory))
            && self.children(path).next().is_some()
    }

    /// Takes a regular file's content, if it is one to keep; gives its position in `files`.
    fn file(&mut self, member: &Member, path: &str, data: &mut dyn Read) -> Result<usize> {
        let linked = member.same_file.iter().find_map(|name| {
            let path = self.place(std::str::from_utf8(name).ok()?)?;
            match self.nodes.get(&path) {
                Some(Node::File(id)) => Some(*id),
                _ => None,
            }
        });
        let id = match linked {
            // Its data came, or is yet to come, with another name.
            Some(id) if member.size == 0 => return Ok(id),
            Some(id) => id,
            None => {
                self.files.push(File {
                    size: 0,
                    kept: Kept::Plain([].into()),
                });
                self.files.len() - 1
            }
        };
        let linked_names = member.same_file.iter();
        let wanted = is_kept(path)
            || linked_names
                .filter_map(|name| std::str::from_utf8(name).ok())
                .any(is_kept);
        self.files[id] = File {
            size: member.size,
            kept: match wanted {
                true => self.keep(member.size, path, data)?,
                false => Kept::Not,
            },
        };
        Ok(id)
    }

    fn keep(&mut self, size: u64, path: &str, data: &mut dyn Read) -> Result<Kept> {
        ensure!(
            size <= KEPT_FILE_MAX_BYTES,
            "{path} has {size} bytes, where at most {KEPT_FILE_MAX_BYTES} are taken"
        );
        let mut bytes = Vec::with_capacity(usize::try_from(size)?);
        data.read_to_end(&mut bytes)?;
        let kept = if path.ends_with(".ko") && self.kept_bytes > PLAIN_MAX_BYTES {
            let packed = zstd::bulk::compress(&bytes, 1).context("keeping it compressed")?;
            Kept::Compressed(packed.into(), bytes.len())
        } else {
            Kept::Plain(bytes.into())
        };
        self.kept_bytes += match &kept {
            Kept::Not => 0,
            Kept::Plain(bytes) | Kept::Compressed(bytes, _) => bytes.len(),
        };
        ensure!(
            self.kept_bytes <= KEPT_MAX_BYTES,
            "modules and their indexes take more than {KEPT_MAX_BYTES} bytes"
        );
        Ok(kept)
    }

    /// Names in a directory whose path has no links in it.
    fn children<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> {
        let prefix = match directory {
            "" => String::new(),
            _ => format!("{directory}/"),
        };
        let from = prefix.clone();
        self.nodes
            .range(from..)
            .map_while(move |(path, _)| path.strip_prefix(&*prefix))
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }
}

/// Whether a file's content tells about modules.
fn is_kept(path: &str) -> bool {
    let Some((directory, name)) = path.rsplit_once('/') else {
        return false;
    };
    let parent = directory.rsplit('/').next().unwrap_or_default();
    let is_index = (name.starts_with("modules.") && !name.ends_with(".bin"))
        || BINARY_INDEXES.contains(&name)
        || name.starts_with("symvers")
        || name == "Module.symvers";
    let is_dracuts = name.ends_with(".txt") || name.starts_with("hostonly");
    module_name(name).is_some()
        || CONFIGURATION.contains(&parent)
        // Configuration may be a link to a file anywhere.
        || name.ends_with(".conf")
        || path == DRACUT_ARGUMENTS
        || path.starts_with(LIVE_FILES)
        || (is_dracuts && directory.ends_with(DRACUT_DIRECTORY))
        || (is_index && directory.contains("lib/modules"))
}

fn target(member: &Member, data: &mut dyn Read) -> Result<String> {
    ensure!(
        member.size <= PATH_MAX_BYTES as u64,
        "a symbolic link of {} bytes",
        member.size
    );
    let mut target = Vec::new();
    data.read_to_end(&mut target)?;
    // The kernel takes it up to a NUL.
    let end = target.iter().position(|byte| *byte == 0);
    target.truncate(end.unwrap_or(target.len()));
    // A target that is not text leads nowhere that could be asked for.
    Ok(String::from_utf8(target).unwrap_or_default())
}

impl Files for Initramfs {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(Node::File(id)) = self.node(path) else {
            return Ok(None);
        };
        Ok(Some(match &self.files[*id].kept {
            Kept::Plain(bytes) => bytes.to_vec(),
            Kept::Compressed(bytes, size) => {
                zstd::bulk::decompress(bytes, *size).with_context(|| format!("reading {path}"))?
            }
            Kept::Not => anyhow::bail!("the content of {path} in the initramfs was not kept"),
        }))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.node(path).is_some())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let Some(directory) = self.follow(directory) else {
            return Ok(Vec::new());
        };
        Ok(self.children(&directory).map(str::to_owned).collect())
    }
}
