//! Files of others, read up to a limit: one that grows meanwhile, or never ends, fills no memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// All of a stream; None if that is more than `limit` bytes.
pub fn stream(stream: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    stream
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// All of a file.
///
/// # Errors
/// If it has more than `limit` bytes, besides those of reading; both name it.
pub fn whole(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = File::open(path).and_then(|file| stream(file, limit));
    match read.with_context(|| format!("reading {}", path.display()))? {
        Some(bytes) => Ok(bytes),
        None => bail!("{} has more than {limit} bytes", path.display()),
    }
}

/// The first `limit` bytes of a file, for those who judge what is longer by more than its length.
///
/// # Errors
/// Those of reading, which name it.
pub fn head(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_is_refused_or_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, [7; 10]).unwrap();
        assert_eq!(whole(file.path(), 10).unwrap(), [7; 10]);
        let error = whole(file.path(), 9).unwrap_err().to_string();
        assert!(error.ends_with(" has more than 9 bytes"), "{error}");
        assert_eq!(head(file.path(), 9).unwrap(), [7; 9]);
        // It has no length, and no end.
        assert!(whole(Path::new("/dev/zero"), 1 << 16).is_err());
        assert_eq!(stream(io::empty(), u64::MAX).unwrap(), Some(Vec::new()));
    }
}
