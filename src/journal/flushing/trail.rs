//! Where the records of a file are, as noted by the process that took all of them there: its index, without reading it.

use std::sync::{Mutex, PoisonError};

/// Most records that are noted of a file: four bytes each, in every process that flushes.
const MAX_RECORDS: usize = 1 << 20;
/// Full files whose index is not made yet: one that is written more slowly than files fill up reads the older ones.
const MAX_TRAILS: usize = 2;

/// What was noted of one file.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    first: u64,
    /// In words of eight bytes.
    offsets: Vec<u32>,
    /// Others took records there too, or there are too many.
    is_lost: bool,
}

impl Trail {
    /// Begins with the file whose first record is `first`; what was noted of the one before is returned.
    pub(crate) fn begin(&mut self, first: u64) -> Self {
        std::mem::replace(self, Self { first, offsets: Vec::new(), is_lost: false })
    }

    /// Notes that record `seq` is at `offset`, in bytes.
    #[inline]
    pub(crate) fn note(&mut self, seq: u64, offset: u64) {
        if self.is_lost {
            return;
        }
        if seq.wrapping_sub(self.first) == self.offsets.len() as u64 && self.offsets.len() < MAX_RECORDS {
            self.offsets.push(u32::try_from(offset / 8).unwrap_or(u32::MAX));
        } else {
            self.lose();
        }
    }

    /// Forgets the records from `seq` on, which could not be written.
    pub(crate) fn forget_from(&mut self, seq: u64) {
        self.offsets.truncate(usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX));
    }

    #[cold]
    fn lose(&mut self) {
        *self = Self { first: self.first, offsets: Vec::new(), is_lost: true };
    }
}

/// Trails of full files.
#[derive(Debug, Default)]
pub(crate) struct Trails(Mutex<Vec<Trail>>);

impl Trails {
    /// Keeps one until the index of its file is made.
    pub(crate) fn keep(&self, trail: Trail) {
        let mut trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trails.push(trail);
        let surplus = trails.len().saturating_sub(MAX_TRAILS);
        trails.drain(..surplus);
    }

    /// The offsets of records `first` to before `next`, in words, if all of them were noted.
    pub(crate) fn take(&self, first: u64, next: u64) -> Option<Vec<u32>> {
        let mut trails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = trails.iter().rposition(|trail| trail.first == first)?;
        let trail = trails.remove(at);
        (!trail.is_lost && trail.offsets.len() as u64 == next - first).then_some(trail.offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Notes as a flusher does: runs of records from where the last whole write ended, some of which fail.
    fn flush(trail: &mut Trail, model: &mut Vec<u32>, first: u64, runs: &[(usize, bool)]) {
        for &(count, is_written) in runs {
            let from = model.len();
            for at in from..from + count {
                // Behind a run that failed, the same records may be elsewhere.
                let offset = 8 * (512 + 20 * at + runs.len()) as u64;
                trail.note(first + at as u64, offset);
                model.push(u32::try_from(offset / 8).unwrap());
            }
            if !is_written {
                model.truncate(from);
                trail.forget_from(first + from as u64);
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_what_was_noted(
            first in 0..1_u64 << 60,
            runs: Vec<(u8, bool)>,
            again in 0_usize..40,
        ) {
            let runs: Vec<_> = runs.into_iter().map(|(count, is_written)| (usize::from(count % 9), is_written)).collect();
            let (mut trail, mut model, trails) = (Trail::default(), Vec::new(), Trails::default());
            trail.begin(first);
            flush(&mut trail, &mut model, first, &runs);
            // The last run is whole: a file is full when something is in it.
            flush(&mut trail, &mut model, first, &[(again + 1, true)]);
            let next = first + model.len() as u64;
            trails.keep(trail.begin(next));
            prop_assert_eq!(trails.take(first, next), Some(model));
            prop_assert_eq!(trails.take(first, next), None);
        }
    }

    #[test]
    fn a_file_that_others_wrote_to_has_none() {
        let (mut trail, trails) = (Trail::default(), Trails::default());
        for (lost, others) in [(5..9_u64, 2..5), (0..4, 4..6)] {
            trail.begin(0);
            lost.for_each(|seq| trail.note(seq, 4096 + 16 * seq));
            trail.note(others.end, 8000);
            trails.keep(trail.begin(others.end + 1));
            assert_eq!(trails.take(0, others.end + 1), None);
        }
        // Others wrote the end of it.
        trail.begin(10);
        trail.note(10, 4096);
        trails.keep(trail.begin(20));
        assert_eq!(trails.take(10, 20), None);
    }

    #[test]
    fn no_more_are_kept_than_are_wanted() {
        let (mut trail, trails) = (Trail::default(), Trails::default());
        for seq in 0..5 {
            trail.begin(seq);
            trail.note(seq, 4096);
            trails.keep(trail.begin(seq + 1));
        }
        assert_eq!(trails.take(2, 3), None);
        assert_eq!(trails.take(3, 4), Some(vec![512]));
        trail.begin(0);
        (0..=MAX_RECORDS as u64).for_each(|seq| trail.note(seq, 4096 + 8 * seq));
        trails.keep(trail.begin(1 << 21));
        assert_eq!(trails.take(0, MAX_RECORDS as u64 + 1), None);
    }
}
