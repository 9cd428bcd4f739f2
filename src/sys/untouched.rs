//! A directory that is only read, whatever is asked of it.

use crate::sys::disk::{Disk, DiskFile, Open};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Another disk, of which nothing is changed: what would be is refused. A file that is opened to be written can be read,
/// and a sync of what nobody here has written is done with nothing.
#[derive(Debug)]
pub(crate) struct Untouched(pub(crate) Arc<dyn Disk>);

#[derive(Debug)]
struct UntouchedFile(Arc<dyn DiskFile>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for Untouched {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if how == Open::Create { refused() } else { Ok(Arc::new(UntouchedFile(self.0.open(name, Open::Read)?))) }
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for UntouchedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(to, offset)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        refused()
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn give_back(&self, _offset: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        // Others may be about to write to it; and what a failed write has left there is found by who recovers.
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }
}
