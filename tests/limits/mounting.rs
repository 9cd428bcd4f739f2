//! File systems that only this process sees, and its children: they are gone when it ends.

use crate::common::skip;
use nix::sched::{CloneFlags, unshare};
use std::path::Path;
use std::process::Command;

/// Gives this process mounts of its own, which it changes by [`run`]. False, with a word on it: it may not.
pub fn have_own_mounts(what: &str) -> bool {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => run("mount", &["--make-rprivate", "/"]),
        Err(error) => {
            skip(what, error);
            false
        }
    }
}

/// Mounts a file system of memory.
pub fn mount_tmpfs(at: &Path, options: &str) {
    assert!(run("mount", &["-t", "tmpfs", "-o", options, "none", at.to_str().unwrap()]));
}

/// Runs a command. False, with a word on it: it failed, or there is none.
pub fn run(program: &str, arguments: &[&str]) -> bool {
    match Command::new(program).args(arguments).output() {
        Ok(done) if done.status.success() => return true,
        Ok(done) => skip(program, format_args!("{arguments:?}: {}", String::from_utf8_lossy(&done.stderr).trim())),
        Err(error) => skip(program, error),
    }
    false
}
