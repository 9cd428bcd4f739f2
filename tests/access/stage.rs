//! A creator, what it shares, and the processes that it passes it to.

use crate::attempts::{MARK, Prey, WRITTEN, mapping};
use crate::common::{self, finish, is_root, number_of, setting, value};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use shmlog::{Access, Appender, Exclusive, Log, PassError, Shared, Snapshot, SnapshotWriter, Start};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A user without any right.
pub const NOBODY: u32 = 65_534;

/// This test binary, where every user may run it.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    _dir: Option<TempDir>,
}

impl Program {
    pub fn new() -> Self {
        let path = std::env::current_exe().unwrap();
        if !is_root() {
            return Self { path, _dir: None };
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // By another process: who forks while a program is open for writing can't run it.
        assert!(Command::new("cp").args([&path, dir.path()]).status().unwrap().success());
        Self { path: dir.path().join(path.file_name().unwrap()), _dir: Some(dir) }
    }

    /// A child in a role; `None`: of this user.
    pub fn child(&self, role: &str, user: Option<u32>) -> Command {
        let like = common::child(role);
        let mut command = Command::new(&self.path);
        command.args(like.get_args()).stdout(Stdio::null());
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// Something to share.
#[derive(Debug)]
pub enum Thing {
    Log(Log),
    Snapshot(Snapshot),
}

impl Thing {
    pub fn make(kind: &str, is_sealed: bool) -> Self {
        let name = format!("{kind}-{}-{:?}", std::process::id(), std::thread::current().id());
        match kind {
            "log" => {
                let log = Log::builder().windows(2).window_bytes(64 << 10).write_sealed(is_sealed);
                Self::Log(log.create_memfd(&name).unwrap())
            }
            _ => Self::Snapshot(Snapshot::builder().write_sealed(is_sealed).create_memfd(&name).unwrap()),
        }
    }

    /// Where the region's descriptors lead, or the board's.
    pub fn link(&self, is_board: bool) -> String {
        let (name, what) = match self {
            Self::Log(log) => (log.info().name, if is_board { "board" } else { "log" }),
            Self::Snapshot(snapshot) => (snapshot.info().name, if is_board { "pins" } else { "snapshot" }),
        };
        format!("/memfd:shmlog:{}:{what} (deleted)", name.chars().take(32).collect::<String>())
    }

    pub fn send(&self, socket: impl AsFd, access: Access) -> Result<(), PassError> {
        match self {
            Self::Log(log) => log.send(socket, access),
            Self::Snapshot(snapshot) => snapshot.send(socket, access),
        }
    }

    pub fn receive(kind: &str, socket: impl AsFd) -> Result<Self, PassError> {
        match kind {
            "log" => Log::receive(socket).map(Self::Log),
            _ => Snapshot::receive(socket).map(Self::Snapshot),
        }
    }

    /// Makes sure that what `count` turns of a [`Feeder`] wrote can be read as it was written.
    pub fn check(&self, count: u64) {
        match self {
            Self::Log(log) => {
                let mut reader = log.reader(Start::First).unwrap();
                for number in 0..count {
                    let record = reader.try_next().unwrap().unwrap().to_vec().unwrap();
                    assert_eq!(record, value(number, 64));
                }
                assert!(reader.try_next().unwrap().is_none());
            }
            Self::Snapshot(snapshot) => {
                let loaded = snapshot.reader().unwrap().load_bytes().unwrap().unwrap();
                assert_eq!(number_of(&loaded.value), Some(count - 1));
            }
        }
    }
}

/// Who writes: the creator, or another process that was let in to.
#[derive(Debug)]
pub enum Feeder {
    Exclusive(Appender<Exclusive>),
    Shared(Appender<Shared>),
    Writer(SnapshotWriter),
    Other(Child, UnixStream),
}

impl Feeder {
    /// Of a thing that nobody else writes to.
    pub fn alone(thing: &Thing) -> Self {
        match thing {
            Thing::Log(log) => Self::Exclusive(log.exclusive().unwrap()),
            Thing::Snapshot(snapshot) => Self::Writer(snapshot.writer().unwrap()),
        }
    }

    /// Of a thing that several write to.
    pub fn among_others(thing: &Thing) -> Self {
        match thing {
            Thing::Log(log) => Self::Shared(log.appender().unwrap()),
            Thing::Snapshot(snapshot) => Self::Writer(snapshot.writer().unwrap()),
        }
    }

    /// A process of this user that has the thing by `Access::Append`.
    pub fn other(program: &Program, kind: &str, thing: &Thing) -> Self {
        let mut command = program.child("feeder", None);
        command.env("SHMLOG_TEST_KIND", kind);
        let (child, socket) = common::start(command);
        thing.send(&socket, Access::Append).unwrap();
        Self::Other(child, socket)
    }

    /// Writes value `number`.
    pub fn feed(&mut self, number: u64) {
        let bytes = value(number, 64);
        match self {
            Self::Exclusive(appender) => drop(appender.append(&bytes).unwrap()),
            Self::Shared(appender) => drop(appender.append(&bytes).unwrap()),
            Self::Writer(writer) => drop(writer.publish_bytes(&bytes).unwrap()),
            Self::Other(_, socket) => {
                socket.write_all(&number.to_le_bytes()).unwrap();
                socket.read_exact(&mut [0]).unwrap();
            }
        }
    }

    pub fn end(self) {
        if let Self::Other(child, socket) = self {
            drop(socket);
            common::succeed(child);
        }
    }
}

/// In a child: writes what its parent tells it to, until that is gone.
pub fn feeder() {
    let mut parent = common::to_parent();
    let thing = Thing::receive(&setting::<String>("SHMLOG_TEST_KIND"), &parent).unwrap();
    let mut feeder = Feeder::among_others(&thing);
    let mut number = [0; 8];
    while parent.read_exact(&mut number).is_ok() {
        feeder.feed(u64::from_le_bytes(number));
        parent.write_all(b"!").unwrap();
    }
}

/// Receives what is offered as raw descriptors, and as the library does.
pub fn intercept(kind: &str, socket: &UnixStream) -> (Vec<OwnedFd>, Thing) {
    let mut bytes = [0; 200];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let rights = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
        _ => None,
    });
    let fds: Vec<_> = rights.flatten().collect();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    sendmsg(&ours, &[IoSlice::new(&bytes[..got.bytes])], &mut control, SendFlags::NOSIGNAL).unwrap();
    let thing = Thing::receive(kind, theirs).unwrap();
    let mut answer = Vec::new();
    ours.read_to_end(&mut answer).unwrap();
    (&*socket).write_all(&answer).unwrap();
    (fds, thing)
}

/// This process's own descriptor that leads to `link` and can be written to.
pub fn own_descriptor(link: &str) -> RawFd {
    let is_it = |number: &RawFd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map_or("0", str::trim);
        let is_writable = u32::from_str_radix(flags, 8).unwrap() & 3 == 2;
        is_writable && fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|found| found == Path::new(link))
    };
    let numbers = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let mut numbers = numbers.filter_map(|name| name.to_str().unwrap().parse().ok());
    numbers.find(is_it).expect("the creator has a descriptor to write with")
}

