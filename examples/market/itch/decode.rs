//! Wire bytes to [`Message`]. No input panics: every field is taken from the front of what is left.

use super::{Body, Message, Side, Stock, length_of};
use std::error::Error;
use std::fmt;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    Empty,
    UnknownType {
        kind: u8,
    },
    WrongLength {
        kind: u8,
        length_bytes: usize,
        expected_bytes: usize,
    },
    /// A field of one letter holds none of the letters the protocol knows for it.
    BadLetter {
        kind: u8,
        field: &'static str,
        letter: u8,
    },
}

/// Checks that `kind` is known and that its messages have this length.
pub(super) fn check(kind: u8, length_bytes: usize) -> Result<(), DecodeError> {
    match length_of(kind) {
        None => Err(DecodeError::UnknownType { kind }),
        Some(expected_bytes) if expected_bytes != length_bytes => {
            Err(DecodeError::WrongLength { kind, length_bytes, expected_bytes })
        }
        Some(_) => Ok(()),
    }
}

impl Message {
    /// Decodes one whole message, without the length that precedes it in a file.
    ///
    /// # Errors
    ///
    /// The type is unknown, the length is not that of the type, or a letter field (side,
    /// printable) holds an unknown letter. Prices and quantities are taken as they are.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&kind, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        check(kind, bytes.len())?;
        let mut fields = Fields { kind, rest };
        let locate = fields.u16()?;
        let tracking = fields.u16()?;
        let timestamp_high = u64::from(fields.u16()?);
        let timestamp_low = u64::from(fields.u32()?);
        Ok(Self { locate, tracking, timestamp_ns: timestamp_high << 32 | timestamp_low, body: fields.body()? })
    }
}

