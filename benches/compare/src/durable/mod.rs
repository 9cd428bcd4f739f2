//! Logs on disk: what keeps records when the power fails.
//!
//! A trial is a few children, one after the other, in a directory of their own: in `journal-append` and
//! `journal-commit` those that write, and then one that opens what they wrote and compares all of it; in the other
//! suites one that lays out the records, those that are measured, and again one that compares.

pub mod disk;
pub mod plan;
mod play;
mod records;
pub mod report;
mod store;
pub mod stores;
mod trial;
mod write;

pub use trial::trial;
