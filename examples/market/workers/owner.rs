//! The owner: publishes the best bid and ask of each symbol when one changes, and all its books now and
//! then.

use super::source::Arrival;
use crate::board::{self, Top};
use crate::book::{Books, Touched};
use crate::itch::{Body, Stock};
use crate::progress::say;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use shmlog::{PublishError, Replica, Snapshot, SnapshotWriter, StateOwner};

/// The name of the reader that holds the log for newcomers.
pub const ANCHOR: &str = "books";

/// See the module.
#[derive(Debug)]
pub struct Owner {
    tops: SnapshotWriter,
    /// What is on the board, by stock locate.
    symbols: Vec<Symbol>,
    tops_published: u64,
    books: Result<StateOwner, GivenUp>,
    books_published: u64,
    every: u64,
    /// The record with which the books are published next.
    next_seq: u64,
}

#[derive(Clone, Debug, Default)]
struct Symbol {
    name: Option<String>,
    top: Top,
}

/// Why the books are not published any more.
type GivenUp = String;

impl Owner {
    /// Becomes the owner of the board and of the books, to publish those at every so many records.
    pub fn new(tops: &Snapshot, books: &Replica, every: u64) -> Result<Self> {
        Ok(Self {
            tops: tops.writer().context("becoming the writer of the board")?,
            symbols: vec![Symbol::default(); tops.len()],
            tops_published: 0,
            books: Ok(books.own(ANCHOR).context("becoming the owner of the books")?),
            books_published: 0,
            every,
            next_seq: every - 1,
        })
    }

    /// Publishes what a message has changed, and the books if it is time.
    #[inline]
    pub fn publish(&mut self, arrival: &Arrival<'_>, touched: Touched, books: &Books) -> Result<()> {
        if let Body::Directory { stock } | Body::Add { stock, .. } = arrival.message.body {
            self.name(arrival.message.locate, stock)?;
        }
        for locate in touched.into_iter().flatten() {
            self.publish_top(arrival.seq, locate, books.top(locate))?;
        }
        if arrival.seq >= self.next_seq || arrival.missed > 0 {
            self.publish_books(arrival, books);
        }
        Ok(())
    }

    /// Names a symbol's slot when it is first heard of.
    #[inline]
    fn name(&mut self, locate: u16, stock: Stock) -> Result<()> {
        match self.symbols.get(usize::from(locate)) {
            Some(Symbol { name: None, .. }) => self.set_name(locate, &stock.to_string()),
            _ => Ok(()),
        }
    }

    #[cold]
    fn set_name(&mut self, locate: u16, name: &str) -> Result<()> {
        let locate = usize::from(locate);
        // A slot's name has bytes, a stock's may not.
        if !name.is_empty() {
            self.tops.set_name(locate, name)?;
            self.symbols[locate].name = Some(name.to_owned());
        }
        Ok(())
    }

    #[inline]
    fn publish_top(&mut self, seq: u64, locate: u16, top: Top) -> Result<(), PublishError> {
        let locate = usize::from(locate);
        let slot = self.tops.slot(locate)?;
        let shown = &mut self.symbols[locate].top;
        if *shown != top {
            slot.as_of(seq).publish(&top)?;
            *shown = top;
            self.tops_published += 1;
        }
        Ok(())
    }

    /// Publishes the books, as long as they are what the log leads to.
    #[cold]
    fn publish_books(&mut self, arrival: &Arrival<'_>, books: &Books) {
        let Ok(state) = &mut self.books else { return };
        let published = match arrival.missed {
            0 => state
                .publish_by(arrival.seq, |slot| slot.publish_with(books.state_bytes(), |draft| books.write(draft)))
                .map_err(|error| error.to_string()),
            missed => Err(format!("they lack {missed} messages that the log had given up")),
        };
        match published {
            Ok(_) => (self.books_published, self.next_seq) = (self.books_published + 1, arrival.seq + self.every),
            Err(why) => {
                say(&format!("market: the books are not published any more: {why}"));
                // Lets the log go on without regard to them.
                self.books = Err(why);
            }
        }
    }

    /// `{"tops", "tops_digest", "states", "states_end"}`: the digest is of what the board should show, the
    /// last one null or why the books are not published any more.
    pub fn to_json(&self, books: &Books) -> Value {
        let symbols = (0..=u16::MAX).zip(&self.symbols);
        let named = symbols.filter_map(|(at, symbol)| Some((at.into(), symbol.name.as_ref()?, books.top(at))));
        json!({
            "tops": self.tops_published,
            "tops_digest": board::digest(named),
            "states": self.books_published,
            "states_end": self.books.as_ref().err(),
        })
    }
}
