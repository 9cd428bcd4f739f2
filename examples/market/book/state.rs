//! The books as the value of a snapshot: a head, then a row for each live order, in any order.

use super::{Books, Order, Side};
use anyhow::{Context, Result, bail};
use shmlog::{Draft, Pinned};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    unknown_refs: u64,
    executed_shares: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Row {
    reference: u64,
    price: u32,
    shares: u32,
    locate: u16,
    side: u8,
    zeroes: [u8; 5],
}

impl Books {
    /// Length of the value that [`Books::write`] writes.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        size_of::<Head>() + self.orders.len() * size_of::<Row>()
    }

    /// Writes the books to a value of [`Books::state_bytes`].
    pub fn write(&self, draft: &mut Draft<'_>) {
        let head = Head { unknown_refs: self.unknown_refs, executed_shares: self.executed_shares };
        let mut at = draft.write(0, head.as_bytes());
        for (&reference, &Order { price, shares, locate, side }) in &self.orders {
            let row = Row { reference, price, shares, locate, side: side.letter(), zeroes: [0; 5] };
            at += draft.write(at, row.as_bytes());
        }
    }

    /// The books that a value holds.
    ///
    /// # Errors
    /// It holds none.
    pub fn read(state: &Pinned<'_>) -> Result<Self> {
        let rows_bytes = state.len().checked_sub(size_of::<Head>()).context("a state without a head")?;
        if rows_bytes % size_of::<Row>() != 0 {
            bail!("a state of {} bytes, the last row is cut", state.len());
        }
        let Head { unknown_refs, executed_shares } = value_at(state, 0);
        let mut books = Self { unknown_refs, executed_shares, ..Self::default() };
        let rows = rows_bytes / size_of::<Row>();
        books.orders.reserve(rows);
        for at in (size_of::<Head>()..state.len()).step_by(size_of::<Row>()) {
            let Row { reference, price, shares, locate, side, .. } = value_at(state, at);
            let side = Side::of(side).with_context(|| format!("order {reference} has no side"))?;
            books.insert(reference, Order { price, shares, locate, side });
        }
        if books.orders.len() != rows {
            bail!("an order is there twice");
        }
        Ok(books)
    }
}

/// A value at an offset where there is one.
fn value_at<T: FromBytes + IntoBytes>(state: &Pinned<'_>, offset: usize) -> T {
    let mut value = T::new_zeroed();
    state.copy_at(offset, value.as_mut_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;
    use crate::itch::{MESSAGE_MAX_BYTES, Message};
    use shmlog::Snapshot;

    fn slot() -> Snapshot {
        Snapshot::builder().capacity_bytes(64 << 20).sparse(true).create_memfd("state").unwrap()
    }

    fn restored(slot: &Snapshot) -> Result<Books> {
        Books::read(&slot.reader().unwrap().pin().unwrap().unwrap())
    }

    #[test]
    fn restored_books_are_the_same_and_go_on_the_same() {
        let (slot, mut generator) = (slot(), Generator::new(31, 20_000));
        let mut writer = slot.writer().unwrap();
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let (mut kept, mut late) = (Books::default(), Books::default());
        let mut count = 0;
        while let Some(bytes) = generator.next_into(&mut buffer) {
            let message = Message::decode(bytes).unwrap();
            assert_eq!(kept.apply(&message), late.apply(&message));
            count += 1;
            if count % 3_000 == 0 {
                writer.first().publish_with(kept.state_bytes(), |draft| kept.write(draft)).unwrap();
                late = restored(&slot).unwrap();
            }
        }
        assert!(late.live_orders() > 1000);
        assert_eq!(late.digest(), kept.digest());
        assert_eq!((late.unknown_refs(), late.executed_shares()), (kept.unknown_refs(), kept.executed_shares()));
        assert_eq!((late.bids_top10(), late.asks_top10()), (kept.bids_top10(), kept.asks_top10()));
        assert!((0..9).all(|locate| late.top(locate) == kept.top(locate)));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let slot = slot();
        let mut writer = slot.writer().unwrap();
        let head = [0; size_of::<Head>()];
        let row = |reference: u64, side| {
            let row = Row { reference, price: 1, shares: 2, locate: 3, side, zeroes: [0; 5] };
            <[u8; size_of::<Row>()]>::read_from_bytes(row.as_bytes()).unwrap()
        };
        let rows = |rows: &[[u8; size_of::<Row>()]]| [&head[..], rows.as_flattened()].concat();
        for (bytes, said) in [
            (head[1..].to_vec(), Some("without a head")),
            (head.to_vec(), None),
            (rows(&[row(1, b'B'), row(2, b'S')]), None),
            (rows(&[row(1, b'B')])[1..].to_vec(), Some("39 bytes")),
            (rows(&[row(1, b'B'), row(2, 0)]), Some("order 2 has no side")),
            (rows(&[row(1, b'B'), row(1, b'S')]), Some("there twice")),
        ] {
            writer.publish_bytes(&bytes).unwrap();
            match (restored(&slot), said) {
                (Ok(books), None) => assert_eq!(books.live_orders(), bytes.len() / size_of::<Row>()),
                (Err(error), Some(said)) => assert!(error.to_string().contains(said), "{error}"),
                (found, _) => panic!("{found:?}, not {said:?}"),
            }
        }
    }
}
