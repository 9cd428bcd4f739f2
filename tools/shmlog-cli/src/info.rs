//! `shmlog info`.

use crate::table::{self, answer, number};
use crate::units::{moment, size};
use crate::{escape, find};
use anyhow::Result;
use serde_json::{Value, json};
use shmlog::{Backing, Fencing, LogInfo, ParticipantInfo, Retention};
use std::io::{self, Write};
use std::path::Path;

/// Prints what the log at `path` says of itself.
pub(crate) fn run(path: &Path, is_json: bool, out: &mut impl Write) -> Result<()> {
    let info = find::log(path)?.info();
    if is_json {
        writeln!(out, "{}", object(&info))?;
    } else {
        for (what, value) in facts(&info) {
            writeln!(out, "{what:<12} {value}")?;
        }
        table(&info.participants, out)?;
    }
    Ok(out.flush()?)
}

fn retention(info: &LogInfo) -> &'static str {
    match info.retention {
        Retention::Keep => "keep",
        Retention::Gated => "gated",
        Retention::Overwrite => "overwrite",
    }
}

fn fencing(info: &LogInfo) -> &'static str {
    match info.fencing {
        Fencing::Asymmetric => "asymmetric",
        Fencing::Portable => "portable",
    }
}

fn facts(info: &LogInfo) -> Vec<(&'static str, String)> {
    let seals = if info.seals.is_empty() { "none".to_owned() } else { info.seals.join(", ") };
    let retained = info.next_seq.saturating_sub(info.oldest_seq);
    vec![
        ("name", escape::text(info.name.as_bytes())),
        ("id", format!("{:032x}", info.id)),
        ("backing", info.backing.to_string()),
        ("region", size(info.region_bytes)),
        ("windows", format!("{} of {}", info.windows, size(info.window_bytes))),
        ("entries", format!("{} a segment", info.entries)),
        ("max record", size(info.max_record_bytes as u64)),
        ("retention", retention(info).to_owned()),
        ("fencing", fencing(info).to_owned()),
        ("created", moment(info.created_unix_ns)),
        ("seals", seals),
        ("segments", format!("head {}, active {}", info.head, info.active)),
        ("records", format!("oldest {}, next {}: {retained} retained", info.oldest_seq, info.next_seq)),
        ("closed", if info.is_closed { "yes" } else { "no" }.to_owned()),
    ]
}

const HEADINGS: [&str; 8] = ["slot", "role", "name", "pid", "alive", "position", "lag", "holds segment"];

/// Who takes part, as far as is known.
pub(crate) fn table(participants: &[ParticipantInfo], out: &mut impl Write) -> io::Result<()> {
    if participants.is_empty() {
        return writeln!(out, "{:<12} none known", "participants");
    }
    table::write(HEADINGS, participants.iter().map(cells), out)
}

fn cells(participant: &ParticipantInfo) -> [String; 8] {
    [
        participant.who.slot.to_string(),
        role(participant).unwrap_or_else(|| "-".to_owned()),
        escape::text(participant.who.name().as_bytes()),
        participant.who.pid.to_string(),
        answer(participant.is_alive).to_owned(),
        number(participant.position),
        number(participant.lag),
        number(participant.holds_segment),
    ]
}

fn role(participant: &ParticipantInfo) -> Option<String> {
    participant.who.role.map(|role| role.to_string())
}

fn object(info: &LogInfo) -> Value {
    let (backing, page_bytes) = match info.backing {
        Backing::Memfd => ("memfd", None),
        Backing::MemfdHuge { page_bytes } => ("memfd", Some(page_bytes)),
        Backing::HugetlbfsFile { page_bytes } => ("file", Some(page_bytes)),
        Backing::File => ("file", None),
        _ => ("other", None),
    };
    json!({
        "name": info.name,
        "id": format!("{:032x}", info.id),
        "backing": backing,
        "huge_page_bytes": page_bytes,
        "region_bytes": info.region_bytes,
        "windows": info.windows,
        "window_bytes": info.window_bytes,
        "entries": info.entries,
        "max_record_bytes": info.max_record_bytes,
        "retention": retention(info),
        "fencing": fencing(info),
        "created_unix_ns": info.created_unix_ns,
        "seals": info.seals,
        "head": info.head,
        "active": info.active,
        "oldest_seq": info.oldest_seq,
        "next_seq": info.next_seq,
        "is_closed": info.is_closed,
        "participants": info.participants.iter().map(participant).collect::<Vec<_>>(),
    })
}

/// One of them as JSON.
pub(crate) fn participant(participant: &ParticipantInfo) -> Value {
    json!({
        "slot": participant.who.slot,
        "role": role(participant),
        "name": participant.who.name(),
        "pid": participant.who.pid,
        "alive": participant.is_alive,
        "position": participant.position,
        "lag": participant.lag,
        "holds_segment": participant.holds_segment,
    })
}
