//! A handle's state machine, and the mapping that it borrows from.
#![allow(unsafe_code, reason = "the state borrows from the `Arc` stored beside it")]

use crate::region::outliving;
use std::sync::Arc;

/// `T` borrows from the mapping for `'static`; it never leaves this struct, and is dropped first.
#[derive(Debug)]
pub(crate) struct Anchored<T, M: 'static> {
    state: T,
    mapped: Arc<M>,
}

impl<T, M> Anchored<T, M> {
    /// Makes the state from the mapping.
    pub(crate) fn new<E>(mapped: Arc<M>, make: impl FnOnce(&'static M) -> Result<T, E>) -> Result<Self, E> {
        // SAFETY: `mapped` is stored beside the state, is dropped after it, and an `Arc`'s content
        // does not move.
        let borrowed = unsafe { outliving(&*mapped) };
        Ok(Self { state: make(borrowed)?, mapped })
    }

    #[inline]
    pub(crate) fn state(&self) -> &T {
        &self.state
    }

    #[inline]
    pub(crate) fn state_mut(&mut self) -> &mut T {
        &mut self.state
    }

    /// The mapping, and the state to change.
    #[inline]
    pub(crate) fn both_mut(&mut self) -> (&M, &mut T) {
        (&self.mapped, &mut self.state)
    }

    /// Changes the state to one that borrows from the mapping too.
    pub(crate) fn with<R>(&mut self, change: impl FnOnce(&'static M, &mut T) -> R) -> R {
        // SAFETY: as in `new`.
        let borrowed = unsafe { outliving(&*self.mapped) };
        change(borrowed, &mut self.state)
    }

    #[inline]
    pub(crate) fn mapped(&self) -> &Arc<M> {
        &self.mapped
    }
}
