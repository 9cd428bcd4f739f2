//! Messages that can be checked: what is sent, and what must arrive.
//!
//! The first word of a message is sender and number; the others do not change from one to the next but
//! between neighbours. Both sides add all words up; the receiver also follows the numbers.

/// Bits of a number; above them is the sender.
const NUMBER_BITS: u32 = 56;
/// The number that says that a sender is done.
const END: u64 = (1 << NUMBER_BITS) - 1;
/// Messages that are kept ready, if they are short.
const READY: usize = 16;
/// Bytes that are kept ready, if they are long: much less than the first cache holds.
const READY_BYTES: usize = 8 << 10;

/// The sum of all words of a message.
#[inline]
pub fn sum(message: &[u8]) -> u64 {
    message.chunks_exact(8).fold(0_u64, |sum, word| sum.wrapping_add(word_of(word)))
}

/// The first word.
#[inline]
pub fn word_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word))
}

/// What a sender sends: a few messages in a circle, which are stamped long before they are needed, so that who
/// copies them by wide loads does not wait for the store of the stamp.
pub struct Source {
    bytes: Vec<u8>,
    first: usize,
    message_bytes: usize,
    batch: usize,
    unit_bytes: usize,
    units: usize,
    at: usize,
    sender: u64,
    number: u64,
    rest: Vec<u64>,
    /// The sum of all messages that were taken.
    pub sum: u64,
}

impl Source {
    /// Messages of `message_bytes`, a multiple of 8, in units of `batch`.
    pub fn new(sender: usize, message_bytes: usize, batch: usize) -> Self {
        let unit_bytes = message_bytes * batch;
        let units = (READY_BYTES / unit_bytes).clamp(2, READY);
        let mut bytes = vec![0_u8; units * unit_bytes + 64];
        let first = bytes.as_ptr().align_offset(64);
        for (at, word) in bytes[first..].chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_ne_bytes());
        }
        let all = &bytes[first..first + units * unit_bytes];
        let rest = all.chunks_exact(message_bytes).map(|message| sum(&message[8..])).collect();
        let sender = (sender as u64) << NUMBER_BITS;
        let mut source =
            Self { bytes, first, message_bytes, batch, unit_bytes, units, at: 0, sender, number: 0, rest, sum: 0 };
        for message in 0..units * batch {
            let at = first + message * message_bytes;
            source.bytes[at..at + 8].copy_from_slice(&(sender | message as u64).to_ne_bytes());
        }
        source
    }

    /// The unit to send: one message, or a batch of them.
    #[inline]
    pub fn unit(&self) -> &[u8] {
        let from = self.first + self.at * self.unit_bytes;
        &self.bytes[from..from + self.unit_bytes]
    }

    /// It was sent: goes on to the next. No divisions: this is part of what every send costs.
    #[inline]
    pub fn pass(&mut self) {
        let mut stamp_at = self.first + self.at * self.unit_bytes;
        let again = (self.units * self.batch) as u64;
        for rest in &self.rest[self.at * self.batch..][..self.batch] {
            let stamp = self.sender | self.number;
            self.sum = self.sum.wrapping_add(stamp).wrapping_add(*rest);
            self.bytes[stamp_at..stamp_at + 8].copy_from_slice(&(stamp + again).to_ne_bytes());
            stamp_at += self.message_bytes;
            self.number += 1;
        }
        self.at = if self.at + 1 == self.units { 0 } else { self.at + 1 };
    }

    /// How many messages were passed.
    pub fn count(&self) -> u64 {
        self.number
    }

    /// A message that says that there are no more of this sender.
    pub fn end(&self) -> Vec<u8> {
        let mut message = vec![0; self.message_bytes];
        message[..8].copy_from_slice(&(self.sender | END).to_ne_bytes());
        message
    }
}

/// What a receiver makes of the messages.
#[derive(Debug)]
pub struct Check {
    next: Vec<u64>,
    /// How many came, the ends not counted.
    pub count: u64,
    /// The sum of them.
    pub sum: u64,
    /// How many were not those that had to come.
    pub wrong: u64,
    /// Senders that are not done.
    pub open: usize,
}

impl Check {
    /// For so many senders.
    pub fn new(senders: usize) -> Self {
        Self { next: vec![0; senders], count: 0, sum: 0, wrong: 0, open: senders }
    }

    /// Looks at all words of a message.
    #[inline]
    pub fn see(&mut self, message: &[u8]) {
        let stamp = word_of(message);
        let number = stamp & END;
        let next = self.next.get_mut((stamp >> NUMBER_BITS) as usize);
        match next {
            Some(next) if *next == number => {
                *next += 1;
                self.count += 1;
                self.sum = self.sum.wrapping_add(sum(message));
            }
            next => Self::see_other(&mut self.open, &mut self.wrong, next, number),
        }
    }

    #[cold]
    fn see_other(open: &mut usize, wrong: &mut u64, next: Option<&mut u64>, number: u64) {
        match next {
            Some(_) if number == END => *open = open.saturating_sub(1),
            Some(next) => {
                *wrong += 1;
                *next = number + 1;
            }
            None => *wrong += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(units: usize, message_bytes: usize, batch: usize, lose: Option<usize>) -> (Source, Check) {
        let (mut source, mut check) = (Source::new(0, message_bytes, batch), Check::new(1));
        for unit in 0..units {
            if lose != Some(unit) {
                source.unit().chunks_exact(message_bytes).for_each(|message| check.see(message));
            }
            source.pass();
        }
        check.see(&source.end());
        (source, check)
    }

    #[test]
    fn what_arrives_whole_adds_up() {
        for (message_bytes, batch) in [(8, 1), (64, 1), (64, 16), (4096, 1), (4096, 16)] {
            let (source, check) = exchange(100, message_bytes, batch, None);
            assert_eq!((check.count, check.sum, check.wrong), (source.count(), source.sum, 0));
            assert_eq!((check.open, check.count), (0, 100 * batch as u64));
        }
    }

    #[test]
    fn what_is_lost_or_changed_does_not() {
        let (source, check) = exchange(100, 64, 1, Some(40));
        assert_eq!((check.count, check.wrong), (98, 1), "the one after the lost one is out of order");
        assert_ne!(check.sum, source.sum);

        let (mut source, mut check) = (Source::new(0, 64, 1), Check::new(1));
        let mut damaged = source.unit().to_vec();
        damaged[40] ^= 1;
        check.see(&damaged);
        source.pass();
        assert_eq!((check.count, check.wrong), (1, 0));
        assert_ne!(check.sum, source.sum);
    }

    #[test]
    fn senders_are_told_apart() {
        let (mut first, mut second) = (Source::new(0, 8, 1), Source::new(1, 8, 1));
        let mut check = Check::new(2);
        for source in [&mut first, &mut second] {
            check.see(source.unit());
            source.pass();
        }
        assert_eq!((check.count, check.wrong, check.open), (2, 0, 2));
        check.see(&second.end());
        assert_eq!(check.open, 1);
    }
}
