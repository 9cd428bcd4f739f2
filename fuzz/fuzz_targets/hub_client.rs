//! A client and a hub that answers whatever it likes, with any descriptors.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmlog::{Access, Hub, HubClient};
use shmlog_fuzz::exercise;
use shmlog_fuzz::image::Bend;
use shmlog_fuzz::packet::{Edit, Fds, Kind, Stock, Template, answer, dial, edited, hear, listen_at, say, strays};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
enum Op {
    /// The hub says what it would say to a request for this, with these changes.
    Say(u8, Vec<Edit>, Fds),
    Raw(Vec<u8>),
    /// The client asks for this.
    Ask(Kind, u8),
    /// The hub closes the connection.
    End,
    /// The bytes of the log, its board, or the snapshot change.
    Bend(u8, Bend),
}

const ACCESSES: [Access; 4] = [Access::Append, Access::Read, Access::Observe, Access::Own];

struct Ground {
    path: PathBuf,
    listener: OwnedFd,
    /// Answers of an honest hub.
    templates: Vec<Template>,
    strays: Vec<OwnedFd>,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory").keep();
        let Stock { ground, shelf, arena } = Stock::new();
        let builder = Hub::builder().log("x", &ground.log).snapshot("y", &shelf.snapshot).arena("z", arena);
        let mut hub = builder.listen(dir.join("honest"), 0o600).expect("a hub");
        let mut templates = Vec::new();
        for (name, kind) in [(b'x', Kind::Log), (b'y', Kind::Snapshot), (b'z', Kind::Arena), (b'?', Kind::Log)] {
            for access in 0..4_u32 {
                let socket = dial(&dir.join("honest")).expect("a hub listens");
                let mut request = b"SHMHUBRQ".to_vec();
                [1, kind as u32, access, 0].iter().for_each(|word| request.extend(word.to_le_bytes()));
                request.push(name);
                request.resize(88, 0);
                say(&socket, &request, &[]).expect("room");
                for _ in 0..3 {
                    hub.step(Duration::ZERO).expect("a round");
                }
                let (bytes, fds) = hear(&socket).expect("an answer");
                templates.push(Template { bytes, fds });
            }
        }
        let path = dir.join("hub");
        Self { listener: listen_at(&path), path, templates, strays: strays() }
    }

    fn play(&self, ops: &[Op]) {
        let stock = Stock::new();
        let mut client = HubClient::connect(&self.path).expect("somebody listens");
        client.set_patience(Duration::ZERO);
        let mut hub = Some(answer(&self.listener));
        for op in ops.iter().take(16) {
            match op {
                Op::Say(number, edits, fds) => {
                    let template = &self.templates[usize::from(*number) % self.templates.len()];
                    let fds = fds.pick(template, &self.templates, &self.strays);
                    if let Some(hub) = &hub {
                        let _ = say(hub, &edited(&template.bytes, edits), &fds);
                    }
                }
                Op::Raw(bytes) => {
                    if let Some(hub) = &hub {
                        let _ = say(hub, bytes, &[]);
                    }
                }
                Op::Ask(kind, access) => ask(&mut client, *kind, ACCESSES[usize::from(access % 4)]),
                Op::End => hub = None,
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
}

fn ask(client: &mut HubClient, kind: Kind, access: Access) {
    match kind {
        Kind::Log => drop(client.log("x", access).map(|log| exercise::log(&log))),
        Kind::Snapshot => drop(client.snapshot("x", access).map(|snapshot| exercise::snapshot(&snapshot))),
        Kind::Arena => drop(client.arena("x", access).map(|arena| exercise::arena(&arena))),
    }
}

thread_local!(static GROUND: Ground = Ground::new());

fuzz_target!(|ops: Vec<Op>| GROUND.with(|ground| ground.play(&ops)));
