//! The order books of all symbols, kept from the messages of the feed.

pub mod hash;
mod ladder;
mod state;
#[cfg(test)]
mod tests;

use self::hash::{FNV_OFFSET_BASIS, ReferenceHasher, fnv1a};
use self::ladder::{Ladder, Level};
use crate::board::Top;
use crate::itch::{Body, Message, Side};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

/// Every live order by its reference, and the price levels they make up.
///
/// A message about a reference that is not live changes no book and is counted. An addition or a
/// replacement that reuses a live reference takes its place.
#[derive(Debug, Default)]
pub struct Books {
    orders: HashMap<u64, Order, BuildHasherDefault<ReferenceHasher>>,
    /// By stock locate. Every live order is in exactly one level of its symbol.
    symbols: Vec<Symbol>,
    unknown_refs: u64,
    executed_shares: u64,
}

/// A price and the shares bid for or offered at it.
pub type Quote = (u32, u64);

/// The symbols, by stock locate, whose best bid or ask a message may have changed.
pub type Touched = [Option<u16>; 2];

#[derive(Clone, Copy, Debug)]
struct Order {
    price: u32,
    shares: u32,
    locate: u16,
    side: Side,
}

#[derive(Debug, Default)]
struct Symbol {
    bids: Ladder,
    asks: Ladder,
}

impl Books {
    pub fn apply(&mut self, message: &Message) -> Touched {
        match message.body {
            Body::Add { reference, side, shares, price, .. } => {
                self.insert(reference, Order { price, shares, locate: message.locate, side })
            }
            Body::Execute { reference, shares, .. } | Body::ExecutePrice { reference, shares, .. } => {
                self.executed_shares += u64::from(shares);
                [self.reduce(reference, shares), None]
            }
            Body::Cancel { reference, shares } => [self.reduce(reference, shares), None],
            Body::Delete { reference } => [self.take(reference).and_then(|(_, touched)| touched), None],
            Body::Replace { reference, new_reference, shares, price } => match self.take(reference) {
                Some((old, left)) => {
                    let [joined, displaced] = self.insert(new_reference, Order { price, shares, ..old });
                    [left.or(joined), displaced]
                }
                None => [None; 2],
            },
            Body::SystemEvent { .. } | Body::Directory { .. } | Body::Trade { .. } | Body::Other { .. } => [None; 2],
        }
    }

    /// Messages about an order that was not live.
    #[must_use]
    pub const fn unknown_refs(&self) -> u64 {
        self.unknown_refs
    }

    /// Shares of all executions of displayed orders, of unknown ones too.
    #[must_use]
    pub const fn executed_shares(&self) -> u64 {
        self.executed_shares
    }

    #[must_use]
    pub fn live_orders(&self) -> usize {
        self.orders.len()
    }

    /// The best bid and ask of a symbol.
    #[must_use]
    pub fn top(&self, locate: u16) -> Top {
        let Some(symbol) = self.symbols.get(usize::from(locate)) else { return Top::default() };
        let best = |side: Side| symbol.side(side).best().map(|level| quote(side, level));
        Top::new(best(Side::Buy), best(Side::Sell))
    }

    /// The ten highest bid prices, all symbols together.
    #[must_use]
    pub fn bids_top10(&self) -> Vec<Quote> {
        self.top10(Side::Buy)
    }

    /// The ten lowest ask prices, all symbols together.
    #[must_use]
    pub fn asks_top10(&self) -> Vec<Quote> {
        self.top10(Side::Sell)
    }

    /// 64-bit FNV-1a over the live orders by ascending reference: equal books have equal digests,
    /// in every process and however they came about.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut orders: Vec<_> = self.orders.iter().collect();
        orders.sort_unstable_by_key(|&(reference, _)| *reference);
        let mut digest = FNV_OFFSET_BASIS;
        for (reference, order) in orders {
            digest = fnv1a(digest, &reference.to_le_bytes());
            digest = fnv1a(digest, &order.price.to_le_bytes());
            digest = fnv1a(digest, &order.shares.to_le_bytes());
            digest = fnv1a(digest, &order.locate.to_le_bytes());
            digest = fnv1a(digest, &[order.side.letter()]);
        }
        digest
    }

    fn insert(&mut self, reference: u64, order: Order) -> Touched {
        let old = self.orders.insert(reference, order);
        let displaced = old.and_then(|old| self.leave(old));
        let is_best = self.ladder(order).join(order.side.rank(order.price), order.shares);
        [is_best.then_some(order.locate), displaced]
    }

    /// Takes shares off an order, and the order off the book when none are left. Returns its symbol if
    /// it was among the best.
    fn reduce(&mut self, reference: u64, shares: u32) -> Option<u16> {
        let Entry::Occupied(mut entry) = self.orders.entry(reference) else {
            self.unknown_refs += 1;
            return None;
        };
        let order = *entry.get();
        if shares >= order.shares {
            entry.remove();
            return self.leave(order);
        }
        entry.get_mut().shares -= shares;
        let is_best = self.ladder(order).reduce(order.side.rank(order.price), shares);
        is_best.then_some(order.locate)
    }

    /// Takes an order off the book. Returns its symbol too if it was among the best.
    fn take(&mut self, reference: u64) -> Option<(Order, Option<u16>)> {
        let Some(order) = self.orders.remove(&reference) else {
            self.unknown_refs += 1;
            return None;
        };
        Some((order, self.leave(order)))
    }

    /// An order that is not live any more leaves its level. Returns its symbol if that was the best.
    fn leave(&mut self, order: Order) -> Option<u16> {
        let is_best = self.ladder(order).leave(order.side.rank(order.price), order.shares);
        is_best.then_some(order.locate)
    }

    fn ladder(&mut self, order: Order) -> &mut Ladder {
        let locate = usize::from(order.locate);
        if locate >= self.symbols.len() {
            self.symbols.resize_with(locate + 1, Symbol::default);
        }
        self.symbols[locate].side_mut(order.side)
    }

    /// What is among the ten best prices of all is among the ten best of its own symbol.
    fn top10(&self, side: Side) -> Vec<Quote> {
        let mut merged = BTreeMap::<u32, u64>::new();
        for symbol in &self.symbols {
            for level in symbol.side(side).best_first().take(10) {
                *merged.entry(level.rank).or_default() += level.shares;
            }
        }
        let best_first = merged.into_iter().rev().take(10);
        best_first.map(|(rank, shares)| (side.rank(rank), shares)).collect()
    }
}

fn quote(side: Side, level: &Level) -> Quote {
    (side.rank(level.rank), level.shares)
}

impl Symbol {
    const fn side(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    const fn side_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}
