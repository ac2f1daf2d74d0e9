//! Is the driver in the image, and is the initramfs made anew behind the last change?

use std::collections::BTreeSet;

use super::changes::{Certainty, Event, History, Kind};
use super::dracut::Call;
use super::heredoc::excerpt;
use super::packages::name;
use super::parse::{Action, File, Step};
use super::paths::normal;
use super::remark::{Remark, Severity};
use crate::kernel::{
    NAMING, OMITTING, canonical_name, dracut_line, listed_for_dracut, module_name,
};

/// The end of a RUN that does it right.
const REBUILD: &str = "RUN kver=$(ls /usr/lib/modules) && depmod -a \"$kver\" && DRACUT_NO_XATTR=1 dracut --force --no-hostonly --reproducible --kver \"$kver\" \"/usr/lib/modules/$kver/initramfs.img\" && ostree container commit";

/// The rule of the remark that a driver has to be in the image below, as no instruction brings it.
pub const LEFT_TO_BASE: &str = "driver-left-to-base";

/// What the image has to have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Kernel modules by name.
    pub drivers: &'a [String],
    /// Release of the kernel in the stage `configs`, if it is known.
    pub kernel: Option<&'a str>,
    /// Those of the drivers that are in the image below, but that its dracut leaves out of an
    /// initramfs unless they are named.
    pub left_out: &'a [String],
}

pub(super) fn check(file: &File, wanted: &Wanted<'_>) -> Vec<Remark> {
    let history = History::of(file);
    let mut remarks = builder_kernel(file, &history);
    remarks.extend(order(&history));
    remarks.extend(kernels(&history));
    let last = history
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            Kind::Dracut(call) => Some(call),
            _ => None,
        });
    let (settings, unseen) = dracut_settings(&history);
    if let Some(call) = last {
        remarks.extend(call.check(&settings, unseen));
    }
    remarks.extend(chmod(file));
    if let Some(release) = wanted.kernel {
        remarks.extend(other_releases(file, &history, release));
    }
    for driver in wanted.drivers {
        let left_out = wanted.left_out.contains(driver);
        remarks.extend(driver_remarks(
            &history, driver, last, &settings, unseen, left_out,
        ));
    }
    remarks
}

fn steps(file: &File) -> impl Iterator<Item = &Step> {
    file.chain()
        .into_iter()
        .flat_map(|index| &file.stages[index].steps)
}

/// `uname -r` in any stage, and programs of the last one that call it themselves.
fn builder_kernel(file: &File, history: &History) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for step in file.stages.iter().flat_map(|stage| &stage.steps) {
        let Action::Run(run) = &step.action else {
            continue;
        };
        let asks = |word: &String| match word.strip_prefix("--") {
            Some(long) => matches!(long, "kernel-release" | "all"),
            None => word.starts_with('-') && word.contains(['r', 'a']),
        };
        let unames = run
            .commands
            .iter()
            .filter(|c| c.name() == "uname" && c.arguments().iter().any(asks));
        remarks.extend(unames.map(|command| {
            Remark::error(
                "builder-kernel",
                command.line,
                "uname -r tells the release of the kernel that runs the build, not of the image's",
            )
            .hint("take the image's: $(ls /usr/lib/modules)")
        }));
    }
    for event in &history.events {
        match &event.kind {
            Kind::Dracut(call) => remarks.extend(call.check_kernel()),
            Kind::Depmod { given: false, .. } => remarks.push(
                Remark::error(
                    "builder-kernel",
                    event.line,
                    "depmod without a release takes that of the kernel that runs the build",
                )
                .hint("give it the image's: depmod -a \"$(ls /usr/lib/modules)\""),
            ),
            _ => {}
        }
    }
    remarks
}

