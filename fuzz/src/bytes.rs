//! A region's file, as a peer has it that writes whatever it likes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// See the module. Handles have the same file mapped, and see at once what is written here.
#[derive(Debug)]
pub struct Bytes {
    file: File,
    good: Vec<u8>,
}

impl Bytes {
    /// Opens the file; what is in it now is what `restore` brings back.
    pub fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).expect("it was just made");
        let good = std::fs::read(path).expect("it was just made");
        Self { file, good }
    }

    /// Bytes of the file when it was opened.
    pub fn len(&self) -> u64 {
        self.good.len() as u64
    }

    /// Whether it had none.
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The word at this offset; 0 beyond the end.
    pub fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => 0,
        }
    }

    /// The word that was at this offset when the file was opened, or kept.
    pub fn good_word(&self, at: u64) -> u64 {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.good.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Writes a word. Returns whether that changed anything; beyond the end nothing is written.
    pub fn set_word(&self, at: u64, word: u64) -> bool {
        at + 8 <= self.len() && self.word(at) != word && {
            self.file.write_all_at(&word.to_le_bytes(), at).expect("a file in memory");
            true
        }
    }

    /// Writes bytes, as many as there is room for.
    pub fn set(&self, at: u64, bytes: &[u8]) {
        let room = usize::try_from(self.len().saturating_sub(at)).unwrap_or(0);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.file.write_all_at(bytes, at).expect("a file in memory");
    }

    /// Makes the file longer or shorter. Nobody may have it mapped.
    pub fn resize(&self, len: u64) {
        self.file.set_len(len).expect("a file in memory");
        // A hole would be refused before anything in the file is looked at.
        if let Some(more) = len.checked_sub(self.len()).and_then(|more| usize::try_from(more).ok()) {
            self.file.write_all_at(&vec![0; more], self.len()).expect("a file in memory");
        }
    }

    /// Takes what is in the file now for good.
    pub fn keep(&mut self) {
        self.file.read_exact_at(&mut self.good, 0).expect("a file in memory");
    }

    /// Makes everything as it was, its length too.
    pub fn restore(&self) {
        if self.file.metadata().is_ok_and(|meta| meta.len() != self.len()) {
            self.file.set_len(self.len()).expect("a file in memory");
        }
        self.file.write_all_at(&self.good, 0).expect("a file in memory");
    }
}
