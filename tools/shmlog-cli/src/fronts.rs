//! `shmlog journal fronts`: the memory of journals in /dev/shm, and that of journals which are gone.
//!
//! A front is removed only if nobody has its journal open, which the kernel's list of locks says, and the journal's lock
//! file is gone for good, which its file handle says: no other file passes for it, on no other file system. Nobody can open
//! a journal without that file, so nobody comes to use the front meanwhile. Where any of this can't be found out, it is said.

use crate::handle::{Found, Handle};
use crate::table;
use crate::units::{moment, size};
use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::fs::{AtFlags, Mode, OFlags, open, unlinkat};
use serde_json::json;
use std::ffi::OsStr;
use std::fs::{read, read_dir, read_to_string};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files of a front.
const FILES: [&str; 6] = ["state", "state.new", "origin", "log", "board", "lock"];

/// Which fronts, and what to do.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where they are.
    #[arg(default_value = "/dev/shm")]
    home: PathBuf,
    /// Remove those whose journal is gone, for good.
    #[arg(long)]
    remove: bool,
    /// Print JSON: an array.
    #[arg(long)]
    json: bool,
}

/// A front that was found.
#[derive(Debug)]
struct Front {
    name: String,
    path: PathBuf,
    /// Device and inode of its journal's lock file.
    lock: (u64, u64),
    bytes: u64,
    made_unix_ns: u64,
}

/// What is known of it.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Somebody has the journal open.
    Used,
    /// Nobody has, and who opens it goes on with it: the journal's lock file.
    Kept(PathBuf),
    /// The journal is gone: where its lock file was.
    Orphan(PathBuf),
    Removed(PathBuf),
    Unknown(String),
}

impl Fate {
    fn text(&self) -> (&'static str, String) {
        let dir = |lock: &Path| lock.parent().unwrap_or(lock).display().to_string();
        match self {
            Self::Used => ("used", "somebody has its journal open".to_owned()),
            Self::Kept(lock) => ("kept", format!("who opens {} next goes on with it", dir(lock))),
            Self::Orphan(lock) => ("orphan", format!("its journal was removed, from {}", dir(lock))),
            Self::Removed(lock) => ("removed", format!("its journal was removed, from {}", dir(lock))),
            Self::Unknown(why) => ("unknown", why.clone()),
        }
    }
}

/// Lists them, and removes those that are of no use.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let mut found = Vec::new();
    let mut failed = None;
    for front in fronts(&options.home).with_context(|| options.home.display().to_string())? {
        let mut fate = fate(&front);
        if let (Fate::Orphan(lock), true) = (&fate, options.remove) {
            match remove(&front.path) {
                Ok(()) => fate = Fate::Removed(lock.clone()),
                Err(error) => failed = Some(format!("removing {}: {error}", front.path.display())),
            }
        }
        found.push((front, fate));
    }
    print(&found, options.json, out)?;
    out.flush()?;
    failed.map_or(Ok(()), |failed| bail!(failed))
}

fn print(found: &[(Front, Fate)], is_json: bool, out: &mut impl Write) -> io::Result<()> {
    if is_json {
        let object = |(front, fate): &(Front, Fate)| {
            let (fate, why) = fate.text();
            json!({ "path": front.path.to_string_lossy(), "bytes": front.bytes, "made_unix_ns": front.made_unix_ns, "fate": fate,
                "why": why })
        };
        return writeln!(out, "{}", found.iter().map(object).collect::<serde_json::Value>());
    }
    if found.is_empty() {
        return writeln!(out, "there are no fronts of journals");
    }
    let row = |(front, fate): &(Front, Fate)| {
        let (fate, why) = fate.text();
        [front.name.clone(), size(front.bytes), moment(front.made_unix_ns), fate.to_owned(), why]
    };
    table::write(["front", "memory", "made", "", ""], found.iter().map(row), out)
}

