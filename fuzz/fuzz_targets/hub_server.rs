//! A hub and clients that say whatever they like. One that asks as it should is answered as it should.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustix::net::{Shutdown, shutdown};
use shmlog::Hub;
use shmlog_fuzz::packet::{Edit, Kind, Stock, dial, edited, hear, say, strays};
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Arbitrary, Clone, Debug)]
enum Name {
    Feed,
    State,
    Symbols,
    Other(String),
}

#[derive(Arbitrary, Clone, Debug)]
struct Request {
    kind: Kind,
    access: u8,
    name: Name,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Ask(u8, Request),
    Bent(u8, Request, Vec<Edit>, u8),
    Raw(u8, Vec<u8>),
    Hear(u8),
    Step,
    Leave(u8),
    Half(u8, bool),
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"SHMHUBRQ".to_vec();
        for word in [1, self.kind as u32, u32::from(self.access % 4), 0] {
            bytes.extend(word.to_le_bytes());
        }
        let name = match &self.name {
            Name::Feed => "feed",
            Name::State => "state",
            Name::Symbols => "symbols",
            Name::Other(name) => name,
        };
        bytes.extend(name.as_bytes());
        bytes.resize(88, 0);
        bytes
    }

    /// How many descriptors come with it; `None`: it may be refused.
    fn wanted_fds(&self) -> Option<usize> {
        match (&self.name, self.kind, self.access % 4) {
            // Another client may own it.
            (_, _, 3) => None,
            (Name::Feed, Kind::Log, 0) | (Name::State, Kind::Snapshot, 0) => Some(3),
            (Name::Feed, Kind::Log, _) | (Name::State, Kind::Snapshot, _) => Some(2),
            (Name::Symbols, Kind::Arena, _) => Some(1),
            _ => None,
        }
    }
}

struct Ground {
    hub: Hub,
    path: PathBuf,
    strays: Vec<OwnedFd>,
}

thread_local!(static GROUND: RefCell<Ground> = {
    let path = tempfile::tempdir().expect("a directory").keep().join("hub");
    let Stock { ground, shelf, arena } = Stock::new();
    let builder = Hub::builder().log("feed", &ground.log).snapshot("state", &shelf.snapshot).arena("symbols", arena);
    let hub = builder.listen(&path, 0o600).expect("a hub");
    RefCell::new(Ground { hub, path, strays: strays() })
});

/// A connection, and what was sent over it and not answered yet.
struct Client {
    socket: OwnedFd,
    asked: Vec<Request>,
    is_honest: bool,
}

impl Ground {
    fn step(&mut self) {
        self.hub.step(Duration::ZERO).expect("a round");
    }

    fn play(&mut self, ops: &[Op]) {
        let mut clients = [const { None::<Client> }; 4];
        for op in ops.iter().take(32) {
            let (Op::Ask(who, _)
            | Op::Bent(who, ..)
            | Op::Raw(who, _)
            | Op::Hear(who)
            | Op::Leave(who)
            | Op::Half(who, _)) = op
            else {
                self.step();
                continue;
            };
            let place = &mut clients[usize::from(who % 4)];
            let client = place.get_or_insert_with(|| {
                let socket = dial(&self.path).expect("a hub listens");
                Client { socket, asked: Vec::new(), is_honest: true }
            });
            match op {
                Op::Ask(_, request) => {
                    let _ = say(&client.socket, &request.bytes(), &[]);
                    // Names that can't be are garbage.
                    client.is_honest &= !matches!(request.name, Name::Other(_));
                    client.asked.push(request.clone());
                }
                Op::Bent(_, request, edits, fds) => {
                    let fds: Vec<_> = self.strays.iter().take((fds % 4).into()).map(AsFd::as_fd).collect();
                    let _ = say(&client.socket, &edited(&request.bytes(), edits), &fds);
                    client.is_honest = false;
                }
                Op::Raw(_, bytes) => {
                    let _ = say(&client.socket, bytes, &[]);
                    client.is_honest = false;
                }
                Op::Hear(_) => self.hear(client),
                Op::Half(_, is_reading) => {
                    let _ = shutdown(&client.socket, if *is_reading { Shutdown::Read } else { Shutdown::Write });
                    client.is_honest = false;
                }
                Op::Leave(_) | Op::Step => *place = None,
            }
        }
        drop(clients);
        for _ in 0..20 {
            self.step();
        }
        assert_eq!(self.hub.clients(), 0, "all have left");
    }

    fn hear(&mut self, client: &mut Client) {
        for _ in 0..3 {
            self.step();
        }
        let heard = hear(&client.socket);
        if let Ok((bytes, fds)) = &heard
            && !bytes.is_empty()
        {
            assert!(bytes.len() == 1024 && bytes.starts_with(b"SHMHUBRE") && fds.len() <= 3);
        }
        let is_only = client.asked.len() == 1;
        if let (true, true, Some(request)) = (client.is_honest, is_only, client.asked.pop()) {
            let (bytes, fds) = heard.expect("an answer");
            if let Some(wanted) = request.wanted_fds() {
                assert_eq!((&bytes[12..16], fds.len()), (&[0; 4][..], wanted), "granted");
            }
        } else {
            // Who asks before it has read the answer is dropped.
            client.is_honest &= client.asked.is_empty();
        }
    }
}

fuzz_target!(|ops: Vec<Op>| GROUND.with_borrow_mut(|ground| ground.play(&ops)));
