//! The same work on many things, on several threads.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};

/// Runs `work` for every index below `count`. If several fail, the error is that of the lowest
/// index, however threads are scheduled: work for higher ones stops, for lower ones goes on.
pub(super) fn in_parallel<T: Send>(
    threads: NonZeroUsize,
    count: usize,
    work: impl Fn(usize, &dyn Fn() -> Result<()>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(usize::MAX);
    let results: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || failed.load(Ordering::Relaxed) < index {
                return;
            }
            let keep_going = || match failed.load(Ordering::Relaxed) < index {
                true => bail!("stopped because something before it failed"),
                false => Ok(()),
            };
            let result = work(index, &keep_going);
            if result.is_err() {
                failed.fetch_min(index, Ordering::Relaxed);
            }
            let mut slot = results[index].lock().expect("no worker panics");
            *slot = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(count) {
            scope.spawn(run);
        }
        run();
    });
    results
        .into_iter()
        .map_while(|slot| slot.into_inner().expect("no worker panics"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        for threads in [1, 3, 100] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let squares = in_parallel(threads, 50, |index, _| Ok(index * index)).unwrap();
            assert_eq!(squares, (0..50).map(|n| n * n).collect::<Vec<_>>());
            assert!(in_parallel(threads, 0, |_, _| Ok(())).unwrap().is_empty());
        }
    }

    #[test]
    fn the_first_failure_is_reported_and_ends_the_rest() {
        let started = AtomicUsize::new(0);
        let error = in_parallel(
            NonZeroUsize::new(4).unwrap(),
            10_000,
            |index, keep_going| {
                started.fetch_add(1, Ordering::Relaxed);
                keep_going()?;
                if index % 10 == 7 {
                    bail!("{index}");
                }
                Ok(())
            },
        );
        assert_eq!(error.unwrap_err().to_string(), "7");
        assert!(started.into_inner() < 5_000);
    }
}
