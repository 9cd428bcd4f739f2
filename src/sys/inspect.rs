//! What a descriptor is open on: its size, its seals, its pages.

use rustix::fs::{OFlags, SealFlags, SeekFrom, fcntl_get_seals, fcntl_getfl, fstat, fstatfs, seek};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;

/// Bytes of a small page. Also the unit of files.
pub(crate) fn small_page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// `f_type` of a file on hugetlbfs, or a memfd on huge pages.
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;
/// `f_type` of a file on tmpfs, or any other memfd.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// `f_type` of a file on ramfs.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

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

/// Whether a file's bytes are memory: a memfd on small pages, or a file on tmpfs or ramfs.
pub(crate) fn is_in_memory(file: impl AsFd) -> io::Result<bool> {
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&file_system(file)?.0))
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
    /// Of one page: a huge one on hugetlbfs.
    pub(crate) page_bytes: usize,
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
    let (kind, block) = file_system(&file)?;
    let page_bytes = if kind == HUGETLBFS_MAGIC { block } else { small_page_bytes() };
    let page_bytes = usize::try_from(page_bytes).unwrap_or(usize::MAX);
    let is_exact = [TMPFS_MAGIC, HUGETLBFS_MAGIC, EXT4_MAGIC, XFS_MAGIC].contains(&kind);
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    let allocated_bytes = if is_exact { blocks.saturating_mul(512) } else { len_bytes };
    Ok(Inspected { len_bytes, page_bytes, footing, allocated_bytes })
}

/// Whether a memfd can't be written to any more, but through mappings that are there already.
pub(crate) fn is_write_sealed(file: impl AsFd) -> bool {
    let sealed = SealFlags::WRITE | SealFlags::FUTURE_WRITE;
    fcntl_get_seals(file).is_ok_and(|seals| seals.intersects(sealed))
}

/// Whether a descriptor is open for reading only.
pub(crate) fn is_read_only(file: impl AsFd) -> bool {
    fcntl_getfl(file).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDONLY)
}

/// How many bytes from `offset` on are allocated without a hole (lseek(2), SEEK_HOLE): all there are where
/// the file system knows no holes. On tmpfs a page that was allocated and never touched counts as one. Moves the position of the descriptor, which nobody uses.
pub(crate) fn allocated_from(file: impl AsFd, offset: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Hole(offset)) {
        Ok(hole) => Ok(hole.saturating_sub(offset)),
        Err(Errno::INVAL) => Ok(u64::MAX),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory::{Allocate, allocate_range, create_memfd};
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_seen() {
        let file = create_memfd("holes", 64 << 10, None, 0o600, Allocate::First(4096)).unwrap();
        assert_eq!(allocated_from(&file, 0).unwrap(), 0, "allocated, but never touched");
        file.write_all_at(&[1], 0).unwrap();
        assert_eq!(allocated_from(&file, 0).unwrap(), 4096);
        assert_eq!(allocated_from(&file, 96).unwrap(), 4000);
        allocate_range(&file, 16 << 10, 8192).unwrap();
        file.write_all_at(&[1; 8192], 16 << 10).unwrap();
        assert_eq!(allocated_from(&file, 16 << 10).unwrap(), 8192);
        assert_eq!(allocated_from(&file, 12 << 10).unwrap(), 0);
    }
}
