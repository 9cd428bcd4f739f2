//! What an operation is to the sweep.

use crate::route::End;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// The name that every victim takes.
pub const VICTIM: &str = "victim";

/// What all can see of an operation that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that stays.
    Nothing,
    /// Something that was not there before: a record, a close, a value.
    Appears,
}

/// What was found after a victim's death.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aftermath {
    /// Whether what the operation brings is there; `None` if it brings nothing.
    pub is_there: Option<bool>,
    /// How long the survivors took to go on.
    pub recovery: Duration,
}

/// A log, or a snapshot, made anew for each victim, with those who survive it.
pub trait Stage {
    /// In the victim: prepares, then does the operation between two marks. Returns its result.
    ///
    /// # Errors
    /// What the operation fails with.
    fn play(&self) -> Result<u64>;

    /// Where its files are, if it has any.
    fn files(&self) -> Option<&Path> {
        None
    }

    /// While the victim stands before the operation.
    ///
    /// # Errors
    /// Says what is wrong.
    fn meanwhile(&mut self) -> Result<()>;

    /// The victim stands where it will die: looks at what its death does not change, and what those who go on do.
    ///
    /// # Errors
    /// Says what is wrong.
    fn before_death(&mut self) -> Result<()> {
        Ok(())
    }

    /// The victim was killed, which the kernel has just reported: goes on at once, which is what the recovery is, from
    /// here to the end of the first operation; and looks at everything.
    ///
    /// # Errors
    /// Says what is wrong.
    fn after_death(&mut self) -> Result<Aftermath>;

    /// The victim is stopped: does what must not block; and what may, waiting for as long as it does unless told
    /// otherwise if `is_patient`.
    ///
    /// # Errors
    /// Says what is wrong.
    fn while_stopped(&mut self, is_patient: bool) -> Result<()>;

    /// The victim went on to its end, and its operation returned `result`.
    ///
    /// # Errors
    /// Says what is wrong.
    fn after_end(&mut self, result: u64) -> Result<()>;
}

/// One operation.
pub trait Operation {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Where it ends.
    fn end(&self) -> End;

    /// What all can see of it.
    fn effect(&self) -> Effect;

    /// Every how many instructions a victim is killed, where all would be too many.
    fn every(&self) -> usize;

    /// Whether a victim is killed right before and right behind every instruction that others can see, whatever
    /// [`Operation::every`] says of the others.
    fn is_every_visible(&self) -> bool {
        false
    }

    /// A recovery that takes longer is tried again.
    fn long(&self) -> Duration {
        Duration::from_micros(500)
    }

    /// Makes its stage.
    ///
    /// # Errors
    /// What the system says.
    fn stage(&self) -> Result<Box<dyn Stage + '_>>;
}
