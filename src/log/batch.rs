//! The records that are there now.

use crate::log::reader::{Place, record};
use crate::log::record::Record;
use crate::mapped::Mapped;

/// Iterator by [`Reader::batch`](crate::Reader::batch). It ends with the segment, so that a gated
/// reader holds all of its records while any of them lives.
#[derive(Debug)]
pub struct Batch<'r> {
    pub(crate) mapped: &'r Mapped,
    pub(crate) place: &'r mut Place,
    pub(crate) is_kept: bool,
}

impl<'r> Iterator for Batch<'r> {
    type Item = Record<'r>;

    #[inline(always)]
    fn next(&mut self) -> Option<Record<'r>> {
        let word = self.place.record_here()?;
        // A damaged word ends the batch; `try_next` says what is wrong.
        let record = record(self.mapped, self.place, word, self.is_kept)?;
        self.place.pass();
        Some(record)
    }
}
