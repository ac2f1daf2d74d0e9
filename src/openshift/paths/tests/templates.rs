//! Templates against what the code knows, and the page that is made of them.

use std::collections::BTreeSet;

use super::{RELEASES, all, few, recipes, release, warns};
use crate::openshift::paths::templates::{common, directive, template};
use crate::openshift::paths::terms::Terms;
use crate::openshift::paths::{Facts, Path, recipe};
use crate::paragraph::Paragraph;
use crate::template::{fill, names};

const COMMON: &str = include_str!("../../../../recipes/common.txt");

/// The parts of `common.txt`.
fn parts() -> BTreeSet<&'static str> {
    let lines = COMMON.lines();
    lines
        .filter_map(|line| line.strip_prefix("@part "))
        .collect()
}

/// The lines of all templates.
fn lines() -> impl Iterator<Item = &'static str> {
    let paths = Path::ALL.into_iter().map(template);
    paths.chain([COMMON]).flat_map(str::lines)
}

/// What is behind a word with an `@`, in all templates.
fn all_behind(word: &str) -> BTreeSet<&'static str> {
    let found = lines().map(directive).filter(|(first, _)| *first == word);
    found.map(|(_, rest)| rest).collect()
}

#[test]
fn every_name_has_a_value_and_every_value_a_name() {
    let named: BTreeSet<&str> = lines().flat_map(names).collect();
    let terms = Terms::of(&all());
    let (values, _) = terms.names();
    let lets = all_behind("@let");
    let lets = lets.iter().map(|text| directive(text).0);
    let known: BTreeSet<&str> = values.into_iter().chain(lets).collect();
    assert_eq!(named, known);
}

#[test]
fn every_condition_is_known_and_asked_for() {
    let terms = Terms::of(&all());
    let asked = all_behind("@if");
    for condition in &asked {
        // One that is not known is a panic.
        terms.holds(condition);
    }
    for condition in terms.names().1 {
        assert!(asked.contains(condition), "{condition}");
    }
    assert_eq!(all_behind("@include"), parts());
    let known = [
        "@step",
        "@warning",
        "@file",
        "@content",
        "@end-file",
        "@if",
        "@else",
        "@end",
        "@each",
        "@include",
        "@let",
        "@part",
    ];
    for line in lines().filter(|line| line.starts_with('@') && !line.starts_with("@@")) {
        assert!(known.contains(&directive(line).0), "{line}");
    }
}

#[test]
fn nothing_is_left_of_a_template() {
    let without = |url: Option<&str>, disk: bool| {
        let url = url.map(str::to_owned);
        move || Facts {
            url: url.clone(),
            disk: disk.then(|| "/dev/sda".to_owned()),
            ..few()
        }
    };
    let mut all = recipes(all);
    all.extend(recipes(without(Some("https://a.example/b"), true)));
    for facts in [without(None, true)(), without(Some("http://a"), false)()] {
        for path in [Path::UpiIso, Path::ScaleUp] {
            all.push((path.to_string(), recipe(path, &facts).unwrap()));
        }
    }
    for (name, recipe) in all {
        let steps = recipe.steps.iter();
        let texts = steps.map(|step| &step.text).chain(&recipe.warnings);
        let whats = recipe.files.iter().map(|file| &file.what);
        for text in texts.chain(whats) {
            assert!(!text.is_empty() && !text.contains("  "), "{name}: {text:?}");
        }
        let all = serde_json::to_string(&recipe).unwrap();
        assert!(!all.contains("@@"), "{name}: {all}");
    }
}

/// Where a template asks for a release that the code decides on elsewhere as well.
#[test]
fn templates_and_code_mean_the_same_releases() {
    for (major, minor) in RELEASES {
        let release = release(major, minor);
        let of = |path| recipe(path, &Facts { release, ..all() }).unwrap();
        let overlays = warns(&of(Path::UpiIso), "has no OpenShift in it gets /usr");
        assert_eq!(overlays, release.bootstrap_overlays(), "{release}");
        let skew = warns(&of(Path::ScaleUp), "boot images that are too old");
        assert_eq!(skew, release.enforces_skew(), "{release}");
        let iso = warns(&of(Path::Ipi), "The installer keeps the ISO");
        assert_eq!(iso, release.bootstraps_from_iso(), "{release}");
    }
}

/// Something with a text: a step, a warning or a file.
struct Item {
    kind: (&'static str, &'static str),
    /// Under which conditions it is there at all.
    conditions: Vec<String>,
    text: String,
    commands: Vec<String>,
}

/// A template as the page has it: with all of its branches, and names for values.
#[derive(Default)]
struct Reader {
    items: Vec<Item>,
    lets: Vec<(&'static str, String)>,
    conditions: Vec<String>,
    /// Conditions of the text so far beside the item's own, and of the commands.
    said: (String, String),
    is_content: bool,
}

impl Reader {
    fn read(&mut self, text: &'static str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    fn named(&self, text: &str) -> String {
        fill(text, |name| {
            let mut lets = self.lets.iter().rev();
            let found = lets.find(|(known, _)| *known == name);
            Some(found.map_or(name.to_owned(), |(_, text)| text.clone()))
        })
    }

