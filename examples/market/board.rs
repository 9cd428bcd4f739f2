//! The board of prices: a snapshot slot for each stock locate, named by its symbol.

use crate::book::Quote;
use crate::book::hash::{FNV_OFFSET_BASIS, fnv1a};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The best bid and ask of a symbol, as in its slot. A side without orders is all 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Top {
    pub bid: u32,
    /// As many as fit, on both sides.
    pub bid_shares: u32,
    pub ask: u32,
    pub ask_shares: u32,
}

// With both of its buffers a slot is one cache line.
const _: () = assert!(size_of::<Top>() == 16);

impl Top {
    pub fn new(bid: Option<Quote>, ask: Option<Quote>) -> Self {
        let (bid, bid_shares) = bid.map_or((0, 0), saturated);
        let (ask, ask_shares) = ask.map_or((0, 0), saturated);
        Self { bid, bid_shares, ask, ask_shares }
    }
}

fn saturated((price, shares): Quote) -> (u32, u32) {
    (price, u32::try_from(shares).unwrap_or(u32::MAX))
}

/// 64-bit FNV-1a over the symbols that have a name, by ascending locate.
pub fn digest<N: AsRef<str>>(symbols: impl IntoIterator<Item = (usize, N, Top)>) -> u64 {
    symbols.into_iter().fold(FNV_OFFSET_BASIS, |digest, (locate, name, top)| {
        let digest = fnv1a(digest, &locate.to_le_bytes());
        let digest = fnv1a(digest, name.as_ref().as_bytes());
        fnv1a(digest, top.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmlog::Snapshot;

    #[test]
    fn a_slot_is_a_cache_line() {
        let board = Snapshot::builder().values::<Top>().buffers(2).slots(9).create_memfd("board").unwrap();
        assert_eq!(board.info().slot_bytes, 64);
    }

    #[test]
    fn shares_beyond_the_field_are_cut() {
        let top = Top::new(Some((5, 1 << 40)), None);
        assert_eq!(top, Top { bid: 5, bid_shares: u32::MAX, ask: 0, ask_shares: 0 });
    }

    #[test]
    fn the_digest_tells_symbols_names_and_prices_apart() {
        let top = Top::new(Some((5, 6)), Some((7, 8)));
        let one = digest([(1, "A", top)]);
        assert_eq!(one, digest([(1, "A", top)]));
        for other in [(2, "A", top), (1, "B", top), (1, "A", Top { ask: 9, ..top })] {
            assert_ne!(one, digest([other]));
        }
    }
}
