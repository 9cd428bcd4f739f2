//! What all regions are made with: pages, permissions, names, identities.

use crate::error::CreateError;
use crate::layout::control::NAME_BYTES;
use crate::region::Region;
use crate::sys::inspect::small_page_bytes;
use crate::sys::memory::HugePage;
use rustix::fs::{Mode, fchmod, fstat};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

/// Mode of what only its owner may reopen, and only for reading: an anonymous file has no name, but whoever
/// has a descriptor can open it anew through /proc as far as its mode allows.
pub(crate) const OWNER: u32 = 0o400;
/// Mode, at first, of what every participant reopens, to lock a byte of it: other users are let in by [`admit`].
pub(crate) const REOPENED: u32 = 0o600;

/// Size of a huge page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HugePageSize {
    /// 2 MiB.
    TwoMiB,
    /// 1 GiB.
    OneGiB,
}

impl From<HugePageSize> for HugePage {
    fn from(size: HugePageSize) -> Self {
        match size {
            HugePageSize::TwoMiB => Self::TwoMiB,
            HugePageSize::OneGiB => Self::OneGiB,
        }
    }
}

/// Whether a memfd region lies on huge pages: fewer TLB misses, and the memory can't be swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HugePages {
    /// Small pages.
    #[default]
    Off,
    /// Huge pages if the pool has enough, else small ones; the first fall back is reported through
    /// `tracing`.
    Prefer(HugePageSize),
    /// Huge pages, or an error that says how large the pool must be.
    Require(HugePageSize),
}

pub(crate) fn small_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(small_page_bytes())
}

/// A memfd's name: shown in /proc, at most 249 bytes, no zero byte.
pub(crate) fn label(name: &str, what: &str) -> String {
    let short: String = name.chars().filter(|&c| c != '\0').take(NAME_BYTES / 2).collect();
    format!("shmlog:{short}:{what}")
}

/// Makes something on the pages asked for, or on those fallen back to.
pub(crate) fn on_pages<T>(
    pages: HugePages,
    make: impl Fn(Option<HugePage>) -> Result<T, CreateError>,
) -> Result<T, CreateError> {
    match pages {
        HugePages::Off => make(None),
        HugePages::Require(size) => make(Some(size.into())),
        HugePages::Prefer(size) => match make(Some(size.into())) {
            Err(error @ CreateError::NoHugePages { .. }) => {
                say_once(&error);
                make(None)
            }
            made => made,
        },
    }
}

fn say_once(error: &CreateError) {
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::warn!(%error, "no huge pages; small ones are used instead"));
}

pub(crate) fn random_id() -> Result<u128, CreateError> {
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| CreateError::os("getrandom", error))?;
    Ok(u128::from_le_bytes(id))
}

#[allow(clippy::cast_possible_truncation, reason = "nanoseconds since 1970 fit 64 bits until 2554")]
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Maps a new memfd, and forbids further seals on it; if `is_write_sealed`, also any other way of writing
/// to it than this mapping.
pub(crate) fn map_memfd(file: File, what: &'static str, is_write_sealed: bool) -> Result<Region, CreateError> {
    let region = Region::map_sparse(file.into(), true, what)?;
    region.seal(is_write_sealed).map_err(|error| CreateError::os("sealing the memfd", error))?;
    Ok(region)
}

/// Lets processes of every user reopen an anonymous file whose bytes participants lock: not before one is passed
/// on to such a participant, so that who may only look on can't become one by reopening it.
///
/// Without effect unless this process is its owner's: then the owner has let others in already.
pub(crate) fn admit(file: BorrowedFd<'_>) {
    let is_anonymous = fstat(file).is_ok_and(|stat| stat.st_nlink == 0);
    if is_anonymous {
        let _ = fchmod(file, Mode::from_raw_mode(0o666));
    }
}

/// A name cut and padded to what a preamble holds.
pub(crate) fn padded(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    let len = name.len().min(NAME_BYTES);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}
