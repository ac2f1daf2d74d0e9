//! `check` on images made by hand, in each of which exactly one thing is wrong: that is named, and
//! nothing else.

#[path = "support/layout.rs"]
mod layout;
#[expect(dead_code, reason = "unit tests use the rest")]
#[path = "../crates/kernel/src/kernel/tests/object.rs"]
mod object;
mod support;

#[path = "assurance/later.rs"]
mod later;
#[path = "assurance/roots.rs"]
mod roots;
#[path = "assurance/whole.rs"]
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bake_format::cpio;
use layout::Layout;
use object::{Module, module};
use roots::mounts;
use serde_json::Value;
use support::{have, run};

const RELEASE: &str = "6.1.0-test";
const MODULES: &str = "usr/lib/modules/6.1.0-test";
const VERMAGIC: &str = "vermagic=6.1.0-test SMP mod_unload ";
const DRIVER: &str = "extra/vendor-raid.ko";
const LIBRARY: &str = "kernel/drivers/scsi/raidlib.ko";

/// ELF's number of another machine.
const EM_AARCH64: u64 = 183;

/// A Containerfile that keeps the driver.
const CONTAINERFILE: &str = "FROM configs AS final\n\
    COPY --from=registry.example.com/drivers:1 /vendor-raid.ko /usr/lib/modules/6.1.0-test/extra/\n\
    RUN depmod -a 6.1.0-test && DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible \
    --add-drivers \"vendor-raid\" --kver 6.1.0-test /usr/lib/modules/6.1.0-test/initramfs.img\n";

/// Signs modules, as a kernel's build does.
struct Signer {
    directory: tempfile::TempDir,
}

impl Signer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj"])
            .args([
                "/CN=vendor signing key",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ])
            .current_dir(directory.path()));
        Self { directory }
    }

    /// The module with a signature behind it: PKCS#7, then `struct module_signature`.
    fn sign(&self, module: &[u8]) -> Vec<u8> {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let key = |name: &str| self.directory.path().join(name);
        fs::write(at("module"), module).unwrap();
        run(Command::new("openssl")
            .args([
                "cms", "-sign", "-binary", "-noattr", "-nocerts", "-md", "sha256",
            ])
            .args(["-outform", "DER", "-in", "module", "-out", "signature"])
            .args(["-inkey".as_ref(), key("key.pem").as_os_str()])
            .args(["-signer".as_ref(), key("cert.pem").as_os_str()])
            .current_dir(scratch.path()));
        let signature = fs::read(at("signature")).unwrap();
        let mut signed = module.to_vec();
        signed.extend(&signature);
        // Identifier type 2 is PKCS#7; everything else is in there.
        signed.extend([0, 0, 2, 0, 0, 0, 0, 0]);
        signed.extend(u32::try_from(signature.len()).unwrap().to_be_bytes());
        signed.extend(b"~Module signature appended~\n");
        signed
    }
}

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(Signer::new)
}

type Files = BTreeMap<String, Vec<u8>>;

/// What has every later dracut take the driver.
const CONF: &str = "usr/lib/dracut/dracut.conf.d/90-vendor_raid.conf";
const CONF_TEXT: &str = "add_drivers+=\" vendor_raid \"\n";

/// Modules that roots are mounted with: path, what asks for each, a symbol that each needs.
const MOUNTING: [(&str, &str, &str); 5] = [
    (
        "kernel/fs/squashfs/squashfs.ko",
        "alias=fs-squashfs",
        "zstd_decompress_stream",
    ),
    (
        "kernel/drivers/block/loop.ko",
        "alias=char-major-10-237",
        "kfree",
    ),
    ("kernel/fs/isofs/isofs.ko", "alias=fs-iso9660", "kfree"),
    (
        "kernel/drivers/scsi/sr_mod.ko",
        "alias=scsi:t-0x05*",
        "kfree",
    ),
    ("kernel/fs/xfs/xfs.ko", "alias=fs-xfs", "kfree"),
];

/// Those modules, signed once.
fn mounting() -> &'static [(String, Vec<u8>)] {
    static MODULES_MADE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    MODULES_MADE.get_or_init(|| {
        let made = MOUNTING.iter().map(|(path, alias, symbol)| {
            let module = module(&[VERMAGIC, "depends=", alias]).needs(&[symbol]);
            (format!("{MODULES}/{path}"), signed(&module))
        });
        made.collect()
    })
}

