//! The list of systems.

#[cfg(feature = "aeron")]
mod aeron;
#[cfg(feature = "aeron")]
mod aeron_driver;
mod attach;
#[cfg(feature = "crossbeam")]
mod crossbeam;
mod datagram;
#[cfg(feature = "disruptor")]
mod disruptor;
#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod pipe;
mod random;
mod raw;
#[cfg(feature = "rtrb")]
mod rtrb;
mod scan;
mod shm;
mod snapshot;

use crate::case::Shape;
use crate::case::Suite::{self, Append, Fanout, Mpsc, Rtt, Stream, Wake};
use crate::child::play_process;
use crate::system::{Channel, Home, Kind, NoHome, Play, System};
use anyhow::Result;

/// All systems, those that are missing too, each once for the suites that it plays in the same way.
pub fn all() -> Vec<System> {
    use shm::ShmLog;
    use shmlog::{Exclusive, Shared};
    const ALONE: &[Suite] = &[Rtt, Stream, Fanout, Append, Wake];
    const AMONG: &[Suite] = &[Rtt, Stream, Mpsc, Fanout, Append, Wake];
    let mut all = vec![
        process::<ShmLog<Exclusive, false>>("shmlog-exclusive", ALONE),
        process::<ShmLog<Shared, false>>("shmlog-shared", AMONG),
        process::<ShmLog<Exclusive, true>>("shmlog-exclusive-huge", ALONE),
        process::<ShmLog<Shared, true>>("shmlog-shared-huge", AMONG),
        process::<ShmLog<Exclusive, false, 10>>("shmlog-exclusive-linger", &[Stream]),
        process::<ShmLog<Shared, false, 10>>("shmlog-shared-linger", &[Stream, Mpsc]),
        limit::<raw::line::Line>("line", &[Rtt]),
        // A limit of what is streamed, but a system as far as it goes there and back.
        limit::<raw::ring::Ring>("memcpy-ring", &[Rtt, Stream]),
        limit::<raw::claim::Claim>("claim-memcpy", &[Mpsc]),
        limit::<raw::commit::Commit>("cmpxchg-memcpy", &[Append]),
        limit::<raw::mailbox::Mailbox>("futex", &[Wake]),
        process::<pipe::Pipe>("pipe", &[Rtt, Stream, Mpsc, Wake]),
        process::<datagram::Datagram>("unix-datagram", &[Rtt, Stream, Mpsc, Wake]),
    ];
    all.extend(peers());
    all.extend(scan::systems());
    all.extend(random::systems());
    all.extend(snapshot::systems());
    all.extend(attach::systems());
    all.extend(crate::durable::stores::systems());
    all
}

/// The system of this name in this suite.
pub fn find(suite: Suite, name: &str) -> Option<System> {
    all().into_iter().find(|system| system.name == name && system.suites.contains(&suite))
}

fn peers() -> Vec<System> {
    vec![
        #[cfg(feature = "aeron")]
        process::<aeron::Exclusive>("aeron-exclusive", &[Rtt, Stream, Fanout]),
        #[cfg(not(feature = "aeron"))]
        missing("aeron-exclusive", Kind::Process, &[Rtt, Stream, Fanout], "built without `--features aeron`"),
        #[cfg(feature = "aeron")]
        process::<aeron::Concurrent>("aeron-concurrent", &[Rtt, Stream, Mpsc, Fanout]),
        #[cfg(not(feature = "aeron"))]
        missing("aeron-concurrent", Kind::Process, &[Rtt, Stream, Mpsc, Fanout], "built without `--features aeron`"),
        #[cfg(feature = "iceoryx2")]
        process::<iceoryx::Iceoryx>("iceoryx2", &[Rtt, Stream, Mpsc, Fanout, Append, Wake]),
        #[cfg(not(feature = "iceoryx2"))]
        missing("iceoryx2", Kind::Process, &[Rtt, Stream, Mpsc, Fanout, Append, Wake], "built without `iceoryx2`"),
        #[cfg(feature = "rtrb")]
        threads("rtrb", rtrb::PLAY, &[Rtt, Stream]),
        #[cfg(not(feature = "rtrb"))]
        missing("rtrb", Kind::Threads, &[Rtt, Stream], "built without `rtrb`"),
        #[cfg(feature = "crossbeam")]
        threads("crossbeam", crossbeam::PLAY, &[Rtt, Stream, Mpsc]),
        #[cfg(not(feature = "crossbeam"))]
        missing("crossbeam", Kind::Threads, &[Rtt, Stream, Mpsc], "built without `crossbeam`"),
        #[cfg(feature = "disruptor")]
        threads("disruptor", disruptor::PLAY_SINGLE, &[Rtt, Stream]),
        #[cfg(feature = "disruptor")]
        threads("disruptor", disruptor::PLAY_MULTI, &[Mpsc]),
        #[cfg(not(feature = "disruptor"))]
        missing("disruptor", Kind::Threads, &[Rtt, Stream, Mpsc], "built without `disruptor`"),
    ]
}

fn process<C: Channel>(name: &'static str, suites: &'static [Suite]) -> System {
    System { name, kind: Kind::Process, suites, how: Ok((C::home, play_process::<C>)) }
}

fn limit<C: Channel>(name: &'static str, suites: &'static [Suite]) -> System {
    System { kind: Kind::Limit, ..process::<C>(name, suites) }
}

#[allow(dead_code, reason = "not without these peers")]
fn threads(name: &'static str, play: Play, suites: &'static [Suite]) -> System {
    System { name, kind: Kind::Threads, suites, how: Ok((no_home, play)) }
}

#[allow(dead_code, reason = "with all features nothing is missing")]
fn missing(name: &'static str, kind: Kind, suites: &'static [Suite], why: &'static str) -> System {
    System { name, kind, suites, how: Err(why) }
}

fn no_home(_: &Shape) -> Result<Box<dyn Home>> {
    Ok(Box::new(NoHome))
}

/// Calls what is made for messages of one size by the size of the job's.
#[allow(unused_macros, reason = "not without these peers")]
macro_rules! by_size {
    ($job:expr, $bytes:ident => $call:expr) => {
        by_size!($job, $bytes => $call; 8 16 64 256 1024 4096)
    };
    ($job:expr, $bytes:ident => $call:expr; $($size:literal)*) => {
        match $job.shape.bytes {
            $($size => {
                #[allow(non_upper_case_globals, reason = "it stands for the size")]
                const $bytes: usize = $size;
                $call
            })*
            other => anyhow::bail!("built for 8, 16, 64, 256, 1024 and 4096 bytes, not for {other}"),
        }
    };
}
#[allow(unused_imports, reason = "not without these peers")]
use by_size;
