//! What an adversary gets hold of: its parent's descriptors, opened once more, and mappings that it can write to.
#![allow(unsafe_code, reason = "mmap, and atomics over its bytes")]

use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::fs::{self, File};
use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Opens the parent's memfd of this name for reading and writing.
pub fn steal(name: &str) -> File {
    let descriptors = format!("/proc/{}/fd", parent_id());
    let wanted = format!("/memfd:shmlog:{name} (deleted)");
    let entries = fs::read_dir(&descriptors).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
    let path = found.next().unwrap_or_else(|| panic!("the parent has no {wanted}"));
    File::options().read(true).write(true).open(path).unwrap()
}

/// All words of a file, shared with everybody, for as long as this process lives.
pub fn map(file: &File) -> &'static [AtomicU64] {
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel picks the address, so no existing mapping is touched.
    let base = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, file, 0) }.unwrap();
    // SAFETY: the mapping has `len` bytes, begins on a page, and is never unmapped; atomics can be shared with
    // anybody.
    unsafe { std::slice::from_raw_parts(base.cast(), len / 8) }
}

/// The first four bytes of a word: what a futex sleeps on.
pub fn lower_half(word: &'static AtomicU64) -> &'static AtomicU32 {
    // SAFETY: half of a word that is an atomic itself, aligned to more than that, and mapped for good.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
}
