//! A small deterministic source of randomness: integers only, the same on every machine.

/// `SplitMix64`: G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014; constants as in S. Vigna's public-domain `splitmix64.c`.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`, by the high half of a product: the bias is below n / 2^64. 0 for 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next_u64() as u128 * n as u128) >> 64) as u64
    }

    /// Uniform in `0..n`; 0 for 0.
    #[expect(clippy::cast_possible_truncation, reason = "below n")]
    pub const fn below_u32(&mut self, n: u32) -> u32 {
        self.below(n as u64) as u32
    }

    /// Uniform in `0..length`, a place in a slice of that length; 0 for 0.
    #[expect(clippy::cast_possible_truncation, reason = "below length")]
    pub const fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Exponential with this mean, but for two liberties: the logarithm is drawn with straight
    /// lines between powers of two, and nothing exceeds 43 means.
    #[expect(clippy::cast_possible_truncation, reason = "43 means fit or saturate")]
    pub const fn exponential(&mut self, mean: u64) -> u64 {
        let draw = self.next_u64() | 1;
        let halvings = draw.leading_zeros();
        let fraction = (draw << halvings) << 1 >> 48;
        // -log2 of the draw as a fraction of 2^64, in 16.16 bits; its mean is 3/2.
        let minus_log2 = ((halvings as u64 + 1) << 16) - fraction;
        let scaled = (mean as u128 * minus_log2 as u128 * TWO_THIRDS) >> 32;
        if scaled > u64::MAX as u128 { u64::MAX } else { scaled as u64 }
    }
}

/// In 0.16 bits.
const TWO_THIRDS: u128 = 43_691;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_gives_the_published_sequence() {
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
        ];
        for value in expected {
            assert_eq!(random.next_u64(), value);
        }
    }

    #[test]
    fn below_reaches_every_value_and_none_beyond() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[usize::try_from(random.below(7)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn exponential_has_its_mean_and_its_tail() {
        let mut random = Random::new(2);
        let draws: Vec<_> = (0..100_000).map(|_| random.exponential(1000)).collect();
        let mean = draws.iter().sum::<u64>() / 100_000;
        assert!((980..1020).contains(&mean), "mean {mean}");
        let beyond = draws.iter().filter(|&&draw| draw > 3000).count();
        assert!((4_000..6_000).contains(&beyond), "{beyond} beyond 3 means");
        assert!(random.exponential(u64::MAX) > 0);
    }
}
