//! Where the bytes come from: memfd on small or huge pages, plain files; allocated before use.

use crate::error::CreateError;
use crate::sys::inspect::{is_in_memory, page_bytes_at};
use crate::sys::quota::memory_left;
use memfd::{FileSeal, HugetlbSize, MemfdOptions};
use rustix::fs::{FallocateFlags, Mode, SealFlags, fallocate, fchmod, fcntl_add_seals, ftruncate};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::Path;

/// A huge page size of a memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HugePage {
    TwoMiB,
    OneGiB,
}

impl HugePage {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::TwoMiB => 2 << 20,
            Self::OneGiB => 1 << 30,
        }
    }

    fn of_bytes(bytes: u64) -> Option<Self> {
        [Self::TwoMiB, Self::OneGiB].into_iter().find(|page| page.bytes() == bytes)
    }

    /// Whether the pool has fewer pages than `len` bytes take.
    fn is_short_of(self, len: u64) -> bool {
        self.pool("free_hugepages") < len.div_ceil(self.bytes())
    }

    fn size(self) -> HugetlbSize {
        match self {
            Self::TwoMiB => HugetlbSize::Huge2MB,
            Self::OneGiB => HugetlbSize::Huge1GB,
        }
    }

    /// One of the pool's counters, from sysfs; 0 where there is none.
    fn pool(self, counter: &str) -> u64 {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-{}kB/{counter}", self.bytes() >> 10);
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// What to tell who needs `len` bytes of these pages and can't have them.
    fn missing(self, len: u64) -> CreateError {
        let pages_wanted = len.div_ceil(self.bytes());
        let (pages_total, pages_free) = (self.pool("nr_hugepages"), self.pool("free_hugepages"));
        CreateError::NoHugePages {
            page_bytes: self.bytes(),
            pages_wanted,
            pages_free,
            pages_total,
            pages_needed: pages_total + pages_wanted.saturating_sub(pages_free),
        }
    }
}

/// How much of a file is allocated before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocate {
    /// All of it.
    All,
    /// This many bytes at its beginning; who writes to the rest allocates it before.
    First(u64),
}

impl Allocate {
    fn of(self, len: u64) -> u64 {
        match self {
            Self::All => len,
            Self::First(bytes) => bytes.min(len),
        }
    }
}

/// A memfd of `len` bytes with permissions `mode`, allocated and sealed against resizing. It can be given
/// further seals until [`seal_seals`].
pub(crate) fn create_memfd(
    name: &str,
    len: u64,
    huge: Option<HugePage>,
    mode: u32,
    allocate: Allocate,
) -> Result<File, CreateError> {
    let options = MemfdOptions::new().allow_sealing(true).hugetlb(huge.map(HugePage::size));
    let no_memory = |len| match huge {
        Some(huge) => huge.missing(len),
        None => CreateError::NoSpace { wanted_bytes: len },
    };
    let memfd = match options.create(name) {
        Ok(memfd) => memfd,
        // Descriptors may be short too, which is not the pool's fault.
        Err(memfd::Error::Create(source)) if huge.is_some() && !is_descriptor_limit(&source) => {
            return Err(no_memory(len));
        }
        Err(memfd::Error::Create(source)) => return Err(CreateError::os("memfd_create", source)),
        Err(other) => return Err(CreateError::os("memfd_create", io::Error::other(other))),
    };
    fchmod(memfd.as_file(), Mode::from_raw_mode(mode)).map_err(|error| CreateError::os("fchmod", error))?;
    check_file_limit(len)?;
    ftruncate(memfd.as_file(), len).map_err(|error| CreateError::os("sizing the memfd", error))?;
    if reserve(memfd.as_file(), allocate.of(len))?.is_err() {
        // What it could have is free again before the pool is looked at.
        drop(memfd);
        return Err(no_memory(len));
    }
    for seal in [FileSeal::SealShrink, FileSeal::SealGrow] {
        memfd.add_seal(seal).map_err(|error| CreateError::os("sealing the memfd", io::Error::other(error)))?;
    }
    Ok(memfd.into_file())
}

