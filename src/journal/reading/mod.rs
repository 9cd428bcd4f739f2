//! Records out of memory and files, in order or by number.

pub(crate) mod reader;
pub(crate) mod reader_builder;
pub(crate) mod record;
pub(crate) mod shelf;
pub(crate) mod stream;
