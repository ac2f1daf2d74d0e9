//! When what the CronJob finds has somebody called.

use crate::prometheus::{Alert, History, STEP, Samples, judge, recorded};
use crate::support::have;
use crate::{BUILD, MINUTE, OPERATOR, all_rules, jobs_only};

const QUARTER: u64 = 15 * MINUTE;

fn of_looks(name: &'static str, job: &str) -> Alert {
    Alert {
        name,
        labels: vec![
            ("severity", "warning".to_owned()),
            ("namespace", OPERATOR.to_owned()),
        ],
        job: job.to_owned(),
        value: "1",
    }
}

#[derive(Clone, Copy)]
enum Look {
    Begins,
    Runs,
    Good,
    Found,
    Blind,
}

/// A look of the CronJob, as a Job that was recorded in the same state. kube-state-metrics calls the reason of
/// one that its policy failed "", as it does for the three attempts of the recording.
fn look(number: u64, how: Look) -> Samples {
    let started = (number * 15 * MINUTE) as f64;
    let samples = match how {
        Look::Begins => recorded("01-running", started).set(&["kube_job_status_active"], 0.0),
        Look::Runs => recorded("01-running", started),
        Look::Good => recorded("06-complete", started),
        Look::Blind => recorded("03-failed", started),
        Look::Found => recorded("03-failed", started)
            .set(&[r#"reason="BackoffLimitExceeded""#], 0.0)
            .with(
                recorded("02-three-attempts-failed", started)
                    .only(|metric| metric == "kube_job_status_failed")
                    .set(&["kube_job_status_failed"], 1.0),
            ),
    };
    samples
        .only(jobs_only)
        .renamed(BUILD, &look_name(number))
        .renamed(OPERATOR, "coreos-bake")
}

fn look_name(number: u64) -> String {
    format!("coreos-bake-status-{}", 29_934_015 + 15 * number)
}

/// Looks one after the other, each a quarter of an hour; the CronJob keeps one good one, and those that failed.
fn looks(all: &[Look], keeps: impl Fn(&str) -> bool + Copy) -> History {
    let mut history = History::default();
    let mut kept: Vec<(u64, Look)> = Vec::new();
    for (number, how) in (0..).zip(all) {
        let old = |kept: &[(u64, Look)]| {
            let all = kept.iter().map(|(number, how)| look(*number, *how));
            all.fold(Samples::default(), Samples::with)
        };
        let began = number * 15 * MINUTE;
        for (how, end) in [(Look::Begins, MINUTE), (Look::Runs, 2 * MINUTE)] {
            let all = old(&kept).with(look(number, how)).only(keeps);
            history = history.until(began + end, all);
        }
        if matches!(how, Look::Good) {
            kept.retain(|(_, how)| !matches!(how, Look::Good));
        }
        kept.push((number, *how));
        history = history.until(began + 15 * MINUTE, old(&kept).only(keeps));
    }
    history
}

#[test]
fn what_a_look_finds_calls_until_a_look_is_good() {
    if !have("promtool") {
        return;
    }
    use Look::{Found, Good};
    let history = looks(&[Good, Found, Found, Good, Good], |_| true);
    let found = |number| vec![of_looks("CoreosBakePoolNeedsSomebody", &look_name(number))];
    judge(
        &all_rules(),
        &history,
        &[
            (QUARTER - STEP, vec![]),
            (QUARTER + MINUTE, vec![]),
            (QUARTER + 2 * MINUTE, found(1)),
            (2 * QUARTER - STEP, found(1)),
            // The next one runs.
            (2 * QUARTER, found(1)),
            (2 * QUARTER + 90, found(1)),
            (2 * QUARTER + 2 * MINUTE, found(2)),
            (3 * QUARTER + 90, found(2)),
            // It is over, and those that failed are still there.
            (3 * QUARTER + 2 * MINUTE, vec![]),
            (4 * QUARTER + 2 * MINUTE, vec![]),
            (5 * QUARTER - STEP, vec![]),
        ],
    );
}

#[test]
fn looks_that_see_nothing_call_later_and_as_such() {
    if !have("promtool") {
        return;
    }
    use Look::{Blind, Found, Good};
    let all = [Good, Blind, Blind, Blind, Blind, Blind, Good];
    let history = looks(&all, |_| true);
    let blind = |number| vec![of_looks("CoreosBakeStatusFails", &look_name(number))];
    let first = QUARTER + 2 * MINUTE;
    judge(
        &all_rules(),
        &history,
        &[
            (first, vec![]),
            (first + 45 * MINUTE - STEP, vec![]),
            (first + 45 * MINUTE, blind(4)),
            (6 * QUARTER, blind(5)),
            (6 * QUARTER + 2 * MINUTE, vec![]),
        ],
    );
    // One that could look finds that it was needed.
    let history = looks(&[Good, Blind, Found], |_| true);
    let found = vec![of_looks("CoreosBakePoolNeedsSomebody", &look_name(2))];
    judge(
        &all_rules(),
        &history,
        &[(2 * QUARTER, vec![]), (2 * QUARTER + 2 * MINUTE, found)],
    );
    // One that could not look is not worth a night.
    let history = looks(&[Good, Blind, Good, Good, Good, Good], |_| true);
    let moments: Vec<_> = (1..12).map(|n| (n * 7 * MINUTE, vec![])).collect();
    judge(&all_rules(), &history, &moments);
    // Clusters that keep few metrics don't keep the reason.
    let few = |metric: &str| {
        [
            "kube_job_failed",
            "kube_job_status_active",
            "kube_job_status_start_time",
        ]
        .contains(&metric)
    };
    let history = looks(&[Good, Blind, Good], few);
    let found = vec![of_looks("CoreosBakePoolNeedsSomebody", &look_name(1))];
    judge(
        &all_rules(),
        &history,
        &[
            (first - STEP, vec![]),
            (first, found),
            (2 * QUARTER + 2 * MINUTE, vec![]),
        ],
    );
}
