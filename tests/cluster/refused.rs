//! Clusters that are not asked, or do not answer.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::story::{Cluster, Lab, Story, pool, rights, text};
use crate::support::{have, run};

pub(crate) fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let words = text(&output.stderr);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The roles that are printed are enough, and no right in them is more than is needed.
#[test]
fn with_one_right_less_it_is_said_which() {
    let rights = rights("status");
    assert_eq!(rights.len(), 10);
    // Each is asked for by one of these.
    let failed = Story::read("06-upgrade").at(125.0);
    let silent = Story::read("04a-push-secret-missing").at(40.0).later(200);
    for right in rights {
        let mut moment = match &*right.1 {
            "deployments" => silent.clone(),
            _ => failed.clone(),
        };
        moment.forbidden.push(right.clone());
        let lab = Lab::play(moment);
        let error = error(&lab.status(&[]));
        let (verb, resource) = &right;
        assert!(
            error.contains(&format!("does not let you {verb} {resource}")),
            "{error}"
        );
        assert!(error.contains("--print-rbac"), "{error}");
        // Nothing is asked for that is not in the roles.
        let only: Vec<String> = lab.cluster.asked();
        assert!(
            only.iter().all(|asked| !asked.contains("secrets")),
            "{only:?}"
        );
    }
}

#[test]
fn what_is_no_cluster_of_this_kind_is_told() {
    let moment = Story::read("00-happy-build").at(0.0);
    let without = |kinds: &[&str]| {
        let mut moment = moment.clone();
        moment.absent = kinds.iter().map(|&kind| kind.to_owned()).collect();
        moment
    };
    let refusing = |status| {
        let mut moment = moment.clone();
        moment.refusal = Some(status);
        moment
    };
    for (moment, expected) in [
        (
            without(&["MachineConfigPool", "ClusterVersion"]),
            "it has no MachineConfigPools",
        ),
        (
            without(&["MachineOSConfig", "MachineOSBuild"]),
            "has no MachineOSConfigs",
        ),
        (
            refusing(401),
            "does not take the credentials of the kubeconfig",
        ),
        (refusing(500), "answers 500"),
        (refusing(429), "answers 429"),
    ] {
        let lab = Lab::play(moment);
        let error = error(&lab.status(&[]));
        assert!(error.contains(expected), "{error}");
        assert!(
            error.contains("hint:") || expected.starts_with("answers"),
            "{error}"
        );
        assert!(!error.contains("sha256~a-token"), "{error}");
    }
    let lab = Lab::play(moment);
    for (arguments, expected) in [
        (&["--context", "elsewhere"][..], "elsewhere"),
        (&["--kubeconfig", "not-there"], "not-there"),
    ] {
        let error = error(&lab.status(arguments));
        assert!(error.contains("no cluster to talk to"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    // What can't be read may have a secret in it all the same.
    for damaged in ["token: SECRET\n  : [", "- token: SECRET", "users: SECRET"] {
        fs::write(lab.path("damaged"), damaged).unwrap();
        let error = error(&lab.status(&["--kubeconfig", "damaged"]));
        assert!(error.contains("no cluster to talk to"), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
    let dead = lab.cluster.kubeconfig();
    fs::write(
        lab.path("dead"),
        dead.replace(&lab.cluster.address.to_string(), "127.0.0.1:1"),
    )
    .unwrap();
    let error = error(&lab.status(&["--kubeconfig", "dead"]));
    assert!(
        error.contains("can't talk to the cluster at http://127.0.0.1:1"),
        "{error}"
    );
}

/// As every real cluster is reached: by its own CA, with a token.
#[test]
fn a_cluster_is_known_by_its_certificate() {
    if !have("openssl") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ];
    let openssl = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        run(openssl
            .current_dir(place.path())
            .args(request)
            .args(arguments));
    };
    openssl(&["-subj", "/CN=lab CA", "-keyout", "ca.key", "-out", "ca"]);
    let signed = [
        "-CA",
        "ca",
        "-CAkey",
        "ca.key",
        "-keyout",
        "key",
        "-out",
        "certificate",
    ];
    let own = ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1"];
    openssl(&[&signed[..], &own, &["-addext", "basicConstraints=CA:FALSE"]].concat());
    let path = |name: &str| place.path().join(name);
    let certificate = fs::read_to_string(path("certificate")).unwrap();
    let key = fs::read_to_string(path("key")).unwrap();
    let moment = Story::read("00-happy-build").at(60.0);
    let lab = Lab {
        cluster: Cluster::play_with_tls(moment, &certificate, &key),
        place,
    };
    let kubeconfig = lab.cluster.kubeconfig().replace("http://", "https://");
    fs::write(lab.path("kubeconfig"), &kubeconfig).unwrap();
    let error = error(&lab.status(&[]));
    assert!(error.contains("ertificate"), "{error}");
    assert!(lab.cluster.asked().is_empty());

    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
    kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = json!(lab.path("ca"));
    fs::write(lab.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    assert_eq!(pool(&lab.json(), "worker")["state"], "up-to-date");
}
