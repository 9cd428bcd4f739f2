//! What must be in a journal, and whether it is.

use crate::record::identify;
use crate::worker::{COMMITTED, DURABLE, PLACE, Plan, Words, place};
use shmlog::{Journal, Start};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;

/// What must be there of an author: its first records, dense; at least so many, and at most so many.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: u64,
    most: u64,
}

/// What was acknowledged, of all authors that ever were.
#[derive(Debug, Default)]
pub struct Expected {
    authors: BTreeMap<u64, Range>,
    /// By sequence number: author and number.
    places: BTreeMap<u64, (u64, u64)>,
}

impl Expected {
    /// Takes what was told of an author that is dead. `is_front_lost`: what was only committed may be lost, too.
    pub fn take(&mut self, author: u64, words: &Words, is_front_lost: bool) {
        let [committed, durable, last] = [COMMITTED, DURABLE, PLACE].map(|at| words[at].load(Relaxed));
        let least = if is_front_lost { durable } else { committed };
        // One more may have been committed before it could tell.
        self.add(author, least..=committed + 1);
        if let Some((seq, number)) = place(last) {
            self.places.insert(seq, (author, number));
        }
    }

    /// Of this author so many.
    pub fn add(&mut self, author: u64, count: RangeInclusive<u64>) {
        self.authors.insert(author, Range { least: *count.start(), most: *count.end() });
    }

    /// How many records are there for sure.
    pub fn least(&self) -> u64 {
        self.authors.values().map(|range| range.least).sum()
    }

    /// Opens the journal alone, and reads everything. What is there now stays.
    pub fn check(&mut self, plan: &Plan) {
        let journal = plan.builder().open(&plan.dir).unwrap_or_else(|error| panic!("reopening: {error}; {error:?}"));
        let end = journal.next_seq();
        let found = self.read(&journal, false);
        journal.sync().unwrap();
        assert_eq!(journal.durable(), end, "nobody else is there");
        assert_eq!(self.read(&journal, true), found, "durable");
        for (author, range) in &mut self.authors {
            let count = found.get(author).copied().unwrap_or(0);
            let Range { least, most } = *range;
            assert!((least..=most).contains(&count), "author {author:x}: {count}, acknowledged were {least} to {most}");
            *range = Range { least: count, most: count };
        }
        let strangers: Vec<_> = found.keys().filter(|author| !self.authors.contains_key(author)).collect();
        assert!(strangers.is_empty(), "invented authors {strangers:x?}");
        self.check_places(&journal);
        journal.close().unwrap();
    }

    fn read(&self, journal: &Journal, is_durable_only: bool) -> BTreeMap<u64, u64> {
        let mut reader = journal.reader_builder().durable_only(is_durable_only).start(Start::First).unwrap();
        let mut found = BTreeMap::new();
        let mut seq = 0;
        while let Some(record) = reader.try_next().unwrap_or_else(|error| panic!("record {seq}: {error}")) {
            assert_eq!(record.seq(), seq, "dense");
            let (author, number) = identify(&record);
            let next: &mut u64 = found.entry(author).or_default();
            assert_eq!(number, *next, "record {seq}: author {author:x}'s in order, none twice, none missing");
            *next += 1;
            seq += 1;
        }
        assert_eq!(seq, journal.next_seq(), "all are read");
        found
    }

    fn check_places(&self, journal: &Journal) {
        let mut reader = journal.reader(Start::End).unwrap();
        for (&seq, &place) in &self.places {
            let record = reader.get(seq).unwrap().unwrap_or_else(|| panic!("record {seq} was acknowledged"));
            assert_eq!(identify(&record), place, "record {seq}");
        }
    }
}
