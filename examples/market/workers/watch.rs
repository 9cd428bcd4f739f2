//! The worker that looks at the board of prices, and at nothing else.

use super::parent::Parent;
use super::source::NAP;
use crate::board::{self, Top};
use anyhow::Result;
use serde_json::{Value, json};
use shmlog::{Snapshot, SnapshotReader};

/// Looks until the parent says that all is there, then once more.
pub fn run(tops: Snapshot, mut parent: Parent) -> Result<()> {
    let mut watch = Watch::new(tops);
    parent.joined(&json!({ "slots": watch.tops.len() }))?;
    while !parent.is_at_end() {
        if watch.look()? == 0 {
            std::thread::sleep(NAP);
        }
    }
    watch.look()?;
    parent.finish(&watch.to_json(), &format!("loaded {} prices", watch.loads));
    Ok(())
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    tops: Snapshot,
    nameless: Vec<usize>,
    symbols: Vec<Symbol>,
    /// How many loads brought something.
    loads: u64,
}

#[derive(Debug)]
struct Symbol {
    name: String,
    slot: SnapshotReader,
    top: Top,
}

impl Watch {
    pub fn new(tops: Snapshot) -> Self {
        let nameless = (0..tops.len()).collect();
        Self { tops, nameless, symbols: Vec::new(), loads: 0 }
    }

    /// Loads what is new. Returns how much that was.
    pub fn look(&mut self) -> Result<u64> {
        self.find_symbols()?;
        let before = self.loads;
        for symbol in &mut self.symbols {
            if let Some(newer) = symbol.slot.load_newer()? {
                symbol.top = newer.value;
                self.loads += 1;
            }
        }
        Ok(self.loads - before)
    }

    /// Finds the slots that have got their names.
    fn find_symbols(&mut self) -> Result<()> {
        let mut named = Vec::new();
        self.nameless.retain(|&index| match self.tops.name(index) {
            Some(name) => {
                named.push((index, name));
                false
            }
            None => true,
        });
        for (index, name) in named {
            self.symbols.push(Symbol { name, slot: self.tops.reader_of(index)?, top: Top::default() });
        }
        Ok(())
    }

    /// `{"loads", "symbols", "tops_digest"}`
    pub fn to_json(&self) -> Value {
        let mut shown: Vec<_> = self.symbols.iter().map(|it| (it.slot.index(), it.name.as_str(), it.top)).collect();
        shown.sort_unstable_by_key(|&(index, ..)| index);
        json!({ "loads": self.loads, "symbols": shown.len(), "tops_digest": board::digest(shown) })
    }
}
