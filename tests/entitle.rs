//! What `cluster entitle` says of a cluster's entitlement, and what it gives to one.

#[path = "entitle/papers.rs"]
mod papers;
#[path = "support/story/mod.rs"]
mod story;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use papers::{Papers, papers};
use serde_json::{Value, json};
use story::{Lab, Moment, Story, is_kept, rights_of, text};
use support::run;

const MCO: &str = "openshift-machine-config-operator";
const MANAGED: &str = "openshift-config-managed";

/// What subscription-manager writes on a host, by the serial number of its entitlement.
const REDHAT_REPO: &str = "\
[rhel-9-for-x86_64-baseos-rpms]
name = Red Hat Enterprise Linux 9 for x86_64 - BaseOS (RPMs)
baseurl = https://cdn.redhat.com/content/dist/rhel9/$releasever/x86_64/baseos/os
enabled = 1
gpgkey = file:///etc/pki/rpm-gpg/RPM-GPG-KEY-redhat-release
sslcacert = /etc/rhsm/ca/redhat-uep.pem
sslclientkey = /etc/pki/entitlement/4653723971430838710-key.pem
sslclientcert = /etc/pki/entitlement/4653723971430838710.pem
";
const ACME_REPO: &str = "\
[acme]
baseurl = https://satellite.example.com/acme
gpgkey = file:///etc/pki/rpm-gpg/RPM-GPG-KEY-acme
";
const ACME_KEY: &str =
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\nacme\n-----END PGP PUBLIC KEY BLOCK-----\n";

/// Runs it, in every way in which it could tell a key.
fn entitle(lab: &Lab, arguments: &[&str]) -> Output {
    let output = lab.run("entitle", arguments);
    if let Some(papers) = papers() {
        papers.refuse_keys_in(&text(&output.stdout));
        papers.refuse_keys_in(&text(&output.stderr));
    }
    output
}

fn shown(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", shown(output));
    let words = text(&output.stderr);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn secret(namespace: &str, name: &str, created: &str, paper: &str) -> Value {
    let papers = papers().unwrap();
    let encoded = |name: &str| STANDARD.encode(papers.text(name));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": name, "namespace": namespace, "creationTimestamp": created, "uid": name,
            "managedFields": [{
                "manager": "insights-operator", "operation": "Update", "apiVersion": "v1", "time": created,
                "fieldsType": "FieldsV1", "fieldsV1": {},
            }],
        },
        "data": {
            "entitlement.pem": encoded(&format!("{paper}.pem")),
            "entitlement-key.pem": encoded(&format!("{paper}-key.pem")),
        },
    })
}

fn source(paper: &str) -> Value {
    secret(
        MANAGED,
        "etc-pki-entitlement",
        "2026-10-01T00:00:00Z",
        paper,
    )
}

/// What the operator copies: seconds after the MachineOSConfig is made in that story, and before its build.
fn copy(created: &str, paper: &str) -> Value {
    secret(MCO, "etc-pki-entitlement-worker", created, paper)
}

const BEFORE_BUILD: &str = "2026-11-30T12:36:44Z";
const AFTER_BUILD: &str = "2026-11-30T12:37:30Z";

/// Pool worker is built well, from a Containerfile that installs acme-storage-driver.
fn built() -> Moment {
    Story::read("00-happy-build").at(60.0)
}

fn by(mut object: Value, manager: &str) -> Value {
    object["metadata"]["managedFields"][0]["manager"] = manager.into();
    object
}

fn repositories(files: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), json!(text)))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "etc-yum-repos-d", "namespace": MCO, "uid": "repos" },
        "data": data,
    })
}

/// What is kept in lines of 80 columns.
fn keep(name: &str, output: &Output) {
    let shown = format!(
        "{}== ended with {}\n",
        self::shown(output),
        output.status.code().unwrap()
    );
    is_kept(&format!("entitle-{name}"), &shown);
}

