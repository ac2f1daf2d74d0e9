//! Small Containerfiles with one thing wrong each, and some with nothing wrong.

mod table;

use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use table::{RIGHT, WRONG};

use super::script::{Script, Variables};
use super::shell::commands;
use super::{Architecture, Entry, RULES, Remark, Severity, Wanted, line_of, lint, lint_entries};
use Severity::{Error, Warning};
use bake_referee::have;

const KERNEL: &str = "5.14.0-570.el9.x86_64";
const DRACUT: &str = "DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible --add-drivers acme_scsi --kver \"$kver\" \"/usr/lib/modules/$kver/initramfs.img\"";

/// Fills in what is the same in all: `@FROM`, `@KO`, `@KVER`, `@DRACUT`, `@END`.
fn filled(text: &str) -> String {
    text.replace("@FROM", "FROM configs AS final")
        .replace("@KO", "COPY --from=quay.io/acme/drv:1 /acme_scsi.ko /usr/lib/modules/5.14.0-570.el9.x86_64/extra/")
        .replace("@KVER", "kver=$(ls /usr/lib/modules)")
        .replace("@DRACUT", DRACUT)
        .replace("@END", "ostree container commit")
}

fn lint_text(text: &str) -> Vec<Remark> {
    let drivers = match filled(text).contains("acme") {
        true => vec!["acme-scsi".to_owned()],
        false => Vec::new(),
    };
    lint(
        filled(text).as_bytes(),
        &Wanted {
            drivers: &drivers,
            kernel: Some(KERNEL),
            ..Wanted::default()
        },
    )
}

#[test]
fn dracut_does_not_drop_what_the_image_below_has() {
    let drivers = ["acme-scsi".to_owned()];
    let rules = |text: &str, left_out: &[String]| {
        let wanted = Wanted {
            drivers: &drivers,
            kernel: Some(KERNEL),
            left_out,
        };
        let remarks = lint(filled(text).as_bytes(), &wanted);
        remarks.into_iter().map(|r| r.rule).collect::<Vec<_>>()
    };
    let dracut =
        "DRACUT_NO_XATTR=1 dracut -fN --reproducible /lib/modules/$kver/initramfs.img $kver";
    let again = format!("@FROM\nRUN @KVER && depmod $kver && {dracut} && @END\n");
    assert_eq!(rules(&again, &drivers), ["driver-dropped"]);
    assert_eq!(rules(&again, &[]), ["driver-left-to-base"]);
    let named = again.replace(
        "RUN",
        "RUN echo 'add_drivers+=\" acme_scsi \"' > /usr/lib/dracut/dracut.conf.d/90-x.conf &&",
    );
    assert_eq!(rules(&named, &drivers), ["driver-left-to-base"]);
    let untouched = "@FROM\nRUN touch /usr/share/x && @END\n";
    assert_eq!(rules(untouched, &drivers), ["driver-left-to-base"]);
}

