//! How long to bear with a registry that is slow, silent or failing.
//!
//! Trouble that passes is tried again ([`Connection::persist`]). A peer that sends, or takes, a
//! byte now and then is not: another attempt would cost the same again ([`Pace`]).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Connection;
use super::failure::Failure;
use crate::failure::sentence;
use crate::image::error::ImageError;
use crate::progress::WAIT;

/// How often a registry that has never answered is called.
const STRANGER_ATTEMPTS: u32 = 3;

/// How long to bear with a registry that fails for a while. By default one that can't be reached is
/// given up after a second, one that answers with errors after 8, one that is silent or too slow
/// within two minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often something is tried without getting on.
    pub attempts: u32,
    /// Pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// How long attempts that got nowhere may take together before no other one is begun.
    pub fruitless: Duration,
    /// How long a server may take to connect, to begin an answer, or to send more of a blob.
    pub silence: Duration,
    /// How long an answer that is not a blob may take, all of it: tokens, manifests, messages.
    pub answer: Duration,
    /// How long a registry may take to store a blob after the last byte was sent.
    pub storing: Duration,
    /// The time in which [`Patience::least_bytes`] must come. Only waiting for the network counts,
    /// not the time until somebody wants more.
    pub window: Duration,
    /// The fewest bytes of a blob that must come, or be taken, in a window.
    pub least_bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
            fruitless: Duration::from_secs(60),
            silence: Duration::from_secs(20),
            answer: Duration::from_secs(30),
            storing: Duration::from_secs(90),
            // A window that began well may be followed by one in which nothing moves.
            window: Duration::from_secs(45),
            least_bytes: 48 << 10,
        }
    }
}

impl Patience {
    /// The pause after failure number `failures`, counted from 1.
    fn pause(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        self.first_pause
            .saturating_mul(factor)
            .min(self.longest_pause)
    }

    /// Holds a download to its pace.
    pub(super) fn download(&self) -> Pace {
        Pace::new(self, self.silence, "came")
    }

    /// Holds an upload to its pace. Kernels take bytes in gulps, so silence says nothing there.
    pub(super) fn upload(&self) -> Pace {
        Pace::new(self, Duration::MAX, "were taken")
    }
}

/// Whether a transfer gets on fast enough. The last window of a blob may be slower: it ends first.
pub(super) struct Pace {
    window: Duration,
    least_bytes: u64,
    silence: Duration,
    verb: &'static str,
    /// Time spent waiting for the network in this window.
    waited: Duration,
    /// Bytes moved in this window.
    bytes: u64,
}

impl Pace {
    fn new(patience: &Patience, silence: Duration, verb: &'static str) -> Self {
        Self {
            window: patience.window,
            least_bytes: patience.least_bytes,
            silence,
            verb,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Waits for the network to bring or to take something.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        let mut quiet = Duration::ZERO;
        loop {
            let most = (self.silence - quiet).min(self.window - self.waited);
            let begun = Instant::now();
            let outcome = timeout(most, &mut work).await;
            let passed = begun.elapsed().max(match outcome {
                Ok(_) => Duration::ZERO,
                Err(_) => most,
            });
            self.waited += passed;
            quiet += passed;
            if let Ok(value) = outcome {
                return Ok(value);
            }
            self.check()?;
            if quiet >= self.silence {
                return Err(silent(self.silence));
            }
        }
    }

    /// Counts bytes that came or were taken.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes as u64;
        self.check()
    }

    /// Begins a new window where one has ended.
    fn check(&mut self) -> Result<(), Failure> {
        if self.waited < self.window {
            return Ok(());
        }
        if self.bytes < self.least_bytes {
            return Err(Failure::TooSlow(format!(
                "{} bytes {} in {:?}, where {} are the least",
                self.bytes, self.verb, self.window, self.least_bytes
            )));
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

/// Nothing came for that long.
pub(super) fn silent(silence: Duration) -> Failure {
    Failure::Passing(format!("nothing came for {silence:?}").into())
}

/// What was tried without getting on.
pub(super) struct Failures {
    count: u32,
    since: Instant,
}

impl Failures {
    /// None so far, and the first attempt begins.
    pub(super) fn none() -> Self {
        Self {
            count: 0,
            since: Instant::now(),
        }
    }
}

impl Connection {
    /// Tries until it works, cannot work, or patience is at its end.
    pub(super) async fn persist<T>(
        &self,
        object: &str,
        attempt: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, ImageError> {
        let mut failures = Failures::none();
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => self.bear(failure, &mut failures, object).await?,
            }
        }
    }

    /// Pauses after a failure, unless going on is pointless.
    pub(super) async fn bear(
        &self,
        failure: Failure,
        failures: &mut Failures,
        object: &str,
    ) -> Result<(), ImageError> {
        failures.count += 1;
        let limit = self.patience.attempts;
        let (cause, limit) = match &failure {
            Failure::Passing(cause) => (sentence(&**cause), limit),
            // One that has answered may be starting anew; the name of one that never has may be wrong.
            Failure::Unreachable(cause) if self.has_answered.load(Relaxed) => {
                (cause.clone(), limit)
            }
            Failure::Unreachable(cause) => (cause.clone(), limit.min(STRANGER_ATTEMPTS)),
            _ => return Err(self.explain(failure, object, failures.count)),
        };
        if failures.count >= limit || failures.since.elapsed() >= self.patience.fruitless {
            return Err(self.explain(failure, object, failures.count));
        }
        let pause = self.patience.pause(failures.count);
        tracing::warn!(
            target: WAIT,
            cause,
            "trying {} again in {:.1} s (attempt {} of {limit}): {cause}",
            self.name.registry,
            pause.as_secs_f64(),
            failures.count + 1,
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Failure, Patience};

    #[test]
    fn pauses_grow_to_a_limit() {
        let patience = Patience::default();
        let pauses: Vec<u128> = (1..=7).map(|n| patience.pause(n).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!(patience.pause(40), Duration::from_secs(8));
    }

    /// Moves `bytes` every `every` milliseconds, `times` times, and idles for `idle` in between.
    fn paced(bytes: usize, every: u64, idle: u64, times: u32) -> Result<(), Failure> {
        let patience = Patience {
            silence: Duration::from_millis(150),
            window: Duration::from_millis(300),
            least_bytes: 100,
            ..Patience::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut pace = patience.download();
        runtime.block_on(async {
            for _ in 0..times {
                let pause = tokio::time::sleep(Duration::from_millis(every));
                pace.wait(pause).await?;
                pace.count(bytes)?;
                tokio::time::sleep(Duration::from_millis(idle)).await;
            }
            Ok(())
        })
    }

    #[test]
    fn transfers_are_held_to_a_pace() {
        // Fast enough, for several windows.
        assert!(paced(60, 50, 0, 20).is_ok());
        // A byte now and then. Says so, and is not tried again.
        match paced(1, 50, 0, 20) {
            Err(Failure::TooSlow(fact)) => {
                assert!(
                    fact.ends_with(" bytes came in 300ms, where 100 are the least"),
                    "{fact}"
                );
            }
            other => panic!("{other:?}"),
        }
        // The same, but the reader takes its time: that is not the server's fault.
        assert!(paced(1, 5, 60, 10).is_ok());
        // A last window may be slow.
        assert!(paced(1, 50, 0, 3).is_ok());
        // Nothing at all is trouble that may pass.
        assert!(matches!(paced(1, 400, 0, 1), Err(Failure::Passing(_))));
    }
}
