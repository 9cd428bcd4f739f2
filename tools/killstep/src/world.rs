//! What others can see of a process, to look whether it changes.

use crate::victim::Victim;
use crate::visible::shared_mappings;
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::fs::{File, read, read_dir};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes to be looked at before only some of the looks are taken.
const ENOUGH_BYTES: u64 = 8 << 30;
/// One in so many, then.
const SOME: u64 = 61;
const PAGE_BYTES: usize = 4096;

/// The bytes of all shared memory of a process, and of the files in a directory.
#[derive(Debug)]
pub struct World {
    memory: File,
    files: Option<PathBuf>,
    /// At the last look, and at the one before.
    last: Vec<u8>,
    now: Vec<u8>,
    /// After how many instructions the stretch began that is under way, and whether that was looked at.
    stretch: Option<(usize, bool)>,
    looked_bytes: u64,
    stretches: u64,
    /// Stretches at both of whose ends was looked, and their instructions.
    compared: (u64, u64),
}

impl World {
    /// Of a stopped process.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(victim: &Victim, files: Option<&Path>) -> Result<Self> {
        let memory = File::open(format!("/proc/{}/mem", victim.pid())).context("its memory")?;
        let (files, last, now) = (files.map(Path::to_owned), Vec::new(), Vec::new());
        Ok(Self { memory, files, last, now, stretch: None, looked_bytes: 0, stretches: 0, compared: (0, 0) })
    }

    /// Before the instruction that comes after `executed` ones. A stretch of those that nobody sees begins with it, goes
    /// on, or is over: then all is as it was at its beginning.
    ///
    /// # Errors
    /// It is not; what the system says.
    pub fn pass(&mut self, victim: &Victim, executed: usize, is_visible: bool) -> Result<()> {
        match self.stretch {
            None if !is_visible => {
                self.stretches += 1;
                let is_meant = self.looked_bytes < ENOUGH_BYTES || self.stretches.is_multiple_of(SOME);
                self.stretch = Some((executed, is_meant));
                if is_meant { self.look(victim) } else { Ok(()) }
            }
            Some((since, is_meant)) if is_visible => {
                self.stretch = None;
                if is_meant { self.compare(victim, since, executed) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Stretches at whose beginning and end all was the same, and how many instructions these were.
    pub fn compared(&self) -> (u64, u64) {
        self.compared
    }

    fn compare(&mut self, victim: &Victim, since: usize, executed: usize) -> Result<()> {
        std::mem::swap(&mut self.last, &mut self.now);
        self.look(victim)?;
        ensure!(self.last == self.now, "instructions {since} to {executed} changed what others see, unforeseen");
        self.compared = (self.compared.0 + 1, self.compared.1 + (executed - since) as u64);
        Ok(())
    }

    fn look(&mut self, victim: &Victim) -> Result<()> {
        self.now.clear();
        let mut known = HashSet::new();
        for mapping in shared_mappings(victim)? {
            let len = usize::try_from(mapping.range.end - mapping.range.start)?;
            if !known.insert((mapping.what, len)) {
                continue;
            }
            let begin = self.now.len();
            self.now.resize(begin + len, 0);
            let bytes = &mut self.now[begin..];
            if self.memory.read_exact_at(bytes, mapping.range.start).is_err() {
                // Page by page: there is none where the file ends.
                for (at, page) in (mapping.range.start..).step_by(PAGE_BYTES).zip(bytes.chunks_mut(PAGE_BYTES)) {
                    let _ = self.memory.read_exact_at(page, at);
                }
            }
        }
        if let Some(files) = &self.files {
            look_at_files(files, &mut self.now)?;
        }
        self.looked_bytes += self.now.len() as u64;
        Ok(())
    }
}

/// Names and contents, in the order of the names.
fn look_at_files(dir: &Path, into: &mut Vec<u8>) -> Result<()> {
    let entries = read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>();
    let mut paths = entries?;
    paths.sort_unstable();
    for path in paths {
        into.extend(path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            look_at_files(&path, into)?;
        } else {
            into.extend(read(&path)?);
        }
    }
    Ok(())
}
