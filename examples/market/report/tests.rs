use super::*;
use crate::recorder::Life;
use shmlog::{AppendError, Log};

fn outcome(role: Role, records: u64, digest: u64) -> Outcome {
    let result = json!({
        "records": records,
        "missed": 0,
        "digest": digest,
        "unknown_refs": 0,
        "busy_ns": 1000,
        "owner": { "tops": 3, "tops_digest": 5, "states": 2, "states_end": null },
    });
    let joined = Some(json!({ "joined_at_seq": 5, "from_seq": 0 }));
    Outcome { role, pid: Some(1), joined, result: Some(result), fate: Fate::Done }
}

/// A late worker that restored all up to record 3.
fn restored(records: u64, digest: u64) -> Outcome {
    let joined = Some(json!({ "joined_at_seq": 5, "from_seq": 4, "snapshot_as_of": 3 }));
    Outcome { joined, ..outcome(Role::Late, records, digest) }
}

fn watch(tops_digest: u64) -> Outcome {
    let result = json!({ "loads": 3, "symbols": 1, "tops_digest": tops_digest });
    let joined = Some(json!({ "slots": 2 }));
    Outcome { role: Role::Watch, pid: Some(1), joined, result: Some(result), fate: Fate::Done }
}

fn report(workers: Vec<Outcome>) -> Report {
    let log = Log::builder().create_memfd("report").unwrap().info();
    let published = Published { messages: 10, elapsed: Duration::from_micros(1), fault: None };
    Report {
        feed_fault: None,
        published,
        is_paced: false,
        log,
        owner: Role::Book(0),
        workers,
        recording: None,
        replayed: None,
    }
}

#[test]
fn equal_books_agree_and_others_do_not() {
    let sound = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 10, 7)]);
    assert_eq!((sound.agree(), sound.late_state_equal(), sound.late_note()), (Some(true), Some(true), None));
    assert!(sound.verdict().is_ok());
    assert_eq!(sound.to_json()["messages_per_s"], 10_000_000);
    let odd = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 10, 8)]);
    assert_eq!((odd.agree(), odd.late_state_equal()), (Some(false), Some(false)));
    assert_eq!(odd.to_json()["error"], "the workers disagree");
}

#[test]
fn who_restored_and_replayed_the_rest_has_read_everything() {
    let sound = report(vec![outcome(Role::Book(0), 10, 7), restored(6, 7)]);
    assert_eq!((sound.agree(), sound.late_state_equal(), sound.late_note()), (Some(true), Some(true), None));
    let late = &sound.to_json()["late"];
    assert_eq!((&late["snapshot_as_of"], &late["from_seq"], &late["replayed"]), (&json!(3), &json!(4), &json!(6)));
    let told = sound.to_string();
    assert!(told.contains("restored the books as of record 3") && told.contains("replayed 6 from record 4"), "{told}");
    for (records, digest, equal) in [(6, 8, Some(false)), (5, 7, None), (10, 7, None)] {
        let odd = report(vec![outcome(Role::Book(0), 10, 7), restored(records, digest)]);
        assert_eq!(odd.late_state_equal(), equal);
    }
}

#[test]
fn who_did_not_read_everything_is_not_compared() {
    let mut lagged = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 9, 8)]);
    assert_eq!((lagged.agree(), lagged.late_state_equal()), (None, None));
    assert_eq!(lagged.late_note().unwrap(), "not comparable: it missed records");
    lagged.workers[1].joined = Some(json!({ "joined_at_seq": 5, "from_seq": 1, "note": "no books" }));
    let note = lagged.late_note().unwrap();
    assert!(note.contains("record 0 was gone") && note.contains("nothing was restored: no books"), "{note}");
    assert!(lagged.verdict().is_ok());
}

#[test]
fn who_watches_must_see_what_the_owner_shows() {
    let books = || vec![outcome(Role::Book(0), 10, 7), outcome(Role::Late, 10, 7)];
    let mut sound = report([books(), vec![watch(5)]].concat());
    assert_eq!((sound.agree(), sound.watch_equal()), (Some(true), Some(true)));
    assert_eq!(sound.to_json()["watch"], json!({ "loads": 3, "symbols": 1, "equal": true }));
    assert_eq!(sound.to_json()["owner"]["states"], 2);
    let odd = report([books(), vec![watch(6)]].concat());
    assert_eq!((odd.agree(), odd.watch_equal()), (Some(false), Some(false)));
    assert!(odd.verdict().is_err() && odd.to_string().contains("OTHERS"));
    sound.workers[0].fate = Fate::Killed { signal: 9 };
    assert_eq!(sound.watch_equal(), None, "there is nobody to ask");
}

#[test]
fn a_killed_worker_is_reported_and_no_failure() {
    let mut report = report(vec![outcome(Role::Book(0), 10, 7), outcome(Role::Book(1), 10, 7)]);
    report.workers[0].fate = Fate::Killed { signal: 9 };
    report.workers[0].result = None;
    assert!(report.verdict().is_ok());
    assert_eq!(report.to_json()["workers"][0]["outcome"], "killed by signal 9");
    report.workers[1].fate = Fate::Failed { why: "exit status: 1".to_owned() };
    assert_eq!(report.to_json()["error"], "book-1 failed: exit status: 1");
}

#[test]
fn an_error_says_what_was_published() {
    let mut report = report(Vec::new());
    report.published.fault = Some(AppendError::Closed.into());
    let told = format!("{:#}", report.verdict().unwrap_err());
    assert_eq!(told, "ended after 10 messages, which stay readable: the log is closed");
}

fn life(found: u64, acknowledged: u64, fate: Fate) -> Life {
    let joined = Some(json!({ "from_seq": found, "recovery": null }));
    Life { joined, acknowledged, result: None, fate }
}

#[test]
fn what_was_durable_must_be_there_when_the_recorder_comes_back() {
    let recorded = |lives: Vec<Life>, is_equal| {
        let recording = Some(Recording { dir: "d".into(), lives, is_equal });
        Report { recording, ..report(vec![outcome(Role::Book(0), 10, 7)]) }
    };
    let killed = || Fate::Killed { signal: 9 };
    let sound = recorded(vec![life(0, 4, killed()), life(5, 10, Fate::Done)], true);
    assert_eq!(sound.to_json()["error"], Value::Null);
    let kills = json!([{ "durable": 4, "recovered": 5, "recovery": null }]);
    let journal = json!({ "dir": "d", "durable": 10, "equal": true, "kills": kills, "outcome": "done" });
    assert_eq!(sound.to_json()["journal"], journal);
    assert!(sound.to_string().contains("when it had said that 4 are; 5 were there when it came back"), "{sound}");
    let error = |lives, is_equal| recorded(lives, is_equal).to_json()["error"].as_str().unwrap().to_owned();
    let lost = error(vec![life(0, 4, killed()), life(3, 10, Fate::Done)], true);
    assert_eq!(lost, "THE JOURNAL LOST messages 3 to 3, which were durable");
    assert_eq!(error(vec![life(0, 10, Fate::Done)], false), "the journal is not what was published");
    assert_eq!(error(vec![life(0, 4, killed())], false), "the recorder: killed by signal 9");
}
