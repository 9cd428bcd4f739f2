//! Opening a journal.
//!
//! Under the open lock one process at a time finds out what there is. Whoever has the journal open holds the use lock,
//! shared: so who can take it alone knows that nobody else does. If there is a front that fits, it is joined: whatever
//! was committed to it is there. Else the files are recovered, and a new front begins where their records end.

use crate::create::{random_id, unix_ns};
use crate::error::JournalError;
use crate::journal::Recovery;
use crate::journal::care::deleted::Deleted;
use crate::journal::care::repair::{Repaired, repair};
use crate::journal::core::{Core, OPEN_LOCK, USE_LOCK};
use crate::journal::files::control_file::{make_control, read_control, reread_control, write_control};
use crate::journal::files::names::Names;
use crate::journal::flushing::durable::Callbacks;
use crate::journal::flushing::flush::Flusher;
use crate::journal::flushing::trail::Trails;
use crate::journal::format::control::{CONTROL_BYTES, Control};
use crate::journal::opening::front::{self, Front, boot_id, is_own, is_trusted};
use crate::journal::opening::observe::observe_on;
use crate::journal::opening::recover::{recover, sweep};
use crate::journal::settings::Settings;
use crate::journal::state::Owner;
use crate::log::Access;
use crate::sys::disk::{Disk, DiskFile, NativeDisk, Open};
use crate::sys::lock::{self, Mode};
use rustix::fs::fstat;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two tries to take the open lock.
pub(crate) const NAP: Duration = Duration::from_millis(1);

/// Opens the journal in `dir`, making it if `is_made`.
pub(crate) fn open(dir: &Path, settings: &Settings, is_made: bool) -> Result<(Core, Option<Recovery>), JournalError> {
    settings.check()?;
    // The working directory may change.
    let dir =
        &std::path::absolute(dir).map_err(|error| JournalError::os("finding", dir.display().to_string(), error))?;
    if is_made && !settings.is_read_only {
        make_directory(dir, settings.mode)?;
    }
    let disk = NativeDisk::open(dir, settings.mode).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => JournalError::NotFound { dir: dir.to_owned() },
        _ => JournalError::os("opening", dir.display().to_string(), error),
    })?;
    let disk = Arc::new(disk);
    let opened =
        if settings.is_read_only { observe_on(disk, dir, settings) } else { open_on(disk, dir, settings, is_made) };
    opened.map_err(|error| error.within(dir))
}

fn make_directory(dir: &Path, mode: u32) -> Result<(), JournalError> {
    // Who may read or write the files may look them up.
    let mode = mode | (mode & 0o444) >> 2;
    let parents = dir.parent().map_or(Ok(()), std::fs::create_dir_all);
    let made = parents.and_then(|()| DirBuilder::new().mode(mode).create(dir));
    // So that the directory is found after a power failure; where its parent can't be opened, others have made it.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = made.map(|()| File::open(parent).map_or(Ok(()), |parent| parent.sync_all())).and_then(|synced| synced);
    let made = made.or_else(|error| if dir.is_dir() { Ok(()) } else { Err(error) });
    made.map_err(|error| {
        JournalError::disk("making the directory", dir.display().to_string(), CONTROL_BYTES as u64, error)
    })
}

/// Opens the journal on a disk that is `dir`.
pub(crate) fn open_on(
    disk: Arc<dyn Disk>,
    dir: &Path,
    settings: &Settings,
    is_made: bool,
) -> Result<(Core, Option<Recovery>), JournalError> {
    let names = Names::new(&settings.prefix);
    let locks = open_locks(&*disk, &names, dir, is_made)?;
    let opening = Opening { disk, names, locks, dir: dir.to_owned(), settings: settings.clone() };
    opening.lock()?;
    let opened = opening.open(is_made);
    // Unlocking one's own lock fails only where locking is impossible too.
    let _ = lock::unlock(opening.locks.fd(), OPEN_LOCK);
    opened
}

fn open_locks(disk: &dyn Disk, names: &Names, dir: &Path, is_made: bool) -> Result<Arc<dyn DiskFile>, JournalError> {
    let how = if is_made { Open::Create } else { Open::Write };
    disk.open(&names.lock(), how).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => JournalError::NotFound { dir: dir.to_owned() },
        _ => JournalError::disk("opening", names.lock(), CONTROL_BYTES as u64, error),
    })
}

