//! What costs much to make and will be made again, kept from one run to the next.
//!
//! ```text
//! DIR/v1/ab/cdef…   the bytes | XXH3-128 of key and bytes
//! ```
//!
//! A key is the SHA-256 of everything that the bytes depend on, so an entry is never out of date, and
//! whether one was found doesn't show in any output. An entry that was damaged, cut short by a power
//! failure, or put under another name is not taken for what it isn't: it is made again.
//!
//! Nobody fails for want of a cache. What can't be read is not there; what can't be written is not
//! kept. Several runs may use one directory at the same time.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use xxhash_rust::xxh3::Xxh3;

/// The version of the layout.
const LAYOUT: &str = "v1";
/// What the names of entries begin with until they are whole.
const UNFINISHED: &str = ".new-";
/// Digits of a key that name its shelf; the rest is the entry's name.
const SHELF_DIGITS: usize = 2;
/// After this an unfinished entry is taken for what a killed run has left.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Bytes of the checksum behind an entry.
const CHECKSUM: usize = 16;
/// The part of the free space that one run takes at most: outputs may go to the same file system.
const SHARE_OF_FREE: u64 = 4;

/// The modes by which a group, or everybody, may write.
const OTHERS_WRITE: u32 = 0o022;

/// SHA-256 of everything that an entry's bytes depend on.
pub type Key = [u8; 32];

/// How many entries, and how large they are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Entries, and what is becoming one.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// What the cache in `directory` holds; nothing if there is none.
///
/// # Errors
/// A directory that can't be read.
pub fn look(directory: &Path) -> Result<Amount> {
    Ok(Amount::of(&entries(&shelves(directory)?)))
}

/// Removes what was not used for longest from the cache in `directory`, until the entries are within
/// `limit` bytes, and what killed runs have left. Tells what was removed.
///
/// # Errors
/// A directory that can't be read, an entry that can't be removed.
pub fn prune(directory: &Path, limit: u64) -> Result<Amount> {
    let surplus = surplus(entries(&shelves(directory)?), limit);
    remove(surplus).with_context(|| format!("pruning cache {}", directory.display()))
}

/// Removes everything from the cache in `directory`, also what another run is writing: it does without.
///
/// # Errors
/// As [`prune`].
pub fn clear(directory: &Path) -> Result<Amount> {
    let shelves = shelves(directory)?;
    let removed = remove(entries(&shelves))
        .with_context(|| format!("clearing cache {}", directory.display()))?;
    for shelf in shelves {
        // Another run may have put something there.
        let _ = fs::remove_dir(shelf);
    }
    Ok(removed)
}

/// A directory of entries.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    /// Bytes that all entries may have together, after [`Cache::trim`].
    limit: u64,
    /// Bytes that this run may still add.
    room: AtomicU64,
    added: AtomicBool,
    found: AtomicU64,
    asked: AtomicU64,
}

