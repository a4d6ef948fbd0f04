//! Numbers from a seed, the same in each run, for tests and random programs (splitmix64, Steele, Lea, Flood 2014).

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: i64) -> i64 {
        (self.next() % end as u64) as i64
    }

    pub fn within(&mut self, first: i64, last: i64) -> i64 {
        first + self.below(last - first + 1)
    }
}
