//! Crashes: of all that a disk may hold after a power failure at any moment, nothing may break a promise.
//!
//! A workload runs on a disk that is recorded (`recording`, `workload`); from the record come the images that a crash
//! may leave (`model`, `images`); each is recovered and held against what was promised (`oracle`), some are crashed while
//! they are recovered, or gone on from and crashed again (`explore`). `mortal` has
//! processes die while others go on; `repairs` crashes repairs of journals that are damaged (`damage`). `planted` shows
//! that mistakes are found; `flips` and `indexes` are about wrong bits. With `SHMLOG_LONG=1` more is tried.

mod damage;
mod entry;
mod explore;
mod flips;
mod images;
mod indexes;
mod memory_disk;
mod model;
mod mortal;
mod oracle;
pub(crate) mod planted;
mod recording;
mod repairs;
mod runs;
mod scripts;
mod workload;

pub(crate) use mortal::is_abandoned;
