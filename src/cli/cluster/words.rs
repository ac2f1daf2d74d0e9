//! How counts, times and images are said.

use k8s_openapi::jiff::Timestamp;

use crate::foreign::visible;

/// Digits of a digest that people tell images by.
const DIGEST_DIGITS: usize = 8;

/// So many of what, which takes an s.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// An image without its registry, and with the beginning of its digest.
pub(super) fn short(image: &str) -> String {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    let name = name.split_once('/').map_or(name, |(_, name)| name);
    let digest = digest.split_once(':').map_or(digest, |(_, digest)| digest);
    let digest: String = digest.chars().take(DIGEST_DIGITS).collect();
    visible(&format!("{name}@{digest}"))
}

/// How long before `now` it was.
pub(super) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else {
        return "some time".to_owned();
    };
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// A moment in UTC.
pub(super) fn at(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "?".to_owned(),
        |time| time.strftime("%F %TZ").to_string(),
    )
}
