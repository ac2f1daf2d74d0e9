//! A Containerfile as stages and steps, read with `parse-dockerfile`.
//!
//! Lines are counted from one. Variables are resolved where the text alone says their value.

use std::collections::BTreeMap;

use parse_dockerfile::{Command as Arguments, Flag, HereDoc, Instruction, RunInstruction, Source};

use super::heredoc::{Blanked, blank};
use super::refusal::Refusal;
use super::script::{Script, Variables};
use super::shell::{Command, assignment, commands, words};

/// The API takes 4096 characters; whoever hands over more than this has named the wrong file.
const MAX_BYTES: usize = 1 << 20;
/// Same reason; messages also stay within what a person looks at.
const MAX_LINES: usize = 20_000;

/// A Containerfile.
pub(super) struct File {
    /// Lines of `ARG` before the first stage.
    pub(super) global_arguments: Vec<u32>,
    pub(super) stages: Vec<Stage>,
}

/// `FROM` and what follows.
pub(super) struct Stage {
    pub(super) line: u32,
    /// The image or stage as written.
    pub(super) base: String,
    /// `--platform` is given.
    pub(super) platform: bool,
    pub(super) name: Option<String>,
    pub(super) steps: Vec<Step>,
    variables: BTreeMap<String, String>,
}

/// An instruction and its line.
pub(super) struct Step {
    pub(super) line: u32,
    pub(super) action: Action,
}

pub(super) enum Action {
    Run(Run),
    Copy(Copy),
    /// `ENV`: names and values.
    Env(Vec<(String, String)>),
    /// `ARG`: a name, and its default.
    Arg(String, Option<String>),
    User(String),
    /// An instruction that changes only how a container would be run, by name.
    Container(&'static str),
    /// `LABEL`, `SHELL`, `WORKDIR`, `MAINTAINER`.
    Other,
}

/// `RUN`.
pub(super) struct Run {
    pub(super) commands: Vec<Command>,
    /// Values of `--mount`.
    pub(super) mounts: Vec<String>,
}

/// `COPY` or `ADD`.
pub(super) struct Copy {
    pub(super) name: &'static str,
    pub(super) from: Option<String>,
    /// Sources that are paths or URLs.
    pub(super) sources: Vec<String>,
    /// Text of sources that are here-documents.
    pub(super) texts: Vec<String>,
    pub(super) destination: String,
}

impl File {
    /// Reads a Containerfile.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let text = checked(bytes)?;
        let escape = escape(text)?;
        let blanked = blank(text, escape)?;
        let parsed = parse_dockerfile::parse(&blanked.text).map_err(|error| Refusal {
            rule: "syntax",
            line: u32::try_from(error.line()).ok().filter(|&line| line > 0),
            message: one_line(&format!("{error:#}")),
        })?;
        let reader = Reader {
            text,
            blanked: &blanked,
            escape,
            starts: starts(text),
        };
        let global_arguments = parsed
            .instructions
            .iter()
            .map_while(|instruction| match instruction {
                Instruction::Arg(arg) => Some(reader.line(arg.arg.span.start)),
                _ => None,
            })
            .collect();
        let mut variables = Variables::new();
        let mut stages: Vec<Stage> = Vec::new();
        for stage in parsed.stages() {
            let base = stage.from.image.value.to_string();
            let known = stages
                .iter()
                .find(|earlier| earlier.is_named(&base))
                .map(|earlier| earlier.variables.clone());
            variables.restore(known.unwrap_or_default());
            let mut steps = Vec::new();
            for instruction in stage.instructions {
                reader.steps(instruction, &mut variables, &mut steps);
            }
            stages.push(Stage {
                line: reader.line(stage.from.from.span.start),
                base,
                platform: stage
                    .from
                    .options
                    .iter()
                    .any(|f| f.name.value == "platform"),
                name: stage
                    .from
                    .as_
                    .as_ref()
                    .map(|(_, name)| name.value.to_string()),
                steps,
                variables: variables.values().clone(),
            });
        }
        Ok(Self {
            global_arguments,
            stages,
        })
    }

    /// An earlier stage by its name.
    pub(super) fn stage_before(&self, end: usize, name: &str) -> Option<usize> {
        self.stages[..end]
            .iter()
            .rposition(|stage| stage.is_named(name))
    }

