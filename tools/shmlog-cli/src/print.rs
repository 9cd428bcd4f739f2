//! How a record is written.

use crate::escape::{hex, text};
use clap::ValueEnum;
use serde_json::{Value, json};
use shmlog::{JournalRecord, ReadError, Record};
use std::io::{self, Write};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for each record: sequence number, length, bytes in hexadecimal.
    Hex,
    /// The same with the bytes as text; control characters and what is no UTF-8 escaped.
    Text,
    /// Sequence number and length only.
    Length,
    /// A JSON object for each record, with "text", or "hex" if it is no UTF-8.
    Json,
}

/// A record, or a part of one, that was copied out of the log whole.
#[derive(Debug)]
struct Piece {
    len_bytes: usize,
    /// Empty if only lengths are wanted.
    bytes: Vec<u8>,
}

/// A copy of a record. Nobody recycles it while it is written.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) seq: u64,
    len_bytes: usize,
    is_batch: bool,
    pieces: Vec<Piece>,
}

impl Copied {
    /// Copies what `format` needs.
    pub(crate) fn of(record: &Record<'_>, format: Format) -> Result<Self, ReadError> {
        let pieces = record.parts().map(|part| {
            let part = part?;
            let bytes = if format == Format::Length { Vec::new() } else { part.to_vec()? };
            Ok(Piece { len_bytes: part.len(), bytes })
        });
        let pieces = pieces.collect::<Result<_, ReadError>>()?;
        Ok(Self { seq: record.seq(), len_bytes: record.len(), is_batch: record.is_batch(), pieces })
    }

    /// Copies what `format` needs of a journal's record.
    pub(crate) fn of_journal(record: &JournalRecord<'_>, format: Format) -> Result<Self, ReadError> {
        let pieces = record.parts().map(|part| {
            let part = part?;
            let bytes = if format == Format::Length { Vec::new() } else { part.to_vec() };
            Ok(Piece { len_bytes: part.len(), bytes })
        });
        let pieces = pieces.collect::<Result<_, ReadError>>()?;
        Ok(Self { seq: record.seq(), len_bytes: record.len(), is_batch: record.is_batch(), pieces })
    }

    /// Writes it: a line, or for each part of a batch a line numbered `SEQ.PART`.
    pub(crate) fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        if format == Format::Json {
            return writeln!(out, "{}", self.object());
        }
        for (number, piece) in self.pieces.iter().enumerate() {
            write!(out, "{}", self.seq)?;
            if self.is_batch {
                write!(out, ".{number}")?;
            }
            write!(out, "\t{}", piece.len_bytes)?;
            match format {
                Format::Hex => writeln!(out, "\t{}", hex(&piece.bytes))?,
                Format::Text => writeln!(out, "\t{}", text(&piece.bytes))?,
                Format::Length | Format::Json => writeln!(out)?,
            }
        }
        if self.pieces.is_empty() { writeln!(out, "{}\tbatch of no parts", self.seq) } else { Ok(()) }
    }

    fn object(&self) -> Value {
        let kind = if self.is_batch { "batch" } else { "record" };
        let mut object = json!({ "seq": self.seq, "len": self.len_bytes, "kind": kind });
        match &self.pieces[..] {
            [piece] if !self.is_batch => piece.add_to(&mut object),
            parts => object["parts"] = parts.iter().map(Piece::object).collect(),
        }
        object
    }
}

impl Piece {
    fn object(&self) -> Value {
        let mut object = json!({ "len": self.len_bytes });
        self.add_to(&mut object);
        object
    }

    fn add_to(&self, object: &mut Value) {
        match str::from_utf8(&self.bytes) {
            Ok(text) => object["text"] = text.into(),
            Err(_) => object["hex"] = hex(&self.bytes).into(),
        }
    }
}
