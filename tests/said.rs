//! What an image says is data: kernel arguments, names, sizes. Nothing of it is an order to a boot loader or
//! a terminal.

#[path = "support/layout.rs"]
mod layout;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bake_format::cpio;
use layout::{Item, Layout, derive, file, tar};
use serde_json::{Value, json};
use support::{Workshop, find, have, names, open_up, run, run_to_fail, text};

const MODULES: &str = "usr/lib/modules/6.1.0";
const IMAGE_JSON: &str = "usr/share/coreos-assembler/image.json";
const PLATFORMS_JSON: &str = "usr/share/coreos-assembler/platforms.json";

/// Most that can be in a name: orders to terminals and loaders.
const EVIL: &str = "a\u{1b}[2J\u{7}b\rc\u{9b}31m\u{202e}d\u{2066}; reboot; \"}${net0/mac} || shell";

/// An image of `os_release` and `more` beside what every image has, with a kernel for nobody.
fn image(directory: &Path, os_release: &str, more: Vec<Item>) -> PathBuf {
    let mut initramfs = cpio::Writer::new(Vec::new());
    initramfs.directory("usr", 0o755).unwrap();
    let initramfs = initramfs.finish().unwrap();
    let mut items = vec![
        file("usr/lib/os-release", os_release),
        file("usr/lib/modules/6.1.0/vmlinuz", "kernel"),
        Item::File("usr/lib/modules/6.1.0/initramfs.img", initramfs),
    ];
    items.extend(more);
    let mut layout = Layout::new(vec![tar(&items)]);
    layout.labels = json!({ "containers.bootc": "1", "odd": EVIL, format!("key.{EVIL}"): "x" });
    let path = directory.join("image");
    layout.write(&path);
    path
}

/// A program that is ended with the test, whatever the test's end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only for a program that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
    command.env_remove("COREOS_BAKE_LOG");
    command
}

/// Bakes an image of that, which has to be refused without a file being left; returns the error.
fn refused(name: &str, items: Vec<Item>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "ID=test\nVERSION_ID=1\n", items);
    let output = directory.path().join("out");
    let said = run_to_fail(
        program()
            .args(["bake", &format!("oci:{}", image.display()), "-o"])
            .arg(&output),
    );
    assert!(!output.exists(), "{name}");
    let errors: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{name}: {said}");
    errors[0].to_owned()
}

