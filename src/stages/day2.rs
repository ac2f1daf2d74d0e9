//! What on-cluster layering will make of the pool's Containerfile.

use super::{Cluster, Mark, Verdict};
use crate::containerfile::{self, Severity, Wanted};
use crate::kernel::canonical_name;

/// Whether the driver will be in what the `cluster` builds from its Containerfile, for kernel
/// `release`, on an image for which the verdict is `base`.
pub(super) fn judge(
    cluster: &Cluster<'_>,
    driver: &str,
    release: Option<&str>,
    base: &Verdict,
) -> Verdict {
    let Some(content) = cluster.containerfile else {
        return Verdict::open(
            "with on-cluster layering, that is up to the pool's Containerfile; name it with \
             --containerfile",
        );
    };
    let drivers = [driver.to_owned()];
    let remarks = containerfile::lint(
        content,
        &Wanted {
            drivers: &drivers,
            kernel: release,
            left_out: cluster.left_out,
        },
    );
    let sentence = |remark: &containerfile::Remark| match remark.line {
        Some(line) => format!("line {line}: {}", remark.message),
        None => remark.message.clone(),
    };
    let of = |severity| remarks.iter().filter(move |r| r.severity == severity);
    let mut errors = of(Severity::Error).map(sentence);
    if let Some(first) = errors.next() {
        return Verdict::fails(match errors.count() {
            0 => first,
            more => format!("{first} (and {more} more)"),
        });
    }
    let warnings = of(Severity::Warning).map(sentence).collect();
    if mentions(content, driver) {
        return Verdict::holds(
            "the cluster can build it, and the Containerfile brings the driver",
            warnings,
        );
    }
    match base.mark() {
        Mark::No => Verdict::fails(format!(
            "the Containerfile does not name the driver, and of the image below, {base}"
        )),
        Mark::Doubt => Verdict::open(
            "the Containerfile does not name the driver, so it has to be in the image that \
             osImageURL names",
        ),
        Mark::Yes => Verdict::holds(
            "the driver is in the image that osImageURL names, and the Containerfile leaves it there",
            warnings,
        ),
    }
}

/// Whether the text names the driver, in any of its spellings.
fn mentions(content: &[u8], driver: &str) -> bool {
    let name = canonical_name(driver);
    let text = String::from_utf8_lossy(content).replace('-', "_");
    text.match_indices(&name).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(word) && !after.starts_with(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_known_by_whole_words() {
        for (text, named) in [
            ("COPY my-raid.ko /x/", true),
            ("RUN echo my_raid", true),
            ("RUN echo my_raid2", false),
            ("RUN echo my_raid-x", false),
            ("RUN dnf install kmod-my-raid", false),
        ] {
            assert_eq!(mentions(text.as_bytes(), "my_raid"), named, "{text}");
        }
    }

    #[test]
    fn what_is_not_touched_stays_as_it_is() {
        let text = Some(&b"FROM configs AS final\nRUN touch /etc/x\n"[..]);
        let base = [
            (Verdict::fails("it is missing"), Mark::No),
            (Verdict::open("who knows"), Mark::Doubt),
            (Verdict::holds("it is there", Vec::new()), Mark::Yes),
        ];
        for (base, mark) in base {
            let cluster = Cluster {
                containerfile: text,
                ..Cluster::default()
            };
            assert_eq!(judge(&cluster, "raid", None, &base).mark(), mark);
        }
    }
}
