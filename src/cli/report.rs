//! Drivers by stages: as a table, with the facts behind it, and for machines that run tests.

use super::table::Table;
use super::terminal::Terminal;
use crate::kernel::{Finding, Module};
use crate::stages::{Mark, Presence, Stage, Verdict};

/// Drivers by stages, with what was found.
pub(super) fn presence_table(table: &[Presence], terminal: &Terminal) -> String {
    let mut lines = Table::new(["DRIVER", "STAGE", "", "FOUND"]);
    for presence in table {
        let mark = match presence.verdict.mark() {
            Mark::Yes => terminal.good("✓"),
            Mark::Doubt => terminal.doubtful("!"),
            Mark::No => terminal.bad("✗"),
        };
        lines.row([
            presence.driver.clone(),
            presence.stage.name().to_owned(),
            mark,
            presence.verdict.to_string(),
        ]);
    }
    lines.render()
}

/// The rows for people: of what roots are mounted with, only what is not as it should be.
pub(super) fn shown(drivers: &[Presence], mounts: &[Presence]) -> Vec<Presence> {
    let odd = |presence: &&Presence| presence.verdict.mark() != Mark::Yes;
    let mounts = mounts.iter().filter(odd);
    drivers.iter().chain(mounts).cloned().collect()
}

/// What a stage is, and everything known of the drivers at it.
pub(super) fn explanation(stage: Stage, table: &[Presence]) -> String {
    let mut text = format!("{}\n\n", stage.name());
    for line in wrapped(stage.story()) {
        text += &format!("  {line}\n");
    }
    for presence in table.iter().filter(|presence| presence.stage == stage) {
        text += &format!("\n  {}: {}\n", presence.driver, presence.verdict);
        if let Verdict::Found(Finding::Present(present)) = &presence.verdict {
            if !present.loaded_by.is_empty() {
                text += &format!("    loaded by {}\n", present.loaded_by.join(", "));
            }
            for module in std::iter::once(&present.module).chain(&present.dependencies) {
                text += &facts(module);
            }
        }
    }
    text
}

fn facts(module: &Module) -> String {
    let mut text = format!("    {}\n", module.name);
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!("      {name:<9} {value}\n");
        }
    };
    fact("built in", module.built_in.then(|| "yes".to_owned()));
    fact("path", module.path.clone());
    fact("size", module.size.map(|size| format!("{size} bytes")));
    fact("sha256", module.sha256.clone());
    fact("vermagic", module.vermagic.clone());
    let signed = |signed| if signed { "yes" } else { "no" }.to_owned();
    fact("signed", module.signed.map(signed));
    fact("signer", module.signer.clone());
    fact("key", module.key.clone());
    fact("hash", module.hash.clone());
    text
}

/// Lines of a paragraph that fit a terminal.
fn wrapped(text: &str) -> Vec<String> {
    const COLUMNS: usize = 76;
    let mut lines = vec![String::new()];
    for word in text.split_ascii_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// A JUnit report: a test for each driver at each stage. What nobody can say yet is skipped.
pub(super) fn junit(table: &[Presence]) -> String {
    let count = |mark| table.iter().filter(|p| p.verdict.mark() == mark).count();
    let is_open = |presence: &&Presence| is_open(presence);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"coreos-bake check\" \
         tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
        table.len(),
        count(Mark::No),
        table.iter().filter(is_open).count(),
    );
    for presence in table {
        let sentence = escaped(&presence.verdict.to_string());
        let inside = match presence.verdict.mark() {
            Mark::No => format!("<failure message=\"{sentence}\"/>"),
            _ if is_open(&presence) => format!("<skipped message=\"{sentence}\"/>"),
            _ => format!("<system-out>{sentence}</system-out>"),
        };
        text += &format!(
            "  <testcase classname=\"{}\" name=\"{}\">{inside}</testcase>\n",
            escaped(&presence.driver),
            presence.stage.name(),
        );
    }
    text + "</testsuite>\n"
}

fn is_open(presence: &Presence) -> bool {
    matches!(
        &presence.verdict,
        Verdict::Judged(crate::stages::Judged::Open { .. })
    )
}

/// Text that XML 1.0 takes in an attribute or an element.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c if c.is_control() => " ".to_owned(),
            c => c.to_string(),
        })
        .collect()
}
