//! Owner, late and watch on real regions, in one process.

use super::late::{self, Restored};
use super::owner::{ANCHOR, Owner};
use super::parent::Parent;
use super::source::{Arrival, builder};
use super::watch::{self, Watch};
use crate::args::{Role, Waits};
use crate::board::Top;
use crate::book::Books;
use crate::feed::Feed;
use crate::itch::Message;
use serde_json::Value;
use shmlog::{Log, Replica, Retention, Snapshot};
use std::io::{BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

const EVERY: u64 = 700;

struct Stage {
    log: Log,
    tops: Snapshot,
    replica: Replica,
    owner: Owner,
    books: Books,
}

impl Stage {
    fn new(retention: Retention) -> Self {
        let log = Log::builder().windows(4).window_bytes(64 << 10).retention(retention).create_memfd("feed").unwrap();
        let tops = Snapshot::builder().values::<Top>().buffers(2).slots(9).create_memfd("tops").unwrap();
        let books = Snapshot::builder().capacity_bytes(1 << 20).sparse(true).create_memfd("books").unwrap();
        let replica = Replica::new(&log, &books);
        let owner = Owner::new(&tops, &replica, EVERY).unwrap();
        Self { log, tops, replica, owner, books: Books::default() }
    }

    /// Appends what of the feed has these numbers, and has the owner follow it. Every message takes three
    /// times the bytes, so that the log comes round soon.
    fn follow(&mut self, feed: &Feed, seqs: std::ops::Range<u64>, missed: u64) {
        let mut appender = self.log.exclusive().unwrap();
        let messages = (0..).zip(feed.play().unwrap().collect()).filter(|(seq, _)| seqs.contains(seq));
        for (seq, bytes) in messages {
            assert_eq!(appender.append(&bytes.repeat(3)).unwrap(), seq);
            let message = Message::decode(&bytes).unwrap();
            let touched = self.books.apply(&message);
            let arrival = Arrival { seq, published_ns: 0, missed, message: &message };
            self.owner.publish(&arrival, touched, &self.books).unwrap();
        }
    }

    fn join(&self) -> Restored {
        late::join(&self.replica, builder(&self.log, Role::Late, Waits::Yield)).unwrap()
    }

    fn owner_json(&self) -> Value {
        self.owner.to_json(&self.books)
    }

    fn is_held(&self) -> bool {
        self.log.info().participants.iter().any(|who| who.who.name() == ANCHOR && who.holds_segment.is_some())
    }
}

#[test]
fn who_watches_sees_what_the_owner_shows() {
    let (mut stage, feed) = (Stage::new(Retention::Gated), Feed::generate(5, 3000));
    let mut watch = Watch::new(stage.tops.clone());
    assert_eq!(watch.look().unwrap(), 0);
    for start in (0..3000).step_by(100) {
        stage.follow(&feed, start..start + 100, 0);
        watch.look().unwrap();
        assert_eq!(watch.to_json()["tops_digest"], stage.owner_json()["tops_digest"]);
    }
    assert_eq!(watch.look().unwrap(), 0, "all is seen");
    assert_eq!(watch.to_json()["symbols"], 8);
    let (loads, tops) = (&watch.to_json()["loads"], &stage.owner_json()["tops"]);
    assert!(loads.as_u64().unwrap() > 50 && loads.as_u64() < tops.as_u64(), "{loads} of {tops}");
    for locate in 1..9 {
        let shown = stage.tops.reader_of(locate.into()).unwrap().load().unwrap();
        assert_eq!(shown.map(|shown| shown.value), Some(stage.books.top(locate)));
    }
}

#[test]
fn late_restores_what_it_can_not_read_any_more() {
    for retention in [Retention::Gated, Retention::Overwrite] {
        let (mut stage, feed) = (Stage::new(retention), Feed::generate(6, 5000));
        stage.follow(&feed, 0..EVERY - 1, 0);
        let early = stage.join();
        assert_eq!((early.as_of, early.books.live_orders(), early.reader.position()), (None, 0, 0));
        assert!(early.note.unwrap().contains("no books have been published yet"));
        drop(early.reader);

        stage.follow(&feed, EVERY - 1..4000, 0);
        assert!(stage.log.info().oldest_seq > 0);
        let Restored { mut books, as_of, note, reader } = stage.join();
        let last = 4000 / EVERY * EVERY - 1;
        assert_eq!((as_of, note, reader.position()), (Some(last), None, last + 1));
        let rest = feed.play().unwrap().collect().into_iter().take(4000).skip(usize::try_from(last).unwrap() + 1);
        for bytes in rest {
            books.apply(&Message::decode(&bytes).unwrap());
        }
        assert_eq!((books.digest(), books.executed_shares()), (stage.books.digest(), stage.books.executed_shares()));
    }
}

#[test]
fn an_owner_that_has_missed_something_publishes_its_books_no_more() {
    let (mut stage, feed) = (Stage::new(Retention::Overwrite), Feed::generate(7, 5000));
    stage.follow(&feed, 0..EVERY, 0);
    assert!(stage.is_held());
    stage.follow(&feed, EVERY..EVERY + 1, 3);
    assert!(!stage.is_held(), "the log goes on without regard to the books");
    stage.follow(&feed, EVERY + 1..5000, 3);
    let said = stage.owner_json();
    assert_eq!(said["states"], 1);
    assert!(said["states_end"].as_str().unwrap().contains("they lack 3 messages"), "{said}");
    let late = stage.join();
    assert!(late.as_of.is_none() && late.reader.position() > 0);
    assert!(late.note.unwrap().contains("has been given up"));
}

#[test]
fn watch_looks_until_it_is_told_to_end() {
    let (mut stage, feed) = (Stage::new(Retention::Gated), Feed::generate(8, 1000));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let tops = stage.tops.clone();
    let watching = thread::spawn(move || watch::run(tops, Parent::over(theirs, Role::Watch)));
    let mut lines = BufReader::new(ours.try_clone().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["slots"], 9);
    stage.follow(&feed, 0..1000, 0);
    assert!(!watching.is_finished());
    ours.shutdown(Shutdown::Write).unwrap();
    let seen = next();
    assert_eq!(seen["tops_digest"], stage.owner_json()["tops_digest"]);
    assert!(seen["loads"].as_u64().unwrap() > 0);
    watching.join().unwrap().unwrap();
}
