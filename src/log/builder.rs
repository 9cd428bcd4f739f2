//! Making a log.

use crate::core::memory::Retention;
use crate::create::{HugePages, OWNER, REOPENED, label, map_memfd, on_pages, padded, random_id, small_pages, unix_ns};
use crate::directory;
use crate::error::CreateError;
use crate::layout::geometry::Geometry;
use crate::log::{Access, Log};
use crate::mapped::{Mapped, board_bytes};
use crate::preamble::{self, Traits, check_slots};
use crate::region::Region;
use crate::sync::Fencing;
use crate::sys::inspect::small_page_bytes;
use crate::sys::memory::{self, Allocate, HugePage};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Settings of a new log, by [`Log::builder`].
///
/// ```
/// use shmlog::{HugePages, HugePageSize, Log, Retention};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = Log::builder()
///     .windows(4)
///     .window_bytes(256 << 10)
///     .record_bytes(40)
///     .retention(Retention::Overwrite)
///     .huge_pages(HugePages::Prefer(HugePageSize::TwoMiB))
///     .create_memfd("feed")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LogBuilder {
    windows: u64,
    window_bytes: u64,
    record_bytes: u64,
    entries: Option<u64>,
    retention: Retention,
    huge_pages: HugePages,
    fencing: Fencing,
    appender_slots: u64,
    reader_slots: u64,
    mode: u32,
    is_write_sealed: bool,
    first_seq: u64,
    has_floor: bool,
}

impl Default for LogBuilder {
    fn default() -> Self {
        Self {
            windows: 8,
            window_bytes: 2 << 20,
            record_bytes: 48,
            entries: None,
            retention: Retention::Gated,
            huge_pages: HugePages::Off,
            fencing: Fencing::Asymmetric,
            appender_slots: 64,
            reader_slots: 192,
            mode: 0o600,
            is_write_sealed: false,
            first_seq: 0,
            has_floor: false,
        }
    }
}

impl LogBuilder {
    /// Number of windows, 2 to 65,536; 8 by default. The log retains between `windows - 1` and
    /// `windows` segments. A footprint that fits the cache is the fastest.
    #[must_use]
    pub fn windows(mut self, windows: u64) -> Self {
        self.windows = windows;
        self
    }

    /// Bytes of a window, a power of two from 64 KiB to 128 MiB; 2 MiB by default. Bounds the
    /// length of a record.
    #[must_use]
    pub fn window_bytes(mut self, window_bytes: u64) -> Self {
        self.window_bytes = window_bytes;
        self
    }

    /// Length of a typical record; 48 by default. Shorter ones leave some of a window unused,
    /// longer ones some of its index; both are correct.
    #[must_use]
    pub fn record_bytes(mut self, record_bytes: u64) -> Self {
        self.record_bytes = record_bytes;
        self
    }

    /// Commit words of a segment, instead of as many as typical records fit. A segment holds at
    /// most one record less.
    #[must_use]
    pub fn entries(mut self, entries: u64) -> Self {
        self.entries = Some(entries);
        self
    }

    /// What happens to the oldest segment when the log has come round; [`Retention::Gated`] by
    /// default.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Huge pages; [`HugePages::Off`] by default. A named log has those of its file system, and only
    /// `Require` makes a difference there: it is an error if they are others.
    #[must_use]
    pub fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Which side pays for the fence between appending and recycling; asymmetric by default.
    #[must_use]
    pub fn fencing(mut self, fencing: Fencing) -> Self {
        self.fencing = fencing;
        self
    }

    /// How many appenders and readers can be attached at once, 1 to 4,096 each; 64 and 192 by
    /// default. Each costs 256 bytes.
    #[must_use]
    pub fn slots(mut self, appenders: u64, readers: u64) -> Self {
        (self.appender_slots, self.reader_slots) = (appenders, readers);
        self
    }

    /// Permissions of the three files of a named log; 0600 by default. Who may only read them can
    /// only observe ([`Access::Observe`]); reading with a slot takes write
    /// access to the board: give it another mode afterwards.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whether nobody but this process can ever write to the log, not even root: the kernel refuses
    /// (fcntl(2), F_SEAL_FUTURE_WRITE). For one feed handler and readers that must not be trusted. Nobody
    /// can take over when this process ends; and only an anonymous log can be sealed. False by default.
    ///
    /// The appender must live in this very process: children that are forked and not execed don't have the
    /// log.
    #[must_use]
    pub fn write_sealed(mut self, is_write_sealed: bool) -> Self {
        self.is_write_sealed = is_write_sealed;
        self
    }

    /// The number of the first record, at most `MAX_BASE` of the tip.
    pub(crate) fn first_seq(mut self, first_seq: u64) -> Self {
        self.first_seq = first_seq;
        self
    }

