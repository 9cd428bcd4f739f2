//! A hub and its workers, which are this program again: one started by the hub, one that connects to its socket.
//!
//! `cargo run --example hub`

use anyhow::{Context, Result};
use shmlog::hub::Verdict;
use shmlog::{Access, Hub, HubClient, HubError, HubEvent, Log, ReadError, Start};
use std::env;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    match env::args().nth(1).as_deref() {
        None => parent(),
        Some("inherits") => producer(HubClient::inherited()?),
        Some(path) => consumer(HubClient::connect_within(path, PATIENCE)?),
    }
}

fn parent() -> Result<()> {
    let path = env::temp_dir().join(format!("hub-{}", std::process::id()));
    let feed = Log::builder().create_memfd("feed")?;
    let hub = Hub::builder().log("feed", &feed).policy(|peer, request| match request.access {
        Access::Own | Access::Append if !peer.is_inherited => Verdict::Grant(Access::Read),
        access => Verdict::Grant(access),
    });
    let hub = hub.listen(&path, 0o600)?.start()?;
    let program = env::current_exe()?;
    let mut consumer = Command::new(&program).arg(&path).spawn()?;
    let mut producer = hub.spawn(Command::new(&program).arg("inherits"))?;
    producer.wait()?;
    consumer.wait()?;
    let mut gone = 0;
    while gone < 2 {
        let event = hub.events().next_timeout(PATIENCE).context("the workers are gone, and the hub does not see it")?;
        gone += usize::from(matches!(event, HubEvent::Died { .. }));
        println!("hub: {event:?}");
    }
    Ok(hub.stop()?)
}

fn producer(mut hub: HubClient) -> Result<()> {
    let mut appender = hub.log("feed", Access::Own)?.exclusive()?;
    for word in ["one", "two", "three"] {
        appender.append(word.as_bytes())?;
    }
    appender.close()?;
    Ok(())
}

fn consumer(mut hub: HubClient) -> Result<()> {
    let log = hub.log("feed", Access::Append)?;
    println!("consumer: asked for Append, was granted {:?}", hub.granted().context("granted")?);
    if let Err(HubError::Unknown { name }) = hub.snapshot("prices", Access::Read) {
        println!("consumer: there is no {name:?}");
    }
    let mut reader = log.reader(Start::First)?;
    loop {
        match reader.next_timeout(PATIENCE) {
            Ok(Some(record)) => println!("consumer: {}", String::from_utf8_lossy(&record.to_vec()?)),
            Ok(None) | Err(ReadError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
