//! Opening a journal for reading only, which changes nothing and keeps nobody from anything: no lock is taken.
//!
//! If there is a front that fits, it is looked on at. Else, if nobody has the journal open, what the files hold is found
//! as recovery finds it, and stays as it is seen until the journal is opened again: this process then has a front of its
//! own, in which there are no records.
//!
//! What others do meanwhile is noticed by the turn of the control file and by their locks, which can be asked for by a
//! descriptor that can't be written to.

use crate::error::JournalError;
use crate::journal::Recovery;
use crate::journal::core::{Core, OPEN_LOCK, USE_LOCK};
use crate::journal::files::control_file::read_control;
use crate::journal::files::names::Names;
use crate::journal::opening::front::{Front, boot_id, is_own, is_trusted};
use crate::journal::opening::look::look;
use crate::journal::opening::open::{NAP, Opening};
use crate::journal::settings::Settings;
use crate::journal::state::Owner;
use crate::log::Access;
use crate::sys::disk::{Disk, DiskFile, Open};
use crate::sys::lock;
use crate::sys::untouched::Untouched;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Opens the journal on a disk that is `dir`, and changes nothing of it.
pub(crate) fn observe_on(
    disk: Arc<dyn Disk>,
    dir: &Path,
    settings: &Settings,
) -> Result<(Core, Option<Recovery>), JournalError> {
    let disk = Arc::new(Untouched(disk));
    let names = Names::new(&settings.prefix);
    let locks = open_locks(&disk, &names, dir)?;
    let observing = Observing {
        disk: Arc::clone(&disk),
        opening: Opening { disk, names, locks, dir: dir.to_owned(), settings: settings.clone() },
    };
    observing.observe()
}

/// What the locks are asked of.
fn open_locks(disk: &Untouched, names: &Names, dir: &Path) -> Result<Arc<dyn DiskFile>, JournalError> {
    let mut error = None;
    // Who has a journal open has a lock file: without one, as in a copy, any other file will do.
    for name in [names.lock(), names.control()] {
        match disk.open(&name, Open::Read) {
            Ok(file) => return Ok(file),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(other) => {
                error = Some(JournalError::os("opening", name, other));
                break;
            }
        }
    }
    Err(error.unwrap_or_else(|| JournalError::NotFound { dir: dir.to_owned() }))
}

struct Observing {
    disk: Arc<Untouched>,
    opening: Opening,
}

/// How things stand, as far as others change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// Of the control file, if there is one that can be read.
    turn: Option<u64>,
    is_opened: bool,
    is_used: bool,
}

impl Observing {
    fn observe(&self) -> Result<(Core, Option<Recovery>), JournalError> {
        let began = Instant::now();
        loop {
            let before = self.standing()?;
            let found = self.attempt(before.is_used);
            // A front that others use is whole, whatever they are at.
            if matches!(found, Ok((_, None))) {
                return found;
            }
            // Else it may be half of what they are about to do.
            if !before.is_opened && self.standing()? == before {
                return found;
            }
            let waited = began.elapsed();
            if waited >= self.opening.settings.open_wait {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                return Err(JournalError::Busy { dir: self.opening.dir.clone(), waited_ms });
            }
            std::thread::sleep(NAP);
        }
    }

    fn standing(&self) -> Result<Standing, JournalError> {
        let Opening { names, locks, .. } = &self.opening;
        let is_locked =
            |byte| lock::is_locked(locks.fd(), byte).map_err(|error| JournalError::locking(names.lock(), error));
        let turn = read_control(&*self.disk, names).ok().flatten().map(|(_, turn)| turn);
        Ok(Standing { turn, is_opened: is_locked(OPEN_LOCK)?, is_used: is_locked(USE_LOCK)? })
    }

    fn attempt(&self, is_used: bool) -> Result<(Core, Option<Recovery>), JournalError> {
        let Opening { names, dir, settings, .. } = &self.opening;
        let Some((control, _)) = read_control(&*self.disk, names)? else {
            return Err(JournalError::NotFound { dir: dir.clone() });
        };
        let owner = self.opening.owner(&control, boot_id()?)?;
        let path = dir.join(control.front.as_ref().map_or_else(|| names.front(), |(_, path)| path.clone()));
        if let Some((front, _)) = control.front
            && is_own(&path, dir, names, owner)
            && is_trusted(&path, dir)
            && let Some(front) = Front::find(&path, Owner { front, ..owner }, Access::Observe)?
            && (is_used || !front.is_short())
        {
            return Ok((self.opening.core(&control, front), None));
        }
        if is_used {
            return Err(JournalError::FrontUnreachable { path });
        }
        let (progress, found, cursors) = look(&self.disk, names, &control)?;
        let front = Front::alone(settings, owner, progress, control.oldest)?;
        front.state.restore_cursors(&cursors);
        let all = self.disk.names().map_err(JournalError::listing)?;
        if all.iter().any(|name| names.marks_of(name).is_some()) {
            front.state.marks_changed();
        }
        Ok((self.opening.core(&control, front), Some(found)))
    }
}
