//! The templates in `recipes/`, and recipes made of them. `recipes/README.md` has what their lines mean.

use std::str::Lines;

use serde_json::Value;

use super::terms::Terms;
use super::{Path, Recipe, RecipeFile, Step};
use crate::openshift::manifest::yaml;

const COMMON: &str = include_str!("../../../recipes/common.txt");

/// The template of a path.
pub(super) fn template(path: Path) -> &'static str {
    match path {
        Path::UpiIso => include_str!("../../../recipes/upi-iso.txt"),
        Path::UpiPxe => include_str!("../../../recipes/upi-pxe.txt"),
        Path::Ipi => include_str!("../../../recipes/ipi.txt"),
        Path::Agent => include_str!("../../../recipes/agent.txt"),
        Path::Assisted => include_str!("../../../recipes/assisted.txt"),
        Path::Sno => include_str!("../../../recipes/sno.txt"),
        Path::ScaleUp => include_str!("../../../recipes/scale-up.txt"),
    }
}

/// A part that templates include.
pub(super) fn common(part: &str) -> &'static str {
    let mut parts = COMMON.split("\n@part ");
    let found = parts.find_map(|text| text.strip_prefix(part)?.strip_prefix('\n'));
    found.expect("templates include what is there")
}

/// What a line of a template says: its word with an `@`, if it begins with one, and the rest.
pub(super) fn directive(line: &str) -> (&str, &str) {
    line.split_once(' ').unwrap_or((line, ""))
}

/// The recipe of a path.
pub(super) fn recipe(path: Path, terms: Terms) -> Recipe {
    let mut lines = Vec::new();
    select(&mut template(path).lines(), true, true, &terms, &mut lines);
    let mut draft = Draft {
        recipe: Recipe {
            path,
            files: Vec::new(),
            steps: Vec::new(),
            warnings: Vec::new(),
        },
        terms,
        under_way: Part::Nothing,
    };
    for line in &lines {
        draft.take(line);
    }
    draft.recipe
}

/// The lines up to the end of the template or of what has an `@end`: with those of parts that are
/// included, without those whose condition doesn't hold, and for each role what is there for each.
/// `is_outside` is whether what is around them is wanted, `holds` whether their own condition holds.
fn select(
    lines: &mut Lines<'_>,
    is_outside: bool,
    holds: bool,
    terms: &Terms,
    out: &mut Vec<String>,
) {
    let mut is_wanted = is_outside && holds;
    while let Some(line) = lines.next() {
        match directive(line) {
            ("@end", _) => return,
            ("@else", _) => is_wanted = is_outside && !holds,
            ("@if", condition) => select(lines, is_wanted, terms.holds(condition), terms, out),
            ("@each", _) => {
                let mut body = Vec::new();
                select(lines, is_wanted, true, terms, &mut body);
                for role in terms.roles() {
                    out.extend(body.iter().map(|line| terms.of_role(line, role)));
                }
            }
            ("@include", part) => {
                select(&mut common(part).lines(), is_wanted, true, terms, out);
            }
            _ if is_wanted => out.push(line.to_owned()),
            _ => {}
        }
    }
}

/// What the next line goes on with.
enum Part {
    Nothing,
    Step,
    Warning,
    File,
    Content,
}

/// A recipe under way.
struct Draft {
    recipe: Recipe,
    terms: Terms,
    under_way: Part,
}

impl Draft {
    fn take(&mut self, line: &str) {
        let Self {
            recipe,
            terms,
            under_way,
        } = self;
        let text = match (&*under_way, directive(line)) {
            (Part::Content, ("@end-file", _)) => {
                let file = recipe.files.last_mut().expect("it has begun");
                file.content = finished(&file.name, std::mem::take(&mut file.content), terms);
                *under_way = Part::Nothing;
                return;
            }
            (Part::Content, _) => {
                let file = recipe.files.last_mut().expect("it has begun");
                file.content += &match is_data(&file.name) {
                    true => terms.data(line),
                    false => terms.prose(line),
                };
                file.content.push('\n');
                return;
            }
            (_, ("@step", when)) => {
                recipe.steps.push(Step {
                    when: serde_json::from_value(Value::from(when)).expect("a time"),
                    text: String::new(),
                    commands: Vec::new(),
                });
                *under_way = Part::Step;
                return;
            }
            (_, ("@warning", _)) => {
                recipe.warnings.push(String::new());
                *under_way = Part::Warning;
                return;
            }
            (_, ("@file", name)) => {
                recipe.files.push(RecipeFile {
                    name: terms.prose(name),
                    content: String::new(),
                    what: String::new(),
                });
                *under_way = Part::File;
                return;
            }
            (_, ("@content", _)) => {
                *under_way = Part::Content;
                return;
            }
            (_, ("@let", rest)) => {
                let (name, text) = directive(rest);
                let text = terms.command(text);
                terms.set(name, text);
                return;
            }
            (Part::Nothing, _) => return,
            _ if line.is_empty() || line.starts_with('#') => return,
            (Part::Step, _) => {
                let step = recipe.steps.last_mut().expect("it has begun");
                if let Some(command) = line.strip_prefix("    ") {
                    step.commands.push(terms.command(command));
                    return;
                }
                &mut step.text
            }
            (Part::Warning, _) => recipe.warnings.last_mut().expect("it has begun"),
            (Part::File, _) => &mut recipe.files.last_mut().expect("it has begun").what,
        };
        if !text.is_empty() {
            text.push(' ');
        }
        *text += &terms.prose(line);
    }
}

fn is_data(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".json")
}

/// A file's content as it is written: data all in the same way.
fn finished(name: &str, content: String, terms: &Terms) -> String {
    if !is_data(name) {
        return content;
    }
    let data = serde_saphyr::from_str(&content).expect("templates of data can be read");
    let data = filled(data, terms);
    match name.ends_with(".json") {
        true => format!("{data}\n"),
        false => yaml(&data),
    }
}

/// Data with its values, without keys that none was for.
fn filled(data: Value, terms: &Terms) -> Value {
    match data {
        Value::String(text) => terms.fill(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| filled(item, terms)).collect(),
        Value::Object(map) => {
            let map = map.into_iter().filter(|(_, value)| !value.is_null());
            map.map(|(key, value)| (terms.fill(&key), filled(value, terms)))
                .collect()
        }
        other => other,
    }
}
