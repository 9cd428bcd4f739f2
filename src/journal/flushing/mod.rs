//! From memory to the files: who flushes, what is written where, who is woken, and the files prepared ahead.

pub(crate) mod background;
pub(crate) mod durable;
pub(crate) mod flush;
pub(crate) mod rounds;
pub(crate) mod sink;
pub(crate) mod spare;
pub(crate) mod sync;
pub(crate) mod trail;
