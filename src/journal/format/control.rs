//! The control file: what a journal is, and what must be known of it that its files of records do not say.
//!
//! Two copies, written by turns: whichever write is torn, the other copy stands.

use crate::journal::format::{BLOCK, BLOCK_BYTES, JOURNAL_VERSION, MAX_SEQ, Unfit};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: u64 = u64::from_le_bytes(*b"SHMJCTL\0");
/// Bytes of a copy.
const COPY_BYTES: usize = 512;
/// Bytes of the file.
pub(crate) const CONTROL_BYTES: usize = 2 * BLOCK;
/// Longest path of a front.
pub(crate) const MAX_PATH_BYTES: usize = 256;

/// Where the records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Place {
    /// The record that comes next.
    pub(crate) seq: u64,
    /// First record of the file that it goes to, or `NO_FILE`.
    pub(crate) file: u64,
    /// Where in that file, or [`Place::FULL`].
    pub(crate) offset: u64,
}

impl Place {
    /// The file takes no more: the next record begins another one.
    pub(crate) const FULL: u64 = u64::MAX;
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// The journal.
    pub(crate) id: u128,
    /// How often it was recovered.
    pub(crate) generation: u64,
    /// Records below this one are given up, whatever files there are.
    pub(crate) oldest: u64,
    /// All records below this one were durable when this was written.
    pub(crate) durable: u64,
    /// Bytes of a file of records.
    pub(crate) file_bytes: u64,
    /// Nanoseconds since 1970.
    pub(crate) created_unix_ns: u64,
    /// Where the records end, if the last process closed the journal.
    pub(crate) closed: Option<Place>,
    /// Where the frame of the cursors is, if the last process closed the journal and there are any.
    pub(crate) cursors: Option<Place>,
    /// The front: its identity, and where it is. `None`: there is none.
    pub(crate) front: Option<(u128, String)>,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: u64,
    version: u32,
    path_bytes: u32,
    turn: u64,
    id: [u8; 16],
    generation: u64,
    oldest: u64,
    durable: u64,
    file_bytes: u64,
    created_unix_ns: u64,
    is_closed: u64,
    closed: Place,
    front: [u8; 16],
    path: [u8; MAX_PATH_BYTES],
    has_cursors: u64,
    cursors: Place,
    reserved: [u64; 11],
    crc: u32,
    padding: u32,
}

const _: () = assert!(size_of::<Raw>() == COPY_BYTES);
const COVERED: usize = COPY_BYTES - 8;

impl Control {
    /// The copy of turn `turn`, and where it goes.
    ///
    /// A path that is too long is left out: who makes a front checks that.
    pub(crate) fn encode(&self, turn: u64) -> (u64, Vec<u8>) {
        let (front, path) = self.front.clone().unwrap_or_default();
        let mut raw = Raw {
            magic: MAGIC,
            version: JOURNAL_VERSION,
            path_bytes: 0,
            turn,
            id: self.id.to_le_bytes(),
            generation: self.generation,
            oldest: self.oldest,
            durable: self.durable,
            file_bytes: self.file_bytes,
            created_unix_ns: self.created_unix_ns,
            is_closed: u64::from(self.closed.is_some()),
            closed: self.closed.unwrap_or(Place { seq: 0, file: 0, offset: 0 }),
            front: front.to_le_bytes(),
            path: [0; MAX_PATH_BYTES],
            has_cursors: u64::from(self.cursors.is_some()),
            cursors: self.cursors.unwrap_or(Place { seq: 0, file: 0, offset: 0 }),
            reserved: [0; 11],
            crc: 0,
            padding: 0,
        };
        if let Some(room) = raw.path.get_mut(..path.len()) {
            room.copy_from_slice(path.as_bytes());
            raw.path_bytes = u32::try_from(path.len()).unwrap_or(0);
        }
        raw.crc = crc32c::crc32c(&raw.as_bytes()[..COVERED]);
        ((turn & 1) * BLOCK_BYTES, raw.as_bytes().to_vec())
    }

