//! Running the tool on this process's logs and snapshots.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The tool, to look at `path`.
pub fn shmlog(args: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmlog"));
    command.args(args).arg(path);
    command
}

/// A run of the tool that ends by itself.
pub fn run(args: &[&str], path: &Path) -> Output {
    shmlog(args, path).output().unwrap()
}

/// Standard output of a run that succeeds and has nothing to complain of.
pub fn good(args: &[&str], path: &Path) -> String {
    let output = run(args, path);
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a run that fails as it should.
pub fn bad(args: &[&str], path: &Path) -> String {
    let output = run(args, path);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// As others see this process's descriptor of that name.
pub fn descriptor(link: &str) -> PathBuf {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.as_os_str() == link);
    let path = descriptors.into_iter().find(is_it).unwrap();
    Path::new(&format!("/proc/{}/fd", std::process::id())).join(path.file_name().unwrap())
}
