//! Words that only the protocol protects.
#![allow(unsafe_code, reason = "shares the shadows between loom's threads")]

use loom::cell::UnsafeCell;

/// Stands for a payload word that only the protocol protects: an access that the protocol does not
/// order after an earlier conflicting one is a race, whatever the values.
#[derive(Debug)]
pub struct Shadow(UnsafeCell<()>);

// SAFETY: the cell holds nothing; loom checks each access of every thread.
unsafe impl Sync for Shadow {}
// SAFETY: as above.
unsafe impl Send for Shadow {}

impl Shadow {
    /// Of a word that nobody uses yet.
    pub fn new() -> Self {
        Self(UnsafeCell::new(()))
    }

    /// The word is read.
    pub fn read(&self) {
        self.0.with(|_| ());
    }

    /// The word is written.
    pub fn write(&self) {
        self.0.with_mut(|_| ());
    }
}
