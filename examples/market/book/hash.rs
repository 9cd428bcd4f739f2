//! Two hashes: a fast one that places references in the table, and a stable one that compares books.

use std::hash::Hasher;

/// Multiplies by the golden ratio and folds the product, so that both ends of the hash depend on
/// many bits of the reference. Not proof against references chosen to collide.
#[derive(Debug, Default)]
pub struct ReferenceHasher(u64);

const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for ReferenceHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv1a(self.0, bytes);
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the two halves")]
    fn write_u64(&mut self, reference: u64) {
        let product = u128::from(reference) * u128::from(GOLDEN_RATIO);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The digest of nothing.
pub const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// 64-bit FNV-1a (Fowler, Noll, Vo), continued from `digest`.
pub fn fnv1a(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |digest, &byte| (digest ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn fnv1a_gives_the_published_values() {
        let digest = |text: &str| fnv1a(FNV_OFFSET_BASIS, text.as_bytes());
        assert_eq!(digest(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest("foobar"), 0x8594_4171_f739_67e8);
    }

    /// The table takes its buckets from the low bits and its tags from the high ones.
    #[test]
    fn neighbouring_references_differ_at_both_ends_of_the_hash() {
        for step in [1, 2, 1 << 16, 1 << 32, 1 << 48] {
            let hashes = (0..1024).map(|n| {
                let mut hasher = ReferenceHasher::default();
                hasher.write_u64(n * step);
                hasher.finish()
            });
            let (low, high): (HashSet<_>, HashSet<_>) = hashes.map(|hash| (hash % 1024, hash >> 57)).unzip();
            assert!(low.len() > 512, "step {step}: {} buckets", low.len());
            assert!(high.len() > 100, "step {step}: {} tags", high.len());
        }
    }
}