/// depmod and dracut behind what they have to see.
fn order(history: &History) -> Vec<Remark> {
    let events = &history.events;
    let runs_dracut = |event: &Event| matches!(event.kind, Kind::Dracut(_) | Kind::Both(_));
    let runs_depmod = |event: &Event| matches!(event.kind, Kind::Depmod { .. } | Kind::Both(_));
    let dracut = events.iter().rposition(runs_dracut);
    let depmod = events.iter().rposition(runs_depmod);
    let mut remarks = Vec::new();
    if let Some(at) = unseen_change(events, dracut, false) {
        let what = "dracut is not run behind it, so that the initramfs does not know of it";
        remarks.extend(missing("dracut-missing", &events[at..], what));
    }
    if let Some(at) = unseen_change(events, depmod, true) {
        let what =
            "depmod is not run behind it, so that modprobe and dracut do not find the modules";
        remarks.extend(missing("depmod-missing", &events[at..], what));
    }
    if !remarks.is_empty() {
        return remarks;
    }
    let is_modules = |event: &Event| matches!(&event.kind, Kind::Change(change) if change.modules);
    let last = events.iter().rposition(is_modules);
    let indexed = last.and_then(|at| events.iter().skip(at).position(runs_depmod).map(|n| at + n));
    if let (Some(indexed), Some(dracut)) = (indexed, dracut)
        && dracut < indexed
    {
        remarks.push(
            Remark::error(
                "dracut-before-depmod",
                events[dracut].line,
                "dracut runs before depmod, so that it works with the old index of modules",
            )
            .hint("run depmod first"),
        );
    }
    remarks
}

/// The change behind `seen` that is surest, and of those the last.
fn unseen_change(events: &[Event], seen: Option<usize>, only_modules: bool) -> Option<usize> {
    let behind = seen.map_or(0, |at| at + 1);
    let changes = events.iter().enumerate().skip(behind).rev();
    changes
        .filter_map(|(at, event)| match &event.kind {
            Kind::Change(change) if change.modules || !only_modules => Some((change.certainty, at)),
            _ => None,
        })
        .min_by_key(|&(certainty, _)| certainty)
        .map(|(_, at)| at)
}

/// What to say of the change that `behind` begins with.
fn missing(rule: &'static str, behind: &[Event], what: &str) -> Option<Remark> {
    let event = behind.first()?;
    let Kind::Change(change) = &event.kind else {
        return None;
    };
    let script = behind.iter().find_map(|event| match &event.kind {
        Kind::Script(text) => Some(text),
        _ => None,
    });
    let subject = excerpt(&change.subject);
    let severity = match change.certainty {
        Certainty::Certain if script.is_none() => Severity::Error,
        Certainty::Certain | Certainty::Likely => Severity::Warning,
        Certainty::Possible => Severity::Note,
    };
    let unless = script.map(|text| format!(", and unless {:?} does it,", excerpt(text)));
    let message = match change.certainty {
        Certainty::Certain => {
            let but = unless.unwrap_or_else(|| ", but".to_owned());
            format!("{subject} changes what the kernel loads{but} {what}")
        }
        Certainty::Likely | Certainty::Possible => {
            let unless = unless.unwrap_or_default();
            format!("{subject} may bring kernel modules{unless}: {what}")
        }
    };
    let remark = Remark::new(severity, rule, event.line, message);
    Some(remark.hint(format!("end with: {REBUILD}")))
}

/// Another kernel than the one that modules were made for, and who makes its initramfs.
fn kernels(history: &History) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut modules: Option<&str> = None;
    for event in &history.events {
        match &event.kind {
            Kind::Change(change) if change.kernel => {
                if let Some(subject) = modules.take() {
                    remarks.push(
                        Remark::warning(
                            "kernel-after-modules",
                            event.line,
                            format!(
                                "{} exchanges the kernel after {} was put there for the one before",
                                excerpt(&change.subject),
                                excerpt(subject)
                            ),
                        )
                        .hint("exchange the kernel first, and add modules made for it"),
                    );
                }
            }
            Kind::Change(change) if change.modules => modules = Some(&change.subject),
            _ => {}
        }
    }
    // The last one that makes the initramfs counts.
    let by_tool = history
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            Kind::Both(tool) => Some(Some((event.line, tool))),
            Kind::Dracut(_) => Some(None),
            _ => None,
        })
        .flatten();
    if let Some((line, tool)) = by_tool {
        remarks.push(
            Remark::note(
                "initramfs-by-package-tool",
                line,
                format!("{tool} is believed to run depmod and dracut by itself; this depends on its release and was not verified"),
            )
            .hint("check the finished image: coreos-bake check <image> --driver <name>"),
        );
    }
    remarks
}