/// A machine's image, and how `check` is asked about it.
struct Machine {
    root: Files,
    initramfs: Files,
    /// What lies before the initramfs's archive, and behind it.
    before: Vec<u8>,
    behind: Vec<u8>,
    /// Whether depmod is run, as builders should.
    index_root: bool,
    index_initramfs: bool,
    containerfile: String,
    /// Files of the image that osImageURL names; those of this one if there are none.
    os_image: Option<Box<Machine>>,
}

fn put(files: &mut Files, path: &str, content: impl AsRef<[u8]>) {
    files.insert(path.to_owned(), content.as_ref().to_vec());
}

fn signed(module: &Module) -> Vec<u8> {
    signer().sign(&module.clone().bytes())
}

fn driver() -> Module {
    module(&[
        VERMAGIC,
        "name=vendor_raid",
        "depends=raidlib",
        "alias=pci:v00001000d0000ABCDsv*sd*bc*sc*i*",
    ])
    .needs(&["raid_register"])
}

fn library() -> Module {
    module(&[VERMAGIC, "name=raidlib", "depends="]).exports_versions(&["raid_register"])
}

impl Machine {
    /// One where nothing is wrong.
    fn new() -> Self {
        let mut machine = Self {
            root: Files::new(),
            initramfs: Files::new(),
            before: Vec::new(),
            behind: Vec::new(),
            index_root: true,
            index_initramfs: true,
            containerfile: CONTAINERFILE.to_owned(),
            os_image: None,
        };
        let root = &mut machine.root;
        put(root, "usr/lib/os-release", "ID=rhcos\nVERSION_ID=9.6\n");
        put(root, &format!("{MODULES}/vmlinuz"), "kernel");
        put(
            root,
            &format!("{MODULES}/modules.order"),
            format!("{LIBRARY}\n"),
        );
        put(
            root,
            &format!("{MODULES}/modules.builtin"),
            "kernel/fs/x.ko\n",
        );
        machine.both(
            "usr/lib/depmod.d/dist.conf",
            b"search updates extra built-in weak-updates\n",
        );
        machine.both("usr/lib/systemd/systemd-modules-load", b"program");
        for (path, module) in mounting() {
            machine.both(path, module);
        }
        put(&mut machine.root, CONF, CONF_TEXT);
        machine.driver(&driver());
        machine.both(&format!("{MODULES}/{LIBRARY}"), &signed(&library()));
        for name in ["modules.order", "modules.builtin"] {
            let path = format!("{MODULES}/{name}");
            machine
                .initramfs
                .insert(path.clone(), machine.root[&path].clone());
        }
        machine
    }

    /// Puts a file into root and initramfs.
    fn both(&mut self, path: &str, content: &[u8]) {
        put(&mut self.root, path, content);
        put(&mut self.initramfs, path, content);
    }

    fn driver(&mut self, module: &Module) {
        self.both(&format!("{MODULES}/{DRIVER}"), &signed(module));
    }

    /// Takes a file from the root, the initramfs or both.
    fn lose(&mut self, path: &str, root: bool, initramfs: bool) {
        if root {
            assert!(self.root.remove(path).is_some(), "{path}");
        }
        if initramfs {
            assert!(self.initramfs.remove(path).is_some(), "{path}");
        }
    }

    /// Stores the image in `directory`, with the last changes by `finish`.
    fn store(&self, directory: &Path, finish: &dyn Fn(&mut Files, &mut Files)) -> PathBuf {
        let mut root = self.root.clone();
        let mut initramfs = self.initramfs.clone();
        for (files, wanted) in [
            (&mut root, self.index_root),
            (&mut initramfs, self.index_initramfs),
        ] {
            if wanted {
                index(files);
            }
        }
        finish(&mut root, &mut initramfs);
        let archive = [&self.before[..], &archive(&initramfs), &self.behind].concat();
        root.insert(format!("{MODULES}/initramfs.img"), archive);
        let image = directory.join("image");
        fs::create_dir_all(&image).unwrap();
        Layout::new(vec![layer(&root)]).write(&image);
        image
    }
}

