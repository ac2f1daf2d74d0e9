//! Every path, at the edges of releases and architectures, and words that want to be something else.

mod releases;
mod templates;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;
use crate::openshift::{OsImage, Release, Role};

const SUM: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const IMAGE: &str =
    "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const RELEASES: [(u16, u16); 5] = [(4, 16), (4, 19), (4, 21), (4, 22), (5, 0)];
const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "ppc64le", "s390x"];
const URL: &str = "http://192.168.1.5:8080";

fn files() -> Vec<BakedFile> {
    let file = |(role, name): (&str, &str)| BakedFile {
        role: role.to_owned(),
        name: name.to_owned(),
        size: 1,
        sha256: SUM.to_owned(),
        uncompressed_sha256: None,
    };
    [
        ("iso", "rhcos-9.6-live-iso.x86_64.iso"),
        ("kernel", "rhcos-9.6-live-kernel.x86_64"),
        ("initramfs", "rhcos-9.6-live-initramfs.x86_64.img"),
        ("rootfs", "rhcos-9.6-live-rootfs.x86_64.img"),
        ("qcow2", "rhcos-9.6-qemu.x86_64.qcow2"),
    ]
    .map(file)
    .to_vec()
}

fn release(major: u16, minor: u16) -> Release {
    format!("{major}.{minor}").parse().unwrap()
}

/// All that can be known.
fn all() -> Facts {
    Facts {
        release: release(4, 21),
        architecture: "x86_64".to_owned(),
        os_version: "9.6.20260101-0".to_owned(),
        media: "media".to_owned(),
        files: files(),
        url: Some(URL.to_owned()),
        os_image: Some(IMAGE.parse().unwrap()),
        media_are_os_image: true,
        directory: "install".to_owned(),
        cluster: Some("rack".to_owned()),
        base_domain: Some("example.com".to_owned()),
        roles: Vec::new(),
        disk: Some("/dev/sda".to_owned()),
        live_kargs: vec!["console=ttyS0".to_owned()],
        dest_kargs: vec!["acme.debug=1".to_owned()],
        prepare_options: vec!["--driver=acme".to_owned()],
    }
}

/// Only what every path has to know.
fn few() -> Facts {
    Facts {
        url: None,
        os_image: None,
        media_are_os_image: false,
        cluster: None,
        base_domain: None,
        disk: None,
        live_kargs: Vec::new(),
        dest_kargs: Vec::new(),
        prepare_options: Vec::new(),
        ..all()
    }
}

