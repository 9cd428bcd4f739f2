//! Making, joining, recovering, looking on and leaving: a journal from its first process to its last.

pub(crate) mod close;
pub(crate) mod front;
pub(crate) mod look;
pub(crate) mod observe;
pub(crate) mod open;
pub(crate) mod origin;
pub(crate) mod recover;
pub(crate) mod salvage;
pub(crate) mod torn;
