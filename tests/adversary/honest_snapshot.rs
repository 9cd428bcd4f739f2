//! Honest processes at a snapshot, and those that attach and let go all the time.

use crate::honest::Honest;
use shmlog::{Access, Log, Replica, Snapshot, Start};
use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(20);

/// The writer of all slots.
pub fn publisher(honest: &mut Honest<'_>) {
    let snapshot = honest.snapshot.clone();
    let Some(mut writer) = honest.diary.call("writer", || snapshot.writer()) else { return };
    writer.set_patience(Duration::from_millis(honest.dice.roll(10)));
    while honest.goes_on() {
        let (len, slot, seq) =
            (honest.round.value_bytes(&mut honest.dice), honest.dice.index(3), honest.dice.roll(1000));
        let bytes = vec![9; len];
        match honest.dice.roll(8) {
            0 => honest.diary.attempt("publish_with", || {
                let fill = |draft: &mut shmlog::Draft<'_>| assert_eq!(draft.write(0, &bytes), len);
                writer.slot(slot)?.publish_with(len, fill)
            }),
            1 => honest.diary.attempt("set_name", || writer.set_name(slot, "MSFT")),
            _ => honest.diary.attempt("publish", || writer.slot(slot)?.as_of(seq).publish_bytes(&bytes)),
        }
    }
}

/// A reader that copies.
pub fn loader(honest: &mut Honest<'_>) {
    let (snapshot, slot) = (honest.snapshot.clone(), honest.dice.index(3));
    let Some(mut reader) = honest.diary.call("reader", || snapshot.reader_of(slot)) else { return };
    let mut bytes = Vec::new();
    while honest.goes_on() {
        let (dice, diary) = (&mut honest.dice, &mut honest.diary);
        match dice.roll(10) {
            0 => diary.attempt("stamp", || reader.stamp()),
            1 => diary.attempt("load", || reader.load::<[u64; 2]>()),
            2 => diary.attempt("load_newer", || reader.load_newer::<[u64; 2]>()),
            3 => drop(black_box(reader.wait_unseen(MOMENT))),
            4 => drop(black_box((snapshot.find("AAPL"), snapshot.names().count()))),
            5 => diary.attempt("load_bytes", || reader.load_bytes()),
            _ => diary.attempt("load_into", || reader.load_into(&mut bytes)),
        }
    }
}

/// A reader that looks at values in place.
pub fn pinner(honest: &mut Honest<'_>) {
    let (snapshot, slot) = (honest.snapshot.clone(), honest.dice.index(3));
    let Some(mut reader) = honest.diary.call("reader", || snapshot.reader_of(slot)) else { return };
    while honest.goes_on() {
        let stays = honest.dice.roll(20) == 0;
        honest.diary.call("pin", || {
            let pinned = reader.pin()?;
            if let Some(pinned) = pinned {
                black_box((pinned.to_vec(), pinned.words().len(), pinned.copy_at(3, &mut [0; 9])));
                if stays {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            Ok::<_, shmlog::LoadError>(())
        });
    }
}

/// Attaches to both as a process does that is sent them, takes every handle, and lets go.
pub fn attacher(honest: &mut Honest<'_>) {
    let access = *honest.dice.pick(&[Access::Append, Access::Read, Access::Observe]);
    let (log, snapshot, diary) = (&honest.log, &honest.snapshot, &mut honest.diary);
    if let Some(log) = diary.call("receive_log", || pass(|socket| log.send(socket, access), Log::receive)) {
        diary.call("info", || Ok::<_, ()>(black_box(log.info())));
        diary.call("appender", || log.appender().map(drop));
        diary.call("exclusive", || log.exclusive().map(drop));
        diary.call("reader", || log.reader(Start::Oldest).map(drop));
        diary.call("gated", || log.reader_builder().gated(true).start(Start::End).map(drop));
    }
    if let Some(snapshot) =
        diary.call("receive_snapshot", || pass(|socket| snapshot.send(socket, access), Snapshot::receive))
    {
        diary.call("snapshot_info", || Ok::<_, ()>(black_box(snapshot.info())));
        diary.call("writer_of", || snapshot.writer_of(1).map(drop));
        diary.call("pin", || snapshot.reader()?.pin().map(drop));
    }
    let replica = Replica::new(log, snapshot);
    diary.attempt("replica_join", || replica.join().map(drop));
    diary.attempt("replica_own", || replica.own_at("honest", Start::End)?.publish_bytes(0, b"").map(drop));
}

/// Sends something to itself.
fn pass<T: Send>(
    send: impl FnOnce(UnixStream) -> Result<(), shmlog::PassError>,
    receive: impl FnOnce(UnixStream) -> Result<T, shmlog::PassError> + Send,
) -> Result<T, shmlog::PassError> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(theirs));
        let sent = send(ours);
        let received = receiver.join().unwrap();
        sent.and(received)
    })
}