/// The fields of a message that are not read yet.
struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl Fields<'_> {
    fn body(&mut self) -> Result<Body, DecodeError> {
        Ok(match self.kind {
            b'S' => Body::SystemEvent { event: self.u8()? },
            b'R' => Body::Directory { stock: self.stock()? },
            b'A' | b'F' => self.add()?,
            b'E' => Body::Execute { reference: self.u64()?, shares: self.u32()?, match_number: self.u64()? },
            b'C' => Body::ExecutePrice {
                reference: self.u64()?,
                shares: self.u32()?,
                match_number: self.u64()?,
                printable: self.printable()?,
                price: self.u32()?,
            },
            b'X' => Body::Cancel { reference: self.u64()?, shares: self.u32()? },
            b'D' => Body::Delete { reference: self.u64()? },
            b'U' => Body::Replace {
                reference: self.u64()?,
                new_reference: self.u64()?,
                shares: self.u32()?,
                price: self.u32()?,
            },
            b'P' => Body::Trade {
                reference: self.u64()?,
                side: self.side()?,
                shares: self.u32()?,
                stock: self.stock()?,
                price: self.u32()?,
                match_number: self.u64()?,
            },
            _ => self.other()?,
        })
    }

    fn add(&mut self) -> Result<Body, DecodeError> {
        Ok(Body::Add {
            reference: self.u64()?,
            side: self.side()?,
            shares: self.u32()?,
            stock: self.stock()?,
            price: self.u32()?,
            attribution: match self.kind {
                b'F' => Some(self.take()?),
                _ => None,
            },
        })
    }

    /// Of the remaining types only the stock is kept; it stands at a different place in some.
    fn other(&mut self) -> Result<Body, DecodeError> {
        let kind = self.kind;
        match kind {
            b'L' => drop(self.take::<4>()?),
            b'Q' => drop(self.take::<8>()?),
            b'I' => drop(self.take::<17>()?),
            _ => {}
        }
        let stock = match kind {
            b'V' | b'W' | b'B' => None,
            _ => Some(self.stock()?),
        };
        Ok(Body::Other { kind, stock })
    }

    fn side(&mut self) -> Result<Side, DecodeError> {
        let letter = self.u8()?;
        Side::of(letter).ok_or_else(|| self.bad_letter("side", letter))
    }

    fn printable(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            b'Y' => Ok(true),
            b'N' => Ok(false),
            letter => Err(self.bad_letter("printable", letter)),
        }
    }

    fn stock(&mut self) -> Result<Stock, DecodeError> {
        self.take().map(Stock)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_be_bytes)
    }

    /// The next field. The length was checked against the type, so the bytes don't run out.
    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Empty)?;
        self.rest = rest;
        Ok(*field)
    }

    fn bad_letter(&self, field: &'static str, letter: u8) -> DecodeError {
        DecodeError::BadLetter { kind: self.kind, field, letter }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "the message is empty"),
            Self::UnknownType { kind } => {
                write!(f, "unknown message type '{}'", kind.escape_ascii())
            }
            Self::WrongLength { kind, length_bytes, expected_bytes } => {
                write!(f, "a message of type '{}' has {expected_bytes} bytes, not {length_bytes}", kind.escape_ascii())
            }
            Self::BadLetter { kind, field, letter } => write!(
                f,
                "the {field} of a message of type '{}' can't be '{}'",
                kind.escape_ascii(),
                letter.escape_ascii()
            ),
        }
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::random::Random;

    #[test]
    fn add_is_read_from_the_documented_offsets() {
        let bytes = [
            b"A".as_slice(),
            &13_u16.to_be_bytes(),
            &7_u16.to_be_bytes(),
            &34_200_004_241_174_u64.to_be_bytes()[2..],
            &16_113_575_u64.to_be_bytes(),
            b"S",
            &18_u32.to_be_bytes(),
            b"AAPL    ",
            &5_853_300_u32.to_be_bytes(),
        ]
        .concat();
        let expected = Message {
            locate: 13,
            tracking: 7,
            timestamp_ns: 34_200_004_241_174,
            body: Body::Add {
                reference: 16_113_575,
                side: Side::Sell,
                shares: 18,
                stock: Stock::new("AAPL"),
                price: 5_853_300,
                attribution: None,
            },
        };
        assert_eq!(Message::decode(&bytes), Ok(expected));
    }

    #[test]
    fn the_stock_of_other_types_is_found() {
        let stock_offsets = [
            (b'H', 11),
            (b'Y', 11),
            (b'L', 15),
            (b'K', 11),
            (b'J', 11),
            (b'h', 11),
            (b'N', 11),
            (b'O', 11),
            (b'Q', 19),
            (b'I', 28),
        ];
        for (kind, offset) in stock_offsets {
            let mut bytes = vec![0; length_of(kind).unwrap()];
            bytes[0] = kind;
            bytes[offset..offset + 8].copy_from_slice(b"ZVZZT   ");
            let stock = Some(Stock::new("ZVZZT"));
            let decoded = Message::decode(&bytes).unwrap();
            assert_eq!(decoded.body, Body::Other { kind, stock });
        }
        for kind in *b"VWB" {
            let mut bytes = vec![0; length_of(kind).unwrap()];
            bytes[0] = kind;
            let decoded = Message::decode(&bytes).unwrap();
            assert_eq!(decoded.body, Body::Other { kind, stock: None });
        }
    }

    /// Garbage never panics, and is accepted only when its letter and length agree.
    #[test]
    fn random_bytes_are_refused_or_have_the_right_length() {
        let mut random = Random::new(5);
        let letters = b"SRHYLVWKJhAFECXDUPQBINO";
        let mut accepted = 0;
        for round in 0..200_000 {
            let mut bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next_u64().to_be_bytes()[0]).collect();
            if let (1.., Some(kind)) = (round % 4, bytes.first_mut()) {
                *kind = letters[usize::try_from(random.below(23)).unwrap()];
            }
            match Message::decode(&bytes) {
                Ok(message) => {
                    assert_eq!(message.body.kind(), bytes[0]);
                    assert_eq!(length_of(bytes[0]), Some(bytes.len()));
                    accepted += 1;
                }
                Err(DecodeError::Empty) => assert!(bytes.is_empty()),
                Err(DecodeError::UnknownType { kind }) => assert_eq!(length_of(kind), None),
                Err(DecodeError::WrongLength { expected_bytes, .. }) => {
                    assert_ne!(bytes.len(), expected_bytes);
                }
                Err(DecodeError::BadLetter { kind, .. }) => assert!(b"AFCP".contains(&kind)),
            }
        }
        assert!(accepted > 1000, "the garbage hardly ever had a right length");
    }
}