/// Forbids further seals on a memfd; and, if `is_write_sealed`, writing to it but through mappings that are
/// there already (fcntl(2), F_SEAL_FUTURE_WRITE).
pub(crate) fn seal_seals(file: impl AsFd, is_write_sealed: bool) -> io::Result<()> {
    let write = if is_write_sealed { SealFlags::FUTURE_WRITE } else { SealFlags::empty() };
    Ok(fcntl_add_seals(file, write | SealFlags::SEAL)?)
}

/// A new file of `len` bytes. On a mounted hugetlbfs it consists of huge pages.
pub(crate) fn create_file(path: &Path, len: u64, mode: u32, allocate: Allocate) -> Result<File, CreateError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(mode);
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CreateError::Exists { path: path.to_owned() },
        _ => CreateError::os("creating the file", error),
    })?;
    let Err(error) = fill(&file, len, allocate) else { return Ok(file) };
    let huge = page_bytes_at(&file).ok().and_then(HugePage::of_bytes);
    drop(file);
    let _ = std::fs::remove_file(path);
    Err(match (error, huge) {
        // Else it is the limit of the mount.
        (CreateError::NoSpace { wanted_bytes }, Some(huge)) if huge.is_short_of(wanted_bytes) => {
            huge.missing(wanted_bytes)
        }
        (error, _) => error,
    })
}

fn fill(file: &File, len: u64, allocate: Allocate) -> Result<(), CreateError> {
    check_file_limit(len)?;
    ftruncate(file, len).map_err(|error| CreateError::os("sizing the file", error))?;
    reserve(file, allocate.of(len))?.map_err(|()| CreateError::NoSpace { wanted_bytes: len })
}

/// Makes sure that this process may make a file of `len` bytes, also a memfd: who tries to in vain gets a SIGXFSZ,
/// which kills (setrlimit(2), RLIMIT_FSIZE).
fn check_file_limit(len: u64) -> Result<(), CreateError> {
    match getrlimit(Resource::Fsize).current {
        Some(limit_bytes) if len > limit_bytes => Err(CreateError::FileLimit { wanted_bytes: len, limit_bytes }),
        _ => Ok(()),
    }
}

/// Whether the process, or the system, has as many descriptors as it may.
fn is_descriptor_limit(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Allocates the first `len` bytes of a file. `Ok(Err(()))`: not enough room.
#[allow(clippy::type_complexity, reason = "the outer error is final, the inner one is explained by the caller")]
fn reserve(file: &File, len: u64) -> Result<Result<(), ()>, CreateError> {
    match allocate_range(file, 0, len) {
        Ok(()) => Ok(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeroes(file, len),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(Err(())),
        Err(error) => Err(CreateError::os("allocating the file", error)),
    }
}

/// Allocates a range of a file, which keeps its size. `StorageFull`: not enough room; `Unsupported`: the
/// file system can't.
pub(crate) fn allocate_range(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    check_room(&file, len)?;
    allocate_unasked(file, offset, len)
}

/// Makes sure that there is memory for `len` bytes more. `StorageFull`: not enough.
pub(crate) fn check_room(file: impl AsFd, len: u64) -> io::Result<()> {
    // Asked for more than there is, a memfd or tmpfs does not refuse: the kernel starts killing.
    if len > 0 && is_in_memory(&file)? && memory_left()?.is_some_and(|left| len > left) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// As [`allocate_range`], where [`check_room`] was asked for all of it before.
pub(crate) fn allocate_unasked(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    loop {
        match fallocate(&file, FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::NOMEM | Errno::DQUOT | Errno::FBIG) => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Err(Errno::OPNOTSUPP) => return Err(io::ErrorKind::Unsupported.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Allocates on file systems that know no fallocate.
fn write_zeroes(mut file: &File, len: u64) -> Result<Result<(), ()>, CreateError> {
    match io::copy(&mut io::Read::take(io::repeat(0), len), &mut file) {
        Ok(_) => Ok(Ok(())),
        Err(error) if [ErrorKind::StorageFull, ErrorKind::QuotaExceeded].contains(&error.kind()) => Ok(Err(())),
        Err(error) => Err(CreateError::os("writing zeroes", error)),
    }
}
