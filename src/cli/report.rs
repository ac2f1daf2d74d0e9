//! Drivers by stages: in blocks, with the facts behind it, and for machines that run tests.

use super::terminal::Terminal;
use crate::foreign::visible;
use crate::kernel::{Finding, Module, Present};
use crate::paragraph::hanging;
use crate::record::{Proof, Record};
use crate::stages::{Mark, Presence, Stage, Verdict};

/// A block for each driver: its verdicts, and the stages at which each is so. What was found of those
/// that are there is shown with `-v`.
pub(super) fn presences(table: &[Presence], terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let mut drivers: Vec<&str> = Vec::new();
    for presence in table {
        if !drivers.contains(&presence.driver.as_str()) {
            drivers.push(&presence.driver);
        }
    }
    let mut text = String::new();
    for driver in drivers {
        text += &format!("{}\n", visible(driver));
        for (mark, sentence, stages) in folded(table, driver, terminal.is_verbose()) {
            let first = format!("  {} ", shown_mark(mark, terminal));
            text += &hanging(
                &first,
                &format!("{}: {sentence}", stages.join(", ")),
                columns,
            );
        }
    }
    text
}

/// The verdicts on a driver, each with the stages for which it is the same word for word.
fn folded(
    table: &[Presence],
    driver: &str,
    is_verbose: bool,
) -> Vec<(Mark, String, Vec<&'static str>)> {
    let mut rows: Vec<(Mark, String, Vec<&'static str>)> = Vec::new();
    for presence in table.iter().filter(|presence| presence.driver == driver) {
        let (mark, stage) = (presence.verdict.mark(), presence.stage.name());
        let sentence = match &presence.verdict {
            Verdict::Found(Finding::Present(present)) if !is_verbose => brief(present),
            verdict => verdict.to_string(),
        };
        let sentence = visible(&sentence);
        match rows
            .iter_mut()
            .find(|row| (row.0, &row.1) == (mark, &sentence))
        {
            Some((_, _, stages)) => stages.push(stage),
            None => rows.push((mark, sentence, vec![stage])),
        }
    }
    rows
}

/// Where a driver is, and what may be wrong with it.
fn brief(present: &Present) -> String {
    let path = present.module.path.as_deref();
    let mut text = match path {
        None => "built into the kernel".to_owned(),
        // What comes before is the same for all: the directory of the kernel's release.
        Some(path) => match path.split_once("lib/modules/") {
            Some((_, rest)) => rest
                .split_once('/')
                .map_or(path, |(_, file)| file)
                .to_owned(),
            None => path.to_owned(),
        },
    };
    for note in &present.notes {
        text += &format!("; {note}");
    }
    for warning in &present.warnings {
        text += &format!("; warning: {warning}");
    }
    text
}

fn shown_mark(mark: Mark, terminal: &Terminal) -> String {
    match mark {
        Mark::Yes => terminal.good("✓"),
        Mark::Doubt => terminal.doubtful("!"),
        Mark::No => terminal.bad("✗"),
    }
}

/// The rows for people: of what roots are mounted with, only what is not as it should be.
pub(super) fn shown(drivers: &[Presence], mounts: &[Presence]) -> Vec<Presence> {
    let odd = |presence: &&Presence| presence.verdict.mark() != Mark::Yes;
    let mounts = mounts.iter().filter(odd);
    drivers.iter().chain(mounts).cloned().collect()
}

/// What a stage is, and everything known of the drivers at it.
pub(super) fn explanation(stage: Stage, table: &[Presence], terminal: &Terminal) -> String {
    let columns = terminal.columns();
    let mut text = format!(
        "{}\n\n{}",
        stage.name(),
        hanging("  ", stage.story(), columns)
    );
    for presence in table.iter().filter(|presence| presence.stage == stage) {
        let mark = shown_mark(presence.verdict.mark(), terminal);
        let first = format!("  {mark} ");
        let driver = &presence.driver;
        let Verdict::Found(Finding::Present(present)) = &presence.verdict else {
            let sentence = format!("{driver}: {}", presence.verdict);
            text += &format!("\n{}", hanging(&first, &visible(&sentence), columns));
            continue;
        };
        text += &format!(
            "\n{}",
            hanging(
                &first,
                &visible(&format!("{driver}: {}", brief(present))),
                columns
            )
        );
        if !present.loaded_by.is_empty() {
            let loaded_by = visible(&present.loaded_by.join(", "));
            text += &hanging("    loaded by ", &loaded_by, columns);
        }
        for module in std::iter::once(&present.module).chain(&present.dependencies) {
            text += &facts(module, columns);
        }
    }
    text
}

fn facts(module: &Module, columns: usize) -> String {
    let mut text = format!("    {}\n", visible(&module.name));
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &hanging(&format!("      {name:<9} "), &visible(&value), columns);
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

/// At which stages the drivers of a bake were proven, and what would prove them at the others.
pub(super) fn proofs(record: &Record, columns: usize) -> String {
    let all = &record.stages;
    let indented = |text: &str| hanging("  ", &visible(text), columns);
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
        text += &hanging("", &format!("not judged at {stages}"), columns);
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

/// Text that XML 1.0 takes in an attribute or an element (its rule `Char` leaves two more characters out).
fn escaped(text: &str) -> String {
    visible(text)
        .chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\u{fffe}' | '\u{ffff}' => " ".to_owned(),
            c => c.to_string(),
        })
        .collect()
}