#[test]
fn what_builds_have_is_told() {
    if papers().is_none() {
        return;
    }
    let acme = repositories(&[("acme.repo", ACME_REPO)]);
    let redhat = repositories(&[("redhat.repo", REDHAT_REPO)]);
    let both = |paper| built().with(source(paper)).with(copy(BEFORE_BUILD, paper));
    for (name, moment, code, expected) in [
        (
            "current",
            both("valid"),
            0,
            ("current", "likely", json!(true)),
        ),
        ("lacking", built(), 3, ("no-source", "likely", json!(null))),
        (
            "not-copied",
            built().with(source("valid")),
            3,
            ("missing", "likely", json!(null)),
        ),
        (
            "outdated",
            both("valid").with(source("newer")).with(redhat),
            0,
            ("outdated", "likely", json!(true)),
        ),
        (
            "expired",
            both("expired"),
            3,
            ("current", "likely", json!(true)),
        ),
        (
            "copied-late",
            built()
                .with(source("valid"))
                .with(copy(AFTER_BUILD, "valid")),
            0,
            ("current", "likely", json!(false)),
        ),
        (
            "by-hand-expired",
            built().with(by(copy(BEFORE_BUILD, "expired"), "kubectl-create")),
            3,
            ("by-hand", "likely", json!(true)),
        ),
        (
            "own-repositories",
            built().with(acme),
            0,
            ("no-source", "unlikely", json!(null)),
        ),
    ] {
        let lab = Lab::play(moment);
        keep(name, &entitle(&lab, &[]));
        let output = entitle(&lab, &["--format", "json", "-vv"]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name}: {}",
            shown(&output)
        );
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let pools = said["pools"].as_array().unwrap();
        assert_eq!(pools.len(), 1, "{name}: {said}");
        let found = (
            pools[0]["copy"].as_str().unwrap(),
            pools[0]["need"].as_str().unwrap(),
            pools[0]["last-build"]["had-copy"].clone(),
        );
        assert_eq!(found, expected, "{name}: {said}");
        assert_eq!(said["problems"].as_array().unwrap().is_empty(), code == 0);
        assert_eq!(said["requests"], 7, "{:?}", lab.cluster.asked());
        assert_eq!(lab.cluster.changes(), Vec::<String>::new());
    }
}

#[test]
fn what_is_damaged_or_strange_is_told() {
    if papers().is_none() {
        return;
    }
    let mut no_key = source("valid");
    no_key["data"]
        .as_object_mut()
        .unwrap()
        .remove("entitlement-key.pem");
    let mut no_paper = source("valid");
    no_paper["data"]["entitlement.pem"] = "bm90aGluZw==".into();
    // Not what a Secret can have; what reads it must not say it.
    let mut odd = source("valid");
    odd["data"] = json!(papers().unwrap().text("valid-key.pem"));
    for object in [no_key, no_paper, odd] {
        let lab = Lab::play(built().with(object));
        let output = entitle(&lab, &["-vv"]);
        assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
        assert!(
            shown(&output).contains("entitlement is damaged"),
            "{}",
            shown(&output)
        );
    }
    let mut evil = by(source("valid"), "\u{1b}[2Jevil");
    evil["metadata"]["name"] = "etc-pki-entitlement".into();
    let lab = Lab::play(built().with(evil));
    let said = text(&entitle(&lab, &[]).stdout);
    assert!(
        said.chars().all(|c| c == '\n' || !c.is_control()),
        "{said:?}"
    );
    let lab = Lab::play(built());
    let said = error(&entitle(&lab, &["--pool", "master"]));
    assert!(
        said.contains("no image is built for pool \"master\""),
        "{said}"
    );
}

