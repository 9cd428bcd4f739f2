//! `shmlog slots`.

use crate::escape::{hex, text};
use crate::table::{self, answer, number};
use crate::units::{moment, size};
use crate::{find, value};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use shmlog::{PinInfo, SlotInfo, Snapshot, SnapshotInfo};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which slots to show, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The directory of a named snapshot, or /proc/PID/fd/N of one that a process has open.
    snapshot: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Slots too that nothing has been published to.
    #[arg(long)]
    all: bool,
    /// The newest values too, in hexadecimal.
    #[arg(long)]
    value: bool,
}

/// Prints what the snapshot that `options` name says of itself and of its slots.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let snapshot = find::snapshot(&options.snapshot)?;
    let info = snapshot.info();
    let is_shown = |slot: &&SlotInfo| options.all || slot.version > 0;
    let shown: Vec<_> = info.slots.iter().filter(is_shown).collect();
    let allocated_bytes = allocated_bytes(&options.snapshot);
    if options.json {
        let values = options.value.then_some(&snapshot);
        let slots: Vec<_> = shown.iter().map(|slot| slot_object(&info, slot, values)).collect();
        writeln!(out, "{}", object(&info, snapshot.len(), allocated_bytes, slots))?;
        return Ok(out.flush()?);
    }
    for (what, value) in facts(&info, snapshot.len(), allocated_bytes) {
        writeln!(out, "{what:<12} {value}")?;
    }
    if !shown.is_empty() {
        table::write(SLOT_HEADINGS, shown.iter().map(|slot| slot_cells(&info, slot)), out)?;
    }
    if !info.readers.is_empty() {
        table::write(SEAT_HEADINGS, info.readers.iter().map(seat_cells), out)?;
    }
    if options.value {
        shown.iter().try_for_each(|slot| write_value(&snapshot, slot, out))?;
    }
    Ok(out.flush()?)
}

/// How much memory or disk the region at `path` takes.
fn allocated_bytes(path: &Path) -> Option<u64> {
    let file = fs::metadata(path).ok()?;
    let file = if file.is_dir() { fs::metadata(path.join("snapshot")).ok()? } else { file };
    Some(file.blocks().saturating_mul(512))
}

fn published(info: &SnapshotInfo) -> usize {
    info.slots.iter().filter(|slot| slot.version > 0).count()
}

fn facts(info: &SnapshotInfo, slots: usize, allocated_bytes: Option<u64>) -> Vec<(&'static str, String)> {
    let values = if info.is_fixed { "exactly" } else { "up to" };
    let allocated = allocated_bytes.map_or_else(|| "unknown".to_owned(), size);
    let growing = if info.is_sparse { ", more as values need it" } else { "" };
    let sealed = if info.is_write_sealed { "yes: only the process that made it can write" } else { "no" };
    let mut facts = vec![
        ("name", text(info.name.as_bytes())),
        ("id", format!("{:032x}", info.id)),
        ("region", size(info.region_bytes)),
        ("allocated", format!("{allocated}{growing}")),
        ("slots", format!("{slots} of {}, {} published", size(info.slot_bytes), published(info))),
        ("values", format!("{values} {}, {} buffers a slot", size(info.capacity_bytes), info.buffers)),
        ("sealed", sealed.to_owned()),
        ("created", moment(info.created_unix_ns)),
    ];
    let damaged = slots - info.slots.len();
    if damaged > 0 {
        facts.push(("damaged", format!("{damaged} slots can't be read: their writers broke the rules")));
    }
    if info.readers.is_empty() {
        facts.push(("seats", "none known".to_owned()));
    }
    facts
}

const SLOT_HEADINGS: [&str; 7] = ["slot", "name", "version", "as of", "bytes", "writer", "pinned by"];
const SEAT_HEADINGS: [&str; 5] = ["seat", "name", "pid", "alive", "pins slot"];

fn slot_name(slot: &SlotInfo) -> String {
    slot.name.as_ref().map_or_else(|| "-".to_owned(), |name| text(name.as_bytes()))
}

