//! When directories were last changed, so that undoing can leave them as they were.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// When directories below one were last changed: seconds and nanoseconds since 1970. The one itself has
/// the empty name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Times(Vec<(String, u64, u32)>);

impl Times {
    /// Of those `places` in `directory` that are there.
    pub(crate) fn of<'a>(
        directory: &Path,
        places: impl IntoIterator<Item = &'a str>,
    ) -> io::Result<Self> {
        let mut times = Vec::new();
        for place in places {
            let modified = match fs::metadata(directory.join(place)) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?.modified()?,
            };
            let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            times.push((place.to_owned(), since.as_secs(), since.subsec_nanos()));
        }
        Ok(Self(times))
    }

    /// The places whose times these are.
    pub(crate) fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(place, ..)| place.as_str())
    }

    /// Adds the times of other places.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Sets them again. Only a directory's owner may do that, and nothing depends on it.
    pub(crate) fn restore(&self, directory: &Path) {
        for (place, seconds, nanoseconds) in &self.0 {
            let since = Duration::from_secs(*seconds)
                .checked_add(Duration::from_nanos(u64::from(*nanoseconds)));
            if let Some(time) = since.and_then(|since| UNIX_EPOCH.checked_add(since))
                && let Ok(file) = File::open(directory.join(place))
            {
                let _ = file.set_modified(time);
            }
        }
    }
}