#[test]
fn a_containerfile_tells_whether_it_needs_an_entitlement() {
    for (containerfile, need) in [
        ("FROM configs\nRUN dnf install -y a\n", "likely"),
        (
            "FROM configs\nRUN dnf install -y --enablerepo=rhel-9-for-x86_64-appstream-rpms a\n",
            "named",
        ),
        (
            "FROM configs\nRUN rpm -i https://example.com/a.rpm\n",
            "unlikely",
        ),
        ("FROM configs\nCOPY --from=a /a /usr/bin/a\n", "unlikely"),
        (
            "FROM configs\nCOPY --from=a /a.repo /etc/yum.repos.d/\nRUN dnf install -y a\n",
            "unlikely",
        ),
        (
            "FROM configs\nRUN dnf install -y --repofrompath=a,https://example.com a\n",
            "unlikely",
        ),
        (
            "FROM other AS make\nRUN dnf install -y gcc\nFROM configs\nCOPY --from=make /a /usr/bin/\n",
            "likely",
        ),
    ] {
        let mut moment = built();
        let config = moment.object("MachineOSConfig", "worker");
        config["spec"]["containerFile"][0]["content"] = containerfile.into();
        let lab = Lab::play(moment);
        let output = entitle(&lab, &["--format", "json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["pools"][0]["need"], need, "{containerfile}");
        let code = if need == "unlikely" { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{containerfile}");
    }
}

/// The root directory of a host that is registered.
fn host(lab: &Lab, papers: &[&str]) -> PathBuf {
    let root = lab.path("host");
    for directory in ["yum.repos.d", "pki/rpm-gpg", "pki/entitlement"] {
        fs::create_dir_all(root.join("etc").join(directory)).unwrap();
    }
    let file = |name: &str, text: &str| fs::write(root.join("etc").join(name), text).unwrap();
    file("yum.repos.d/redhat.repo", REDHAT_REPO);
    file("yum.repos.d/old.repo.rpmsave", "[old]\n");
    file("pki/rpm-gpg/RPM-GPG-KEY-redhat-release", ACME_KEY);
    for paper in papers {
        for name in [format!("{paper}.pem"), format!("{paper}-key.pem")] {
            file(
                &format!("pki/entitlement/{name}"),
                &crate::papers::papers().unwrap().text(&name),
            );
        }
    }
    root
}

fn object(lab: &Lab, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
    lab.cluster.now().objects.get(&key).cloned()
}

#[test]
fn a_hosts_files_are_given_to_the_cluster_once() {
    let Some(papers) = papers() else { return };
    let lab = Lab::play(built());
    host(&lab, &["valid", "newer", "expired"]);
    let dry = entitle(&lab, &["--from-host", "host", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", shown(&dry));
    assert!(shown(&dry).contains("would be made"), "{}", shown(&dry));
    assert_eq!(lab.cluster.changes(), Vec::<String>::new());

    keep("from-host", &entitle(&lab, &["--from-host", "host"]));
    assert_eq!(lab.cluster.changes().len(), 3);
    let made = object(&lab, "Secret", MANAGED, "etc-pki-entitlement").unwrap();
    // The one that is valid the longest.
    let expected = json!({
        "entitlement.pem": STANDARD.encode(papers.text("newer.pem")),
        "entitlement-key.pem": STANDARD.encode(papers.text("newer-key.pem")),
    });
    assert!(made["data"] == expected && made["type"] == "Opaque");
    let made = object(&lab, "ConfigMap", MCO, "etc-yum-repos-d").unwrap();
    let files = made["data"].as_object().unwrap();
    assert_eq!(files.len(), 1, "{made}");
    let text = files["redhat.repo"].as_str().unwrap();
    assert!(
        text.contains("sslclientkey = /etc/pki/entitlement/entitlement-key.pem\n"),
        "{text}"
    );
    let made = object(&lab, "Secret", MCO, "etc-pki-rpm-gpg").unwrap();
    assert_eq!(
        made["data"],
        json!({ "RPM-GPG-KEY-redhat-release": STANDARD.encode(ACME_KEY) })
    );

    // A host that has none is no help to a cluster that has none.
    let bare = Lab::play(built());
    host(&bare, &[]);
    let said = shown(&entitle(&bare, &["--from-host", "host"]));
    assert!(
        said.contains("the host has no entitlement, and neither has the cluster"),
        "{said}"
    );

    // Said again, there is nothing to do.
    let again = entitle(&lab, &["--from-host", "host", "--format", "json", "-vv"]);
    let said: Value = serde_json::from_slice(&again.stdout).unwrap();
    let objects = said["objects"].as_array().unwrap();
    assert!(
        objects.iter().all(|object| object["work"] == "nothing"),
        "{said}"
    );
    assert_eq!(said["pools-to-build"], json!([]));
    assert_eq!(lab.cluster.changes().len(), 3);
}

#[test]
fn the_entitlement_of_the_insights_operator_stays() {
    let Some(papers) = papers() else { return };
    let there = || {
        built()
            .with(source("valid"))
            .with(copy(BEFORE_BUILD, "valid"))
    };
    let lab = Lab::play(there());
    host(&lab, &["newer"]);
    let output = entitle(&lab, &["--from-host", "host"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(
        shown(&output).contains("that of the host is left out"),
        "{}",
        shown(&output)
    );
    let changes = lab.cluster.changes();
    assert!(
        changes.len() == 2 && !changes.concat().contains(MANAGED),
        "{changes:?}"
    );

    let (certificate, key) = (papers.path("newer.pem"), papers.path("newer-key.pem"));
    let pair = [
        "--entitlement",
        certificate.to_str().unwrap(),
        "--entitlement-key",
        key.to_str().unwrap(),
    ];
    let forced = [&pair[..], &["--force-conflicts"]].concat();
    for arguments in [&pair[..], &forced] {
        let said = error(&entitle(&lab, arguments));
        assert!(
            said.contains("the Insights operator keeps it up to date"),
            "{said}"
        );
    }
    // Somebody else's can be replaced, if that is said.
    let lab = Lab::play(built().with(by(source("valid"), "kubectl-create")));
    let said = error(&entitle(&lab, &pair));
    assert!(said.contains("it was made by kubectl-create"), "{said}");
    assert!(lab.cluster.changes().is_empty());
    let mut command = lab.command("entitle", &forced);
    let output = command.env("COREOS_BAKE_LOG", "trace").output().unwrap();
    let log = shown(&output);
    assert!(log.contains("trace: "), "{log}");
    papers.refuse_keys_in(&log);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    // Ours is renewed.
    let lab = Lab::play(built().with(by(source("valid"), "coreos-bake")));
    let output = entitle(&lab, &pair);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert_eq!(lab.cluster.changes().len(), 1);
}

/// A file in the lab's place, by its path.
fn file(lab: &Lab, name: &str, text: &str) -> String {
    fs::write(lab.path(name), text).unwrap();
    name.to_owned()
}

#[test]
fn fields_of_others_are_named_and_not_taken() {
    let moment = built()
        .with(repositories(&[("acme.repo", "[other]\n")]))
        .owned("ConfigMap", "etc-yum-repos-d", ".data.acme.repo", "argocd");
    let lab = Lab::play(moment);
    let (repo, key) = (
        file(&lab, "acme.repo", ACME_REPO),
        file(&lab, "RPM-GPG-KEY-acme", ACME_KEY),
    );
    let arguments = ["--repo", &*repo, "--gpg-key", &*key];
    let output = entitle(&lab, &arguments);
    assert_eq!(output.status.code(), Some(1));
    keep("conflict", &output);
    // What was done before is said, and is there.
    assert!(object(&lab, "Secret", MCO, "etc-pki-rpm-gpg").is_some());
    let there = object(&lab, "ConfigMap", MCO, "etc-yum-repos-d").unwrap();
    assert_eq!(there["data"]["acme.repo"], "[other]\n");

    let forced = [&arguments[..], &["--force-conflicts"]].concat();
    keep("satellite", &entitle(&lab, &forced));
    let there = object(&lab, "ConfigMap", MCO, "etc-yum-repos-d").unwrap();
    assert_eq!(there["data"]["acme.repo"], ACME_REPO);
}

#[test]
fn files_that_would_not_do_are_refused_before_anything_is_asked() {
    let Some(papers) = papers() else { return };
    let lab = Lab::play(built());
    let at = |name: &str| papers.path(name).to_str().unwrap().to_owned();
    let pair = |certificate: &str, key: &str| {
        vec![
            "--entitlement".into(),
            certificate.into(),
            "--entitlement-key".into(),
            key.into(),
        ]
    };
    let one = |option: &str, path: String| vec![option.to_owned(), path];
    fs::create_dir(lab.path("empty")).unwrap();
    fs::create_dir(lab.path("other")).unwrap();
    run(Command::new("mkfifo").arg(lab.path("pipe.repo")));
    let large = "#".repeat((1 << 20) - 10);
    let mut two_large = one("--repo", file(&lab, "a.repo", &large));
    two_large.extend(one("--repo", file(&lab, "b.repo", &large)));
    let mut two_alike = one("--gpg-key", file(&lab, "KEY", ACME_KEY));
    two_alike.extend(one("--gpg-key", file(&lab, "other/KEY", ACME_KEY)));
    for (arguments, expected) in [
        (
            pair(&at("valid.pem"), &at("newer-key.pem")),
            "newer-key.pem is not the key of",
        ),
        (
            pair(&at("newer.pem"), &at("valid-key.pem")),
            "valid-key.pem is not the key of",
        ),
        (
            pair(&at("valid-key.pem"), &at("valid-key.pem")),
            "has no certificate in PEM",
        ),
        (
            pair(&at("valid.pem"), &at("valid.pem")),
            "has no private key in PEM",
        ),
        (pair(&at("valid.pem"), "not-there"), "reading not-there"),
        (
            one("--gpg-key", at("valid-key.pem")),
            "has a private key, and is not a key that packages",
        ),
        (
            one("--repo", at("valid-key.pem")),
            "has a private key, and is not a file of repositories",
        ),
        (
            one("--repo", file(&lab, "a b.repo", "[a]\n")),
            "has a name that no object can hold",
        ),
        (
            one("--repo", file(&lab, "nul.repo", "[a]\n\0")),
            "nul.repo is not text",
        ),
        (
            one("--repo", file(&lab, "empty.repo", "")),
            "empty.repo is empty",
        ),
        (
            one("--repo", file(&lab, "huge.repo", &"#".repeat(1 << 21))),
            "has more than 1048576 bytes",
        ),
        (one("--repo", "pipe.repo".into()), "pipe.repo is not a file"),
        (
            two_large,
            "etc-yum-repos-d would have more than the 1048576 bytes",
        ),
        (two_alike, "two files are called KEY"),
        (
            one("--from-host", "empty".into()),
            "has neither repositories nor keys nor an entitlement",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = error(&entitle(&lab, &arguments));
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(lab.cluster.asked(), Vec::<String>::new(), "{arguments:?}");
    }
    // These only the cluster's clock tells.
    for (paper, expected) in [
        ("expired", "expired on 2026-11-01 12:00:00Z"),
        ("future", "is not valid before 2027-01-01 00:00:00Z"),
    ] {
        let pair = pair(
            &at(&format!("{paper}.pem")),
            &at(&format!("{paper}-key.pem")),
        );
        let pair: Vec<&str> = pair.iter().map(String::as_str).collect();
        let said = error(&entitle(&lab, &pair));
        assert!(said.contains(expected), "{said}");
        assert!(lab.cluster.changes().is_empty());
    }
    for arguments in [
        &["--force-conflicts"][..],
        &["--dry-run"],
        &["--output", "x"],
        &["--entitlement", "x"],
        &["--entitlement-key", "x"],
        &["--from-host", "x", "--repo", "y"],
    ] {
        let output = entitle(&lab, arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            shown(&output)
        );
    }
}

#[test]
fn a_file_for_git_says_what_is_in_it() {
    if papers().is_none() {
        return;
    }
    // Valid by this machine's clock, whatever it says: no cluster is asked.
    let lab = Lab::play(built());
    let papers = Papers::none();
    papers.make("always", "ec", "20200101000000Z", "20990101000000Z");
    let at = |name: &str| papers.path(name).to_str().unwrap().to_owned();
    let (certificate, key) = (at("always.pem"), at("always-key.pem"));
    let repo = file(&lab, "acme.repo", ACME_REPO);
    let pair = ["--entitlement", &*certificate, "--entitlement-key", &*key];
    let arguments = [&pair[..], &["--repo", &*repo, "-o", "objects.yaml"]].concat();
    let output = entitle(&lab, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let said = shown(&output);
    assert!(
        said.contains("it has a private key") && said.contains("oc apply --server-side"),
        "{said}"
    );
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    let mode = |name: &str| fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("objects.yaml"), 0o600);
    let yaml = fs::read_to_string(lab.path("objects.yaml")).unwrap();
    let documents: Vec<Value> = yaml
        .split("---\n")
        .skip(1)
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect();
    let names: Vec<&str> = documents
        .iter()
        .map(|document| document["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["etc-yum-repos-d", "etc-pki-entitlement"]);
    assert_eq!(documents[0]["data"]["acme.repo"], ACME_REPO);
    assert_eq!(documents[1]["metadata"]["namespace"], MANAGED);
    // It is never replaced.
    let said = error(&entitle(&lab, &arguments));
    assert!(said.contains("objects.yaml exists"), "{said}");
    let output = entitle(&lab, &["--repo", &repo, "-o", "plain.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert_eq!(mode("plain.yaml"), 0o644);
    assert_eq!(lab.cluster.asked(), Vec::<String>::new());
}

/// The roles that are printed are enough, and no right in them is more than is needed.
#[test]
fn with_one_right_less_it_is_said_which() {
    if papers().is_none() {
        return;
    }
    let worker = ["--pool", "worker"];
    for (what, more, count) in [
        (&[][..], &worker[..], 7),
        (
            &["--from-host", "host"],
            &["--pool", "worker", "--from-host"],
            13,
        ),
    ] {
        let rights = rights_of("entitle", more);
        assert_eq!(rights.len(), count, "{rights:?}");
        let secrets: Vec<&String> = rights
            .iter()
            .filter(|(verb, resource)| verb != "create" && resource.starts_with("secrets"))
            .map(|(_, resource)| resource)
            .collect();
        assert!(
            secrets.iter().all(|secret| secret.contains(" etc-pki-")),
            "{rights:?}"
        );
        let play = |change: &dyn Fn(&mut Moment)| {
            let mut moment = built();
            moment.only = Some(rights.clone());
            change(&mut moment);
            let lab = Lab::play(moment);
            host(&lab, &["valid"]);
            lab
        };
        let lab = play(&|_| {});
        let output = entitle(&lab, what);
        let code = if what.is_empty() { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{}", shown(&output));
        for right in &rights {
            let lab = play(&|moment| moment.forbidden.push(right.clone()));
            let said = error(&entitle(&lab, what));
            let (verb, resource) = right;
            let missing = format!("does not let you {verb} {resource}");
            assert!(said.contains(&missing), "{right:?}: {said}");
            assert!(said.contains("--print-rbac"), "{said}");
            assert_eq!(lab.cluster.changes(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_cluster_without_pools_that_are_built_has_nothing_to_lack() {
    let lab = Lab::play(Story::read("00-happy-build").at(0.0));
    let output = entitle(&lab, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(shown(&output).contains("no pool has a MachineOSConfig"));
}
