//! Transactions that fail or are killed at every step, and what is found of them later.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use super::*;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It is an error.
    Failure,
    /// The program ends there.
    Kill,
}

thread_local! {
    /// After so many steps, this happens.
    static FAULT: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
    static HAS_LINKS: Cell<bool> = const { Cell::new(true) };
    static KILLED: Cell<bool> = const { Cell::new(false) };
}

/// Called where a step is about to be done.
pub(super) fn step() -> io::Result<()> {
    let Some((left, fault)) = FAULT.get() else {
        return Ok(());
    };
    if left > 0 {
        FAULT.set(Some((left - 1, fault)));
        return Ok(());
    }
    // A program that is killed does nothing more; one that fails tidies up.
    if fault == Fault::Failure {
        FAULT.set(None);
    }
    KILLED.set(fault == Fault::Kill);
    Err(io::Error::other("a fault of the test"))
}

/// Called where a file is about to get a second name.
pub(super) fn linking() -> io::Result<()> {
    match HAS_LINKS.get() {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

pub(super) fn is_killed() -> bool {
    KILLED.get()
}

/// Runs `work` with a fault at step `at`.
fn with_fault<T>(at: usize, fault: Fault, work: impl FnOnce() -> T) -> T {
    FAULT.set(Some((at, fault)));
    let done = work();
    FAULT.set(None);
    KILLED.set(false);
    done
}

/// Everything in a directory: the very files, with their contents, and when directories were changed.
fn seen(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => {
                open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
                String::new()
            }
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            _ => fs::read_to_string(&path).unwrap(),
        };
        let entry = format!(
            "{} {:o} {}.{} {content}",
            metadata.ino(),
            metadata.mode(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        all.insert(path, entry);
    }
    all
}

/// A directory with all that can be in the way, and what is to be written into it.
struct Scene(tempfile::TempDir);

/// In this order: a file that is there, one in a folder, a symlink, a free name, folders that are missing, a
/// whole directory in the place of another.
const NAMES: [&str; 7] = [
    "a",
    "folder/b",
    "link",
    "free",
    "new/deep/c",
    "new/d",
    "whole",
];

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        let out = scene.path();
        for directory in ["folder", "whole", "elsewhere"] {
            fs::create_dir(out.join(directory)).unwrap();
        }
        for file in ["a", "folder/b", "folder/other", "whole/old", "elsewhere/e"] {
            fs::write(out.join(file), format!("old {file}")).unwrap();
        }
        fs::set_permissions(out.join("a"), fs::Permissions::from_mode(0o604)).unwrap();
        symlink("elsewhere/e", out.join("link")).unwrap();
        scene
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn staged(&self) -> Staged {
        let staging = Staging::new(self.path(), true).unwrap();
        for name in NAMES {
            let name = if name == "whole" { "whole/new" } else { name };
            staging.create(name).unwrap();
            fs::write(staging.path(name), format!("new {name}")).unwrap();
        }
        Staged {
            staging,
            names: NAMES.map(str::to_owned).to_vec(),
        }
    }

    /// Checks that all of it is there.
    fn check_published(&self) {
        let read = |name: &str| fs::read_to_string(self.path().join(name)).unwrap();
        for name in NAMES.iter().take(6) {
            assert_eq!(read(name), format!("new {name}"));
        }
        assert_eq!(read("whole/new"), "new whole/new");
        assert!(!self.path().join("whole/old").exists());
        assert!(!self.path().join("link").is_symlink());
        assert_eq!(read("elsewhere/e"), "old elsewhere/e");
        assert_eq!(read("folder/other"), "old folder/other");
        self.check_clean();
    }

    fn check_clean(&self) {
        assert!(scratch::candidates(self.path()).is_empty());
    }
}

/// How many steps were tried until one too many was asked for.
fn for_each_step(mut work: impl FnMut(usize) -> bool) -> usize {
    (0..)
        .find(|step| work(*step))
        .expect("it ends when there are no more steps")
}

#[test]
fn a_failure_at_any_step_leaves_all_as_it_was() {
    for has_links in [true, false] {
        HAS_LINKS.set(has_links);
        let steps = for_each_step(|step| {
            let scene = Scene::new();
            let before = seen(scene.path());
            let staged = scene.staged();
            match with_fault(step, Fault::Failure, || publish(vec![staged])) {
                Ok(()) => {
                    scene.check_published();
                    true
                }
                Err(error) => {
                    assert!(error.to_string().starts_with("naming "), "{error}");
                    assert_eq!(seen(scene.path()), before, "step {step}");
                    false
                }
            }
        });
        // The directory is moved away in both cases, files only where there are no links.
        assert_eq!(steps, NAMES.len() + if has_links { 1 } else { 4 });
    }
    HAS_LINKS.set(true);
}

#[test]
fn the_next_run_finishes_what_a_kill_at_any_step_has_left() {
    for has_links in [true, false] {
        HAS_LINKS.set(has_links);
        for_each_step(|step| {
            let scene = Scene::new();
            let before = seen(scene.path());
            let staged = scene.staged();
            if with_fault(step, Fault::Kill, || publish(vec![staged])).is_ok() {
                scene.check_published();
                return true;
            }
            assert_eq!(scratch::candidates(scene.path()).len(), 1);
            // It is killed as well, at each of its steps, and so is the one after that.
            for again in 0..3 {
                let _ = with_fault(again, Fault::Kill, || clear_leftovers(scene.path()));
            }
            for_each_step(|again| {
                with_fault(again, Fault::Kill, || clear_leftovers(scene.path())).is_ok()
            });
            assert_eq!(seen(scene.path()), before, "step {step}");
            // And does its own work then.
            publish(vec![scene.staged()]).unwrap();
            scene.check_published();
            false
        });
    }
    HAS_LINKS.set(true);
}

/// Clears what a killed run has left. Programs that other tests start have our locks, too, until they are
/// programs of their own.
fn clear(directory: &Path) {
    for _ in 0..400 {
        clear_leftovers(directory).unwrap();
        if scratch::candidates(directory).is_empty() {
            return;
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("what is left in {} is not cleared", directory.display());
}

/// Where two directories are written to, both are or none is, whichever the next run comes to.
#[test]
fn directories_are_published_together() {
    for fault in [Fault::Failure, Fault::Kill] {
        for first_comes in [0, 1] {
            let steps = for_each_step(|step| {
                let scenes = [Scene::new(), Scene::new()];
                let before = scenes.each_ref().map(|scene| seen(scene.path()));
                let staged = scenes.each_ref().map(Scene::staged);
                if with_fault(step, fault, || publish(staged.into())).is_ok() {
                    scenes.iter().for_each(Scene::check_published);
                    return true;
                }
                if fault == Fault::Kill {
                    clear(scenes[first_comes].path());
                }
                let after = scenes.each_ref().map(|scene| seen(scene.path()));
                assert_eq!(after, before, "step {step}, {fault:?}");
                false
            });
            assert_eq!(steps, 2 * (NAMES.len() + 1));
        }
    }
}

/// Also where both are in one directory.
#[test]
fn two_parts_in_one_directory_are_taken_back() {
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("a"), "old").unwrap();
    let before = seen(out.path());
    let staged = |name: &str| {
        let staging = Staging::new(out.path(), true).unwrap();
        staging.create(name).unwrap();
        Staged {
            staging,
            names: vec![name.to_owned()],
        }
    };
    let both = vec![staged("a"), staged("b")];
    assert!(with_fault(1, Fault::Kill, || publish(both)).is_err());
    assert_eq!(scratch::candidates(out.path()).len(), 2);
    let taken = clear_leftovers(out.path()).unwrap();
    assert_eq!(taken.restored.len(), 1);
    let mut after = seen(out.path());
    // Two of them: only the first one's removal can be hidden.
    let root = |seen: &mut BTreeMap<PathBuf, String>| seen.remove(out.path());
    let mut before = before;
    root(&mut before);
    root(&mut after);
    assert_eq!(after, before);
}

/// What somebody has written since a run was killed is theirs.
#[test]
fn a_later_change_is_not_lost() {
    let scene = Scene::new();
    let staged = scene.staged();
    assert!(with_fault(2, Fault::Kill, || publish(vec![staged])).is_err());
    fs::write(scene.path().join("a"), "theirs").unwrap();
    let error = Staging::new(scene.path(), true).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("/a has been changed since a run that wrote it was killed"),
        "{error}"
    );
    let read = |name: PathBuf| fs::read_to_string(name).unwrap();
    assert_eq!(read(scene.path().join("a")), "theirs");
    let [left] = &scratch::candidates(scene.path())[..] else {
        panic!("it is still there");
    };
    assert_eq!(read(left.join("old/0")), "old a");
    assert_eq!(read(scene.path().join("folder/b")), "old folder/b");
    // As the hint says.
    fs::rename(left.join("old/0"), scene.path().join("a")).unwrap();
    clear_leftovers(scene.path()).unwrap();
    scene.check_clean();
    assert_eq!(read(scene.path().join("a")), "old a");
}

#[test]
fn what_is_in_the_way_is_found_before_anything_is_written() {
    let scene = Scene::new();
    symlink("nowhere", scene.path().join("dangling")).unwrap();
    let before = seen(scene.path());
    for (name, force, sentence) in [
        ("a", false, "/a exists"),
        ("link", false, "/link exists"),
        ("dangling", false, "/dangling exists"),
        ("folder", true, "/folder is a directory"),
        ("folder", false, "/folder is a directory"),
        ("a/b/c", true, "/a is in the way of a directory"),
        ("dangling/b", true, "/dangling is in the way of a directory"),
        ("link/b", true, "/link is in the way of a directory"),
    ] {
        let error = check_free(scene.path(), ["free", name], force).unwrap_err();
        assert!(error.to_string().ends_with(sentence), "{error}");
        // Also if it comes up late.
        let staging = Staging::new(scene.path(), force).unwrap();
        staging.create(name).unwrap();
        let error = staging.publish(&[name.to_owned()]).unwrap_err();
        assert!(error.to_string().ends_with(sentence), "{error}");
    }
    check_free(scene.path(), ["a", "link", "dangling", "folder/b"], true).unwrap();
    check_free(scene.path(), ["free", "folder/c", "x/y"], false).unwrap();
    check_free(&scene.path().join("none/none"), ["a"], false).unwrap();
    assert_eq!(seen(scene.path()), before);
}

#[test]
fn directories_that_were_made_go_again_unless_they_are_needed() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("x/y/z");
    let staging = Staging::new(&out, false).unwrap();
    staging.create("a").unwrap();
    drop(staging);
    assert!(!parent.path().join("x").exists());

    fs::create_dir(parent.path().join("x")).unwrap();
    drop(Staging::new(&out, false).unwrap());
    assert!(parent.path().join("x").exists() && !parent.path().join("x/y").exists());

    // A name that can't be given.
    let staging = Staging::new(&out, false).unwrap();
    staging.create("a").unwrap();
    fs::create_dir(out.join("a")).unwrap();
    assert!(staging.publish(&["a".to_owned()]).is_err());
    assert!(out.join("a").is_dir());

    let staging = Staging::new(&out, false).unwrap();
    staging.create("b").unwrap();
    staging.publish(&["b".to_owned()]).unwrap();
    assert!(out.join("b").exists());
}

