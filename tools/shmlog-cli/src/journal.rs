//! `shmlog journal`: what is said and done about a journal's directory.

use crate::escape::text;
use crate::fronts;
use crate::info;
use crate::print::{Copied, Format};
use crate::table;
use crate::units::{count, size};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shmlog::{Journal, JournalError, SetAside, Start, Verified};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What to do with a journal.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// What it holds: records, cursors, whether it was closed. Changes nothing, as `dump` and the list of cursors.
    Info(Place),
    /// The memory of journals in /dev/shm, whose it is; removes that of journals which are gone.
    Fronts(fronts::Options),
    /// Its records.
    Dump {
        #[command(flatten)]
        place: Place,
        /// First record; the oldest by default.
        #[arg(long, value_name = "SEQ")]
        from: Option<u64>,
        /// Stop before this record.
        #[arg(long, value_name = "SEQ")]
        to: Option<u64>,
        /// How to write records.
        #[arg(long, value_enum, default_value_t = Format::Hex)]
        format: Format,
    },
    /// Reads all of its files: checksums, indexes, cursors, missing ones. Changes nothing; exit code 1 if anything is wrong.
    Verify(Place),
    /// Goes on without records that are gone: what can't be read is put aside. See `verify` first.
    Repair(Place),
    /// The files in which recovery and `repair` put aside what they could not use; removes those that are named.
    Aside {
        #[command(flatten)]
        place: Place,
        /// Remove this file, for good.
        #[arg(long, value_name = "FILE")]
        remove: Vec<String>,
        /// Remove all of them, for good.
        #[arg(long)]
        remove_all: bool,
    },
    /// Gives up the records before one, for good, whatever cursors are at.
    Prune {
        #[command(flatten)]
        place: Place,
        /// The first record to keep.
        #[arg(long, value_name = "SEQ")]
        before: u64,
    },
    /// The named cursors, and the records they are at; or sets or removes one.
    Cursors {
        #[command(flatten)]
        place: Place,
        /// Set this cursor, as NAME=SEQ, back or forth.
        #[arg(long, value_name = "NAME=SEQ")]
        set: Option<String>,
        /// Remove this cursor.
        #[arg(long, value_name = "NAME")]
        remove: Option<String>,
    },
}

/// Which journal.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Its directory.
    dir: PathBuf,
    /// What its files' names begin with.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Print JSON: one object; `aside` an array, `dump` an object for each record.
    #[arg(long)]
    json: bool,
}

impl Place {
    fn look(&self) -> Result<Journal, JournalError> {
        Journal::builder().prefix(&self.prefix).read_only(true).open_existing(&self.dir)
    }

    fn open(&self) -> Result<Journal, JournalError> {
        // What is made here is for whom the rest is.
        let lock = self.dir.join(format!("{}lock", self.prefix)).symlink_metadata();
        let mode = lock.map_or(0o600, |lock| lock.mode() & 0o777);
        Journal::builder().prefix(&self.prefix).mode(mode).thread(false).open_existing(&self.dir)
    }
}

/// Does it.
pub(crate) fn run(action: &Action, out: &mut impl Write) -> Result<()> {
    match action {
        Action::Info(place) => about(place, out),
        Action::Fronts(options) => fronts::run(options, out),
        Action::Dump { place, from, to, format } => {
            let format = if place.json { Format::Json } else { *format };
            dump(place, *from, to.unwrap_or(u64::MAX), format, out)
        }
        Action::Verify(place) => verify(place, out),
        Action::Repair(place) => repair(place, out),
        Action::Aside { place, remove, remove_all } => aside(place, remove, *remove_all, out),
        Action::Prune { place, before } => {
            let oldest = place.open()?.prune(*before)?;
            if place.json {
                return Ok(writeln!(out, "{}", json!({ "oldest": oldest }))?);
            }
            Ok(writeln!(out, "the oldest record is {oldest}")?)
        }
        Action::Cursors { place, set, remove } => cursors(place, set.as_deref(), remove.as_deref(), out),
    }
}

fn about(place: &Place, out: &mut impl Write) -> Result<()> {
    let journal = place.look()?;
    let (oldest, next, durable) = (journal.oldest(), journal.next_seq(), journal.durable());
    let cursors = journal.cursors();
    let front = journal.front().info();
    let set_aside = journal.set_aside()?;
    if place.json {
        let cursors: serde_json::Map<_, _> = cursors.into_iter().map(|(name, seq)| (name, json!(seq))).collect();
        let object = json!({
            "oldest": oldest, "next": next, "durable": durable, "cursors": cursors, "front_bytes": front.region_bytes,
            "has_front": journal.recovery().is_none(),
            "was_closed": journal.recovery().is_some_and(|found| found.was_closed),
            "participants": front.participants.iter().map(info::participant).collect::<Vec<_>>(), "set_aside": json_of(&set_aside),
        });
        return Ok(writeln!(out, "{object}")?);
    }
    writeln!(out, "records      {}, durable below {durable}", range(oldest, next))?;
    match journal.recovery() {
        None => {
            let is_left = front.participants.iter().all(|one| one.is_alive == Some(false));
            let left = if is_left {
                ", no appender lives: if nobody has it open, who opens it next goes on with it"
            } else {
                ""
            };
            writeln!(out, "front        {}{left}", size(front.region_bytes))?;
        }
        Some(found) if found.was_closed => writeln!(out, "closed       by the last process that had it open")?,
        Some(_) => writeln!(out, "not closed   who opens it to write recovers it, and makes all of that durable")?,
    }
    for (name, seq) in cursors {
        writeln!(out, "cursor       {} at {seq}, {} behind", text(name.as_bytes()), next.saturating_sub(seq))?;
    }
    for aside in set_aside {
        writeln!(out, "set aside    {}, {}", aside.file, size(aside.disk_bytes))?;
    }
    if journal.recovery().is_none() { Ok(info::table(&front.participants, out)?) } else { Ok(()) }
}

