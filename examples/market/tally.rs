//! Counts of the feed: messages and shares, by type and by symbol.

use crate::itch::{Body, Message};
use serde_json::{Map, Value, json};

/// What a process saw of the feed. Two processes that saw the same have equal tallies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// By type letter.
    by_type: [Count; 256],
    /// By stock locate, up to the largest one seen; 0 is for messages about the whole market.
    by_locate: Vec<SymbolTally>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    messages: u64,
    /// Executed, if the messages are executions; none of any other.
    shares: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SymbolTally {
    /// Known from the first directory entry or order that names it.
    symbol: Option<String>,
    messages: u64,
    executed_shares: u64,
    hidden_shares: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { by_type: [Count::default(); 256], by_locate: Vec::new() }
    }
}

impl Tally {
    pub fn record(&mut self, message: &Message) {
        let symbol = self.by_locate(message.locate);
        symbol.messages += 1;
        let mut shares_of_type = 0;
        match message.body {
            Body::Directory { stock } | Body::Add { stock, .. } => {
                symbol.symbol.get_or_insert_with(|| stock.to_string());
            }
            Body::Execute { shares, .. } | Body::ExecutePrice { shares, .. } => {
                shares_of_type = u64::from(shares);
                symbol.executed_shares += shares_of_type;
            }
            Body::Trade { shares, .. } => {
                shares_of_type = u64::from(shares);
                symbol.hidden_shares += shares_of_type;
            }
            _ => {}
        }
        let count = &mut self.by_type[usize::from(message.body.kind())];
        count.messages += 1;
        count.shares += shares_of_type;
    }

    #[must_use]
    pub fn messages(&self) -> u64 {
        self.by_type.iter().map(|count| count.messages).sum()
    }

    /// `{"messages", "by_type": {letter: n}, "shares_by_type": {letter: n}, "by_symbol":
    /// [{"locate", "symbol", "messages", "executed_shares", "hidden_shares"}], "executed_shares",
    /// "trade_P_shares"}`; what was never seen is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let shares = |kind: u8| self.by_type[usize::from(kind)].shares;
        json!({
            "messages": self.messages(),
            "by_type": self.by_type(|count| count.messages),
            "shares_by_type": self.by_type(|count| count.shares),
            "by_symbol": self.by_symbol(),
            "executed_shares": shares(b'E') + shares(b'C'),
            "trade_P_shares": shares(b'P'),
        })
    }

    fn by_type(&self, what: impl Fn(&Count) -> u64) -> Map<String, Value> {
        (b'\0'..=u8::MAX)
            .zip(&self.by_type)
            .map(|(kind, count)| (char::from(kind).to_string(), what(count)))
            .filter(|&(_, n)| n > 0)
            .map(|(kind, n)| (kind, n.into()))
            .collect()
    }

    fn by_symbol(&self) -> Vec<Value> {
        (0_u16..)
            .zip(&self.by_locate)
            .filter(|(_, symbol)| symbol.messages > 0)
            .map(|(locate, symbol)| {
                json!({
                    "locate": locate,
                    "symbol": symbol.symbol,
                    "messages": symbol.messages,
                    "executed_shares": symbol.executed_shares,
                    "hidden_shares": symbol.hidden_shares,
                })
            })
            .collect()
    }

    fn by_locate(&mut self, locate: u16) -> &mut SymbolTally {
        let locate = usize::from(locate);
        if locate >= self.by_locate.len() {
            self.by_locate.resize_with(locate + 1, SymbolTally::default);
        }
        &mut self.by_locate[locate]
    }
}

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
        let sum = |field: &str| by_symbol.iter().map(|entry| entry[field].as_u64().unwrap()).sum::<u64>();
        assert_eq!(sum("messages"), 20_000);
        assert_eq!(sum("executed_shares"), books.executed_shares());
        assert_eq!(json["trade_P_shares"], sum("hidden_shares"));
        assert_eq!(json["shares_by_type"]["P"], sum("hidden_shares"));
        assert_eq!(json["shares_by_type"].as_object().unwrap().keys().collect::<Vec<_>>(), ["C", "E", "P"]);
        assert_eq!((&by_symbol[0]["locate"], &by_symbol[0]["messages"]), (&json!(0), &json!(4)));
        assert_eq!(by_symbol.len(), 9);
        assert!(by_symbol[1..].iter().all(|entry| entry["symbol"].is_string()));
    }
}
