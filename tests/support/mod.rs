//! What the integration tests share: the sample, the program, an ordinary user to run it as.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

pub mod machine;
pub mod server;
pub mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[allow(unused_imports, reason = "each test program uses its own part")]
pub(crate) use bake_referee::{have, unmount};
use tempfile::TempDir;

/// User and group that the program is run as where we are root: Debian's `nobody`.
pub const NOBODY: u32 = 65534;

/// The sample's directory, made by `scripts/sample/build`. Without it, tests that need it are
/// skipped on a laptop and fail where REQUIRE_TOOLS is set.
pub fn sample() -> Option<PathBuf> {
    sample_for("")
}

/// The same for another architecture: `suffix` is `-arm64`.
fn sample_for(suffix: &str) -> Option<PathBuf> {
    let mut directory = std::env::var_os("COREOS_BAKE_SAMPLE").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
                PathBuf::from,
            );
            cache.join("coreos-bake/sample")
        },
        PathBuf::from,
    );
    directory.as_mut_os_string().push(suffix);
    if directory.join("layered.oci/index.json").exists() {
        return Some(directory);
    }
    skip(&format!("no sample in {}", directory.display()))
}

/// Says why a test does nothing, or fails where everything has to be there.
pub fn skip<T>(reason: &str) -> Option<T> {
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
    None
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}

/// A world-readable working directory with the program and the sample's images in it, so that an
/// ordinary user can use them wherever the checkout and the cache are.
pub struct Workshop {
    directory: TempDir,
}

impl Workshop {
    pub fn new() -> Option<Self> {
        Self::of(&sample()?)
    }

    /// With the images of another architecture; see [`sample_for`].
    pub fn foreign(suffix: &str) -> Option<Self> {
        Self::of(&sample_for(suffix)?)
    }

    fn of(sample: &Path) -> Option<Self> {
        let directory = tempfile::Builder::new()
            .prefix("coreos-bake-test-")
            .tempdir_in("/var/tmp")
            .expect("making a working directory");
        open_up(directory.path());
        for name in [
            "stock.oci",
            "layered.oci",
            "forgot.oci",
            "layered.ociarchive",
        ] {
            // Hard links where the file system allows, as images are large.
            let source = sample.join(name);
            run(Command::new("cp")
                .args(["-a", "--no-preserve=ownership"])
                .arg(if same_device(&source, directory.path()) {
                    "-l"
                } else {
                    "--reflink=auto"
                })
                .arg(&source)
                .arg(directory.path()));
        }
        run(Command::new("chmod")
            .args(["-R", "a+rX"])
            .arg(directory.path()));
        let program = directory.path().join("coreos-bake");
        fs::copy(env!("CARGO_BIN_EXE_coreos-bake"), &program).expect("copying the program");
        Some(Self { directory })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `oci:` reference of one of the sample's images.
    pub fn image(&self, name: &str) -> String {
        format!("oci:{}", self.path(&format!("{name}.oci")).display())
    }

    /// A new directory that an ordinary user may write to.
    pub fn output(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("making an output directory");
        open_up(&path);
        path
    }

    /// The program, to be run as an ordinary user.
    pub fn bake_as_nobody(&self) -> Command {
        let mut command = as_nobody(self.path("coreos-bake"));
        command
            .env("HOME", "/nonexistent")
            .env_remove("XDG_CACHE_HOME");
        command
    }

    /// The program, as whoever runs the tests.
    pub fn bake(&self) -> Command {
        Command::new(self.path("coreos-bake"))
    }
}

/// Runs `program` as `nobody` if we are root, else as we are.
pub fn as_nobody(program: impl AsRef<OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program);
    command
}

pub fn open_up(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o1777)).expect("changing permissions");
}

fn same_device(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev(),
        _ => false,
    }
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("running {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// Runs a command that has to fail, and returns what it wrote to standard error.
pub fn run_to_fail(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("running {command:?}: {error}"));
    assert!(!output.status.success(), "{command:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output of a command as text.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names in a directory, hidden ones too.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("reading a directory")
        .map(|entry| {
            entry
                .expect("reading a directory")
                .file_name()
                .into_string()
                .unwrap()
        })
        .collect();
    names.sort();
    names
}

/// The one file in `directory` whose name contains `part`.
pub fn find(directory: &Path, part: &str) -> PathBuf {
    let found: Vec<String> = names(directory)
        .into_iter()
        .filter(|name| name.contains(part))
        .collect();
    assert_eq!(
        found.len(),
        1,
        "files *{part}* in {}: {found:?}",
        directory.display()
    );
    directory.join(&found[0])
}

/// Every file of a directory with its content.
pub fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    names(directory)
        .into_iter()
        .map(|name| {
            let bytes = fs::read(directory.join(&name)).expect("reading a file");
            (name, bytes)
        })
        .collect()
}
