//! Flushing: from the front to the files, by one thread of one process at a time.
//!
//! Whoever holds the flush lock takes what was committed since, frames it, writes it, syncs it, and says how far it
//! came. All who waited meanwhile are served by the next flush together: that is group commit across processes, without
//! a timer. A flush that ends with its process is made again by the next one, from the place that was published last.

use crate::anchor::Anchored;
use crate::core::copy;
use crate::core::cursor::{Cursor, Step};
use crate::core::hold;
use crate::create::unix_ns;
use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::files;
use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::control::Place;
use crate::journal::format::frame::{FrameKind, HEAD_BYTES, MARK_BYTES, Mark, Salt, encode_into, frame_bytes};
use crate::journal::format::header::{Header, NO_FILE};
use crate::journal::state::{Act, Progress};
use crate::layout::entry::{self, Kind};
use crate::mapped::Mapped;
use crate::sys::disk::{DiskFile, Open, is_full};
use std::io;
use std::sync::Arc;

/// Bytes framed before they are written.
const BLOCK: usize = 1 << 20;
/// Bytes that one flush writes at most: who waits for its beginning must not wait for all that follows.
const MAX_FLUSH_BYTES: u64 = 16 << 20;
/// Bytes of a mark's frame.
const MARK_FRAME_BYTES: usize = HEAD_BYTES + MARK_BYTES;

/// What a flush is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The records are in the files, where they survive processes.
    Written,
    /// They survive the machine.
    Durable,
}

/// The file that is written to.
#[derive(Debug)]
struct Current {
    first: u64,
    salt: Salt,
    file: Arc<dyn DiskFile>,
    len_bytes: u64,
}

/// What a process keeps from one flush to the next.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    current: Option<Current>,
    /// Frames to be written: `block[..filled]`.
    block: Vec<u8>,
    filled: usize,
    /// A place in the front.
    place: Option<Anchored<Cursor<'static, Mapped>, Mapped>>,
}

/// Why filling a block stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// There are no more records.
    Empty,
    /// The block is full.
    Block,
    /// The next record goes to another file.
    File,
}

impl Flusher {
    /// Takes what is in the front, and returns when it is where `goal` says. The caller holds the flush lock, and rings
    /// when it has let go of it.
    pub(crate) fn flush(&mut self, core: &Core, goal: Goal) -> Result<(), JournalError> {
        core.check()?;
        let died = core.state.begin_flush();
        let mut progress = core.state.progress();
        if died {
            self.take_over(core, progress)?;
        }
        let flushed = self.advance(core, goal, &mut progress);
        // What was written whole counts, also where the flush did not come to its end.
        if flushed.is_ok() || !core.state.is_failed() {
            core.state.publish(progress);
        }
        self.release(core, progress);
        core.state.end_flush();
        flushed
    }

    fn advance(&mut self, core: &Core, goal: Goal, progress: &mut Progress) -> Result<(), JournalError> {
        let mut written_bytes = 0;
        let mut is_marked = false;
        loop {
            self.open_current(core, progress.written)?;
            let (stop, end) = self.fill(core, progress.written, progress.durable.seq, &mut is_marked)?;
            if self.filled > 0 {
                written_bytes += self.filled as u64;
                self.write(core, progress.written.offset)?;
                progress.written = end;
            }
            if stop == Stop::Empty || (stop == Stop::Block && written_bytes >= MAX_FLUSH_BYTES) {
                break;
            }
            if stop == Stop::File {
                if goal == Goal::Durable {
                    self.sync(core, progress)?;
                }
                core.state.publish(*progress);
                self.begin_file(core, progress)?;
                is_marked = false;
            }
        }
        if goal == Goal::Durable && progress.durable.seq < progress.written.seq {
            self.sync(core, progress)?;
        }
        Ok(())
    }

