//! Records that can be checked: what is written, and what must be read.
//!
//! The first word of a record says who wrote it and the how-manieth of its writer it is; no record's first word is
//! zero. The rest is noise, which can't be compressed.

/// Bits of the number; above them is the writer, counted from 1.
const NUMBER_BITS: u32 = 48;
/// Records that are kept ready at least.
const READY: usize = 16;

/// The sum of all words, the last of which may be short.
#[inline]
pub fn sum(record: &[u8]) -> u64 {
    let (words, rest) = record.as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum.wrapping_add(u64::from_ne_bytes(last))
}

/// The first word of a writer's record.
pub fn stamp(writer: usize, number: u64) -> u64 {
    (writer as u64 + 1) << NUMBER_BITS | number
}

/// The first word.
#[inline]
pub fn stamp_of(record: &[u8]) -> u64 {
    record.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word))
}

/// Which one of its writer's records this is, from 0.
#[cfg_attr(not(feature = "raft-engine"), allow(dead_code, reason = "only where writers have logs of their own"))]
pub fn number_of(record: &[u8]) -> u64 {
    stamp_of(record) & ((1 << NUMBER_BITS) - 1)
}

/// The records of one writer: a few in a circle, which are stamped long before they are needed, so that who copies
/// them by wide loads does not wait for the store of the stamp.
pub struct Feed {
    slots: Vec<u8>,
    rest: Vec<u64>,
    bytes: usize,
    writer: usize,
    next: u64,
    given: u64,
    /// The sum of all records that were given.
    pub sum: u64,
}

impl Feed {
    /// Records of `bytes`, at least 8, of which up to `batch` are asked for at once.
    pub fn new(writer: usize, bytes: usize, batch: usize) -> Self {
        let slots = (2 * batch).next_power_of_two().max(READY);
        let mut noise = 0x9E37_79B9_7F4A_7C15_u64 ^ writer as u64;
        let mut random = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[3]
        };
        let mut feed = Self {
            slots: (0..slots * bytes).map(|_| random()).collect(),
            rest: Vec::new(),
            bytes,
            writer,
            next: 0,
            given: 0,
            sum: 0,
        };
        feed.slots.chunks_exact_mut(bytes).for_each(|record| record[..8].fill(0));
        feed.rest = feed.slots.chunks_exact(bytes).map(sum).collect();
        (0..slots as u64).for_each(|number| feed.stamp(number));
        feed
    }

    /// How many were given.
    pub fn count(&self) -> u64 {
        self.next
    }

    /// The next one.
    #[inline]
    pub fn one(&mut self) -> &[u8] {
        self.advance(1);
        self.record(self.next - 1)
    }

    /// The next few, at most as many as [`Feed::new`] was told.
    pub fn batch(&mut self, count: usize) -> Vec<&[u8]> {
        self.advance(count as u64);
        (self.next - count as u64..self.next).map(|number| self.record(number)).collect()
    }

    /// Those that were given last have been copied: their places are stamped for the next time around.
    #[inline]
    fn advance(&mut self, count: u64) {
        for number in self.next - self.given..self.next {
            self.stamp(number + self.rest.len() as u64);
        }
        for number in self.next..self.next + count {
            self.sum = self.sum.wrapping_add(stamp(self.writer, number)).wrapping_add(self.rest[self.slot(number)]);
        }
        self.next += count;
        self.given = count;
    }

    #[inline]
    fn stamp(&mut self, number: u64) {
        let at = self.slot(number) * self.bytes;
        self.slots[at..at + 8].copy_from_slice(&stamp(self.writer, number).to_ne_bytes());
    }

    #[inline]
    fn record(&self, number: u64) -> &[u8] {
        &self.slots[self.slot(number) * self.bytes..][..self.bytes]
    }

    #[inline]
    fn slot(&self, number: u64) -> usize {
        number as usize & (self.rest.len() - 1)
    }
}

/// What a reader makes of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    bytes: usize,
    next: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// The sum of them.
    pub sum: u64,
    /// How many were not those that had to come.
    pub wrong: u64,
}

impl Check {
    /// For records of so many writers.
    pub fn new(writers: usize, bytes: usize) -> Self {
        Self { bytes, next: (0..writers).map(|writer| stamp(writer, 0)).collect(), count: 0, sum: 0, wrong: 0 }
    }

    /// Looks at all of a record: those of each writer come in their order, none is left out, none comes twice.
    #[inline]
    pub fn see(&mut self, record: &[u8]) {
        let stamp = stamp_of(record);
        self.count += 1;
        self.sum = self.sum.wrapping_add(sum(record));
        match self.next.get_mut(((stamp >> NUMBER_BITS) as usize).wrapping_sub(1)) {
            Some(next) if *next == stamp && record.len() == self.bytes => *next += 1,
            Some(next) => {
                self.wrong += 1;
                *next = stamp + 1;
            }
            None => self.wrong += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(bytes: usize, batch: usize, units: usize, lose: Option<usize>) -> (Feed, Check) {
        let (mut feed, mut check) = (Feed::new(0, bytes, batch), Check::new(1, bytes));
        for unit in 0..units {
            let records = feed.batch(batch);
            if lose != Some(unit) {
                records.iter().for_each(|record| check.see(record));
            }
        }
        (feed, check)
    }

    #[test]
    fn what_is_read_whole_adds_up() {
        for (bytes, batch) in [(16, 1), (150, 1), (150, 100), (1024, 3)] {
            let (feed, check) = exchange(bytes, batch, 50, None);
            assert_eq!((check.count, check.sum, check.wrong), (feed.count(), feed.sum, 0), "{bytes} x {batch}");
        }
    }

    #[test]
    fn one_by_one_is_the_same_as_in_batches() {
        let (mut one, (many, _)) = (Feed::new(0, 150, 1), exchange(150, 100, 3, None));
        let mut check = Check::new(1, 150);
        (0..300).for_each(|_| check.see(one.one()));
        assert_eq!((check.count, check.wrong, check.sum), (300, 0, one.sum));
        assert_eq!(one.count(), many.count());
    }

    #[test]
    fn what_is_lost_changed_or_doubled_does_not() {
        let (feed, check) = exchange(150, 1, 50, Some(20));
        assert_eq!((check.count, check.wrong), (49, 1), "the one after the lost one is out of order");
        assert_ne!(check.sum, feed.sum);

        let (mut feed, mut check) = (Feed::new(1, 150, 1), Check::new(2, 150));
        let mut record = feed.one().to_vec();
        record[149] ^= 1;
        check.see(&record);
        assert_eq!((check.count, check.wrong), (1, 0));
        assert_ne!(check.sum, feed.sum, "the last, short word counts");
        check.see(&record);
        assert_eq!(check.wrong, 1, "twice the same");
        check.see(&[0; 150]);
        check.see(&feed.one()[..149]);
        assert_eq!(check.wrong, 3, "of nobody; and too short");
    }

    #[test]
    fn writers_are_told_apart() {
        let (mut first, mut second) = (Feed::new(0, 16, 1), Feed::new(1, 16, 1));
        let mut check = Check::new(2, 16);
        for _ in 0..40 {
            check.see(second.one());
            check.see(first.one());
        }
        assert_eq!((check.count, check.wrong, check.sum), (80, 0, first.sum.wrapping_add(second.sum)));
        assert_eq!(number_of(first.one()), 40);
    }
}
