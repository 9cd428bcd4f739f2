//! What came of the board of prices, and of what else its owner published.

use super::Report;
use crate::args::Role;
use crate::crew::{Fate, Outcome};
use serde_json::{Value, json};

impl Report {
    /// What the owner says of what it published.
    pub(super) fn published_by_owner(&self) -> Option<&Value> {
        done(self.worker(self.owner)?)?.get("owner")
    }

    /// What the watching worker says of what it saw.
    pub(super) fn seen_by_watch(&self) -> Option<&Value> {
        done(self.worker(Role::Watch)?)
    }

    /// Whether the watching worker has in the end seen the prices that the owner has.
    pub(super) fn watch_equal(&self) -> Option<bool> {
        Some(self.seen_by_watch()?["tops_digest"] == self.published_by_owner()?["tops_digest"])
    }

    pub(super) fn watch_json(&self) -> Value {
        let seen = self.seen_by_watch().unwrap_or(&Value::Null);
        json!({ "loads": seen["loads"], "symbols": seen["symbols"], "equal": self.watch_equal() })
    }

    pub(super) fn owner_json(&self) -> Value {
        let published = self.published_by_owner().unwrap_or(&Value::Null);
        json!({
            "role": self.owner.to_string(),
            "tops": published["tops"],
            "states": published["states"],
            "states_end": published["states_end"],
        })
    }
}

fn done(worker: &Outcome) -> Option<&Value> {
    worker.result.as_ref().filter(|_| worker.fate == Fate::Done)
}
