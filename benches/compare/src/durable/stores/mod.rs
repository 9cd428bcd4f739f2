//! The list of what keeps logs on disk.

#[cfg(feature = "commitlog")]
mod commitlog;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "raft-engine")]
mod raft_engine;
mod raw;
#[cfg(feature = "redb")]
mod redb;
mod shmlog;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "walrus")]
mod walrus;

use super::play::play;
use super::store::Store;
use crate::case::Suite::{self, JournalAppend, JournalCommit, JournalOpen, JournalRandom, JournalScan};
use crate::system::{Kind, NoHome, System};

/// What several writers take part in.
const WRITING: &[Suite] = &[JournalAppend, JournalCommit];
const ALL: &[Suite] = &[JournalAppend, JournalCommit, JournalScan, JournalRandom, JournalOpen];

/// A system, or why it is not there.
macro_rules! peer {
    ($feature:literal, $name:literal, $kind:ident, $store:ty, $suites:expr) => {{
        #[cfg(feature = $feature)]
        let system = store::<$store>($name, Kind::$kind, $suites);
        #[cfg(not(feature = $feature))]
        let system = missing($name, Kind::$kind, $suites, concat!("built without `--features ", $feature, "`"));
        system
    }};
}

/// All systems, those that are missing too.
pub fn systems() -> Vec<System> {
    vec![
        store::<raw::Raw>("raw", Kind::Limit, ALL),
        store::<shmlog::Shmlog>("shmlog", Kind::Process, ALL),
        store::<shmlog::Shmlog>("shmlog-threads", Kind::Threads, WRITING),
        store::<shmlog::InParts>("shmlog-parts", Kind::Process, &[JournalCommit]),
        peer!("raft-engine", "raft-engine", Threads, raft_engine::RaftEngine, ALL),
        peer!(
            "okaywal",
            "okaywal",
            Threads,
            okaywal::OkayWal,
            &[JournalCommit, JournalScan, JournalRandom, JournalOpen]
        ),
        missing("okaywal", Kind::Threads, &[JournalAppend], "every commit syncs"),
        peer!("lmdb", "lmdb", Threads, lmdb::Lmdb, ALL),
        peer!("lmdb", "lmdb-processes", Process, lmdb::Lmdb, WRITING),
        peer!("sqlite", "sqlite", Threads, sqlite::Sqlite, ALL),
        peer!("sqlite", "sqlite-processes", Process, sqlite::Sqlite, WRITING),
        peer!("fjall", "fjall", Threads, fjall::Fjall, ALL),
        peer!("redb", "redb", Threads, redb::Redb, ALL),
        peer!("redb", "redb-processes", Process, redb::Redb, &[JournalCommit]),
        missing("redb-processes", Kind::Process, &[JournalAppend], "shared by processes, where every commit syncs"),
        peer!(
            "commitlog",
            "commitlog",
            Threads,
            commitlog::Log,
            &[JournalAppend, JournalScan, JournalRandom, JournalOpen]
        ),
        missing("commitlog", Kind::Threads, &[JournalCommit], "its flush does nothing: it never syncs"),
        peer!("walrus", "walrus", Threads, walrus::Wal, &[JournalAppend, JournalCommit, JournalScan, JournalOpen]),
        missing("walrus", Kind::Threads, &[JournalRandom], "reads on from a cursor, finds nothing by number"),
    ]
}

fn store<S: Store>(name: &'static str, kind: Kind, suites: &'static [Suite]) -> System {
    System { name, kind, suites, how: Ok((|_| Ok(Box::new(NoHome)), play::<S>)) }
}

fn missing(name: &'static str, kind: Kind, suites: &'static [Suite], why: &'static str) -> System {
    System { name, kind, suites, how: Err(why) }
}
