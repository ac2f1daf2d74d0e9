//! Shell text that knows its lines, and the variables whose values the text tells.

use std::collections::BTreeMap;

/// What variables may add to the texts of one Containerfile: a few values that double would not
/// end.
const MAX_EXPANDED_BYTES: usize = 256 * 1024;
/// A `RUN` copies the variables it begins with.
const MAX_VARIABLES: usize = 256;

/// Variables that have a value known from the text.
#[derive(Clone, Debug)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    budget: usize,
}

impl Variables {
    pub(super) fn new() -> Self {
        Self {
            values: BTreeMap::new(),
            budget: MAX_EXPANDED_BYTES,
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if self.values.len() < MAX_VARIABLES || self.values.contains_key(name) {
            self.values.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Forgets values, but not what was expanded so far.
    pub(super) fn restore(&mut self, values: BTreeMap<String, String>) {
        self.values = values;
    }

    pub(super) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    pub(super) fn expand(&mut self, name: &str) -> Option<String> {
        let value = self.values.get(name)?;
        self.budget = self.budget.checked_sub(value.len())?;
        Some(value.clone())
    }
}

/// Shell text, with the lines of the Containerfile that it came from.
pub(super) struct Script {
    pub(super) text: String,
    /// From which offset on the text is of which line.
    lines: Vec<(usize, u32)>,
}

impl Script {
    /// Text that stands in the Containerfile as it is.
    pub(super) fn verbatim(text: &str, first_line: u32) -> Self {
        let mut script = Self::at(String::new(), first_line);
        script.append(text, first_line);
        script
    }

    /// Text all of one line.
    pub(super) fn at(text: String, line: u32) -> Self {
        Self {
            text,
            lines: vec![(0, line)],
        }
    }

    /// A shell-form instruction: lines that end in `escape` are joined, and comments and empty
    /// lines between them left out.
    pub(super) fn joined(text: &str, first_line: u32, escape: char) -> Self {
        let mut script = Self::at(String::new(), first_line);
        let mut continued = false;
        for (line, number) in text.lines().zip(first_line..) {
            let trimmed = line.trim();
            if continued && (trimmed.is_empty() || trimmed.starts_with('#')) {
                continue;
            }
            script.lines.push((script.text.len(), number));
            match line.trim_end().strip_suffix(escape) {
                Some(head) => script.text.push_str(head),
                None => script.text.push_str(line),
            }
            continued = true;
        }
        script
    }

    /// Appends lines as they stand.
    pub(super) fn append(&mut self, text: &str, first_line: u32) {
        for (line, number) in text.split_inclusive('\n').zip(first_line..) {
            self.lines.push((self.text.len(), number));
            self.text.push_str(line);
        }
    }

    pub(super) fn line(&self, offset: usize) -> u32 {
        let next = self.lines.partition_point(|&(start, _)| start <= offset);
        self.lines[next.saturating_sub(1)].1
    }
}