impl Cache {
    /// Opens the cache in `directory`, which is made if it is missing; [`Cache::trim`] leaves `limit`
    /// bytes in it.
    ///
    /// # Errors
    /// A directory that can't be made or written to.
    pub fn open(directory: &Path, limit: u64) -> Result<Self> {
        let shown = directory.display();
        let inner = directory.join(LAYOUT);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&inner)
            .with_context(|| format!("making cache directory {shown}"))?;
        // Said now and once, not found out at every entry.
        tempfile::tempfile_in(&inner).with_context(|| format!("writing to cache {shown}"))?;
        let space =
            rustix::fs::statvfs(&inner).with_context(|| format!("looking at cache {shown}"))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        Ok(Self {
            directory: inner,
            limit,
            room: AtomicU64::new(limit.min(free / SHARE_OF_FREE)),
            added: AtomicBool::new(false),
            found: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        })
    }

    /// Like [`Cache::open`], for a directory that nobody has named: it has to be the user's own, as
    /// whoever can write to it says what is in the outputs.
    ///
    /// # Errors
    /// As [`Cache::open`]; a directory of somebody else, or that others may write to.
    pub fn open_own(directory: &Path, limit: u64) -> Result<Self> {
        let cache = Self::open(directory, limit)?;
        let metadata = fs::metadata(&cache.directory)?;
        let (owner, mode) = (metadata.uid(), metadata.mode());
        let user = rustix::process::geteuid().as_raw();
        let shown = directory.display();
        ensure!(owner == user, "cache {shown} belongs to user {owner}");
        ensure!(
            mode & OTHERS_WRITE == 0,
            "others than user {owner} may write to cache {shown}"
        );
        Ok(cache)
    }

    /// Appends the entry's bytes to `output` if there is one of at most `max` bytes.
    pub fn get(&self, key: &Key, max: usize, output: &mut Vec<u8>) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let start = output.len();
        let whole = self.read(key, max, output).unwrap_or(false);
        if whole {
            self.found.fetch_add(1, Ordering::Relaxed);
        } else {
            output.truncate(start);
        }
        whole
    }

    /// Whether what was appended is the entry that was asked for.
    fn read(&self, key: &Key, max: usize, output: &mut Vec<u8>) -> io::Result<bool> {
        let start = output.len();
        let file = File::open(self.path(key))?;
        // One byte more than is taken, so that what is longer is seen to be.
        let read = (&file)
            .take((max + CHECKSUM) as u64 + 1)
            .read_to_end(output)?;
        let Some(len) = read.checked_sub(CHECKSUM).filter(|len| *len <= max) else {
            return Ok(false);
        };
        let end = start + len;
        if output[end..] != checksum(key, &output[start..end]) {
            return Ok(false);
        }
        output.truncate(end);
        // What is in use is trimmed last. Not being allowed to say so is no reason to do without.
        let _ = file.set_modified(SystemTime::now());
        Ok(true)
    }

    /// Keeps `bytes` under `key`, if there is room.
    pub fn put(&self, key: &Key, bytes: &[u8]) {
        let needed = (bytes.len() + CHECKSUM) as u64;
        let room = self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
                room.checked_sub(needed)
            });
        if room.is_ok() && self.write(key, bytes).is_ok() {
            self.added.store(true, Ordering::Relaxed);
        }
    }

    fn write(&self, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let directory = path.parent().expect("an entry is in a directory");
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        let mut file = match builder.tempfile_in(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)?;
                builder.tempfile_in(directory)?
            }
            made => made?,
        };
        file.write_all(bytes)?;
        file.write_all(&checksum(key, bytes))?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes what was not used for longest, until the entries are within the limit, and what killed
    /// runs have left.
    pub fn trim(&self) {
        if !self.added.load(Ordering::Relaxed) {
            return;
        }
        let shelves = shelves_in(&self.directory).unwrap_or_default();
        // What can't be removed takes room, and does no other harm.
        let _ = remove(surplus(entries(&shelves), self.limit));
    }

    /// How many entries were found, and how many asked for.
    pub fn uses(&self) -> (u64, u64) {
        (
            self.found.load(Ordering::Relaxed),
            self.asked.load(Ordering::Relaxed),
        )
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = hex::encode(key);
        let (shelf, name) = name.split_at(SHELF_DIGITS);
        self.directory.join(shelf).join(name)
    }
}

/// A file in the cache.
struct Entry {
    path: PathBuf,
    len: u64,
    used: SystemTime,
    unfinished: bool,
}

impl Amount {
    fn of(entries: &[Entry]) -> Self {
        Self {
            entries: entries.len() as u64,
            bytes: entries.iter().map(|entry| entry.len).sum(),
        }
    }
}

/// The directories that the cache in `directory` has its entries in.
fn shelves(directory: &Path) -> Result<Vec<PathBuf>> {
    match shelves_in(&directory.join(LAYOUT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        shelves => shelves.with_context(|| format!("reading cache {}", directory.display())),
    }
}

fn shelves_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut shelves = Vec::new();
    for shelf in fs::read_dir(directory)? {
        let shelf = shelf?;
        // Nothing else is touched, wherever somebody says that a cache is.
        if is_hex(shelf.file_name().as_encoded_bytes(), SHELF_DIGITS) {
            shelves.push(shelf.path());
        }
    }
    Ok(shelves)
}

