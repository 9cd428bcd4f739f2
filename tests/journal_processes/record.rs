//! Records that tell who appended them and as which: all of a record follows from the two numbers.

use crate::common::payload;
use shmlog::JournalRecord;

/// Author and number.
const HEADER: usize = 16;

/// Its bytes, and where they are cut if it is appended in parts.
pub fn record(author: u64, number: u64) -> (Vec<u8>, Option<usize>) {
    let mixed = (author << 24 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8;
    let most = match mixed % 256 {
        0 => 20_000,
        1..8 => 3000,
        _ => 160,
    };
    let len = usize::try_from((mixed >> 16) % most).unwrap();
    let mut bytes = [author.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend_from_slice(&payload(author, number, len));
    let is_batch = (mixed >> 8).is_multiple_of(4);
    (bytes, is_batch.then_some(HEADER + len / 2))
}

/// The author and the number of a record, which is whole.
pub fn identify(record: &JournalRecord<'_>) -> (u64, u64) {
    let parts: Vec<&[u8]> = record.parts().map(|part| part.expect("parts")).collect();
    let found = parts.concat();
    let word = |at: usize| u64::from_le_bytes(*found[at..].first_chunk().expect("a header"));
    let (author, number) = (word(0), word(8));
    let (bytes, cut) = crate::record::record(author, number);
    assert!(found == bytes, "record {}: bytes of author {author:x}, number {number}", record.seq());
    let lens: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let expected = cut.map_or(vec![bytes.len()], |cut| vec![cut, bytes.len() - cut]);
    assert_eq!((lens, record.is_batch()), (expected, cut.is_some()), "record {}: its parts", record.seq());
    (author, number)
}
