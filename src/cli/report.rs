//! Drivers by stages: as a table, with the facts behind it, and for machines that run tests.

use super::table::Table;
use super::terminal::Terminal;
use crate::kernel::{Finding, Module};
use crate::record::{Proof, Record};
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
pub(super) fn wrapped(text: &str) -> Vec<String> {
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

/// At which stages the drivers of a bake were proven, and what would prove them at the others.
pub(super) fn proofs(record: &Record) -> String {
    let all = &record.stages;
    let lost = |proof: &&Proof| {
        let mut all = record.drivers.iter().chain(&record.mounts);
        all.any(|row| row.stage == proof.stage && row.fails())
    };
    let judged = || all.iter().filter(|proof| proof.judged);
    let proven: Vec<&Proof> = judged().filter(|proof| !lost(proof)).collect();
    let missing: Vec<&Proof> = judged().filter(lost).collect();
    let mut text = format!("proven at {} of {} stages\n", proven.len(), all.len());
    text += &indented(&names(&proven));
    if !missing.is_empty() {
        text += "missing at\n";
        text += &indented(&names(&missing));
    }
    // Several stages have the same reason, as where no driver was named.
    let mut reasons: Vec<Vec<&Proof>> = Vec::new();
    for proof in all.iter().filter(|proof| !proof.judged) {
        match reasons.last_mut() {
            Some(same) if (&same[0].why, &same[0].how) == (&proof.why, &proof.how) => {
                same.push(proof);
            }
            _ => reasons.push(vec![proof]),
        }
    }
    for same in reasons {
        let stages = match same.len() == all.len() {
            true => "any stage".to_owned(),
            false => names(&same),
        };
        text += &format!("not judged at {stages}\n");
        for sentence in same[0].why.iter().chain(&same[0].how) {
            text += &indented(sentence);
        }
    }
    text
}

fn names(proofs: &[&Proof]) -> String {
    let names: Vec<&str> = proofs.iter().map(|proof| proof.stage.name()).collect();
    names.join(", ")
}

fn indented(text: &str) -> String {
    let lines = wrapped(text).into_iter().filter(|line| !line.is_empty());
    lines.map(|line| format!("  {line}\n")).collect()
}

/// Something that is judged as a whole, such as a Containerfile.
pub(super) struct Whole {
    pub(super) class: &'static str,
    pub(super) name: String,
    /// What is wrong with it, each in a sentence.
    pub(super) failures: Vec<String>,
}

/// A JUnit report: a test for each driver at each stage, and for each whole. What nobody can say yet
/// is skipped.
pub(super) fn junit(table: &[Presence], wholes: &[Whole]) -> String {
    let of_drivers = table.iter().map(|presence| {
        let sentence = escaped(&presence.verdict.to_string());
        let inside = match presence.verdict.mark() {
            Mark::No => format!("<failure message=\"{sentence}\"/>"),
            _ if presence.verdict.is_open() => format!("<skipped message=\"{sentence}\"/>"),
            _ => format!("<system-out>{sentence}</system-out>"),
        };
        (presence.driver.as_str(), presence.stage.name(), inside)
    });
    let of_wholes = wholes.iter().map(|whole| {
        let inside = match whole.failures.is_empty() {
            true => String::new(),
            false => format!(
                "<failure message=\"{}\"/>",
                escaped(&whole.failures.join("; "))
            ),
        };
        (whole.class, whole.name.as_str(), inside)
    });
    let tests: Vec<_> = of_drivers.chain(of_wholes).collect();
    let count = |tag: &str| tests.iter().filter(|test| test.2.starts_with(tag)).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"coreos-bake check\" \
         tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
        tests.len(),
        count("<failure"),
        count("<skipped"),
    );
    for (class, name, inside) in &tests {
        text += &format!(
            "  <testcase classname=\"{}\" name=\"{}\">{inside}</testcase>\n",
            escaped(class),
            escaped(name),
        );
    }
    text + "</testsuite>\n"
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
