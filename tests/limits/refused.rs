//! System calls that a sandbox or an old kernel refuses: each a typed error that names it, or what is documented
//! instead; no panic, no hang.

use crate::alone::{alone, errno_of};
use crate::common::payload;
use crate::filter::Which::{All, With, WithBits, WithoutBits};
use crate::filter::{Which, in_fork, refuse};
use nix::libc::{
    EINVAL, ENOSYS, EOPNOTSUPP, EPERM, F_ADD_SEALS, F_OFD_GETLK, F_OFD_SETLK, MAP_SHARED, SYS_eventfd2, SYS_fallocate,
    SYS_fcntl, SYS_fstatfs, SYS_ftruncate, SYS_futex, SYS_getrandom, SYS_getsockopt, SYS_madvise, SYS_membarrier,
    SYS_memfd_create, SYS_mmap, SYS_pidfd_open, SYS_ppoll, SYS_recvmsg, SYS_renameat2, SYS_sendmsg, SYS_socket,
    SYS_socketpair,
};
use shmlog::{
    Access, AppendError, Arena, AttachError, CreateError, Fencing, Hub, HubClient, HubError, HubEvent, JoinError,
    LoadError, Log, LogBuilder, PassError, Retention, Snapshot, Start,
};
use std::error::Error;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn a_refused_system_call_is_an_error_or_has_a_substitute() {
    alone("refused");
}

#[cfg(target_arch = "x86_64")]
const POLLS: [Which; 2] = [All(nix::libc::SYS_poll), All(SYS_ppoll)];
#[cfg(not(target_arch = "x86_64"))]
const POLLS: [Which; 1] = [All(SYS_ppoll)];

const TICK: Duration = Duration::from_millis(2);

fn small() -> LogBuilder {
    Log::builder().windows(2).window_bytes(64 << 10)
}

pub fn role() {
    creating();
    mapping();
    locking();
    fencing();
    waiting();
    handing_on();
    hubs();
}