/// What is on the shelves; what can't be looked at is left alone.
fn entries(shelves: &[PathBuf]) -> Vec<Entry> {
    let files = shelves.iter().filter_map(|shelf| fs::read_dir(shelf).ok());
    let entry = |file: fs::DirEntry| {
        let name = file.file_name();
        let name = name.as_encoded_bytes();
        let unfinished = name.starts_with(UNFINISHED.as_bytes());
        if !unfinished && !is_hex(name, 2 * size_of::<Key>() - SHELF_DIGITS) {
            return None;
        }
        let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Entry {
            unfinished,
            path: file.path(),
            len: metadata.len(),
            used: metadata.modified().ok()?,
        })
    };
    files.flatten().flatten().filter_map(entry).collect()
}

fn is_hex(name: &[u8], digits: usize) -> bool {
    name.len() == digits && name.iter().all(u8::is_ascii_hexdigit)
}

/// What has to go for the rest to be within `limit` bytes: what was not used for longest, and what killed
/// runs have left.
fn surplus(mut entries: Vec<Entry>, limit: u64) -> Vec<Entry> {
    let mut total = Amount::of(&entries).bytes;
    entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    let now = SystemTime::now();
    entries.retain(|entry| {
        let age = now.duration_since(entry.used);
        let abandoned = entry.unfinished && age.is_ok_and(|age| age > ABANDONED);
        let goes = total > limit || abandoned;
        if goes {
            total -= entry.len;
        }
        goes
    });
    entries
}

