//! The books against a naive oracle, on flow that is realistic and on flow that is not.

use super::*;
use crate::generator::Generator;
use crate::generator::random::Random;
use crate::itch::{MESSAGE_MAX_BYTES, Stock};

/// Orders in one sorted map, signed shares, every answer computed from scratch.
#[derive(Default)]
struct Oracle {
    orders: BTreeMap<u64, (u16, Side, u32, i64)>,
    unknown_refs: u64,
    executed_shares: u64,
}

impl Oracle {
    fn apply(&mut self, message: &Message) {
        let known = match message.body {
            Body::Add { reference, side, shares, price, .. } => {
                let order = (message.locate, side, price, shares.into());
                self.orders.insert(reference, order);
                true
            }
            Body::Execute { reference, shares, .. } | Body::ExecutePrice { reference, shares, .. } => {
                self.executed_shares += u64::from(shares);
                self.reduce(reference, shares)
            }
            Body::Cancel { reference, shares } => self.reduce(reference, shares),
            Body::Delete { reference } => self.orders.remove(&reference).is_some(),
            Body::Replace { reference, new_reference, shares, price } => match self.orders.remove(&reference) {
                Some((locate, side, ..)) => {
                    let order = (locate, side, price, shares.into());
                    self.orders.insert(new_reference, order);
                    true
                }
                None => false,
            },
            _ => true,
        };
        self.unknown_refs += u64::from(!known);
    }

    fn reduce(&mut self, reference: u64, shares: u32) -> bool {
        let Some(order) = self.orders.get_mut(&reference) else {
            return false;
        };
        order.3 -= i64::from(shares);
        if order.3 <= 0 {
            self.orders.remove(&reference);
        }
        true
    }

    fn quotes(&self, wanted: Side, locate: Option<u16>) -> Vec<Quote> {
        let mut levels = BTreeMap::<u32, u64>::new();
        for &(at, side, price, shares) in self.orders.values() {
            if side == wanted && locate.is_none_or(|locate| locate == at) {
                *levels.entry(price).or_default() += u64::try_from(shares).unwrap();
            }
        }
        match wanted {
            Side::Buy => levels.into_iter().rev().take(10).collect(),
            Side::Sell => levels.into_iter().take(10).collect(),
        }
    }
}

fn assert_agree(books: &Books, oracle: &Oracle, locates: u16) {
    assert_eq!(books.live_orders(), oracle.orders.len());
    assert_eq!(books.unknown_refs(), oracle.unknown_refs);
    assert_eq!(books.executed_shares(), oracle.executed_shares);
    assert_eq!(books.bids_top10(), oracle.quotes(Side::Buy, None));
    assert_eq!(books.asks_top10(), oracle.quotes(Side::Sell, None));
    for locate in 0..=locates {
        let best = |side| oracle.quotes(side, Some(locate)).first().copied();
        assert_eq!(books.top(locate), Top::new(best(Side::Buy), best(Side::Sell)));
    }
}

/// Few references and few prices: unknown, reused and overfilled orders, and orders for 0 shares.
fn unruly(random: &mut Random) -> Message {
    let mut draw = |n: u32| u32::try_from(random.below(u64::from(n))).unwrap();
    let (choice, shares, price) = (draw(12), draw(4), 1000 + draw(30));
    let (reference, new_reference) = (draw(60).into(), draw(60).into());
    let side = [Side::Buy, Side::Sell][usize::from(draw(2) == 1)];
    let locate = u16::try_from(draw(4)).unwrap();
    let body = match choice {
        0..5 => Body::Add { reference, side, shares, stock: Stock::new("TEST"), price, attribution: None },
        5 => Body::Execute { reference, shares, match_number: 1 },
        6 => Body::ExecutePrice { reference, shares, match_number: 2, printable: true, price },
        7 => Body::Cancel { reference, shares },
        8 => Body::Delete { reference },
        9 => Body::SystemEvent { event: b'Q' },
        _ => Body::Replace { reference, new_reference, shares, price },
    };
    Message { locate, tracking: 0, timestamp_ns: 0, body }
}

#[test]
fn unruly_flow_agrees_with_the_oracle_after_every_message() {
    let mut random = Random::new(17);
    let (mut books, mut oracle) = (Books::default(), Oracle::default());
    for _ in 0..20_000 {
        let message = unruly(&mut random);
        let before: [Top; 5] = std::array::from_fn(|locate| books.top(locate.try_into().unwrap()));
        let touched = books.apply(&message);
        oracle.apply(&message);
        assert_agree(&books, &oracle, 4);
        for (locate, top) in (0..).zip(before) {
            assert!(touched.contains(&Some(locate)) || books.top(locate) == top, "{message:?} at {locate}");
        }
    }
    assert!(books.unknown_refs() > 1000);
    assert!(books.live_orders() > 10);
}

#[test]
fn realistic_flow_agrees_with_the_oracle() {
    let mut generator = Generator::new(23, 30_000);
    let mut buffer = [0; MESSAGE_MAX_BYTES];
    let (mut books, mut oracle) = (Books::default(), Oracle::default());
    let mut count = 0;
    while let Some(bytes) = generator.next_into(&mut buffer) {
        let message = Message::decode(bytes).unwrap();
        books.apply(&message);
        oracle.apply(&message);
        count += 1;
        if count % 500 == 0 {
            assert_agree(&books, &oracle, 9);
        }
    }
    assert_eq!(count, 30_000);
    assert!(books.live_orders() > 1000);
}

fn add(reference: u64, shares: u32, price: u32) -> Message {
    Message {
        locate: 1,
        tracking: 0,
        timestamp_ns: 0,
        body: Body::Add { reference, side: Side::Buy, shares, stock: Stock::new("TEST"), price, attribution: None },
    }
}

fn books(messages: &[Message]) -> Books {
    let mut books = Books::default();
    for message in messages {
        books.apply(message);
    }
    books
}

#[test]
fn digest_is_of_the_books_and_not_of_their_history() {
    let cancel = Message { body: Body::Cancel { reference: 1, shares: 40 }, ..add(1, 0, 0) };
    let straight = books(&[add(1, 60, 500), add(2, 10, 501)]);
    let detour = books(&[add(2, 10, 501), add(1, 100, 500), cancel]);
    assert_eq!(straight.digest(), detour.digest());
    for other in [add(1, 61, 500), add(1, 60, 502), add(3, 60, 500)] {
        let other = books(&[other, add(2, 10, 501)]);
        assert_ne!(straight.digest(), other.digest());
    }
    assert_eq!(Books::default().digest(), FNV_OFFSET_BASIS);
}

#[test]
fn replacement_keeps_side_and_symbol() {
    let replace = Message {
        locate: 9,
        body: Body::Replace { reference: 1, new_reference: 2, shares: 70, price: 510 },
        ..add(1, 0, 0)
    };
    let books = books(&[add(1, 60, 500), replace]);
    assert_eq!(books.top(1), Top::new(Some((510, 70)), None));
    assert_eq!(books.top(9), Top::default());
}