#[test]
fn what_a_living_program_has_stays() {
    let out = tempfile::tempdir().unwrap();
    let living = Staging::new(out.path(), false).unwrap();
    living.create("a").unwrap();
    let gone = Staging::new(out.path(), false).unwrap();
    gone.create("a").unwrap();
    let path = gone.path("a");
    let mut gone = gone;
    gone.scratch.take().unwrap().leave(&mut hold_signals());
    assert!(path.exists());

    // What is called in another way, or is no directory, is nobody's.
    for name in [
        ".coreos-bake",
        ".coreos-bake-abc",
        ".coreos-bake-abcdefg",
        ".coreos-bake-abc-ef",
    ] {
        fs::create_dir(out.path().join(name)).unwrap();
    }
    fs::write(out.path().join(".coreos-bake-abcdef"), "").unwrap();
    symlink("elsewhere", out.path().join(".coreos-bake-ghijkl")).unwrap();

    let taken = clear_leftovers(out.path()).unwrap();
    assert!(taken.is_empty());
    assert!(!path.exists());
    assert!(living.path("a").exists());
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 7);
    living.publish(&["a".to_owned()]).unwrap();
    assert!(out.path().join("a").exists());
}

/// Whoever clears can come between the making of a directory and its lock.
#[test]
fn nobody_clears_what_was_just_made() {
    let out = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..150 {
                    let scratch = Scratch::new_in(out.path()).unwrap();
                    let file = scratch.path().join("file");
                    fs::write(&file, "").unwrap();
                    clear_leftovers(out.path()).unwrap();
                    assert!(file.exists());
                }
            });
            scope.spawn(|| {
                for _ in 0..600 {
                    clear_leftovers(out.path()).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

/// A journal leads to no other files than those in its directory.
#[test]
fn a_journal_of_somebody_elses_making_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let scratch = out.join(".coreos-bake-abcdef");
    fs::create_dir_all(scratch.join("new")).unwrap();
    fs::create_dir_all(scratch.join("old")).unwrap();
    fs::write(scratch.join("old/0"), "evil").unwrap();
    fs::write(parent.path().join("precious"), "").unwrap();
    let before = seen(&out);
    let journal = |name: &str, folder: &str, time: &str| {
        format!(
            r#"{{"steps":[{{"scratch":[47],"folders":[{folder:?}],"times":[[{time:?},0,0]],"steps":[{{"name":{name:?},"original":"linked","len":0,"modified":[0,0]}}]}}]}}"#
        )
    };
    let mut texts = vec![String::new(), "{}".into(), "[]".into(), "{\"at\":7}".into()];
    for (name, folder, time) in [
        ("../precious", "a", ""),
        ("/etc/passwd", "a", ""),
        ("a/../../precious", "a", ""),
        ("", "a", ""),
        ("a", "..", ""),
        ("a", "a", ".."),
    ] {
        texts.push(journal(name, folder, time));
    }
    for text in texts {
        fs::write(scratch.join("journal"), &text).unwrap();
        let error = clear_leftovers(&out).unwrap_err().to_string();
        assert!(
            error.ends_with("journal is not a journal of this program"),
            "{error}"
        );
        fs::remove_file(scratch.join("journal")).unwrap();
        assert_eq!(seen(&out).len(), before.len(), "{text}");
    }
    // Nor is a foreign directory taken for the one where the journal is.
    let foreign = parent.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    let bytes = foreign.canonicalize().unwrap();
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(bytes.as_os_str());
    fs::write(scratch.join("journal"), format!("{{\"at\":{bytes:?}}}")).unwrap();
    clear_leftovers(&out).unwrap();
    assert!(foreign.exists() && scratch.exists());
    // A sane one is believed.
    fs::write(scratch.join("journal"), journal("a", "b", "")).unwrap();
    clear_leftovers(&out).unwrap();
    assert_eq!(fs::read(out.join("a")).unwrap(), b"evil");
}
