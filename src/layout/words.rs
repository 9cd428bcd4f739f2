//! Which types may be laid over bytes that other processes write.
#![allow(unsafe_code, reason = "the marker's promise is made here, once, for every layout type")]

use super::Line;
use super::board::{BoardHeader, Doorbell, Doorbells, Slot};
use super::control::{Control, Preamble};
#[cfg(not(loom))]
use super::journal::{CursorWords, JournalState};
use super::slots::{PinBoardHeader, SnapshotPreamble};
use crate::sync::AtomicU64;

/// Types made of atomics only.
///
/// # Safety
/// Every bit pattern is valid, every field is an atomic or padding, the alignment is at most 128.
pub unsafe trait Words {}

// SAFETY: `repr(C)` over an `AtomicU64`.
unsafe impl Words for Line {}
// SAFETY: an atomic.
unsafe impl Words for AtomicU64 {}
// SAFETY: `repr(C)`, all fields `AtomicU64`.
unsafe impl Words for Preamble {}
// SAFETY: `repr(C)`, all fields `Line`.
unsafe impl Words for Control {}
// SAFETY: `repr(C)`, all fields `AtomicU64`.
unsafe impl Words for BoardHeader {}
// SAFETY: `repr(C)`, all fields atomics.
unsafe impl Words for Doorbells {}
// SAFETY: `repr(C)`, all fields atomics.
unsafe impl Words for Slot {}
// SAFETY: `repr(C)`, all fields atomics.
unsafe impl Words for Doorbell {}
// SAFETY: `repr(C)`, all fields `AtomicU64`.
unsafe impl Words for SnapshotPreamble {}
// SAFETY: `repr(C)`, all fields `AtomicU64`.
unsafe impl Words for PinBoardHeader {}
// SAFETY: `repr(C)`, all fields atomics.
#[cfg(not(loom))]
unsafe impl Words for JournalState {}
// SAFETY: `repr(C)`, all fields `AtomicU64`.
#[cfg(not(loom))]
unsafe impl Words for CursorWords {}