/// Both ways to make a log fail at `doing`, and nothing is left.
fn refuse_making(calls: &[Which], errno: i32, doing: [&str; 2]) {
    in_fork(&format!("{calls:?}"), move || {
        let dir = tempfile::tempdir().unwrap();
        refuse(calls, errno);
        for (made, doing) in
            [(small().create_memfd("log"), doing[0]), (small().create_at(dir.path().join("log")), doing[1])]
        {
            let error = made.expect_err(doing);
            assert!(error.to_string().contains(doing), "{error}");
            assert_eq!(errno_of(&error), Some(errno), "{error}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{doing:?}");
    });
}

fn creating() {
    refuse_making(&[All(SYS_ftruncate)], EPERM, ["sizing the memfd", "sizing the file"]);
    refuse_making(&[All(SYS_getrandom)], ENOSYS, ["getrandom", "getrandom"]);
    refuse_making(&[All(SYS_fallocate)], EPERM, ["allocating the file", "allocating the file"]);
    refuse_making(&[All(SYS_fstatfs)], ENOSYS, ["inspecting the file", "fstatfs"]);
    in_fork("memfd_create", || {
        let dir = tempfile::tempdir().unwrap();
        refuse(&[All(SYS_memfd_create)], ENOSYS);
        let error = small().create_memfd("log").unwrap_err();
        assert!(matches!(error, CreateError::Os { doing: "memfd_create", .. }), "{error:?}");
        use_log(&small().create_at(dir.path().join("log")).unwrap());
    });
    in_fork("sealing", || {
        refuse(&[With(SYS_fcntl, 1, F_ADD_SEALS.cast_unsigned())], EPERM);
        let error = small().create_memfd("log").unwrap_err();
        assert!(matches!(error, CreateError::Os { doing: "sealing the memfd", .. }), "{error:?}");
    });
    refuse_making_named(EPERM);
    // A directory that has files in it is replaced by no rename; a file is, so that an arena can't do without.
    for errno in [ENOSYS, EINVAL] {
        in_fork("renameat2", move || {
            let dir = tempfile::tempdir().unwrap();
            refuse(&[All(SYS_renameat2)], errno);
            use_log(&small().create_at(dir.path().join("log")).unwrap());
            assert!(matches!(small().create_at(dir.path().join("log")), Err(CreateError::Exists { .. })));
            let error = Arena::create_at(dir.path().join("arena"), 4096).unwrap_err();
            assert!(matches!(error, CreateError::Os { doing: "renaming what was made", .. }), "{error:?}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the log");
        });
    }
    // Zeroes are written instead, but for what is allocated as it is used.
    for errno in [ENOSYS, EOPNOTSUPP] {
        in_fork("fallocate", move || {
            let dir = tempfile::tempdir().unwrap();
            refuse(&[All(SYS_fallocate)], errno);
            use_log(&small().create_memfd("log").unwrap());
            use_log(&small().create_at(dir.path().join("log")).unwrap());
            let error = Snapshot::builder().sparse(true).create_memfd("sparse").unwrap_err();
            assert!(error.to_string().contains("fallocate"), "{error}");
        });
    }
}

fn refuse_making_named(errno: i32) {
    in_fork("renaming", move || {
        let dir = tempfile::tempdir().unwrap();
        refuse(&[All(SYS_renameat2)], errno);
        let error = small().create_at(dir.path().join("log")).unwrap_err();
        assert!(matches!(error, CreateError::Os { doing: "renaming what was made", .. }), "{error:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

fn use_log(log: &Log) {
    let (mut appender, mut reader) = (log.appender().unwrap(), log.reader(Start::First).unwrap());
    for number in 0..5000 {
        appender.append(&payload(1, number, 40)).unwrap();
        assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), payload(1, number, 40));
    }
}

fn mapping() {
    let shared = WithBits(SYS_mmap, 3, MAP_SHARED.cast_unsigned());
    refuse_making(&[shared], EPERM, ["mapping", "mapping"]);
    // /proc was blamed for whatever the system does not know.
    refuse_making(&[shared], ENOSYS, ["mapping", "mapping"]);
    // Before Linux 5.14 it has no such advice.
    refuse_making(&[All(SYS_madvise)], EINVAL, ["populating the mapping", "populating the mapping"]);
}

/// Also what a file system says that knows no locks. /proc was blamed.
fn locking() {
    for errno in [ENOSYS, EOPNOTSUPP, EINVAL] {
        in_fork("locks", move || {
            let (log, state) =
                (small().create_memfd("log").unwrap(), Snapshot::builder().create_memfd("state").unwrap());
            refuse(&[With(SYS_fcntl, 1, F_OFD_SETLK.cast_unsigned())], errno);
            let is_lock = |error: Option<JoinError>| {
                error.is_some_and(|error| matches!(error, JoinError::Os { .. }) && errno_of(&error) == Some(errno))
            };
            assert!(is_lock(log.appender().err()) && is_lock(log.exclusive().err()) && is_lock(state.writer().err()));
            assert!(is_lock(log.reader_builder().gated(true).start(Start::First).err()));
            assert!(log.reader(Start::First).unwrap().try_next().unwrap().is_none());
        });
    }
    in_fork("asking for locks", || {
        let log = small().create_memfd("log").unwrap();
        let mut appender = log.appender().unwrap();
        let _reader = log.reader_builder().gated(true).start(Start::First).unwrap();
        refuse(&[With(SYS_fcntl, 1, F_OFD_GETLK.cast_unsigned())], ENOSYS);
        assert!(log.info().participants.iter().all(|participant| participant.is_alive.is_none()));
        // Who can't be asked about counts as alive.
        let full = (0..1_000_000).find_map(|_| appender.append(&[0; 100]).err());
        assert!(matches!(full, Some(AppendError::Full { by: Some(_), .. })), "{full:?}");
    });
}

fn fencing() {
    in_fork("membarrier", || {
        refuse(&[All(SYS_membarrier)], ENOSYS);
        let (log, state) = (small().create_memfd("log").unwrap(), Snapshot::builder().create_memfd("state").unwrap());
        let is_barrier = |error| matches!(error, Some(JoinError::Attach(AttachError::NoBarrier { .. })));
        assert!(
            is_barrier(log.appender().err()) && is_barrier(log.exclusive().err()) && is_barrier(state.writer().err())
        );
        use_log(&small().fencing(Fencing::Portable).create_memfd("log").unwrap());
        let state = Snapshot::builder().fencing(Fencing::Portable).create_memfd("state").unwrap();
        state.writer().unwrap().publish(&7_u64).unwrap();
        assert_eq!(state.reader().unwrap().pin().unwrap().unwrap().read::<u64>().unwrap(), 7);
    });
    in_fork("membarrier, later", || {
        let log = small().retention(Retention::Overwrite).create_memfd("log").unwrap();
        let state = Snapshot::builder().create_memfd("state").unwrap();
        let (mut appender, mut writer) = (log.appender().unwrap(), state.writer().unwrap());
        let (mut reader, mut waiting) = (state.reader().unwrap(), log.reader(Start::First).unwrap());
        writer.publish(&7_u64).unwrap();
        refuse(&[All(SYS_membarrier)], EPERM);
        assert!(!waiting.wait_next(TICK).unwrap());
        let refused = (0..1_000_000).find_map(|_| appender.append(&[0; 100]).err());
        assert_eq!(refused, Some(AppendError::NoBarrier));
        assert!(matches!(reader.pin(), Err(LoadError::NoBarrier)));
        writer.publish(&8_u64).unwrap();
        assert_eq!(reader.load::<u64>().unwrap().unwrap().value, 8);
    });
}

/// Who can't sleep looks again and again, and wakes whom nobody wakes.
fn waiting() {
    let shared_futex = [WithoutBits(SYS_futex, 1, nix::libc::FUTEX_PRIVATE_FLAG.cast_unsigned())];
    for errno in [ENOSYS, EPERM] {
        in_fork("futex", move || {
            let log = small().retention(Retention::Gated).create_memfd("log").unwrap();
            let state = Snapshot::builder().create_memfd("state").unwrap();
            let mut appender = log.appender().unwrap();
            let mut reader = log.reader_builder().gated(true).start(Start::First).unwrap();
            refuse(&shared_futex, errno);
            assert!(!reader.wait_next(TICK).unwrap());
            appender.append(b"x").unwrap();
            assert!(reader.wait_next(Duration::MAX).unwrap());
            while appender.append(&[0; 100]).is_ok() {}
            assert!(matches!(appender.append_wait(&[0; 100], TICK), Err(AppendError::Full { .. })));
            while reader.try_next().unwrap().is_some() {}
            appender.append_wait(&[0; 100], Duration::MAX).unwrap();
            let mut states = state.reader().unwrap();
            assert!(!states.wait_unseen(TICK));
            state.writer().unwrap().publish(&7_u64).unwrap();
            assert!(states.wait_unseen(Duration::MAX) && states.load::<u64>().unwrap().is_some());
        });
    }
}

fn handing_on() {
    in_fork("sending", || fail_to_pass(&[All(SYS_sendmsg)], |log, socket| log.send(&socket, Access::Read).err()));
    in_fork("waiting for an offer", || fail_to_pass(&POLLS, |_, socket| Log::receive(&socket).err()));
    in_fork("receiving", || fail_to_pass(&[All(SYS_recvmsg)], |_, socket| Log::receive(&socket).err()));
    in_fork("starting a worker", || {
        fail_to_pass(&[All(SYS_socketpair)], |log, _| log.spawn(&mut Command::new("true"), Access::Read).err());
    });
}

fn fail_to_pass(calls: &[Which], attempt: fn(&Log, UnixStream) -> Option<PassError>) {
    let log = small().create_memfd("log").unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut theirs, &[0; 8]).unwrap();
    refuse(calls, EPERM);
    let error = attempt(&log, ours).expect("it is refused");
    assert!(matches!(error, PassError::Os { .. }) && errno_of(&error) == Some(EPERM), "{error:?}");
    use_log(&log);
}

fn is_unknown<T, E: Error + 'static>(done: Result<T, E>) -> bool {
    done.is_err_and(|error| errno_of(&error) == Some(ENOSYS))
}

fn hub_at(dir: &TempDir) -> Result<Hub, HubError> {
    Hub::builder().listen(path_in(dir.path()), 0o600)
}

fn path_in(dir: &Path) -> std::path::PathBuf {
    dir.join("hub")
}

fn hubs() {
    for number in [SYS_socket, SYS_eventfd2] {
        in_fork("a hub", move || {
            let dir = tempfile::tempdir().unwrap();
            refuse(&[All(number)], ENOSYS);
            assert!(is_unknown(hub_at(&dir)));
            assert!(number == SYS_eventfd2 || is_unknown(HubClient::connect(path_in(dir.path()))));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        });
    }
    // Nobody can be followed: each is told, and the hub goes on.
    in_fork("pidfd_open", || {
        let dir = tempfile::tempdir().unwrap();
        let arena = Arena::create_memfd("arena", 4096).unwrap();
        let mut hub = hub_at(&dir).unwrap();
        hub.add_arena("arena", arena.into()).unwrap();
        const SO_PEERPIDFD: u32 = 77;
        refuse(&[With(SYS_getsockopt, 2, SO_PEERPIDFD)], nix::libc::ENOPROTOOPT);
        refuse(&[All(SYS_pidfd_open)], ENOSYS);
        for _ in 0..2 {
            let mut client = HubClient::connect(path_in(dir.path())).unwrap();
            let events = hub.step(Duration::from_secs(60)).unwrap();
            assert!(matches!(events[..], [HubEvent::Dropped { .. }]), "{events:?}");
            assert!(matches!(client.arena("arena", Access::Read), Err(HubError::Gone)));
        }
    });
}
