//! What the recipes tell people to type is what this program takes.

use std::process::Command;

use clap::{CommandFactory, Parser};

use super::super::Cli;
use crate::openshift::Role;
use crate::openshift::paths::{BakedFile, Facts, Path, Recipe, recipe};

/// On both sides of what changes between releases.
const RELEASES: [&str; 5] = ["4.16", "4.19", "4.21", "4.22", "5.0"];

fn facts(release: &str, architecture: &str, url: &str) -> Facts {
    let file = |(role, name): (&str, &str)| BakedFile {
        role: role.to_owned(),
        name: name.to_owned(),
        size: 1,
        sha256: "1".repeat(64),
        uncompressed_sha256: None,
    };
    let image = format!("quay.io/me/os@sha256:{}", "a".repeat(64));
    Facts {
        release: release.parse().unwrap(),
        architecture: architecture.to_owned(),
        os_version: "9.6.1".to_owned(),
        media: "my media".to_owned(),
        files: [
            ("iso", "a.iso"),
            ("kernel", "a-kernel"),
            ("initramfs", "a-initramfs.img"),
            ("rootfs", "a-rootfs.img"),
            ("qcow2", "a.qcow2"),
        ]
        .map(file)
        .to_vec(),
        url: Some(url.to_owned()),
        os_image: Some(image.parse().unwrap()),
        media_are_os_image: true,
        directory: "-install".to_owned(),
        cluster: None,
        base_domain: None,
        roles: vec![Role::Bootstrap, Role::Master],
        disk: Some("/dev/sda".to_owned()),
        live_kargs: vec!["console=ttyS0".to_owned()],
        dest_kargs: vec!["acme.debug=1".to_owned()],
        prepare_options: vec![
            "--driver-option=acme:lanes=4".to_owned(),
            "--anonymous-pull".to_owned(),
        ],
    }
}

fn recipes() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for path in Path::ALL {
        for release in RELEASES {
            for (architecture, url) in [
                ("x86_64", "http://192.168.1.5:8080"),
                ("ppc64le", "http://[fd00::5]"),
            ] {
                recipes.push(recipe(path, &facts(release, architecture, url)).unwrap());
            }
        }
    }
    recipes
}

/// The words that a shell makes of a command.
fn words(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\0' {command}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{command}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn every_command_of_ours_parses() {
    let mut seen = std::collections::BTreeSet::new();
    for recipe in recipes() {
        for command in recipe.steps.iter().flat_map(|step| &step.commands) {
            if !command.starts_with("coreos-bake ") {
                assert!(
                    !command.contains("coreos-bake "),
                    "{command} is not looked at"
                );
                continue;
            }
            let words = words(command);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{command}: {error}");
            }
            seen.insert(words[1].clone());
        }
    }
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen, ["hosts", "prepare", "serve"]);
    assert!(Cli::try_parse_from(["coreos-bake", "serve", "a", "--lisp"]).is_err());
}

/// Sentences name options too: `bake --ignition-area`, `prepare --output`.
#[test]
fn every_option_in_a_sentence_is_there() {
    let cli = Cli::command();
    let mut seen = 0;
    for recipe in recipes() {
        let texts = recipe
            .steps
            .iter()
            .map(|step| &step.text)
            .chain(&recipe.warnings);
        for text in texts {
            let words: Vec<&str> = text
                .split_whitespace()
                .map(|word| word.trim_matches(|c| "(),.;:".contains(c)))
                .collect();
            for pair in words.windows(2) {
                let (Some(command), Some(option)) =
                    (cli.find_subcommand(pair[0]), pair[1].strip_prefix("--"))
                else {
                    continue;
                };
                let is_there = command
                    .get_arguments()
                    .any(|argument| argument.get_long() == Some(option));
                assert!(is_there, "{text}");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}
