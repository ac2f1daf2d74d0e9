use crate::openshift::boot_images::Platform;
use crate::openshift::release::ReleaseError;
use crate::openshift::release::Seeding;
use crate::openshift::{FirstBoot, Release};

fn release(text: &str) -> Release {
    text.parse().unwrap()
}

#[test]
fn texts_that_are_releases() {
    for (text, shown) in [
        ("4.12", "4.12"),
        ("4.19.0", "4.19.0"),
        ("4.19.3", "4.19.3"),
        ("4.20.0-rc.1", "4.20.0"),
        ("4.20.0-0.nightly-2026-01-01-000000", "4.20.0"),
        ("5.0", "5.0"),
        ("5.12", "5.12"),
        ("v4.19", "4.19"),
        ("v4.19.3", "4.19.3"),
    ] {
        assert_eq!(release(text).to_string(), shown);
    }
    for text in [
        "",
        "4",
        "4.",
        "4.x",
        "04.19",
        "4.019",
        "4.19.",
        "4.19.1.2",
        "v",
        "vv4.19",
        "V4.19",
        " 4.19",
        "4.19-",
        "+4.19",
        "4.19-rc.1",
        "4.99999",
    ] {
        let error = text.parse::<Release>().unwrap_err();
        assert!(matches!(error, ReleaseError::Malformed(_)), "{text:?}");
    }
    for text in ["3.11", "4.11", "4.11.99", "6.0"] {
        assert_eq!(
            text.parse::<Release>().unwrap_err().to_string(),
            format!("OpenShift {text} is not known; there are 4.12 to 4.x and 5.x")
        );
    }
    assert!(release("4.9999") > release("4.19.3"));
    assert_eq!(release("4.19.3").exact().as_deref(), Some("4.19.3"));
    assert_eq!(release("4.19").exact(), None);
}

#[test]
fn rules_change_at_their_releases() {
    type Row = (&'static str, bool, Seeding, bool, &'static str);
    let rows: [Row; 9] = [
        ("4.13", false, Seeding::Missing, false, "rhel-coreos"),
        ("4.14", false, Seeding::Missing, false, "rhel-coreos"),
        ("4.16", false, Seeding::Missing, false, "rhel-coreos"),
        ("4.18", false, Seeding::Missing, false, "rhel-coreos"),
        ("4.19", true, Seeding::Missing, false, "rhel-coreos"),
        ("4.20", true, Seeding::Missing, false, "rhel-coreos"),
        ("4.21", true, Seeding::Unannounced, false, "rhel-coreos"),
        ("4.22", true, Seeding::There, true, "rhel-coreos"),
        ("5.0", true, Seeding::There, true, "rhel-coreos-10"),
    ];
    for (text, overlays, seeding, since_22, tag) in rows {
        let release = release(text);
        assert_eq!(release.bootstrap_overlays(), overlays, "{text}");
        assert_eq!(release.seeding(), seeding, "{text}");
        assert_eq!(release.enforces_skew(), since_22, "{text}");
        assert_eq!(release.builds_on_os_image(), since_22, "{text}");
        assert_eq!(release.bootstraps_from_iso(), since_22, "{text}");
        assert_eq!(release.redeploys_indexes(), since_22, "{text}");
        assert_eq!(release.payload_tag(release.default_stream()), tag, "{text}");
    }
    assert!(!release("4.14").compares_kernel_arguments());
    assert!(release("4.15").compares_kernel_arguments());
    assert_eq!(release("4.12").payload_tag("rhel-9"), "rhel-coreos-8");
    assert_eq!(release("4.22").payload_tag("rhel-10"), "rhel-coreos-10");
    assert_eq!(release("4.22").default_stream(), "rhel-9");
}

/// The page has the table that the program goes by.
#[test]
fn the_page_has_the_kernel_arguments_of_each_release() {
    let page = include_str!("../../../docs/install.md");
    for (text, label) in [
        ("4.12", "4.12"),
        ("4.13", "4.13"),
        ("4.14", "4.14"),
        ("4.15", "4.15"),
        ("4.16", "4.16 to 4.20"),
        ("4.20", "4.16 to 4.20"),
        ("4.21", "from 4.21 on"),
        ("5.0", "from 4.21 on"),
    ] {
        let mut rows = page.lines().map(|line| line.split(" | "));
        let row: Vec<&str> = rows
            .find_map(|mut cells| (cells.next()? == format!("| {label}")).then(|| cells.collect()))
            .unwrap_or_else(|| panic!("{label} has no row"));
        let (arguments, reboots) = match FirstBoot::of(release(text), &[]) {
            FirstBoot::NoArguments => ("none".to_owned(), false),
            FirstBoot::Compares(all) => (format!("`{}`", all.join(" ")), false),
            FirstBoot::Reboots => ("systemd".to_owned(), true),
        };
        assert!(row[0].contains(&arguments), "{text}: {row:?}");
        assert_eq!(row[1].starts_with("reboots"), reboots, "{text}: {row:?}");
    }
}

#[test]
fn boot_images_are_managed_from_these_releases_on() {
    for (platform, before, since) in [
        ("aws", "4.18", Some("4.19")),
        ("gcp", "4.18", Some("4.19")),
        ("azure", "4.21", Some("4.22")),
        ("vsphere", "4.21", Some("4.22")),
        ("baremetal", "5.0", None),
        ("none", "5.0", None),
    ] {
        let platform: Platform = platform.parse().unwrap();
        assert!(!platform.is_managed(release(before)), "{platform}");
        if let Some(since) = since {
            assert!(platform.is_managed(release(since)), "{platform}");
        }
    }
    assert!("bare-metal".parse::<Platform>().is_err());
}

#[test]
fn versions_tell_their_release() {
    for (version, minor) in [
        ("4.19.3", Some((4, 19))),
        ("v4.9.0", Some((4, 9))),
        (
            "v4.19.0-202506101234.p0.gabc.assembly.stream",
            Some((4, 19)),
        ),
        ("4.21.0-rc.1-x86_64", Some((4, 21))),
        ("5.0.0-0.nightly-multi", Some((5, 0))),
        (
            "unreleased-master-4619-g4b15f0537ad76206c8ba9ba042b404f8c00a295a",
            None,
        ),
        ("v1.4.19-ec.4-52-g4b15f05", None),
        ("latest", None),
        ("4fe1.9", None),
        ("4", None),
        ("4.x", None),
        ("", None),
    ] {
        assert_eq!(Release::minor_in(version), minor, "{version}");
    }
}
