//! A journal that processes share: two take orders, a third bills them, is killed, and is started again where it was.
//!
//! `cargo run --example journal`

use anyhow::{Context, Result, bail, ensure};
use shmlog::{Journal, JournalError, Start};
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Of each process that takes orders: more than fit in the pipe to who kills the one that bills them.
const ORDERS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => parent(),
        ["orders", dir] => orders(Path::new(dir)),
        ["bills", dir] => bills(Path::new(dir)),
        _ => bail!("it takes no arguments"),
    }
}

fn parent() -> Result<()> {
    let dir = env::temp_dir().join(format!("journal-{}", std::process::id()));
    let program = env::current_exe()?;
    // Nobody makes the journal beforehand: whoever comes first does.
    let start = |role: &str| Command::new(&program).arg(role).arg(&dir).stdout(Stdio::piped()).spawn();
    let takers = [start("orders")?, start("orders")?];
    let before = billed(&mut start("bills")?, 300)?;
    println!("billed records 0 to {}, then was killed", before.last().context("nothing billed")?);
    let after = billed(&mut start("bills")?, usize::MAX)?;
    println!(
        "started again: billed records {} to {}",
        after.first().context("nothing")?,
        after.last().context("nothing")?
    );
    for mut taker in takers {
        ensure!(taker.wait()?.success(), "a process that takes orders failed");
    }

    let journal = Journal::open(&dir)?;
    println!("all {} orders are durable: {}", journal.next_seq(), journal.durable() == journal.next_seq());
    let done = journal.cursor("billing")?.get()?;
    println!("given up, as they are billed: all below {}", journal.prune(done)?);
    journal.close()?;
    Ok(std::fs::remove_dir_all(&dir)?)
}

/// What it says it has billed; it is killed (SIGKILL) after so many.
fn billed(process: &mut Child, kill_after: usize) -> Result<Vec<u64>> {
    let mut seqs = Vec::new();
    for line in BufReader::new(process.stdout.take().context("a pipe")?).lines() {
        seqs.push(line?.parse()?);
        if seqs.len() == kill_after {
            process.kill()?;
        }
    }
    process.wait()?;
    Ok(seqs)
}

fn orders(dir: &Path) -> Result<()> {
    let journal = Journal::open(dir)?;
    let mut appender = journal.appender_named("orders")?;
    let mut told = None;
    for number in 0..ORDERS {
        let seq = appender.append_value(&number)?;
        told = Some(journal.on_durable(seq + 1));
    }
    // Within 10 ms by itself; `append_durable`, or `sync_to`, at once.
    ensure!(told.context("no orders")?.wait(PATIENCE)?, "not durable in time");
    Ok(())
}

fn bills(dir: &Path) -> Result<()> {
    let journal = Journal::open(dir)?;
    let cursor = journal.cursor("billing")?;
    // What it reads, no crash takes back.
    let durable = || journal.reader_builder().durable_only(true);
    let mut reader = match durable().start(Start::At(cursor.get()?)) {
        // Others pruned what it had not seen.
        Err(JournalError::Lagged { next, .. }) => durable().start(Start::At(next))?,
        reader => reader?,
    };
    while reader.position() < 2 * ORDERS {
        let record = reader.next_timeout(PATIENCE)?.context("where are the orders?")?;
        println!("{}", record.seq());
        // Killed just before, it bills this record once more: so bills say which record they are for.
        cursor.advance(record.seq() + 1)?;
    }
    Ok(cursor.sync()?)
}
