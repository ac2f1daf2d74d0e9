//! The modules that count, in their order, and what each depends on.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::config::Config;
use super::hash::HashOrdered;
use super::module::Facts;
use crate::kernel::modules::module_name;

/// Most dependencies of all modules, direct or not; a distribution has some 30 000.
const DEPENDENCIES_MAX: usize = 1 << 22;

/// Modules are dependencies of each other, so none of them could ever be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("modules depend on each other in a circle: {}", .modules.join(" -> "))]
pub struct Cycle {
    /// Names of the modules, each followed by one that it needs; the first one is also the last.
    pub modules: Vec<String>,
}

/// A module that counts.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) facts: Facts,
    /// Places of all that it depends on, directly or not, in the order of unloading.
    pub(super) dependencies: Vec<usize>,
}

/// The modules of a kernel, and whose a symbol is.
#[derive(Debug)]
pub(super) struct Catalog {
    /// In the order of `modules.order`, then what that has not.
    pub(super) modules: Vec<Module>,
    /// Places of modules by the symbols that they export.
    pub(super) owners: HashOrdered<usize>,
}

impl Catalog {
    pub(super) fn new(
        config: &Config,
        found: BTreeMap<String, Facts>,
        order: Option<&[u8]>,
    ) -> Result<Self> {
        let mut modules = choose(config, found)?;
        if let Some(order) = order {
            sort(&mut modules, order);
        }
        let mut owners = HashOrdered::new(HashOrdered::<usize>::SYMBOLS);
        for (at, module) in modules.iter().enumerate() {
            for symbol in module.facts.exported.iter() {
                owners.insert(symbol, at);
            }
        }
        let direct: Vec<Vec<usize>> = modules
            .iter()
            .map(|module| direct_dependencies(module, &owners))
            .collect();
        let ranks = ranks(&direct).map_err(|circle| Cycle {
            modules: circle
                .into_iter()
                .map(|at| modules[at].name.clone())
                .collect(),
        })?;
        for (at, dependencies) in all_dependencies(&direct, &ranks)?.into_iter().enumerate() {
            modules[at].dependencies = dependencies;
        }
        Ok(Self { modules, owners })
    }
}

/// One module of each name.
fn choose(config: &Config, found: BTreeMap<String, Facts>) -> Result<Vec<Module>> {
    let mut chosen: HashOrdered<Module> = HashOrdered::new(HashOrdered::<Module>::MODULES);
    let mut found: Vec<(String, Facts)> = found.into_iter().collect();
    found.sort_by_key(|(path, _)| config.visit(path));
    for (path, facts) in found {
        let name = module_name(&path).context("a module's path has no name of a module")?;
        let key = name.clone().into_bytes();
        let module = Module {
            name,
            path,
            facts,
            dependencies: Vec::new(),
        };
        match chosen.get_mut(&key) {
            Some(earlier) if config.prefers(&module.path, &earlier.path) => *earlier = module,
            Some(_) => {}
            None => chosen.insert(&key, module),
        }
    }
    Ok(chosen.into_values().collect())
}

/// Sorts by the text of `modules.order`, which has paths without the ending of a compression.
fn sort(modules: &mut [Module], order: &[u8]) {
    // A path that is there twice counts where it is last.
    let places: BTreeMap<&[u8], usize> = order
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(place, line)| (line, place))
        .collect();
    modules.sort_by_key(|module| {
        let path = uncompressed_path(&module.path).as_bytes();
        places.get(path).copied().unwrap_or(usize::MAX)
    });
}

fn uncompressed_path(path: &str) -> &str {
    [".xz", ".gz", ".zst"]
        .iter()
        .find_map(|ending| path.strip_suffix(ending))
        .unwrap_or(path)
}

/// Whose symbols a module needs, each once.
fn direct_dependencies(module: &Module, owners: &HashOrdered<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    for symbol in module.facts.needed.iter() {
        if let Some(owner) = owners.get(symbol)
            && !found.contains(owner)
        {
            found.push(*owner);
        }
    }
    found
}

/// Ranks modules so that each comes before what it depends on: an order of unloading. Fails with
/// the places of a circle.
fn ranks(direct: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut users = vec![0usize; direct.len()];
    for dependency in direct.iter().flatten() {
        users[*dependency] += 1;
    }
    let mut ready: Vec<usize> = (0..direct.len()).filter(|at| users[*at] == 0).collect();
    let mut ranks = vec![usize::MAX; direct.len()];
    let mut next = 0;
    while let Some(at) = ready.pop() {
        ranks[at] = next;
        next += 1;
        for dependency in &direct[at] {
            users[*dependency] -= 1;
            if users[*dependency] == 0 {
                ready.push(*dependency);
            }
        }
    }
    match ranks.iter().position(|rank| *rank == usize::MAX) {
        None => Ok(ranks),
        Some(left) => Err(circle(direct, &ranks, left)),
    }
}

/// A circle among the modules without a rank, which all have users without one.
fn circle(direct: &[Vec<usize>], ranks: &[usize], left: usize) -> Vec<usize> {
    let mut user = vec![left; direct.len()];
    for (at, dependencies) in direct.iter().enumerate() {
        if ranks[at] == usize::MAX {
            for dependency in dependencies {
                user[*dependency] = at;
            }
        }
    }
    // From user to user, until one comes again.
    let mut seen = vec![false; direct.len()];
    let mut at = left;
    while !seen[at] {
        seen[at] = true;
        at = user[at];
    }
    let mut circle = vec![at];
    let mut other = user[at];
    while other != at {
        circle.push(other);
        other = user[other];
    }
    // From what is needed to its users, so far.
    circle.reverse();
    let first = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap_or(0);
    circle.rotate_left(first);
    circle.push(circle[0]);
    circle
}

/// Everything that each depends on, directly or not, by rank.
fn all_dependencies(direct: &[Vec<usize>], ranks: &[usize]) -> Result<Vec<Vec<usize>>> {
    let mut count = 0;
    let mut seen_for = vec![usize::MAX; direct.len()];
    let mut all = Vec::with_capacity(direct.len());
    for at in 0..direct.len() {
        let mut found: Vec<usize> = Vec::new();
        let mut ahead: Vec<usize> = direct[at].clone();
        while let Some(dependency) = ahead.pop() {
            if seen_for[dependency] != at {
                seen_for[dependency] = at;
                found.push(dependency);
                ahead.extend(&direct[dependency]);
            }
        }
        found.sort_unstable_by_key(|dependency| ranks[*dependency]);
        count += found.len();
        ensure!(
            count <= DEPENDENCIES_MAX,
            "modules have more than {DEPENDENCIES_MAX} dependencies"
        );
        all.push(found);
    }
    Ok(all)
}
