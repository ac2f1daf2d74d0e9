//! A policy's specs, indexed, and the lookup.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};

use super::FileKind;
use super::effort::Effort;
use super::pattern::{Pattern, is_exact};
use super::subs::Subs;
use crate::tree::Tree;

/// Largest policy text file; Fedora's `file_contexts` has 400 KB.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Most specs in one policy; Fedora's has some 7 000.
const SPECS_MAX: usize = 1 << 16;

/// Longest field of a spec, as in libselinux.
const FIELD_MAX_BYTES: usize = 0xfffe;

/// How many characters of a field messages show.
const SHOWN_MAX: usize = 200;

/// What stands for "no label" instead of a context.
const NO_CONTEXT: &str = "<<none>>";

/// A spec whose regular expression was needed and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: unusable regular expression {regex:?}: {reason}")]
pub struct SpecError {
    /// File and line.
    pub place: String,
    /// The expression as written.
    pub regex: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The labels of a policy, from its text files.
#[derive(Debug)]
pub struct Policy {
    /// In the order of precedence: the last that matches wins. Exact paths come last.
    specs: Vec<Spec>,
    /// Literal specs by path; positions in `specs`, ascending.
    literal: HashMap<Box<[u8]>, Vec<u32>>,
    /// All other specs by [`index_key`]; positions in `specs`, ascending.
    by_key: HashMap<Box<[u8]>, Vec<u32>>,
    subs: Subs,
    effort: Effort,
    /// Of the specs that [`Policy::label`] needed and could not use, the first.
    unusable: Mutex<Option<(u32, SpecError)>>,
}

#[derive(Debug)]
struct Spec {
    source: Box<str>,
    pattern: Pattern,
    kind: Option<FileKind>,
    /// None for `<<none>>`.
    context: Option<Arc<[u8]>>,
    place: Place,
}

/// Where a spec was written.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: &'static str,
    line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} line {}", self.file, self.line)
    }
}

impl Policy {
    /// The policy of a tree, read from `selinux/config` and `selinux/<type>/contexts/files` below
    /// `etc` (`usr/etc` in an ostree commit).
    ///
    /// None if the tree has no policy: no configuration, one that says neither `enforcing` nor
    /// `permissive`, or nothing installed for the type it names.
    pub fn from_tree(tree: &Tree, etc: &str) -> anyhow::Result<Option<Self>> {
        let Some(config) = text(tree, &format!("{etc}/selinux/config"))? else {
            return Ok(None);
        };
        let config = Config::parse(&config);
        if !config.enabled {
            return Ok(None);
        }
        let kind = config
            .policy_type
            .with_context(|| format!("{etc}/selinux/config names no SELINUXTYPE"))?;
        ensure!(
            !kind.is_empty() && !kind.contains('/') && kind != "." && kind != "..",
            "{etc}/selinux/config: SELINUXTYPE {kind:?} is not the name of a directory"
        );
        let directory = format!("{etc}/selinux/{kind}");
        if tree.lookup(&directory).is_none() {
            return Ok(None);
        }
        let base = format!("{directory}/contexts/files/file_contexts");
        let part = |suffix: &str| text(tree, &format!("{base}{suffix}"));
        let Some(file_contexts) = part("")? else {
            bail!("SELinux policy {kind:?} of the tree has no {base}");
        };
        let policy = Self::parse(
            &file_contexts,
            part(".homedirs")?.as_deref(),
            part(".local")?.as_deref(),
            part(".subs")?.as_deref(),
            part(".subs_dist")?.as_deref(),
        )
        .with_context(|| format!("reading SELinux policy {directory}"))?;
        ensure!(
            policy.try_label(b"/", FileKind::Directory)?.is_some(),
            "SELinux policy {directory} gives no label to /"
        );
        Ok(Some(policy))
    }

    /// The policy made of these files' texts.
    pub fn parse(
        file_contexts: &str,
        homedirs: Option<&str>,
        local: Option<&str>,
        subs: Option<&str>,
        subs_dist: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut contexts = HashMap::new();
        let mut specs = Vec::new();
        let mut exact = Vec::new();
        for (file, text) in [
            ("file_contexts", Some(file_contexts)),
            ("file_contexts.homedirs", homedirs),
            ("file_contexts.local", local),
        ] {
            // Lines end in a line feed only; a carriage return is white space like any other.
            for (line, number) in text.unwrap_or_default().split('\n').zip(1..) {
                let place = Place { file, line: number };
                let spec = Spec::parse(line, place, &mut contexts)
                    .with_context(|| format!("parsing {place}"))?;
                match spec {
                    Some(spec) if is_exact(&spec.source) => exact.push(spec),
                    Some(spec) => specs.push(spec),
                    None => {}
                }
                ensure!(
                    specs.len() + exact.len() <= SPECS_MAX,
                    "{place}: more than {SPECS_MAX} specs"
                );
            }
        }
        specs.append(&mut exact);
        Ok(Self::index(specs, Subs::parse(subs, subs_dist)?))
    }

