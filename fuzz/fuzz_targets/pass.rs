//! Regions that arrive over a socket, from a sender that sends whatever it likes, and answers to what was sent.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog::{Access, Arena, Log, PassError, Prefault, Snapshot};
use shmlog_fuzz::exercise;
use shmlog_fuzz::image::Bend;
use shmlog_fuzz::packet::{Edit, Fds, Kind, Stock, Template, edited, hear, say, strays};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

#[derive(Arbitrary, Debug)]
enum Op {
    /// An offer of this, with these changes, is received as that.
    Receive(u8, Vec<Edit>, Fds, Kind),
    Raw(Vec<u8>, Kind),
    /// The answer that would be right, with these changes.
    Answer(Kind, u8, Vec<Edit>),
    /// The bytes of the log, its board, or the snapshot change.
    Bend(u8, Bend),
}

const ACCESSES: [Access; 4] = [Access::Append, Access::Read, Access::Observe, Access::Own];

fn send(stock: &Stock, kind: Kind, socket: &UnixStream, access: Access) -> Result<(), PassError> {
    match kind {
        Kind::Log => stock.ground.log.send(socket, access),
        Kind::Snapshot => stock.shelf.snapshot.send(socket, access),
        Kind::Arena => stock.arena.send(socket, access),
    }
}

/// What an honest sender sends.
fn offer(stock: &Stock, kind: Kind, access: Access) -> Template {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    say(&theirs, b"no answer", &[]).expect("room");
    assert!(send(stock, kind, &ours, access).is_err());
    let (bytes, fds) = hear(&theirs).expect("an offer");
    Template { bytes, fds }
}

fn receive(socket: &UnixStream, kind: Kind) {
    match kind {
        Kind::Log => drop(Log::receive_with(socket, Prefault::No).map(|log| exercise::log(&log))),
        Kind::Snapshot => drop(Snapshot::receive(socket).map(|snapshot| exercise::snapshot(&snapshot))),
        Kind::Arena => drop(Arena::receive(socket).map(|arena| exercise::arena(&arena))),
    }
}

/// Sends this, and has it received.
fn pass(bytes: &[u8], template: Option<(&Template, &Fds)>, all: &[Template], strays: &[OwnedFd], kind: Kind) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let fds = template.map_or_else(Vec::new, |(template, fds)| fds.pick(template, all, strays));
    // Nothing is nothing on a stream: the end is.
    if bytes.is_empty() || say(&theirs, bytes, &fds).is_err() {
        drop(theirs);
    }
    receive(&ours, kind);
}

struct Ground {
    templates: Vec<Template>,
    strays: Vec<OwnedFd>,
}

impl Ground {
    fn new() -> Self {
        let stock = Stock::new();
        let kinds = [Kind::Log, Kind::Snapshot, Kind::Arena];
        let offers = kinds.iter().flat_map(|kind| ACCESSES.map(|access| offer(&stock, *kind, access)));
        Self { templates: offers.collect(), strays: strays() }
    }

    fn play(&self, ops: &[Op]) {
        let stock = Stock::new();
        for op in ops.iter().take(16) {
            match op {
                Op::Receive(number, edits, fds, kind) => {
                    let template = &self.templates[usize::from(*number) % self.templates.len()];
                    let bytes = edited(&template.bytes, edits);
                    pass(&bytes, Some((template, fds)), &self.templates, &self.strays, *kind);
                }
                Op::Raw(bytes, kind) => pass(bytes, None, &[], &[], *kind),
                Op::Answer(kind, access, edits) => self.answer(&stock, *kind, *access, edits),
                Op::Bend(which, bend) => {
                    // Those that others have mapped keep their length.
                    if !matches!(bend, Bend::Pages(_) | Bend::Cut(_)) {
                        bend.apply(
                            [&stock.ground.region, &stock.ground.board, &stock.shelf.region][usize::from(which % 3)],
                        );
                    }
                }
            }
        }
    }

    fn answer(&self, stock: &Stock, kind: Kind, access: u8, edits: &[Edit]) {
        let first = match kind {
            Kind::Log => 0,
            Kind::Snapshot => 4,
            Kind::Arena => 8,
        };
        let mut right = b"SHMANSWR\x01\0\0\0\0\0\0\0".to_vec();
        // The id, as it is in the offer.
        right.extend(&self.templates[first].bytes[24..40]);
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let bytes = edited(&right, edits);
        if !bytes.is_empty() {
            say(&theirs, &bytes, &[]).expect("room");
        }
        if bytes.is_empty() {
            drop(theirs);
            assert!(send(stock, kind, &ours, ACCESSES[usize::from(access % 4)]).is_err());
            return;
        }
        let sent = send(stock, kind, &ours, ACCESSES[usize::from(access % 4)]);
        // More than an answer may follow on a stream.
        assert_eq!(sent.is_ok(), bytes.starts_with(&right), "{sent:?}");
    }
}

thread_local!(static GROUND: Ground = Ground::new());

fuzz_target!(|ops: Vec<Op>| GROUND.with(|ground| ground.play(&ops)));