/// Runs depmod over the modules in there.
fn index(files: &mut Files) {
    let scratch = tempfile::tempdir().unwrap();
    for (path, content) in files.iter() {
        let to = scratch.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, content).unwrap();
    }
    std::os::unix::fs::symlink("usr/lib", scratch.path().join("lib")).unwrap();
    fs::create_dir_all(scratch.path().join(MODULES)).unwrap();
    run(Command::new("depmod")
        .arg("--basedir")
        .arg(scratch.path())
        .arg("--config")
        .arg(scratch.path().join("usr/lib/depmod.d"))
        .arg(RELEASE));
    for name in support::names(&scratch.path().join(MODULES)) {
        let from = scratch.path().join(MODULES).join(&name);
        if name.starts_with("modules.") && from.is_file() {
            files.insert(format!("{MODULES}/{name}"), fs::read(from).unwrap());
        }
    }
}

fn archive(files: &Files) -> Vec<u8> {
    let mut writer = cpio::Writer::new(Vec::new());
    let mut made = BTreeSet::new();
    for (path, content) in files {
        for (at, _) in path.match_indices('/') {
            if made.insert(&path[..at]) {
                writer.directory(&path[..at], 0o755).unwrap();
            }
        }
        writer.file(path, 0o644, content).unwrap();
    }
    writer.finish().unwrap()
}

fn layer(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, path, &content[..])
            .unwrap();
    }
    builder.into_inner().unwrap()
}