    fn index(specs: Vec<Spec>, subs: Subs) -> Self {
        let mut policy = Self {
            literal: HashMap::new(),
            by_key: HashMap::new(),
            specs,
            subs,
            effort: Effort::default(),
            unusable: Mutex::new(None),
        };
        for (position, spec) in (0u32..).zip(&policy.specs) {
            let literal = spec.pattern.literal();
            let (map, key) = if spec.pattern.is_literal() {
                (&mut policy.literal, literal)
            } else {
                (&mut policy.by_key, index_key(literal))
            };
            map.entry(key.into()).or_default().push(position);
        }
        policy
    }

    /// The context of an absolute path such as `/usr/bin/ls`, without trailing NUL; None if no spec
    /// matches, or one does that says `<<none>>`.
    ///
    /// None, too, where a spec would have to be consulted that cannot be: ask [`Policy::check`] once
    /// everything is labelled.
    pub fn label(&self, path: &[u8], kind: FileKind) -> Option<Arc<[u8]>> {
        match self.search(path, kind) {
            Ok(spec) => spec.and_then(|spec| spec.context.clone()),
            Err(found) => {
                let mut unusable = self.unusable.lock().unwrap_or_else(PoisonError::into_inner);
                if unusable.as_ref().is_none_or(|(first, _)| found.0 < *first) {
                    *unusable = Some(found);
                }
                None
            }
        }
    }

    /// An error if [`Policy::label`] ever needed a spec that cannot be used; then labels are missing.
    pub fn check(&self) -> Result<(), SpecError> {
        let unusable = self.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        unusable
            .as_ref()
            .map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    /// As [`Policy::label`], but with the error at once.
    pub fn try_label(&self, path: &[u8], kind: FileKind) -> Result<Option<Arc<[u8]>>, SpecError> {
        let spec = self.search(path, kind).map_err(|(_, error)| error)?;
        Ok(spec.and_then(|spec| spec.context.clone()))
    }

    /// The last spec that matches; an error if one comes after it that cannot be used.
    fn search(&self, path: &[u8], kind: FileKind) -> Result<Option<&Spec>, (u32, SpecError)> {
        let path = self.subs.apply(clean(path));
        let mut search = Search {
            specs: &self.specs,
            effort: &self.effort,
            path: &path,
            kind,
            best: None,
            unusable: None,
        };
        search.among(self.literal.get(&*path));
        if let [before @ .., b'\n'] = &*path {
            search.among(self.literal.get(before));
        }
        search.among(self.by_key.get(&b""[..]));
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            search.among(self.by_key.get(&path[..=at]));
            if at + 1 < path.len() {
                search.among(self.by_key.get(&path[..=at + 1]));
            }
        }
        search.finish()
    }
}

/// The part of a spec's literal beginning under which it is filed: the directories in full, and one
/// byte of the name in the last of them. A path can be compared with every prefix of its own that
/// has this form.
fn index_key(literal: &[u8]) -> &[u8] {
    match literal.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &literal[..literal.len().min(slash + 2)],
        None => b"",
    }
}

/// Without repeated slashes and without one at the end.
fn clean(path: &[u8]) -> Cow<'_, [u8]> {
    let mut path = Cow::Borrowed(path);
    if path.windows(2).any(|pair| pair == b"//") {
        path.to_mut().dedup_by(|b, a| *a == b'/' && *b == b'/');
    }
    match path {
        Cow::Borrowed([rest @ .., b'/']) if !rest.is_empty() => Cow::Borrowed(rest),
        Cow::Owned(mut bytes) => {
            if bytes.len() > 1 && bytes.last() == Some(&b'/') {
                bytes.pop();
            }
            Cow::Owned(bytes)
        }
        path => path,
    }
}

