//! Verdicts on several media, put together.

use super::Presence;

/// One table of several, each of which has its medium's name: of each driver at each stage the worst verdict,
/// the first of those that are as bad. Where media differ, it says which one it is of.
pub fn worst_of(tables: &[(String, Vec<Presence>)]) -> Vec<Presence> {
    let rows = || {
        let of_all = tables.iter();
        of_all.flat_map(|(medium, table)| table.iter().map(move |row| (medium, row)))
    };
    let is_same =
        |one: &Presence, other: &Presence| one.driver == other.driver && one.stage == other.stage;
    let mut merged: Vec<Presence> = Vec::new();
    for (_, row) in rows() {
        if merged.iter().any(|known| is_same(known, row)) {
            continue;
        }
        let same: Vec<_> = rows().filter(|(_, other)| is_same(other, row)).collect();
        let worse = |worst: &(&String, &Presence), other: &(&String, &Presence)| {
            other.1.verdict.mark() > worst.1.verdict.mark()
        };
        let worst = same
            .iter()
            .copied()
            .reduce(|worst, other| match worse(&worst, &other) {
                true => other,
                false => worst,
            });
        merged.extend(worst.map(|(medium, worst)| {
            let mut worst = worst.clone();
            if same.iter().any(|(_, row)| row.verdict != worst.verdict) {
                worst.verdict = worst.verdict.of_medium(medium);
            }
            worst
        }));
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::{Stage, Verdict};
    use super::*;

    fn row(driver: &str, verdict: Verdict) -> Presence {
        Presence {
            driver: driver.to_owned(),
            stage: Stage::LiveRoot,
            verdict,
        }
    }

    #[test]
    fn the_worst_counts_and_says_which_medium_it_is_of() {
        let there = || Verdict::holds("it is there", Vec::new());
        let tables = [
            (
                "a.iso".to_owned(),
                vec![row("x", there()), row("y", there())],
            ),
            (
                "b.iso".to_owned(),
                vec![row("x", Verdict::fails("it is not")), row("y", there())],
            ),
            (
                "c.iso".to_owned(),
                vec![row("x", Verdict::open("who knows"))],
            ),
        ];
        let merged = worst_of(&tables);
        let said: Vec<_> = merged
            .iter()
            .map(|row| (row.driver.as_str(), row.verdict.to_string(), row.fails()))
            .collect();
        assert_eq!(
            said,
            [
                ("x", "b.iso: it is not".to_owned(), true),
                ("y", "it is there".to_owned(), false)
            ]
        );
    }
}
