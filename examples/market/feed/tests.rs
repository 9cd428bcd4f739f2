use super::*;
use crate::stamp::Stamped;

fn messages(feed: &Feed) -> Vec<Vec<u8>> {
    feed.play().unwrap().collect()
}

/// The bytes of a file of a feed.
fn file_of(feed: Feed) -> Vec<u8> {
    match feed.source {
        Source::Memory(bytes) => bytes,
        Source::Journal(_) => unreachable!("it was generated"),
    }
}

/// The feed as it is recorded, and something else behind it.
fn record(feed: &Feed, dir: &Path, then: &[&[u8]]) {
    let journal = Journal::open(dir).unwrap();
    let mut appender = journal.appender().unwrap();
    let mut record = Stamped::new();
    for message in messages(feed) {
        appender.append(record.set(1, &message)).unwrap();
    }
    for other in then {
        appender.append(other).unwrap();
    }
}

#[test]
fn a_sound_feed_is_whole() {
    let feed = Feed::generate(1, 500);
    assert_eq!((feed.len(), feed.fault()), (500, None));
    assert_eq!(messages(&feed).len(), 500);
    assert_eq!(messages(&feed).iter().map(Vec::len).max(), Some(feed.longest_bytes()));
    assert_eq!(feed.locates(), 9);
    let nothing = Feed::of(Vec::new());
    assert_eq!((messages(&nothing).len(), nothing.locates()), (0, 0));
}

#[test]
fn what_is_before_a_cut_stays() {
    let mut bytes = file_of(Feed::generate(1, 500));
    bytes.pop();
    let feed = Feed::of(bytes);
    assert_eq!((feed.len(), messages(&feed).len()), (499, 499));
    let Some(FeedFault::Frame(fault)) = feed.fault() else { panic!("{:?}", feed.fault()) };
    assert_eq!(fault.offset, messages(&feed).iter().map(|message| 2 + message.len()).sum::<usize>());
    assert!(matches!(fault.fault, FrameFault::TruncatedBody { .. }), "{fault}");
}

/// Frames alone don't show it: the length is right.
#[test]
fn a_field_without_meaning_is_a_fault_at_its_message() {
    let mut bytes = file_of(Feed::generate(1, 500));
    let frames: Vec<_> = Frames::new(&bytes).map(Result::unwrap).map(|(at, message)| (at, message[0])).collect();
    let (place, &(offset, _)) = frames.iter().enumerate().filter(|(_, (_, kind))| *kind == b'A').nth(20).unwrap();
    bytes[offset + 2 + 19] = b'?';
    let feed = Feed::of(bytes);
    assert_eq!(feed.len(), place as u64);
    assert!(matches!(feed.fault(), Some(FeedFault::Frame(fault)) if fault.offset == offset));
}

#[test]
fn a_recorded_feed_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::generate(2, 700);
    record(&feed, dir.path(), &[]);
    let again = Feed::recorded(dir.path()).unwrap();
    assert_eq!((again.len(), again.fault(), again.locates()), (700, None, feed.locates()));
    assert_eq!(again.longest_bytes(), feed.longest_bytes());
    assert_eq!(messages(&again), messages(&feed));
}

#[test]
fn a_record_that_is_no_message_is_a_fault_and_what_comes_later_is_no_part() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::generate(2, 700);
    record(&feed, dir.path(), &[b"odd", b"more"]);
    let again = Feed::recorded(dir.path()).unwrap();
    assert_eq!(messages(&again), messages(&feed));
    assert!(again.fault().unwrap().to_string().starts_with("record 700 of the journal: "));
    let none = dir.path().join("none");
    let said = format!("{:#}", Feed::recorded(&none).unwrap_err());
    assert_eq!(said.matches(none.to_str().unwrap()).count(), 1, "{said}");
}