    /// The newer one of the copies in the file, and its turn.
    ///
    /// # Errors
    /// [`Unfit`] if neither is whole.
    pub(crate) fn decode(file: &[u8]) -> Result<(Self, u64), Unfit> {
        let second = file.get(BLOCK..).unwrap_or(&[]);
        match (Self::decode_copy(file), Self::decode_copy(second)) {
            (Ok(a), Ok(b)) => Ok(if a.1 > b.1 { a } else { b }),
            // What is of another format is not passed over.
            (Err(Unfit::Version(version)), _) | (_, Err(Unfit::Version(version))) => Err(Unfit::Version(version)),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(Unfit::Damaged), _) | (_, Err(Unfit::Damaged)) => Err(Unfit::Damaged),
            (Err(Unfit::Foreign), Err(Unfit::Foreign)) => Err(Unfit::Foreign),
        }
    }

    fn decode_copy(bytes: &[u8]) -> Result<(Self, u64), Unfit> {
        let (raw, _) = Raw::read_from_prefix(bytes).map_err(|_| Unfit::Foreign)?;
        if raw.magic != MAGIC {
            return Err(Unfit::Foreign);
        }
        if raw.crc != crc32c::crc32c(&raw.as_bytes()[..COVERED]) {
            return Err(Unfit::Damaged);
        }
        if raw.version != JOURNAL_VERSION {
            return Err(Unfit::Version(raw.version));
        }
        let numbers = [raw.turn, raw.generation, raw.oldest, raw.durable, raw.closed.seq, raw.cursors.seq];
        if numbers.into_iter().any(|number| number > MAX_SEQ) || raw.file_bytes == 0 {
            return Err(Unfit::Damaged);
        }
        let path = raw.path.get(..raw.path_bytes as usize).ok_or(Unfit::Damaged)?;
        let path = String::from_utf8(path.to_vec()).map_err(|_| Unfit::Damaged)?;
        let front = (u128::from_le_bytes(raw.front), path);
        Ok((
            Self {
                id: u128::from_le_bytes(raw.id),
                generation: raw.generation,
                oldest: raw.oldest,
                durable: raw.durable,
                file_bytes: raw.file_bytes,
                created_unix_ns: raw.created_unix_ns,
                closed: (raw.is_closed == 1).then_some(raw.closed),
                cursors: (raw.has_cursors == 1).then_some(raw.cursors),
                front: (!front.1.is_empty()).then_some(front),
            },
            raw.turn,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> Control {
        Control {
            id: 1 << 100,
            generation: 4,
            oldest: 10,
            durable: 900,
            file_bytes: 64 << 20,
            created_unix_ns: 1,
            closed: Some(Place { seq: 1000, file: 500, offset: 8192 }),
            cursors: Some(Place { seq: 1000, file: 500, offset: 8100 }),
            front: Some((9, "/dev/shm/front".to_owned())),
        }
    }

    fn file(copies: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut file = vec![0; CONTROL_BYTES];
        for (at, bytes) in copies {
            let at = usize::try_from(*at).unwrap();
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    #[test]
    fn numbers_that_no_journal_has_are_damage() {
        let numbers: [fn(&mut Control) -> &mut u64; 3] =
            [|it| &mut it.generation, |it| &mut it.oldest, |it| &mut it.durable];
        for number in numbers {
            for (value, is_bad) in [(MAX_SEQ, false), (MAX_SEQ + 1, true), (u64::MAX, true)] {
                let mut control = control();
                *number(&mut control) = value;
                assert_eq!(Control::decode(&file(&[control.encode(2)])).is_err(), is_bad);
            }
        }
        assert_eq!(Control::decode(&file(&[control().encode(u64::MAX)])), Err(Unfit::Damaged));
        let endless = Control { file_bytes: 0, ..control() };
        assert_eq!(Control::decode(&file(&[endless.encode(2)])), Err(Unfit::Damaged));
    }

    #[test]
    fn the_newer_copy_counts_and_the_older_stands_in_for_a_torn_one() {
        let (old, new) = (control(), Control { closed: None, front: None, durable: 950, ..control() });
        let whole = file(&[old.encode(6), new.encode(7)]);
        assert_eq!(Control::decode(&whole), Ok((new.clone(), 7)));
        for torn in [4096, 4100, 4500] {
            let mut file = whole.clone();
            file[torn] ^= 1;
            assert_eq!(Control::decode(&file), Ok((old.clone(), 6)), "byte {torn}");
        }
        let mut both = whole.clone();
        both[100] ^= 1;
        both[4200] ^= 1;
        assert_eq!(Control::decode(&both), Err(Unfit::Damaged));
        assert_eq!(Control::decode(&[0; 8192]), Err(Unfit::Foreign));
        assert_eq!(Control::decode(&[]), Err(Unfit::Foreign));
        assert_eq!(Control::decode(&file(&[old.encode(8)])), Ok((old, 8)), "the first one made");
    }
}
