//! The price levels of one side of one symbol.

/// Levels sorted by rank, the best one last: most orders come and go near the best price, so most
/// insertions move few levels, and the search starts where the answer usually is.
#[derive(Debug, Default)]
pub struct Ladder {
    levels: Vec<Level>,
}

/// The orders at one price. A level lives as long as it has orders, even if they are for 0 shares.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// See [`Side::rank`](crate::itch::Side::rank).
    pub rank: u32,
    pub orders: u32,
    pub shares: u64,
}

impl Ladder {
    /// An order of so many shares joins the level. Returns whether that is the best one.
    pub fn join(&mut self, rank: u32, shares: u32) -> bool {
        let at = self.position(rank);
        match self.levels.get_mut(at) {
            Some(level) if level.rank == rank => {
                level.orders += 1;
                level.shares += u64::from(shares);
            }
            _ => self.levels.insert(at, Level { rank, orders: 1, shares: u64::from(shares) }),
        }
        at + 1 == self.levels.len()
    }

    /// An order of the level, which must have some, loses so many of its shares. Returns whether that
    /// is the best one.
    pub fn reduce(&mut self, rank: u32, shares: u32) -> bool {
        let at = self.position(rank);
        self.levels[at].shares -= u64::from(shares);
        at + 1 == self.levels.len()
    }

    /// An order of the level, which must have some, leaves with the shares it still has. Returns
    /// whether that is, or was, the best one.
    pub fn leave(&mut self, rank: u32, shares: u32) -> bool {
        let at = self.position(rank);
        let is_best = at + 1 == self.levels.len();
        let level = &mut self.levels[at];
        level.orders -= 1;
        level.shares -= u64::from(shares);
        if level.orders == 0 {
            self.levels.remove(at);
        }
        is_best
    }

    pub fn best(&self) -> Option<&Level> {
        self.levels.last()
    }

    /// The levels from the best on.
    pub fn best_first(&self) -> impl Iterator<Item = &Level> {
        self.levels.iter().rev()
    }

    /// Where the level of this rank is or belongs.
    fn position(&self, rank: u32) -> usize {
        self.levels.partition_point(|level| level.rank < rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(ladder: &Ladder) -> Vec<(u32, u32, u64)> {
        ladder.best_first().map(|level| (level.rank, level.orders, level.shares)).collect()
    }

    #[test]
    fn best_comes_first_whatever_the_order_of_arrival() {
        let mut ladder = Ladder::default();
        for rank in [20, 10, 30, 20] {
            ladder.join(rank, 100);
        }
        assert_eq!(levels(&ladder), [(30, 1, 100), (20, 2, 200), (10, 1, 100)]);
    }

    #[test]
    fn a_level_leaves_with_its_last_order() {
        let mut ladder = Ladder::default();
        ladder.join(20, 100);
        ladder.join(20, 0);
        ladder.reduce(20, 40);
        assert_eq!(levels(&ladder), [(20, 2, 60)]);
        ladder.leave(20, 60);
        assert_eq!(levels(&ladder), [(20, 1, 0)]);
        ladder.leave(20, 0);
        assert_eq!(levels(&ladder), []);
    }

    #[test]
    fn who_changes_the_best_level_is_told() {
        let mut ladder = Ladder::default();
        assert_eq!([20, 10, 10, 20, 30].map(|rank| ladder.join(rank, 5)), [true, false, false, true, true]);
        assert_eq!([20, 30].map(|rank| ladder.reduce(rank, 1)), [false, true]);
        assert_eq!([10, 30, 20].map(|rank| ladder.leave(rank, 1)), [false, true, true]);
    }
}
