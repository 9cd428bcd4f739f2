//! [`Message`] to wire bytes.

use super::{Body, MESSAGE_MAX_BYTES, Message, Side, Stock};

/// What follows the stock in a directory entry: an ordinary share, traded in lots of 100.
const ORDINARY_SHARE: &[u8; 20] = b"QN\0\0\0\x64NCZ PNN1N\0\0\0\0N";

impl Message {
    /// Writes the message to the front of `buffer` and returns that part of it.
    ///
    /// Decoding the result gives the message back. The attributes of a directory entry are not
    /// part of [`Body`]: those of an ordinary share are written. `None` for [`Body::Other`],
    /// which keeps too little to be written again.
    #[must_use]
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MESSAGE_MAX_BYTES]) -> Option<&'b [u8]> {
        let mut wire = Wire { buffer, length_bytes: 0 };
        wire.put([self.body.kind()]);
        wire.put(self.locate.to_be_bytes());
        wire.put(self.tracking.to_be_bytes());
        let [_, _, timestamp @ ..] = self.timestamp_ns.to_be_bytes();
        wire.put::<6>(timestamp);
        wire.put_body(&self.body)?;
        let Wire { buffer, length_bytes } = wire;
        Some(&buffer[..length_bytes])
    }
}

struct Wire<'b> {
    buffer: &'b mut [u8; MESSAGE_MAX_BYTES],
    length_bytes: usize,
}

impl Wire<'_> {
    fn put<const N: usize>(&mut self, field: [u8; N]) {
        let end = self.length_bytes + N;
        self.buffer[self.length_bytes..end].copy_from_slice(&field);
        self.length_bytes = end;
    }

    fn put_body(&mut self, body: &Body) -> Option<()> {
        match *body {
            Body::SystemEvent { event } => self.put([event]),
            Body::Directory { stock } => {
                self.put(stock.0);
                self.put(*ORDINARY_SHARE);
            }
            Body::Add { reference, side, shares, stock, price, attribution } => {
                self.put_order(reference, side, shares, stock, price);
                if let Some(participant) = attribution {
                    self.put(participant);
                }
            }
            Body::Execute { reference, shares, match_number } => self.put_execution(reference, shares, match_number),
            Body::ExecutePrice { reference, shares, match_number, printable, price } => {
                self.put_execution(reference, shares, match_number);
                self.put([if printable { b'Y' } else { b'N' }]);
                self.put(price.to_be_bytes());
            }
            Body::Cancel { reference, shares } => {
                self.put(reference.to_be_bytes());
                self.put(shares.to_be_bytes());
            }
            Body::Delete { reference } => self.put(reference.to_be_bytes()),
            Body::Replace { reference, new_reference, shares, price } => {
                self.put(reference.to_be_bytes());
                self.put(new_reference.to_be_bytes());
                self.put(shares.to_be_bytes());
                self.put(price.to_be_bytes());
            }
            Body::Trade { reference, side, shares, stock, price, match_number } => {
                self.put_order(reference, side, shares, stock, price);
                self.put(match_number.to_be_bytes());
            }
            Body::Other { .. } => return None,
        }
        Some(())
    }

    fn put_order(&mut self, reference: u64, side: Side, shares: u32, stock: Stock, price: u32) {
        self.put(reference.to_be_bytes());
        self.put([side.letter()]);
        self.put(shares.to_be_bytes());
        self.put(stock.0);
        self.put(price.to_be_bytes());
    }

    fn put_execution(&mut self, reference: u64, shares: u32, match_number: u64) {
        self.put(reference.to_be_bytes());
        self.put(shares.to_be_bytes());
        self.put(match_number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::random::Random;
    use crate::itch::length_of;

    /// Any bytes that decode to something with an encoder are written again as they were.
    #[test]
    fn decoding_and_encoding_gives_the_same_bytes() {
        let mut random = Random::new(11);
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        for kind in *b"SAFECXDUP" {
            for round in 0..500 {
                let mut bytes: Vec<u8> =
                    (0..length_of(kind).unwrap()).map(|_| random.next_u64().to_be_bytes()[0]).collect();
                bytes[0] = kind;
                match kind {
                    b'A' | b'F' | b'P' => bytes[19] = b"BS"[round % 2],
                    b'C' => bytes[31] = b"YN"[round % 2],
                    _ => {}
                }
                let message = Message::decode(&bytes).unwrap();
                assert_eq!(message.encode(&mut buffer), Some(bytes.as_slice()));
            }
        }
    }

    #[test]
    fn directory_survives_encoding() {
        let message = Message {
            locate: 8,
            tracking: 0,
            timestamp_ns: 11_072_057_543_747,
            body: Body::Directory { stock: Stock::new("ZVZZT") },
        };
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let bytes = message.encode(&mut buffer).unwrap();
        assert_eq!(bytes.len(), 39);
        assert_eq!(bytes[21..25], 100_u32.to_be_bytes());
        assert_eq!(Message::decode(bytes), Ok(message));
    }

    #[test]
    fn what_was_not_kept_is_not_encoded() {
        let message =
            Message { locate: 0, tracking: 0, timestamp_ns: 1, body: Body::Other { kind: b'W', stock: None } };
        assert_eq!(message.encode(&mut [0; MESSAGE_MAX_BYTES]), None);
    }
}
