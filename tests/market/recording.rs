//! The feed goes to a journal by a recorder that is killed on the way, and comes back from it the same.

use super::{attached, finish, json, kill, market, outcome, parent_of, recorded_feeds, run, wait_for, workers};
use serde_json::Value;
use shmlog::{Journal, Start};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// A number below `end`, another one each time.
fn random(end: u64) -> u64 {
    RandomState::new().hash_one(end) % end
}

/// Sorted numbers of messages, of so many.
fn random_places<const N: usize>(messages: u64) -> String {
    let mut places = [(); N].map(|()| random(messages) + 1);
    places.sort_unstable();
    places.map(|place| place.to_string()).join(",")
}

/// What the feed comes to, however it came.
const FACTS: [&str; 8] = [
    "messages",
    "by_type",
    "executed_shares",
    "trade_P_shares",
    "unknown_refs",
    "live_orders",
    "bids_top10",
    "asks_top10",
];

/// Books of one who read it all.
fn digest(report: &Value) -> &Value {
    &report["workers"][0]["digest"]
}

/// Records, and says what came of it.
fn record(args: &[&str], journal: &Path) -> Value {
    let output = run(&[&["--json", "--journal", journal.to_str().unwrap()], args].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    json(&output)
}

fn assert_recorded(report: &Value, kills: usize) {
    let journal = &report["journal"];
    assert_eq!((&journal["equal"], &journal["durable"]), (&true.into(), &report["messages"]), "{report}");
    assert_eq!(journal["outcome"], "done", "{report}");
    let killed = journal["kills"].as_array().unwrap();
    assert_eq!(killed.len(), kills, "{report}");
    for one in killed {
        assert!(one["recovered"].as_u64().unwrap() >= one["durable"].as_u64().unwrap(), "{report}");
    }
}

/// The journal gives others the same books.
fn assert_replayed(recorded: &Value, journal: &Path) -> Value {
    let output = run(&["--json", "--replay", journal.to_str().unwrap(), "--workers", "2"]);
    assert!(output.status.success(), "{output:?}");
    let replayed = json(&output);
    for fact in FACTS {
        assert_eq!(replayed[fact], recorded[fact], "{fact}");
    }
    assert_eq!(digest(&replayed), digest(recorded));
    assert_eq!((&replayed["agree"], &replayed["replay"]["messages"]), (&true.into(), &recorded["messages"]));
    replayed
}

/// With what the dead recorder left in memory, and without.
#[test]
fn a_feed_is_recorded_whole_wherever_its_recorder_is_killed() {
    for args in [
        &["--messages", "60000"][..],
        &["--messages", "60000", "--retention", "keep", "--lose-memory"],
        &["--messages", "120000", "--size", "4"],
        &["--messages", "120000", "--size", "4", "--lose-memory"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let places = random_places::<4>(args[1].parse().unwrap());
        let report = record(&[args, &["--kill-recorder-after", &places]].concat(), dir.path());
        assert_recorded(&report, 4);
        for one in report["journal"]["kills"].as_array().unwrap() {
            assert_eq!(one["recovery"].is_null(), args.last() != Some(&"--lose-memory"), "{report}");
        }
        assert_replayed(&report, dir.path());
    }
}

/// By somebody who does not know what it does just then.
#[test]
fn a_recorder_that_somebody_kills_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--json", "--messages", "100000", "--rate", "20000", "--journal", dir.path().to_str().unwrap()];
    let child = market(&args).spawn().unwrap();
    for _ in 0..3 {
        let recorder = attached(&child, "recorder");
        let journal = Journal::builder().thread(false);
        // Not before it has recorded something.
        let before = wait_for("a journal", || journal.open_existing(dir.path()).ok()).next_seq();
        let is_moving = || journal.open_existing(dir.path()).is_ok_and(|journal| journal.next_seq() > before);
        wait_for("records", || is_moving().then_some(()));
        kill(recorder);
        wait_for("it to be dead", || parent_of(recorder).is_none().then_some(()));
    }
    let report = json(&finish(child));
    assert_recorded(&report, 3);
    assert_eq!(outcome(&report, "book-0"), "done", "{report}");
    assert_replayed(&report, dir.path());
}

/// All messages of a journal, without the time at which they were published.
fn messages(dir: &Path) -> Vec<Vec<u8>> {
    let journal = Journal::builder().open_existing(dir).unwrap();
    let mut reader = journal.reader(Start::First).unwrap();
    let mut all = Vec::new();
    while let Some(record) = reader.try_next().unwrap() {
        assert_eq!(record.seq(), all.len() as u64);
        all.push(record.bytes()[8..].to_vec());
    }
    all
}

/// Of a feed that came to a sudden end there is a beginning.
#[test]
fn what_was_recorded_survives_all_processes() {
    let (whole, half) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    record(&["--messages", "100000"], whole.path());
    let whole = messages(whole.path());
    assert_eq!(whole.len(), 100_000);
    let args = ["--json", "--messages", "100000", "--rate", "20000", "--journal", half.path().to_str().unwrap()];
    let mut child = market(&args).spawn().unwrap();
    let recorder = attached(&child, "recorder");
    let journal = wait_for("a journal", || Journal::builder().thread(false).open_existing(half.path()).ok());
    wait_for("durable records", || (journal.durable() > 5000 + random(5000)).then_some(()));
    let all = workers(child.id(), "--worker");
    kill(child.id());
    kill(recorder);
    child.wait().unwrap();
    let durable = journal.durable();
    drop(journal);
    wait_for("the workers to end", || all.iter().all(|&pid| parent_of(pid).is_none()).then_some(()));
    let half = messages(half.path());
    assert!(half.len() as u64 >= durable && half.len() < whole.len(), "{} of {durable}", half.len());
    assert_eq!(half[..], whole[..half.len()]);
}

#[test]
fn a_recording_is_not_recorded_over() {
    let dir = tempfile::tempdir().unwrap();
    record(&["--messages", "1000"], dir.path());
    let again = run(&["--json", "--messages", "1000", "--journal", dir.path().to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && errors.contains("there is a recording of 1000 messages"), "{errors}");
    let none = run(&["--json", "--replay", dir.path().join("none").to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && errors.contains("no journal there"), "{errors}");
}

/// As when they are published directly: see `recorded_feeds_agree_with_their_truth`.
#[test]
fn recorded_feeds_agree_with_their_truth_when_replayed() {
    let Some(feeds) = recorded_feeds() else { return };
    let mut compared = 0;
    for (feed, truth) in feeds {
        let messages = truth["messages"].as_u64().unwrap();
        for more in [&[][..], &["--lose-memory"], &["--size", "4", "--lose-memory"]] {
            let journal = tempfile::tempdir().unwrap();
            let places = random_places::<5>(messages);
            let args = ["--input", feed.to_str().unwrap(), "--kill-recorder-after", &places];
            let report = record(&[&args, more].concat(), journal.path());
            assert_recorded(&report, 5);
            let replayed = assert_replayed(&report, journal.path());
            let facts = truth.as_object().unwrap().iter().filter(|(fact, _)| replayed.get(fact).is_some());
            for (fact, value) in facts {
                assert_eq!(&replayed[fact], value, "{fact} of {}, killed after {places}", feed.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no feed in SHMLOG_DATA");
}
