use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use regex::Regex;

use super::{Failure, sentence};
use crate::image::ImageError;

#[derive(Debug, thiserror::Error)]
#[error("reading a: {0}")]
struct Repeats(#[source] io::Error);

#[test]
fn causes_are_said_once() {
    let cause = || io::Error::other("the disk is gone");
    assert_eq!(sentence(&Repeats(cause())), "reading a: the disk is gone");
    let outer = anyhow::Error::new(Repeats(cause())).context("baking b");
    assert_eq!(sentence(&*outer), "baking b: reading a: the disk is gone");
    let plain = Err::<(), _>(cause()).context("reading c").unwrap_err();
    assert_eq!(sentence(&*plain), "reading c: the disk is gone");
    assert_eq!(sentence(&Failure::new("no", "do")), "no");
}

fn sources_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources_below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// An attribute `#[error(…)]` with the variant or struct under it, up to the next such attribute.
fn error_definitions(text: &str) -> Vec<&str> {
    let start = Regex::new(r"(?m)^\s*#\[error\(").unwrap();
    let starts: Vec<usize> = start.find_iter(text).map(|found| found.start()).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let end = Regex::new(r"(?m)^}").unwrap();
    starts
        .iter()
        .zip(ends)
        .map(|(&start, stop)| {
            let definition = &text[start..stop];
            let stop = end
                .find(definition)
                .map_or(definition.len(), |found| found.start());
            &definition[..stop]
        })
        .collect()
}

/// Whether an error hands its cause on, and has it in its own text as well.
fn repeats_its_cause(definition: &str) -> bool {
    let (text, fields) = definition.split_once(")]\n").unwrap_or((definition, ""));
    if text.contains("error(transparent") {
        return false;
    }
    let by_number = Regex::new(r"\(\s*#\[(from|source)\]").unwrap();
    let by_name = Regex::new(r"(?m)^\s*source: ").unwrap();
    let marked = Regex::new(r"#\[(?:from|source)\]\s*(?:pub )?(\w+): ").unwrap();
    (by_number.is_match(fields) && text.contains("{0"))
        || (by_name.is_match(fields) && text.contains("{source"))
        || marked
            .captures(fields)
            .is_some_and(|found| text.contains(&format!("{{{}", &found[1])))
}

/// `sentence` would hide it, but other users of the library print a chain in their own way.
#[test]
fn no_error_of_ours_has_its_cause_in_its_text() {
    let mut files = Vec::new();
    let house = Path::new(env!("CARGO_MANIFEST_DIR"));
    for rooms in ["src", "crates"] {
        sources_below(&house.join(rooms), &mut files);
    }
    let mut looked_at = 0;
    for file in files
        .iter()
        .filter(|file| !file.ends_with("failure/tests.rs"))
    {
        let text = fs::read_to_string(file).unwrap();
        for definition in error_definitions(&text) {
            looked_at += 1;
            assert!(
                !repeats_its_cause(definition),
                "{}: {definition}",
                file.display()
            );
        }
    }
    assert!(looked_at > 100, "only {looked_at} were found");
}

#[test]
fn the_search_for_repeating_errors_finds_them() {
    for repeating in [
        "#[error(\"no: {0}\")]\nNo(#[source] io::Error),",
        "#[error(\"no: {0}\")]\nNo(#[from] io::Error),",
        "#[error(\"no {a}: {source}\")]\nNo {\n  a: u8,\n  source: io::Error,\n},",
        "#[error(\"no {cause:#}\")]\nNo {\n  #[source]\n  cause: io::Error,\n},",
    ] {
        assert!(repeats_its_cause(repeating), "{repeating}");
    }
    for once in [
        "#[error(transparent)]\nNo(#[from] io::Error),",
        "#[error(\"no: {0}\")]\nNo(io::Error),",
        "#[error(\"no {a}\")]\nNo {\n  a: u8,\n  source: io::Error,\n},",
    ] {
        assert!(!repeats_its_cause(once), "{once}");
    }
}

/// A chain as it is made in this program, of the type with the most causes.
#[test]
fn chains_of_images_repeat_nothing() {
    let cause = || io::Error::other("connection reset");
    let errors = [
        ImageError::Reading {
            object: "layer 1".to_owned(),
            source: cause(),
        },
        ImageError::Decompressing {
            object: "layer 1".to_owned(),
            source: cause(),
        },
        ImageError::GaveUp {
            registry: "quay.io".to_owned(),
            object: "layer 1".to_owned(),
            attempts: 3,
            source: cause().into(),
        },
    ];
    for error in errors {
        let error = anyhow::Error::new(error).context("reading image docker://quay.io/a/b:c");
        let told = format!("{error:#}");
        assert_eq!(told, sentence(&*error));
        assert_eq!(told.matches("connection reset").count(), 1, "{told}");
    }
}
