//! The file that is written to: opening it, beginning the next one, and finding out what one who died has left.

use crate::create::unix_ns;
use crate::error::JournalError;
use crate::journal::core::Core;
#[cfg(test)]
use crate::journal::crash::planted::{Mistake, is_made};
use crate::journal::files;
use crate::journal::flushing::flush::{BLOCK, Flusher, fail, lead};
use crate::journal::format::control::Place;
use crate::journal::format::frame::{HEAD_BYTES, MARK_BYTES, Mark, Salt};
use crate::journal::format::header::{Header, NO_FILE};
use crate::journal::format::{self, BLOCK_BYTES, MAX_SEQ};
use crate::journal::reading::stream::FrameStream;
use crate::journal::state::{Act, Progress};
use crate::sys::disk::{DiskFile, Open};
use std::io;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) first: u64,
    pub(crate) salt: Salt,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) len_bytes: u64,
}

impl Flusher {
    /// Sees to it that there is a file with room: the next one; if no record is in this one, another of the same name, as the
    /// cursors in it are nowhere else; or this one, lengthened first, so that there is room for any record.
    pub(crate) fn next_file(&mut self, core: &Core, progress: &mut Progress) -> Result<(), JournalError> {
        let Some(sink) = self.sink.as_mut().filter(|sink| sink.first == progress.written.seq) else {
            return self.begin_file(core, progress);
        };
        let file_bytes = core.settings.file_bytes;
        if sink.len_bytes / 2 >= file_bytes {
            return self.replace_file(core, progress);
        }
        let lengthen = || {
            let len = sink.file.len()?;
            if len == sink.len_bytes {
                // Whole pages, so that it can be mapped.
                sink.file.allocate(len.saturating_add(file_bytes).next_multiple_of(BLOCK_BYTES))?;
            }
            // Else another process has.
            sink.file.len()
        };
        let len_bytes = lengthen();
        sink.len_bytes = len_bytes
            .map_err(|error| JournalError::disk("lengthening", core.names.log(sink.first), file_bytes, error))?;
        Ok(())
    }

    /// Begins the file of the next record. It gets its name when its header is durable, and, where records are made
    /// durable, when all before it are: so a file that has its name proves what its header says.
    fn begin_file(&mut self, core: &Core, progress: &mut Progress) -> Result<(), JournalError> {
        self.sink = None;
        core.prepare_now()?;
        let Place { seq: first, file: previous, .. } = progress.written;
        if first > MAX_SEQ {
            return Err(JournalError::FrontCorrupt { seq: first });
        }
        let (spare, name) = (core.names.spare(), core.names.log(first));
        let os = |error| JournalError::disk("beginning", &name, BLOCK_BYTES, error);
        let file = core.disk.open(&spare, Open::Write).map_err(os)?;
        let header = Header {
            id: core.id,
            generation: core.generation,
            first,
            previous,
            durable: progress.durable.seq,
            salt: random_salt().map_err(|error| JournalError::os("drawing a salt for", &name, error))?,
            created_unix_ns: unix_ns(),
            missing: 0,
            before: salt_before(&*file).map_err(os)?,
        };
        file.write_at(&header.encode(), 0).map_err(os)?;
        file.sync().map_err(|error| fail(core, Act::Begin, error))?;
        core.disk.rename(&spare, &name).map_err(|error| JournalError::disk("naming", &name, BLOCK_BYTES, error))?;
        core.disk.sync().map_err(|error| fail(core, Act::Begin, error))?;
        let len_bytes = file.len().map_err(|error| JournalError::os("looking at", &name, error))?;
        self.sink = Some(Sink { first, salt: header.frame_salt(), file, len_bytes });
        core.trails.keep(self.trail.begin(first));
        let is_durable = progress.durable == progress.written;
        progress.written = Place { seq: first, file: first, offset: BLOCK_BYTES };
        if is_durable {
            progress.durable = progress.written;
        }
        core.state.publish(*progress);
        core.state.files_changed();
        self.files = core.state.files();
        Ok(())
    }

