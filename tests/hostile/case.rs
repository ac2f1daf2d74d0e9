//! A hostile image, what has to become of it, and how that is found out.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use bake_format::progress::Progress;
use bake_tree::{Node, Tree};
use coreos_bake::testing::image::Access;
use coreos_bake::testing::os::{Glance, ReadOptions, Source};

use super::image::Image;
use super::tar::Tar;

/// What has to become of an image.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// An error with these words in it.
    Refused(&'static str),
    /// Read with one warning, which has these words in it, and with this difference to the base.
    Warned(&'static str, &'static [&'static str]),
    /// Read without a word, with this difference to the base.
    Accepted(&'static [&'static str]),
}

/// How an image is written into a directory; gives the reference by which it is read.
type Write = Box<dyn Fn(&Path) -> String + Send + Sync>;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    write: Write,
}

impl Case {
    /// An image that is written by hand.
    pub(crate) fn written(
        name: &str,
        verdict: Verdict,
        write: impl Fn(&Path) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            write: Box::new(write),
        }
    }

    /// An image in a layout.
    pub(crate) fn image(name: &str, verdict: Verdict, image: Image) -> Self {
        Self::written(name, verdict, move |directory| {
            image.write(&directory.join("image"));
            format!("oci:{}", directory.join("image").display())
        })
    }

    /// An image whose layout is damaged once it is written.
    pub(crate) fn damaged(
        name: &str,
        verdict: Verdict,
        image: Image,
        damage: impl Fn(&Path) + Send + Sync + 'static,
    ) -> Self {
        Self::written(name, verdict, move |directory| {
            let layout = directory.join("image");
            image.write(&layout);
            damage(&layout);
            format!("oci:{}", layout.display())
        })
    }

    /// The tiny base and one more layer.
    pub(crate) fn layer(name: &str, verdict: Verdict, tar: Tar) -> Self {
        Self::image(name, verdict, Image::tiny().layer(tar.end()))
    }

    /// The tiny base and several more layers.
    pub(crate) fn layers(
        name: &str,
        verdict: Verdict,
        tars: impl IntoIterator<Item = Tar>,
    ) -> Self {
        let tars = tars.into_iter();
        let image = tars.fold(Image::tiny(), |image, tar| image.layer(tar.end()));
        Self::image(name, verdict, image)
    }

    /// Reads the image as `check` and `layer` do: less of it, so that not all is seen that is wrong.
    fn glance(&self, reference: &str, work: &Work, read: Option<&Read>) -> Result<(), String> {
        let listener = Listener::default();
        let reference = reference.parse().expect("written by the case");
        let glance = Glance::read(
            &reference,
            &options(&work.scratch),
            &work.scratch,
            &listener,
        );
        work.check()?;
        if let Err(error) = glance {
            let error = told(error);
            is_sentence(&error)?;
            return match read {
                Some(_) => Err(format!("a glance is refused: {error}")),
                None => Ok(()),
            };
        }
        let warnings = listener.0.into_inner().unwrap();
        match read {
            Some(read) if read.warnings != warnings => Err(format!("a glance warns: {warnings:?}")),
            _ => Ok(()),
        }
    }

    /// Reads the image in a directory of its own, and says what is wrong with the outcome.
    pub(crate) fn run(&self) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let work = Work::new(directory.path());
        let reference = (self.write)(&work.case);
        let outcome = read(&reference, &work.scratch);
        work.check()?;
        self.glance(&reference, &work, outcome.as_ref().ok())?;
        match (&self.verdict, outcome) {
            (Verdict::Refused(words), Err(error)) => {
                is_sentence(&error)?;
                match error.contains(words) {
                    true => Ok(()),
                    false => Err(format!("no {words:?} in: {error}")),
                }
            }
            (Verdict::Refused(words), Ok(read)) => Err(format!("not refused ({words}): {read:?}")),
            (_, Err(error)) => Err(format!("refused: {error}")),
            (Verdict::Warned(words, changes), Ok(read)) => {
                read.warnings
                    .iter()
                    .try_for_each(|text| is_sentence(text))?;
                match &read.warnings[..] {
                    [one] if one.contains(words) => read.is(changes),
                    _ => Err(format!("not warned of {words:?} alone: {read:?}")),
                }
            }
            (Verdict::Accepted(changes), Ok(read)) if read.warnings.is_empty() => read.is(changes),
            (Verdict::Accepted(_), Ok(read)) => Err(format!("warned: {read:?}")),
        }
    }
}

/// Longest sentence about an image, however long what it quotes is.
const SENTENCE_MAX: usize = 16 << 10;

/// Whether a message is one line that a terminal can be shown.
fn is_sentence(text: &str) -> Result<(), String> {
    match text.len() <= SENTENCE_MAX && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!(
            "not a sentence: {:?}",
            text.chars().take(500).collect::<String>()
        )),
    }
}

/// Where a case may write, and what stands beside it.
struct Work {
    top: PathBuf,
    case: PathBuf,
    scratch: PathBuf,
}

/// What links of hostile images lead to, beside the directory that they lie in.
pub(crate) const SENTINEL: &str = "sentinel";
const SECRET: &str = "nobody may read or change this\n";