/// Passes a thing to a process of `user`, has it try everything, and makes sure that all goes on meanwhile, and that
/// nothing but what the attempts say has changed. Returns what it said of each attempt.
pub fn examine(thing: &Thing, feeder: &mut Feeder, mut reader: Command, target: Target) -> Vec<(String, String)> {
    let link = thing.link(target.is_board);
    let map = mapping("/proc/self/maps", &link, "rw-s").unwrap();
    let own = own_descriptor(&link);
    let kind = if matches!(thing, Thing::Log(_)) { "log" } else { "snapshot" };
    reader.env("SHMLOG_TEST_KIND", kind).env("SHMLOG_TEST_LINK", &link);
    reader.env("SHMLOG_TEST_BOARD", target.is_board.to_string());
    reader.env("SHMLOG_TEST_FD", own.to_string());
    reader.env("SHMLOG_TEST_MAP_START", map.start.to_string()).env("SHMLOG_TEST_MAP_END", map.end.to_string());
    let (child, mut socket) = common::start(reader);
    feeder.feed(0);
    thing.send(&socket, target.access).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut said: Vec<(String, String)> = Vec::new();
    for line in lines.by_ref().take_while(|line| line != "done") {
        feeder.feed(said.len() as u64 + 1);
        let (attempt, outcome) = line.split_once('\t').unwrap();
        said.push((attempt.to_owned(), outcome.to_owned()));
    }
    let count = said.len() as u64 + 1;
    thing.check(count);
    let is_written = said.iter().any(|(_, outcome)| outcome.contains(WRITTEN));
    check_bytes(own, is_written);
    socket.write_all(&count.to_le_bytes()).unwrap();
    assert!(finish(child, common::PATIENCE).success(), "a reader failed");
    said
}

/// What of a thing is attacked, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub access: Access,
    pub is_board: bool,
}

/// Makes sure that the last word of a region carries the mark, or nothing, and that no page is missing.
fn check_bytes(own: RawFd, is_written: bool) {
    let file = File::open(format!("/proc/self/fd/{own}")).unwrap();
    let stat = file.metadata().unwrap();
    let mut word = [0; 8];
    file.read_exact_at(&mut word, stat.len() - 8).unwrap();
    assert_eq!(u64::from_le_bytes(word), if is_written { MARK } else { 0 });
    assert!(is_written || stat.blocks() * 512 >= stat.len(), "a hole was punched");
}

/// In a child: tries everything, then makes sure that it can still read.
pub fn reader() {
    let kind: String = setting("SHMLOG_TEST_KIND");
    let mut parent = common::to_parent();
    let (fds, thing) = intercept(&kind, &parent);
    assert_eq!(fds.len(), 2, "who may not write gets no lock file");
    let is_board: bool = setting("SHMLOG_TEST_BOARD");
    let received = fds.into_iter().nth(usize::from(is_board)).unwrap();
    let prey = Prey {
        len: rustix::fs::fstat(&received).unwrap().st_size.try_into().unwrap(),
        received,
        link: setting::<String>("SHMLOG_TEST_LINK"),
        parent: std::os::unix::process::parent_id().try_into().unwrap(),
        parents: setting("SHMLOG_TEST_FD"),
        parents_map: setting("SHMLOG_TEST_MAP_START")..setting("SHMLOG_TEST_MAP_END"),
    };
    prey.attack(|attempt, outcome| writeln!(parent, "{attempt}\t{outcome}").unwrap());
    writeln!(parent, "done").unwrap();
    let mut count = [0; 8];
    parent.read_exact(&mut count).unwrap();
    thing.check(u64::from_le_bytes(count));
}