/// Known texts of dracut's settings, and whether there are others.
fn dracut_settings(history: &History) -> (Vec<String>, bool) {
    let of_dracut = || {
        history
            .settings
            .iter()
            .filter(|s| s.path.contains("dracut"))
    };
    let known = of_dracut().filter_map(|s| s.text.clone()).collect();
    (known, of_dracut().any(|s| s.text.is_none()))
}

fn chmod(file: &File) -> Vec<Remark> {
    let commands = steps(file).filter_map(|step| match &step.action {
        Action::Run(run) => Some(&run.commands),
        _ => None,
    });
    commands
        .flatten()
        .filter(|c| {
            c.name() == "chmod" && c.arguments().iter().any(|w| w.ends_with("/initramfs.img"))
        })
        .map(|command| {
            Remark::note(
                "chmod-needless",
                command.line,
                "the mode of initramfs.img in the image does not matter",
            )
            .hint("leave the chmod out")
        })
        .collect()
}

/// Releases written out that are not the kernel's.
fn other_releases(file: &File, history: &History, release: &str) -> Vec<Remark> {
    let mut found: BTreeSet<(u32, String)> = BTreeSet::new();
    let in_path = |path: &str| {
        let normal = normal(path);
        let rest = normal.strip_prefix("/usr/lib/modules/")?;
        Some(rest.split('/').next().unwrap_or(rest).to_owned())
    };
    for step in steps(file) {
        match &step.action {
            Action::Copy(copy) => {
                found.extend(in_path(&copy.destination).map(|r| (step.line, r)));
            }
            Action::Run(run) => {
                for command in &run.commands {
                    let words = command.words.iter().chain(&command.writes);
                    found.extend(words.filter_map(|w| in_path(w)).map(|r| (command.line, r)));
                }
            }
            _ => {}
        }
    }
    for event in &history.events {
        let named = match &event.kind {
            Kind::Depmod { kernel, .. } => kernel,
            Kind::Dracut(call) => &call.kernel,
            _ => continue,
        };
        found.extend(named.clone().map(|kernel| (event.line, kernel)));
    }
    let literal = |r: &str| {
        r.starts_with(|c: char| c.is_ascii_digit()) && !r.contains(['$', '*', '?', '[', '{'])
    };
    let other = found
        .into_iter()
        .filter(|(_, r)| literal(r) && r != release);
    other
        .map(|(line, other)| {
            Remark::error(
                "kernel-release-differs",
                line,
                format!("this is for kernel {}, but the image's is {}", excerpt(&other), excerpt(release)),
            )
            .hint("take modules made for the image's kernel, and its release from $(ls /usr/lib/modules)")
        })
        .collect()
}