    fn line(&mut self, line: &'static str) {
        let (word, rest) = directive(line);
        match word {
            "@if" => self.conditions.push(rest.to_owned()),
            "@else" => {
                let condition = self.conditions.pop().unwrap();
                self.conditions.push(otherwise(&condition));
            }
            "@each" => self.conditions.push(format!("for each {rest}")),
            "@end" => drop(self.conditions.pop().unwrap()),
            "@include" => self.read(common(rest)),
            "@let" => {
                let (name, text) = directive(rest);
                let text = self.named(text);
                self.lets.push((name, text));
            }
            "@content" | "@end-file" => self.is_content = word == "@content",
            _ if self.is_content => {}
            "@step" | "@warning" | "@file" => {
                self.close();
                self.items.push(Item {
                    kind: (word, rest),
                    conditions: self.conditions.clone(),
                    text: String::new(),
                    commands: Vec::new(),
                });
                self.said = Default::default();
            }
            "@part" => unreachable!("{line}"),
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => self.words(line),
        }
    }

    fn words(&mut self, line: &str) {
        let named = self.named(line);
        let Some(item) = self.items.last_mut() else {
            return;
        };
        let own = self.conditions.strip_prefix(&item.conditions[..]);
        let own = own.unwrap_or_else(|| panic!("{line}: what has begun before goes on here"));
        let own = own.join(", ");
        if let Some(command) = named.strip_prefix("    ") {
            if self.said.1 != own {
                let condition = match own.is_empty() {
                    true => "in any case",
                    false => &own,
                };
                item.commands.push(format!("# {condition}:"));
            }
            item.commands.push(command.to_owned());
            self.said.1 = own;
            return;
        }
        if self.said.0 != own {
            self.close();
        }
        let text = &mut self.items.last_mut().unwrap().text;
        if !text.is_empty() {
            *text += " ";
        }
        if self.said.0 != own && !own.is_empty() {
            *text += &format!("[*{own}:* ");
        }
        *text += &named;
        self.said.0 = own;
    }

    /// Ends what is there under a condition only.
    fn close(&mut self) {
        if !self.said.0.is_empty() {
            self.items.last_mut().unwrap().text += "]";
            self.said.0.clear();
        }
    }
}

/// The condition of what is behind an `@else`.
fn otherwise(condition: &str) -> String {
    match condition.split_once(' ').unwrap() {
        ("with", what) => format!("without {}", what.replace(" and ", " or ")),
        ("from", release) => format!("before {}", release.trim_end_matches(" on")),
        ("not", place) => place.to_owned(),
        ("on", _) => format!("not {condition}"),
        other => panic!("{other:?}"),
    }
}

/// A path's section of the page.
fn section(path: Path) -> String {
    let mut reader = Reader::default();
    reader.read(template(path));
    reader.close();
    let mut out = format!("## `{path}`\n");
    let of_kind = |kind| {
        let items = reader.items.iter();
        items.filter(move |item| item.kind.0 == kind)
    };
    let paragraph = |first: &str, indent: usize, item: &Item| {
        let condition = match item.conditions.is_empty() {
            true => String::new(),
            false => format!("*{}:* ", item.conditions.join(", ")),
        };
        let rest = " ".repeat(indent);
        let paragraph = Paragraph {
            first,
            rest: &rest,
            columns: 120,
        };
        paragraph.of(&format!("{condition}{}", item.text))
    };
    let mut before = "";
    for (index, item) in of_kind("@step").enumerate() {
        if before != item.kind.1 {
            let when: crate::openshift::paths::When =
                serde_json::from_value(item.kind.1.into()).unwrap();
            out += &format!("\n**{}**\n", when.about());
            before = item.kind.1;
        }
        let first = format!("{}. ", index + 1);
        out += "\n";
        out += &paragraph(&first, first.len(), item);
        if !item.commands.is_empty() {
            out += "\n";
        }
        for command in &item.commands {
            out += &format!("{}    {command}\n", " ".repeat(first.len()));
        }
    }
    for (title, kind) in [("files", "@file"), ("mind", "@warning")] {
        if of_kind(kind).next().is_some() {
            out += &format!("\n**{title}**\n\n");
        }
        for item in of_kind(kind) {
            let name = reader.named(item.kind.1);
            out += &match kind {
                "@file" => paragraph(&format!("- `{name}`: "), 2, item),
                _ => paragraph("- ", 2, item),
            };
        }
    }
    out
}

/// What the page says of the paths is what the program says, for all releases and options.
#[test]
fn the_page_is_made_of_the_templates() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/install.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, _) = page.split_once("## `").unwrap();
    let sections = Path::ALL.map(section).join("\n");
    let made = format!("{head}{sections}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &made).unwrap();
        return;
    }
    assert!(
        page == made,
        "write it anew: UPDATE=1 cargo test --lib openshift::paths"
    );
}
