//! What came of recording the feed.

use super::Report;
use crate::crew::Fate;
use crate::recorder::{Life, Recording};
use anyhow::{Result, bail};
use indicatif::HumanCount;
use serde_json::{Value, json};
use std::path::PathBuf;

impl Recording {
    /// Each time that the recorder was killed, and what was there when it came back.
    fn kills(&self) -> impl Iterator<Item = (&Life, &Life)> {
        self.lives.iter().zip(self.lives.iter().skip(1))
    }

    /// Messages on disk, as it was said in the end.
    pub(super) fn durable(&self) -> u64 {
        self.lives.last().map_or(0, |life| life.acknowledged)
    }

    /// Whether all was recorded, and nothing that was said to be durable was ever lost.
    pub(super) fn verdict(&self) -> Result<()> {
        for (killed, next) in self.kills() {
            if let Some(found) = next.found().filter(|&found| found < killed.acknowledged) {
                bail!("THE JOURNAL LOST messages {found} to {}, which were durable", killed.acknowledged - 1);
            }
        }
        match self.lives.last().map(|life| &life.fate) {
            Some(Fate::Done) if self.is_equal => Ok(()),
            Some(Fate::Done) => bail!("the journal is not what was published"),
            Some(other) => bail!("the recorder: {other}"),
            None => bail!("there was no recorder"),
        }
    }

    fn to_json(&self) -> Value {
        let kill = |(killed, next): (&Life, &Life)| {
            json!({
                "durable": killed.acknowledged,
                "recovered": next.found(),
                "recovery": next.joined.as_ref().map(|joined| &joined["recovery"]),
            })
        };
        json!({
            "dir": self.dir.display().to_string(),
            "durable": self.durable(),
            "equal": self.is_equal,
            "kills": self.kills().map(kill).collect::<Vec<_>>(),
            "outcome": self.lives.last().map(|life| life.fate.to_string()),
        })
    }

    /// Lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let (durable, dir) = (HumanCount(self.durable()), self.dir.display());
        let same = if self.is_equal { "just as published" } else { "NOT as published" };
        let mut lines = vec![format!("{durable} messages are durable in {dir}, {same}")];
        for (killed, next) in self.kills() {
            let durable = HumanCount(killed.acknowledged);
            let found = match next.found() {
                Some(found) => format!("{} were there when it came back", HumanCount(found)),
                None => "it did not come back".to_owned(),
            };
            lines.push(format!("  the recorder was killed when it had said that {durable} are; {found}"));
        }
        lines
    }
}

impl Report {
    pub(super) fn recording_json(&self) -> Value {
        self.recording.as_ref().map_or(Value::Null, Recording::to_json)
    }

    pub(super) fn replay_json(&self) -> Value {
        let replay = |dir: &PathBuf| json!({ "dir": dir.display().to_string(), "messages": self.published.messages });
        self.replayed.as_ref().map_or(Value::Null, replay)
    }
}
