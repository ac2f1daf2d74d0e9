//! How much a policy may cost, whoever wrote it: the memory of its compiled expressions, and the time that comparing
//! paths with them takes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Most memory of all compiled expressions together. Of Fedora's 7 000 specs, fewer than half need one, and all but some
/// dozens fit [`COMPILED_BYTES`]' first step.
const TOTAL_MAX_BYTES: u64 = 512 << 20;

/// Most memory one compiled expression may take, in the steps in which it is tried; ordinary ones need a few kilobytes.
pub(super) const COMPILED_BYTES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// How often that memory is taken: the program, and the states that the engine keeps while it matches, forwards and
/// backwards and where it gives up.
const COPIES: u64 = 4;

/// Most comparisons of a path with a spec: ten times what the 100 000 files of a large image need if each is compared with
/// a thousand.
const COMPARISONS_MAX: u64 = 1 << 30;

/// What was spent so far.
#[derive(Debug, Default)]
pub(super) struct Effort {
    compiled_bytes: AtomicU64,
    comparisons: AtomicU64,
}

impl Effort {
    /// Counts an expression that fits `bytes` when compiled.
    pub(super) fn compiled(&self, bytes: usize) -> Result<(), String> {
        let bytes = COPIES * bytes as u64;
        let before = self.compiled_bytes.fetch_add(bytes, Ordering::Relaxed);
        match before + bytes <= TOTAL_MAX_BYTES {
            true => Ok(()),
            false => Err(format!(
                "with it, the policy's expressions take more than {} MiB",
                TOTAL_MAX_BYTES >> 20
            )),
        }
    }

    /// Counts a comparison.
    pub(super) fn comparison(&self) -> Result<(), String> {
        match self.comparisons.fetch_add(1, Ordering::Relaxed) < COMPARISONS_MAX {
            true => Ok(()),
            false => Err(format!(
                "the policy compares paths more than {COMPARISONS_MAX} times"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COMPARISONS_MAX, COMPILED_BYTES, COPIES, Effort, TOTAL_MAX_BYTES};

    #[test]
    fn the_last_that_fits_is_taken() {
        let effort = Effort::default();
        let large = COMPILED_BYTES[3];
        for _ in 0..TOTAL_MAX_BYTES / (COPIES * large as u64) {
            assert_eq!(effort.compiled(large), Ok(()));
        }
        assert!(effort.compiled(1).is_err());
        effort
            .comparisons
            .store(COMPARISONS_MAX - 1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(effort.comparison(), Ok(()));
        assert!(effort.comparison().is_err());
    }
}
