//! When a CronJob runs.

use std::fmt;
use std::str::FromStr;

/// Minute, hour, day of the month, month, day of the week: the least and the greatest of each.
const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// What stands for five fields.
const SHORT: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// A schedule as a CronJob takes it: five fields, or a word such as `@hourly`.
///
/// Truth: robfig/cron parser.go@v3.0.1, ParseStandard, which Kubernetes checks CronJobs with. `@every` and time
/// zones, which it takes too, are left out: the one has no fixed minutes, and Kubernetes refuses the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(String);

/// Why it is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Another number of fields.
    #[error("{0:?} is not a schedule: it needs five fields, as in \"*/15 * * * *\"")]
    Fields(String),
    /// One of the five.
    #[error("{text:?} is not a schedule: {field:?} can't be its {what}")]
    Field {
        /// What was given.
        text: String,
        /// The part that is wrong.
        field: String,
        /// Which of the five it is.
        what: &'static str,
    },
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let schedule = Self(text.to_owned());
        if SHORT.contains(&text) {
            return Ok(schedule);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(ScheduleError::Fields(text.to_owned()));
        }
        for (field, (what, least, greatest)) in fields.into_iter().zip(FIELDS) {
            let is_right = field.split(',').all(|part| is_part(part, least, greatest));
            if !is_right {
                return Err(ScheduleError::Field {
                    text: text.to_owned(),
                    field: field.to_owned(),
                    what,
                });
            }
        }
        Ok(schedule)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// `*`, a number or two with a dash between them, and behind a slash how many are passed over.
fn is_part(part: &str, least: u32, greatest: u32) -> bool {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    if step.is_some_and(|step| digits(step).is_none_or(|step| step == 0)) {
        return false;
    }
    if matches!(range, "*" | "?") {
        return true;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| named(text, greatest).or_else(|| digits(text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) => least <= first && first <= last && last <= greatest,
        _ => false,
    }
}

/// The number of a month or a day that is written as a word.
fn named(text: &str, greatest: u32) -> Option<u32> {
    let (names, first) = match greatest {
        12 => (&MONTHS[..], 1),
        6 => (&DAYS[..], 0),
        _ => return None,
    };
    let at = names
        .iter()
        .position(|name| text.eq_ignore_ascii_case(name))?;
    Some(u32::try_from(at).ok()? + first)
}

/// A number without a sign.
fn digits(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn schedules_are_what_a_cronjob_takes() {
        for text in [
            "*/15 * * * *",
            "0 6-18/2 * * mon-FRI",
            "5,35 * 1 JAN,12 ?",
            "59 23 31 12 6",
            "7/20 * * * *",
            "@hourly",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "*/15 * * *",
            "*/15 * * * * *",
            "60 * * * *",
            "*/0 * * * *",
            "*/ * * * *",
            "+5 * * * *",
            "9-5 * * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "* * * * jan",
            "1,,2 * * * *",
            "1-2-3 * * * *",
            "99999999999 * * * *",
            "@reboot",
            "@every 15m",
            "TZ=UTC * * * * *",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
