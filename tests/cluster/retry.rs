//! Builds that are asked for again.

use serde_json::{Value, json};

use crate::refused::error;
use crate::story::{Cue, Lab, Scene, Story, needed, rights, text};

/// What happens once a build of pool worker was asked for.
fn retried_at(story: Story, from: f64, speed: f64) -> Scene {
    Scene {
        cue: Cue::rebuild("worker"),
        story,
        from,
        until: f64::MAX,
        speed,
    }
}

/// Patches that were sent.
fn patches(lab: &Lab) -> usize {
    let asked = lab.cluster.asked();
    asked
        .iter()
        .filter(|asked| asked.starts_with("PATCH "))
        .count()
}

#[test]
fn a_failed_build_is_retried_and_followed_to_its_end() {
    for (story, failed, retried, state) in [
        ("01-fail-retry-edit", 190.0, 194.1, "built"),
        ("14-lost-edit-retry", 145.0, 147.0, "built"),
    ] {
        let told = Story::read(story);
        // With the rights that the command prints, and no others.
        let mut moment = told.at(failed);
        moment.only = Some(rights("retry"));
        let lab = Lab::play(moment);
        lab.cluster.then(vec![retried_at(told, retried, 10.0)]);
        let output = lab.run("retry", &["worker", "--interval", "1", "--format", "json"]);
        let said = text(&output.stdout);
        let value: Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{said}{}", text(&output.stderr)));
        assert_eq!(value["state"], state, "{story}: {said}");
        assert_eq!(output.status.code(), Some(0), "{story}");
        // The annotation is taken away first, since only its coming is heard.
        assert_eq!(patches(&lab), 2, "{:?}", lab.cluster.asked());
    }
}

#[test]
fn a_retry_that_fails_again_ends_with_what_failed() {
    let told = Story::read("14-lost-edit-retry");
    let lab = Lab::play(told.at(10.0));
    // An edit's build, as if it was the retry's.
    lab.cluster.then(vec![retried_at(told, 60.0, 20.0)]);
    let output = lab.run(
        "retry",
        &[
            "worker",
            "--rebuild",
            "--interval",
            "1",
            "--save-logs",
            "logs",
        ],
    );
    let said = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(3),
        "{said}{}",
        text(&output.stderr)
    );
    assert!(said.contains("step 14/16"), "{said}");
    assert_eq!(crate::support::names(&lab.path("logs")).len(), 1);
}

#[test]
fn a_retry_that_would_not_help_or_costs_more_changes_nothing() {
    for (story, second, later, arguments, expected) in [
        (
            "00-happy-build",
            60.0,
            0,
            &["worker"][..],
            "another one restarts 3 nodes",
        ),
        ("00-happy-build", 25.0, 0, &["worker"], "a build is running"),
        (
            "00-happy-build",
            60.0,
            0,
            &["master"],
            "it has no MachineOSConfig",
        ),
        (
            "00-happy-build",
            60.0,
            0,
            &["wrker"],
            "the cluster has no pool \"wrker\"",
        ),
        (
            "04d-unknown-instruction",
            30.0,
            0,
            &["worker", "--rebuild"],
            "would be again",
        ),
        (
            "04a-push-secret-missing",
            40.0,
            200,
            &["worker"],
            "the build is not begun",
        ),
        (
            "04c-nested-push-path",
            70.0,
            200,
            &["worker"],
            "can't be recorded",
        ),
    ] {
        let lab = Lab::play(Story::read(story).at(second).later(later));
        let error = error(&lab.run("retry", arguments));
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("hint:"), "{error}");
        assert_eq!(patches(&lab), 0);
    }
    // What can't be done is said before anything is.
    let rights = needed("retry", &[]);
    assert_eq!(rights.len(), 11);
    for right in rights {
        let mut moment = Story::read("01-fail-retry-edit").at(190.0);
        moment.forbidden.push(right.clone());
        let lab = Lab::play(moment);
        let error = error(&lab.run("retry", &["worker"]));
        let (verb, resource) = &right;
        assert!(
            error.contains(&format!("does not let you {verb} {resource}")),
            "{error}"
        );
        assert_eq!(patches(&lab), 0);
    }
}

/// Before 4.18.24, a MachineOSConfig could have another name than its pool.
#[test]
fn a_config_is_asked_for_a_build_by_its_own_name() {
    let mut moment = Story::read("01-fail-retry-edit").at(190.0);
    let mut config = moment.object("MachineOSConfig", "worker").clone();
    moment.objects.retain(|key, _| key.0 != "MachineOSConfig");
    config["metadata"]["name"] = json!("layered");
    for build in moment
        .objects
        .iter_mut()
        .filter(|(key, _)| key.0 == "MachineOSBuild")
    {
        build.1["spec"]["machineOSConfig"]["name"] = json!("layered");
    }
    let lab = Lab::play(moment.with(config));
    let output = lab.run("retry", &["worker", "--no-wait"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(lab.changes(), ["PATCH machineosconfigs layered"; 2]);
}
