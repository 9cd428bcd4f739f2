//! A directory in memory, made from an image of what a disk may hold.

use crate::sys::disk::{Disk, DiskFile, Open};
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

/// Bytes of a file, shared by the images that have the same.
pub(super) type Content = Arc<Vec<u8>>;

/// What a directory holds: names and contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image(pub(super) BTreeMap<String, Content>);

impl Image {
    /// A fingerprint of names and contents.
    pub(super) fn fingerprint(&self) -> u128 {
        let mut print = Print::default();
        for (name, content) in &self.0 {
            print.add(name.as_bytes());
            print.add(content);
        }
        print.end()
    }
}

/// Two lanes of multiply and rotate: fast, and good enough to tell images apart.
#[derive(Default)]
struct Print {
    a: u64,
    b: u64,
}

impl Print {
    fn word(&mut self, word: u64) {
        self.a = (self.a ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.b = (self.b.rotate_left(23) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    /// Blocks of zeroes, which are most, are skipped.
    fn add(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for (index, block) in bytes.chunks(512).enumerate().filter(|(_, block)| **block != [0; 512]) {
            self.word(index as u64);
            let (words, rest) = block.as_chunks::<8>();
            words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
            rest.iter().for_each(|&byte| self.word(u64::from(byte)));
        }
    }

    fn end(mut self) -> u128 {
        for _ in 0..2 {
            let (a, b) = (self.a ^ self.a >> 31, self.b ^ self.b >> 29);
            self.word(a.wrapping_add(b.rotate_left(32)));
        }
        u128::from(self.a) << 64 | u128::from(self.b)
    }
}

/// One file, with a descriptor for who wants to lock it.
#[derive(Debug, Default)]
struct Inode {
    content: Mutex<Content>,
    fd: OnceLock<OwnedFd>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct MemoryDisk {
    names: Mutex<BTreeMap<String, Arc<Inode>>>,
}

impl MemoryDisk {
    pub(super) fn of(image: &Image) -> Self {
        let inode = |content: &Content| Arc::new(Inode { content: Mutex::new(content.clone()), fd: OnceLock::new() });
        let names = image.0.iter().map(|(name, content)| (name.clone(), inode(content))).collect();
        Self { names: Mutex::new(names) }
    }

    /// What it holds now.
    pub(super) fn image(&self) -> Image {
        let content = |inode: &Inode| inode.content.lock().unwrap().clone();
        Image(self.names.lock().unwrap().iter().map(|(name, inode)| (name.clone(), content(inode))).collect())
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.names.lock().unwrap().keys().cloned().collect())
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = self.names.lock().unwrap();
        let inode = match how {
            Open::Read | Open::Write => names.get(name).ok_or_else(missing)?,
            Open::Create => names.entry(name.to_owned()).or_default(),
        };
        if how == Open::Create {
            *inode.content.lock().unwrap() = Content::default();
        }
        Ok(Arc::new(MemoryFile(Arc::clone(inode))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names.lock().unwrap();
        let inode = names.remove(from).ok_or_else(missing)?;
        names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.names.lock().unwrap().remove(name).map(drop).ok_or_else(missing)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile(Arc<Inode>);

impl MemoryFile {
    fn change<T>(&self, how: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        how(Arc::make_mut(&mut self.0.content.lock().unwrap()))
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// Writes as pwrite(2) does.
pub(super) fn put(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let (from, to) = (index(offset), index(offset) + bytes.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

/// Makes zeroes of all from `offset` on.
pub(super) fn zero(content: &mut [u8], offset: u64) {
    content.iter_mut().skip(index(offset)).for_each(|byte| *byte = 0);
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.content.lock().unwrap().len() as u64)
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.content.lock().unwrap();
        let from = content.get(index(offset).min(content.len())..).unwrap_or(&[]);
        let some = from.len().min(to.len());
        to[..some].copy_from_slice(&from[..some]);
        Ok(some)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|content| put(content, bytes, offset));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(|content| content.resize(content.len().max(index(len)), 0));
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(|content| content.resize(index(len), 0));
        Ok(())
    }

    fn give_back(&self, offset: u64) -> io::Result<()> {
        self.change(|content| zero(content, offset));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // To be locked; nobody maps a file of these.
        self.0.fd.get_or_init(|| memfd_create("disk", MemfdFlags::CLOEXEC).unwrap()).as_fd()
    }
}
