//! Images in the cluster's own registry.

use std::fs;

use serde_json::{Value, json};

use super::registry::{PASSWORD, Registry, USER, have_registry};
use super::story::Lab;
use super::support::Workshop;
use super::{CONTAINERFILE, auths, hand_off, lab, pushed};

const NAMES: &str = "image-registry.openshift-image-registry.svc:5000";
const PROVEN: &str = "built of the Containerfile, with megaraid_sas at each boot";

/// The name that nodes have for an image.
fn internal(image: &str) -> String {
    let (_, rest) = image.split_once('/').unwrap();
    format!("{NAMES}/{rest}")
}

#[test]
fn it_is_reached_by_its_route() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    // That of the lab's kubeconfig.
    let registry = Registry::start_for("coreos-bake", "sha256~a-token", false);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    let (host, _) = image.split_once('/').unwrap();
    let route = json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": { "name": "default-route", "namespace": "openshift-image-registry" },
        "spec": { "host": host },
    });
    let with = lab(&internal(&image), Some(route));
    let (code, said) = hand_off(&with, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("a-token"), "{said}");
}

fn pod(name: &str, is_ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "openshift-image-registry",
            "labels": { "docker-registry": "default" },
        },
        "status": { "conditions": [{ "type": "Ready", "status": if is_ready { "True" } else { "False" } }] },
    })
}

fn authorities(pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "openshift-service-ca.crt", "namespace": "openshift-image-registry" },
        "data": { "service-ca.crt": pem },
    })
}

/// A cluster whose registry has no route, and one pod that takes requests.
fn without_a_route(registry: &Registry, image: &str) -> Lab {
    let lab = lab(&internal(image), None);
    let pem = fs::read_to_string(registry.scratch().join("ca.crt")).unwrap();
    lab.cluster.put(&authorities(&pem));
    lab.cluster.put(&pod("image-registry-1", false));
    lab.cluster.put(&pod("image-registry-2", true));
    lab.cluster.forward_to(registry.address.parse().unwrap());
    lab
}

#[test]
fn without_a_route_it_is_reached_through_the_api() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start_for("coreos-bake", "sha256~a-token", true);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    let lab = without_a_route(&registry, &image);
    let (code, said) = hand_off(&lab, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(PROVEN), "{said}");
    assert!(!said.contains("a-token"), "{said}");
    let asked = lab.cluster.asked();
    let forwarded = asked.iter().filter(|asked| asked.contains("/portforward"));
    for asked in forwarded.clone() {
        assert!(asked.contains("/image-registry-2/portforward?"), "{asked}");
    }
    assert!(forwarded.count() > 0);
}

/// The kubeconfig of an installation has a certificate and no token.
#[test]
fn without_a_token_it_is_reached_with_what_builds_push_with() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start(true);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    for (key, code, sentence) in [
        (NAMES, 0, PROVEN),
        (
            "other.example.com",
            3,
            "for which the kubeconfig has no token and secret os-push no password",
        ),
    ] {
        let lab = without_a_route(&registry, &image);
        let kubeconfig = lab
            .cluster
            .kubeconfig()
            .replace(r#""token":"sha256~a-token""#, "");
        fs::write(lab.path("kubeconfig"), kubeconfig).unwrap();
        let own: Value = serde_json::from_str(&auths(key, USER, PASSWORD)).unwrap();
        let other = auths("quay.example.com", "a", "b");
        let mut all: Value = serde_json::from_str(&other).unwrap();
        all["auths"][key] = own["auths"][key].clone();
        lab.cluster.put(&super::secret(&all.to_string()));
        let (found, said) = hand_off(&lab, &[]);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

#[test]
fn what_stands_in_the_way_is_told_and_keeps_the_pool_paused() {
    let Some(workshop) = Workshop::new().filter(|_| have_registry()) else {
        return;
    };
    let registry = Registry::start_for("coreos-bake", "sha256~a-token", true);
    let other = Registry::start_for("coreos-bake", "sha256~a-token", true);
    let image = pushed(&workshop, &registry, "layered", Some(CONTAINERFILE));
    let foreign = fs::read_to_string(other.scratch().join("ca.crt")).unwrap();
    type Change = Box<dyn Fn(&Lab)>;
    let cases: [(Change, &str); 5] = [
        (
            Box::new(|lab: &Lab| lab.cluster.put(&pod("image-registry-2", false))),
            "no pod of the registry is ready in openshift-image-registry",
        ),
        (
            Box::new(move |lab: &Lab| lab.cluster.put(&authorities(&foreign))),
            "certificate",
        ),
        (
            Box::new(|lab: &Lab| lab.cluster.put(&authorities(""))),
            "who signs the registry's certificate is not known",
        ),
        (
            Box::new(|lab: &Lab| {
                let create = ("create".to_owned(), "pods/portforward".to_owned());
                lab.cluster.forbid(create);
            }),
            "forwards no port of pod image-registry-2",
        ),
        (
            Box::new(|lab: &Lab| lab.cluster.forward_to("127.0.0.1:1".parse().unwrap())),
            "it can't be looked into",
        ),
    ];
    for (change, sentence) in cases {
        let lab = without_a_route(&registry, &image);
        change(&lab);
        let (code, said) = hand_off(&lab, &[]);
        println!("{said}");
        assert_eq!(code, Some(3), "{sentence}: {said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert!(said.contains("The pool stays paused"), "{said}");
        assert!(!said.contains("a-token"), "{said}");
        assert_eq!(lab.cluster.scenes_left(), 1, "{said}");
    }
}
