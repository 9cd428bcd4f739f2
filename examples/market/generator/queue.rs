//! The resting orders of one side of one symbol, and what may happen to them.

use super::market::{LIVE_TARGET, Numbers, TICK};
use super::random::Random;
use crate::itch::{Body, Side};

/// Ticks from the mid price to a new order, on average, beyond the first.
const DISTANCE_TICKS: u64 = 20;

/// Orders by priority, the next to be executed last: by rank, and by age within a rank.
#[derive(Debug)]
pub struct Queue {
    side: Side,
    orders: Vec<Resting>,
}

#[derive(Clone, Copy, Debug)]
pub struct Resting {
    /// See [`Side::rank`].
    pub rank: u32,
    pub shares: u32,
    pub reference: u64,
}

impl Queue {
    /// Takes all the memory it will ever need.
    pub fn new(side: Side) -> Self {
        Self { side, orders: Vec::with_capacity(2 * LIVE_TARGET + 1) }
    }

    pub const fn len(&self) -> usize {
        self.orders.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.orders.capacity()
    }

    /// Whether the best order is as good as `mid` or better.
    pub fn reaches(&self, mid: u32) -> bool {
        self.orders.last().is_some_and(|best| best.rank >= self.side.rank(mid))
    }

    /// A new order joins, at an exponentially distributed distance from `mid`.
    pub fn join(&mut self, mid: u32, random: &mut Random, numbers: &mut Numbers) -> Resting {
        let ticks = 1 + random.exponential(DISTANCE_TICKS);
        let distance = u32::try_from(ticks).map_or(u32::MAX, |ticks| ticks.saturating_mul(TICK));
        let price = match self.side {
            Side::Buy => mid.saturating_sub(distance).max(TICK),
            Side::Sell => mid.saturating_add(distance),
        };
        let order = Resting {
            rank: self.side.rank(price),
            shares: order_shares(random),
            reference: numbers.next_reference(random),
        };
        let at = self.orders.partition_point(|other| other.rank < order.rank);
        self.orders.insert(at, order);
        order
    }

    /// The best order is executed, half of the time in full.
    pub fn execute(&mut self, random: &mut Random, numbers: &mut Numbers) -> Body {
        let (reference, shares) = self.fill(random);
        Body::Execute { reference, shares, match_number: numbers.next_match() }
    }

    /// As [`execute`](Self::execute), at another price than the order's.
    pub fn execute_at(&mut self, price: u32, random: &mut Random, numbers: &mut Numbers) -> Body {
        let (reference, shares) = self.fill(random);
        Body::ExecutePrice { reference, shares, match_number: numbers.next_match(), printable: true, price }
    }

    /// Any order loses some of its shares; one that has only a single share is deleted.
    pub fn cancel(&mut self, random: &mut Random) -> Body {
        let at = self.any(random);
        let order = &mut self.orders[at];
        if order.shares == 1 {
            return self.delete_at(at);
        }
        let shares = draw(random, order.shares - 1);
        order.shares -= shares;
        Body::Cancel { reference: order.reference, shares }
    }

    /// Any order is replaced by a new one.
    pub fn replace(&mut self, mid: u32, random: &mut Random, numbers: &mut Numbers) -> Body {
        let at = self.any(random);
        let old = self.orders.remove(at);
        let new = self.join(mid, random, numbers);
        Body::Replace {
            reference: old.reference,
            new_reference: new.reference,
            shares: new.shares,
            price: self.side.rank(new.rank),
        }
    }

    /// Any order is deleted.
    pub fn delete(&mut self, random: &mut Random) -> Body {
        let at = self.any(random);
        self.delete_at(at)
    }

    pub fn delete_best(&mut self) -> Body {
        self.delete_at(self.orders.len() - 1)
    }

    fn delete_at(&mut self, at: usize) -> Body {
        Body::Delete { reference: self.orders.remove(at).reference }
    }

    /// Takes shares off the best order.
    fn fill(&mut self, random: &mut Random) -> (u64, u32) {
        let last = self.orders.len() - 1;
        let order = &mut self.orders[last];
        let reference = order.reference;
        let shares = match random.below(2) {
            0 => order.shares,
            _ => draw(random, order.shares),
        };
        order.shares -= shares;
        if order.shares == 0 {
            self.orders.remove(last);
        }
        (reference, shares)
    }

    fn any(&self, random: &mut Random) -> usize {
        random.index(self.orders.len())
    }
}

/// The size of an order: mostly round lots, some odd ones.
pub fn order_shares(random: &mut Random) -> u32 {
    if random.below(5) == 0 { draw(random, 99) } else { 100 * (1 + u32::try_from(random.exponential(2)).unwrap_or(0)) }
}

/// Uniform in `1..=most`.
fn draw(random: &mut Random, most: u32) -> u32 {
    1 + random.below_u32(most)
}