/// Removes entries as far as that is possible; the first error, if there is one.
fn remove(entries: Vec<Entry>) -> io::Result<Amount> {
    let mut removed = Amount::default();
    let mut fault = None;
    for entry in entries {
        match fs::remove_file(&entry.path) {
            Ok(()) => {
                removed.entries += 1;
                removed.bytes += entry.len;
            }
            // Another run has.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    fault.map_or(Ok(removed), Err)
}

fn checksum(key: &Key, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = Xxh3::new();
    hash.update(key);
    hash.update(bytes);
    hash.digest128().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MAX: usize = 100;

    fn got(cache: &Cache, key: &Key) -> Option<Vec<u8>> {
        let mut output = b"before ".to_vec();
        let found = cache.get(key, MAX, &mut output);
        let rest = output.split_off(b"before ".len());
        assert_eq!(output, b"before ");
        assert!(found || rest.is_empty());
        found.then_some(rest)
    }

    #[test]
    fn entries_come_back_in_another_run() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("made/when/missing");
        let cache = Cache::open(&place, 1 << 20).unwrap();
        assert_eq!(got(&cache, &[1; 32]), None);
        cache.put(&[1; 32], b"one");
        cache.put(&[2; 32], b"");
        cache.put(&[3; 32], &[7; MAX + 1]);
        assert_eq!(got(&cache, &[1; 32]).unwrap(), b"one");
        let cache = Cache::open_own(&place, 1 << 20).unwrap();
        assert_eq!(got(&cache, &[1; 32]).unwrap(), b"one");
        assert_eq!(got(&cache, &[2; 32]).unwrap(), b"");
        // Longer than the one who asks can use.
        assert_eq!(got(&cache, &[3; 32]), None);
        assert_eq!(cache.uses(), (2, 3));
    }

    #[test]
    fn what_others_may_write_to_is_used_only_if_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join(LAYOUT);
        fs::create_dir(&inner).unwrap();
        for (mode, is_own) in [
            (0o700, true),
            (0o755, true),
            (0o770, false),
            (0o1777, false),
        ] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
            let own = Cache::open_own(directory.path(), 1);
            assert_eq!(own.is_ok(), is_own, "{mode:o}: {own:?}");
            Cache::open(directory.path(), 1).unwrap();
        }
    }

    #[test]
    fn what_is_damaged_or_misplaced_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), 1 << 20).unwrap();
        let key = [1; 32];
        cache.put(&key, b"some bytes");
        let path = cache.path(&key);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert_eq!(got(&cache, &key), None, "byte {at} flipped");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(got(&cache, &key), None, "cut to {at} bytes");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(got(&cache, &key).unwrap(), b"some bytes");
        let other = cache.path(&[2; 32]);
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::rename(&path, other).unwrap();
        assert_eq!(got(&cache, &[2; 32]), None);
    }

    #[test]
    fn what_was_used_last_survives_trimming() {
        let directory = tempfile::tempdir().unwrap();
        let entry = 10 + CHECKSUM as u64;
        let filling = Cache::open(directory.path(), 1 << 20).unwrap();
        for number in 0..6 {
            filling.put(&[number; 32], b"0123456789");
            let age = Duration::from_secs(3600 * (7 - u64::from(number)));
            let file = File::options()
                .write(true)
                .open(filling.path(&[number; 32]));
            file.unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        let left = filling.directory.join("03").join(format!("{UNFINISHED}x"));
        fs::write(&left, "").unwrap();
        let cache = Cache::open(directory.path(), 3 * entry).unwrap();
        assert!(got(&cache, &[1; 32]).is_some());
        // Nothing was added, so nothing is looked for to remove.
        cache.trim();
        assert!(cache.path(&[0; 32]).exists());
        cache.put(&[6; 32], b"0123456789");
        cache.trim();
        let kept: Vec<u8> = (0..7)
            .filter(|number| cache.path(&[*number; 32]).exists())
            .collect();
        assert_eq!(kept, [1, 5, 6]);
        // Somebody may be writing it; a day later nobody is.
        assert!(left.exists());
        let yesterday = SystemTime::now() - ABANDONED - Duration::from_secs(1);
        let file = File::options().write(true).open(&left).unwrap();
        file.set_modified(yesterday).unwrap();
        cache.trim();
        assert!(!left.exists());
        assert!(cache.path(&[1; 32]).exists());
    }

    #[test]
    fn pruning_leaves_what_was_used_last_and_what_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(look(directory.path()).unwrap(), Amount::default());
        assert_eq!(clear(directory.path()).unwrap(), Amount::default());
        let entry = 10 + CHECKSUM as u64;
        let cache = Cache::open(directory.path(), 1 << 20).unwrap();
        for number in 0..4 {
            cache.put(&[number; 32], b"0123456789");
            let age = Duration::from_secs(3600 * (5 - u64::from(number)));
            let file = File::options().write(true).open(cache.path(&[number; 32]));
            file.unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        let held = |entries| Amount {
            entries,
            bytes: entries * entry,
        };
        let others = ["mine", "00/mine", "xy/mine"].map(|name| cache.directory.join(name));
        for other in &others {
            fs::create_dir_all(other.parent().unwrap()).unwrap();
            fs::write(other, "").unwrap();
        }
        assert_eq!(look(directory.path()).unwrap(), held(4));
        assert_eq!(prune(directory.path(), 4 * entry).unwrap(), held(0));
        assert_eq!(prune(directory.path(), 2 * entry).unwrap(), held(2));
        assert_eq!(look(directory.path()).unwrap(), held(2));
        assert!(got(&cache, &[0; 32]).is_none() && got(&cache, &[3; 32]).is_some());
        fs::write(
            cache
                .path(&[3; 32])
                .with_file_name(format!("{UNFINISHED}x")),
            "",
        )
        .unwrap();
        assert_eq!(clear(directory.path()).unwrap().entries, 3);
        assert_eq!(look(directory.path()).unwrap(), held(0));
        assert!(others.iter().all(|other| other.exists()));
        assert!(!cache.directory.join("03").exists());
        // A bake that goes on makes what it needs.
        cache.put(&[9; 32], b"0123456789");
        assert_eq!(look(directory.path()).unwrap(), held(1));
    }

    #[test]
    fn a_full_cache_keeps_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), 2 * (3 + CHECKSUM as u64) + 1).unwrap();
        for number in 0..3 {
            cache.put(&[number; 32], b"abc");
        }
        assert!(got(&cache, &[1; 32]).is_some());
        assert!(got(&cache, &[2; 32]).is_none());
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(file.path(), 1).unwrap_err().to_string();
        assert!(error.starts_with("making cache directory "), "{error}");
    }
}
