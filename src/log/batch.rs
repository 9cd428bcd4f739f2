//! The records that are there now.

use crate::core::run::Run;
use crate::layout::entry;
use crate::log::reader::Place;
use crate::log::record::{Guard, Record, View};
use crate::mapped::Mapped;

/// Iterator by [`Reader::batch`](crate::Reader::batch). It ends with the segment, so that a gated
/// reader holds all of its records while any of them lives.
#[derive(Debug)]
pub struct Batch<'r> {
    mapped: &'r Mapped,
    place: &'r mut Place,
    run: Run<'static>,
    is_held: bool,
}

impl<'r> Batch<'r> {
    #[inline(always)]
    pub(crate) fn new(mapped: &'r Mapped, place: &'r mut Place, is_kept: bool) -> Self {
        let (run, is_held) = (place.run(), is_kept || place.is_gated());
        Self { mapped, place, run, is_held }
    }
}

impl<'r> Iterator for Batch<'r> {
    type Item = Record<'r>;

    #[inline(always)]
    fn next(&mut self) -> Option<Record<'r>> {
        let (seq, segment) = (self.run.seq, self.run.segment);
        // A damaged word ends the batch; `try_next` says what is wrong.
        let (word, payload) = self.run.step()?;
        self.place.pass();
        let guard = Guard { mapped: self.mapped, segment, seq, is_held: self.is_held };
        Some(Record::new(View::new(payload, entry::len_bytes(word), guard), entry::kind(word)))
    }
}
