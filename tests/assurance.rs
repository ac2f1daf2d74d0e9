//! `check` on images made by hand, in each of which exactly one thing is wrong: that is named, and
//! nothing else.

#[path = "support/layout.rs"]
mod layout;
#[expect(dead_code, reason = "unit tests use the rest")]
#[path = "../src/kernel/tests/object.rs"]
mod object;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use coreos_bake::format::cpio;
use layout::Layout;
use object::{Module, module};
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
    let fails = value["complete"] != true;
    assert_eq!(output.status.code(), Some(i32::from(fails)), "{output:?}");
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

/// Wants exactly these verdicts that are not ✓. Installed stages are those of the live ones.
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

/// Wants exactly these rows of what roots are mounted with that are not ✓: row, stage, mark and words.
#[track_caller]
fn mounts(
    machine: &Machine,
    finish: &dyn Fn(&mut Files, &mut Files),
    expected: &[(&str, &str, &str, &str)],
) {
    // Whether drivers are asked for or not.
    let (value, error) = check_with(machine, finish, &[]);
    let rows = value["mounts"]
        .as_array()
        .unwrap_or_else(|| panic!("{error}"));
    assert_eq!(value["drivers"], serde_json::json!([]));
    let mut wanted = expected.to_vec();
    for row in rows {
        let (mark, said) = mark(row);
        let is_it = |wanted: &(&str, &str, &str, &str)| {
            row["driver"] == wanted.0 && row["stage"] == wanted.1
        };
        match wanted.iter().position(is_it) {
            Some(at) => {
                let (name, stage, expected, words) = wanted.remove(at);
                assert_eq!(mark, expected, "{name} at {stage}: {said}");
                assert!(said.contains(words), "{name}: no {words:?} in {said}");
            }
            None => assert_eq!(mark, "yes", "{row}"),
        }
    }
    assert!(wanted.is_empty(), "{wanted:?}");
    let fails = expected.iter().any(|(_, _, mark, _)| *mark == "no");
    assert_eq!(value["complete"], !fails);
    assert_eq!(value["hint"].is_string(), fails, "{}", value["hint"]);
}

#[test]
fn roots_that_cannot_be_mounted() {
    if !have_tools() {
        return;
    }
    let conf = "usr/lib/modprobe.d/hardening.conf";
    let set = |path: &str, text: &str| {
        let mut machine = Machine::new();
        put(&mut machine.initramfs, path, text);
        machine
    };
    let squashfs = "squashfs (live root)";
    for (text, words) in [
        ("install squashfs /bin/false\n", "hardening.conf"),
        ("install squashfs /bin/true\n", "in place of loading"),
        ("blacklist squashfs\n", "blacklists squashfs"),
    ] {
        mounts(&set(conf, text), &nothing, &[(squashfs, LIVE, "no", words)]);
        // What the root says is not what the initramfs goes by.
        let mut machine = Machine::new();
        put(&mut machine.root, conf, text);
        mounts(&machine, &nothing, &[]);
    }
    let kept_out = set(conf, "install loop /bin/true\n");
    mounts(
        &kept_out,
        &nothing,
        &[("loop (live root)", LIVE, "no", conf)],
    );
    let kept_out = set("etc/modprobe.d/cis.conf", "blacklist isofs\n");
    mounts(
        &kept_out,
        &nothing,
        &[("isofs (live ISO)", LIVE, "no", "cis.conf")],
    );
    // USB sticks are no CDs.
    let kept_out = set(conf, "install sr_mod /bin/false\n");
    mounts(
        &kept_out,
        &nothing,
        &[("sr_mod (CD drives)", LIVE, "doubt", conf)],
    );

    // Only CoreOS's own live system is known to mount xfs; every disk has it.
    let mut kept_out = set(conf, "install xfs /bin/false\n");
    let disk = ("xfs (installed root)", "install-initramfs", "no", conf);
    mounts(&kept_out, &nothing, &[disk]);
    let generator = "usr/lib/systemd/system-generators/live-generator";
    put(&mut kept_out.initramfs, generator, "program");
    mounts(
        &kept_out,
        &nothing,
        &[disk, ("xfs (live /etc and /var)", LIVE, "no", conf)],
    );

    // A module that is not there, nor in the kernel.
    let path = format!("{MODULES}/kernel/fs/squashfs/squashfs.ko");
    let mut machine = Machine::new();
    machine.lose(&path, false, true);
    let words = "no module squashfs";
    mounts(&machine, &nothing, &[(squashfs, LIVE, "no", words)]);
    let builtin = format!("{MODULES}/modules.builtin");
    put(&mut machine.root, &builtin, "kernel/fs/squashfs.ko\n");
    let config = format!("{MODULES}/config");
    put(&mut machine.root, &config, "CONFIG_SQUASHFS_ZSTD=y\n");
    mounts(&machine, &nothing, &[]);
    // One that can't read what is written.
    let mut machine = Machine::new();
    let old = module(&[VERMAGIC, "depends=", "alias=fs-squashfs"]).needs(&["zlib_inflate"]);
    put(&mut machine.initramfs, &path, signed(&old));
    let words = "was built without zstd";
    mounts(&machine, &nothing, &[(squashfs, LIVE, "no", words)]);

    // A root that composefs is mounted for, without what it is made of.
    let composefs = "[composefs]\nenabled = maybe\n";
    let without = set("usr/lib/ostree/prepare-root.conf", composefs);
    let stage = "install-initramfs";
    mounts(
        &without,
        &nothing,
        &[
            ("erofs (composefs)", stage, "no", "no module erofs"),
            ("overlay (composefs)", stage, "no", "no module overlay"),
        ],
    );
    let off = set(
        "usr/lib/ostree/prepare-root.conf",
        "[composefs]\nenabled=no\n",
    );
    mounts(&off, &nothing, &[]);

    // The kernel's arguments of the image.
    for argument in [
        "module_blacklist=squashfs",
        "modprobe.blacklist=squashfs",
        "rd.driver.blacklist=squashfs",
    ] {
        let mut machine = Machine::new();
        put(
            &mut machine.root,
            "usr/share/coreos-assembler/image.json",
            format!("{{ \"extra-kargs\": [\"{argument}\"] }}"),
        );
        mounts(&machine, &nothing, &[(squashfs, LIVE, "no", argument)]);
    }
}

