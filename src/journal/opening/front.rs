//! The front: the gated log in memory that the processes which have a journal open append to, and the words beside it.
//!
//! It lives as long as the boot. Where it is stands in the control file, so that all who open the journal meet there.

use crate::core::memory::Retention;
use crate::core::{hold, locate};
use crate::create::random_id;
use crate::directory;
use crate::error::{AttachError, CreateError, JournalError};
use crate::journal::files::names::Names;
use crate::journal::format::control::{MAX_PATH_BYTES, Place};
use crate::journal::opening::origin::{self, ORIGIN};
use crate::journal::settings::{FrontHome, Settings};
use crate::journal::state::{Owner, Progress, State};
use crate::layout::geometry::{MIN_WINDOW_BYTES, MIN_WINDOWS};
use crate::layout::journal::JOURNAL_STATE_BYTES;
use crate::log::{Access, Log};
use crate::participant::Role;
use crate::sync::Ordering::Relaxed;
use crate::sys::inspect::is_in_memory;
use crate::sys::memory::{Allocate, create_file, create_memfd};
use rustix::fs::OFlags;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where tmpfs is, usually.
const SHARED_MEMORY: &str = "/dev/shm";
/// The file of the words, beside those of the log; and the one of the words that replace them, or the other way round.
pub(crate) const STATES: [&str; 2] = ["state", "state.new"];
/// Readers that may be attached, and the floor.
const READER_SLOTS: u64 = 193;
const APPENDER_SLOTS: u64 = 64;

/// A front that was found or made.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) log: Log,
    pub(crate) state: State,
    /// The file that the words are in.
    pub(crate) state_name: &'static str,
    pub(crate) path: PathBuf,
}

/// Identity of this boot of the machine.
pub(crate) fn boot_id() -> Result<u128, JournalError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|error| JournalError::os("reading", path, error))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_err(|_| JournalError::os("reading", path, std::io::ErrorKind::InvalidData))
}

impl Front {
    /// Opens the front at `path`. `None`: it is not there, or not this one, or of another boot.
    pub(crate) fn find(path: &Path, owner: Owner, access: Access) -> Result<Option<Self>, JournalError> {
        let log = match Log::open(path, access) {
            Ok(log) => log,
            Err(error) if is_unfit(&error) => return Ok(None),
            Err(error) => return Err(JournalError::front("opening the front", path, 0, error)),
        };
        if log.mapped().traits().id != owner.front || log.mapped().floor().is_none() {
            return Ok(None);
        }
        for state_name in STATES {
            if let Some((state, found)) = find_state(path, state_name, access)?
                && found == owner
            {
                return Ok(Some(Self { log, state, state_name, path: path.to_owned() }));
            }
        }
        Ok(None)
    }

    /// The record after the newest one.
    pub(crate) fn end(&self) -> u64 {
        locate::end(&**self.log.mapped()).map_or(0, |(end, _)| end)
    }

    /// Whether it ends before what was taken out of it: its memory is not as it was left.
    pub(crate) fn is_short(&self) -> bool {
        // In this order: the other way round, somebody may append and flush in between.
        let written = self.state.written();
        self.end() < written
    }

    /// Makes a front whose first record is that of `at`.
    pub(crate) fn make(
        dir: &Path,
        names: &Names,
        settings: &Settings,
        owner: Owner,
        at: Place,
        oldest: u64,
    ) -> Result<Self, JournalError> {
        let in_directory = dir.join(names.front());
        let bytes = settings.front_windows * settings.front_window_bytes;
        let named =
            |path: &Path, error| JournalError::front("making the front (`front` says where)", path, bytes, error);
        let make = |path: &Path| Self::make_at(path, settings, owner, at, oldest).map_err(|error| named(path, error));
        let away = |made: Result<Self, JournalError>| {
            // Best effort: not all file systems have handles.
            let _ = made.as_ref().map(|front| origin::put(&front.path, &dir.join(names.lock()), settings.mode));
            made
        };
        let home = match &settings.front {
            FrontHome::Auto => PathBuf::from(SHARED_MEMORY),
            // Others have other working directories.
            FrontHome::At(home) => std::path::absolute(home)
                .map_err(|error| JournalError::os("finding", home.display().to_string(), error))?,
            FrontHome::Directory => return make(&in_directory),
        };
        let nonce = random_id()? & u128::from(u32::MAX);
        let path = home.join(format!("{}{nonce:08x}", stem(owner)));
        let is_fitting = path.as_os_str().len() <= MAX_PATH_BYTES && path.to_str().is_some();
        if settings.front == FrontHome::Auto {
            if is_fitting && is_tmpfs(&home) {
                sweep(&home, owner);
                match Self::make_at(&path, settings, owner, at, oldest) {
                    Err(error) if is_no_place(&error) => {}
                    made => return away(made.map_err(|error| named(&path, error))),
                }
            }
            tracing::info!(front = %in_directory.display(), "no room on tmpfs: the front is in the journal's directory");
            return make(&in_directory);
        }
        if !is_fitting {
            let value = path.display().to_string();
            return Err(JournalError::Setting { key: "front", value, allowed: "a path of at most 230 bytes of UTF-8" });
        }
        sweep(&home, owner);
        away(make(&path))
    }

