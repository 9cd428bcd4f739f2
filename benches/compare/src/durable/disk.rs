//! Where journals lie.

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, open, statfs, syncfs};
use std::path::{Path, PathBuf};

/// `f_type` of file systems, statfs(2).
const NAMES: &[(i128, &str)] = &[
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0xF2F5_2010, "f2fs"),
    (0x2FC1_2FC1, "zfs"),
    (0x794C_7630, "overlay"),
    (0x6969, "nfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58F6, "ramfs"),
];

/// The directory in which each trial makes its own: the one that was asked for, or that of the build.
///
/// # Errors
/// It can't be made.
pub fn choose(asked: Option<PathBuf>) -> Result<PathBuf> {
    let dir = match asked {
        Some(dir) => dir,
        // Two up from the program: `target`, beside `target/release`.
        None => std::env::current_exe()?.ancestors().nth(2).context("a directory of the build")?.to_owned(),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let name = file_system(&dir);
    if name == "tmpfs" || name == "ramfs" {
        eprintln!(
            "warning: {} is in memory ({name}): nothing is durable there, and syncing costs nothing",
            dir.display()
        );
    }
    Ok(dir)
}

/// The name of the file system.
pub fn file_system(dir: &Path) -> String {
    let Ok(found) = statfs(dir) else { return "an unknown file system".to_owned() };
    let name = NAMES.iter().find(|(magic, _)| *magic == i128::from(found.f_type));
    name.map_or_else(|| format!("a file system of type {:#x}", found.f_type), |(_, name)| (*name).to_owned())
}

/// Writes back all of the file system that `dir` is on. Going through its files would not do: closing one lets go of
/// the locks that LMDB and SQLite hold on it.
///
/// # Errors
/// As syncfs(2).
pub fn sync_all(dir: &Path) -> Result<()> {
    let opened = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    syncfs(opened).with_context(|| format!("syncing {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_from_disk() {
        assert_eq!(file_system(Path::new("/dev/shm")), "tmpfs");
        assert_ne!(file_system(Path::new("/proc")), "tmpfs");
    }

    #[test]
    fn a_directory_that_is_not_there_is_made() {
        let parent = tempfile::tempdir().unwrap();
        let asked = parent.path().join("one/two");
        assert_eq!(choose(Some(asked.clone())).unwrap(), asked);
        sync_all(&asked).unwrap();
        assert!(choose(None).unwrap().is_dir());
    }
}
