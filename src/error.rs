//! One error type per operation. Each says what to do about it.

use crate::layout::geometry::BadGeometry;
use crate::log::Holder;
use std::io;
use std::path::PathBuf;

/// Why a region could not be made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A size that is out of range.
    #[error("the log can't have this shape: {0}")]
    Geometry(#[from] BadGeometry),
    /// `Pages::Require`: the pool of huge pages is too small.
    #[error(
        "{pages_wanted} huge pages of {page_bytes} bytes are needed, {pages_free} of {pages_total} in the pool are free; \
         enlarge it: echo {pages_needed} > /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages (2 MiB pages: sysctl vm.nr_hugepages={pages_needed})",
        page_bytes >> 10
    )]
    NoHugePages {
        /// Bytes of a page.
        page_bytes: u64,
        /// Pages that the region needs.
        pages_wanted: u64,
        /// Pages in the pool that nobody uses.
        pages_free: u64,
        /// Pages in the pool.
        pages_total: u64,
        /// A pool size that would do.
        pages_needed: u64,
    },
    /// Not enough memory or disk.
    #[error("no room for {wanted_bytes} bytes: free memory or disk space, raise the tmpfs size limit, or ask for less")]
    NoSpace {
        /// Bytes of the region.
        wanted_bytes: u64,
    },
    /// There is something of that name.
    #[error("{path} exists: open it, remove it with `Log::remove`, or choose another name")]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The new region can't be used by this process.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The system refused.
    #[error("{doing}: {source}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl CreateError {
    pub(crate) fn os(doing: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Os { doing, source: source.into() }
    }
}

/// Why a region is not attached to. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no such log.
    #[error("{path}: no log there (a named log is a directory with the files log, board and lock)")]
    NotFound {
        /// The name.
        path: PathBuf,
    },
    /// Its owner could truncate it under this process, which would then die of SIGBUS.
    #[error("the {what} is not sealed against resizing: its creator must seal it (F_SEAL_SHRINK | F_SEAL_GROW)")]
    NotSealed {
        /// Log, board or arena.
        what: &'static str,
    },
    /// The size is not what the region says, or too small to say anything.
    #[error(
        "the {what} has {found_bytes} bytes, expected are {expected_bytes}: it was truncated, or is something else"
    )]
    WrongSize {
        /// Log, board or arena.
        what: &'static str,
        /// Bytes there are.
        found_bytes: u64,
        /// Bytes there should be.
        expected_bytes: u64,
    },
    /// The file has holes: touching one may find no memory, which is a SIGBUS.
    #[error(
        "the {what} has {len_bytes} bytes of which {allocated_bytes} are allocated: a sparse copy? Copy it without holes"
    )]
    NotAllocated {
        /// Log, board or arena.
        what: &'static str,
        /// Bytes allocated.
        allocated_bytes: u64,
        /// Bytes there should be.
        len_bytes: u64,
    },
    /// The first word is not the magic: not a region of this kind, or one whose creator died.
    #[error("the {what} does not begin as one: a foreign file, or its creator never finished")]
    Foreign {
        /// Log, board or arena.
        what: &'static str,
    },
    /// Made by a newer version of this crate.
    #[error("the {what} has format version {found}, this crate knows {known}: use the version that made it")]
    NewerFormat {
        /// Log, board or arena.
        what: &'static str,
        /// Version found.
        found: u64,
        /// Version known.
        known: u64,
    },
    /// A field is out of range.
    #[error("the control page is damaged: {0}")]
    Damaged(#[from] BadGeometry),
    /// Log and board belong to different logs.
    #[error("the board belongs to another log")]
    OtherLog,
    /// /proc is needed to open a second description of a passed descriptor.
    #[error("/proc is not mounted: mount it (mount -t proc proc /proc), descriptors are reopened through it")]
    NoProc,
    /// The log uses asymmetric fences and this process may not.
    #[error("membarrier(2) is not available here ({source}): create the log with Fencing::Portable")]
    NoBarrier {
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error("{doing}: {source}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl AttachError {
    pub(crate) fn os(doing: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::Unsupported => Self::NoProc,
            _ => Self::Os { doing, source },
        }
    }
}

/// Why a handle could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The log was opened or received for reading only.
    #[error("the log is open for reading only: open it with Access::Append, or be sent it so")]
    ReadOnly,
    /// An exclusive appender is attached.
    #[error("an exclusive appender is attached: only one appender while it lives")]
    ExclusiveAttached,
    /// Other appenders are attached.
    #[error("other appenders are attached: an exclusive one must be alone")]
    OthersAttached,
    /// All slots are taken by the living.
    #[error("all {slots} slots for this role are taken: make the log with more (`LogBuilder::slots`)")]
    BoardFull {
        /// Slots there are.
        slots: usize,
    },
    /// A gate needs a log that waits for it.
    #[error("the log overwrites its oldest records: gated readers need Retention::Gated or Keep")]
    NotGated,
    /// The reader has no slot on the board.
    #[error("the reader has no slot on the board to hold a record with")]
    NoSeat,
    /// The record has been given up.
    #[error("record {seq} has been given up, the oldest is {oldest}")]
    Gone {
        /// The record wanted.
        seq: u64,
        /// The oldest one retained.
        oldest: u64,
    },
    /// The record does not exist yet.
    #[error("record {seq} does not exist yet")]
    Ahead {
        /// The record wanted.
        seq: u64,
    },
    /// The region breaks its own rules.
    #[error("the control page or an index is damaged: a peer wrote what no peer may")]
    Corrupt,
    /// This process can't take part.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The system refused.
    #[error("{doing}: {source}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl JoinError {
    pub(crate) fn os(doing: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::Unsupported => Self::Attach(AttachError::NoProc),
            _ => Self::Os { doing, source },
        }
    }
}