/// Who pins a value of this slot.
fn pins<'i>(info: &'i SnapshotInfo, slot: &SlotInfo) -> impl Iterator<Item = &'i PinInfo> {
    let index = slot.index as u64;
    info.readers.iter().filter(move |reader| reader.slot == Some(index))
}

fn slot_cells(info: &SnapshotInfo, slot: &SlotInfo) -> [String; 7] {
    let seats: Vec<_> = pins(info, slot).map(|pin| format!("seat {}", pin.who.slot)).collect();
    [
        slot.index.to_string(),
        slot_name(slot),
        slot.version.to_string(),
        number(slot.as_of),
        slot.len_bytes.to_string(),
        answer(slot.has_writer).to_owned(),
        if seats.is_empty() { "-".to_owned() } else { seats.join(", ") },
    ]
}

fn seat_cells(reader: &PinInfo) -> [String; 5] {
    [
        reader.who.slot.to_string(),
        text(reader.who.name().as_bytes()),
        reader.who.pid.to_string(),
        answer(reader.is_alive).to_owned(),
        number(reader.slot),
    ]
}

/// The newest value of a slot, which may be newer than its row in the table.
fn write_value(snapshot: &Snapshot, slot: &SlotInfo, out: &mut impl Write) -> io::Result<()> {
    let title = format!("\nslot {} {}", slot.index, slot_name(slot));
    match value::load(snapshot, slot.index) {
        Ok(None) => writeln!(out, "{title}: nothing published"),
        Ok(Some(loaded)) => {
            let (as_of, len) = (number(loaded.as_of), loaded.value.len());
            writeln!(out, "{title}: version {}, as of {as_of}, {len} bytes", loaded.version)?;
            value::dump(&loaded.value, out)
        }
        Err(error) => writeln!(out, "{title}: {error}"),
    }
}

fn object(info: &SnapshotInfo, slots: usize, allocated_bytes: Option<u64>, shown: Vec<Value>) -> Value {
    json!({
        "name": info.name,
        "id": format!("{:032x}", info.id),
        "region_bytes": info.region_bytes,
        "allocated_bytes": allocated_bytes,
        "is_sparse": info.is_sparse,
        "is_write_sealed": info.is_write_sealed,
        "capacity_bytes": info.capacity_bytes,
        "is_fixed": info.is_fixed,
        "buffers": info.buffers,
        "slot_bytes": info.slot_bytes,
        "created_unix_ns": info.created_unix_ns,
        "slot_count": slots,
        "published": published(info),
        "damaged": slots - info.slots.len(),
        "slots": shown,
        "seats": info.readers.iter().map(seat_object).collect::<Vec<_>>(),
    })
}

/// A slot; with `values`, its newest value too, and then everything as of that.
fn slot_object(info: &SnapshotInfo, slot: &SlotInfo, values: Option<&Snapshot>) -> Value {
    let mut object = json!({
        "index": slot.index,
        "name": slot.name,
        "version": slot.version,
        "as_of": slot.as_of,
        "len": slot.len_bytes,
        "writer": slot.has_writer,
        "pins": pins(info, slot).map(seat_object).collect::<Vec<_>>(),
    });
    match values.map(|snapshot| value::load(snapshot, slot.index)) {
        Some(Ok(Some(loaded))) => {
            object["version"] = loaded.version.into();
            object["as_of"] = loaded.as_of.into();
            object["len"] = loaded.value.len().into();
            object["hex"] = hex(&loaded.value).into();
        }
        Some(Err(error)) => object["error"] = error.to_string().into(),
        Some(Ok(None)) | None => {}
    }
    object
}

fn seat_object(reader: &PinInfo) -> Value {
    json!({
        "seat": reader.who.slot,
        "name": reader.who.name(),
        "pid": reader.who.pid,
        "alive": reader.is_alive,
        "slot": reader.slot,
    })
}
