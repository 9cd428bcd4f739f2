//! A directory and its files, as far as a journal needs them. What goes to the disk goes through these two traits, so
//! that the crash tests can put a recorder in between.

use rustix::fs::{
    Advice, AtFlags, Dir, FallocateFlags, Mode, OFlags, fadvise, fallocate, fdatasync, fstat, fsync, ftruncate, openat,
    renameat, unlinkat,
};
use rustix::io::{Errno, pread, pwrite};
use rustix::process::{Resource, getrlimit};
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// To be read.
    Read,
    /// To be read and written.
    Write,
    /// To be read and written, made if it is not there, and emptied if it is.
    Create,
}

/// One directory.
pub(crate) trait Disk: Debug + Send + Sync {
    /// The names in it, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, over one that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes durable which names there are (fsync(2) of the directory).
    fn sync(&self) -> io::Result<()>;
}

/// One open file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads at `offset`: all of `to`, but for what lies beyond the end of the file. Returns how many bytes.
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Allocates `len` bytes, which read as zeroes until they are written; the file is then at least so long.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Gives back the room of what lies from `offset` on, which then reads as zeroes; the file keeps its length. Where the
    /// file system can't, nothing happens.
    fn give_back(&self, offset: u64) -> io::Result<()> {
        let _ = offset;
        Ok(())
    }
    /// Makes its content durable (fdatasync(2)).
    fn sync(&self) -> io::Result<()>;
    /// Asks the kernel to forget what it has cached of the file and is not about to write (posix_fadvise(2)).
    fn forget_cache(&self) -> io::Result<()>;
    /// The descriptor, to be mapped or locked.
    fn fd(&self) -> BorrowedFd<'_>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(crate) struct NativeDisk {
    dir: OwnedFd,
    mode: Mode,
}

impl NativeDisk {
    /// Opens the directory at `path`; files made in it get permissions `mode`.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
        Ok(Self { dir, mode: Mode::from_raw_mode(mode) })
    }
}

impl Disk for NativeDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let flags = match how {
            Open::Read => OFlags::RDONLY,
            Open::Write => OFlags::RDWR,
            Open::Create => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
        };
        // Without waiting for the other end of what may be a pipe.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(Arc::new(NativeFile(openat(&self.dir, name, flags, self.mode)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        fsync(&self.dir).map_err(|error| match error {
            // What a file system says that can't.
            Errno::INVAL => Errno::OPNOTSUPP.into(),
            error => error.into(),
        })
    }
}

/// A file of the file system.
#[derive(Debug)]
struct NativeFile(OwnedFd);

/// Repeats a system call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

impl DiskFile for NativeFile {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(fstat(&self.0)?.st_size).unwrap_or(0))
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < to.len() {
            match retry(|| pread(&self.0, &mut to[done..], offset + done as u64))? {
                0 => break,
                some => done += some,
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        check_file_limit(offset + bytes.len() as u64)?;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match retry(|| pwrite(&self.0, rest, offset + done as u64))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                some => done += some,
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        check_file_limit(len)?;
        match retry(|| fallocate(&self.0, FallocateFlags::empty(), 0, len)) {
            // There it is found out only when the bytes are written.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(ftruncate(&self.0, len)?),
            done => done,
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        Ok(ftruncate(&self.0, len)?)
    }

    fn give_back(&self, offset: u64) -> io::Result<()> {
        let len = self.len()?.saturating_sub(offset);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match retry(|| fallocate(&self.0, flags, offset, len)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            done => done,
        }
    }

    fn sync(&self) -> io::Result<()> {
        // Not repeated whatever it says: the kernel reports a lost write once.
        Ok(fdatasync(&self.0)?)
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes sure that this process may make a file of `len` bytes: who tries to in vain gets a SIGXFSZ, which kills
/// (setrlimit(2), RLIMIT_FSIZE).
fn check_file_limit(len: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if len > limit => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(()),
    }
}

/// Whether there was no room for what was to be written: a full disk, or a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
