//! Flushing: from the front to the files, by one thread of one process at a time.
//!
//! Whoever holds the flush lock takes what was committed since, frames it, writes it, syncs it, and says how far it
//! came. All who waited meanwhile are served by the next flush together: that is group commit across processes, without
//! a timer. A flush that ends with its process is made again by the next one, from the place that was published last.

use crate::anchor::Anchored;
use crate::core::copy;
use crate::core::cursor::{Cursor, Step};
use crate::core::hold;
use crate::error::JournalError;
use crate::journal::core::Core;
use crate::journal::cursors::CursorTable;
use crate::journal::flushing::sink::Sink;
use crate::journal::flushing::trail::Trail;
use crate::journal::format::BLOCK_BYTES;
use crate::journal::format::control::Place;
use crate::journal::format::frame::{FrameKind, HEAD_BYTES, MARK_BYTES, Mark, Salt, encode, encode_into, frame_bytes};
use crate::journal::state::{Act, Progress};
use crate::layout::entry::{self, Kind};
use crate::mapped::Mapped;
use crate::sync::Ordering::Relaxed;
use crate::sys::disk::is_full;
use std::io;
use std::sync::Arc;

/// Bytes framed before they are written: few enough to be in the core's own cache when the kernel copies them, enough for
/// its pages to be large ones.
pub(crate) const BLOCK: usize = 512 << 10;
/// Bytes that one flush writes at most: who waits for its beginning must not wait for all that follows.
pub(crate) const MAX_FLUSH_BYTES: u64 = 16 << 20;
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

/// What a process keeps from one flush to the next.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    /// The file that is written to.
    pub(crate) sink: Option<Sink>,
    /// The count of files when it was opened.
    pub(crate) files: u64,
    /// Where the records are that went to the file that is written to.
    pub(crate) trail: Trail,
    /// Frames to be written: `block[..filled]`.
    block: Vec<u8>,
    filled: usize,
    /// Cursors that were ahead of what a flush took, and which changes they have in them: what comes in meanwhile does not
    /// keep them from being written.
    ahead: Option<(CursorTable, u64)>,
    /// A place in the front.
    pub(crate) place: Option<Anchored<Cursor<'static, Mapped>, Mapped>>,
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

/// What one flush knows while it is made.
#[derive(Debug)]
struct Round {
    progress: Progress,
    /// The cursors, if they were set since they were written last, and which changes they have in them: as they were
    /// before the end of the front was looked at, so that all that they are at is there.
    cursors: Option<(CursorTable, u64)>,
    /// Whether the mark of this flush is in the file that is written to.
    is_marked: bool,
}

impl Flusher {
    /// Takes what is in the front, and returns when it is where `goal` says: how many bytes. The caller holds the flush
    /// lock, and rings when it has let go of it.
    pub(crate) fn flush(&mut self, core: &Core, goal: Goal) -> Result<u64, JournalError> {
        core.check()?;
        let died = core.state.begin_flush();
        core.state.begin_round();
        let mut progress = core.state.progress();
        if died {
            progress = self.take_over(core, progress)?;
        }
        let mut round = Round { progress, cursors: self.due_cursors(core), is_marked: false };
        let flushed = self.advance(core, goal, &mut round);
        // Others may write it, elsewhere in the file.
        self.trail.forget_from(round.progress.written.seq);
        // What was written whole counts, also where the flush did not come to its end.
        if !core.state.is_failed() {
            core.state.publish(round.progress);
        }
        self.release(core, round.progress);
        core.state.end_flush();
        if round.progress.written.file != progress.written.file
            && let Err(error) = Self::retain(core)
        {
            // The records are where they should be; the next full file is another occasion.
            tracing::warn!(%error, "giving up old files of a journal");
        }
        flushed
    }

    fn advance(&mut self, core: &Core, goal: Goal, round: &mut Round) -> Result<u64, JournalError> {
        // Without a sync rounds are cheap, and the room that each one makes is somebody's at once.
        let limit = if goal == Goal::Durable { MAX_FLUSH_BYTES } else { core.front.mapped().log().len_bytes() / 8 };
        let mut written_bytes = 0;
        loop {
            self.open_sink(core, round.progress.written)?;
            let (stop, end) = self.fill(core, round)?;
            written_bytes += self.filled as u64;
            self.write(core, &mut round.progress, end)?;
            if stop == Stop::Empty || (stop == Stop::Block && written_bytes >= limit) {
                break;
            }
            if stop == Stop::File {
                if goal == Goal::Durable {
                    self.sync_before_roll(core, round)?;
                }
                core.state.publish(round.progress);
                self.next_file(core, &mut round.progress)?;
                round.is_marked = false;
            }
        }
        self.write_cursors(core, round)?;
        // Others commit on while this waits for the disk, and are the next round's.
        core.state.end_taking(round.progress.written.seq);
        let has_marks = core.state.marks() != core.state.marks_durable();
        let is_due = round.progress.durable != round.progress.written || has_marks;
        if goal == Goal::Durable && is_due {
            self.sync(core, &mut round.progress)?;
        }
        Ok(written_bytes)
    }