impl Work {
    fn new(top: &Path) -> Self {
        let work = Self {
            top: top.to_owned(),
            case: top.join("case"),
            scratch: top.join("case/scratch"),
        };
        fs::create_dir_all(&work.scratch).unwrap();
        fs::write(top.join(SENTINEL), SECRET).unwrap();
        work
    }

    /// Nothing was written outside, and nothing is left inside.
    fn check(&self) -> Result<(), String> {
        let sentinel = fs::read_to_string(self.top.join(SENTINEL)).ok();
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).unwrap();
            let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<String> = entries
                .map(|entry| name(entry).into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let beside = names(&self.top);
        if sentinel.as_deref() != Some(SECRET) || beside != ["case", SENTINEL] {
            return Err(format!("it got out: {beside:?}, {sentinel:?}"));
        }
        match names(&self.scratch).as_slice() {
            [] => Ok(()),
            left => Err(format!("it left {left:?}")),
        }
    }
}

/// What was read of an image.
#[derive(Debug)]
struct Read {
    warnings: Vec<String>,
    changes: Vec<String>,
}

impl Read {
    fn is(&self, changes: &[&str]) -> Result<(), String> {
        match self.changes == changes {
            true => Ok(()),
            false => Err(format!("read as {:#?}", self.changes)),
        }
    }
}

fn read(reference: &str, scratch: &Path) -> Result<Read, String> {
    let listener = Listener::default();
    let tree = tree_of(reference, scratch, &listener)?;
    Ok(Read {
        warnings: listener.0.into_inner().unwrap(),
        changes: changes(&BASE, &listing(&tree)),
    })
}

fn tree_of(reference: &str, scratch: &Path, listener: &Listener) -> Result<Tree, String> {
    let reference = reference.parse().expect("written by the case");
    let source = Source::read(&reference, &options(scratch), scratch, listener).map_err(told)?;
    Ok(source.imported.tree)
}

fn options(scratch: &Path) -> ReadOptions {
    ReadOptions {
        access: Access::new(scratch),
        target_imgref: None,
        threads: NonZeroUsize::MIN.saturating_add(1),
    }
}

fn told(error: anyhow::Error) -> String {
    coreos_bake::testing::sentence(&*error)
}

/// Keeps warnings.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Progress for Listener {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn warn(&self, sentence: &str) {
        self.0.lock().unwrap().push(sentence.to_owned());
    }
}

/// Every path of a tree with what is there: kind, owner, mode, attributes, content or target.
type Listing = BTreeMap<String, String>;

/// The tiny base by itself, which has to be read without a word.
static BASE: LazyLock<Listing> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::default();
    Image::tiny().write(&directory.path().join("image"));
    let reference = format!("oci:{}", directory.path().join("image").display());
    let tree = tree_of(&reference, directory.path(), &listener).expect("the base is read");
    assert_eq!(*listener.0.lock().unwrap(), [] as [&str; 0]);
    listing(&tree)
});

/// Contents longer than this are shown by their length.
const SHOWN_MAX: u64 = 40;

fn listing(tree: &Tree) -> Listing {
    let mut lines = Listing::new();
    tree.walk(|path, id| {
        let inode = tree.inode(id);
        let node = match &inode.node {
            Node::Directory(_) => "directory".to_owned(),
            Node::File(content) if content.len() > SHOWN_MAX => format!("{} bytes", content.len()),
            Node::File(content) => {
                let bytes = content.to_vec(SHOWN_MAX).unwrap();
                format!("\"{}\"", bytes.escape_ascii())
            }
            Node::Symlink(target) if target.len() > SHOWN_MAX as usize => {
                format!("-> {} bytes", target.len())
            }
            Node::Symlink(target) => format!("-> {}", target.escape_ascii()),
            _ => "something else".to_owned(),
        };
        let meta = &inode.meta;
        let mut line = format!("{}:{} {:o} {node}", meta.uid, meta.gid, meta.mode);
        for (name, value) in meta.xattrs.iter() {
            let value = match value.len() > SHOWN_MAX as usize {
                true => format!("{} bytes", value.len()),
                false => value.escape_ascii().to_string(),
            };
            line += &format!(" {}={value}", shortened(&name.escape_ascii().to_string()));
        }
        lines.insert(shortened(&path.escape_ascii().to_string()), line);
    });
    lines
}

/// Long names by their beginning and their length.
fn shortened(name: &str) -> String {
    match name.len() > 80 {
        true => format!("{}…{}", &name[..20], name.len()),
        false => name.to_owned(),
    }
}

/// `+` for what is new, `~` for what has changed, `-` for what is gone.
fn changes(base: &Listing, found: &Listing) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, line) in found {
        match base.get(path) {
            None => lines.push(format!("+{path} {line}")),
            Some(before) if before != line => lines.push(format!("~{path} {line}")),
            Some(_) => {}
        }
    }
    let gone = base.keys().filter(|path| !found.contains_key(*path));
    lines.extend(gone.map(|path| format!("-{path}")));
    lines
}