#[test]
fn arguments_that_a_loader_would_misread_are_refused_with_their_file() {
    for (argument, shown) in [
        ("a=b\noptions evil", r#""a=b\noptions evil" is not one"#),
        ("c\"d", r#""c\"d" can't be"#),
        ("x y", r#""x y" is not one"#),
        ("a;reboot", r#""a;reboot" can't be"#),
        ("a=${net0/mac}", r#""a=${net0/mac}" can't be"#),
        ("a\u{1b}[2J", r#""a\u{1b}[2J" can't be"#),
        ("", r#""" is not a kernel argument"#),
    ] {
        let kargs = json!({ "extra-kargs": ["quiet", argument] }).to_string();
        let error = refused(argument, vec![file(IMAGE_JSON, &kargs)]);
        let start = format!("error: {IMAGE_JSON}, extra-kargs: {shown}");
        assert!(error.starts_with(&start), "{error}\n{start}");

        let platforms = json!({ "azure": { "kernel_arguments": [argument] } }).to_string();
        let error = refused(argument, vec![file(PLATFORMS_JSON, &platforms)]);
        let start = format!("error: {PLATFORMS_JSON}, platform \"azure\": {shown}");
        assert!(error.starts_with(&start), "{error}\n{start}");
    }
}

#[test]
fn sizes_that_no_disk_has_are_refused_before_any_work() {
    for size in [u64::MAX, 1 << 34, (64 << 10) + 1] {
        let error = refused(
            "size",
            vec![file(IMAGE_JSON, &json!({ "size": size }).to_string())],
        );
        assert_eq!(
            error,
            format!(
                "error: {IMAGE_JSON}: a size of {size} GiB is larger than any disk image can be"
            )
        );
    }
}

#[test]
fn kernels_are_called_as_files_of_boot_loaders_can_be() {
    let items = vec![
        file("usr/lib/modules/6.1.0;reboot/vmlinuz", "kernel"),
        file("usr/lib/modules/6.1.0;reboot/initramfs.img", "initramfs"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut all = vec![file("usr/lib/os-release", "ID=test\nVERSION_ID=1\n")];
    all.extend(items);
    let path = directory.path().join("image");
    Layout::new(vec![tar(&all)]).write(&path);
    let said = run_to_fail(program().args(["inspect", &format!("oci:{}", path.display())]));
    assert!(
        said.contains("\"6.1.0;reboot\" can't be called so"),
        "{said}"
    );
}

/// Names go to people through every command that tells of an image; JSON has them as they are.
#[test]
fn no_command_passes_orders_to_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let os_release = format!(
        "ID=test\nVERSION_ID=1\nPRETTY_NAME='{}'\n",
        EVIL.replace('\r', "")
    );
    let odd: &'static str = "usr/lib/firmware/a\u{1b}[2J\nb";
    let image = image(directory.path(), &os_release, vec![file(odd, "x")]);
    let image = format!("oci:{}", image.display());
    let module = directory.path().join("acme\u{1b}[2J\u{202e}.ko");
    fs::write(&module, "no module").unwrap();
    let output = directory.path().join("out\u{1b}]0;x\u{7}");
    let target = format!("oci:{}:new", output.display());
    let (module, output) = (module.to_str().unwrap(), output.to_str().unwrap());
    let mut told = 0;
    for arguments in [
        &["inspect", &*image][..],
        &["inspect", &*image, "--color", "always"],
        &["check", &*image, "--driver", "acme_nic"],
        &[
            "check",
            &*image,
            "--driver",
            "acme_nic",
            "--explain",
            "live-root",
            "-v",
        ],
        &["bake", &*image, "--dry-run", "-o", output],
        &["bake", &*image, "-o", output, "-vv"],
        &[
            "layer",
            &*image,
            "--add-driver",
            module,
            "--dry-run",
            "-o",
            &*target,
        ],
        &[
            "hosts",
            output,
            "nowhere\u{1b}[2J.yaml",
            "--dry-run",
            "-f",
            "iso",
        ],
    ] {
        let made = program().args(arguments).output().unwrap();
        for bytes in [made.stdout, made.stderr] {
            let said = String::from_utf8(bytes).unwrap();
            let is_colored = arguments.contains(&"always");
            let bad = |c: char| {
                (c.is_control() && c != '\n' && !(is_colored && c == '\u{1b}'))
                    || ('\u{202a}'..='\u{202e}').contains(&c)
                    || ('\u{2066}'..='\u{2069}').contains(&c)
            };
            assert!(!said.contains(bad), "{arguments:?}\n{said:?}");
            assert!(!said.contains("\u{1b}[2J"), "{arguments:?}\n{said:?}");
            told += usize::from(said.contains("\\u{1b}[2J"));
        }
    }
    assert!(told >= 4, "the names were told {told} times");

    let facts = text(&run(program().args(["inspect", &image, "--format", "json"])));
    let facts: Value = serde_json::from_str(&facts).unwrap();
    assert_eq!(facts["name"], EVIL.replace('\r', ""));
    assert_eq!(facts["labels"]["odd"], EVIL);
    assert_eq!(facts["kernel"], MODULES.rsplit('/').next().unwrap());
}

/// An image that is just acceptable: what `bake` makes of it, `hosts` and `serve` take, and boot loaders too.
#[test]
fn what_is_baked_is_taken_by_whoever_goes_on_from_it() {
    let (Some(workshop), true) = (Workshop::new(), have("grub-script-check")) else {
        return;
    };
    let os_release = format!(
        "ID=test\nVERSION_ID=1\nOSTREE_VERSION=1.2\nPRETTY_NAME='{}'\n",
        EVIL.replace('\r', "")
    );
    let kargs = [
        "rd.luks.options=0a1b-2c=tpm2-device=auto,discard",
        "odd=!#%()*+,-./:=?@[]^_~",
    ];
    let image_json = json!({ "size": 10, "extra-kargs": kargs }).to_string();
    let layer = tar(&[
        file("usr/lib/os-release", &os_release),
        file(IMAGE_JSON, &image_json),
    ]);
    derive(&workshop.path("layered.oci"), &layer, "amd64");
    let output = workshop.output("out");
    run(workshop
        .bake_as_nobody()
        .args(["bake", &workshop.image("layered"), "-f", "iso,pxe,metal"])
        .args(["--compression", "fast", "-o"])
        .arg(&output));

    let grub = fs::read_to_string(find(&output, ".grub.cfg")).unwrap();
    let ipxe = fs::read_to_string(find(&output, ".ipxe")).unwrap();
    let pxelinux = fs::read_to_string(find(&output, ".pxelinux.cfg")).unwrap();
    let menu = workshop.path("menu.cfg");
    let iso = find(&output, ".iso");
    run(Command::new("xorriso")
        .args(["-osirrox", "on", "-indev"])
        .arg(&iso)
        .args(["-extract", "/boot/grub/grub.cfg"])
        .arg(&menu)
        .stderr(Stdio::null()));
    for config in [find(&output, ".grub.cfg"), menu.clone()] {
        run(Command::new("grub-script-check").arg(config));
    }
    let menu = fs::read_to_string(menu).unwrap();
    for text in [&grub, &ipxe, &pxelinux, &menu] {
        assert!(text.contains(kargs[1]), "{text}");
        let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!text.contains(bad), "{text:?}");
        assert!(
            !text.contains("reboot;") && !text.contains("${net0"),
            "{text}"
        );
    }
    // The boot entry has one line of each kind.
    let facts = text(&run(program()
        .args(["inspect", "--format", "json"])
        .arg(find(&output, ".raw"))));
    let facts: Value = serde_json::from_str(&facts).unwrap();
    let options = facts["entry"]["options"].as_str().unwrap();
    assert!(options.contains(kargs[1]), "{options}");
    assert!(options.starts_with("rw $ignition_firstboot "), "{options}");
    assert_eq!(
        facts["entry"]["title"],
        "a 2J bc 31m d reboot net0/mac shell 1.2 (ostree:0)"
    );

    let inventory = workshop.path("hosts.yaml");
    fs::write(
        &inventory,
        "hosts:\n- {name: w0, mac: '52:54:00:00:00:01', disk: /dev/sda}\n",
    )
    .unwrap();
    open_up(&inventory);
    let racks = workshop.output("racks");
    run(workshop
        .bake_as_nobody()
        .args([
            "hosts",
            "--dry-run",
            "-f",
            "pxe",
            "--url",
            "http://192.0.2.1",
        ])
        .arg(&output)
        .arg(&inventory)
        .arg("-o")
        .arg(&racks));
    assert_eq!(names(&racks), [""; 0]);
    let mut server = Running(
        program()
            .arg("serve")
            .arg(&output)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut greeting = String::new();
    let mut lines = BufReader::new(server.0.stderr.take().unwrap());
    lines.read_line(&mut greeting).unwrap();
    assert!(greeting.contains("http://127.0.0.1:"), "{greeting}");
}
