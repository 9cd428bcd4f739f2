//! One symbol's market: a wandering mid price and the orders that rest around it.

use super::queue::{Queue, order_shares};
use super::random::Random;
use crate::itch::{Body, Side, Stock};

/// Prices move by one cent, in 1/10,000 of a dollar.
pub const TICK: u32 = 100;

/// Resting orders of a symbol hover around this number and never exceed twice as many.
pub const LIVE_TARGET: usize = 500;

#[derive(Debug)]
pub struct Market {
    stock: Stock,
    opening: u32,
    mid: u32,
    bids: Queue,
    asks: Queue,
}

/// The numbers the exchange gives out, across all symbols.
#[derive(Debug, Default)]
pub struct Numbers {
    reference: u64,
    match_number: u64,
}

impl Numbers {
    /// References ascend with gaps, as if orders of other venues were numbered in between.
    pub const fn next_reference(&mut self, random: &mut Random) -> u64 {
        self.reference += 1 + random.below(16);
        self.reference
    }

    pub const fn next_match(&mut self) -> u64 {
        self.match_number += 1;
        self.match_number
    }
}

impl Market {
    pub fn new(stock: Stock, opening: u32) -> Self {
        Self { stock, opening, mid: opening, bids: Queue::new(Side::Buy), asks: Queue::new(Side::Sell) }
    }

    /// The next thing that happens. Bids stay below the mid price and asks above: orders that the
    /// mid has passed leave before anything else happens, so the book is never crossed.
    pub fn step(&mut self, random: &mut Random, numbers: &mut Numbers) -> Body {
        self.wander(random);
        if let Some(queue) = self.passed() {
            return match random.below(2) {
                0 => queue.delete_best(),
                _ => queue.execute(random, numbers),
            };
        }
        let mid = self.mid;
        let live = self.live_orders();
        let side = if random.below(2) == 0 { Side::Buy } else { Side::Sell };
        let queue = self.queue(side);
        if queue.is_empty() {
            return self.add(side, random, numbers);
        }
        match random.below(1000) {
            0..20 => self.trade(side, random, numbers),
            20..40 => queue.execute(random, numbers),
            40..45 => queue.execute_at(mid, random, numbers),
            45..60 => queue.cancel(random),
            60..140 => queue.replace(mid, random, numbers),
            _ if random.index(2 * LIVE_TARGET) >= live => self.add(side, random, numbers),
            _ => queue.delete(random),
        }
    }

    const fn live_orders(&self) -> usize {
        self.bids.len() + self.asks.len()
    }

    /// How many orders fit without allocating.
    #[cfg(test)]
    pub fn capacity(&self) -> [usize; 2] {
        [self.bids.capacity(), self.asks.capacity()]
    }

    /// A random walk between half and one and a half times the opening price.
    fn wander(&mut self, random: &mut Random) {
        match random.below(256) {
            0 if self.mid < self.opening / 2 * 3 => self.mid += TICK,
            1 if self.mid > self.opening / 2 => self.mid -= TICK,
            _ => {}
        }
    }

    /// A side whose best order the mid has reached or passed.
    fn passed(&mut self) -> Option<&mut Queue> {
        let mid = self.mid;
        [&mut self.bids, &mut self.asks].into_iter().find(|queue| queue.reaches(mid))
    }

    fn add(&mut self, side: Side, random: &mut Random, numbers: &mut Numbers) -> Body {
        let mid = self.mid;
        let order = self.queue(side).join(mid, random, numbers);
        Body::Add {
            reference: order.reference,
            side,
            shares: order.shares,
            stock: self.stock,
            price: side.rank(order.rank),
            attribution: (random.below(20) == 0).then_some(*b"MAKR"),
        }
    }

    /// Against an order that was never displayed, and has no reference.
    fn trade(&self, side: Side, random: &mut Random, numbers: &mut Numbers) -> Body {
        Body::Trade {
            reference: 0,
            side,
            shares: order_shares(random),
            stock: self.stock,
            price: self.mid,
            match_number: numbers.next_match(),
        }
    }

    const fn queue(&mut self, side: Side) -> &mut Queue {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}
