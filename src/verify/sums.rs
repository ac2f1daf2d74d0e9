//! Checksums of whole files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::verified::Verified;
use crate::failure::Failure;
use crate::foreign::visible;
use crate::progress::Progress;
use crate::record::{self, Record};

/// The file beside media that `sha256sum --check` takes.
const LIST: &str = "sha256sum.txt";
/// Longest list in bytes.
const LIST_MAX_BYTES: u64 = 1 << 20;
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// A file as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    name: String,
    /// Length in bytes; a list does not tell it.
    size: Option<u64>,
    /// Lower-case hex.
    sha256: String,
}

/// What the bytes of media have to be.
pub(super) struct Sums {
    /// Where that is from.
    file: PathBuf,
    /// Whether somebody named it.
    is_named: bool,
    sums: Vec<Sum>,
}

/// What messages call a file.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

impl Sums {
    /// The file that was named, or the one beside the media, if there is one.
    pub(super) fn find(path: &Path, named: Option<&Path>) -> Result<Option<Self>> {
        if let Some(file) = named {
            return Self::read(file, true).map(Some);
        }
        let directory = match path.is_dir() {
            true => path,
            false => match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                Some(parent) => parent,
                None => return Ok(None),
            },
        };
        for name in [record::NAME, LIST] {
            let file = directory.join(name);
            if file.is_file() {
                return Self::read(&file, false).map(Some);
            }
        }
        Ok(None)
    }

    fn read(file: &Path, is_named: bool) -> Result<Self> {
        let is_list = file.extension().is_some_and(|extension| extension == "txt");
        let sums = match is_list {
            true => list(file)?,
            false => {
                let files = Record::read(file)?.files.into_iter();
                files
                    .map(|artifact| Sum {
                        name: artifact.name,
                        size: Some(artifact.size),
                        sha256: artifact.sha256,
                    })
                    .collect()
            }
        };
        Ok(Self {
            file: file.to_owned(),
            is_named,
            sums,
        })
    }

    /// Compares the media at `path`. False if they are none of those that it is about.
    pub(super) fn compare(
        &self,
        path: &Path,
        verified: &mut Verified,
        progress: &dyn Progress,
    ) -> Result<bool> {
        if path.is_dir() {
            for sum in &self.sums {
                if !self.compare_one(&path.join(&sum.name), sum, verified, progress) {
                    break;
                }
            }
            return Ok(!self.sums.is_empty());
        }
        let name = name_of(path);
        if let Some(sum) = self.sums.iter().find(|sum| sum.name == name) {
            self.compare_one(path, sum, verified, progress);
            return Ok(true);
        }
        if !self.is_named {
            return Ok(false);
        }
        // A device, or a file that was renamed: its beginning is one of them.
        let looked = self.recognise(path, progress);
        verified.note(&name, "checksum", looked);
        Ok(true)
    }

    fn compare_one(
        &self,
        path: &Path,
        sum: &Sum,
        verified: &mut Verified,
        progress: &dyn Progress,
    ) -> bool {
        let looked = || {
            let file = open(path)?;
            let len = file.metadata()?.len();
            if let Some(size) = sum.size {
                ensure!(len == size, "it has {len} bytes, and not {size}");
            }
            progress.begin(&format!("reading {}", visible(&sum.name)), len);
            let hashed = prefixes(file, &[len], progress);
            progress.end();
            ensure!(
                hashed?.first() == Some(&sum.sha256),
                "its SHA-256 is not {}, which {} has for it",
                sum.sha256,
                self.name()
            );
            Ok(format!("SHA-256 as in {}", self.name()))
        };
        verified.note(&sum.name, "checksum", looked())
    }

    /// Which of the files `path` begins with.
    fn recognise(&self, path: &Path, progress: &dyn Progress) -> Result<String> {
        let mut sizes: Vec<u64> = self.sums.iter().filter_map(|sum| sum.size).collect();
        if sizes.is_empty() {
            bail!(Failure::new(
                format!("{} does not tell how long files are", self.name()),
                "name the bake.json of the media",
            ));
        }
        sizes.sort_unstable();
        sizes.dedup();
        progress.begin("comparing with what was baked", sizes[sizes.len() - 1]);
        let hashed = prefixes(open(path)?, &sizes, progress);
        progress.end();
        let hashed = hashed?;
        let is_it = |sum: &&Sum| {
            let at = sum.size.and_then(|size| sizes.binary_search(&size).ok());
            at.and_then(|at| hashed.get(at)) == Some(&sum.sha256)
        };
        // The longest, should one be the beginning of another.
        let found = self.sums.iter().filter(is_it).max_by_key(|sum| sum.size);
        let found = found
            .with_context(|| format!("it begins with none of the files of {}", self.name()))?;
        Ok(format!(
            "begins with {}, byte for byte",
            visible(&found.name)
        ))
    }

    fn name(&self) -> String {
        name_of(&self.file)
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("opening {}", path.display()))
}