    /// Frames records into the block, from `place` on. Returns why it stopped, and the place after what is in the block.
    fn fill(
        &mut self,
        core: &Core,
        mut place: Place,
        durable: u64,
        is_marked: &mut bool,
    ) -> Result<(Stop, Place), JournalError> {
        self.filled = 0;
        let Some(current) = &self.current else { return Ok((self.peek(core, place.seq)?, place)) };
        let (salt, file_bytes) = (current.salt, current.len_bytes);
        self.enter(core, place.seq)?;
        let Some(front) = &mut self.place else { return Ok((Stop::Empty, place)) };
        if self.block.len() < BLOCK {
            self.block.resize(BLOCK, 0);
        }
        let stop = loop {
            let (kind, word) = match front.state_mut().step() {
                Step::Record(word) => (frame_kind(word), word),
                Step::Moved => continue,
                Step::Nothing | Step::Closed => break Stop::Empty,
                Step::Passed | Step::Corrupt => return Err(JournalError::FrontCorrupt { seq: place.seq }),
            };
            let cursor = front.state();
            let (len_bytes, seq) = (entry::len_bytes(word), cursor.seq());
            let payload = cursor.window().payload(word).ok_or(JournalError::FrontCorrupt { seq })?;
            let mark_bytes = if *is_marked { 0 } else { MARK_FRAME_BYTES };
            let wanted = mark_bytes + frame_bytes(len_bytes);
            if place.offset.saturating_add(wanted as u64) > file_bytes {
                // Appenders refuse what no file could take.
                if place.offset == BLOCK_BYTES {
                    return Err(JournalError::FrontCorrupt { seq });
                }
                break Stop::File;
            }
            if self.filled + wanted > self.block.len() {
                if self.filled > 0 {
                    break Stop::Block;
                }
                self.block.resize(wanted, 0);
            }
            if !*is_marked {
                let mark = Mark { seq, durable, unix_ns: unix_ns() };
                mark.encode_into(&mut self.block[self.filled..self.filled + mark_bytes], salt);
                *is_marked = true;
            }
            let frame = &mut self.block[self.filled + mark_bytes..self.filled + wanted];
            encode_into(frame, salt, kind, seq, len_bytes, |bytes| copy::read(payload, bytes));
            self.filled += wanted;
            place = Place { seq: seq + 1, offset: place.offset + wanted as u64, ..place };
            front.state_mut().pass();
        };
        Ok((stop, place))
    }

    /// Without a file: whether there is anything to begin one for.
    fn peek(&mut self, core: &Core, seq: u64) -> Result<Stop, JournalError> {
        Ok(if core.end() > seq { Stop::File } else { Stop::Empty })
    }

    /// Sees to it that the place in the front is at `seq`.
    fn enter(&mut self, core: &Core, seq: u64) -> Result<(), JournalError> {
        if self.place.as_ref().is_none_or(|place| place.state().seq() != seq) {
            // The floor of the front keeps everything from there on, so that no hold is needed.
            let place = Anchored::new(Arc::clone(core.front.mapped()), |mapped| Cursor::at_seq(mapped, None, seq));
            self.place = Some(place.map_err(|_| JournalError::FrontCorrupt { seq })?);
        }
        Ok(())
    }

    fn write(&mut self, core: &Core, offset: u64) -> Result<(), JournalError> {
        let Some(current) = &self.current else { return Ok(()) };
        current.file.write_at(&self.block[..self.filled], offset).map_err(|error| {
            // The place in the front has moved on, and is sought again.
            self.place = None;
            let name = core.names.log(current.first);
            if is_full(&error) {
                // Nothing of it is counted, and all of it is written again.
                return JournalError::DiskFull { file: name, wanted_bytes: self.filled as u64 };
            }
            fail(core, Act::Write, error)
        })
    }

    /// Makes durable what is written: in the file that is written to, and in those before it that were not synced.
    fn sync(&mut self, core: &Core, progress: &mut Progress) -> Result<(), JournalError> {
        core.state.set_syncing(true);
        let synced = self.sync_files(core, progress);
        if let Err(error) = synced {
            self.place = None;
            return Err(fail(core, Act::Sync, error));
        }
        progress.durable = progress.written;
        // Before the sync counts as told.
        core.state.publish(*progress);
        core.state.set_syncing(false);
        Ok(())
    }

    fn sync_files(&self, core: &Core, progress: &Progress) -> io::Result<()> {
        if progress.durable.file != progress.written.file {
            let from = if progress.durable.file == NO_FILE { 0 } else { progress.durable.file };
            let between = from..progress.written.file;
            for first in files::firsts(&*core.disk, &core.names)?.into_iter().filter(|first| between.contains(first)) {
                core.disk.open(&core.names.log(first), Open::Write)?.sync()?;
            }
        }
        self.current.as_ref().map_or(Ok(()), |current| current.file.sync())
    }

    /// Begins the file of the next record. It gets its name when its header is durable, and, where records are made
    /// durable, when all before it are: so a file that has its name proves what its header says.
    fn begin_file(&mut self, core: &Core, progress: &mut Progress) -> Result<(), JournalError> {
        self.current = None;
        core.prepare_now()?;
        let Place { seq: first, file: previous, .. } = progress.written;
        let (spare, name) = (core.names.spare(), core.names.log(first));
        let header = Header {
            id: core.id,
            generation: core.generation,
            first,
            previous,
            durable: progress.durable.seq,
            salt: random_salt().map_err(|error| JournalError::os("drawing a salt for", &name, error))?,
            created_unix_ns: unix_ns(),
        };
        let begin = || -> io::Result<Arc<dyn DiskFile>> {
            let file = core.disk.open(&spare, Open::Write)?;
            file.write_at(&header.encode(), 0)?;
            Ok(file)
        };
        let file = begin().map_err(|error| JournalError::os("beginning", &name, error))?;
        file.sync().map_err(|error| fail(core, Act::Begin, error))?;
        core.disk.rename(&spare, &name).map_err(|error| JournalError::os("naming", &name, error))?;
        core.disk.sync().map_err(|error| fail(core, Act::Begin, error))?;
        let len_bytes = file.len().map_err(|error| JournalError::os("looking at", &name, error))?;
        self.current = Some(Current { first, salt: header.frame_salt(), file, len_bytes });
        let is_durable = progress.durable == progress.written;
        progress.written = Place { seq: first, file: first, offset: BLOCK_BYTES };
        if is_durable {
            progress.durable = progress.written;
        }
        core.state.publish(*progress);
        core.state.files_changed();
        Ok(())
    }

