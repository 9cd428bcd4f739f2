//! An arena, from which several allocate.

use crate::route::End;
use crate::stage::{Aftermath, Effect, Operation, Stage};
use crate::victim::mark;
use anyhow::{Result, ensure};
use shmlog::Arena;
use std::time::Instant;

const LEN_BYTES: u64 = 100;
/// What an allocation takes, with what its alignment costs.
const MOST_BYTES: u64 = 104 + 63;

/// Allocates.
struct Allocate;

impl Operation for Allocate {
    fn name(&self) -> &'static str {
        "allocate from an arena"
    }

    fn end(&self) -> End {
        End::Mark
    }

    fn effect(&self) -> Effect {
        Effect::Appears
    }

    fn every(&self) -> usize {
        1
    }

    fn stage(&self) -> Result<Box<dyn Stage + '_>> {
        let arena = Arena::create_memfd("killstep", 1 << 16)?;
        arena.allocate(8, 8)?;
        let used_bytes = arena.used_bytes();
        Ok(Box::new(ArenaStage { arena, used_bytes }))
    }
}

/// See the module.
struct ArenaStage {
    arena: Arena,
    /// Before the operation.
    used_bytes: u64,
}

impl ArenaStage {
    /// What is gone is one allocation or none; the next one lies behind it.
    fn check(&self) -> Result<bool> {
        let used_bytes = self.arena.used_bytes();
        let gone = used_bytes - self.used_bytes;
        ensure!(gone == 0 || (LEN_BYTES..=MOST_BYTES).contains(&gone), "{gone} bytes are gone");
        let next = self.arena.allocate(LEN_BYTES, 64)?;
        ensure!(next.offset_bytes >= used_bytes, "allocated twice");
        ensure!(self.arena.write(next, 0, &[7; 100])? == 100, "not all of it can be written");
        Ok(gone > 0)
    }
}

impl Stage for ArenaStage {
    fn play(&self) -> Result<u64> {
        mark();
        let allocation = self.arena.allocate(LEN_BYTES, 64);
        mark();
        Ok(allocation?.offset_bytes)
    }

    fn meanwhile(&mut self) -> Result<()> {
        Ok(())
    }

    fn after_death(&mut self) -> Result<Aftermath> {
        let started = Instant::now();
        let is_there = self.check()?;
        Ok(Aftermath { is_there: Some(is_there), recovery: started.elapsed() })
    }

    fn while_stopped(&mut self, _is_patient: bool) -> Result<()> {
        self.check().map(drop)?;
        self.used_bytes = self.arena.used_bytes();
        Ok(())
    }

    fn after_end(&mut self, result: u64) -> Result<()> {
        ensure!(result < self.arena.used_bytes() && result.is_multiple_of(64), "allocated at {result}");
        self.arena.allocate(LEN_BYTES, 64)?;
        Ok(())
    }
}

/// All of them.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    vec![Box::new(Allocate)]
}