/// The search for the last spec that matches a path.
struct Search<'policy, 'path> {
    specs: &'policy [Spec],
    effort: &'policy Effort,
    path: &'path [u8],
    kind: FileKind,
    best: Option<u32>,
    /// The last spec that should have been consulted and could not.
    unusable: Option<(u32, SpecError)>,
}

impl<'policy> Search<'policy, '_> {
    /// Looks through positions that are given in ascending order.
    fn among(&mut self, positions: Option<&Vec<u32>>) {
        for &position in positions.into_iter().flatten().rev() {
            if self.best.is_some_and(|best| best > position) {
                return;
            }
            let spec = &self.specs[position as usize];
            if spec.kind.is_some_and(|kind| kind != self.kind) {
                continue;
            }
            // From here on, nothing is compared any more.
            if let Err(reason) = self.effort.comparison() {
                self.unusable = Some((position, spec.error(&reason)));
                return;
            }
            match spec.pattern.matches(self.path, self.effort) {
                Ok(false) => {}
                Ok(true) => {
                    self.best = Some(position);
                    return;
                }
                Err(reason) => {
                    if self.unusable.as_ref().is_none_or(|(at, _)| *at < position) {
                        self.unusable = Some((position, spec.error(reason)));
                    }
                }
            }
        }
    }

    fn finish(self) -> Result<Option<&'policy Spec>, (u32, SpecError)> {
        match self.unusable {
            Some(found) if self.best.is_none_or(|best| best < found.0) => Err(found),
            _ => Ok(self.best.map(|best| &self.specs[best as usize])),
        }
    }
}

impl Spec {
    /// The spec on a line; None for empty lines and comments.
    fn parse<'a>(
        line: &'a str,
        place: Place,
        contexts: &mut HashMap<&'a str, Arc<[u8]>>,
    ) -> anyhow::Result<Option<Self>> {
        // White space as isspace(3) has it, the vertical tab included.
        let mut fields = line
            .split(|c: char| c.is_ascii_whitespace() || c == '\x0b')
            .filter(|field| !field.is_empty());
        let Some(source) = fields.next().filter(|field| !field.starts_with('#')) else {
            return Ok(None);
        };
        let (kind, context) = match (fields.next(), fields.next()) {
            (Some(kind), Some(context)) => {
                let known = FileKind::from_field(kind)
                    .with_context(|| format!("{:?} is no file type", shown(kind)))?;
                (Some(known), context)
            }
            (Some(context), None) => (None, context),
            (None, _) => bail!("{:?} has no context", shown(source)),
        };
        ensure!(
            source.len() <= FIELD_MAX_BYTES && context.len() <= FIELD_MAX_BYTES,
            "a field has more than {FIELD_MAX_BYTES} bytes"
        );
        let context = (context != NO_CONTEXT).then(|| {
            Arc::clone(
                contexts
                    .entry(context)
                    .or_insert_with(|| context.as_bytes().into()),
            )
        });
        Ok(Some(Self {
            pattern: Pattern::new(source),
            source: source.into(),
            kind,
            context,
            place,
        }))
    }

    fn error(&self, reason: &str) -> SpecError {
        SpecError {
            place: self.place.to_string(),
            regex: shown(&self.source),
            reason: reason.to_owned(),
        }
    }
}

/// The beginning of a field, for messages.
fn shown(field: &str) -> String {
    field.chars().take(SHOWN_MAX).collect()
}

/// What `selinux/config` says, read the way ostree reads it.
struct Config<'a> {
    enabled: bool,
    policy_type: Option<&'a str>,
}

impl<'a> Config<'a> {
    fn parse(text: &'a str) -> Self {
        let mut config = Self {
            enabled: false,
            policy_type: None,
        };
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("SELINUXTYPE=") {
                config.policy_type = Some(value.trim_ascii());
            } else if let Some(value) = line.strip_prefix("SELINUX=") {
                let value = value.to_ascii_lowercase();
                config.enabled |= value.starts_with("enforcing") || value.starts_with("permissive");
            }
        }
        config
    }
}

/// The text of a file of the tree; None if there is no such regular file.
fn text(tree: &Tree, path: &str) -> anyhow::Result<Option<String>> {
    let Some(content) = tree.file(path) else {
        return Ok(None);
    };
    let bytes = content
        .to_vec(FILE_MAX_BYTES)
        .with_context(|| format!("reading {path}"))?;
    let text = String::from_utf8(bytes)
        .ok()
        .with_context(|| format!("{path} is not text"))?;
    Ok(Some(text))
}
