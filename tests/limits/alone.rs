//! A child that reaches a limit alone, and what it must not leave behind.

use crate::common::{child, succeed};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::error::Error;
use std::fs::read_dir;
use std::path::Path;

/// Plays a role in a child of its own, which must succeed.
pub fn alone(role: &str) {
    succeed(child(role).spawn().unwrap());
}

/// Lowers a limit of this process, does something, and puts it back.
pub fn with_limit<T>(resource: Resource, limit: u64, attempt: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, limit.min(hard), hard).unwrap();
    let done = attempt();
    setrlimit(resource, soft, hard).unwrap();
    done
}

/// What this process has, and what is in a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    descriptors: Vec<String>,
    mappings: usize,
    names: Vec<String>,
}

impl Traces {
    pub fn of(dir: Option<&Path>) -> Self {
        let targets = read_dir("/proc/self/fd").unwrap().map(|entry| {
            let target = std::fs::read_link(entry.unwrap().path());
            target.map_or_else(|_| "the listing itself".to_owned(), |target| target.display().to_string())
        });
        let mut descriptors: Vec<_> = targets.collect();
        descriptors.sort_unstable();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mappings = maps.lines().filter(|line| line.contains(" rw-s ") || line.contains(" r--s ")).count();
        Self { descriptors, mappings, names: dir.map(names_in).unwrap_or_default() }
    }

    /// Without the entry of this name, and what is open on it.
    pub fn without(mut self, name: &str) -> Self {
        self.names.retain(|there| there != name);
        self.descriptors.retain(|target| !target.ends_with(name) && !target.ends_with(" (deleted)"));
        self
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The system's error that one of the library's says.
pub fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let said = error.to_string();
    let (_, errno) = said.split_once("(os error ")?;
    errno.split_once(')')?.0.parse().ok()
}
