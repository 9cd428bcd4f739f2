//! Records that tell whose they are and which one, in every word; and the log that they must make up.

use anyhow::{Context, Result, ensure};
use shmlog::{ReadError, Reader, Record};

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// One who lives through it all.
    Survivor = 1,
    /// The one who is killed or stopped.
    Victim = 2,
    /// One who comes afterwards.
    Newcomer = 3,
}

/// Parts of a batch, in bytes.
pub const PART_BYTES: [usize; 3] = [8, 40, 17];

fn word(first: u64, at: usize) -> u64 {
    if at == 0 {
        return first;
    }
    let mixed = first.wrapping_add((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// The author's record `number`, of at least eight bytes.
pub fn bytes(author: Author, number: u64, len: usize) -> Vec<u8> {
    let first = (author as u64) << 56 | number;
    let mut bytes = vec![0; len];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&word(first, at).to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// Whose record it is, by its code, and which one.
///
/// # Errors
/// Says that it is torn.
pub fn parse(found: &[u8]) -> Result<(usize, u64)> {
    let first = u64::from_le_bytes(*found.first_chunk().context("a record of less than a word")?);
    for (at, chunk) in found.chunks(8).enumerate() {
        ensure!(chunk == &word(first, at).to_le_bytes()[..chunk.len()], "a torn record: word {at} of {first:#x}");
    }
    Ok((usize::try_from(first >> 56)?, first & ((1 << 56) - 1)))
}

fn parse_record(record: &Record<'_>) -> Result<(usize, u64)> {
    if !record.is_batch() {
        return parse(&record.to_vec()?);
    }
    let parts: Vec<_> = record.parts().map(|part| anyhow::Ok(part?.to_vec()?)).collect::<Result<_>>()?;
    let lens: Vec<_> = parts.iter().map(Vec::len).collect();
    ensure!(lens == PART_BYTES, "a batch of parts of {lens:?} bytes");
    let first = parse(&parts[0])?;
    for part in &parts {
        ensure!(parse(part)? == first, "a batch of parts of several");
    }
    Ok(first)
}

/// What was read: dense, every record whole, every author's in order, none twice, none missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Sequence number of the next record.
    pub seq: u64,
    /// Number of the next record of each author.
    pub next: [u64; 4],
    /// Where the newest record of each author is.
    pub at: [Option<u64>; 4],
    /// Whether numbers begin anywhere: what was before them is not retained.
    is_late: bool,
}

impl Ledger {
    /// Of a reader that begins in the middle.
    pub fn from(seq: u64) -> Self {
        Self { seq, is_late: true, ..Self::default() }
    }

    /// Reads all that there is.
    ///
    /// # Errors
    /// Says what is wrong with it. `Ok(false)`: it is closed.
    pub fn read(&mut self, reader: &mut Reader) -> Result<bool> {
        loop {
            match reader.try_next() {
                Ok(Some(record)) => self.enter(&record)?,
                Ok(None) => return Ok(true),
                Err(ReadError::Closed) => return Ok(false),
                Err(error) => return Err(error).context("reading on"),
            }
        }
    }

    fn enter(&mut self, record: &Record<'_>) -> Result<()> {
        ensure!(record.seq() == self.seq, "record {} where {} should be", record.seq(), self.seq);
        let (author, number) = parse_record(record).with_context(|| format!("record {}", self.seq))?;
        let next = self.next.get_mut(author).context("a record of nobody")?;
        let is_first = self.is_late && self.at[author].is_none();
        ensure!(number == *next || is_first, "record {}: number {number} of author {author}, not {next}", self.seq);
        *next = number + 1;
        self.at[author] = Some(self.seq);
        self.seq += 1;
        Ok(())
    }
}
