//! What came of the worker that joined late.

use super::Report;
use crate::args::Role;
use crate::crew::{Fate, Outcome};
use serde_json::{Value, json};

impl Report {
    /// Whether the late worker has the same books as one that was there from the start.
    pub(super) fn late_state_equal(&self) -> Option<bool> {
        let late = self.whole(self.late()?)?;
        let other = self.first_whole(|role| matches!(role, Role::Book(_)))?;
        Some(["digest", "unknown_refs", "executed_shares"].into_iter().all(|field| late[field] == other[field]))
    }

    /// Why the late worker's books can't be compared, and why it did not restore any.
    pub(super) fn late_note(&self) -> Option<String> {
        let late = self.late()?;
        let joined = late.joined.as_ref().unwrap_or(&Value::Null);
        let incomparable = match late.fate {
            Fate::Killed { .. } | Fate::Failed { .. } => Some("not comparable: it did not end"),
            Fate::Done if late.read_before() != joined["from_seq"].as_u64() => {
                Some("not comparable: record 0 was gone, it joined at the oldest")
            }
            Fate::Done if self.whole(late).is_none() => Some("not comparable: it missed records"),
            Fate::Done if self.late_state_equal().is_none() => Some("not comparable: no other books of the whole feed"),
            Fate::Done => None,
        };
        let unrestored = joined["note"].as_str().map(|why| format!("nothing was restored: {why}"));
        let notes: Vec<_> = incomparable.map(str::to_owned).into_iter().chain(unrestored).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    pub(super) fn late_json(&self) -> Value {
        let null = Value::Null;
        let late = self.late();
        let joined = late.and_then(|late| late.joined.as_ref()).unwrap_or(&null);
        let result = late.and_then(|late| late.result.as_ref()).unwrap_or(&null);
        json!({
            "joined_at_seq": joined["joined_at_seq"],
            "snapshot_as_of": joined["snapshot_as_of"],
            "from_seq": joined["from_seq"],
            "replayed": result["records"],
            "state_equal": self.late_state_equal(),
            "note": self.late_note(),
        })
    }

    pub(super) fn late(&self) -> Option<&Outcome> {
        self.worker(Role::Late)
    }
}

impl Outcome {
    /// How many messages were in what it began with.
    pub(super) fn read_before(&self) -> Option<u64> {
        let as_of = self.joined.as_ref()?["snapshot_as_of"].as_u64();
        Some(as_of.map_or(0, |seq| seq + 1))
    }
}
