//! Descriptors kept for when the process has no others left.

use std::os::fd::{AsFd, OwnedFd};

/// As many as it takes to accept one connection, or to pass on one region: three, and one in between.
const SIZE: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reserve(Vec<OwnedFd>);

impl Reserve {
    /// Fills it up with copies of `like`, as far as there are descriptors.
    pub(crate) fn refill(&mut self, like: impl AsFd) {
        while self.0.len() < SIZE {
            match like.as_fd().try_clone_to_owned() {
                Ok(spare) => self.0.push(spare),
                Err(_) => return,
            }
        }
    }

    /// Does something with the reserve given up.
    pub(crate) fn lend<T>(&mut self, with: impl FnOnce() -> T) -> T {
        self.0.clear();
        with()
    }
}
