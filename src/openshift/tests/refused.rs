use std::collections::BTreeSet;

use super::request::{IMAGE, changed};
use crate::openshift::release::Seeding;
use crate::openshift::{
    Derivation, Found, PullSecret, PushSecret, Request, RequestError, Role, Seed, ToldRelease,
};

pub(super) fn seed() -> Seed {
    Seed {
        containerfile: "FROM configs AS final\nRUN true\n".to_owned(),
        push_spec: "quay.io/me/os:built".parse().unwrap(),
        push_secret: PushSecret {
            name: "push".to_owned(),
            content: Some(br#"{"auths": {"quay.io": {"auth": "bWU6aHVudGVyMg=="}}}"#.to_vec()),
        },
        base_pull_secret: None,
    }
}

fn base_media(request: &mut Request) {
    request.media.as_mut().unwrap().derivation = Derivation::Base;
    request.os_image = None;
    request.release_image = true;
}

fn found(kind: &str, name: &str) -> Found {
    Found {
        file: "openshift/theirs.yaml".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        pool: "worker".to_owned(),
        ..Found::default()
    }
}

fn error(change: impl FnOnce(&mut Request)) -> RequestError {
    changed(change).unwrap_err()
}

#[test]
fn the_bootstrap_machine_has_one_image_of_a_registry() {
    let said = error(base_media).to_string();
    assert!(said.contains(IMAGE) && said.contains("4.20"), "{said}");
    assert!(matches!(error(base_media), RequestError::TwoImages { .. }));
    // Where one of the conditions is missing, nothing is wrong.
    for fine in [
        |r: &mut Request| r.release = "4.18".parse().unwrap(),
        |r: &mut Request| r.roles.retain(|role| *role != Role::Bootstrap),
        |r: &mut Request| r.media.as_mut().unwrap().registry_name = None,
        |r: &mut Request| r.media.as_mut().unwrap().derivation = Derivation::Node,
    ] {
        changed(|r| {
            base_media(r);
            fine(r);
        })
        .unwrap();
    }
}

/// What an image that is named nowhere means for nodes, and what doesn't.
#[test]
fn nodes_are_told_of_an_image_with_the_drivers() {
    type Change = fn(&mut Request);
    let pools = |change: Change| {
        let changed = changed(|r| {
            r.os_image = None;
            change(r);
        });
        match changed {
            Ok(_) => Vec::new(),
            Err(RequestError::NoOsImage { pools, .. }) => pools,
            Err(error) => panic!("{error}"),
        }
    };
    let masters = |r: &mut Request| {
        r.imaged_pools.insert("worker".to_owned());
    };
    for (change, expected) in [
        ((|_| ()) as Change, &["master", "worker"][..]),
        (|r| r.media = None, &["master", "worker"]),
        (|r| r.drivers.clear(), &["master", "worker"]),
        (masters, &["master"]),
        (|r| r.roles = BTreeSet::from([Role::Worker]), &["worker"]),
        (|r| r.roles = BTreeSet::from([Role::Bootstrap]), &[]),
        (|r| r.release_image = true, &[]),
        (
            |r| {
                r.media = None;
                r.drivers.clear();
            },
            &[],
        ),
    ] {
        assert_eq!(pools(change), expected);
    }
    let said = error(|r| r.os_image = None).to_string();
    assert_eq!(
        said,
        "no image is named for master and worker nodes, and that of the media is in no registry: at \
         their first boot they change to the release's rhel-coreos, which is not known to have your \
         drivers"
    );
}

#[test]
fn the_directory_is_of_the_release_that_is_named() {
    let of = |minor| {
        changed(|r| {
            r.told_release = Some(ToldRelease {
                file: "openshift/a.yaml".to_owned(),
                minor,
            });
        })
    };
    of((4, 20)).unwrap();
    for minor in [(4, 19), (4, 21), (5, 20)] {
        let error = of(minor).unwrap_err();
        assert!(matches!(error, RequestError::OtherRelease { .. }));
        let (major, minor) = minor;
        assert_eq!(
            error.to_string(),
            format!("openshift/a.yaml is of OpenShift {major}.{minor}, and not of 4.20")
        );
    }
}

#[test]
fn nodes_need_a_kubelet() {
    let base = |r: &mut Request| r.os_image_derivation = Derivation::Base;
    assert!(matches!(error(base), RequestError::NoKubelet(_)));
    let same = error(|r| {
        r.roles.remove(&Role::Bootstrap);
        r.media.as_mut().unwrap().derivation = Derivation::Base;
    });
    assert!(matches!(same, RequestError::NoKubelet(_)));
    changed(|r| {
        base(r);
        r.release = "4.18".parse().unwrap();
    })
    .unwrap();
}

#[test]
fn a_pool_has_one_source_of_its_image() {
    let with = |found: Found| changed(|r| r.found = vec![found]);
    let sources = [
        Found {
            os_image: Some("quay.io/other/os".to_owned()),
            ..found("MachineConfig", "50-theirs")
        },
        Found {
            stream: Some("rhel-10".to_owned()),
            ..found("MachineConfigPool", "worker")
        },
        found("MachineOSConfig", "worker"),
    ];
    for source in sources {
        let error = with(source.clone()).unwrap_err();
        assert!(
            matches!(error, RequestError::TwoSources { .. }),
            "{source:?}"
        );
        assert!(error.to_string().starts_with("openshift/theirs.yaml sets "));
        // Of another pool, or where no image is set here, it is no matter.
        with(Found {
            pool: "infra".to_owned(),
            ..source.clone()
        })
        .unwrap();
        changed(|r| {
            r.os_image = None;
            r.release_image = true;
            r.found = vec![source];
        })
        .unwrap();
    }
    with(found("MachineConfig", "50-theirs")).unwrap();
    with(found("KubeletConfig", "99-worker-coreos-bake-os")).unwrap();
    let taken = with(found("MachineConfig", "99-worker-coreos-bake-os")).unwrap_err();
    assert!(matches!(taken, RequestError::NameTaken { .. }));
}

#[test]
fn seeds_need_a_release_an_image_and_a_name_for_builds() {
    let seeded = |release: &str, change: fn(&mut Request)| {
        changed(|r| {
            r.release = release.parse().unwrap();
            r.seed = Some(seed());
            change(r);
        })
    };
    for (release, seeding) in [
        ("4.16", Seeding::Missing),
        ("4.20", Seeding::Missing),
        ("4.21", Seeding::Unannounced),
        ("4.22", Seeding::There),
        ("5.0", Seeding::There),
    ] {
        let made = seeded(release, |_| ());
        if seeding == Seeding::Missing {
            assert!(matches!(made, Err(RequestError::NoSeeding(_))), "{release}");
            continue;
        }
        let made = made.unwrap();
        let of = |kind: &str| {
            made.manifests
                .iter()
                .filter(|m| m.value["kind"] == kind)
                .count()
        };
        assert_eq!(of("MachineOSConfig"), 2);
        assert_eq!(of("Secret"), 1);
        let os_image = |m: &&crate::openshift::Manifest| !m.value["spec"]["osImageURL"].is_null();
        assert_eq!(made.manifests.iter().filter(os_image).count(), 0);
        let told = |id| made.notes.iter().any(|note| note.id == id);
        assert!(told("seed-trap") && told("seed-release") && !told("os-updates"));
    }
    let without = seeded("4.22", |r| r.os_image = None).unwrap_err();
    assert!(matches!(without, RequestError::SeedWithoutImage));
    let nobody = seeded("4.22", |r| r.roles = BTreeSet::from([Role::Bootstrap])).unwrap_err();
    assert!(matches!(nobody, RequestError::SeedWithoutPool));
    let nested = seeded("4.22", |r| {
        r.os_image = Some(IMAGE.replace("/me/", "/a/b/"))
    })
    .unwrap_err();
    assert!(matches!(nested, RequestError::Seed(_)), "{nested}");
    let said = nested.to_string();
    assert!(
        said.ends_with("its path has more than one namespace before the name"),
        "{said}"
    );
    // Without a seed the same name is fine.
    changed(|r| r.os_image = Some(IMAGE.replace("/me/", "/a/b/"))).unwrap();
}

#[test]
fn the_pull_secret_has_to_have_the_registry() {
    let secret = |registry: &str| {
        let text = format!(r#"{{"auths": {{"{registry}": {{"auth": "bWU6aHVudGVyMg=="}}}}}}"#);
        Some(PullSecret::parse(text.as_bytes()).unwrap())
    };
    let with = |registry: &str, anonymous: bool| {
        changed(|r| {
            r.pull_secret = secret(registry);
            r.anonymous_pull = anonymous;
        })
    };
    with("quay.io", false).unwrap();
    with("quay.io/me", false).unwrap();
    with("other.io", true).unwrap();
    let error = with("other.io", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the pull secret has no credentials for quay.io, where the nodes' image is"
    );
    assert!(error.hint().is_some());
}

#[test]
fn images_roles_and_arguments_are_checked() {
    let tag = error(|r| r.os_image = Some("quay.io/me/os:4.20".to_owned()));
    assert!(matches!(tag, RequestError::Image(_)) && tag.hint().is_some());
    assert!(matches!(error(|r| r.roles.clear()), RequestError::NoRoles));
    let two = error(|r| r.kernel_arguments = vec!["a b".to_owned()]);
    assert!(matches!(two, RequestError::Object(_)));
    let driver = error(|r| r.drivers[0].options = vec!["a b".to_owned()]);
    assert!(matches!(driver, RequestError::Driver(_)));
}
