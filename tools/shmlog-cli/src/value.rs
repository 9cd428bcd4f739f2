//! The newest value of a slot, copied whole, and how it is written.

use crate::escape::hex;
use anyhow::Result;
use shmlog::{Loaded, Snapshot};
use std::io::{self, Write};

/// Bytes on a line of a dump.
const LINE: usize = 16;

/// Copies the newest value of a slot out. `None`: nothing has been published.
pub(crate) fn load(snapshot: &Snapshot, index: usize) -> Result<Option<Loaded<Vec<u8>>>> {
    Ok(snapshot.reader_of(index)?.load_bytes()?)
}

/// Writes bytes as hexadecimal digits and text, with the offset of each line.
pub(crate) fn dump(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    for (number, line) in bytes.chunks(LINE).enumerate() {
        let digits: Vec<_> =
            line.chunks(8).map(|half| half.iter().map(|byte| hex(&[*byte])).collect::<Vec<_>>().join(" ")).collect();
        let text: String =
            line.iter().map(|&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' }).collect();
        writeln!(out, "{:08x}  {:<48}  |{text}|", number * LINE, digits.join("  "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_padded() {
        let mut out = Vec::new();
        dump(b"0123456789abcdef\x1b[2J\xff", &mut out).unwrap();
        let lines = [
            "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
            "00000010  1b 5b 32 4a ff                                    |.[2J.|",
        ];
        assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn no_bytes_are_no_lines() {
        let mut out = Vec::new();
        dump(&[], &mut out).unwrap();
        assert!(out.is_empty());
    }
}
