//! Hostile images: a tiny operating system and whatever an attacker may do to an image of it. What has to become of each
//! stands beside it: an error, a warning, or what is read.
//!
//! All are read as `inspect` and `bake` read images, in this process: so a panic, a hang, memory without bounds, a file
//! written outside of the scratch directory or left in it are found too. A few go through the program.

#[path = "hostile/archives.rs"]
mod archives;
#[path = "hostile/case.rs"]
mod case;
#[path = "hostile/compression.rs"]
mod compression;
#[path = "hostile/documents.rs"]
mod documents;
#[path = "hostile/encapsulated.rs"]
mod encapsulated;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/image.rs"]
mod image;
#[path = "hostile/indexes.rs"]
mod indexes;
#[path = "hostile/links.rs"]
mod links;
#[path = "hostile/lookups.rs"]
mod lookups;
#[path = "hostile/numbers.rs"]
mod numbers;
#[path = "hostile/paths.rs"]
mod paths;
#[path = "hostile/pax.rs"]
mod pax;
#[path = "hostile/program.rs"]
mod program;
#[path = "hostile/tar.rs"]
mod tar;
#[path = "hostile/whiteouts.rs"]
mod whiteouts;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use case::Case;

/// Cases that run at the same time; each reads layers with two threads.
const WORKERS: usize = 2;

/// The longest that one case may take, on a machine that does much else.
const CASE_MAX: Duration = Duration::from_secs(60);

/// Processor time of all cases together, in seconds.
const CPU_MAX: u64 = 120;

/// Most memory of the process at any time. Its own images take the most of it.
const MEMORY_MAX_KIB: u64 = 768 << 10;

fn cases() -> Vec<Case> {
    [
        paths::cases(),
        whiteouts::cases(),
        numbers::cases(),
        pax::cases(),
        links::cases(),
        compression::cases(),
        documents::cases(),
        files::cases(),
        indexes::cases(),
        lookups::cases(),
        encapsulated::cases(),
        archives::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_hostile_image_gets_its_verdict() {
    let cases: &'static [Case] = cases().leak();
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    assert!(cases.len() >= 200, "{} cases", cases.len());

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (sender, done) = mpsc::channel();
    for _ in 0..WORKERS {
        let sender = sender.clone();
        // Not scoped: one that hangs must not keep the test from ending.
        thread::spawn(move || {
            while let Some(case) = cases.get(NEXT.fetch_add(1, Ordering::Relaxed)) {
                let outcome = catch_unwind(AssertUnwindSafe(|| case.run()));
                let outcome = outcome.unwrap_or_else(|_| Err("a panic".to_owned()));
                if sender.send((&*case.name, outcome)).is_err() {
                    return;
                }
            }
        });
    }
    let mut waiting = names;
    let mut faults = Vec::new();
    while !waiting.is_empty() {
        match done.recv_timeout(CASE_MAX) {
            Ok((name, outcome)) => {
                waiting.remove(name);
                faults.extend(outcome.err().map(|fault| format!("{name}: {fault}")));
            }
            Err(_) => panic!(
                "no end of these, or of two of them: {waiting:?}\n{}",
                faults.join("\n")
            ),
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {}:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );

    let cpu = cpu_seconds();
    let memory = peak_kib();
    println!(
        "{} images, {cpu} s of processor time, {} MiB at most",
        cases.len(),
        memory >> 10
    );
    assert!(cpu <= CPU_MAX, "{cpu} s of processor time");
    assert!(memory <= MEMORY_MAX_KIB, "{memory} KiB of memory");
}

/// Processor time that this process has taken, in seconds (proc(5), fields 14 and 15).
fn cpu_seconds() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
    // USER_HZ, the same on all architectures that tests run on.
    ticks / 100
}

/// The most memory that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().split_whitespace().next();
    number.unwrap().parse().unwrap()
}