#[test]
fn roots_are_told_from_drivers() {
    if !have_tools() {
        return;
    }
    let mut machine = Machine::new();
    let conf = "etc/modprobe.d/hardening.conf";
    put(
        &mut machine.initramfs,
        conf,
        "install squashfs /bin/false\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let image = machine.store(directory.path(), &nothing);
    let junit = directory.path().join("report.xml");
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(["check", "--color", "never", "--driver", "vendor-raid"])
        .arg("--junit")
        .arg(&junit)
        .arg(format!("oci:{}", image.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains('✗')).collect();
    let [row] = rows[..] else {
        panic!("{text}");
    };
    assert!(
        row.trim_start().starts_with("squashfs (live root) ") && row.contains(LIVE),
        "{row}"
    );
    assert!(
        text.contains("hint: without squashfs that boot never gets its root"),
        "{text}"
    );
    // What is as it should be is not in the way.
    assert!(!text.contains("isofs"), "{text}");
    let report = fs::read_to_string(junit).unwrap();
    assert!(report.contains("failures=\"1\""), "{report}");
    let case = "classname=\"squashfs (live root)\" name=\"live-initramfs\"><failure";
    assert!(report.contains(case), "{report}");
    assert!(
        report.contains("classname=\"isofs (live ISO)\""),
        "{report}"
    );
}

/// Where initramfs are made from later, and what is said where they would lose the driver.
const LATER: &str = "install-root";
const ANEW: &str = "made anew";

#[test]
fn drivers_that_a_later_dracut_would_lose() {
    if !have_tools() {
        return;
    }
    let lost = || {
        let mut machine = Machine::new();
        machine.lose(CONF, true, false);
        machine
    };
    names(&lost(), &nothing, &[(LATER, "doubt", ANEW)]);
    let (value, _) = check(&lost(), &nothing);
    let hint = value["hint"].as_str().unwrap();
    assert!(hint.contains("--repair --driver vendor_raid"), "{hint}");
    assert!(
        hint.contains(CONF) && hint.contains(CONF_TEXT.trim_end()),
        "{hint}"
    );

    for (path, text) in [
        (
            "usr/etc/dracut.conf.d/x.conf",
            "force_drivers+=\" a vendor-raid \"\n",
        ),
        ("usr/etc/dracut.conf", "add_drivers=' vendor_raid '"),
        // RHEL's dracut asks depmod.d, which says here: search extra.
        (
            "usr/lib/dracut/modules.d/90kernel-modules-extra/module-setup.sh",
            "#",
        ),
    ] {
        let mut kept = lost();
        put(&mut kept.root, path, text);
        names(&kept, &nothing, &[]);
    }
    let mut other = Machine::new();
    put(&mut other.root, CONF, "add_drivers+=\" vendor_raid2 \"\n");
    names(&other, &nothing, &[(LATER, "doubt", ANEW)]);
    let mut taken_back = Machine::new();
    put(
        &mut taken_back.root,
        "usr/etc/dracut.conf.d/99-mine.conf",
        "add_drivers=\" other \"\n",
    );
    names(&taken_back, &nothing, &[(LATER, "doubt", ANEW)]);

    // A Containerfile that has dracut run again, and leaves the driver to the image below.
    let again = CONTAINERFILE.replace(" --add-drivers \"vendor-raid\"", "");
    let again: String = again
        .lines()
        .filter(|line| !line.starts_with("COPY"))
        .fold(String::new(), |text, line| text + line + "\n");
    let mut machine = Machine::new();
    machine.containerfile = again.clone();
    names(&machine, &nothing, &[]);
    machine.os_image = Some(Box::new(lost()));
    names(&machine, &nothing, &[("day2", "no", "without vendor-raid")]);
}

#[test]
fn manifests_that_have_initramfs_made_anew() {
    if !have_tools() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let manifest = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let unit = |name: &str, command: &str| {
        format!(
            "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  \
             name: {name}\n  labels:\n    machineconfiguration.openshift.io/role: worker\nspec:\n  \
             config:\n    ignition: {{ version: 3.4.0 }}\n    systemd:\n      units:\n      - name: \
             x.service\n        enabled: true\n        contents: |\n          [Service]\n          \
             ExecStart={command}\n"
        )
    };
    let enables = manifest(
        "enables.yaml",
        &unit("50-initramfs", "/usr/bin/rpm-ostree initramfs --enable"),
    );
    let other = manifest("other.yaml", &unit("50-other", "/usr/bin/true"));
    let kmm = manifest(
        "kmm.yaml",
        "apiVersion: kmm.sigs.x-k8s.io/v1beta1\nkind: InitramfsModule\nmetadata: { name: raid }\n",
    );
    manifest(
        "cluster/openshift/99-x.yaml",
        &unit("99-x", "rpm-ostree initramfs --enable"),
    );
    let cluster = directory.path().join("cluster").display().to_string();
    let mut lost = Machine::new();
    lost.lose(CONF, true, false);
    let said = |machine: &Machine, manifests: &[&str]| {
        let mut more = vec!["--driver", "vendor-raid"];
        more.extend(manifests.iter().flat_map(|path| ["--manifest", path]));
        let (value, error) = check_with(machine, &nothing, &more);
        let rows = value["drivers"]
            .as_array()
            .unwrap_or_else(|| panic!("{error}"));
        let row = rows.iter().find(|row| row["stage"] == LATER).unwrap();
        (mark(row), value["complete"] == true)
    };
    let ((mark, words), complete) = said(&lost, &[&other, &enables]);
    assert_eq!((mark, complete), ("no", false));
    for part in [
        "MachineConfig 50-initramfs in ",
        "enables.yaml",
        "pool worker",
        "x.service",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let ((mark, words), _) = said(&lost, &[&cluster]);
    assert!(
        mark == "no" && words.contains("openshift/99-x.yaml"),
        "{words}"
    );
    let ((mark, words), complete) = said(&lost, &[&kmm]);
    assert_eq!((mark, complete), ("doubt", true));
    assert!(words.contains("InitramfsModule raid"), "{words}");
    let ((mark, words), _) = said(&lost, &[&other]);
    assert!(mark == "doubt" && words.contains(ANEW), "{words}");
    // Where the driver is kept, it is nobody's concern.
    let all = [&*enables, &kmm, &cluster, &other];
    assert_eq!(said(&Machine::new(), &all), (("yes", String::new()), true));

    let broken = manifest("broken.yaml", "a: [");
    let (_, error) = check_with(&lost, &nothing, &["--manifest", &broken]);
    assert!(error.contains("broken.yaml is no YAML"), "{error}");
    let (_, error) = check_with(&lost, &nothing, &["--manifest", "/nonexistent"]);
    assert!(error.contains("/nonexistent"), "{error}");
}

#[test]
fn a_layer_names_drivers_to_later_dracuts() {
    if !have_tools() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::new();
    machine.lose(CONF, true, false);
    // Somebody else's settings in a file of that name.
    put(&mut machine.root, CONF, "compress=zstd");
    let image = machine.store(directory.path(), &nothing);
    let layer = |image: &str, tag: &str| -> Value {
        let target = format!("oci:{}:{tag}", directory.path().join("os").display());
        let output = run(Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
            .args(["layer", image, "-o", &target, "--format", "json"])
            .args(["--repair", "--driver", "vendor-raid"]));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let said = layer(&format!("oci:{}", image.display()), "first");
    // The driver is at its places; only the next initramfs would have been without it.
    assert_eq!(said["files"], serde_json::json!([CONF]));
    let first = format!("oci:{}:first", directory.path().join("os").display());
    let output = run(Command::new(env!("CARGO_BIN_EXE_coreos-bake")).args([
        "check",
        &first,
        "--driver",
        "vendor-raid",
        "--format",
        "json",
    ]));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = value["drivers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["stage"] == LATER).unwrap();
    assert_eq!(mark(row), ("yes", String::new()));
    assert_eq!(value["hint"], Value::Null);
    assert_eq!(layer(&first, "second")["files"], serde_json::json!([]));
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
    let lost = ("bootstrap", "doubt", "modules-load.d");
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
    let lost = ("bootstrap", "doubt", name);
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
            error.starts_with("error: ") && error.contains(words),
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
    names(&target, &nothing, &[("bootstrap", "no", "default.target")]);
    let client = root("usr/bin/oc", "client");
    names(
        &client,
        &nothing,
        &[("bootstrap", "doubt", "openshift-clients")],
    );
    let options = root(
        "usr/lib/modprobe.d/raid.conf",
        "options vendor_raid depth=32\n",
    );
    names(&options, &nothing, &[("bootstrap", "doubt", "raid.conf")]);

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
