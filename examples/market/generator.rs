//! A day of order flow, made up: seeded, deterministic, the same on every machine.
//!
//! The day opens with system events and a directory of the symbols, goes on with orders that are
//! added, cut, replaced, deleted and executed, and closes with a system event. No message refers
//! to an order that is not live, and no book is ever crossed.

mod market;
mod queue;
pub mod random;

use self::market::{Market, Numbers};
use self::random::Random;
use crate::itch::{Body, MESSAGE_MAX_BYTES, Message, Stock};
use std::array;

/// Name and opening price of each symbol; its stock locate is its place, from 1. The first are
/// the most active.
const SYMBOLS: [(&str, u32); 8] = [
    ("ALFA", 5_857_000),
    ("BRAVO", 2_206_000),
    ("CHRLI", 1_013_500),
    ("DELTA", 476_400),
    ("ECHO", 301_200),
    ("FOXTR", 1_520_000),
    ("GOLF", 250_000),
    ("HOTEL", 889_900),
];

const SECOND_NS: u64 = 1_000_000_000;
const START_OF_MESSAGES_NS: u64 = 3 * 3600 * SECOND_NS;
const START_OF_SYSTEM_NS: u64 = 4 * 3600 * SECOND_NS;
const MARKET_OPEN_NS: u64 = 34_200 * SECOND_NS;
const MARKET_CLOSE_NS: u64 = 16 * 3600 * SECOND_NS;
const END_OF_MESSAGES_NS: u64 = 72_300 * SECOND_NS;

/// One message after the other, exactly as many as asked for.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    markets: [Market; SYMBOLS.len()],
    numbers: Numbers,
    messages: u64,
    written: u64,
    timestamp_ns: u64,
}

impl Generator {
    /// Allocates all it needs. Of very few messages the last still ends the day, the others are
    /// the beginning of it.
    #[must_use]
    pub fn new(seed: u64, messages: u64) -> Self {
        Self {
            random: Random::new(seed),
            markets: array::from_fn(|at| Market::new(Stock::new(SYMBOLS[at].0), SYMBOLS[at].1)),
            numbers: Numbers::default(),
            messages,
            written: 0,
            timestamp_ns: 0,
        }
    }

    /// Writes the next message to the front of `buffer` and returns that part of it; `None` when
    /// the day is over.
    pub fn next_into<'b>(&mut self, buffer: &'b mut [u8; MESSAGE_MAX_BYTES]) -> Option<&'b [u8]> {
        let left = self.messages - self.written;
        let (timestamp_ns, locate, body) = match left {
            0 => return None,
            1 => (END_OF_MESSAGES_NS, 0, Body::SystemEvent { event: b'C' }),
            _ => opening(self.written).unwrap_or_else(|| self.trading()),
        };
        self.written += 1;
        self.timestamp_ns = timestamp_ns;
        let message = Message { locate, tracking: 0, timestamp_ns, body };
        message.encode(buffer)
    }

    /// Something happens to some symbol, a random while after the message before it. The while
    /// is such that the messages fill the trading hours.
    fn trading(&mut self) -> (u64, u16, Body) {
        let mean_ns = (MARKET_CLOSE_NS - MARKET_OPEN_NS) / self.messages;
        let next_ns = self.timestamp_ns + self.random.exponential(mean_ns);
        let symbols = SYMBOLS.len();
        let at = self.random.index(symbols).min(self.random.index(symbols));
        let body = self.markets[at].step(&mut self.random, &mut self.numbers);
        (next_ns.min(MARKET_CLOSE_NS), locate(at), body)
    }
}

