//! RLIMIT_MEMLOCK: nothing here locks memory, so nothing needs it.

use crate::alone::alone;
use crate::common::{is_root, payload};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, setuid};
use shmlog::{Access, Arena, Log, Snapshot, Start};

#[test]
fn a_process_that_may_lock_no_memory_can_do_everything() {
    alone("locked memory");
}

pub fn role() {
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
    if is_root() {
        // Root may lock what it likes.
        setuid(Uid::from_raw(65_534)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let named = Log::builder().windows(2).create_at(dir.path().join("log")).unwrap();
    for log in [Log::builder().windows(2).create_memfd("log").unwrap(), named] {
        let (mut appender, mut reader) = (log.appender().unwrap(), log.reader(Start::First).unwrap());
        reader.pin().unwrap();
        for number in 0..10_000 {
            appender.append(&payload(1, number, 40)).unwrap();
            assert_eq!(reader.try_next().unwrap().unwrap().to_vec().unwrap(), payload(1, number, 40));
        }
    }
    // Opening makes every page present.
    Log::open(dir.path().join("log"), Access::Append).unwrap();
    let state = Snapshot::builder().capacity_bytes(1 << 20).sparse(true).create_memfd("state").unwrap();
    state.writer().unwrap().publish_bytes(&payload(1, 0, 1 << 20)).unwrap();
    assert_eq!(state.reader().unwrap().load_bytes().unwrap().unwrap().value, payload(1, 0, 1 << 20));
    Arena::create_memfd("arena", 1 << 20).unwrap().allocate(8, 8).unwrap();
}
