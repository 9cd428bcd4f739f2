//! A process killed after any instruction of an operation leaves no hole, no torn record, no participant, no pin
//! and no lock, and blocks nobody; one that is stopped there holds up nobody but where the documentation says so.
//!
//! Here this is tried for every single instruction: a child is forked, runs up to it by ptrace(2), and is killed
//! with SIGKILL, or stopped and let go on later; then those who survive go on, and look at everything. Each child
//! has a log of its own.
//!
//! Operations of a journal have too many for that: of these, all that others can see ([`visible`]), and some of the rest.
//!
//! For x86_64; elsewhere there is nothing in here.

#![cfg(target_arch = "x86_64")]

pub mod record;
pub mod report;
pub mod route;
pub mod stage;
pub mod sweep;
pub mod told;
pub mod victim;
pub mod visible;
pub mod world;

mod arena_stage;
mod companion;
mod journal_before;
mod journal_look;
mod journal_play;
mod journal_stage;
mod journal_table;
mod lines;
mod log_play;
mod log_stage;
mod log_survivors;
mod log_table;
mod memory;
mod replica_play;
mod replica_stage;
mod slot_play;
mod slot_stage;
mod slot_table;

use crate::memory::Memory;
use crate::stage::Operation;

#[global_allocator]
static MEMORY: Memory = Memory;

/// All operations.
pub fn operations() -> Vec<Box<dyn Operation>> {
    let all = [
        log_table::operations(),
        slot_table::operations(),
        replica_stage::operations(),
        arena_stage::operations(),
        journal_table::operations(),
    ];
    all.into_iter().flatten().collect()
}
