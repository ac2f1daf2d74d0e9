//! What the log of a pool's build tells.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::{PoolReport, Server, State, Step, failing_step};
use crate::containerfile;
use crate::staging::Staging;

/// Lines of a failed build's log that are looked at for the step that failed. Package managers say
/// thousands in one step.
const LOG_LINES: u32 = 20_000;
/// The container that builds, where a pod doesn't say which one failed.
pub(super) const BUILD_CONTAINER: &str = "image-build";

/// A pool with what its build's log told.
pub(super) struct Told {
    pub(super) pool: PoolReport,
    pub(super) step: Option<Step>,
    /// The line of the Containerfile that the step is from.
    pub(super) line: Option<u32>,
    /// Where the log was saved.
    pub(super) saved: Option<PathBuf>,
}

impl Told {
    pub(super) async fn of(
        pool: &PoolReport,
        containerfile: Option<&str>,
        logs: Option<&Path>,
        server: &Server,
    ) -> Result<Self> {
        let mut told = Self {
            pool: pool.clone(),
            step: None,
            line: None,
            saved: None,
        };
        let has_log = matches!(
            pool.state,
            State::BuildFailed | State::EditLost | State::BuildHangs
        );
        let build = pool.build.as_ref().filter(|_| has_log);
        let Some((build, pod)) = build.and_then(|build| Some((build, build.pod.as_deref()?)))
        else {
            return Ok(told);
        };
        let container = build.container.as_deref().unwrap_or(BUILD_CONTAINER);
        let mut log = tempfile::tempfile().context("making room for a log")?;
        let lines = logs.is_none().then_some(LOG_LINES);
        if !server.log(pod, container, lines, &mut log).await? {
            return Ok(told);
        }
        let log = Log(log);
        let step = failing_step(log.reader()?).context("reading a log")?;
        told.line = containerfile.and_then(|text| containerfile::line_of(text, &step.instruction));
        told.step = Some(step);
        if let Some(directory) = logs {
            told.saved = Some(log.save(directory, pod)?);
        }
        Ok(told)
    }
}

/// A log in a file that has no name.
struct Log(fs::File);

impl Log {
    fn reader(&self) -> Result<impl std::io::BufRead> {
        use std::io::{BufReader, Seek, SeekFrom};
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0)).context("reading a log")?;
        Ok(BufReader::new(file))
    }

    /// Under the name of the pod, which no other build has. What is there already is not written again.
    fn save(&self, directory: &Path, pod: &str) -> Result<PathBuf> {
        let name = format!("{pod}.log");
        let path = directory.join(&name);
        if path.exists() {
            return Ok(path);
        }
        let staging = Staging::new(directory, false)?;
        let mut file = staging.create(&name)?;
        std::io::copy(&mut self.reader()?, &mut file)
            .with_context(|| format!("writing {}", path.display()))?;
        staging.publish(&[name])?;
        Ok(path)
    }
}