#[test]
fn one_thing_wrong() {
    let mut failures = Vec::new();
    for &(rule, severity, line, text) in WRONG {
        let remarks = lint_text(text);
        let fits = match remarks.as_slice() {
            [one] => one.rule == rule && one.severity == severity && one.line.unwrap_or(0) == line,
            _ => false,
        };
        if !fits {
            failures.push(format!(
                "{rule} {severity:?} at {line} expected of\n{text}\ngot {remarks:#?}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn nothing_wrong() {
    for text in RIGHT {
        assert_eq!(lint_text(text), [], "{text}");
    }
}

#[test]
fn every_rule_is_tested() {
    let elsewhere = [
        "driver-dropped",
        "duplicate-entry",
        "entry-ignored",
        "entry-too-long",
        "no-noarch-entry",
        "too-large",
        "too-many-entries",
    ];
    let tested: BTreeSet<&str> = WRONG.iter().map(|w| w.0).chain(elsewhere).collect();
    assert_eq!(tested, RULES.iter().copied().collect());
    assert!(RULES.is_sorted());
}

fn rules(entries: &[(Architecture, &str)]) -> Vec<(&'static str, Severity)> {
    let entries: Vec<Entry<'_>> = entries
        .iter()
        .map(|&(architecture, text)| Entry {
            architecture,
            content: text.as_bytes(),
        })
        .collect();
    let remarks = lint_entries(&entries, &Wanted::default());
    remarks.into_iter().map(|r| (r.rule, r.severity)).collect()
}

#[test]
fn entries() {
    use Architecture::{Amd64, Arm64, NoArch, Ppc64le, S390x};
    let good = "FROM configs\n";
    assert_eq!(rules(&[]), []);
    assert_eq!(rules(&[(NoArch, good)]), []);
    assert_eq!(
        rules(&[(NoArch, good), (Amd64, "?")]),
        [("entry-ignored", Warning)]
    );
    assert_eq!(rules(&[(Arm64, good)]), [("no-noarch-entry", Error)]);
    assert_eq!(
        rules(&[(NoArch, good), (NoArch, good)]),
        [("duplicate-entry", Error)]
    );
    let all = [
        (NoArch, good),
        (Amd64, good),
        (Arm64, good),
        (Ppc64le, good),
        (S390x, good),
    ];
    assert_eq!(rules(&all)[0], ("too-many-entries", Error));
    assert_eq!(Architecture::parse("noarch"), Some(NoArch));
    assert_eq!(Architecture::parse("riscv64"), None);
}

#[test]
fn characters_not_bytes_are_counted() {
    let of = |count: usize| format!("FROM configs\n#{}", "ä".repeat(count - 14));
    assert_eq!(rules(&[(Architecture::NoArch, &of(4096))]), []);
    let remarks = lint(of(4097).as_bytes(), &Wanted::default());
    assert_eq!(remarks.len(), 1);
    assert_eq!(remarks[0].rule, "entry-too-long");
    assert!(
        remarks[0].message.contains("4097 characters"),
        "{}",
        remarks[0].message
    );
}

#[test]
fn too_much_text_is_one_error() {
    let bytes = format!("FROM configs\n#{}", "x".repeat(10 << 20));
    let lines = format!("FROM configs\n{}", "\n".repeat(100_000));
    let commands = format!("FROM configs\nRUN {}", "a;".repeat(5 << 20));
    for text in [bytes, lines, commands] {
        let found = lint(text.as_bytes(), &Wanted::default());
        assert_eq!(
            found.iter().map(|r| r.rule).collect::<Vec<_>>(),
            ["too-large"]
        );
    }
    let latin1 = lint(b"FROM configs\nLABEL a=\xe4\n", &Wanted::default());
    assert_eq!(latin1[0].rule, "not-text");
    assert!(
        latin1[0].message.contains("offset 21"),
        "{}",
        latin1[0].message
    );
}

#[test]
fn values_that_double_end() {
    let mut text = "FROM configs\nENV A=xxxxxxxxxxxxxxxx\n".to_owned();
    text += &"ENV A=$A$A\n".repeat(64);
    text += &format!("RUN {}\n", "echo $A;".repeat(1000));
    text += &format!("RUN {}\n", "$(".repeat(10_000));
    text += &format!("RUN {}\n", "bash -c \"".repeat(1000));
    let found = lint(text.as_bytes(), &Wanted::default());
    assert!(found.iter().any(|r| r.rule == "commit-missing"));
}

#[test]
fn json() {
    let remark = Remark::error("syntax", 3, "no").hint("yes");
    assert_eq!(
        serde_json::to_string(&remark).expect("a remark has only strings and numbers"),
        r#"{"line":3,"severity":"error","rule":"syntax","message":"no","hint":"yes"}"#
    );
}

/// Pieces that texts are made of, so that random ones get past the first word.
const PIECES: [&str; 60] = [
    "FROM configs\n",
    "FROM a AS b\n",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "SHELL ",
    "<<EOF",
    "<<-'E'",
    "EOF\n",
    "E\n",
    "\\\n",
    "\\",
    "`",
    "\n",
    " ",
    "\t",
    "#",
    "# escape=`\n",
    "\u{feff}",
    "\"",
    "'",
    "$(",
    ")",
    "${",
    "}",
    "$A",
    "[\"",
    "\", \"",
    "\"]",
    "[]",
    "--from=",
    "--mount=",
    "dracut ",
    "depmod ",
    "--kver ",
    "-fN ",
    "/usr/lib/modules/",
    "initramfs.img",
    "acme_scsi.ko",
    "dnf install ",
    "kernel-rt",
    "kmod-x ",
    "&&",
    "|",
    ";",
    ">",
    "<",
    "bash -c ",
    "xargs ",
    "A=",
    "é",
    "\r\n",
    "\\u12",
    "sed -i ",
    "cp -t ",
    "rpm-ostree override replace ",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let drivers = ["acme_scsi".to_owned()];
        let wanted = Wanted { drivers: &drivers, kernel: Some(KERNEL), ..Wanted::default() };
        lint(&bytes, &wanted);
    }

    #[test]
    fn random_instructions_are_read(pieces in proptest::collection::vec(select(&PIECES[..]), 0..60)) {
        let drivers = ["acme_scsi".to_owned()];
        let wanted = Wanted { drivers: &drivers, kernel: Some(KERNEL), ..Wanted::default() };
        for head in ["", "FROM configs\n"] {
            let text = format!("{head}{}", pieces.concat());
            let found = lint(text.as_bytes(), &wanted);
            prop_assert_eq!(&found, &lint(text.as_bytes(), &wanted));
            for remark in found {
                prop_assert!(RULES.contains(&remark.rule), "{}", remark.rule);
                prop_assert!(!remark.message.contains('\n'), "{}", remark.message);
            }
        }
    }
}

/// Pieces of which bash makes words; nothing in them is expanded.
const WORDS: [&str; 14] = [
    "a", "b c", "é", "'", "\"", "\\", "\\\n", " ", "\t", "#", "' '", "\"#\"", "\\\"", "--x=",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn bash_splits_the_same_words(pieces in proptest::collection::vec(select(&WORDS[..]), 0..12)) {
        if !have("bash") {
            return Ok(());
        }
        let text = format!("show {}", pieces.concat());
        let program = format!("show() {{ printf '%s\\0' \"$#\" \"$@\"; }}\n{text}\n");
        let run = std::process::Command::new("bash")
            .args(["--norc", "-c", &program])
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("bash was found");
        // A quote that is not closed is an error there, and here the rest of the text.
        if run.status.success() && run.stderr.is_empty() {
            let commands = commands(&Script::verbatim(&text, 1), &mut Variables::new());
            let words = commands[0].arguments();
            let ours = std::iter::once(words.len().to_string()).chain(words.iter().cloned());
            let ours: String = ours.map(|word| word + "\0").collect();
            prop_assert_eq!(String::from_utf8_lossy(&run.stdout), ours, "{}", text);
        }
    }
}

#[test]
fn a_printed_instruction_is_found_by_its_words() {
    let text = "FROM configs AS final\n\
        # RUN a\n\
        RUN a && \\\n\
        # why\n    \
            b  &&\\\n    c\n\
        RUN a\n";
    assert_eq!(line_of(text, "RUN a && b && c"), Some(3));
    assert_eq!(line_of(text, "RUN a"), Some(7));
    assert_eq!(line_of(text, "FROM configs AS final"), Some(1));
    assert_eq!(line_of(text, "RUN x"), None);
    assert_eq!(line_of(text, ""), None);
    assert_eq!(line_of("", "RUN a"), None);
}