/// Why a record was not appended. Nothing of it is visible, and nothing was consumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It can't fit any segment.
    #[error(
        "a record of {len_bytes} bytes is too large, the limit is {limit_bytes}: split it, or make the log with larger windows"
    )]
    TooLarge {
        /// Bytes wanted; for a batch, with eight bytes a part.
        len_bytes: usize,
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// No window is free. Try again when the holder has moved on.
    #[error("the log is full since record {since}: {}", holder(by.as_ref()))]
    Full {
        /// Who holds the oldest segment; nobody if the log keeps everything.
        by: Option<Holder>,
        /// First record of the segment in the way.
        since: u64,
    },
    /// Somebody closed the log.
    #[error("the log is closed")]
    Closed,
    /// The region breaks its own rules.
    #[error("the control page or an index is damaged: a peer wrote what no peer may")]
    Corrupt,
    /// The kernel refuses the recyclers' barrier, which it granted on attach.
    #[error("membarrier(2) is refused now: a seccomp filter installed since? Create the log with Fencing::Portable")]
    NoBarrier,
}

fn holder(by: Option<&Holder>) -> String {
    by.map_or_else(
        || "it keeps everything; make it with more or larger windows, or another retention".to_owned(),
        |holder| format!("{holder} holds it"),
    )
}

/// Why a reservation was not committed. The bytes come back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CommitError {
    /// Why.
    pub error: AppendError,
    /// What had been written to the reservation.
    pub bytes: Vec<u8>,
}

/// Why there is no record to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The reader was slower than the log is long. It stands at `next` now, and each record missed is
    /// counted once.
    #[error("{missed} records were given up before they were read; the next is {next}")]
    Lagged {
        /// Records it will never see.
        missed: u64,
        /// The oldest record retained.
        next: u64,
    },
    /// This record was given up: before it was asked for by number, or while its bytes were being
    /// read. The reader stays where it is; one that reads in order has passed this record, and
    /// [`ReadError::Lagged`] does not count it again.
    #[error("record {seq} has been given up, the oldest is {oldest}")]
    GivenUp {
        /// The record.
        seq: u64,
        /// The oldest one retained.
        oldest: u64,
    },
    /// The log is closed and everything was read.
    #[error("the log is closed")]
    Closed,
    /// A word that no honest appender commits.
    #[error("the entry of record {seq} is damaged: a peer wrote what no peer may")]
    Corrupt {
        /// Where.
        seq: u64,
    },
    /// A value of another size was asked for.
    #[error("the record has {found_bytes} bytes, wanted are {wanted_bytes}")]
    WrongLength {
        /// Its length.
        found_bytes: usize,
        /// What fits.
        wanted_bytes: usize,
    },
    /// In-place access to a record that may be recycled, or can't be written.
    #[error("in-place access needs a gated or pinned reader, or a log that keeps everything")]
    NotHeld,
    /// In-place mutation on a read-only mapping.
    #[error("the log is open for reading only")]
    ReadOnly,
}

/// Why a region was not passed on, or not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The other process is gone, or closed its end.
    #[error("the peer closed the socket")]
    Gone,
    /// The other process did not answer.
    #[error("the peer did not answer within {waited_ms} ms")]
    Timeout {
        /// Milliseconds waited.
        waited_ms: u128,
    },
    /// What arrived is not an offer or an answer of this crate.
    #[error("the peer does not speak this protocol: {what}")]
    Foreign {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The other process speaks another version of the protocol.
    #[error("the peer speaks protocol version {theirs}, this process {ours}: use the same version of shmlog")]
    Version {
        /// The peer's version.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The regions are not what the offer says.
    #[error("the offer and the region differ in {field}")]
    Mismatch {
        /// In what.
        field: &'static str,
    },
    /// The receiver could not use what it was sent; it knows why.
    #[error("the peer refused the region: {reason}")]
    Refused {
        /// Its reason, in short.
        reason: &'static str,
    },
    /// More was asked for than this process may give.
    #[error("this process has the log for reading only and can't pass it on for appending")]
    ReadOnly,
    /// `shmlog::inherited` in a process that no `Log::spawn` started, or called twice.
    #[error("no log was inherited: the environment variable {variable} is missing or names no socket")]
    NotInherited {
        /// The variable.
        variable: &'static str,
    },
    /// The region can't be used.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The system refused.
    #[error("{doing}: {source}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl PassError {
    pub(crate) fn os(doing: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Os { doing, source: source.into() }
    }
}

/// Why an arena gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// Not enough is left. Nothing was consumed.
    #[error("{wanted_bytes} bytes are wanted, {left_bytes} are left")]
    Full {
        /// Bytes wanted.
        wanted_bytes: u64,
        /// Bytes left.
        left_bytes: u64,
    },
    /// An alignment that is no power of two, or more than a page.
    #[error("an alignment of {align_bytes} bytes: allowed are powers of two up to 4096")]
    Alignment {
        /// Bytes wanted.
        align_bytes: u64,
    },
    /// A handle that lies outside the arena: of another one, or made up.
    #[error("{len_bytes} bytes at {offset_bytes} lie outside the arena")]
    OutOfRange {
        /// Where.
        offset_bytes: u64,
        /// How long.
        len_bytes: u64,
    },
    /// The arena is mapped for reading only.
    #[error("the arena is open for reading only")]
    ReadOnly,
}
