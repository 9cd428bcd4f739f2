//! Making and attaching to regions.

use crate::layout::geometry::BadGeometry;
use std::io;
use std::path::PathBuf;

/// Why a region could not be made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A size that is out of range.
    #[error("it can't have this shape: {0}")]
    Geometry(BadGeometry),
    /// `HugePages::Require`: the pool of huge pages is too small.
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
    #[error(
        "no room for {wanted_bytes} bytes: free memory or disk space, raise the limit of the tmpfs or the control group (memory.max), or ask for less"
    )]
    NoSpace {
        /// Bytes of the region.
        wanted_bytes: u64,
    },
    /// RLIMIT_FSIZE, which anonymous files are subject to as well.
    #[error(
        "a file of {wanted_bytes} bytes is larger than this process may make, {limit_bytes}: raise RLIMIT_FSIZE (ulimit -f), or ask for less"
    )]
    FileLimit {
        /// Bytes of the region.
        wanted_bytes: u64,
        /// Bytes allowed.
        limit_bytes: u64,
    },
    /// `HugePages::Require` for a named log whose directory is not on a hugetlbfs of that page size.
    #[error(
        "{path} is on pages of {found_bytes} bytes, required are {wanted_bytes}: mount a hugetlbfs (mount -t hugetlbfs -o pagesize={wanted_bytes} none DIR) and make the log there"
    )]
    NotHugetlbfs {
        /// Where the log was to be.
        path: PathBuf,
        /// Bytes of a page there.
        found_bytes: u64,
        /// Bytes of a page wanted.
        wanted_bytes: u64,
    },
    /// A named file that is to be sealed against writing.
    #[error("{path}: only an anonymous log or snapshot can be sealed against writing (create_memfd)")]
    NoSeals {
        /// Where it was to be.
        path: PathBuf,
    },
    /// There is something of that name, and of another shape.
    #[error("{path} exists and has another shape than was asked for: open it as it is, or remove it first")]
    OtherShape {
        /// The name.
        path: PathBuf,
    },
    /// There is something of that name.
    #[error("{path} exists: open it, remove it (`Log::remove`, `Snapshot::remove`), or choose another name")]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The new region can't be used by this process.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The system refused.
    #[error("{doing}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl CreateError {
    pub(crate) fn os(doing: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Os { doing, error: error.into() }
    }
}

/// Why a region is not attached to. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no such log.
    #[error(
        "{path}: nothing there (a named log is a directory with the files log, board and lock; a snapshot one with snapshot, pins and writers)"
    )]
    NotFound {
        /// The name.
        path: PathBuf,
    },
    /// Its owner could truncate it under this process.
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
    /// The file has holes: touching one may find no memory.
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
    /// Its file was truncated while this process attached, or a hole in it can't be filled.
    #[error(
        "memory behind the {what} is gone: its file was truncated, a hole in it can't be filled, or a peer wiped it; make it anew"
    )]
    MemoryLost {
        /// Log, board, region, or arena.
        what: &'static str,
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
    Damaged(BadGeometry),
    /// Log and board belong to different logs.
    #[error("the board belongs to another log or snapshot")]
    OtherLog,
    /// /proc is needed to open a second description of a passed descriptor.
    #[error("/proc is not mounted: mount it (mount -t proc proc /proc), descriptors are reopened through it")]
    NoProc,
    /// The log uses asymmetric fences and this process, which wants to append, may not.
    #[error("membarrier(2) is not available here ({error}): create the log with Fencing::Portable")]
    NoBarrier {
        /// What the system said.
        error: io::Error,
    },
    /// The system refused.
    #[error("{doing}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl AttachError {
    pub(crate) fn os(doing: &'static str, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        if is_no_proc(&error) { Self::NoProc } else { Self::Os { doing, error } }
    }
}

/// Whether this is what `sys::reopen` says where there is no /proc, and not a system call or file system that does
/// not know what it was asked for (ENOSYS, EOPNOTSUPP).
pub(super) fn is_no_proc(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported && error.raw_os_error().is_none()
}