    /// Whether the log is given a floor: see `Mapped::floor`.
    pub(crate) fn floor(mut self, has_floor: bool) -> Self {
        self.has_floor = has_floor;
        self
    }

    /// Makes an anonymous log, to be passed on by descriptor. `name` is for people, at most 64
    /// bytes of it.
    ///
    /// All memory is allocated and the regions are sealed against resizing before this returns.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_memfd(&self, name: &str) -> Result<Log, CreateError> {
        let (log, traits) = self.create_log_memfd(name)?;
        let beside = |what: &str, bytes| memory::create_memfd(&label(name, what), bytes, None, REOPENED, Allocate::All);
        let log = map_memfd(log, "log", self.is_write_sealed)?;
        let board = map_memfd(beside("board", small_pages(board_bytes(&traits)))?, "board", false)?;
        self.format(&traits, log, board, beside("lock", 0)?)
    }

    /// Makes a named log: a directory at `path` with the files `log`, `board` and `lock`, which
    /// appears at once and whole. On a mounted hugetlbfs the files consist of huge pages.
    ///
    /// The log survives its processes; on tmpfs and hugetlbfs as long as the machine runs. On a
    /// disk it is no journal: after a power failure its content is undefined.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create_at(&self, path: impl AsRef<Path>) -> Result<Log, CreateError> {
        let path = path.as_ref();
        if self.is_write_sealed {
            return Err(CreateError::NoSeals { path: path.to_owned() });
        }
        directory::create(path, |dir, page_bytes| {
            if let HugePages::Require(size) = self.huge_pages
                && HugePage::from(size).bytes() != page_bytes
            {
                let wanted_bytes = HugePage::from(size).bytes();
                return Err(CreateError::NotHugetlbfs { path: path.to_owned(), found_bytes: page_bytes, wanted_bytes });
            }
            let traits = self.traits(&directory::name_of(path), page_bytes)?;
            let make = |name, bytes: u64| {
                let whole = bytes.next_multiple_of(page_bytes);
                memory::create_file(&dir.join(name), whole, self.mode, Allocate::All)
            };
            let log = Region::map(make(directory::LOG.region, traits.geometry.region_bytes())?.into(), true, "log")?;
            let board = Region::map(make(directory::LOG.board, board_bytes(&traits))?.into(), true, "board")?;
            self.format(&traits, log, board, make(directory::LOG.lock, 0)?)
        })
    }

    /// Opens the named log at `path` for appending, or makes it if there is none; for a process that is started
    /// again. Others may do the same at once.
    ///
    /// # Errors
    /// [`CreateError::OtherShape`] if what is there has other sizes or retention; else [`CreateError`].
    pub fn open_or_create_at(&self, path: impl AsRef<Path>) -> Result<Log, CreateError> {
        let path = path.as_ref();
        match self.create_at(path) {
            Err(CreateError::Exists { .. }) => {}
            made => return made,
        }
        let there = Log::open(path, Access::Append)?;
        let found = there.mapped().traits();
        let wanted = self.traits("", found.geometry.page_bytes)?;
        let shape = |traits: &Traits| (traits.geometry, traits.retention, traits.fencing);
        if shape(found) != shape(&wanted) {
            return Err(CreateError::OtherShape { path: path.to_owned() });
        }
        Ok(there)
    }

    fn create_log_memfd(&self, name: &str) -> Result<(File, Traits), CreateError> {
        on_pages(self.huge_pages, |huge| {
            let traits = self.traits(name, huge.map_or_else(small_page_bytes, HugePage::bytes))?;
            let file =
                memory::create_memfd(&label(name, "log"), traits.geometry.region_bytes(), huge, OWNER, Allocate::All)?;
            Ok((file, traits))
        })
    }

    fn traits(&self, name: &str, page_bytes: u64) -> Result<Traits, CreateError> {
        let entries = self.entries.unwrap_or_else(|| Geometry::entries_for(self.window_bytes, self.record_bytes));
        let geometry = Geometry { window_bytes: self.window_bytes, windows: self.windows, entries, page_bytes };
        Ok(Traits {
            id: random_id()?,
            geometry: geometry.check()?,
            retention: self.retention,
            fencing: self.fencing,
            appender_slots: check_slots("appender_slots", self.appender_slots)?,
            reader_slots: check_slots("reader_slots", self.reader_slots)?,
            created_unix_ns: unix_ns(),
            has_floor: self.has_floor,
            name: padded(name),
        })
    }

    fn format(&self, traits: &Traits, log: Region, board: Region, lock: File) -> Result<Log, CreateError> {
        log.populate()?;
        board.populate()?;
        preamble::format_board(&board, traits)?;
        preamble::format_log(&log, traits, self.first_seq)?;
        Ok(Log::of(Mapped::attach(log, Some(board), Some(OwnedFd::from(lock)))?))
    }
}
