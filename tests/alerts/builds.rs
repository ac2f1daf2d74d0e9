//! When builds, and machines without an image, have somebody called.

use crate::prometheus::{Alert, History, STEP, Samples, judge, recorded};
use crate::support::have;
use crate::{BUILD, MINUTE, OPERATOR, all_rules, jobs_only};

/// Jobs of the recording.
const EDIT: &str = "build-worker-7488856dfd8061e2ab6bfa7f8680f322";
const LOST_EDIT: &str = "build-worker-9a0b6d5861d8e9a4a1a05bad87f8f559";
const LATE_EDIT: &str = "build-worker-e912aecdcfc12523fe58f30a7aa9c7c6";

const HOUR: u64 = 60 * MINUTE;

fn failed(job: &str) -> Alert {
    of_build("CoreosBakeBuildFailed", job, "1")
}

fn not_over(job: &str, value: &'static str) -> Alert {
    of_build("CoreosBakeBuildNotOver", job, value)
}

fn of_build(name: &'static str, job: &str, value: &'static str) -> Alert {
    let pool = job.strip_prefix("build-").unwrap().rsplit_once('-');
    Alert {
        name,
        labels: vec![
            ("severity", "warning".to_owned()),
            ("namespace", OPERATOR.to_owned()),
            ("job_name", job.to_owned()),
            ("pool", pool.unwrap().0.to_owned()),
        ],
        job: job.to_owned(),
        value,
    }
}

fn behind(value: &'static str) -> Alert {
    Alert {
        name: "CoreosBakePoolBehind",
        labels: vec![
            ("severity", "warning".to_owned()),
            ("namespace", OPERATOR.to_owned()),
            ("pool", "worker".to_owned()),
        ],
        job: String::new(),
        value,
    }
}

/// Story 01: four attempts, a retry that is good, an edit that fails, and the old one back.
#[test]
fn a_failed_build_calls_at_once_and_a_good_one_never() {
    if !have("promtool") {
        return;
    }
    let history = History::default()
        .until(60, recorded("01-running", 0.0))
        .until(120, recorded("02-three-attempts-failed", 0.0))
        .until(180, recorded("03-failed", 0.0))
        .until(240, recorded("04-retry-old-job-gone", 0.0))
        .until(270, recorded("05-retry-running", 240.0))
        .until(300, recorded("06-complete", 240.0))
        .until(360, recorded("07-rolled-out", 0.0))
        .until(420, recorded("08-edit-failed", 300.0))
        .until(480, recorded("09-undone", 0.0));
    let mut moments: Vec<(u64, Vec<Alert>)> = (0..480)
        .step_by(STEP as usize)
        .map(|second| (second, vec![]))
        .collect();
    for (second, alerts) in &mut moments {
        match second {
            120..180 => alerts.push(failed(BUILD)),
            360..420 => alerts.push(failed(EDIT)),
            _ => {}
        }
    }
    judge(&all_rules(), &history, &moments);
}

/// Story 10: the pool is up to date, but not with what was asked for.
#[test]
fn a_lost_edit_calls_as_long_as_its_job_is_there() {
    if !have("promtool") {
        return;
    }
    let history = History::default().until(4 * HOUR, recorded("10-lost-edit", 0.0));
    let moments = [0, HOUR, 3 * HOUR].map(|second| (second, vec![failed(LOST_EDIT)]));
    judge(&all_rules(), &history, &moments);
}

