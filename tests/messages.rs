//! Everything the program says, in two files to be read as a whole: a change of words shows there as a change of
//! a line. `UPDATE=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

const HOUSE: &str = env!("CARGO_MANIFEST_DIR");

fn compare(name: &str, said: &str) {
    let kept = Path::new(HOUSE).join("tests/messages").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, said).unwrap();
    }
    let before = fs::read_to_string(&kept).unwrap_or_default();
    for (number, (is, was)) in said.lines().zip(before.lines()).enumerate() {
        assert_eq!(is, was, "{name}:{}; UPDATE=1 writes it anew", number + 1);
    }
    assert_eq!(said.len(), before.len(), "{name}; UPDATE=1 writes it anew");
}

/// Sources of the program, not of its tests, in the order of their paths.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "referee"].contains(&name) {
            sources(&path, found);
        } else if name.ends_with(".rs") && !["tests.rs", "fuzz.rs"].contains(&name) {
            found.push(path);
        }
    }
}

/// Literals with several words in them, except in attributes that only compilers read and in items for tests.
fn collect(tokens: TokenStream, texts: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                tokens.next_if(
                    |next| matches!(next, TokenTree::Punct(sign) if sign.as_char() == '!'),
                );
                let Some(TokenTree::Group(attribute)) = tokens.next_if(
                    |next| matches!(next, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket),
                ) else {
                    continue;
                };
                let text = attribute.stream().to_string();
                if text.replace(' ', "").starts_with("cfg(test)") {
                    // The item under it ends with its braces or its semicolon.
                    for token in tokens.by_ref() {
                        match token {
                            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                                break;
                            }
                            TokenTree::Punct(sign) if sign.as_char() == ';' => break,
                            _ => {}
                        }
                    }
                } else if !["doc", "allow", "expect"]
                    .iter()
                    .any(|of| text.starts_with(of))
                {
                    collect(attribute.stream(), texts);
                }
            }
            TokenTree::Group(group) => collect(group.stream(), texts),
            TokenTree::Literal(literal) => {
                let source = literal.to_string();
                if let Some(text) = text_of(&source)
                    && is_sentence(&text)
                {
                    texts.push(text);
                }
            }
            _ => {}
        }
    }
}

/// What is between the quotes, in one line: a backslash at the end of a line joins it with the next one.
fn text_of(source: &str) -> Option<String> {
    let is_raw = source.starts_with('r');
    let source = source.trim_start_matches('r').trim_matches('#');
    let text = source.strip_prefix('"')?.strip_suffix('"')?;
    let mut joined = String::new();
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            match joined.strip_suffix('\\') {
                Some(begun) if !is_raw => {
                    joined = begun.to_owned();
                    joined.push_str(line.trim_start());
                    continue;
                }
                _ => joined.push_str("\\n"),
            }
        }
        joined.push_str(line);
    }
    Some(joined)
}

/// Whether there are two words in a row, as in a message, and not in a key, a path or a format alone.
fn is_sentence(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let is_word = |word: &str| {
        let word = word.trim_matches([',', '.', ';', ':', '(', ')', '"', '\'', '`']);
        word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic() || c == '\'')
    };
    words
        .windows(2)
        .any(|pair| is_word(pair[0]) && is_word(pair[1]))
}

#[test]
fn messages_are_those_that_were_read() {
    let house = Path::new(HOUSE);
    let mut files = Vec::new();
    sources(&house.join("crates"), &mut files);
    sources(&house.join("src"), &mut files);
    let mut said = String::new();
    for file in files {
        let tokens: TokenStream = fs::read_to_string(&file).unwrap().parse().unwrap();
        let mut texts = Vec::new();
        collect(tokens, &mut texts);
        if !texts.is_empty() {
            let path = file.strip_prefix(house).unwrap();
            said += &format!("\n{}\n", path.display());
        }
        for text in texts {
            said += &format!("    {text}\n");
        }
    }
    assert!(said.lines().count() > 2000, "{said}");
    compare("sentences.txt", said.trim_start());
}

fn help(words: &[&str], said: &mut String) {
    let mut all = vec!["--color", "never"];
    all.extend(words);
    all.push("--help");
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-bake"))
        .args(all)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    said.push_str(&format!("== {}\n{text}\n", words.join(" ")));
    let commands = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    for line in commands {
        // Lines that go on with what a command does are further right.
        let name = line.strip_prefix("  ").unwrap().split(' ').next().unwrap();
        if !name.is_empty() && name != "help" {
            help(&[words, &[name]].concat(), said);
        }
    }
}

#[test]
fn help_is_that_which_was_read() {
    let mut said = String::new();
    help(&[], &mut said);
    compare("help.txt", &said);
}
