//! Counts of the feed: messages by type and by symbol, shares executed and traded.

use crate::itch::{Body, Message};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fmt;

/// What a process saw of the feed. Two processes that saw the same have equal tallies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// By type letter.
    by_type: [u64; 256],
    /// By stock locate, up to the largest one seen; 0 is for messages about the whole market.
    by_locate: Vec<SymbolTally>,
    executed_shares: u64,
    trade_p_shares: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SymbolTally {
    /// Known from the first directory entry or order that names it.
    symbol: Option<String>,
    messages: u64,
}

/// A JSON value is not a tally: the named field is missing or not of the right kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATally {
    pub field: &'static str,
}

impl Default for Tally {
    fn default() -> Self {
        Self { by_type: [0; 256], by_locate: Vec::new(), executed_shares: 0, trade_p_shares: 0 }
    }
}

impl Tally {
    pub fn record(&mut self, message: &Message) {
        self.by_type[usize::from(message.body.kind())] += 1;
        let entry = self.by_locate(message.locate);
        entry.messages += 1;
        match message.body {
            Body::Directory { stock } | Body::Add { stock, .. } => {
                entry.symbol.get_or_insert_with(|| stock.to_string());
            }
            Body::Execute { shares, .. } | Body::ExecutePrice { shares, .. } => {
                self.executed_shares += u64::from(shares);
            }
            Body::Trade { shares, .. } => self.trade_p_shares += u64::from(shares),
            _ => {}
        }
    }

    #[must_use]
    pub fn messages(&self) -> u64 {
        self.by_type.iter().sum()
    }

    /// `{"messages", "by_type": {letter: n}, "by_symbol": [{"locate", "symbol", "messages"}],
    /// "executed_shares", "trade_P_shares"}`; what was never seen is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let by_type: Map<_, _> = (b'\0'..=u8::MAX)
            .zip(self.by_type)
            .filter(|&(_, messages)| messages > 0)
            .map(|(kind, messages)| (char::from(kind).to_string(), messages.into()))
            .collect();
        let by_symbol: Vec<_> = (0_u16..)
            .zip(&self.by_locate)
            .filter(|(_, entry)| entry.messages > 0)
            .map(|(locate, entry)| {
                json!({
                    "locate": locate,
                    "symbol": entry.symbol,
                    "messages": entry.messages,
                })
            })
            .collect();
        json!({
            "messages": self.messages(),
            "by_type": by_type,
            "by_symbol": by_symbol,
            "executed_shares": self.executed_shares,
            "trade_P_shares": self.trade_p_shares,
        })
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// A field is missing or of the wrong kind, or the messages by type don't add up.
    pub fn from_json(value: &Value) -> Result<Self, NotATally> {
        let mut tally = Self {
            executed_shares: count(value, "executed_shares")?,
            trade_p_shares: count(value, "trade_P_shares")?,
            ..Self::default()
        };
        let field = "by_type";
        let by_type = value[field].as_object().ok_or(NotATally { field })?;
        for (kind, messages) in by_type {
            let &[kind] = kind.as_bytes() else {
                return Err(NotATally { field });
            };
            tally.by_type[usize::from(kind)] = messages.as_u64().ok_or(NotATally { field })?;
        }
        let field = "by_symbol";
        for entry in value[field].as_array().ok_or(NotATally { field })? {
            let locate = u16::try_from(count(entry, "locate")?);
            *tally.by_locate(locate.map_err(|_| NotATally { field: "locate" })?) = SymbolTally {
                symbol: entry["symbol"].as_str().map(str::to_owned),
                messages: count(entry, "messages")?,
            };
        }
        let by_type = tally.by_type.iter();
        let sum = by_type.fold(0_u64, |sum, &messages| sum.saturating_add(messages));
        if sum != count(value, "messages")? {
            return Err(NotATally { field: "messages" });
        }
        Ok(tally)
    }

    fn by_locate(&mut self, locate: u16) -> &mut SymbolTally {
        let locate = usize::from(locate);
        if locate >= self.by_locate.len() {
            self.by_locate.resize_with(locate + 1, SymbolTally::default);
        }
        &mut self.by_locate[locate]
    }
}

fn count(value: &Value, field: &'static str) -> Result<u64, NotATally> {
    value[field].as_u64().ok_or(NotATally { field })
}

impl fmt::Display for NotATally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a tally: '{}' is missing or wrong", self.field)
    }
}

impl Error for NotATally {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Books;
    use crate::generator::Generator;
    use crate::itch::MESSAGE_MAX_BYTES;

    fn tally(seed: u64, messages: u64) -> (Tally, Books) {
        let mut generator = Generator::new(seed, messages);
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let (mut tally, mut books) = (Tally::default(), Books::default());
        while let Some(bytes) = generator.next_into(&mut buffer) {
            let message = Message::decode(bytes).unwrap();
            tally.record(&message);
            books.apply(&message);
        }
        (tally, books)
    }

    #[test]
    fn every_message_is_counted_once_by_type_and_once_by_symbol() {
        let (tally, books) = tally(1, 20_000);
        let json = tally.to_json();
        assert_eq!(json["messages"], 20_000);
        assert_eq!(json["by_type"]["R"], 8);
        assert_eq!(json["by_type"]["S"], 4);
        assert_eq!(json["executed_shares"], books.executed_shares());
        let by_symbol = json["by_symbol"].as_array().unwrap();
        let sum: u64 = by_symbol.iter().map(|entry| entry["messages"].as_u64().unwrap()).sum();
        assert_eq!(sum, 20_000);
        assert_eq!(by_symbol[0], json!({ "locate": 0, "symbol": null, "messages": 4 }));
        assert_eq!(by_symbol.len(), 9);
        assert!(by_symbol[1..].iter().all(|entry| entry["symbol"].is_string()));
    }

    #[test]
    fn json_keeps_everything() {
        for messages in [0, 1, 5, 3000] {
            let (tally, _) = tally(2, messages);
            let text = tally.to_json().to_string();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(Tally::from_json(&value), Ok(tally));
        }
    }

    #[test]
    fn json_of_another_shape_is_refused_by_field() {
        let (tally, _) = tally(3, 100);
        let sound = tally.to_json();
        let names = |value: &Value| Tally::from_json(value).unwrap_err().field;
        assert_eq!(names(&Value::Null), "executed_shares");
        for field in ["messages", "by_type", "by_symbol", "executed_shares", "trade_P_shares"] {
            let mut value = sound.clone();
            value[field] = json!(-1);
            assert_eq!(names(&value), field);
        }
        let mut value = sound.clone();
        value["by_symbol"][1]["locate"] = json!(65_536);
        assert_eq!(names(&value), "locate");
        value = sound.clone();
        value["by_type"]["too long"] = json!(1);
        assert_eq!(names(&value), "by_type");
        value = sound;
        value["messages"] = json!(101);
        assert_eq!(names(&value), "messages");
    }
}
