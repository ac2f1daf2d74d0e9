//! What differs by release, and would mislead if it were another release's.

use serde_json::json;

use super::{SUM, URL, all, bash, commands, has_command, recipes, release, warns, yaml};
use crate::openshift::paths::{Facts, Path, recipe};

/// The bootstrap machine's medium changes from 4.21 to 4.22, and with it who names it, and when.
#[test]
fn bare_metal_is_told_of_the_image_that_its_release_boots() {
    let of = |(major, minor)| {
        let release = release(major, minor);
        recipe(Path::Ipi, &Facts { release, ..all() }).unwrap()
    };
    let sum = &SUM[..12];
    for release in [(4, 16), (4, 19), (4, 20), (4, 21)] {
        let recipe = of(release);
        let lines = yaml(&recipe, "install-config-bootstrap.yaml");
        assert_eq!(
            lines["platform"]["baremetal"]["bootstrapOSImage"],
            format!("{URL}/rhcos-9.6-qemu.x86_64-{sum}.qcow2?sha256={SUM}")
        );
        assert!(!has_command(&recipe, "OS_IMAGE_OVERRIDE"), "{release:?}");
        assert!(!has_command(&recipe, "live-iso"), "{release:?}");
        assert!(warns(
            &recipe,
            "Up to 4.21, the bootstrap machine alone boots"
        ));
        assert!(warns(
            &recipe,
            "Control plane machines and workers that are"
        ));
        assert!(warns(&recipe, "~/.cache/openshift-installer/image_cache"));
    }
    for release in [(4, 22), (5, 0)] {
        let recipe = of(release);
        // Seen by any other command, the URL ends where the bare-metal operator refuses it.
        let naming: Vec<&str> = commands(&recipe)
            .into_iter()
            .filter(|command| command.contains("OS_IMAGE_OVERRIDE"))
            .collect();
        assert_eq!(
            naming,
            [format!(
                "OPENSHIFT_INSTALL_OS_IMAGE_OVERRIDE='{URL}/rhcos-9.6-live-iso.x86_64-{sum}.iso?sha256={SUM}' \
                 openshift-install create cluster --dir install"
            )]
        );
        assert!(recipe.files.is_empty(), "{release:?}");
        assert!(!has_command(&recipe, "qcow2"), "{release:?}");
        assert!(!warns(&recipe, "Control plane machines and workers"));
        assert!(warns(&recipe, "Workers that are provisioned"));
        assert!(warns(&recipe, "~/.cache/agent/image_cache"));
    }
}

/// A field that no operator reads provisions nobody.
#[test]
fn nothing_is_written_that_nobody_reads() {
    for (name, recipe) in recipes(all) {
        let key = "preProvisioningOSDownloadURLs";
        assert!(!has_command(&recipe, key), "{name}");
        let mut files = recipe.files.iter();
        assert!(files.all(|file| !file.content.contains(key)), "{name}");
    }
}

/// What media install for nodes, by release, and what is said of their first boot.
#[test]
fn reboots_are_told_by_release() {
    let v1 = "systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=\"all\"";
    for (minor, operators, said) in [
        ((4, 12), None, "doesn't look at those"),
        ((4, 13), None, "doesn't look at those"),
        ((4, 14), None, "doesn't look at those"),
        ((4, 15), Some(format!("{v1} psi=1")), "not to reboot"),
        ((4, 16), Some(format!("{v1} psi=0")), "not to reboot"),
        ((4, 19), Some(format!("{v1} psi=0")), "not to reboot"),
        ((4, 20), Some(format!("{v1} psi=0")), "not to reboot"),
        ((4, 21), Some(v1.to_owned()), "not to reboot"),
        ((4, 22), Some(v1.to_owned()), "not to reboot"),
        ((5, 0), Some(v1.to_owned()), "not to reboot"),
    ] {
        let facts = Facts {
            release: release(minor.0, minor.1),
            ..all()
        };
        let list = match &operators {
            Some(operators) => format!("{operators} acme.debug=1"),
            None => "acme.debug=1".to_owned(),
        };
        let options: Vec<String> = list
            .split(' ')
            .map(|karg| format!("--dest-karg-append={karg}"))
            .collect();
        for path in [Path::UpiIso, Path::ScaleUp] {
            let recipe = recipe(path, &facts).unwrap();
            assert!(warns(&recipe, said), "{minor:?} {path}");
            let command = commands(&recipe)
                .into_iter()
                .find(|command| command.contains("worker.iso"))
                .unwrap();
            let words = bash(&[], &format!("printf '%s\\n' {command}")).unwrap();
            let words: Vec<&str> = words
                .lines()
                .filter(|word| word.starts_with("--dest-karg"))
                .collect();
            assert_eq!(words, options, "{minor:?} {path}");
        }
        let pxe = recipe(Path::UpiPxe, &facts).unwrap();
        assert!(warns(&pxe, said), "{minor:?}");
        let kargs = yaml(&pxe, "hosts.yaml")["roles"]["worker"]["dest-kargs"].clone();
        let expected: Vec<&str> = list.split(' ').collect();
        assert_eq!(kargs, json!(expected), "{minor:?}");
        // Nothing installs the arguments there, nor the image on bare metal up to 4.21.
        let of_metal = match minor < (4, 22) {
            true => "change over to osImageURL and reboot",
            false => "expected to reboot once",
        };
        for (path, said) in [
            (Path::Sno, "expected to reboot once"),
            (Path::Ipi, of_metal),
        ] {
            let recipe = recipe(path, &facts).unwrap();
            assert!(warns(&recipe, said), "{minor:?} {path}");
            assert!(!warns(&recipe, "not to reboot"), "{minor:?} {path}");
        }
        let other = Facts {
            media_are_os_image: false,
            ..facts
        };
        let other = recipe(Path::UpiIso, &other).unwrap();
        assert!(warns(&other, "change over to"), "{minor:?}");
        assert!(!warns(&other, "not to reboot"), "{minor:?}");
    }
    // Without arguments of one's own, 4.12 has nothing to reboot for.
    let facts = Facts {
        release: release(4, 12),
        dest_kargs: Vec::new(),
        ..all()
    };
    assert!(warns(
        &recipe(Path::UpiIso, &facts).unwrap(),
        "not to reboot"
    ));
}

/// From the line that somebody types to what a node's first boot compares: coreos-installer appends to
/// the boot entry's options, and the operator picks out what its pool has, quotes included.
#[test]
fn what_is_typed_is_what_the_first_boot_compares() {
    let recipe = recipe(Path::UpiIso, &all()).unwrap();
    let line = commands(&recipe)
        .into_iter()
        .find(|command| command.starts_with("printf") && command.contains("worker.ign"))
        .unwrap();
    let typed = bash(&[], &line.replace("install/worker.ign", "/dev/null")).unwrap();
    let words = bash(&[], &format!("printf '%s\\n' {typed}")).unwrap();
    let appended: Vec<&str> = words
        .lines()
        .filter_map(|word| word.strip_prefix("--append-karg="))
        .collect();
    let options = libcoreinst::io::KargsEditor::new()
        .append(
            &appended
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>(),
        )
        .apply_to("$ignition_firstboot ignition.platform.id=metal ostree=/ostree/boot.1/x/y/0")
        .unwrap();
    let pool = [
        "systemd.unified_cgroup_hierarchy=1",
        "cgroup_no_v1=\"all\"",
        "acme.debug=1",
    ];
    let compared: Vec<&str> = options
        .split_whitespace()
        .filter(|word| pool.contains(word))
        .collect();
    assert_eq!(compared, pool, "{options}");
}
