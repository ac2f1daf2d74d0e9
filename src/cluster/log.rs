//! The step that failed, out of the log of a build.
//!
//! buildah prints `STEP 14/16: RUN dnf install …` before each step, then what the step says; its own last
//! words begin with `Error: building at STEP "…"`, as in the logs that its users publish (its source was not
//! read). Steps in a stage of several carry its number in front: `[1/2] STEP 2/7: …`.

use std::io::{self, BufRead};

use serde::Serialize;

/// Bytes of a line that are looked at.
const LINE_MAX: usize = 4096;
/// Lines that are kept of what a step said.
const LINES_MAX: usize = 4;

/// A step of a build, and what it said that sounds like a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// As in `14/16`; None if buildah printed no step.
    pub number: Option<String>,
    /// The instruction.
    pub instruction: String,
    /// Lines that name an error, the first ones; without any, the last lines.
    pub said: Vec<String>,
}

/// The last step that `log` begins. Bytes that are not UTF-8 are replaced, lines longer than 4 KiB cut.
///
/// # Errors
/// A log that can't be read.
pub fn failing_step(mut log: impl BufRead) -> io::Result<Step> {
    let mut step = Step::default();
    let mut last = Vec::new();
    while let Some(line) = line(&mut log)? {
        if let Some((number, instruction)) = begins_step(&line) {
            step = Step {
                number: Some(number.to_owned()),
                instruction: instruction.to_owned(),
                said: Vec::new(),
            };
            last.clear();
        } else if is_error(&line) {
            if step.said.len() < LINES_MAX {
                step.said.push(line);
            }
        } else if !line.trim().is_empty() {
            if last.len() == LINES_MAX {
                last.remove(0);
            }
            last.push(line);
        }
    }
    if step.said.is_empty() {
        step.said = last;
    }
    Ok(step)
}

/// The next line, without its end.
fn line(log: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut kept = Vec::new();
    let mut is_any = false;
    loop {
        let buffer = log.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        is_any = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = LINE_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..part.len().min(room)]);
        let taken = part.len() + usize::from(end.is_some());
        log.consume(taken);
        if end.is_some() {
            break;
        }
    }
    let line = String::from_utf8_lossy(&kept).trim_end().to_owned();
    Ok(is_any.then_some(line))
}

/// The number and the instruction in `STEP 2/7: RUN …`, also of one in a named stage: `[1/2] STEP 2/7: …`.
fn begins_step(line: &str) -> Option<(&str, &str)> {
    let line = match line.strip_prefix('[') {
        Some(stage) => stage.split_once("] ")?.1,
        None => line,
    };
    let (number, instruction) = line.strip_prefix("STEP ")?.split_once(": ")?;
    let (step, of) = number.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(step) && is_number(of)).then_some((number, instruction))
}

fn is_error(line: &str) -> bool {
    let line = line.trim_start();
    let words = ["error:", "fatal:", "failed:"];
    words.iter().any(|word| {
        let start = line.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(log: &str) -> Step {
        failing_step(log.as_bytes()).unwrap()
    }

    #[test]
    fn the_last_step_and_its_errors_are_told() {
        let step = of("STEP 1/3: FROM base\n\
            error: of an earlier step\n\
            [2/2] STEP 2/3: RUN dnf install -y a && make\n\
            Updating\n\
            Error: no package a\n\
            x\r\n\
            Error: building at STEP \"RUN dnf\": exit status 1\n");
        assert_eq!(step.number.as_deref(), Some("2/3"));
        assert_eq!(step.instruction, "RUN dnf install -y a && make");
        let said = [
            "Error: no package a",
            "Error: building at STEP \"RUN dnf\": exit status 1",
        ];
        assert_eq!(step.said, said);
    }

    #[test]
    fn without_errors_or_steps_the_last_lines_are_told() {
        let step = of("1\n2\n3\n\n4\n5");
        assert_eq!(step.number, None);
        assert_eq!(step.said, ["2", "3", "4", "5"]);
        assert_eq!(of(""), Step::default());
        assert_eq!(of("STEP x/y: RUN a\n").number, None);
    }

    #[test]
    fn long_lines_are_cut() {
        let step = of(&format!("Error: {}\nError: b", "a".repeat(1 << 20)));
        assert_eq!(step.said[0].len(), LINE_MAX);
        assert_eq!(step.said[1], "Error: b");
    }
}
