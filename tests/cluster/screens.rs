//! What people see.

use std::fs;

use crate::story::{Lab, Story, is_kept, rights, text};

/// Names that differ from run to run: none. So what people see is kept, in lines of 80 columns.
#[test]
fn screens_tell_what_happened_and_what_to_do() {
    for (name, story, second, later) in [
        ("rolling-out", "00-happy-build", 45.0, 0),
        ("build-failed", "06-upgrade", 125.0, 0),
        ("edit-lost", "10-lost-edit", 200.0, 0),
        ("edit-building", "11-lost-edit-running", 125.0, 0),
        ("build-refused", "04d-unknown-instruction", 30.0, 0),
        ("build-not-begun", "04a-push-secret-missing", 40.0, 200),
        ("build-not-recorded", "04c-nested-push-path", 70.0, 200),
        ("pod-not-started", "04f-image-pull-error", 50.0, 300),
        ("build-hangs", "11-lost-edit-running", 80.0, 7300),
        (
            "digest-container-fails",
            "04g-digest-container-fails",
            145.0,
            0,
        ),
        ("node-degraded", "12-node-degraded", 55.0, 0),
        ("reverting", "02-revert", 12.0, 0),
        ("seeded", "07-seeded", 130.0, 0),
    ] {
        // With the rights that the command prints, and no others.
        let mut moment = Story::read(story).at(second).later(later);
        moment.only = Some(rights("status"));
        let lab = Lab::play(moment);
        let output = lab.status(&[]);
        is_kept(name, &lab.shown(&output));
    }
}

#[test]
fn logs_of_failed_builds_are_kept_once() {
    let mut moment = Story::read("10-lost-edit").at(142.0);
    // What a log says is data.
    for log in moment.logs.values_mut() {
        *log += "\u{1b}[2Jevil\u{7}\nError: \u{1b}]0;x\u{7}gone\n";
    }
    let logs = moment.logs.clone();
    let lab = Lab::play(moment);
    for _ in 0..2 {
        let output = lab.status(&["--save-logs", "logs"]);
        let shown = text(&output.stdout);
        assert!(
            shown.chars().all(|c| c == '\n' || !c.is_control()),
            "{shown:?}"
        );
        assert!(shown.contains("gone"), "{shown}");
        let names = crate::support::names(&lab.path("logs"));
        assert_eq!(names.len(), 1, "{names:?}");
        let kept = fs::read_to_string(lab.path("logs").join(&names[0])).unwrap();
        let pod = names[0].strip_suffix(".log").unwrap();
        assert_eq!(kept, logs[&(pod.to_owned(), "image-build".to_owned())]);
    }
    // The pod may be gone before anybody looks.
    let mut moment = Story::read("10-lost-edit").at(142.0);
    moment.logs.clear();
    let lab = Lab::play(moment);
    let output = lab.status(&["--save-logs", "logs"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!lab.path("logs").exists());
}