    /// Frames records into the block. Returns why it stopped, and the place after what is in the block.
    fn fill(&mut self, core: &Core, round: &mut Round) -> Result<(Stop, Place), JournalError> {
        self.filled = 0;
        let place = round.progress.written;
        if self.sink.is_none() {
            return Ok((if core.end() > place.seq { Stop::File } else { Stop::Empty }, place));
        }
        self.enter(core, place.seq)?;
        if self.block.len() < BLOCK {
            self.block.resize(BLOCK, 0);
        }
        let Some(mut front) = self.place.take() else { return Ok((Stop::Empty, place)) };
        let filled = self.take_records(core, round, front.state_mut());
        self.place = Some(front);
        filled
    }

    fn take_records(
        &mut self,
        core: &Core,
        round: &mut Round,
        front: &mut Cursor<'static, Mapped>,
    ) -> Result<(Stop, Place), JournalError> {
        let mut place = round.progress.written;
        let Some((salt, file_bytes)) = self.sink.as_ref().map(|sink| (sink.salt, sink.len_bytes)) else {
            return Ok((Stop::Empty, place));
        };
        loop {
            let word = match front.record_here() {
                Some(word) => word,
                None => match front.step() {
                    Step::Record(word) => word,
                    Step::Moved => continue,
                    Step::Nothing | Step::Closed => return Ok((Stop::Empty, place)),
                    Step::Passed | Step::Corrupt => return Err(JournalError::FrontCorrupt { seq: place.seq }),
                },
            };
            let len_bytes = entry::len_bytes(word);
            let payload = front.window().payload(word).ok_or(JournalError::FrontCorrupt { seq: place.seq })?;
            let wanted = frame_bytes(len_bytes);
            if !round.is_marked {
                match self.begin_round(core, round, place, wanted as u64, file_bytes)? {
                    Some(marked) => place = marked,
                    None => return Ok((Stop::File, place)),
                }
            }
            let end = place.offset.saturating_add(wanted as u64);
            if end > file_bytes {
                return Ok((Stop::File, place));
            }
            let Some(frame) = self.block.get_mut(self.filled..self.filled + wanted) else {
                if self.filled > 0 {
                    return Ok((Stop::Block, place));
                }
                self.block.resize(wanted, 0);
                continue;
            };
            encode_into(frame, salt, frame_kind(word), place.seq, len_bytes, |bytes| copy::read(payload, bytes));
            self.filled += wanted;
            self.trail.note(place.seq, place.offset);
            place = Place { seq: place.seq + 1, offset: end, ..place };
            front.pass();
        }
    }

    /// Frames what a flush begins with, if there is room in the file for that and a frame of `wanted` bytes. `None`: there
    /// is not.
    #[cold]
    fn begin_round(
        &mut self,
        core: &Core,
        round: &mut Round,
        place: Place,
        wanted: u64,
        file_bytes: u64,
    ) -> Result<Option<Place>, JournalError> {
        let Some(salt) = self.sink.as_ref().map(|sink| sink.salt) else { return Ok(None) };
        let lead = lead(core, salt, round.progress.durable.seq, place);
        let offset = place.offset.saturating_add(lead.len() as u64);
        if offset.saturating_add(wanted) > file_bytes {
            // Appenders refuse what no file could take.
            let is_fresh = place.offset == BLOCK_BYTES;
            return if is_fresh { Err(JournalError::FrontCorrupt { seq: place.seq }) } else { Ok(None) };
        }
        self.put(&lead);
        round.is_marked = true;
        Ok(Some(Place { offset, ..place }))
    }

    /// Appends frames to the block, for which there is room.
    fn put(&mut self, frames: &[u8]) {
        self.block[self.filled..self.filled + frames.len()].copy_from_slice(frames);
        self.filled += frames.len();
    }

    /// The cursors that this flush is to write, if it comes so far.
    fn due_cursors(&mut self, core: &Core) -> Option<(CursorTable, u64)> {
        let written = core.state.cursors_written();
        let ahead = self.ahead.take().filter(|&(_, version)| version > written);
        ahead.or_else(|| {
            let (mut table, version) = (core.state.cursors_version() != written).then(|| core.state.cursor_table())?;
            // What is beyond that no record will ever catch up with: somebody wrote where nobody may.
            table.cut(core.end());
            Some((table, version))
        })
    }

