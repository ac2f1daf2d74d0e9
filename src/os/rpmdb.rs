//! Is a package installed, says the database of RPM?
//!
//! Read by SQLite itself, as only that knows its files; older databases (Berkeley DB, ndb) are not
//! read. Source: rpm `lib/backend/sqlite.cc`: an index is a table with the column `key`.

use std::io::Write;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use crate::kernel::Files;

/// Where a deployment has it.
const DATABASES: [&str; 3] = [
    "usr/share/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "var/lib/rpm/rpmdb.sqlite",
];

/// Whether the package is installed; None if there is no database that can be read.
pub fn has_package(root: &dyn Files, package: &str) -> Result<Option<bool>> {
    for path in DATABASES {
        let Some(bytes) = root.read(path)? else {
            continue;
        };
        let mut file = tempfile::NamedTempFile::new().context("making a scratch file")?;
        file.write_all(&bytes).context("writing a scratch file")?;
        let count = count(file.path(), package).with_context(|| format!("asking {path}"))?;
        return Ok(Some(count > 0));
    }
    Ok(None)
}

fn count(database: &std::path::Path, package: &str) -> rusqlite::Result<i64> {
    // Immutable: a database in WAL mode would otherwise want a file beside it.
    let uri = format!("file:{}?immutable=1", database.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.query_row(
        "SELECT count(*) FROM Name WHERE key = ?1",
        [package],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::tree::{Content, Meta, Node, Tree};
    use bake_referee::have;

    fn tree(path: &str, bytes: Vec<u8>) -> Tree {
        let mut tree = Tree::new(Meta::root(0o755));
        let (directory, name) = path.rsplit_once('/').unwrap();
        let directory = tree.make_directories(directory, &Meta::root(0o755));
        let node = Node::File(Content::bytes(bytes));
        tree.create(directory, name, Meta::root(0o644), node);
        tree
    }

    #[test]
    fn rpm_writes_what_is_read() {
        if !have("rpmbuild") || !have("rpm") {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let spec = "Name: openshift-clients\nVersion: 4.18\nRelease: 1\nSummary: x\nLicense: x\n\
                    BuildArch: noarch\n%description\nx\n%files\n";
        fs::write(at("x.spec"), spec).unwrap();
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let top = format!("_topdir {}", scratch.path().display());
        run(Command::new("rpmbuild")
            .args(["-bb", "--define", &top])
            .arg(at("x.spec")));
        let database = at("db");
        run(Command::new("rpm")
            .args(["--define", "_db_backend sqlite", "--nodeps", "--justdb"])
            .args(["--dbpath".as_ref(), database.as_os_str()])
            .arg("-i")
            .arg(at("RPMS/noarch/openshift-clients-4.18-1.noarch.rpm")));
        let bytes = fs::read(database.join("rpmdb.sqlite")).unwrap();
        let tree = tree(DATABASES[0], bytes);
        assert_eq!(has_package(&tree, "openshift-clients").unwrap(), Some(true));
        assert_eq!(has_package(&tree, "openshift-client").unwrap(), Some(false));
    }

    #[test]
    fn what_is_no_database_is_an_error_and_none_is_no_answer() {
        let error = has_package(&tree(DATABASES[1], vec![7; 5000]), "x").unwrap_err();
        assert!(format!("{error:#}").starts_with("asking usr/lib/sysimage"));
        let empty = Tree::new(Meta::root(0o755));
        assert_eq!(has_package(&empty, "x").unwrap(), None);
    }
}