/// What is asked of a case: verdicts that are not ✓, by stage, and words of each.
type Expected<'a> = &'a [(&'a str, &'a str, &'a str)];

const LIVE: &str = "live-initramfs";
const ROOT: &str = "live-root";
const BOOTSTRAP: &str = "bootstrap";

/// Asks `check`; gives its table and what it wrote to standard error.
fn check(machine: &Machine, finish: &dyn Fn(&mut Files, &mut Files)) -> (Value, String) {
    check_with(machine, finish, &["--driver", "vendor-raid"])
}

/// The same with other arguments.
fn check_with(
    machine: &Machine,
    finish: &dyn Fn(&mut Files, &mut Files),
    more: &[&str],
) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let image = machine.store(directory.path(), finish);
    let os_image = match &machine.os_image {
        Some(other) => other.store(&directory.path().join("other"), &|_, _| {}),
        None => Machine::new().store(&directory.path().join("same"), &|_, _| {}),
    };
    let containerfile = directory.path().join("Containerfile");
    fs::write(&containerfile, &machine.containerfile).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["check", "--format", "json", "--color", "never"])
        .args(more)
        .arg(format!("oci:{}", image.display()))
        .arg(format!("--os-image=oci:{}", os_image.display()))
        .arg("--containerfile")
        .arg(&containerfile)
        .output()
        .unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let fails = value["missing"] != serde_json::json!([]);
    assert_eq!(output.status.code(), Some(i32::from(fails)), "{output:?}");
    let is_open = value["open"] != serde_json::json!([]);
    // Without a driver, not all was judged.
    let is_asked = more.contains(&"--driver");
    let is_whole = !fails && !is_open && is_asked;
    assert_eq!(value["complete"] == true, is_whole, "{output:?}");
    (value, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The mark that the table shows for a verdict, and what it says.
fn mark(verdict: &Value) -> (&'static str, String) {
    let warnings = verdict["warnings"].as_array();
    let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
    match verdict["status"].as_str().unwrap() {
        "missing" | "fails" => ("no", text("why")),
        "open" => ("doubt", text("why")),
        _ => match warnings.map_or(&[][..], |warnings| warnings).first() {
            Some(_) => ("doubt", verdict["warnings"].to_string()),
            None => ("yes", String::new()),
        },
    }
}

/// Wants exactly these verdicts that are not ✓. Installed stages are those of the live ones, and the
/// bootstrap node is not better than they are.
#[track_caller]
fn names(machine: &Machine, finish: &dyn Fn(&mut Files, &mut Files), expected: Expected<'_>) {
    let (value, error) = check(machine, finish);
    let table = value["drivers"]
        .as_array()
        .unwrap_or_else(|| panic!("{error}"));
    assert_eq!(table.len(), 7, "{value:#}");
    let mut wanted: Vec<(String, &str, &str)> = Vec::new();
    for (stage, mark, words) in expected {
        wanted.push(((*stage).to_owned(), mark, words));
        if stage.starts_with("live-") {
            wanted.push((stage.replace("live-", "install-"), mark, words));
        }
    }
    let boots = expected
        .iter()
        .filter(|(stage, ..)| stage.starts_with("live-"));
    // By the alphabet, "no" is worse than "doubt"; the first of several is named.
    let worst = boots.rev().max_by_key(|(_, mark, _)| *mark);
    let is_given = expected.iter().any(|(stage, ..)| *stage == BOOTSTRAP);
    if let (Some((stage, mark, _)), false) = (worst, is_given) {
        wanted.push((BOOTSTRAP.to_owned(), mark, stage));
    }
    for verdict in table {
        let stage = verdict["stage"].as_str().unwrap();
        let (mark, said) = mark(verdict);
        match wanted.iter().position(|(wanted, _, _)| wanted == stage) {
            Some(at) => {
                let (_, expected, words) = wanted.remove(at);
                assert_eq!(mark, expected, "{stage}: {said}");
                assert!(said.contains(words), "{stage}: no {words:?} in {said}");
            }
            None => assert_eq!(mark, "yes", "{stage}: {said}"),
        }
    }
    assert!(wanted.is_empty(), "{wanted:?}");
}

fn nothing(_: &mut Files, _: &mut Files) {}

fn have_tools() -> bool {
    have("depmod") && have("openssl")
}

#[test]
fn a_right_image_is_right_at_every_stage() {
    if have_tools() {
        names(&Machine::new(), &nothing, &[]);
        mounts(&Machine::new(), &nothing, &[]);
    }
}

#[test]
fn modules_that_are_not_where_they_have_to_be() {
    if !have_tools() {
        return;
    }
    let path = format!("{MODULES}/{DRIVER}");

    let mut machine = Machine::new();
    machine.lose(&path, true, true);
    let no_module = "no module vendor_raid";
    names(
        &machine,
        &nothing,
        &[(LIVE, "no", no_module), (ROOT, "no", no_module)],
    );

    let mut machine = Machine::new();
    machine.lose(&path, false, true);
    names(&machine, &nothing, &[(LIVE, "no", no_module)]);

    let mut machine = Machine::new();
    machine.lose(&path, true, false);
    names(&machine, &nothing, &[(ROOT, "no", no_module)]);

    // Built for a kernel that is not there, and put where that one would look.
    let mut machine = Machine::new();
    machine.lose(&path, true, true);
    let elsewhere = "usr/lib/modules/5.0.0/extra/vendor-raid.ko";
    machine.both(elsewhere, &signed(&driver()));
    let words = "is there for kernel 5.0.0";
    names(
        &machine,
        &nothing,
        &[(LIVE, "no", words), (ROOT, "no", words)],
    );

    let mut machine = Machine::new();
    machine.lose(&format!("{MODULES}/{LIBRARY}"), false, true);
    names(&machine, &nothing, &[(LIVE, "no", "depends on raidlib")]);
}

#[test]
fn modules_that_the_kernel_would_not_take() {
    if !have_tools() {
        return;
    }
    let with = |field: &'static str| {
        module(&[
            field,
            "name=vendor_raid",
            "depends=raidlib",
            "alias=pci:v00001000d0000ABCDsv*sd*bc*sc*i*",
        ])
        .needs(&["raid_register"])
    };
    for (module, words) in [
        (
            with("vermagic=5.0.0 SMP mod_unload "),
            "built for kernel 5.0.0",
        ),
        (
            with("vermagic=6.1.0-test SMP preempt mod_unload "),
            "preempt",
        ),
        (with("license=GPL"), "for which kernel"),
        (driver().of(EM_AARCH64, true, true), "aarch64"),
    ] {
        let mut machine = Machine::new();
        machine.driver(&module);
        names(
            &machine,
            &nothing,
            &[(LIVE, "no", words), (ROOT, "no", words)],
        );
    }

    // Damaged after depmod has seen it.
    let path = format!("{MODULES}/{DRIVER}");
    let cut = |root: &mut Files, _: &mut Files| root.get_mut(&path).unwrap().truncate(100);
    names(&Machine::new(), &cut, &[(ROOT, "no", "no usable module")]);
    let text = |_: &mut Files, initramfs: &mut Files| put(initramfs, &path, "not a module");
    names(&Machine::new(), &text, &[(LIVE, "no", "no usable module")]);

    // Versions of symbols: the driver wants another one than the library and the kernel have.
    let mut machine = Machine::new();
    let version = |crc: u64| [&crc.to_le_bytes()[..], b"raid_register"].concat();
    let mut record = version(0x1111_1111);
    record.resize(64, 0);
    machine.driver(&driver().section("__versions", record));
    let symvers = "0x22222222\traid_register\tdrivers/scsi/raidlib\tEXPORT_SYMBOL\t\n";
    put(
        &mut machine.root,
        &format!("{MODULES}/modules.symvers"),
        symvers,
    );
    let words = "raid_register";
    names(
        &machine,
        &nothing,
        &[(LIVE, "no", words), (ROOT, "no", words)],
    );

    let mut machine = Machine::new();
    machine.both(&format!("{MODULES}/{DRIVER}"), &driver().bytes());
    let words = "Secure Boot";
    names(
        &machine,
        &nothing,
        &[(LIVE, "doubt", words), (ROOT, "doubt", words)],
    );
}

#[test]
fn indexes_that_do_not_know_the_module() {
    if !have_tools() {
        return;
    }
    // Added after the last depmod.
    let stale = |root: &mut Files, initramfs: &mut Files| {
        for files in [root, initramfs] {
            let mut without = files.clone();
            without.remove(&format!("{MODULES}/{DRIVER}"));
            index(&mut without);
            let module = files[&format!("{MODULES}/{DRIVER}")].clone();
            *files = without;
            put(files, &format!("{MODULES}/{DRIVER}"), module);
        }
    };
    let words = "depmod was not run";
    names(
        &Machine::new(),
        &stale,
        &[(LIVE, "no", words), (ROOT, "no", words)],
    );

    let mut machine = Machine::new();
    machine.index_initramfs = false;
    names(&machine, &nothing, &[(LIVE, "no", words)]);

    for name in ["modules.dep.bin", "modules.alias.bin"] {
        let without = |_: &mut Files, initramfs: &mut Files| {
            initramfs.remove(&format!("{MODULES}/{name}")).unwrap();
        };
        names(&Machine::new(), &without, &[(LIVE, "no", name)]);
    }

    let gone = |root: &mut Files, _: &mut Files| {
        root.remove(&format!("{MODULES}/{LIBRARY}")).unwrap();
    };
    names(
        &Machine::new(),
        &gone,
        &[(ROOT, "no", "which is not there")],
    );

    let circle = |root: &mut Files, _: &mut Files| {
        let text = format!("{DRIVER}: {LIBRARY} {DRIVER}\n{LIBRARY}: {DRIVER}\n");
        put(root, &format!("{MODULES}/modules.dep"), text);
    };
    names(
        &Machine::new(),
        &circle,
        &[(ROOT, "no", "depends on itself")],
    );
}

#[test]
fn settings_that_keep_a_driver_from_loading() {
    if !have_tools() {
        return;
    }
    let set = |path: &str, text: &str, root: bool, initramfs: bool| {
        let mut machine = Machine::new();
        if root {
            put(&mut machine.root, path, text);
        }
        if initramfs {
            put(&mut machine.initramfs, path, text);
        }
        machine
    };
    let conf = "usr/lib/modprobe.d/stop.conf";
    let machine = set(conf, "install vendor-raid /bin/false\n", false, true);
    names(&machine, &nothing, &[(LIVE, "no", "stop.conf")]);
    let machine = set(
        "etc/modprobe.d/stop.conf",
        "blacklist vendor_raid\n",
        false,
        true,
    );
    names(&machine, &nothing, &[(LIVE, "no", "blacklist")]);
    let machine = set(
        "usr/etc/modprobe.d/stop.conf",
        "blacklist vendor_raid\n",
        true,
        false,
    );
    names(&machine, &nothing, &[(ROOT, "no", "blacklist")]);

    let arguments = set(
        "usr/share/coreos-assembler/image.json",
        r#"{ "extra-kargs": ["rd.driver.blacklist=vendor_raid"] }"#,
        true,
        false,
    );
    let words = "rd.driver.blacklist";
    names(
        &arguments,
        &nothing,
        &[(LIVE, "no", words), (ROOT, "doubt", words)],
    );

    // Nothing asks for it.
    let mut machine = Machine::new();
    let silent = module(&[VERMAGIC, "name=vendor_raid", "depends=raidlib"]);
    machine.driver(&silent.needs(&["raid_register"]));
    let words = "nothing loads vendor_raid";
    names(
        &machine,
        &nothing,
        &[(LIVE, "doubt", words), (ROOT, "doubt", words)],
    );
    // Until something does.
    machine.both(
        "usr/lib/modules-load.d/raid.conf",
        b"# at boot\nvendor-raid\n",
    );
    let lost = (BOOTSTRAP, "doubt", "modules-load.d");
    names(&machine, &nothing, &[lost]);
}

#[test]
fn what_a_driver_needs_beside_its_module() {
    if !have_tools() {
        return;
    }
    let fields = [
        VERMAGIC,
        "name=vendor_raid",
        "depends=raidlib",
        "alias=pci:v00001000d0000ABCDsv*sd*bc*sc*i*",
        "firmware=vendor/raid.bin",
    ];
    let hungry = module(&fields).needs(&["raid_register"]);
    let name = "vendor/raid.bin";
    let mut machine = Machine::new();
    machine.driver(&hungry);
    names(
        &machine,
        &nothing,
        &[(LIVE, "doubt", name), (ROOT, "doubt", name)],
    );
    // The release's firmware takes its place on a bootstrap node.
    let lost = (BOOTSTRAP, "doubt", name);
    put(
        &mut machine.root,
        "usr/lib/firmware/vendor/raid.bin",
        "firmware",
    );
    names(&machine, &nothing, &[(LIVE, "doubt", name), lost]);
    put(
        &mut machine.initramfs,
        "usr/lib/firmware/vendor/raid.bin.xz",
        "firmware",
    );
    names(&machine, &nothing, &[lost]);

    let mut machine = Machine::new();
    put(
        &mut machine.initramfs,
        "usr/lib/dracut/hostonly-kernel-modules.txt",
        "x",
    );
    names(&machine, &nothing, &[(LIVE, "doubt", "one machine")]);
}

#[test]
fn initramfs_that_cannot_be_read_are_errors() {
    if !have_tools() {
        return;
    }
    let refuses = |machine: &Machine, words: &str| {
        let (_, error) = check(machine, &nothing);
        assert!(
            error.contains(r#""kind":"error""#) && error.contains(words),
            "{error}"
        );
        assert!(error.contains("initramfs"), "{error}");
    };
    let mut machine = Machine::new();
    machine.behind = b"\x1f\x8b\x08garbage that is no gzip at all".to_vec();
    refuses(&machine, "segment");
    let mut machine = Machine::new();
    machine.before = b"LRZI, which no kernel unpacks   ".to_vec();
    refuses(&machine, "known compression");
}

#[test]
fn several_kernels_are_an_error() {
    if !have_tools() {
        return;
    }
    let mut machine = Machine::new();
    for name in ["vmlinuz", "initramfs.img"] {
        put(
            &mut machine.root,
            &format!("usr/lib/modules/6.2.0/{name}"),
            "x",
        );
    }
    let (_, error) = check(&machine, &nothing);
    assert!(
        error.contains("6.1.0-test") && error.contains("6.2.0"),
        "{error}"
    );
}

#[test]
fn what_the_cluster_does_to_a_right_image() {
    if !have_tools() {
        return;
    }
    let root = |path: &str, text: &str| {
        let mut machine = Machine::new();
        put(&mut machine.root, path, text);
        machine
    };
    let target = root("usr/etc/systemd/system/default.target", "[Unit]\n");
    names(&target, &nothing, &[(BOOTSTRAP, "no", "default.target")]);
    let client = root("usr/bin/oc", "client");
    names(
        &client,
        &nothing,
        &[(BOOTSTRAP, "doubt", "openshift-clients")],
    );
    let options = root(
        "usr/lib/modprobe.d/raid.conf",
        "options vendor_raid depth=32\n",
    );
    names(&options, &nothing, &[(BOOTSTRAP, "doubt", "raid.conf")]);

    let mut machine = Machine::new();
    let mut other = Machine::new();
    other.lose(&format!("{MODULES}/{DRIVER}"), false, true);
    machine.os_image = Some(Box::new(other));
    names(&machine, &nothing, &[("pivot", "no", "pivots to")]);
}

#[test]
fn containerfiles_that_lose_the_driver() {
    if !have_tools() {
        return;
    }
    for (text, words) in [
        (
            CONTAINERFILE.replace("FROM configs AS final", "FROM quay.io/x/y"),
            "configs",
        ),
        (
            CONTAINERFILE.replace("depmod -a 6.1.0-test && ", ""),
            "depmod",
        ),
        (
            CONTAINERFILE.split("&&").next().unwrap().to_owned() + "\n",
            "initramfs",
        ),
        ("FROM configs AS final\nINSTALL x\n".to_owned(), "INSTALL"),
        (CONTAINERFILE.to_owned() + &"# more\n".repeat(700), "4096"),
    ] {
        let mut machine = Machine::new();
        machine.containerfile = text;
        names(&machine, &nothing, &[("day2", "no", words)]);
    }
}
