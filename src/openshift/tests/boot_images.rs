use crate::openshift::boot_images::SkewRecord;
use crate::openshift::{BootImages, DayTwo};

fn steps(platform: &str, release: &str, os_version: &str) -> Vec<DayTwo> {
    let images = BootImages {
        platform: platform.parse().unwrap(),
        os_version: os_version.to_owned(),
    };
    images.day_two(release.parse().unwrap())
}

#[test]
fn the_record_comes_before_the_opt_out() {
    const NAMES: [&str; 2] = [
        "day2-1-boot-image-skew.yaml",
        "day2-2-managed-boot-images.yaml",
    ];
    for (platform, release, expected) in [
        ("aws", "4.18", &NAMES[..0]),
        ("aws", "4.21", &NAMES[1..]),
        ("vsphere", "4.21", &NAMES[..0]),
        ("vsphere", "4.22", &NAMES),
        ("aws", "5.0", &NAMES),
        ("baremetal", "4.21", &NAMES[..0]),
        ("baremetal", "4.22", &NAMES[..1]),
    ] {
        let steps = steps(platform, release, "9.6.20250402-0");
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, expected, "{platform} {release}");
        for step in &steps {
            assert!(step.commands[0].ends_with(&step.name));
        }
    }
    let both = steps("aws", "4.22", "9.6.20250402-0");
    let skew = &both[0].value["spec"]["bootImageSkewEnforcement"];
    assert_eq!(skew["manual"]["rhcosVersion"], "9.6.20250402-0");
    assert!(
        both[0].commands[1].starts_with("oc wait "),
        "{:?}",
        both[0].commands
    );
    assert!(both[0].commands[1].ends_with("=Manual"));
    let manager = &both[1].value["spec"]["managedBootImages"]["machineManagers"][0];
    assert_eq!(manager["selection"]["mode"], "None");
}

#[test]
fn the_record_is_what_the_cluster_takes() {
    let of = |version: &str, release: &str| {
        let images = BootImages {
            platform: "none".parse().unwrap(),
            os_version: version.to_owned(),
        };
        images.record(release.parse().unwrap())
    };
    for good in [
        "9.6.20250402-0",
        "418.94.202409090849-0",
        "9.6.20250402-12345678",
    ] {
        assert_eq!(of(good, "4.22"), SkewRecord::Os(good.to_owned()));
    }
    for bad in [
        "",
        "9.6.2025040-0",
        "9.6.20250402",
        "9.6.20250402-",
        "a.6.20250402-0",
        "9.20250402-000",
        "9.6.20250402-0.1",
        "418.94.202409090849-00",
    ] {
        let release = SkewRecord::Release("4.22.1".to_owned());
        assert_eq!(of(bad, "4.22.1"), release, "{bad}");
        assert_eq!(of(bad, "4.22"), SkewRecord::Unwatched, "{bad}");
    }
    assert!(steps("none", "4.22", "x")[0].commands[1].ends_with("=None"));
}