fn driver_remarks(
    history: &History,
    driver: &str,
    last: Option<&Call>,
    settings: &[String],
    unseen: bool,
    left_out: bool,
) -> Vec<Remark> {
    let wanted = canonical_name(driver);
    let driver = excerpt(driver);
    let is_it = |name: &str| canonical_name(name) == wanted;
    let lists = |text: &str, options: &[&str]| {
        let names = listed_for_dracut(text, options);
        names.iter().any(|name| is_it(name))
    };
    let mut remarks = Vec::new();
    let omitted_by_call = last
        .filter(|call| call.omitted.iter().any(|n| is_it(n)))
        .map(|call| call.line);
    let omitted = history.settings.iter().find(|setting| {
        setting.path.contains("dracut")
            && setting
                .text
                .as_deref()
                .is_some_and(|text| lists(text, &[OMITTING]))
    });
    if let Some(line) = omitted_by_call.or(omitted.map(|setting| setting.line)) {
        remarks.push(
            Remark::error(
                "driver-omitted",
                line,
                format!("dracut is told to leave {driver} out of the initramfs"),
            )
            .hint("take it out of omit_drivers"),
        );
        return remarks;
    }
    let blocked = history.settings.iter().find(|setting| {
        setting.path.contains("modprobe.d")
            && setting
                .text
                .as_deref()
                .is_some_and(|text| blocks(text, &wanted))
    });
    if let Some(setting) = blocked {
        remarks.push(
            Remark::warning(
                "driver-blocked",
                setting.line,
                format!(
                    "{} keeps {driver} from being loaded",
                    excerpt(&setting.path)
                ),
            )
            .hint("take it out there"),
        );
    }
    let names_it = |word: &str| {
        let last = word.trim_end_matches('/').rsplit('/').next();
        module_name(word).is_some_and(|name| name == wanted) || is_it(last.unwrap_or(word))
    };
    let added = history
        .names
        .iter()
        .any(|word| names_it(word) || carries(word, &wanted));
    let removed = history
        .removed
        .iter()
        // A pattern behind the name is for the file's compression.
        .find(|(_, word)| names_it(word) || names_it(word.trim_end_matches(['*', '?'])));
    if let (Some((line, _)), false) = (removed, added) {
        remarks.push(
            Remark::error(
                "driver-removed",
                *line,
                format!("this removes {driver}, and nothing brings it back"),
            )
            .hint("leave the module where it is"),
        );
        return remarks;
    }
    let untold = last.filter(|call| {
        let told = settings.iter().any(|text| lists(text, &NAMING));
        !unseen && !told && !call.added.iter().any(|name| is_it(name))
    });
    let hint = format!(
        "write {} into a file of dracut.conf.d",
        dracut_line(&wanted)
    );
    if !added {
        if let Some(call) = untold.filter(|_| left_out) {
            remarks.push(
                Remark::error(
                    "driver-dropped",
                    call.line,
                    format!("dracut makes the initramfs anew without {driver}: nothing names it, and where it is, dracut does not look by itself"),
                )
                .hint(hint),
            );
            return remarks;
        }
        remarks.push(
            Remark::note(
                LEFT_TO_BASE,
                None,
                format!("no instruction names {driver}: it has to be in the base image, or in a package or directory of another name"),
            )
            .hint("check the finished image: coreos-bake check <image> --driver <name>"),
        );
        return remarks;
    }
    if let Some(call) = untold {
        remarks.push(
            Remark::note(
                "driver-not-named",
                call.line,
                format!("dracut is not told to take {driver}, and by itself takes only kinds of drivers that it knows"),
            )
            .hint(hint),
        );
    }
    remarks
}

/// Is it a package of modules with the driver's name in its own?
fn carries(word: &str, wanted: &str) -> bool {
    let package = canonical_name(name(word));
    let parts = package
        .strip_prefix("kmod_")
        .or_else(|| package.strip_prefix("akmod_"));
    let named = parts.or_else(|| package.strip_suffix("_kmod"));
    named.is_some_and(|n| n == wanted || n.split('_').any(|part| part == wanted))
        || (word.ends_with(".rpm") && package == wanted)
}

/// Does a text of modprobe.d keep the module from being loaded?
fn blocks(text: &str, wanted: &str) -> bool {
    text.split(['\n', ';']).any(|line| {
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || "'\"".contains(c))
            .filter(|w| !w.is_empty())
            .collect();
        words
            .windows(2)
            .any(|pair| pair[0] == "blacklist" && canonical_name(pair[1]) == wanted)
            || words.windows(3).any(|triple| {
                triple[0] == "install"
                    && canonical_name(triple[1]) == wanted
                    && matches!(
                        triple[2],
                        "/bin/false" | "/bin/true" | "/usr/bin/false" | "/usr/bin/true"
                    )
            })
    })
}
