//! What a process tries that was let in to read, and wants to write.
#![allow(unsafe_code, reason = "raw mappings, and system calls that no crate wraps")]

use nix::libc;
use rustix::fs::{FallocateFlags, Mode, SealFlags, fallocate, fchmod, fchown, fcntl_add_seals, ftruncate};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, geteuid, pidfd_getfd, pidfd_open};
use std::fs::{File, read_to_string};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a successful attempt leaves in the last word of the region.
pub const MARK: u64 = u64::from_le_bytes([0xEE; 8]);
/// Says that an attempt changed the region.
pub const WRITTEN: &str = "WRITTEN";

/// The region to be written to, and what is known of it.
#[derive(Debug)]
pub struct Prey {
    /// The descriptor that was received.
    pub received: OwnedFd,
    /// Where it leads: `/memfd:shmlog:NAME:log (deleted)`.
    pub link: String,
    pub len: u64,
    /// The creator, its own descriptor, and where it has the region mapped.
    pub parent: i32,
    pub parents: RawFd,
    pub parents_map: Range<u64>,
}

/// Where the process of `maps` (a file in /proc) has `link` mapped, with these permissions.
pub fn mapping(maps: &str, link: &str, permissions: &str) -> Option<Range<u64>> {
    let text = read_to_string(maps).ok()?;
    let line = text.lines().find(|line| line.ends_with(link) && line.contains(permissions))?;
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// An error by its name.
fn name(error: &io::Error) -> String {
    format!("{:?}", nix::Error::from_raw(error.raw_os_error().unwrap_or(0)))
}

fn said<T>(done: Result<T, impl Into<io::Error>>, success: &str) -> String {
    done.map_or_else(|error| name(&error.into()), |_| success.to_owned())
}

impl Prey {
    /// Makes every attempt, and tells `say` how it went.
    pub fn attack(&self, mut say: impl FnMut(&str, String)) {
        let fd = self.received.as_fd();
        say("map the received descriptor", said(self.map_and_write(fd), WRITTEN));
        say("make the mapping writable", said(self.unprotect(), WRITTEN));
        say("remove pages of the mapping", said(self.remove(), WRITTEN));
        say("write to it through /proc/self/mem", said(self.poke("/proc/self/mem", &self.own_map()), WRITTEN));
        say("write to the received descriptor", said(self.write(fd), WRITTEN));
        say("punch a hole", said(self.punch(fd), WRITTEN));
        say("shrink it", said(ftruncate(fd, self.len - 4096), WRITTEN));
        say("add a seal", said(fcntl_add_seals(fd, SealFlags::WRITE), "sealed"));
        let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
        say("reopen it for reading", said(File::open(&own), "opened"));
        say("reopen it for writing", self.use_if_opened(open(&own)));
        let theirs = format!("/proc/{}/fd/{}", self.parent, self.parents);
        say("open the creator's descriptor", self.use_if_opened(open(&theirs)));
        let Range { start, end } = self.parents_map;
        let map_file = format!("/proc/{}/map_files/{start:x}-{end:x}", self.parent);
        say("open the creator's map_files", self.use_if_opened(open(&map_file)));
        say("take the creator's descriptor", self.use_if_opened(self.steal().map_err(io::Error::from)));
        say("change its owner", said(fchown(fd, Some(geteuid()), None), "done"));
        say("change its mode", said(fchmod(fd, Mode::from_raw_mode(0o666)), "done"));
        say("reopen it then", self.use_if_opened(open(&own)));
        let memory = format!("/proc/{}/mem", self.parent);
        say("write through the creator's mem", said(self.poke(&memory, &self.parents_map), WRITTEN));
        say("write by process_vm_writev", said(self.write_across(), WRITTEN));
    }

    /// Tries to write by every means to what was opened for writing.
    pub fn use_if_opened(&self, opened: io::Result<impl AsFd>) -> String {
        match opened {
            Err(error) => name(&error),
            Ok(file) => format!(
                "opened; punch {}, map {}, write {}, shrink {}, seal {}",
                said(self.punch(&file), WRITTEN),
                said(self.map_and_write(&file), WRITTEN),
                said(self.write(&file), WRITTEN),
                said(ftruncate(&file, self.len - 4096), WRITTEN),
                said(fcntl_add_seals(&file, SealFlags::WRITE), "sealed"),
            ),
        }
    }

    fn map_and_write(&self, file: impl AsFd) -> Result<(), Errno> {
        let len = usize::try_from(self.len).unwrap();
        // SAFETY: the kernel picks the address, so no existing mapping is touched.
        let base =
            unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0) }?;
        mark(base as u64 + self.len - 8);
        // SAFETY: nobody knows of the mapping but this function.
        unsafe { munmap(base, len) }
    }

    /// This process's mapping, as the library made it.
    fn own_map(&self) -> Range<u64> {
        mapping("/proc/self/maps", &self.link, "r--s").expect("the library has mapped the region for reading")
    }

    fn unprotect(&self) -> Result<(), Errno> {
        let Range { start, end } = self.own_map();
        let len = usize::try_from(end - start).unwrap();
        // SAFETY: that the mapping may be written to as well breaks no assumption of who reads it.
        unsafe { mprotect(start as *mut _, len, MprotectFlags::READ | MprotectFlags::WRITE) }?;
        mark(end - 8);
        Ok(())
    }

    fn remove(&self) -> Result<(), Errno> {
        // SAFETY: zeroes what is mapped as shared memory, as any other process might.
        unsafe { madvise((self.own_map().end - 4096) as *mut _, 4096, Advice::LinuxRemove) }
    }

    fn write(&self, file: impl AsFd) -> io::Result<()> {
        File::from(file.as_fd().try_clone_to_owned()?).write_all_at(&MARK.to_le_bytes(), self.len - 8)
    }

    fn punch(&self, file: impl AsFd) -> Result<(), Errno> {
        fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, self.len - 4096, 4096)
    }

    /// Writes through a process's memory, whatever the protection of its mapping.
    fn poke(&self, memory: &str, map: &Range<u64>) -> io::Result<()> {
        open(memory)?.write_all_at(&MARK.to_le_bytes(), map.end - 8)
    }

    /// Takes a copy of the creator's descriptor.
    pub fn steal(&self) -> Result<OwnedFd, Errno> {
        let parent = pidfd_open(Pid::from_raw(self.parent).unwrap(), PidfdFlags::empty())?;
        pidfd_getfd(parent, self.parents, PidfdGetfdFlags::empty())
    }

    fn write_across(&self) -> io::Result<()> {
        let mut word = MARK.to_le_bytes();
        let local = libc::iovec { iov_base: word.as_mut_ptr().cast(), iov_len: 8 };
        let remote = libc::iovec { iov_base: (self.parents_map.end - 8) as *mut _, iov_len: 8 };
        // SAFETY: reads eight bytes of `word`; the other address is another process's.
        match unsafe { libc::process_vm_writev(self.parent, &raw const local, 1, &raw const remote, 1, 0) } {
            8 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Writes the mark to a mapped word.
fn mark(address: u64) {
    // SAFETY: the caller has mapped the page of this aligned word for writing, and others see it as an atomic.
    unsafe { &*(address as *const AtomicU64) }.store(MARK, Relaxed);
}

fn open(path: &str) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}
