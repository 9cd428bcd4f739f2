//! Journals.

use crate::error::{AppendError, AttachError, CreateError, JoinError, ReadError};
use std::io;
use std::path::PathBuf;

mod system;

/// Why a journal does not do what it was asked. Nothing that was acknowledged is lost by any of these.
///
/// A `file` is a path, with the journal's directory in front.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A setting out of range, by its name in the configuration file.
    #[error("{key} is {value}, allowed is {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A configuration file has a key that is none.
    #[error("there is no setting {key:?}; there are: {known}")]
    UnknownSetting {
        /// The key.
        key: String,
        /// Those that there are.
        known: &'static str,
    },
    /// A configuration file is not as TOML or JSON are.
    #[error("line {line}: {what}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A configuration file can't be used.
    #[error("{path}: {error}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<JournalError>,
    },
    /// There is no journal, and none was to be made.
    #[error("{dir}: no journal there, or one whose files have another prefix; `Journal::open` would make one")]
    NotFound {
        /// The directory.
        dir: PathBuf,
    },
    /// The file is of another format.
    #[error("{file} has format {found}, this version of shmlog knows {known}: use the one that wrote it")]
    Version {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The one known here.
        known: u32,
    },
    /// The control file says nothing, but there are records.
    #[error("{file} is damaged or lost, and there are files of records: `repair` makes it anew from them")]
    Control {
        /// The file.
        file: String,
    },
    /// Records that had been acknowledged can't be read from their file.
    #[error(
        "{file} is damaged at byte {offset}, where record {seq} should be; records below {durable} were durable. Nothing \
         was changed: `verify` says which records are gone, `repair` goes on without them"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// The record that is not there.
        seq: u64,
        /// Records below this one were durable.
        durable: u64,
    },
    /// Which records of a file are deleted can't be read, though it had been durable.
    #[error(
        "{file} is damaged at byte {offset}: which records were deleted there is not known, and none is to come back unasked. \
         Nothing was changed: `repair` keeps the deletions that can be read"
    )]
    MarksDamaged {
        /// The file of deletion marks.
        file: String,
        /// Where in it.
        offset: u64,
    },
    /// A file is not there any more.
    #[error(
        "the file before {file} is missing: records {from} to {} are gone. Bring it back, or let `repair` go on without it",
        to.saturating_sub(1)
    )]
    FileLost {
        /// The file whose predecessor is missing.
        file: String,
        /// First record that is gone.
        from: u64,
        /// The first one after them.
        to: u64,
    },
    /// No room for another file. The journal goes on when there is room: try again.
    #[error(
        "the disk, or this user's quota of it, is full: {wanted_bytes} bytes more are needed for {file}. Nothing is lost; free \
         some room, or give up old records, and go on"
    )]
    DiskFull {
        /// The file.
        file: String,
        /// Its length.
        wanted_bytes: u64,
    },
    /// Writing to the disk failed once: what was not durable by then may not be on it. Said to everybody until all have
    /// closed the journal; who opens it then goes on from what is there.
    #[error(
        "{dir}: {what} failed ({error}), and so has the journal: nothing is acknowledged any more. Close it everywhere and open it again"
    )]
    Failed {
        /// The directory.
        dir: PathBuf,
        /// What was done.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Other processes have the journal open with a front that this one can't see.
    #[error(
        "{path} can't be opened, though others use it as the journal's front: it is in another mount namespace, or was \
         removed. Close the journal everywhere, or place the front in its directory (front = \"directory\")"
    )]
    FrontUnreachable {
        /// Where it should be.
        path: PathBuf,
    },
    /// Somebody opens the journal, and is not done with it.
    #[error("{dir}: another process has been opening or closing the journal for {waited_ms} ms")]
    Busy {
        /// The directory.
        dir: PathBuf,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// What the records in memory are kept in is damaged.
    #[error(
        "the front of the journal is damaged at record {seq}: a peer wrote what no peer may. Close it everywhere and open it again"
    )]
    FrontCorrupt {
        /// The record.
        seq: u64,
    },
    /// Others have it open.
    #[error("{dir}: the journal is open in other processes, close it there first")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// Records that a repair went on without.
    #[error("records {from} to {} are lost: the journal was repaired without them", to.saturating_sub(1))]
    Lost {
        /// The first one.
        from: u64,
        /// The first one after them.
        to: u64,
    },
    /// This one record was given up.
    #[error("record {seq} was given up, the oldest is {oldest}")]
    GivenUp {
        /// The record.
        seq: u64,
        /// The oldest record that is there.
        oldest: u64,
    },
    /// The record was deleted.
    #[error("record {seq} was deleted")]
    Deleted {
        /// The record.
        seq: u64,
    },
    /// There is no cursor of that name any more.
    #[error("there is no cursor {name:?}: somebody removed it")]
    NoCursor {
        /// Its name.
        name: String,
    },
    /// All places of cursors are taken.
    #[error("a journal has at most {limit} cursors: remove one")]
    TooManyCursors {
        /// How many there may be.
        limit: usize,
    },
    /// This process was forked from the one that opened the journal.
    #[error("this process was forked from the one that opened the journal: open it here too")]
    Forked,
    /// This process closed the journal, and what was to become durable did not exist, or was not durable by then.
    #[error("the journal was closed before the records were durable, or were there at all")]
    Closed,
    /// It is open for reading only here.
    #[error("the journal is open for reading only here: to change it, open it without `read_only`")]
    ReadOnly,
    /// Others recovered or repaired the journal since this process opened it for reading only. It sees nothing of what
    /// they append, and what it was looking for may be gone, or elsewhere.
    #[error("others have begun the journal anew since it was opened here for reading only: open it again")]
    LeftBehind,
    /// Records were given up before they were read in order.
    #[error("{missed} records were given up before they were read; the next is {next}")]
    Lagged {
        /// Records it will never see.
        missed: u64,
        /// The oldest record that is there.
        next: u64,
    },
    /// Appending.
    #[error("{}", appending(.0))]
    Append(AppendError),
    /// Reading from memory.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Taking a handle, or going to a record that does not exist yet.
    #[error("{}", joining(.0))]
    Join(JoinError),
    /// Opening the front.
    #[error("the front: {0}")]
    Attach(AttachError),
    /// Making the front.
    #[error("the front: {0}")]
    Create(CreateError),
    /// This process may not do that.
    #[error(
        "{doing} {file}: {error}. Run as a user who may, or change its permissions; who may only read opens the journal with \
         `read_only`"
    )]
    Denied {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// Nobody may, as long as the file system is mounted like this.
    #[error("{doing} {file}: {error}. Mount the file system for writing, or open the journal with `read_only`")]
    ReadOnlyMount {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file system, or the kernel, lacks what a journal can't do without.
    #[error(
        "{doing} {file}: {error}. The file system lacks what a journal needs: put it on another, such as ext4, xfs, btrfs or \
         tmpfs"
    )]
    Unsupported {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// This process may not make files so large, or the file system has none.
    #[error(
        "{doing} {file}: {error}. Raise RLIMIT_FSIZE (ulimit -f), or make the journal with smaller files and a smaller front"
    )]
    FileLimit {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// The system refused.
    #[error("{doing} {file}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
}

/// What the log says, with what to do about it in a journal.
fn appending(error: &AppendError) -> String {
    match error {
        AppendError::TooLarge { len_bytes, limit_bytes } => format!(
            "a record of {len_bytes} bytes is too large, the limit is {limit_bytes}: split it, or make the journal with a larger \
             front_window_bytes and file_bytes"
        ),
        error => error.to_string(),
    }
}

/// What the log says, with what to do about it in a journal.
fn joining(error: &JoinError) -> String {
    match error {
        JoinError::Ahead { .. } => error.to_string(),
        JoinError::BoardFull { slots } => format!(
            "a journal has at most {slots} appenders in all processes together: drop some, or let threads share one"
        ),
        error => format!("the front: {error}"),
    }
}