    /// Puts a file in the place of the one that is written to, which holds cursors alone: it begins with them, and those
    /// before are of no use any more. At any time there is the one or the other, whole; `take_over` finds out which.
    fn replace_file(&mut self, core: &Core, progress: &mut Progress) -> Result<(), JournalError> {
        self.sink = None;
        core.prepare_now()?;
        let place = Place { offset: BLOCK_BYTES, ..progress.written };
        let info = files::open(&*core.disk, &core.names, core.id, place.file)?;
        let (spare, name) = (core.names.spare(), &info.name);
        let os = |error| JournalError::disk("beginning anew", name, BLOCK_BYTES, error);
        let file = core.disk.open(&spare, Open::Write).map_err(os)?;
        // The salt stays, as deletion marks have it too. Who died over this may have left it in the spare.
        let before = Some(salt_before(&*file).map_err(os)?).filter(|&before| before != info.header.salt);
        let header = Header { durable: progress.durable.seq, before: before.unwrap_or(0), ..info.header };
        let lead = lead(core, header.frame_salt(), header.durable, place);
        file.write_at(&header.encode(), 0).and_then(|()| file.write_at(&lead, BLOCK_BYTES)).map_err(os)?;
        file.sync().map_err(|error| fail(core, Act::Begin, error))?;
        core.disk.rename(&spare, name).map_err(os)?;
        core.disk.sync().map_err(|error| fail(core, Act::Begin, error))?;
        let len_bytes = file.len().map_err(os)?;
        self.sink = Some(Sink { first: place.file, salt: header.frame_salt(), file, len_bytes });
        *progress = moved(*progress, BLOCK_BYTES + lead.len() as u64);
        core.state.publish(*progress);
        // Others have the old one open.
        core.state.files_changed();
        self.files = core.state.files();
        Ok(())
    }

    /// Opens the file that the place is in, unless it is the one that is open, or is full.
    pub(crate) fn open_sink(&mut self, core: &Core, place: Place) -> Result<(), JournalError> {
        if place.offset == Place::FULL || place.file == NO_FILE {
            self.sink = None;
            return Ok(());
        }
        // Another one may have got its name.
        let files = core.state.files();
        if self.files == files && self.sink.as_ref().is_some_and(|sink| sink.first == place.file) {
            return Ok(());
        }
        let info = files::open(&*core.disk, &core.names, core.id, place.file)?;
        let os = |error| JournalError::os("opening", &info.name, error);
        let file = core.disk.open(&info.name, Open::Write).map_err(os)?;
        let len_bytes = file.len().map_err(os)?;
        self.sink = Some(Sink { first: place.file, salt: info.header.frame_salt(), file, len_bytes });
        self.files = files;
        Ok(())
    }

    /// The one who flushed before has died in the middle of it. Returns how far it came.
    pub(crate) fn take_over(&mut self, core: &Core, progress: Progress) -> Result<Progress, JournalError> {
        self.sink = None;
        self.place = None;
        // Cursors that it wrote behind the place that was published are written over.
        let version = core.state.cursors_durable();
        #[cfg(test)]
        let version = if is_made(Mistake::DeadCursors) { core.state.cursors_written() } else { version };
        core.state.set_cursors_written(version);
        // A file that it began and did not publish: what is to be in it is in the front still.
        let firsts = files::firsts(&*core.disk, &core.names);
        let firsts = firsts.map_err(JournalError::listing)?;
        let is_beyond = |&first: &u64| progress.written.file == NO_FILE || first > progress.written.file;
        for first in firsts.into_iter().filter(is_beyond).rev() {
            let name = core.names.log(first);
            core.disk.remove(&name).map_err(|error| JournalError::os("removing", &name, error))?;
            core.disk.sync().map_err(|error| JournalError::os("syncing the directory of", &name, error))?;
        }
        let progress = after_replacing(core, progress)?;
        let is_syncing = core.state.is_syncing();
        #[cfg(test)]
        let is_syncing = is_syncing && !is_made(Mistake::DeadSync);
        if is_syncing {
            rewrite(core, progress).map_err(|error| fail(core, Act::Sync, error))?;
            core.state.set_syncing(false);
        }
        core.state.publish(progress);
        // It may have begun a file that it did not count, or counted one that is gone again.
        core.state.files_changed();
        Ok(progress)
    }
}