    /// Stages that make up the last one, from its base on, by index.
    pub(super) fn chain(&self) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut next = self.stages.len().checked_sub(1);
        while let Some(index) = next {
            chain.push(index);
            next = self.stage_before(index, &self.stages[index].base);
        }
        chain.reverse();
        chain
    }
}

impl Stage {
    fn is_named(&self, name: &str) -> bool {
        self.name
            .as_deref()
            .is_some_and(|n| n.eq_ignore_ascii_case(name))
    }
}

fn checked(bytes: &[u8]) -> Result<&str, Refusal> {
    let refuse = |rule, message| Refusal {
        rule,
        line: None,
        message,
    };
    if bytes.len() > MAX_BYTES {
        let message = format!(
            "{} bytes are no Containerfile; {MAX_BYTES} are read at most",
            bytes.len()
        );
        return Err(refuse("too-large", message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!(
            "the byte at offset {} is not UTF-8 text",
            error.valid_up_to()
        );
        refuse("not-text", message)
    })?;
    if let Some(offset) = text.find('\0') {
        return Err(refuse(
            "not-text",
            format!("the byte at offset {offset} is NUL, this is not text"),
        ));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        let message = format!("{lines} lines are no Containerfile; {MAX_LINES} are read at most");
        return Err(refuse("too-large", message));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The character that continues lines; the directive has to be at the very top.
fn escape(text: &str) -> Result<char, Refusal> {
    let none = parse_dockerfile::parse_iter(text).err();
    if let Some(error) = none {
        return Err(Refusal {
            rule: "syntax",
            line: u32::try_from(error.line()).ok(),
            message: one_line(&format!("{error:#}")),
        });
    }
    for line in text.lines() {
        let Some((name, value)) = line.strip_prefix('#').and_then(|l| l.split_once('=')) else {
            break;
        };
        if name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            return Ok('`');
        }
    }
    Ok('\\')
}

/// Control characters would disturb the terminal, and the words of the file may be long.
fn one_line(message: &str) -> String {
    let shown = message.chars().filter(|c| !c.is_control());
    shown.take(200).collect()
}

/// Offsets at which lines begin.
fn starts(text: &str) -> Vec<usize> {
    let ends = text.bytes().enumerate().filter(|&(_, b)| b == b'\n');
    std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect()
}

struct Reader<'a> {
    text: &'a str,
    blanked: &'a Blanked,
    escape: char,
    starts: Vec<usize>,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> u32 {
        let number = self.starts.partition_point(|&start| start <= offset);
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// Appends the steps of one instruction: an `ENV` or `ARG` may be several.
    fn steps(
        &self,
        instruction: &Instruction<'_>,
        variables: &mut Variables,
        steps: &mut Vec<Step>,
    ) {
        let (at, action) = match instruction {
            Instruction::Run(run) => (run.run.span.start, Action::Run(self.run(run, variables))),
            Instruction::Copy(copy) => (
                copy.copy.span.start,
                Action::Copy(transfer(
                    "COPY",
                    &copy.options,
                    &copy.src,
                    &copy.dest.value,
                    variables,
                )),
            ),
            Instruction::Add(add) => (
                add.add.span.start,
                Action::Copy(transfer(
                    "ADD",
                    &add.options,
                    &add.src,
                    &add.dest.value,
                    variables,
                )),
            ),
            Instruction::Env(env) => {
                let pairs = pairs(&env.arguments.value, variables);
                for (name, value) in &pairs {
                    variables.set(name, value);
                }
                (env.env.span.start, Action::Env(pairs))
            }
            Instruction::Arg(arg) => {
                for word in words(&arg.arguments.value, variables) {
                    let (name, value) = match assignment(&word) {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (&*word, None),
                    };
                    if let Some(value) = &value {
                        variables.set(name, value);
                    }
                    let action = Action::Arg(name.to_owned(), value);
                    steps.push(Step {
                        line: self.line(arg.arg.span.start),
                        action,
                    });
                }
                return;
            }
            Instruction::User(user) => (
                user.user.span.start,
                Action::User(user.arguments.value.to_string()),
            ),
            Instruction::Cmd(i) => (i.cmd.span.start, Action::Container("CMD")),
            Instruction::Entrypoint(i) => {
                (i.entrypoint.span.start, Action::Container("ENTRYPOINT"))
            }
            Instruction::Expose(i) => (i.expose.span.start, Action::Container("EXPOSE")),
            Instruction::Healthcheck(i) => {
                (i.healthcheck.span.start, Action::Container("HEALTHCHECK"))
            }
            Instruction::Onbuild(i) => (i.onbuild.span.start, Action::Container("ONBUILD")),
            Instruction::Stopsignal(i) => {
                (i.stopsignal.span.start, Action::Container("STOPSIGNAL"))
            }
            Instruction::Volume(i) => (i.volume.span.start, Action::Container("VOLUME")),
            Instruction::Label(i) => (i.label.span.start, Action::Other),
            Instruction::Maintainer(i) => (i.maintainer.span.start, Action::Other),
            Instruction::Shell(i) => (i.shell.span.start, Action::Other),
            Instruction::Workdir(i) => (i.workdir.span.start, Action::Other),
            // A kind of instruction that a later release of the crate may know.
            _ => return,
        };
        steps.push(Step {
            line: self.line(at),
            action,
        });
    }

    fn run(&self, run: &RunInstruction<'_>, variables: &mut Variables) -> Run {
        let mounts = run
            .options
            .iter()
            .filter(|flag| flag.name.value == "mount")
            .filter_map(|flag| flag.value.as_ref())
            .map(|value| value.value.to_string())
            .collect();
        let before = variables.values().clone();
        let commands = match &run.arguments {
            Arguments::Exec(list) => self.exec(
                self.line(list.span.start),
                list.value
                    .iter()
                    .map(|word| word.value.to_string())
                    .collect(),
                variables,
            ),
            Arguments::Shell(shell) => match run.here_docs.first() {
                Some(document) => commands(&self.script(document), variables),
                None => {
                    let script = self.shell(run.run.span.start, shell.span.start, shell.value);
                    commands(&script, variables)
                }
            },
            _ => Vec::new(),
        };
        variables.restore(before);
        Run { commands, mounts }
    }

    fn exec(&self, line: u32, words: Vec<String>, variables: &mut Variables) -> Vec<Command> {
        let command = Command {
            line,
            words,
            ..Command::default()
        };
        let inner = command
            .inline_script()
            .map(|text| commands(&Script::verbatim(text, line), variables))
            .unwrap_or_default();
        std::iter::once(command).chain(inner).collect()
    }

    fn script(&self, document: &HereDoc<'_>) -> Script {
        Script::verbatim(&document.value, self.line(document.span.start))
    }

    fn shell(&self, keyword: usize, start: usize, text: &str) -> Script {
        let mut script = Script::joined(text, self.line(start), self.escape);
        if let Some(document) = self.blanked.documents.get(&self.line(keyword)) {
            script.append("\n", document.first_line);
            script.append(&self.text[document.bytes.clone()], document.first_line);
        }
        script
    }
}

fn transfer(
    name: &'static str,
    options: &[Flag<'_>],
    sources: &[Source<'_>],
    destination: &str,
    variables: &mut Variables,
) -> Copy {
    let mut expand = |text: &str| words(&format!("\"{text}\""), variables).concat();
    let from = options
        .iter()
        .find(|flag| flag.name.value == "from")
        .and_then(|flag| flag.value.as_ref())
        .map(|value| value.value.to_string());
    let mut paths = Vec::new();
    let mut texts = Vec::new();
    for source in sources {
        match source {
            Source::Path(path) => paths.push(expand(&path.value)),
            Source::HereDoc(document) => texts.push(document.value.to_string()),
            _ => {}
        }
    }
    Copy {
        name,
        from,
        sources: paths,
        texts,
        destination: expand(destination),
    }
}

/// `NAME=value …`, or the old `NAME value`.
fn pairs(text: &str, variables: &mut Variables) -> Vec<(String, String)> {
    let words = words(text, variables);
    let assigned: Vec<_> = words
        .iter()
        .filter_map(|word| assignment(word))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match (assigned.is_empty(), words.split_first()) {
        (true, Some((name, rest))) => vec![(name.clone(), rest.join(" "))],
        _ => assigned,
    }
}
