//! Which files are equal? Known before anything is compressed, so that nothing is compressed twice.
//!
//! Only files of one length can be equal; among these only those with one fingerprint; and among
//! these the bytes decide. The answer depends on the contents alone.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use xxhash_rust::xxh3::Xxh3;

use bake_tree::Content;

/// How much is read at a time.
const CHUNK: usize = 128 << 10;
/// Different contents with one fingerprint that are told apart; more than that is somebody's
/// mischief, whose files are then stored without looking for equals.
const COLLISIONS_MAX: usize = 4;

/// A file that could not be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Its index.
    pub(super) file: usize,
    pub(super) error: io::Error,
}

/// For every content the index of the first one with the same bytes; for most it is their own.
pub(super) fn find(contents: &[&Content], threads: NonZeroUsize) -> Result<Vec<usize>, Unreadable> {
    let candidates = in_groups(
        (0..contents.len()).filter(|file| !contents[*file].is_empty()),
        |file| contents[*file].len(),
    );
    let candidates: Vec<usize> = candidates.into_iter().flatten().collect();
    let fingerprints = in_parallel(threads, candidates.len(), |at| {
        let file = candidates[at];
        fingerprint(contents[file]).map_err(|error| Unreadable { file, error })
    });
    let mut hashed = Vec::with_capacity(candidates.len());
    for (file, fingerprint) in candidates.into_iter().zip(fingerprints) {
        hashed.push((file, fingerprint?));
    }
    let groups = in_groups(hashed.into_iter(), |(file, fingerprint)| {
        (contents[*file].len(), *fingerprint)
    });
    let pairs = in_parallel(threads, groups.len(), |at| {
        same_bytes(contents, groups[at].iter().map(|(file, _)| *file))
    });
    let mut same_as: Vec<usize> = (0..contents.len()).collect();
    for pairs in pairs {
        for (file, first) in pairs? {
            same_as[file] = first;
        }
    }
    Ok(same_as)
}

/// Sorts items by key, keeping their order within a key, and returns the keys' groups except those
/// of one item.
fn in_groups<T, K: Ord>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    let mut items: Vec<T> = items.collect();
    items.sort_by_key(|item| key(item));
    let mut groups: Vec<Vec<T>> = Vec::new();
    for item in items {
        match groups.last_mut() {
            Some(group) if key(&group[0]) == key(&item) => group.push(item),
            _ => groups.push(vec![item]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn fingerprint(content: &Content) -> io::Result<u128> {
    if let Some(known) = content.fingerprint() {
        return Ok(known);
    }
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; CHUNK];
    for (start, len) in chunks(content.len()) {
        content.read_at(start, &mut buffer[..len])?;
        hash.update(&buffer[..len]);
    }
    Ok(hash.digest128())
}

/// Among files of one fingerprint, every one that equals an earlier one, with that one.
fn same_bytes(
    contents: &[&Content],
    group: impl Iterator<Item = usize>,
) -> Result<Vec<(usize, usize)>, Unreadable> {
    let mut pairs = Vec::new();
    let mut firsts: Vec<usize> = Vec::new();
    for file in group {
        let mut equal = None;
        for first in &firsts {
            let equals = are_equal(contents[file], contents[*first])
                .map_err(|error| Unreadable { file, error })?;
            if equals {
                equal = Some(*first);
                break;
            }
        }
        match equal {
            Some(first) => pairs.push((file, first)),
            None if firsts.len() < COLLISIONS_MAX => firsts.push(file),
            None => {}
        }
    }
    Ok(pairs)
}

fn are_equal(a: &Content, b: &Content) -> io::Result<bool> {
    if a.same_place(b) {
        return Ok(true);
    }
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    for (start, len) in chunks(a.len()) {
        a.read_at(start, &mut left[..len])?;
        b.read_at(start, &mut right[..len])?;
        if left[..len] != right[..len] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Starts and lengths of the parts in which `len` bytes are read.
fn chunks(len: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..len.div_ceil(CHUNK as u64)).map(move |chunk| {
        let start = chunk * CHUNK as u64;
        let left = usize::try_from(len - start).unwrap_or(usize::MAX);
        (start, left.min(CHUNK))
    })
}

/// Results of `work` for 0 up to `count`, in this order, worked out by `threads` threads.
fn in_parallel<T: Send>(
    threads: NonZeroUsize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return done;
            }
            done.push((at, work(at)));
        }
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.get().min(count))
            .map(|_| scope.spawn(worker))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("comparing files does not panic"))
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_bytes_are_found_whatever_holds_them() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        std::os::unix::fs::FileExt::write_all_at(&*file, b"abcdabceabcd", 0).unwrap();
        let range = |offset, len| Content::range(Arc::<File>::clone(&file), offset, len);
        let contents = [
            Content::bytes(*b"abce"),
            range(0, 4),
            Content::bytes(*b""),
            range(8, 4),
            Content::bytes(*b"abcd"),
            range(0, 3),
            Content::bytes(*b""),
            range(4, 4),
            range(0, 4),
        ];
        let contents: Vec<&Content> = contents.iter().collect();
        for threads in 1..4 {
            let same_as = find(&contents, NonZeroUsize::new(threads).unwrap()).unwrap();
            assert_eq!(same_as, [0, 1, 2, 1, 1, 5, 6, 0, 1], "{threads} threads");
        }
    }

    #[test]
    fn an_equal_fingerprint_is_not_enough() {
        let contents = [*b"a", *b"b", *b"a", *b"c", *b"d", *b"e", *b"e", *b"b"].map(Content::bytes);
        let contents: Vec<&Content> = contents.iter().collect();
        let pairs = same_bytes(&contents, 0..contents.len()).unwrap();
        // "e" comes after as many different contents as are remembered.
        assert_eq!(pairs, [(2, 0), (7, 1)]);
    }

    #[test]
    fn a_file_cut_short_is_named() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let contents = [Content::bytes(*b"abcd"), Content::range(file, 0, 4)];
        let contents: Vec<&Content> = contents.iter().collect();
        let error = find(&contents, NonZeroUsize::MIN).unwrap_err();
        assert_eq!(error.file, 1);
    }
}
