//! Where the bytes come from: memfd on small or huge pages, plain files; allocated before use.

use crate::error::CreateError;
use memfd::{FileSeal, HugetlbSize, MemfdOptions};
use rustix::fs::{FallocateFlags, Mode, SealFlags, fallocate, fchmod, fcntl_get_seals, fstat, fstatfs, ftruncate};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Bytes of a small page. Also the unit of files.
pub(crate) fn small_page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

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

/// A memfd of `len` bytes with permissions `mode`, all allocated, sealed against resizing and further
/// seals.
pub(crate) fn create_memfd(name: &str, len: u64, huge: Option<HugePage>, mode: u32) -> Result<File, CreateError> {
    let options = MemfdOptions::new().allow_sealing(true).hugetlb(huge.map(HugePage::size));
    let no_memory = |len| match huge {
        Some(huge) => huge.missing(len),
        None => CreateError::NoSpace { wanted_bytes: len },
    };
    let memfd = match options.create(name) {
        Ok(memfd) => memfd,
        Err(_) if huge.is_some() => return Err(no_memory(len)),
        Err(memfd::Error::Create(source)) => return Err(CreateError::os("memfd_create", source)),
        Err(other) => return Err(CreateError::os("memfd_create", io::Error::other(other))),
    };
    fchmod(memfd.as_file(), Mode::from_raw_mode(mode)).map_err(|error| CreateError::os("fchmod", error))?;
    ftruncate(memfd.as_file(), len).map_err(|error| CreateError::os("sizing the memfd", error))?;
    allocate(memfd.as_file(), len)?.map_err(|()| no_memory(len))?;
    for seal in [FileSeal::SealShrink, FileSeal::SealGrow, FileSeal::SealSeal] {
        memfd.add_seal(seal).map_err(|error| CreateError::os("sealing the memfd", io::Error::other(error)))?;
    }
    Ok(memfd.into_file())
}

/// A new file of `len` bytes, all allocated. On a mounted hugetlbfs it consists of huge pages.
pub(crate) fn create_file(path: &Path, len: u64, mode: u32) -> Result<File, CreateError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(mode);
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CreateError::Exists { path: path.to_owned() },
        _ => CreateError::os("creating the file", error),
    })?;
    fill(&file, len).inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(file)
}

fn fill(file: &File, len: u64) -> Result<(), CreateError> {
    ftruncate(file, len).map_err(|error| CreateError::os("sizing the file", error))?;
    allocate(file, len)?.map_err(|()| CreateError::NoSpace { wanted_bytes: len })
}

/// Allocates all of a file. `Ok(Err(()))`: not enough room.
#[allow(clippy::type_complexity, reason = "the outer error is final, the inner one is explained by the caller")]
fn allocate(file: &File, len: u64) -> Result<Result<(), ()>, CreateError> {
    if len == 0 {
        return Ok(Ok(()));
    }
    let is_memory = file_system(file).map_err(|error| CreateError::os("fstatfs", error))?.0 == TMPFS_MAGIC;
    // Asked for more than there is, a memfd or tmpfs does not refuse: the kernel starts killing.
    if is_memory && memory_left().is_some_and(|left| len > left) {
        return Ok(Err(()));
    }
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(Ok(())),
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::NOMEM | Errno::DQUOT | Errno::FBIG) => return Ok(Err(())),
            Err(Errno::OPNOTSUPP) => return write_zeroes(file, len),
            Err(error) => return Err(CreateError::os("allocating the file", error)),
        }
    }
}

/// Allocates on file systems that know no fallocate.
fn write_zeroes(mut file: &File, len: u64) -> Result<Result<(), ()>, CreateError> {
    match io::copy(&mut io::Read::take(io::repeat(0), len), &mut file) {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(Err(())),
        Err(error) => Err(CreateError::os("writing zeroes", error)),
    }
}

/// Bytes of memory and swap that can still be had; `None` where /proc does not say. Limits of a
/// control group are not seen.
fn memory_left() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |field: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
        rest.trim().trim_end_matches(" kB").parse().ok()
    };
    Some((kib("MemAvailable:")? + kib("SwapFree:").unwrap_or(0)) << 10)
}

/// `f_type` of a file on hugetlbfs, or a memfd on huge pages.
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;
/// `f_type` of a file on tmpfs, or any other memfd.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// `f_type` of a file on ext4.
const EXT4_MAGIC: i64 = 0xEF53;
/// `f_type` of a file on xfs.
const XFS_MAGIC: i64 = 0x5846_5342;

/// The kind of the file system that a file is on, and its block size in bytes.
#[allow(
    clippy::unnecessary_cast,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the fields' types differ by target"
)]
fn file_system(file: impl AsFd) -> io::Result<(i64, u64)> {
    let stat = fstatfs(file)?;
    Ok((stat.f_type as i64, stat.f_bsize as u64))
}

/// Bytes of a page of the file system that `path` is on: the huge page on hugetlbfs.
pub(crate) fn page_bytes_at(file: impl AsFd) -> io::Result<u64> {
    let (kind, block) = file_system(file)?;
    Ok(if kind == HUGETLBFS_MAGIC { block } else { small_page_bytes() })
}

/// What a descriptor promises about its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footing {
    /// A memfd sealed against resizing.
    Sealed,
    /// A file with a name.
    Named,
    /// A memfd, or a file without a name, that can be truncated under its users.
    Loose,
}

/// What is open: its size in bytes, its footing, and how many of its bytes are allocated for sure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inspected {
    pub(crate) len_bytes: u64,
    pub(crate) footing: Footing,
    pub(crate) allocated_bytes: u64,
}

/// Looks at what is open.
///
/// Bytes count as allocated on file systems that do not say so reliably (those that compress).
pub(crate) fn inspect(file: impl AsFd) -> io::Result<Inspected> {
    let stat = fstat(&file)?;
    let fixed = SealFlags::SHRINK | SealFlags::GROW;
    let footing = match fcntl_get_seals(&file) {
        Ok(seals) if seals.contains(fixed) => Footing::Sealed,
        _ if stat.st_nlink > 0 => Footing::Named,
        _ => Footing::Loose,
    };
    let len_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let (kind, _) = file_system(&file)?;
    let is_exact = [TMPFS_MAGIC, HUGETLBFS_MAGIC, EXT4_MAGIC, XFS_MAGIC].contains(&kind);
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    let allocated_bytes = if is_exact { blocks.saturating_mul(512) } else { len_bytes };
    Ok(Inspected { len_bytes, footing, allocated_bytes })
}
