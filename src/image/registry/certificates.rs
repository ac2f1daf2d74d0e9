//! CA certificates that are configured for a registry. Truth: containers-certs.d(5), of which
//! client certificates are left out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::limited;
use anyhow::Context;

/// Directories with CA certificates, one directory per registry in each. A path that starts with
/// `~/` is in the user's home.
const DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "~/.config/containers/certs.d"];

/// Most bytes of a file with CA certificates; all that the world trusts have a quarter.
const CERTIFICATE_BYTES_MAX: u64 = 1 << 20;

/// The CA certificates that are configured for a registry, in PEM.
pub(super) fn find(registry: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        let directory = match (directory.strip_prefix("~/"), &home) {
            (None, _) => PathBuf::from(directory),
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_), None) => continue,
        };
        found.extend(find_in(&directory.join(registry))?);
    }
    Ok(found)
}

/// The contents of the files `*.crt` in a directory, in the order of their names.
fn find_in(directory: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let Ok(entries) = directory.read_dir() else {
        // Usually there is none.
        return Ok(Vec::new());
    };
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("reading the directory {}", directory.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "crt"));
    files.sort();
    let read = |file: PathBuf| read(&file).with_context(|| format!("reading {}", file.display()));
    files.into_iter().map(read).collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let text = limited::stream(File::open(file)?, CERTIFICATE_BYTES_MAX)?;
    text.ok_or_else(|| io::Error::other("too large for certificates"))
}

#[cfg(test)]
mod tests {
    use super::find_in;

    #[test]
    fn certificates_are_taken_by_suffix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["b.crt", "a.crt", "client.cert", "client.key"] {
            std::fs::write(path.join(name), name).unwrap();
        }
        assert_eq!(find_in(path).unwrap(), [b"a.crt", b"b.crt"]);
        assert!(find_in(&path.join("none")).unwrap().is_empty());
        // A device has no length, and no end.
        std::os::unix::fs::symlink("/dev/zero", path.join("c.crt")).unwrap();
        let error = format!("{:#}", find_in(path).unwrap_err());
        assert!(
            error.ends_with("c.crt: too large for certificates"),
            "{error}"
        );
    }
}
