//! `check --for`: would this program take that medium?

use std::path::Path;

use anyhow::Result;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::report::Whole;
use super::terminal::Terminal;
use crate::consumers::{Consumer, Verdict, judge};
use crate::failure::Failure;
use crate::foreign::visible;
use crate::paragraph::hanging;
use crate::readback::Medium;

/// Programs that shall take a medium.
#[derive(Debug, Args)]
pub(super) struct ConsumerArgs {
    /// Tell whether a program would take the ISO; may be repeated
    ///
    /// agent: openshift-install agent create image. assisted: the image service of
    /// assisted-service. ipi: openshift-install create cluster on bare metal, from
    /// 4.22 on. Exits with 1 where one would not, and tells its reason.
    #[arg(
        long = "for",
        value_name = "PROGRAM",
        requires = "subject",
        value_parser = PossibleValuesParser::new(Consumer::ALL.map(|(name, _)| name))
            .try_map(|name| name.parse::<Consumer>())
    )]
    consumers: Vec<Consumer>,
}

impl ConsumerArgs {
    /// Asks each of the programs, once.
    pub(super) fn judge(&self, subject: Option<&str>) -> Result<Vec<Verdict>> {
        let (Some(subject), false) = (subject, self.consumers.is_empty()) else {
            return Ok(Vec::new());
        };
        let path = Path::new(subject);
        if !Medium::is_medium(path) {
            return Err(Failure::new(
                format!("{subject} is not a medium, which --for asks about"),
                "name the ISO that bake wrote",
            )
            .into());
        }
        let mut wanted = Vec::new();
        for consumer in &self.consumers {
            if !wanted.contains(consumer) {
                wanted.push(*consumer);
            }
        }
        judge(path, &wanted)
    }
}

/// A verdict as a test of a report. What matters to some clusters only is no failure.
pub(super) fn whole(verdict: &Verdict) -> Whole {
    let always = verdict.objections.iter().filter(|o| o.when.is_none());
    Whole {
        class: "for",
        name: verdict.consumer.name().to_owned(),
        failures: always.map(|objection| objection.reason.clone()).collect(),
    }
}

/// A paragraph for each program; nothing without verdicts.
pub(super) fn text(verdicts: &[Verdict], terminal: &Terminal) -> Option<String> {
    let paragraphs: Vec<String> = verdicts.iter().map(|v| paragraph(v, terminal)).collect();
    (!paragraphs.is_empty()).then(|| paragraphs.join("\n"))
}

fn paragraph(verdict: &Verdict, terminal: &Terminal) -> String {
    let name = verdict.consumer.name();
    let program = verdict.consumer.program();
    let (mark, head) = match (verdict.taken, verdict.objections.is_empty()) {
        (false, _) => (terminal.bad("✗"), "is expected not to take it"),
        (true, false) => (terminal.doubtful("!"), "is expected to take it, but"),
        (true, true) => (terminal.good("✓"), "is expected to take it"),
    };
    let columns = terminal.columns();
    let mut text = hanging(
        &format!("{mark} "),
        &format!("{name}: {program} {head}"),
        columns,
    );
    for objection in &verdict.objections {
        let mut lines = vec![objection.reason.clone()];
        lines.extend(objection.when.map(|when| format!("matters if {when}")));
        lines.extend(
            objection
                .says
                .as_ref()
                .map(|says| format!("it says: {says}")),
        );
        lines.push(format!("by {}", objection.source));
        for (number, line) in lines.iter().enumerate() {
            let first = if number == 0 { "  - " } else { "    " };
            text += &hanging(first, &visible(line), columns);
        }
    }
    text
}