/// The SHA-256 of the first bytes of a file, for each of several numbers of bytes in ascending order; fewer if it
/// ends before.
fn prefixes(file: File, sizes: &[u64], progress: &dyn Progress) -> Result<Vec<String>> {
    let mut file = file.take(sizes.last().copied().unwrap_or_default());
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let (mut at, mut hashed) = (0, Vec::new());
    loop {
        let next = sizes.get(hashed.len());
        let Some(left) = next.map(|size| size - at) else {
            return Ok(hashed);
        };
        if left == 0 {
            hashed.push(hex::encode(hash.clone().finalize()));
            continue;
        }
        let most = left.min(CHUNK as u64) as usize;
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Ok(hashed);
        }
        hash.update(&buffer[..read]);
        at += read as u64;
        progress.advance(read as u64);
    }
}

/// Reads a list; lines that are none are an error.
fn list(file: &Path) -> Result<Vec<Sum>> {
    let mut text = String::new();
    let open = open(file)?;
    open.take(LIST_MAX_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", file.display()))?;
    ensure!(
        text.len() as u64 <= LIST_MAX_BYTES,
        "{} is larger than {LIST_MAX_BYTES} bytes",
        file.display()
    );
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines = lines.map(|line| {
        let (sha256, name) = line.split_once([' ']).unwrap_or_default();
        // The second character says whether the file is text, which makes no difference.
        let name = name.strip_prefix([' ', '*']).unwrap_or(name);
        let is_sum = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_name = !name.is_empty() && !name.contains('/') && name != "..";
        ensure!(
            is_sum && is_name,
            "{} has a line that is not a checksum of a file beside it: {}",
            file.display(),
            visible(line)
        );
        Ok(Sum {
            name: name.to_owned(),
            size: None,
            sha256: sha256.to_ascii_lowercase(),
        })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::progress::Silent;

    #[test]
    fn beginnings_are_hashed_in_one_pass() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stick");
        fs::write(&path, b"abcdef").unwrap();
        let hashed = |sizes: &[u64]| prefixes(open(&path).unwrap(), sizes, &Silent).unwrap();
        let of = |text: &str| hex::encode(Sha256::digest(text));
        assert_eq!(hashed(&[3, 6]), [of("abc"), of("abcdef")]);
        assert_eq!(hashed(&[0, 2, 7]), [of(""), of("ab")]);
        assert_eq!(hashed(&[]), Vec::<String>::new());
    }

    #[test]
    fn lists_name_files_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LIST);
        let sum = "a".repeat(64);
        fs::write(&path, format!("{sum}  a.iso\n{sum} *b c\n\n")).unwrap();
        let names: Vec<String> = list(&path)
            .unwrap()
            .into_iter()
            .map(|sum| sum.name)
            .collect();
        assert_eq!(names, ["a.iso", "b c"]);
        for line in [
            format!("{sum}  ../a"),
            sum.clone(),
            format!("{sum} "),
            format!("{}  a", &sum[1..]),
            "hello".to_owned(),
        ] {
            fs::write(&path, line).unwrap();
            assert!(list(&path).is_err());
        }
    }
}
