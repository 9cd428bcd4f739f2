//! FRAL's demo: a record that another process edits in place.
//!
//! ```text
//! cargo run --example fral
//! ```
//!
//! This process appends a record and prints it; its worker prints it too, and edits it; then this process looks at
//! the same record again. Three lines: `TEST`, `TEST`, `DEST`.

use anyhow::{Context, Result};
use shmlog::{Access, Log, PassError, Reader, Retention, Start};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

fn main() -> Result<()> {
    match shmlog::inherited() {
        Ok((log, _parent)) => worker(&log),
        Err(PassError::NotInherited { .. }) => parent(),
        Err(error) => Err(error.into()),
    }
}

fn parent() -> Result<()> {
    // Only a record that is never recycled may be edited by whoever likes.
    let log = Log::builder().windows(2).retention(Retention::Keep).create_memfd("fral")?;
    log.appender()?.append(b"TEST")?;
    let reader = log.reader(Start::First)?;
    println!("{}", text(&reader, 0)?);

    let mut worker = log.spawn(&mut Command::new(std::env::current_exe()?), Access::Append)?;
    anyhow::ensure!(worker.child.wait()?.success(), "the worker failed");
    println!("{}", text(&reader, 0)?);
    Ok(())
}

fn worker(log: &Log) -> Result<()> {
    let reader = log.reader(Start::First)?;
    println!("{}", text(&reader, 0)?);
    let record = reader.get(0)?.context("no record")?;
    let word = record.atomics()?.first().context("an empty record")?;
    let mut bytes = word.load(Relaxed).to_le_bytes();
    bytes[0] = b'D';
    word.store(u64::from_le_bytes(bytes), Relaxed);
    Ok(())
}

fn text(reader: &Reader, seq: u64) -> Result<String> {
    let record = reader.get(seq)?.context("no record")?;
    Ok(String::from_utf8(record.to_vec()?)?)
}