/// What is at hand while a journal is opened.
pub(crate) struct Opening {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) names: Names,
    pub(crate) locks: Arc<dyn DiskFile>,
    pub(crate) dir: PathBuf,
    pub(crate) settings: Settings,
}

impl Opening {
    fn try_lock(&self, byte: u64, mode: Mode) -> Result<bool, JournalError> {
        lock::try_lock(self.locks.fd(), byte, mode).map_err(|error| JournalError::locking(self.names.lock(), error))
    }

    fn lock(&self) -> Result<(), JournalError> {
        let began = Instant::now();
        while !self.try_lock(OPEN_LOCK, Mode::Alone)? {
            let waited = began.elapsed();
            if waited >= self.settings.open_wait {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Err(JournalError::Busy { dir: self.dir.clone(), waited_ms });
            }
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    /// Under the open lock.
    fn open(&self, is_made: bool) -> Result<(Core, Option<Recovery>), JournalError> {
        let is_alone = self.try_lock(USE_LOCK, Mode::Alone)?;
        let joined = self.join_or_recover(is_made, is_alone);
        if joined.is_err() {
            let _ = lock::unlock(self.locks.fd(), USE_LOCK);
            return joined;
        }
        // Alone becomes shared at once; who was not alone had nothing yet.
        if !self.try_lock(USE_LOCK, Mode::Shared)? {
            return Err(JournalError::Busy { dir: self.dir.clone(), waited_ms: 0 });
        }
        joined
    }

    fn join_or_recover(&self, is_made: bool, is_alone: bool) -> Result<(Core, Option<Recovery>), JournalError> {
        let (control, turn) = match self.read_control()? {
            Some(found) => found,
            // Others go on without it.
            None if !is_alone => return Err(JournalError::Control { file: self.names.control() }),
            None if is_made => self.make_control()?,
            None => return Err(JournalError::NotFound { dir: self.dir.clone() }),
        };
        let boot = boot_id()?;
        let mut failed = None;
        if let Some((front, path)) = &control.front {
            let path = &self.dir.join(path);
            let owner = Owner { front: *front, generation: control.generation, ..self.owner(&control, boot)? };
            // That of a directory which this one is a copy of is not looked at.
            let is_it = is_own(path, &self.dir, &self.names, owner) && is_trusted(path, &self.dir);
            let found = if is_it { Front::find(path, owner, Access::Append)? } else { None };
            match found {
                Some(front) if front.is_short() => {
                    if !is_alone {
                        return Err(JournalError::FrontCorrupt { seq: front.end() });
                    }
                    tracing::warn!(front = %path.display(), "what is in the files is missing in the front: it is given up");
                }
                // All who have it open know that it failed; who comes alone begins anew, with what is in memory.
                Some(front) if is_alone && front.state.is_failed() => failed = Some(front),
                Some(front) => return Ok((self.core(&control, front), None)),
                None if !is_alone => return Err(JournalError::FrontUnreachable { path: path.to_owned() }),
                None => {}
            }
        } else if !is_alone {
            return Err(JournalError::FrontUnreachable { path: self.dir.join(self.names.front()) });
        }
        let (control, turn) = reread_control(&*self.disk, &self.names)?.unwrap_or((control, turn));
        let (core, recovery) = self.begin(control, turn, boot, failed)?;
        Ok((core, Some(recovery)))
    }

    /// Recovers the files and makes a new front, or goes on with one whose flushing failed. Nobody else has the journal open.
    fn begin(
        &self,
        control: Control,
        turn: u64,
        boot: u128,
        failed: Option<Front>,
    ) -> Result<(Core, Recovery), JournalError> {
        let (at, mut recovery, cursors) = recover(&*self.disk, &self.names, &control)?;
        sweep(&*self.disk, &self.names)?;
        let generation = control.generation + 1;
        let owner = Owner { generation, ..self.owner(&control, boot)? };
        let settings = Settings { file_bytes: control.file_bytes, ..self.settings.clone() };
        let old = control.front.as_ref().map(|(_, path)| self.dir.join(path));
        let replaced = failed.as_ref().map(|front| front.path.join(front.state_name));
        let renewed = match failed {
            Some(front) => front.renewed(&settings, owner, at, control.oldest)?,
            None => None,
        };
        let is_renewed = renewed.is_some();
        let front = match renewed {
            Some(front) => front,
            None => Front::make(&self.dir, &self.names, &settings, owner, at, control.oldest)?,
        };
        recovery.salvaged = front.count_from(at.seq);
        front.state.restore_cursors(&cursors);
        let all = self.disk.names().map_err(JournalError::listing)?;
        if all.iter().any(|name| self.names.marks_of(name).is_some()) {
            // For everybody to look.
            front.state.marks_changed();
        }
        // In the directory it is found there by whatever path that was opened, and wherever it was moved.
        let path = front.path.strip_prefix(&self.dir).unwrap_or(&front.path).to_str().map(str::to_owned);
        let id = front.log.mapped().traits().id;
        let durable = recovery.kept;
        let front_at = path.map(|path| (id, path));
        let control = Control { generation, durable, closed: None, cursors: None, front: front_at, ..control };
        if let Err(error) = write_control(&*self.disk, &self.names, &control, turn + 1) {
            if !is_renewed {
                front::remove(&front.path);
            }
            return Err(error);
        }
        if let Some(replaced) = replaced.filter(|_| is_renewed) {
            // Best effort: they are no front's words any more.
            let _ = std::fs::remove_file(replaced);
        }
        if let Some(old) = old.filter(|old| *old != front.path && is_own(old, &self.dir, &self.names, owner)) {
            front::remove(&old);
        }
        Ok((self.core(&control, front), recovery))
    }

    pub(crate) fn owner(&self, control: &Control, boot: u128) -> Result<Owner, JournalError> {
        let stat = fstat(self.locks.fd()).map_err(|error| JournalError::os("looking at", self.names.lock(), error))?;
        Ok(Owner { id: control.id, front: 0, generation: control.generation, boot, locks: (stat.st_dev, stat.st_ino) })
    }

    pub(crate) fn core(&self, control: &Control, front: Front) -> Core {
        Core {
            dir: self.dir.clone(),
            id: control.id,
            generation: control.generation,
            names: self.names.clone(),
            settings: Settings { file_bytes: control.file_bytes, ..self.settings.clone() },
            disk: Arc::clone(&self.disk),
            locks: Arc::clone(&self.locks),
            front: front.log,
            state: front.state,
            front_path: front.path,
            pid: std::process::id(),
            flusher: Mutex::new(Flusher::default()),
            trails: Trails::default(),
            preparing: Mutex::new(()),
            callbacks: Callbacks::default(),
            deleted: Mutex::new(Deleted::writer()),
        }
    }

    fn read_control(&self) -> Result<Option<(Control, u64)>, JournalError> {
        read_control(&*self.disk, &self.names)
    }

    /// A new journal.
    fn make_control(&self) -> Result<(Control, u64), JournalError> {
        let control = Control {
            id: random_id()?,
            generation: 0,
            oldest: 0,
            durable: 0,
            file_bytes: self.settings.file_bytes,
            created_unix_ns: unix_ns(),
            closed: None,
            cursors: None,
            front: None,
        };
        make_control(&*self.disk, &self.names, &control)?;
        Ok((control, 1))
    }
}

/// Repairs the journal in `dir`, which nobody has open.
pub(crate) fn repair_at(dir: &Path, prefix: &str) -> Result<Repaired, JournalError> {
    let mut settings = Settings { prefix: prefix.to_owned(), has_thread: false, ..Settings::default() };
    settings.check()?;
    // What is made anew is for whom the rest is.
    if let Ok(lock) = dir.join(Names::new(prefix).lock()).symlink_metadata() {
        settings.mode = lock.mode() & 0o777;
    }
    // If nothing keeps it from being opened, what is in memory is in the files when it is closed.
    match open(dir, &settings, false) {
        Ok((core, _)) => core.close()?,
        Err(
            JournalError::Control { .. }
            | JournalError::Damaged { .. }
            | JournalError::MarksDamaged { .. }
            | JournalError::FileLost { .. },
        ) => {}
        Err(error) => return Err(error),
    }
    let disk = NativeDisk::open(dir, settings.mode);
    let disk = disk.map_err(|error| JournalError::directory("opening", error))?;
    let names = Names::new(prefix);
    let locks = open_locks(&disk, &names, dir, false)?;
    let opening = Opening { disk: Arc::new(disk), names, locks, dir: dir.to_owned(), settings };
    opening.lock()?;
    let repaired = match opening.try_lock(USE_LOCK, Mode::Alone) {
        Ok(true) => repair(&*opening.disk, &opening.names),
        Ok(false) => Err(JournalError::InUse { dir: dir.to_owned() }),
        Err(error) => Err(error),
    };
    for byte in [USE_LOCK, OPEN_LOCK] {
        let _ = lock::unlock(opening.locks.fd(), byte);
    }
    repaired
}