#[test]
fn jobs_that_build_nothing_call_nobody() {
    if !have("promtool") {
        return;
    }
    let (pool, digest) = BUILD
        .strip_prefix("build-")
        .unwrap()
        .rsplit_once('-')
        .unwrap();
    let others = [
        "build-worker".to_owned(),
        "image-pruner-29934015".to_owned(),
        format!("rebuild-{pool}-{digest}"),
        format!("build-{pool}-{digest}-debug"),
        format!("build-{digest}"),
        format!("build-{pool}-{}", digest.replace('b', "g")),
    ];
    let samples = recorded("03-failed", 0.0).only(jobs_only);
    let all = others
        .iter()
        .map(|name| samples.clone().renamed(BUILD, name));
    let elsewhere = samples.clone().renamed(OPERATOR, "somebody");
    // The CronJob's own, made by hand.
    let by_hand = samples
        .clone()
        .renamed(OPERATOR, "coreos-bake")
        .renamed(BUILD, "coreos-bake-status-test");
    // One that has not failed.
    let not_failed = samples
        .clone()
        .renamed(BUILD, EDIT)
        .set(&[r#"condition="true""#], 0.0)
        .set(&[r#"condition="false""#], 1.0);
    let all = [elsewhere, by_hand]
        .into_iter()
        .chain(all)
        .fold(Samples::default(), Samples::with);
    let history = History::default().until(4 * HOUR, all.clone());
    judge(
        &all_rules(),
        &history,
        &[(0, vec![]), (3 * HOUR, vec![]), (4 * HOUR - STEP, vec![])],
    );
    let history = History::default().until(HOUR, not_failed);
    judge(&all_rules(), &history, &[(0, vec![]), (HOUR / 2, vec![])]);
    // Beside one that does.
    let history = History::default().until(HOUR, all.with(samples));
    judge(&all_rules(), &history, &[(0, vec![failed(BUILD)])]);
}

#[test]
fn pools_may_have_dashes_and_digits_in_their_names() {
    if !have("promtool") {
        return;
    }
    let job = BUILD.replace("worker", "infra-gpu-a1");
    let samples = recorded("03-failed", 0.0).renamed(BUILD, &job);
    let history = History::default().until(60, samples);
    let alert = failed(&job);
    assert!(alert.labels.contains(&("pool", "infra-gpu-a1".to_owned())));
    judge(&all_rules(), &history, &[(30, vec![alert])]);
}

/// One that hangs, between its attempts too, and one whose image can't be recorded: its Job is complete, and
/// stays.
#[test]
fn a_build_that_is_never_over_calls_after_two_hours() {
    if !have("promtool") {
        return;
    }
    let history = History::default()
        .until(3 * HOUR, recorded("11-lost-edit-running", 0.0))
        .until(3 * HOUR + 600, recorded("07-rolled-out", 0.0));
    judge(
        &all_rules(),
        &history,
        &[
            (HOUR, vec![]),
            (2 * HOUR, vec![]),
            (2 * HOUR + STEP, vec![not_over(LATE_EDIT, "2h 0m 30s")]),
            (
                2 * HOUR + 45 * MINUTE,
                vec![not_over(LATE_EDIT, "2h 45m 0s")],
            ),
            (3 * HOUR, vec![]),
        ],
    );

    let complete = recorded("06-complete", 0.0).only(jobs_only);
    let between = recorded("02-three-attempts-failed", 0.0).only(jobs_only);
    for samples in [complete, between] {
        let history = History::default().until(3 * HOUR, samples);
        let late = 2 * HOUR + STEP;
        judge(
            &all_rules(),
            &history,
            &[
                (2 * HOUR, vec![]),
                (late, vec![not_over(BUILD, "2h 0m 30s")]),
            ],
        );
    }
    // One that ends after two hours, badly, is not called for twice, and hides nobody else.
    let both =
        recorded("11-lost-edit-running", 0.0).with(recorded("03-failed", 0.0).only(jobs_only));
    let history = History::default().until(3 * HOUR, both).until(
        4 * HOUR,
        recorded("10-lost-edit", 0.0).renamed(LOST_EDIT, LATE_EDIT),
    );
    judge(
        &all_rules(),
        &history,
        &[
            (
                3 * HOUR - STEP,
                vec![failed(BUILD), not_over(LATE_EDIT, "2h 59m 30s")],
            ),
            (3 * HOUR, vec![failed(LATE_EDIT)]),
        ],
    );
}

/// Three machines of worker wait for a first image that is never begun.
fn waiting() -> Samples {
    recorded("04-retry-old-job-gone", 0.0)
}

fn updated(count: u32) -> Samples {
    waiting().set(
        &["mco_updated_machine_count", r#"pool="worker""#],
        f64::from(count),
    )
}

#[test]
fn machines_that_are_left_behind_call_after_three_hours() {
    if !have("promtool") {
        return;
    }
    let history = History::default()
        .until(HOUR, recorded("00-no-build", 0.0))
        .until(5 * HOUR, waiting())
        .until(6 * HOUR, updated(3));
    judge(
        &all_rules(),
        &history,
        &[
            (HOUR / 2, vec![]),
            (4 * HOUR - STEP, vec![]),
            (4 * HOUR, vec![behind("3")]),
            (5 * HOUR - STEP, vec![behind("3")]),
            (5 * HOUR, vec![]),
        ],
    );
    // Not for what a large pool needs: a node every two hours, then none. Whichever replica of the controller counts.
    let mut history = History::default();
    for count in 0..3 {
        let replica = format!("machine-config-controller-{count}");
        let samples = updated(count).renamed(
            r#"job="machine-config-controller""#,
            &format!(r#"job="machine-config-controller",pod="{replica}""#),
        );
        history = history.until(2 * HOUR * u64::from(count + 1), samples);
    }
    let history = history.until(12 * HOUR, updated(2));
    // Both sides of the comparison reach back ten minutes.
    let late = 4 * HOUR + 10 * MINUTE + 3 * HOUR;
    judge(
        &all_rules(),
        &history,
        &[
            (2 * HOUR, vec![]),
            (4 * HOUR, vec![]),
            (6 * HOUR, vec![]),
            (7 * HOUR, vec![]),
            (late - MINUTE, vec![]),
            (late + MINUTE, vec![behind("1")]),
        ],
    );
}
