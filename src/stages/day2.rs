//! What on-cluster layering will make of the pool's Containerfile.

use super::{Cluster, Mark, Verdict};
use crate::containerfile::{self, LEFT_TO_BASE, Severity, Wanted};

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
    let mut warnings: Vec<String> = of(Severity::Warning).map(sentence).collect();
    if !remarks.iter().any(|r| r.rule == LEFT_TO_BASE) {
        return Verdict::holds(
            "the cluster can build it, and the Containerfile brings the driver",
            warnings,
        );
    }
    match base.mark() {
        Mark::No => Verdict::fails(format!(
            "the Containerfile does not bring the driver, and of the image below, {base}"
        )),
        Mark::Doubt if base.is_open() => Verdict::open(
            "the Containerfile does not bring the driver, so it has to be in the image that \
             osImageURL names",
        ),
        mark => {
            if mark == Mark::Doubt {
                warnings.push("the warnings of pivot hold here as well".to_owned());
            }
            Verdict::holds(
                "the driver is in the image that osImageURL names, and the Containerfile leaves it \
                 there",
                warnings,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(containerfile: &str) -> Cluster<'_> {
        Cluster {
            containerfile: Some(containerfile.as_bytes()),
            ..Cluster::default()
        }
    }

    /// What names a driver without bringing it leaves it to the image below.
    #[test]
    fn drivers_are_brought_by_instructions_only() {
        let below = Verdict::fails("it is missing");
        let rebuild = "RUN depmod -a 6 && DRACUT_NO_XATTR=1 dracut --force --no-hostonly \
            --reproducible --add-drivers my_raid --kver 6 /usr/lib/modules/6/initramfs.img && \
            ostree container commit\n";
        for (text, mark) in [
            ("COPY my-raid.ko /usr/lib/modules/6/extra/\n", Mark::Yes),
            (
                "RUN curl -o /usr/lib/modules/6/extra/my_raid.ko https://x\n",
                Mark::Yes,
            ),
            ("# my_raid is in the image below\n", Mark::No),
            ("RUN echo my_raid\n", Mark::No),
            ("RUN modinfo my_raid\n", Mark::No),
            ("", Mark::No),
        ] {
            let from = match text.starts_with("COPY") {
                true => "FROM quay.io/x@sha256:1 AS drivers\nFROM configs AS final\n",
                false => "FROM configs AS final\n",
            };
            let text = text.replace("COPY ", "COPY --from=drivers /");
            let content = format!("{from}{text}{rebuild}");
            let verdict = judge(&of(&content), "my_raid", Some("6"), &below);
            assert_eq!(verdict.mark(), mark, "{text}: {verdict}");
        }
    }

    #[test]
    fn a_driver_that_is_taken_away_is_not_there() {
        let there = Verdict::holds("it is there", Vec::new());
        let remove = "FROM configs AS final\nRUN rm /usr/lib/modules/6/extra/my-raid.ko.xz && \
            depmod -a 6 && DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible --kver 6 \
            /usr/lib/modules/6/initramfs.img && ostree container commit\n";
        let verdict = judge(&of(remove), "my_raid", Some("6"), &there);
        assert_eq!(verdict.mark(), Mark::No, "{verdict}");
        assert!(verdict.to_string().contains("removes my_raid"), "{verdict}");
    }

    #[test]
    fn what_is_not_touched_stays_as_it_is() {
        let cluster = of("FROM configs AS final\nRUN touch /etc/x\n");
        let base = [
            (Verdict::fails("it is missing"), Mark::No),
            (Verdict::open("who knows"), Mark::Doubt),
            (Verdict::holds("it is there", Vec::new()), Mark::Yes),
        ];
        for (base, mark) in base {
            assert_eq!(judge(&cluster, "raid", None, &base).mark(), mark);
        }
    }
}