/// Records from `oldest` on, and before `end`.
fn range(oldest: u64, end: u64) -> String {
    if oldest < end { format!("{oldest} to {}", end - 1) } else { format!("none, the next is {end}") }
}

fn aside(place: &Place, remove: &[String], is_all: bool, out: &mut impl Write) -> Result<()> {
    let is_changed = is_all || !remove.is_empty();
    let journal = if is_changed { place.open()? } else { place.look()? };
    for file in remove {
        journal.remove_aside(file)?;
    }
    if is_all {
        for aside in journal.set_aside()? {
            journal.remove_aside(&aside.file)?;
        }
    }
    let left = journal.set_aside()?;
    if place.json {
        return Ok(writeln!(out, "{}", json_of(&left))?);
    }
    if left.is_empty() {
        return Ok(writeln!(out, "nothing is put aside")?);
    }
    let rows = left.into_iter().map(|aside| [aside.file, size(aside.disk_bytes)]);
    Ok(table::write(["file", "on disk"], rows, out)?)
}

fn json_of(set_aside: &[SetAside]) -> serde_json::Value {
    set_aside.iter().map(|aside| json!({ "file": aside.file, "disk_bytes": aside.disk_bytes })).collect()
}

fn dump(place: &Place, from: Option<u64>, to: u64, format: Format, out: &mut impl Write) -> Result<()> {
    let journal = place.look()?;
    let end = journal.next_seq().min(to);
    let mut reader = journal.reader(from.map_or(Start::Oldest, Start::At))?;
    while reader.position() < end {
        match reader.try_next() {
            Ok(Some(record)) if record.seq() < end => Copied::of_journal(&record, format)?.write(format, out)?,
            Ok(_) => break,
            Err(error @ (JournalError::Lagged { .. } | JournalError::Lost { .. })) => {
                // Best effort: there may be no standard error.
                let _ = writeln!(io::stderr(), "shmlog: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(out.flush()?)
}

fn verify(place: &Place, out: &mut impl Write) -> Result<()> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {msg}")?);
    let found = Journal::verify(&place.dir, &place.prefix, |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
        bar.set_message(progress.file.clone());
    });
    bar.finish_and_clear();
    let found = found?;
    if place.json {
        writeln!(out, "{}", as_json(&found))?;
    } else {
        let (records, files) = (count(found.records, "record"), count(found.files as u64, "file"));
        writeln!(out, "{records} in {files}, {}: {}", size(found.bytes), range(found.oldest, found.end))?;
        for (from, to) in &found.missing {
            writeln!(out, "missing since a repair: records {from} to {}", to.saturating_sub(1))?;
        }
        for problem in &found.problems {
            writeln!(out, "{problem}")?;
        }
    }
    out.flush()?;
    if found.problems.is_empty() { Ok(()) } else { bail!("{} found", count(found.problems.len() as u64, "problem")) }
}

fn as_json(found: &Verified) -> serde_json::Value {
    let problems: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
    json!({
        "files": found.files, "bytes": found.bytes, "records": found.records, "oldest": found.oldest, "end": found.end,
        "durable": found.durable, "missing": found.missing, "problems": problems,
    })
}

fn repair(place: &Place, out: &mut impl Write) -> Result<()> {
    let done = Journal::repair(&place.dir, &place.prefix)?;
    if place.json {
        let (lost, marks, aside) = (done.lost, done.marks, done.aside);
        let done = json!({ "lost": lost, "marks": marks, "aside": aside, "made_control": done.made_control });
        return Ok(writeln!(out, "{done}")?);
    }
    for (from, to) in &done.lost {
        writeln!(out, "records {from} to {} are gone", to.saturating_sub(1))?;
    }
    for file in &done.marks {
        writeln!(out, "{file} was damaged: records whose deletion can't be read are there again")?;
    }
    for file in &done.aside {
        writeln!(out, "put aside: {file}")?;
    }
    if done.made_control {
        writeln!(out, "the control file was made anew")?;
    }
    if done.lost.is_empty() && done.aside.is_empty() && !done.made_control {
        writeln!(out, "there was nothing to repair")?;
    }
    Ok(())
}

fn cursors(place: &Place, set: Option<&str>, remove: Option<&str>, out: &mut impl Write) -> Result<()> {
    let is_changed = set.is_some() || remove.is_some();
    let journal = if is_changed { place.open()? } else { place.look()? };
    if let Some(text) = set {
        let Some((name, Ok(seq))) = text.rsplit_once('=').map(|(name, seq)| (name, seq.parse())) else {
            bail!("{text:?} is not of the form NAME=SEQ");
        };
        let cursor = journal.cursor(name)?;
        cursor.set(seq)?;
        cursor.sync()?;
    }
    if let Some(name) = remove {
        if !journal.cursors().iter().any(|(known, _)| known == name) {
            bail!("there is no cursor {name:?}");
        }
        journal.cursor(name)?.remove()?;
    }
    let cursors = journal.cursors();
    if place.json {
        let all: serde_json::Map<_, _> = cursors.into_iter().map(|(name, seq)| (name, json!(seq))).collect();
        return Ok(writeln!(out, "{}", serde_json::Value::Object(all))?);
    }
    if cursors.is_empty() {
        return Ok(writeln!(out, "there are no cursors")?);
    }
    let next = journal.next_seq();
    let row =
        |(name, seq): (String, u64)| [text(name.as_bytes()), seq.to_string(), next.saturating_sub(seq).to_string()];
    Ok(table::write(["cursor", "record", "behind"], cursors.into_iter().map(row), out)?)
}
