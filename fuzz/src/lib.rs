//! What the fuzz targets share: regions whose bytes the fuzzer controls, and the handles that work on them.
//!
//! The shipped code runs in this process on real mappings. The fuzzer is the hostile peer: it writes to the same
//! files, at any time between two calls. As long as it has not, whatever was appended or published must be read back.

pub mod bytes;
pub mod directory;
pub mod exercise;
pub mod ground;
pub mod image;
pub mod mend;
pub mod model;
pub mod packet;
pub mod scribble;
pub mod shelf;
pub mod stage;
pub mod table;