    /// Behind the records: the cursors, if they were set since they were written last and are not ahead.
    fn write_cursors(&mut self, core: &Core, round: &mut Round) -> Result<(), JournalError> {
        let Some((table, version)) = round.cursors.take() else { return Ok(()) };
        let place = round.progress.written;
        if table.farthest() > place.seq {
            self.ahead = Some((table, version));
            return Ok(());
        }
        let payload = table.encode(place.seq);
        let wanted = (MARK_FRAME_BYTES + frame_bytes(payload.len())) as u64;
        let has_room = self.sink.as_ref().is_some_and(|sink| place.offset.saturating_add(wanted) <= sink.len_bytes);
        if !has_room {
            self.sync_before_roll(core, round)?;
            self.next_file(core, &mut round.progress)?;
            round.is_marked = false;
        }
        let place = round.progress.written;
        let Some(salt) = self.sink.as_ref().map(|sink| sink.salt) else { return Ok(()) };
        let durable = round.progress.durable.seq;
        let mut frames = if round.is_marked { Vec::new() } else { lead(core, salt, durable, place) };
        round.is_marked = true;
        // In a fresh file they are there already, and stand there twice.
        encode(&mut frames, salt, FrameKind::Cursors, place.seq, &payload);
        self.filled = 0;
        self.block.resize(BLOCK.max(frames.len()), 0);
        self.put(&frames);
        let end = Place { offset: place.offset + self.filled as u64, ..place };
        self.write(core, &mut round.progress, end)?;
        core.state.set_cursors_written(version);
        Ok(())
    }

    /// A file that follows another is named when the other is durable; it is already if the last flush ended with it.
    fn sync_before_roll(&mut self, core: &Core, round: &mut Round) -> Result<(), JournalError> {
        if round.progress.durable != round.progress.written {
            self.sync(core, &mut round.progress)?;
        }
        Ok(())
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

    /// Writes the block, after which the files are written up to `end`.
    fn write(&mut self, core: &Core, progress: &mut Progress, end: Place) -> Result<(), JournalError> {
        let Some(sink) = self.sink.as_ref().filter(|_| self.filled > 0) else { return Ok(()) };
        let written = sink.file.write_at(&self.block[..self.filled], progress.written.offset);
        let name = core.names.log(sink.first);
        let wanted_bytes = self.filled as u64;
        if let Err(error) = written {
            // The place in the front has moved on, and is sought again.
            self.place = None;
            if error.kind() == io::ErrorKind::FileTooLarge {
                // This process may not make such a file (RLIMIT_FSIZE), which is nobody else's matter.
                return Err(JournalError::os("writing", name, error));
            }
            if is_full(&error) {
                // Nothing of it is counted, and all of it is written again.
                return Err(JournalError::DiskFull { file: name, wanted_bytes });
            }
            return Err(fail(core, Act::Write, error));
        }
        progress.written = end;
        Ok(())
    }

    /// Lets go of what of the front need not be kept for another flush.
    fn release(&mut self, core: &Core, progress: Progress) {
        let Some(place) = self.place.as_ref().map(Anchored::state) else { return };
        let mapped = core.front.mapped();
        if let Some(floor) = mapped.floor()
            && place.seq() == progress.written.seq
            && floor.hold.0.load(Relaxed) != place.segment() + 1
        {
            hold::advance(&floor.hold.0, place.segment());
            mapped.ring_room();
        }
    }
}

/// What a flush begins with: its mark, and in a fresh file the cursors.
pub(crate) fn lead(core: &Core, salt: Salt, durable: u64, place: Place) -> Vec<u8> {
    let mark = Mark { seq: place.seq, durable, unix_ns: core.state.mark_time() };
    let mut lead = vec![0; MARK_FRAME_BYTES];
    mark.encode_into(&mut lead, salt);
    if place.offset == BLOCK_BYTES {
        let cursors = core.state.cursor_table().0.encode(place.seq);
        encode(&mut lead, salt, FrameKind::Cursors, place.seq, &cursors);
    }
    lead
}

fn frame_kind(word: u64) -> FrameKind {
    if entry::kind(word) == Kind::Batch { FrameKind::Batch } else { FrameKind::Record }
}

/// Says to everybody that nothing is flushed any more.
pub(crate) fn fail(core: &Core, act: Act, error: io::Error) -> JournalError {
    core.state.fail(act, &error);
    JournalError::Failed { dir: core.dir.clone(), what: act.text(), error }
}