    /// Opens the file that the place is in, unless it is the one that is open, or is full.
    fn open_current(&mut self, core: &Core, place: Place) -> Result<(), JournalError> {
        if place.offset == Place::FULL || place.file == NO_FILE {
            self.current = None;
            return Ok(());
        }
        if self.current.as_ref().is_some_and(|current| current.first == place.file) {
            return Ok(());
        }
        let info = files::open(&*core.disk, &core.names, core.id, place.file)?;
        let os = |error| JournalError::os("opening", &info.name, error);
        let file = core.disk.open(&info.name, Open::Write).map_err(os)?;
        let len_bytes = file.len().map_err(os)?;
        self.current = Some(Current { first: place.file, salt: info.header.frame_salt(), file, len_bytes });
        Ok(())
    }

    /// Lets go of what of the front need not be kept for another flush.
    fn release(&mut self, core: &Core, progress: Progress) {
        let Some(place) = self.place.as_ref().map(Anchored::state) else { return };
        let mapped = core.front.mapped();
        if let Some(floor) = mapped.floor()
            && place.seq() == progress.written.seq
            && floor.hold.0.load(crate::sync::Ordering::Relaxed) != place.segment() + 1
        {
            hold::advance(&floor.hold.0, place.segment());
            mapped.ring_room();
        }
    }

    /// The one who flushed before has died in the middle of it.
    fn take_over(&mut self, core: &Core, progress: Progress) -> Result<(), JournalError> {
        self.current = None;
        self.place = None;
        // A file that it began and did not publish: what is to be in it is in the front still.
        let firsts = files::firsts(&*core.disk, &core.names);
        let firsts = firsts.map_err(|error| JournalError::os("listing", "the directory", error))?;
        let is_beyond = |&first: &u64| progress.written.file == NO_FILE || first > progress.written.file;
        for first in firsts.into_iter().filter(is_beyond).rev() {
            let name = core.names.log(first);
            core.disk.remove(&name).map_err(|error| JournalError::os("removing", &name, error))?;
            core.disk.sync().map_err(|error| JournalError::os("syncing the directory of", &name, error))?;
        }
        if core.state.is_syncing() {
            self.rewrite(core, progress).map_err(|error| fail(core, Act::Sync, error))?;
            core.state.set_syncing(false);
        }
        core.state.publish(progress);
        Ok(())
    }

    /// Nobody knows what the sync of a dead process came to, and a failure is reported once. So what it was to make
    /// durable is written again, as it is: the next sync then is about that too.
    fn rewrite(&mut self, core: &Core, progress: Progress) -> io::Result<()> {
        let Progress { durable, written } = progress;
        if durable == written || written.file == NO_FILE {
            return Ok(());
        }
        let from = if durable.file == NO_FILE { 0 } else { durable.file };
        for first in files::firsts(&*core.disk, &core.names)? {
            if first < from || first > written.file {
                continue;
            }
            let file = core.disk.open(&core.names.log(first), Open::Write)?;
            let begin = if first == durable.file && durable.offset != Place::FULL { durable.offset } else { 0 };
            let end = if first == written.file && written.offset != Place::FULL { written.offset } else { file.len()? };
            let mut bytes = vec![0; BLOCK];
            let mut offset = begin;
            while offset < end {
                let some = usize::try_from(end - offset).map_or(BLOCK, |left| left.min(BLOCK));
                let found = file.read_at(&mut bytes[..some], offset)?;
                if found == 0 {
                    break;
                }
                file.write_at(&bytes[..found], offset)?;
                offset += found as u64;
            }
        }
        Ok(())
    }
}

fn frame_kind(word: u64) -> FrameKind {
    if entry::kind(word) == Kind::Batch { FrameKind::Batch } else { FrameKind::Record }
}

/// Says to everybody that nothing is flushed any more.
fn fail(core: &Core, act: Act, error: io::Error) -> JournalError {
    core.state.fail(act, &error);
    JournalError::Failed { what: act.text(), error }
}

fn random_salt() -> io::Result<u64> {
    let mut salt = [0; 8];
    rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(salt))
}
