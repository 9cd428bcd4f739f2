//! What is kept and what is given up, whether all of it is sound, and what is done if it is not.

pub(crate) mod aside;
pub(crate) mod deleted;
pub(crate) mod repair;
pub(crate) mod retain;
pub(crate) mod split;
pub(crate) mod upkeep;
pub(crate) mod verify;
