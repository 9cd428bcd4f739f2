//! NASDAQ TotalView-ITCH 5.0, the order feed of an exchange: what a message says.
//!
//! Every message opens with the same 11 bytes; all integers are big endian:
//!
//! ```text
//! 0        1               3           5                                  11
//! | letter | stock locate  | tracking  | timestamp, ns since midnight     | body ...
//! ```
//!
//! The letter fixes the length. Prices count 1/10,000 of a dollar. A stock locate stands for one
//! symbol during one day; 0 is for messages about the whole market.

pub mod decode;
mod encode;
pub mod frames;

pub use self::frames::Frames;

use std::fmt;

/// The longest message of the protocol (I, net order imbalance).
pub const MESSAGE_MAX_BYTES: usize = 50;

/// One decoded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub locate: u16,
    pub tracking: u16,
    /// Nanoseconds since midnight: 48 bits on the wire.
    pub timestamp_ns: u64,
    pub body: Body,
}

/// What a message says, as far as books and tallies need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// S: the day's phases, `O` start of messages to `C` end of messages.
    SystemEvent { event: u8 },
    /// R: the symbol behind a stock locate.
    Directory { stock: Stock },
    /// A, or F with the market participant's name.
    Add { reference: u64, side: Side, shares: u32, stock: Stock, price: u32, attribution: Option<[u8; 4]> },
    /// E: executed at the order's own price.
    Execute { reference: u64, shares: u32, match_number: u64 },
    /// C: executed at another price.
    ExecutePrice { reference: u64, shares: u32, match_number: u64, printable: bool, price: u32 },
    /// X: part of the order is withdrawn.
    Cancel { reference: u64, shares: u32 },
    /// D: the rest of the order is withdrawn.
    Delete { reference: u64 },
    /// U: the order leaves, another one of the same side and symbol takes its place.
    Replace { reference: u64, new_reference: u64, shares: u32, price: u32 },
    /// P: an execution against an order that was never displayed.
    Trade { reference: u64, side: Side, shares: u32, stock: Stock, price: u32, match_number: u64 },
    /// Every other type; it does not touch the books.
    Other { kind: u8, stock: Option<Stock> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Buy,
    Sell,
}

/// A symbol as on the wire: eight bytes, padded with spaces on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock(pub [u8; 8]);

/// The length of a message of this type, its letter included; `None` for an unknown letter.
#[must_use]
pub const fn length_of(kind: u8) -> Option<usize> {
    Some(match kind {
        b'S' | b'W' => 12,
        b'D' | b'B' => 19,
        b'Y' | b'N' => 20,
        b'h' => 21,
        b'X' => 23,
        b'H' => 25,
        b'L' => 26,
        b'K' => 28,
        b'E' => 31,
        b'V' | b'J' | b'U' => 35,
        b'A' | b'C' => 36,
        b'R' => 39,
        b'F' | b'Q' => 40,
        b'P' => 44,
        b'O' => 48,
        b'I' => MESSAGE_MAX_BYTES,
        _ => return None,
    })
}

impl Body {
    /// The type letter of the message.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::SystemEvent { .. } => b'S',
            Self::Directory { .. } => b'R',
            Self::Add { attribution: None, .. } => b'A',
            Self::Add { .. } => b'F',
            Self::Execute { .. } => b'E',
            Self::ExecutePrice { .. } => b'C',
            Self::Cancel { .. } => b'X',
            Self::Delete { .. } => b'D',
            Self::Replace { .. } => b'U',
            Self::Trade { .. } => b'P',
            Self::Other { kind, .. } => *kind,
        }
    }
}

impl Side {
    /// Maps prices so that a larger rank is the better price on this side, and ranks back to
    /// prices: the mapping is its own inverse.
    #[must_use]
    pub const fn rank(self, price: u32) -> u32 {
        match self {
            Self::Buy => price,
            Self::Sell => !price,
        }
    }

    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Buy => b'B',
            Self::Sell => b'S',
        }
    }

    /// The side of this letter.
    #[must_use]
    pub const fn of(letter: u8) -> Option<Self> {
        match letter {
            b'B' => Some(Self::Buy),
            b'S' => Some(Self::Sell),
            _ => None,
        }
    }
}

impl Stock {
    /// The first eight bytes of `symbol`, padded.
    #[must_use]
    pub fn new(symbol: &str) -> Self {
        let mut padded = [b' '; 8];
        for (to, from) in padded.iter_mut().zip(symbol.bytes()) {
            *to = from;
        }
        Self(padded)
    }
}

impl fmt::Display for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.trim_ascii_end().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_exceeds_the_maximum() {
        let lengths: Vec<_> = (0..=u8::MAX).filter_map(length_of).collect();
        assert_eq!(lengths.len(), 23);
        assert_eq!(lengths.iter().max(), Some(&MESSAGE_MAX_BYTES));
    }

    #[test]
    fn rank_orders_by_attractiveness_and_inverts_itself() {
        assert!(Side::Buy.rank(101) > Side::Buy.rank(100));
        assert!(Side::Sell.rank(100) > Side::Sell.rank(101));
        for price in [0, 1, 5_856_900, u32::MAX] {
            assert_eq!(Side::Sell.rank(Side::Sell.rank(price)), price);
            assert_eq!(Side::Buy.rank(Side::Buy.rank(price)), price);
        }
    }

    #[test]
    fn stock_prints_without_padding_and_escapes_what_is_not_text() {
        assert_eq!(Stock::new("AAPL").to_string(), "AAPL");
        assert_eq!(Stock::new("").to_string(), "");
        assert_eq!(Stock::new("LONGERTHAN8").to_string(), "LONGERTH");
        assert_eq!(Stock(*b"A\0\xff     ").to_string(), "A\\x00\\xff");
    }
}