/// How far flushing has come, when a file took the place of the one that is written to, in which no record is.
fn moved(progress: Progress, offset: u64) -> Progress {
    let written = Place { offset, ..progress.written };
    Progress { written, durable: if progress.durable.seq == written.seq { written } else { progress.durable } }
}

/// How far one who died has come, who may have replaced the file that is written to: then that is shorter than what was
/// written to the old one.
fn after_replacing(core: &Core, progress: Progress) -> Result<Progress, JournalError> {
    let Place { seq, file, offset } = progress.written;
    if seq != file || offset == Place::FULL {
        return Ok(progress);
    }
    let info = files::open(&*core.disk, &core.names, core.id, file)?;
    let os = |error| JournalError::os("reading", &info.name, error);
    if info.file.len().map_err(os)? >= offset {
        return Ok(progress);
    }
    // It may have died before its name was durable.
    core.disk.sync().map_err(|error| fail(core, Act::Begin, error))?;
    let mut frames = FrameStream::of_file(Arc::clone(&info.file), info.header.frame_salt(), file);
    while frames.peek().map_err(os)?.is_some_and(|kind| !kind.is_record()) {
        frames.pass();
    }
    Ok(moved(progress, frames.offset()))
}

/// Nobody knows what the sync of a dead process came to, and a failure is reported once. So what it was to make
/// durable is written again, as it is: the next sync then is about that too.
fn rewrite(core: &Core, progress: Progress) -> io::Result<()> {
    for first in core.state.dirty_marks() {
        if let Ok(file) = core.disk.open(&core.names.marks(first), Open::Write) {
            rewrite_range(&*file, 0, file.len()?)?;
        }
    }
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
        rewrite_range(&*file, begin, end)?;
    }
    Ok(())
}

fn rewrite_range(file: &dyn DiskFile, begin: u64, end: u64) -> io::Result<()> {
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
    Ok(())
}

/// The salt of the frames that a file has of old, as long as it has its old header. 0: there are none.
fn salt_before(file: &dyn DiskFile) -> io::Result<u64> {
    let mut bytes = [0; format::BLOCK + HEAD_BYTES + MARK_BYTES];
    file.read_at(&mut bytes, 0)?;
    let Ok(header) = Header::decode(&bytes) else { return Ok(0) };
    // One that got a header and nothing else holds what it held before that.
    let is_used = Mark::find(&bytes[format::BLOCK..], header.frame_salt()).is_some();
    Ok(if is_used { header.salt } else { header.before })
}

fn random_salt() -> io::Result<u64> {
    #[cfg(test)]
    if is_made(Mistake::Salt) {
        return Ok(0);
    }
    let mut salt = [0; 8];
    rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(salt))
}

#[cfg(test)]
mod tests {
    use crate::journal::Journal;
    use crate::log::Start;
    use crate::sync::Ordering::Relaxed;

    /// The story: who flushed was killed between publishing a file that it had begun and counting it. Readers who knew of
    /// none behind the one before took its end for damage.
    #[test]
    fn a_file_that_one_who_died_did_not_count_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Journal::builder().file_bytes(256 << 10).front_size(2, 64 << 10).thread(false);
        let journal = builder.open(dir.path()).unwrap();
        let mut appender = journal.appender().unwrap();
        let mut append = |count| {
            for _ in 0..count {
                appender.append_durable(&[1; 1000]).unwrap();
            }
        };
        append(200);
        let mut slow = journal.reader(Start::First).unwrap();
        assert_eq!(slow.try_next().unwrap().unwrap().seq(), 0);
        append(200);
        let core = journal.core();
        core.leading(|| core.state.begin_flush()).unwrap();
        core.state.words().files.0.fetch_sub(1, Relaxed);
        append(1);
        for seq in 1..401 {
            assert_eq!(slow.try_next().unwrap().unwrap().seq(), seq);
        }
    }
}