    /// A front of this process's own, of a journal that nobody appends to: nothing is in it.
    pub(crate) fn alone(
        settings: &Settings,
        owner: Owner,
        progress: Progress,
        oldest: u64,
    ) -> Result<Self, JournalError> {
        let builder = Log::builder().windows(MIN_WINDOWS).window_bytes(MIN_WINDOW_BYTES).slots(1, 1);
        let log = builder.first_seq(progress.written.seq).create_memfd("journal")?;
        let owner = Owner { front: log.mapped().traits().id, ..owner };
        let file = create_memfd("shmlog:journal:state", JOURNAL_STATE_BYTES, None, settings.mode, Allocate::All)?;
        let state = State::format(file.into(), owner, progress.written, oldest)?;
        state.publish(progress);
        Ok(Self { log, state, state_name: STATES[0], path: PathBuf::new() })
    }

    fn make_at(path: &Path, settings: &Settings, owner: Owner, at: Place, oldest: u64) -> Result<Self, JournalError> {
        remove(path);
        let log = Log::builder()
            .windows(settings.front_windows)
            .window_bytes(settings.front_window_bytes)
            .record_bytes(settings.record_bytes)
            .retention(Retention::Gated)
            .slots(APPENDER_SLOTS, READER_SLOTS)
            .mode(settings.mode)
            .first_seq(at.seq)
            .floor(true)
            .create_at(path)?;
        if let Some(floor) = log.mapped().floor() {
            floor.role.store(Role::Flusher as u64, Relaxed);
            hold::advance(&floor.hold.0, 0);
        }
        let front = log.mapped().traits().id;
        let state_name = STATES[0];
        match make_state(&path.join(state_name), settings, Owner { front, ..owner }, at, oldest) {
            Ok(state) => Ok(Self { log, state, state_name, path: path.to_owned() }),
            Err(error) => {
                remove(path);
                Err(error)
            }
        }
    }
}

/// The words in a file beside the front at `path`, and whose they are. `None`: there are none.
fn find_state(path: &Path, name: &str, access: Access) -> Result<Option<(State, Owner)>, JournalError> {
    let (is_writing, file) = (access.is_writing(), path.join(name));
    // Without waiting for the writer of what may be a pipe.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = File::options();
    options.read(true).write(is_writing).custom_flags(no_wait);
    let opened = match options.open(&file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::os("opening", file.display().to_string(), error)),
    };
    match State::attach(opened.into(), is_writing) {
        Ok(attached) => Ok(Some(attached)),
        Err(error) if is_unfit(&error) => Ok(None),
        Err(error) => Err(JournalError::front("opening the front", path, 0, error)),
    }
}

/// Makes the words beside a front.
pub(crate) fn make_state(
    path: &Path,
    settings: &Settings,
    owner: Owner,
    at: Place,
    oldest: u64,
) -> Result<State, JournalError> {
    let file = create_file(path, JOURNAL_STATE_BYTES, settings.mode, Allocate::All)?;
    Ok(State::format(file.into(), owner, at, oldest).map_err(CreateError::from)?)
}

/// Whether there is no front, half of one, or one that a power failure has been at; not, whether this process can't use
/// it for reasons of its own.
fn is_unfit(error: &AttachError) -> bool {
    use AttachError::{Damaged, Foreign, MemoryLost, NotAllocated, NotFound, OtherLog, WrongSize};
    matches!(
        error,
        NotFound { .. }
            | Foreign { .. }
            | WrongSize { .. }
            | Damaged(_)
            | NotAllocated { .. }
            | MemoryLost { .. }
            | OtherLog
    )
}

/// What the names of a journal's fronts begin with. A copy of a journal has other ones.
fn stem(owner: Owner) -> String {
    let (device, inode) = owner.locks;
    format!("shmlog-{:032x}-{device:x}-{inode:x}-", owner.id)
}

/// Whether the front at `path` is one of this very journal, by its name: in its directory, or with its stem.
pub(crate) fn is_own(path: &Path, dir: &Path, names: &Names, owner: Owner) -> bool {
    let is_stemmed = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&stem(owner)));
    is_stemmed || path == dir.join(names.front())
}

/// Whether a front can't be where it was to be, for want of memory, names or rights; another place may do.
fn is_no_place(error: &JournalError) -> bool {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        JournalError::Create(CreateError::NoSpace { .. }) => true,
        JournalError::Create(CreateError::Os { error, .. }) => {
            matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        }
        _ => false,
    }
}

fn is_tmpfs(home: &Path) -> bool {
    File::open(home).is_ok_and(|dir| is_in_memory(&dir).unwrap_or(false))
}

/// Removes what is left of fronts of this journal that nobody uses: the caller makes sure that nobody does.
fn sweep(home: &Path, owner: Owner) {
    let Ok(entries) = std::fs::read_dir(home) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&stem(owner))) {
            remove(&entry.path());
        }
    }
}

/// Removes a front, whole or not. Processes that have it open keep it.
pub(crate) fn remove(path: &Path) {
    // Best effort: what is left is swept when the next front is made.
    for name in STATES.into_iter().chain([ORIGIN, directory::LOG.region, directory::LOG.board, directory::LOG.lock]) {
        let _ = std::fs::remove_file(path.join(name));
    }
    let _ = std::fs::remove_dir(path);
}

/// Whether the front at `path` belongs to who owns the journal's directory, or to this user: another's is a trap.
pub(crate) fn is_trusted(path: &Path, dir: &Path) -> bool {
    let Ok(front) = path.symlink_metadata() else { return true };
    let mine = rustix::process::geteuid().as_raw();
    let owner = dir.metadata().map_or(mine, |dir| dir.uid());
    front.is_dir() && [mine, owner, 0].contains(&front.uid())
}
