//! What several test files need: children that are this test binary again, backings, payloads.
#![allow(dead_code, reason = "each test file uses a part of it")]

use shmlog::{CreateError, HugePageSize, HugePages, Log, LogBuilder, Snapshot, SnapshotBuilder};
use std::fs::read_to_string;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Names a child's role; a test binary without it is no child.
const ROLE: &str = "SHMLOG_TEST_ROLE";
/// Long enough for anything here on a busy machine; what takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// This test binary again, to play a role in its test `child_entry`.
pub fn child(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_entry", "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role).stdout(Stdio::null());
    command
}

/// The body of `child_entry`: plays the role that the environment names, if it names one.
pub fn enter(roles: &[(&str, fn())]) {
    let Ok(wanted) = std::env::var(ROLE) else { return };
    let (_, play) = roles.iter().find(|(name, _)| *name == wanted).expect("a role of this file");
    play();
}

/// A setting that the parent gave to a child.
pub fn setting<T: std::str::FromStr>(name: &str) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} is not set"))
}

/// Waits for a child; kills it if it hangs.
pub fn wait_within(mut child: Child, within: Duration) -> Option<ExitStatus> {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait()));
    if let Ok(status) = ended.recv_timeout(within) {
        return Some(status.unwrap());
    }
    // Nobody has waited for it, so the id is still its own.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    None
}

/// Waits for a child that must end.
pub fn finish(child: Child, within: Duration) -> ExitStatus {
    wait_within(child, within).unwrap_or_else(|| panic!("a child hung for {within:?}"))
}

/// Waits for a child that must succeed.
pub fn succeed(child: Child) {
    let status = finish(child, PATIENCE);
    assert!(status.success(), "a child failed: {status}");
}

/// Says why a test, or a part of it, does not run here: past the harness, which would keep it to itself.
pub fn skip(what: &str, why: impl std::fmt::Display) {
    let line = format!("SKIPPED {what}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether the long versions were asked for.
pub fn is_long() -> bool {
    std::env::var_os("SHMLOG_LONG").is_some()
}

/// Bytes that tell author, number and length apart.
pub fn payload(author: u64, number: u64, len: usize) -> Vec<u8> {
    let mut state = (author << 40 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// Where a log's bytes can be.
#[derive(Debug)]
pub enum Ground {
    Memfd,
    MemfdHuge,
    In { what: &'static str, dir: TempDir },
}

impl Ground {
    /// All that this machine has; says what it lacks.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Memfd];
        if free_huge_pages() > 0 {
            all.push(Self::MemfdHuge);
        } else {
            skip("memfd on huge pages", "none are free: sysctl vm.nr_hugepages=64");
        }
        let hugetlbfs = mounted("hugetlbfs").filter(|_| free_huge_pages() > 0);
        for (what, place, lack) in [
            ("hugetlbfs file", hugetlbfs, "none is mounted, or no huge page is free"),
            ("tmpfs file", mounted("tmpfs"), "none is mounted that this user may write to"),
            ("plain file", Some(std::env::temp_dir()), ""),
        ] {
            match place.and_then(|place| tempfile::tempdir_in(place).ok()) {
                Some(dir) => all.push(Self::In { what, dir }),
                None => skip(what, lack),
            }
        }
        all
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::MemfdHuge => "memfd on huge pages",
            Self::In { what, .. } => what,
        }
    }

    /// Makes a log there; `None`, with a word on it, if huge pages are short.
    pub fn create(&self, builder: &LogBuilder, name: &str) -> Option<Log> {
        let made = match self {
            Self::Memfd => builder.create_memfd(name),
            Self::MemfdHuge => builder.clone().huge_pages(HugePages::Require(HugePageSize::TwoMiB)).create_memfd(name),
            Self::In { dir, .. } => builder.create_at(dir.path().join(name)),
        };
        match made {
            Ok(log) => Some(log),
            Err(error @ (CreateError::NoHugePages { .. } | CreateError::NoSpace { .. })) => {
                skip(self.name(), error);
                None
            }
            Err(error) => panic!("{}: {error}", self.name()),
        }
    }
}

/// Free pages of 2 MiB.
pub fn free_huge_pages() -> u64 {
    let path = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// A mounted file system of this kind that this user may write to.
pub fn mounted(kind: &str) -> Option<PathBuf> {
    let mounts = read_to_string("/proc/self/mounts").ok()?;
    let mut places = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        (fields.next()? == kind).then(|| PathBuf::from(place))
    });
    places.find(|place| tempfile::tempdir_in(place).is_ok())
}

/// Starts a child with one end of a socketpair as its standard input: it takes it by [`to_parent`].
pub fn start(mut command: Command) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    // The command is dropped here, and with it the last copy of the child's end.
    (command.stdin(OwnedFd::from(theirs)).spawn().unwrap(), ours)
}

/// In a child of [`start`]: the socket to its parent.
pub fn to_parent() -> UnixStream {
    std::io::stdin().as_fd().try_clone_to_owned().unwrap().into()
}

/// What word `at` of value `number` is: every word tells both.
pub fn word(number: u64, at: usize) -> u64 {
    number.wrapping_add((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Value `number`, of `len` bytes.
pub fn value(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&word(number, at).to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// The number of a value; `None` if it is a mixture of several. Of whole words, at least one.
pub fn number_of(bytes: &[u8]) -> Option<u64> {
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    let number = u64::from_le_bytes(*words.first()?);
    let wrong =
        words.iter().enumerate().fold(0, |wrong, (at, bytes)| wrong | (u64::from_le_bytes(*bytes) ^ word(number, at)));
    (wrong == 0).then_some(number)
}

impl Ground {
    /// Makes a snapshot there, or tries.
    pub fn try_snapshot(&self, builder: &SnapshotBuilder, name: &str) -> Result<Snapshot, CreateError> {
        match self {
            Self::Memfd => builder.create_memfd(name),
            Self::MemfdHuge => builder.clone().huge_pages(HugePages::Require(HugePageSize::TwoMiB)).create_memfd(name),
            Self::In { dir, .. } => builder.create_at(dir.path().join(name)),
        }
    }

    /// Makes a snapshot there; `None`, with a word on it, if huge pages are short.
    pub fn create_snapshot(&self, builder: &SnapshotBuilder, name: &str) -> Option<Snapshot> {
        match self.try_snapshot(builder, name) {
            Ok(snapshot) => Some(snapshot),
            Err(error @ (CreateError::NoHugePages { .. } | CreateError::NoSpace { .. })) => {
                skip(self.name(), error);
                None
            }
            Err(error) => panic!("{}: {error}", self.name()),
        }
    }
}

/// Tries until it succeeds. For locks: a child that another test is just starting has copies of this process's
/// descriptors until it execs.
pub fn eventually<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let started = std::time::Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(started.elapsed() < PATIENCE, "still {error:?}"),
        }
        thread::yield_now();
    }
}