fn fronts(home: &Path) -> io::Result<Vec<Front>> {
    let mut found = Vec::new();
    for entry in read_dir(home)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(lock) = lock_of(&name) else { continue };
        let path = entry.path();
        let stat = match path.symlink_metadata() {
            Ok(stat) if stat.is_dir() => stat,
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let blocks = |file: &&str| path.join(file).symlink_metadata().map_or(0, |file| file.blocks());
        let bytes = FILES.iter().map(|file| blocks(file) * 512).sum();
        let seconds = u64::try_from(stat.mtime()).unwrap_or(0);
        let made_unix_ns = seconds.saturating_mul(1_000_000_000);
        found.push(Front { name, path, lock, bytes, made_unix_ns });
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Device and inode of the lock file of the journal that a front of this name is of.
fn lock_of(name: &str) -> Option<(u64, u64)> {
    let parts: Vec<_> = name.strip_prefix("shmlog-")?.split('-').collect();
    let [id, device, inode, nonce] = parts[..] else { return None };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_front = id.len() == 32 && nonce.len() == 8 && parts.iter().all(|part| is_hex(part));
    let number = |text| u64::from_str_radix(text, 16).ok();
    number(device).zip(number(inode)).filter(|_| is_front)
}

fn fate(front: &Front) -> Fate {
    let locked = match locked() {
        Ok(locked) => locked,
        Err(error) => return Fate::Unknown(format!("/proc/locks: {error}")),
    };
    // Locks on other devices too: some file systems have several numbers.
    let is_locked = locked.contains(&front.lock.1);
    if front.path.join("lock").symlink_metadata().is_ok_and(|lock| locked.contains(&lock.ino())) {
        return Fate::Used;
    }
    match origin(&front.path) {
        Ok((handle, path)) => {
            // Then the one before is not even open any more, and the lock is on the new one.
            let is_new = handle.is_other(&path) && is_there(&path, front.lock);
            if is_locked && !is_new { Fate::Used } else { fate_by(&handle, path, is_new, front) }
        }
        Err(_) if is_locked => Fate::Used,
        Err(why) => Fate::Unknown(why),
    }
}

fn is_there(path: &Path, number: (u64, u64)) -> bool {
    path.symlink_metadata().is_ok_and(|stat| (stat.dev(), stat.ino()) == number)
}

/// `path`: where the lock file was. `is_new`: another file is there now, by the same number.
fn fate_by(handle: &Handle, path: PathBuf, is_new: bool, front: &Front) -> Fate {
    match handle.find(front.lock.0, front.lock.1) {
        Ok(Found::There(path)) => Fate::Kept(path),
        Ok(Found::Nameless) => Fate::Unknown(format!("{} was removed, and somebody has it open", path.display())),
        // So a disk says that fails, too; but not of a path.
        Ok(Found::Gone) => match path.symlink_metadata() {
            Ok(_) if is_new || !is_there(&path, front.lock) => Fate::Orphan(path),
            Ok(_) => Fate::Unknown(format!("{} is there, but can't be found by its handle", path.display())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Fate::Orphan(path),
            Err(error) => Fate::Unknown(format!("{}: {error}", path.display())),
        },
        Err(why) => Fate::Unknown(why),
    }
}

/// The handle and the path of the lock file. `Err`: why they are not known.
fn origin(front: &Path) -> Result<(Handle, PathBuf), String> {
    let origin = read(front.join("origin")).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "it does not say where its journal is: the file system there has no handles, or who made it was killed over it".to_owned(),
        _ => format!("its file `origin` can't be read: {error}"),
    })?;
    parse(&origin).ok_or_else(|| "its file `origin` is not whole".to_owned())
}

/// The numbers of all files on which anybody in the machine has a lock, on whatever device.
fn locked() -> io::Result<Vec<u64>> {
    let locks = read_to_string("/proc/locks")?;
    let inode = |field: &str| match field.split(':').collect::<Vec<_>>()[..] {
        [_, _, inode] => inode.parse().ok(),
        _ => None,
    };
    Ok(locks.lines().filter_map(|line| line.split_whitespace().find_map(inode)).collect())
}

/// What the journal put down when it made the front. `None`: not all of it is there.
fn parse(origin: &[u8]) -> Option<(Handle, PathBuf)> {
    let rest = origin.strip_prefix(b"mount ")?.strip_suffix(b"\nend\n")?;
    let mut lines = rest.splitn(3, |&byte| byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next()?).ok();
    let mount = text()?.parse().ok()?;
    let (kind, hex) = text()?.strip_prefix("handle ")?.split_once(' ')?;
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let path = lines.next()?.strip_prefix(b"lock ")?;
    let handle = Handle { mount, kind: kind.parse().ok()?, bytes: bytes.filter(|bytes| !bytes.is_empty())? };
    Some((handle, OsStr::from_bytes(path).into()))
}

/// Removes the files of a front, and nothing that somebody has put in its place.
fn remove(path: &Path) -> io::Result<()> {
    let dir = open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    for file in FILES {
        match unlinkat(&dir, file, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    std::fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fronts_are_known() {
        let name = format!("shmlog-{:032x}-fe00-{:x}-{:08x}", 7, 123_456, 9);
        assert_eq!(lock_of(&name), Some((0xfe00, 123_456)));
        for other in [&name[1..], &name[..name.len() - 1], &format!("{name}-1"), "shmlog-1-2-3-4", "shmlog---", "shm"] {
            assert_eq!(lock_of(other), None, "{other}");
        }
    }

    #[test]
    fn half_of_what_was_put_down_is_nothing() {
        let whole = b"mount 2147483674\nhandle 1 0c00000045a1b2c3\nlock /srv/a b\n/lock\nend\n";
        let (handle, path) = parse(whole).unwrap();
        let bytes = vec![0x0c, 0, 0, 0, 0x45, 0xa1, 0xb2, 0xc3];
        assert_eq!((handle, path), (Handle { mount: 2_147_483_674, kind: 1, bytes }, "/srv/a b\n/lock".into()));
        assert!((0..whole.len()).all(|len| parse(&whole[..len]).is_none()));
    }
}