/// The messages before trading starts: system events around the directory.
fn opening(written: u64) -> Option<(u64, u16, Body)> {
    let event = |event| Body::SystemEvent { event };
    let at = usize::try_from(written).ok()?;
    match at.checked_sub(1) {
        None => Some((START_OF_MESSAGES_NS, 0, event(b'O'))),
        Some(at) if at < SYMBOLS.len() => {
            let stock = Stock::new(SYMBOLS[at].0);
            let timestamp_ns = START_OF_MESSAGES_NS + written * SECOND_NS;
            Some((timestamp_ns, locate(at), Body::Directory { stock }))
        }
        Some(at) => match at - SYMBOLS.len() {
            0 => Some((START_OF_SYSTEM_NS, 0, event(b'S'))),
            1 => Some((MARKET_OPEN_NS, 0, event(b'Q'))),
            _ => None,
        },
    }
}

/// The stock locate of the symbol at this place.
#[expect(clippy::cast_possible_truncation, reason = "there are few symbols")]
const fn locate(at: usize) -> u16 {
    at as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::market::LIVE_TARGET;
    use super::*;
    use crate::book::Books;
    use std::collections::BTreeMap;

    fn messages(seed: u64, messages: u64) -> Vec<Message> {
        let mut generator = Generator::new(seed, messages);
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let mut all = Vec::new();
        while let Some(bytes) = generator.next_into(&mut buffer) {
            all.push(Message::decode(bytes).unwrap());
        }
        all
    }

    #[test]
    fn there_are_as_many_messages_as_asked_for_and_the_last_ends_the_day() {
        for asked in (0..40).chain([5_000]) {
            let all = messages(1, asked);
            assert_eq!(all.len() as u64, asked);
            let ends: Vec<_> = (1..)
                .zip(&all)
                .filter(|(_, message)| message.body == Body::SystemEvent { event: b'C' })
                .map(|(place, _)| place)
                .collect();
            assert!(ends == [asked] || asked == 0);
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(messages(7, 5_000), messages(7, 5_000));
        assert_ne!(messages(7, 5_000), messages(8, 5_000));
    }

    #[test]
    fn time_never_runs_backwards_and_trading_fills_the_day() {
        let slack_ns = 600 * SECOND_NS;
        for seed in 0..8 {
            let all = messages(seed, 20_000);
            assert!(all.is_sorted_by_key(|message| message.timestamp_ns));
            let last = &all[all.len() - 2];
            assert!(last.timestamp_ns > MARKET_CLOSE_NS - slack_ns);
            assert!(last.timestamp_ns <= MARKET_CLOSE_NS);
        }
    }

    #[test]
    fn orders_are_live_when_referred_to_and_books_are_bounded_and_never_crossed() {
        let mut books = Books::default();
        let mut most = 0;
        for message in messages(3, 200_000) {
            books.apply(&message);
            most = most.max(books.live_orders());
            let top = books.top(message.locate);
            assert!(top.bid < top.ask || top.ask == 0, "{message:?}");
        }
        assert_eq!(books.unknown_refs(), 0);
        let target = LIVE_TARGET * SYMBOLS.len();
        assert!((target / 2..target * 3 / 2).contains(&most), "{most}");
    }

    #[test]
    fn the_mix_resembles_an_exchange() {
        let mut counts = BTreeMap::<u8, usize>::new();
        for message in messages(4, 200_000) {
            *counts.entry(message.body.kind()).or_default() += 1;
        }
        let share = |kind| counts[&kind] * 1000 / 200_000;
        let shares = b"AFDUEXPC".map(share);
        let plausible = [380..520, 10..40, 320..450, 50..100, 20..100, 5..30, 10..30, 2..10];
        for (share, plausible) in shares.iter().zip(plausible) {
            assert!(plausible.contains(share), "{shares:?}");
        }
    }

    #[test]
    fn steady_state_allocates_nothing() {
        let mut generator = Generator::new(5, 100_000);
        let before = generator.markets.each_ref().map(Market::capacity);
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        while generator.next_into(&mut buffer).is_some() {}
        let after = generator.markets.each_ref().map(Market::capacity);
        assert_eq!(before, after);
    }
}