/// The recipes of all paths, releases and architectures that there are.
fn recipes(of: impl Fn() -> Facts) -> Vec<(String, Recipe)> {
    let mut all = Vec::new();
    for path in Path::ALL {
        for (major, minor) in RELEASES {
            let release = release(major, minor);
            for architecture in ARCHITECTURES {
                let facts = Facts {
                    release,
                    architecture: architecture.to_owned(),
                    ..of()
                };
                let name = format!("{path} {release} {architecture}");
                match recipe(path, &facts) {
                    Ok(recipe) => all.push((name, recipe)),
                    Err(RecipeError::NotThere { .. }) => {
                        assert!(path == Path::UpiPxe && architecture == "s390x", "{name}");
                    }
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
    all
}

fn file<'a>(recipe: &'a Recipe, name: &str) -> &'a str {
    let mut files = recipe.files.iter();
    let found = files.find(|file| file.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} is not there"))
        .content
}

fn yaml(recipe: &Recipe, name: &str) -> Value {
    serde_saphyr::from_str(file(recipe, name)).unwrap()
}

fn commands(recipe: &Recipe) -> Vec<&str> {
    let steps = recipe.steps.iter();
    steps
        .flat_map(|step| &step.commands)
        .map(String::as_str)
        .collect()
}

fn has_command(recipe: &Recipe, part: &str) -> bool {
    commands(recipe)
        .iter()
        .any(|command| command.contains(part))
}

fn warns(recipe: &Recipe, part: &str) -> bool {
    recipe.warnings.iter().any(|warning| warning.contains(part))
}

/// What Bash makes of a script on its standard input.
fn bash(arguments: &[&str], script: &str) -> Result<String, String> {
    let mut child = Command::new("bash")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash is there");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

#[test]
fn every_command_is_one_that_a_shell_reads() {
    for (name, recipe) in recipes(all) {
        let script = commands(&recipe).join("\n");
        assert!(!script.is_empty(), "{name}");
        bash(&["-n"], &script).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(
        bash(&["-n"], "echo 'open").is_err(),
        "the check cannot fail"
    );
}

#[test]
fn every_file_is_what_its_name_says() {
    for (name, recipe) in recipes(all) {
        for file in &recipe.files {
            let at = format!("{name} {}", file.name);
            let content = file.content.as_str();
            assert!(content.ends_with('\n') && !file.what.is_empty(), "{at}");
            match file.name.rsplit_once('.').unwrap().1 {
                "yaml" => {
                    let value: Value = serde_saphyr::from_str(content)
                        .unwrap_or_else(|error| panic!("{at}: {error}"));
                    assert!(value.is_object(), "{at}");
                }
                "json" => {
                    let value: Value = serde_json::from_str(content).unwrap();
                    assert!(value.is_array(), "{at}");
                }
                "ipxe" => assert!(content.starts_with("#!ipxe\n"), "{at}"),
                "cfg" => assert!(content.contains("coreos.inst.install_dev=/dev/sda"), "{at}"),
                other => panic!("{at}: {other} is not checked"),
            }
        }
    }
}

#[test]
fn lines_for_people_have_eighty_columns() {
    for (name, recipe) in recipes(all) {
        let text = recipe.text("/where it is");
        assert!(text.contains("\n    cd -- '/where it is'\n"), "{name}");
        for step in &recipe.steps {
            for command in &step.commands {
                assert!(
                    text.contains(&format!("\n    {command}\n")),
                    "{name}: {command}"
                );
            }
        }
        let known = commands(&recipe);
        let mut lines = text
            .lines()
            .filter(|line| !known.contains(&line.trim_start()));
        let long = lines.find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{name}");
    }
}

/// What openshift-install does at each command: an edit at another time is lost.
#[test]
fn manifests_come_between_manifests_and_configs() {
    for (name, recipe) in recipes(all) {
        let known = commands(&recipe);
        let at = |part: &str| known.iter().position(|command| command.contains(part));
        let prepare = "coreos-bake prepare install --release ";
        match recipe.path {
            Path::UpiIso | Path::UpiPxe | Path::Ipi | Path::Sno => {
                let configs = match recipe.path {
                    Path::Sno => "create single-node-ignition-config --dir install",
                    _ => "create ignition-configs --dir install",
                };
                let (made, prepared, ignited) = (
                    at("create manifests --dir install"),
                    at(prepare),
                    at(configs),
                );
                assert!(
                    made.is_some() && made < prepared && prepared < ignited,
                    "{name}"
                );
                let again = known
                    .iter()
                    .rposition(|command| command.starts_with(prepare));
                assert!(ignited < again, "{name}");
            }
            Path::Agent => assert!(at(prepare) < at("agent create image"), "{name}"),
            Path::Assisted => assert!(at(prepare) < at("oc -n rack create configmap"), "{name}"),
            Path::ScaleUp => assert_eq!(at("openshift-install"), None, "{name}"),
        }
        for command in known.iter().filter(|command| command.starts_with(prepare)) {
            assert!(command.contains(&format!("--os-image {IMAGE}")), "{name}");
            assert!(
                command.ends_with("--karg-append acme.debug=1 --driver=acme"),
                "{name}"
            );
        }
    }
}

#[test]
fn an_iso_for_each_role_installs_by_itself_or_by_hand() {
    let recipe = recipe(Path::UpiIso, &all()).unwrap();
    for role in ["bootstrap", "master", "worker"] {
        // A bootstrap machine is in no pool.
        let kargs = |option: &str| match role {
            "bootstrap" => format!("{option}=acme.debug=1"),
            _ => format!(
                "{option}=systemd.unified_cgroup_hierarchy=1 '{option}=cgroup_no_v1=\"all\"' \
                 {option}=acme.debug=1"
            ),
        };
        let command = format!(
            "coreos-installer iso customize --dest-ignition install/{role}.ign --dest-device /dev/sda {} \
             --live-karg-append=console=ttyS0 -o {role}.iso media/rhcos-9.6-live-iso.x86_64.iso",
            kargs("--dest-karg-append")
        );
        assert!(has_command(&recipe, &command), "{command}");
        // What the printed command prints in turn.
        let line = commands(&recipe)
            .into_iter()
            .find(|command| {
                command.starts_with("printf") && command.contains(&format!("{role}.ign"))
            })
            .unwrap();
        let script = line.replace(&format!("install/{role}.ign"), "/dev/null");
        let said = bash(&[], &script).unwrap();
        let empty = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                     47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        assert_eq!(
            said,
            format!(
                "sudo coreos-installer install --ignition-url={URL}/{role}.ign {} \
                 --ignition-hash=sha512-{empty} /dev/sda\n",
                kargs("--append-karg")
            )
        );
    }
    let one = Facts {
        roles: vec![Role::Worker],
        ..all()
    };
    let one = super::recipe(Path::UpiIso, &one).unwrap();
    assert!(has_command(&one, "-o worker.iso") && !has_command(&one, "-o master.iso"));
    assert!(has_command(&one, "--role worker"));
}

#[test]
fn network_boot_has_what_each_loader_reads() {
    let loaders = |architecture: &str| {
        let architecture = architecture.to_owned();
        recipe(
            Path::UpiPxe,
            &Facts {
                architecture,
                ..all()
            },
        )
        .unwrap()
    };
    let line = format!(
        "console=ttyS0 coreos.live.rootfs_url={URL}/rhcos-9.6-live-rootfs.x86_64.img \
         coreos.inst.install_dev=/dev/sda coreos.inst.ignition_url={URL}/master.ign"
    );
    let recipe = loaders("x86_64");
    let ipxe = file(&recipe, "master.ipxe");
    assert!(ipxe.contains(&format!(
        "kernel {URL}/rhcos-9.6-live-kernel.x86_64 initrd=main {line} || goto failed\n\
         initrd --name main {URL}/rhcos-9.6-live-initramfs.x86_64.img || goto failed\nboot"
    )));
    assert!(file(&recipe, "master.pxelinux.cfg").contains(&format!(
        "APPEND initrd={URL}/rhcos-9.6-live-initramfs.x86_64.img {line}\n"
    )));
    assert!(file(&recipe, "master.grub.cfg").contains(&line));
    // Those of the installed system belong into the inventory: nothing carries them to the disk.
    assert!(
        recipe
            .files
            .iter()
            .all(|file| file.name == "hosts.yaml" || !file.content.contains("acme.debug"))
    );
    let hosts = yaml(&recipe, "hosts.yaml");
    assert_eq!(hosts["roles"]["master"]["ignition"], "install/master.ign");
    let kargs = |role: &str| hosts["roles"][role]["dest-kargs"].clone();
    assert_eq!(kargs("bootstrap"), json!(["acme.debug=1"]));
    for role in ["master", "worker"] {
        assert_eq!(
            kargs(role),
            json!([
                "systemd.unified_cgroup_hierarchy=1",
                "cgroup_no_v1=\"all\"",
                "acme.debug=1"
            ])
        );
    }
    let names = |recipe: &Recipe| {
        let files = recipe.files.iter();
        files
            .map(|f| f.name.clone())
            .filter(|name| name.starts_with("master"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&recipe),
        ["master.ipxe", "master.pxelinux.cfg", "master.grub.cfg"]
    );
    assert_eq!(
        names(&loaders("aarch64")),
        ["master.ipxe", "master.grub.cfg"]
    );
    assert!(warns(&loaders("aarch64"), "IMAGE_GZIP"));
    assert_eq!(names(&loaders("ppc64le")), ["master.grub.cfg"]);
}

/// An inventory with addresses is one that `serve` and `hosts` take.
#[test]
fn the_inventory_is_complete_but_for_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let facts = Facts {
        directory: directory.path().to_str().unwrap().to_owned(),
        ..all()
    };
    let recipe = recipe(Path::UpiPxe, &facts).unwrap();
    let path = directory.path().join("hosts.yaml");
    let mut text = file(&recipe, "hosts.yaml").to_owned();
    for role in ["bootstrap", "master", "worker"] {
        let config = r#"{"ignition":{"version":"3.2.0"}}"#;
        std::fs::write(directory.path().join(format!("{role}.ign")), config).unwrap();
    }
    std::fs::write(&path, &text).unwrap();
    assert!(
        crate::hosts::Inventory::read(&path).is_err(),
        "a placeholder is taken for an address"
    );
    for number in 1..=3 {
        text = text.replacen(
            "HARDWARE-ADDRESS",
            &format!("\"52:54:00:00:00:0{number}\""),
            1,
        );
    }
    std::fs::write(&path, text).unwrap();
    let inventory = crate::hosts::Inventory::read(&path).unwrap();
    assert_eq!(inventory.hosts.len(), 3);
    for host in &inventory.hosts {
        let is_node = host.role.as_deref() != Some("bootstrap");
        let has = host
            .dest_kargs
            .iter()
            .any(|karg| karg == "cgroup_no_v1=\"all\"");
        assert_eq!(has, is_node, "{host:?}");
    }
}

#[test]
fn the_agent_based_installer_is_told_of_the_iso() {
    let recipe = recipe(Path::Agent, &all()).unwrap();
    assert!(has_command(
        &recipe,
        &format!(
            "OPENSHIFT_INSTALL_OS_IMAGE_OVERRIDE='{URL}/rhcos-9.6-live-iso.x86_64-{}.iso?sha256={SUM}' \
             openshift-install agent create image --dir install",
            &SUM[..12]
        )
    ));
    assert_eq!(
        yaml(&recipe, "agent-config-pxe.yaml")["bootArtifactsBaseURL"],
        URL
    );
    assert!(warns(&recipe, "OverwriteOsImage"));
}

#[test]
fn the_assisted_installer_is_told_in_its_own_words() {
    let facts = Facts {
        architecture: "aarch64".to_owned(),
        ..all()
    };
    let recipe = recipe(Path::Assisted, &facts).unwrap();
    let iso = format!("{URL}/rhcos-9.6-live-iso.x86_64-{}.iso", &SUM[..12]);
    let service = yaml(&recipe, "agent-service-config.yaml");
    assert_eq!(service["apiVersion"], "agent-install.openshift.io/v1beta1");
    assert_eq!(
        service["spec"]["osImages"],
        json!([{ "openshiftVersion": "4.21", "version": "9.6.20260101-0", "url": iso, "cpuArchitecture": "arm64" }])
    );
    let images: Value = serde_json::from_str(file(&recipe, "os-images.json")).unwrap();
    assert_eq!(
        images,
        json!([{ "openshift_version": "4.21", "version": "9.6.20260101-0", "url": iso, "cpu_architecture": "arm64" }])
    );
    let environment = yaml(&recipe, "infra-env.yaml");
    assert_eq!(environment["metadata"]["namespace"], "rack");
    assert_eq!(
        environment["spec"],
        json!({
            "cpuArchitecture": "arm64",
            "kernelArguments": [{ "operation": "append", "value": "console=ttyS0" }],
        })
    );
    let cluster = yaml(&recipe, "agent-cluster-install.yaml");
    assert_eq!(
        cluster["spec"]["manifestsConfigMapRefs"][0]["name"],
        "coreos-bake-manifests"
    );
    let agent = yaml(&recipe, "agent.yaml");
    assert_eq!(
        agent["spec"]["installerArgs"],
        r#"["--append-karg","acme.debug=1"]"#
    );
}

#[test]
fn a_single_node_has_its_config_in_the_live_system() {
    let recipe = recipe(Path::Sno, &all()).unwrap();
    let lines = yaml(&recipe, "install-config-single-node.yaml");
    assert_eq!(lines["bootstrapInPlace"]["installationDisk"], "/dev/sda");
    assert_eq!(lines["controlPlane"]["replicas"], 1);
    assert!(has_command(
        &recipe,
        "coreos-installer iso ignition embed -fi install/bootstrap-in-place-for-live-iso.ign single-node.iso"
    ));
    assert!(!has_command(&recipe, "create ignition-configs"));
    assert!(warns(&recipe, "create ignition-configs would make"));
    // Those are for the installer that runs by itself.
    assert!(warns(&recipe, "extra-kargs"));
}

#[test]
fn what_is_missing_is_named_with_its_option() {
    let without = |roles: &[&str]| {
        let is_left = |file: &BakedFile| !roles.contains(&file.role.as_str());
        files().into_iter().filter(is_left).collect::<Vec<_>>()
    };
    let on = |url: bool, disk: bool, gone: &[&str]| Facts {
        url: url.then(|| URL.to_owned()),
        disk: disk.then(|| "/dev/sda".to_owned()),
        files: without(gone),
        ..few()
    };
    for (path, facts, option) in [
        (Path::UpiIso, on(false, false, &[]), "--disk or --url"),
        (Path::UpiIso, on(true, true, &["iso"]), "-f iso"),
        (Path::UpiPxe, on(false, true, &[]), "--url"),
        (Path::UpiPxe, on(true, false, &[]), "--disk"),
        (Path::UpiPxe, on(true, true, &["rootfs"]), "-f pxe"),
        (Path::Ipi, on(false, true, &[]), "--url"),
        (
            Path::Ipi,
            Facts {
                release: release(4, 22),
                ..on(true, true, &["iso"])
            },
            "-f iso",
        ),
        (
            Path::Ipi,
            Facts {
                release: release(4, 21),
                ..on(true, true, &["qcow2"])
            },
            "-f qcow2",
        ),
        (Path::Agent, on(false, true, &[]), "--url"),
        (Path::Assisted, on(false, true, &[]), "--url"),
        (Path::Sno, on(true, false, &[]), "--disk"),
        (Path::Sno, on(true, true, &["iso"]), "-f iso"),
        (
            Path::ScaleUp,
            on(true, true, &["iso", "kernel"]),
            "-f iso,pxe",
        ),
    ] {
        let error = recipe(path, &facts).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with(&format!("install path {path} needs ")),
            "{said}"
        );
        assert!(!said.ends_with('.') && !said.contains('\n'), "{said}");
        let hint = error.hint().unwrap();
        assert!(hint.contains(option), "{path}: {hint}");
    }
    recipe(Path::ScaleUp, &few()).unwrap();
}

const HOSTILE: [&str; 12] = [
    "",
    "a b",
    "a'b",
    "a\"b",
    "a\nb",
    "$(reboot)",
    "`reboot`",
    "a;b",
    "a&&b",
    "a|b",
    "-o",
    "a\u{1b}b",
];

/// Where it would be in a script, a URL or a boot loader's line, a word is refused.
#[test]
fn words_that_are_more_than_words_are_refused() {
    type Set = fn(&mut Facts, String);
    let fields: [(&str, Set); 8] = [
        ("url", |f, word| f.url = Some(format!("http://{word}"))),
        ("path of a url", |f, word| {
            f.url = Some(format!("http://a/{word}\"$"))
        }),
        ("disk", |f, word| {
            f.disk = Some(format!("/dev/{word}\u{7f}"))
        }),
        ("cluster", |f, word| f.cluster = Some(word)),
        ("domain", |f, word| f.base_domain = Some(word)),
        ("live argument", |f, word| f.live_kargs = vec![word]),
        ("argument", |f, word| f.dest_kargs = vec![word]),
        ("file", |f, word| f.files[0].name = word),
    ];
    for word in HOSTILE {
        assert!(word.parse::<OsImage>().is_err(), "{word:?}");
        assert!(word.parse::<Role>().is_err(), "{word:?}");
        for (name, set) in fields {
            let mut facts = all();
            set(&mut facts, word.to_owned());
            for path in Path::ALL {
                let error = recipe(path, &facts);
                assert!(error.is_err(), "{path} takes {word:?} as {name}");
            }
        }
    }
    let mut facts = all();
    facts.url = Some("http://me:secret@a".to_owned());
    let error = recipe(Path::Agent, &facts).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

/// Directories are the admin's own and may be called anything that a line can have in it.
#[test]
fn directories_are_quoted() {
    for word in HOSTILE {
        let facts = Facts {
            media: word.to_owned(),
            directory: word.to_owned(),
            prepare_options: vec![format!("--firmware={word}")],
            ..all()
        };
        for path in Path::ALL {
            let recipe = match recipe(path, &facts) {
                Err(RecipeError::Word { .. })
                    if word.is_empty() || word.contains(char::is_control) =>
                {
                    continue;
                }
                other => other.unwrap_or_else(|error| panic!("{word:?}: {error}")),
            };
            let place = match word.strip_prefix('-') {
                Some(_) => format!("./{word}"),
                None => word.to_owned(),
            };
            for command in commands(&recipe) {
                bash(&["-n"], command).unwrap_or_else(|error| panic!("{command}: {error}"));
                if command.starts_with("coreos-bake prepare") {
                    let words = bash(&[], &format!("printf '%s\\n' {command}")).unwrap();
                    let words: Vec<&str> = words.lines().collect();
                    assert_eq!(words[2], place, "{command}");
                    assert_eq!(words.last(), Some(&format!("--firmware={word}").as_str()));
                }
            }
        }
    }
}

/// A server goes on and on: what comes behind it in a step would never be run.
#[test]
fn a_server_is_the_last_of_its_step() {
    let mut seen = 0;
    for (name, recipe) in recipes(all) {
        for step in &recipe.steps {
            let mut commands = step.commands.iter();
            if let Some(at) = commands.position(|c| c.starts_with("coreos-bake serve")) {
                assert_eq!(at + 1, step.commands.len(), "{name}");
                assert!(step.text.contains("Ctrl-C"), "{name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn stale_media_are_found_by_the_command_itself() {
    let recipe = recipe(Path::ScaleUp, &all()).unwrap();
    let command = commands(&recipe)[0];
    for (image, said) in [(IMAGE, "the media are right\n"), ("other", "bake anew\n")] {
        let script = format!("oc() {{ echo {image}; }}\n{command}");
        assert_eq!(bash(&[], &script).as_deref(), Ok(said));
    }
    let command = super::recipe(Path::ScaleUp, &few()).unwrap();
    let command = commands(&command)[0];
    assert!(command.starts_with("oc get machineconfig "), "{command}");
}

/// One server for every address family, and none where it could not be this program.
#[test]
fn the_server_listens_where_the_url_says() {
    for (url, expected) in [
        ("http://a.example", Some("0.0.0.0:80")),
        ("http://192.168.1.5:8080/", Some("0.0.0.0:8080")),
        ("http://[fd00::5]:81", Some("[::]:81")),
        ("https://a.example", None),
        ("http://a.example/coreos", None),
    ] {
        let facts = Facts {
            url: Some(url.to_owned()),
            ..all()
        };
        let recipe = recipe(Path::Agent, &facts).unwrap();
        let commands = commands(&recipe);
        let serve = commands
            .iter()
            .find(|command| command.starts_with("coreos-bake serve"));
        let Some(expected) = expected else {
            assert_eq!(serve, None, "{url}");
            continue;
        };
        let line = serve.unwrap();
        let words = bash(&[], &format!("printf '%s\\n' {line}")).unwrap();
        assert!(words.lines().any(|word| word == expected), "{line}");
    }
    for url in [
        "ftp://a",
        "a.example",
        "http://",
        "http://a:0",
        "http://a:x",
        "http://a?b",
        "http://[a]",
    ] {
        let facts = Facts {
            url: Some(url.to_owned()),
            ..all()
        };
        let error = recipe(Path::Agent, &facts).unwrap_err();
        assert!(error.hint().unwrap().contains("--url"), "{url}");
    }
}

#[test]
fn paths_are_named_and_found() {
    for path in Path::ALL {
        assert_eq!(path.as_str().parse(), Ok(path));
    }
    let error = "upi".parse::<Path>().unwrap_err().to_string();
    for path in Path::ALL {
        assert!(error.contains(path.as_str()), "{error}");
    }
}
