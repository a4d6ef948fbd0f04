//! What a figure is bound by: the least of what the parts of a machine could do if each had nothing else to wait for.
//!
//! A lookup is 918 steps, each of which takes two polynomials to the Fourier domain (1024 complex numbers), multiplies them by
//! 2 × 2 of the key there, and takes two back; a keyswitch before it reads 30 MB of key, and the steps read 60 MB.

use kernels::cpu::Peaks;
use kernels::measure::{SUMS, Shape};

const STEPS: f64 = 918.0;
/// Words of a ciphertext.
const WORDS: f64 = 2049.0;
/// Of the key that a lookup reads, in the form that is computed with: 918 · 4 polynomials of 16 KiB, and 2048 · 4 small
/// ciphertexts of 919 words of 32 bits.
const BOOTSTRAP_KEY_BYTES: f64 = STEPS * 4.0 * 16_384.0;
const KEYSWITCH_KEY_BYTES: f64 = 2048.0 * 4.0 * 919.0 * 4.0;
const KEY_BYTES: f64 = BOOTSTRAP_KEY_BYTES + KEYSWITCH_KEY_BYTES;
/// The fewest fused multiply-adds that a Fourier transform of 2^k complex numbers is known to take are 8/3 · k · 2^k (Linzer and
/// Feig, 1993); a complex product that is added takes four. Rounding and decomposition, which no processor is free of, are not
/// in it: the ceiling is above what can be had.
const FUSED_A_LOOKUP: f64 = STEPS * (4.0 * 8.0 / 3.0 * 10.0 * 1024.0 + 4.0 * 4.0 * 1024.0);
/// Of a GPU all of it goes through the pipe for `f64`, with what converts and rounds.
const F64_A_LOOKUP: f64 = 154e6;
/// What goes through shared memory, if each transform exchanges its numbers between threads once: those, and the running
/// accumulators.
const SHARED_BYTES_A_LOOKUP: f64 = 226e6;
/// By exact integers (two primes of 31 bits) on the card of [`CARDS`] that is named first.
const INTEGER_LOOKUPS: f64 = 23_000.0;

#[derive(Clone, Debug)]
pub(super) struct Ceiling {
    pub name: String,
    pub per_second: f64,
}

impl Ceiling {
    fn new(name: impl Into<String>, per_second: f64) -> Self {
        Self {
            name: name.into(),
            per_second,
        }
    }
}

/// A card whose limits are published.
struct Card {
    /// In the device's own name.
    name: &'static str,
    multiprocessors: f64,
    hertz: f64,
    memory_bytes: f64,
    cache_bytes: f64,
    bus_bytes: f64,
}

/// The first whose name is in the device's.
const CARDS: [Card; 3] = [
    Card {
        name: "H200",
        multiprocessors: 132.0,
        hertz: 1.755e9,
        memory_bytes: 4.8e12,
        cache_bytes: 5.5e12,
        bus_bytes: 63e9,
    },
    Card {
        name: "H100 PCIe",
        multiprocessors: 114.0,
        hertz: 1.755e9,
        memory_bytes: 2.0e12,
        cache_bytes: 4.7e12,
        bus_bytes: 63e9,
    },
    Card {
        name: "H100",
        multiprocessors: 132.0,
        hertz: 1.755e9,
        memory_bytes: 3.35e12,
        cache_bytes: 5.5e12,
        bus_bytes: 63e9,
    },
];
/// Of a multiprocessor of these, a cycle: `f64` operations, and bytes of shared memory.
const F64_A_CYCLE: f64 = 64.0;
const SHARED_BYTES_A_CYCLE: f64 = 128.0;

impl Card {
    fn lookups(&self, shape: Shape, integers: bool) -> Ceiling {
        let (batch, keys) = (shape.batch as f64, shape.keys as f64);
        // A ciphertext is on one multiprocessor.
        let busy = self.multiprocessors.min(batch);
        let cycles = busy * self.hertz;
        let first = &CARDS[0];
        let compute = match integers {
            true => Ceiling::new(
                "32-bit integers, two primes",
                INTEGER_LOOKUPS * cycles / (first.multiprocessors * first.hertz),
            ),
            false => Ceiling::new("FP64 pipes", cycles * F64_A_CYCLE / F64_A_LOOKUP),
        };
        let shared = Ceiling::new(
            "shared memory, one exchange",
            cycles * SHARED_BYTES_A_CYCLE / SHARED_BYTES_A_LOOKUP,
        );
        // Two ciphertexts on a multiprocessor share what they read of a key.
        let sharing = if shape.batch >= 2 * shape.keys {
            2.0
        } else {
            1.0
        };
        let cache = Ceiling::new("L2", self.cache_bytes * sharing / BOOTSTRAP_KEY_BYTES);
        let memory = Ceiling::new(
            "memory, each key once",
            self.memory_bytes / KEY_BYTES * batch / keys,
        );
        least([compute, shared, cache, memory])
    }
}

fn least<const COUNT: usize>(all: [Ceiling; COUNT]) -> Ceiling {
    let [first, rest @ ..] = &all[..] else {
        return Ceiling::new("none", f64::INFINITY);
    };
    let less = |a: &'_ Ceiling, b: &'_ Ceiling| a.per_second <= b.per_second;
    let found = rest
        .iter()
        .fold(first, |a, b| if less(a, b) { a } else { b });
    found.clone()
}

/// Of what computes.
pub(super) struct Ceilings {
    peaks: Peaks,
    threads: usize,
    /// Of each GPU, if it is known; empty for the CPU alone.
    cards: Vec<Option<&'static Card>>,
    /// The GPUs compute with integers.
    integers: bool,
}

impl Ceilings {
    pub fn new<'n>(
        peaks: Peaks,
        threads: usize,
        cards: impl Iterator<Item = &'n str>,
        integers: bool,
    ) -> Self {
        let known = |name: &str| CARDS.iter().find(|card| name.contains(card.name));
        Self {
            peaks,
            threads,
            cards: cards.map(known).collect(),
            integers,
        }
    }

    /// `None` if a card is not known.
    pub fn lookups(&self, shape: Shape) -> Option<Ceiling> {
        if self.cards.is_empty() {
            return Some(self.cpu_lookups(shape));
        }
        // Cards of a machine are of one make: each gets its part of the ciphertexts.
        let cards = self.cards.len();
        let part = Shape {
            batch: shape.batch.div_ceil(cards),
            keys: shape.keys.div_ceil(cards),
        };
        let of_one = self.cards.first().copied().flatten()?;
        let mut ceiling = of_one.lookups(part, self.integers);
        ceiling.per_second *= cards.min(shape.batch) as f64;
        Some(ceiling)
    }

    fn cpu_lookups(&self, shape: Shape) -> Ceiling {
        // A bootstrap is on one thread.
        let busy = self.threads.min(shape.batch) as f64 / self.threads as f64;
        least([
            Ceiling::new(
                "f64 multiply-adds, measured",
                self.peaks.fused * busy / FUSED_A_LOOKUP,
            ),
            Ceiling::new(
                "memory, each key once, measured",
                self.peaks.read_bytes / KEY_BYTES * shape.batch as f64 / shape.keys as f64,
            ),
        ])
    }

    /// Multiply-adds of ciphertexts.
    pub fn sums(&self) -> Option<Ceiling> {
        let cpu = Ceiling::new(
            "word multiply-adds in the cache, measured",
            self.peaks.words / WORDS,
        );
        if self.cards.is_empty() {
            return Some(cpu);
        }
        // A matrix of 64 × 64 brings 64 ciphertexts to the card and takes as many back, each way at once.
        let bus = self
            .cards
            .iter()
            .copied()
            .flatten()
            .map(|card| card.bus_bytes)
            .sum::<f64>();
        let card = Ceiling::new(
            "PCIe, each ciphertext once",
            bus / (WORDS * 8.0) * SUMS as f64,
        );
        Some(match card.per_second > cpu.per_second {
            true => card,
            false => cpu,
        })
    }

    /// Rows of a program with so many lookups a row, so many rows at once.
    pub fn rows(&self, lookups: usize, rows: usize, keys: usize) -> Option<Ceiling> {
        let shape = Shape {
            batch: lookups * rows,
            keys,
        };
        let of_lookups = self.lookups(shape)?;
        Some(Ceiling::new(
            format!("{lookups} lookups a row: {}", of_lookups.name),
            of_lookups.per_second / lookups as f64,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_card(name: &str, batch: usize, keys: usize) -> (String, f64) {
        let peaks = Peaks {
            fused: 1e11,
            words: 1e10,
            read_bytes: 1e10,
        };
        let ceilings = Ceilings::new(peaks, 4, [name].into_iter(), false);
        let found = ceilings.lookups(Shape { batch, keys }).expect("known");
        (found.name, found.per_second)
    }

    #[test]
    fn an_h200_is_bound_by_its_f64_and_by_its_memory_where_no_key_is_shared() {
        let (name, rate) = of_card("NVIDIA H200", 4224, 1);
        assert_eq!(name, "FP64 pipes");
        assert!((95e3..97e3).contains(&rate), "{rate}");
        let (name, rate) = of_card("NVIDIA H200", 264, 264);
        assert_eq!(name, "memory, each key once");
        assert!((52e3..54e3).contains(&rate), "{rate}");
        let (_, one) = of_card("NVIDIA H200", 1, 1);
        assert!(
            (700.0..760.0).contains(&one),
            "one multiprocessor of 132: {one}"
        );
    }

    #[test]
    fn a_cpu_is_bound_by_what_was_measured_and_an_unknown_card_by_nothing_known() {
        let peaks = Peaks {
            fused: 1.153e11,
            words: 2.049e9,
            read_bytes: 9.03e9,
        };
        let cpu = Ceilings::new(peaks, 4, std::iter::empty(), false);
        let many = cpu.lookups(Shape { batch: 64, keys: 1 }).expect("known");
        assert!((900.0..1100.0).contains(&many.per_second), "{many:?}");
        let own = cpu
            .lookups(Shape {
                batch: 64,
                keys: 64,
            })
            .expect("known");
        assert!((95.0..105.0).contains(&own.per_second), "{own:?}");
        assert_eq!(cpu.sums().expect("known").per_second, 1e6);
        let rows = cpu.rows(20, 4, 1).expect("known");
        assert!((45.0..55.0).contains(&rows.per_second), "{rows:?}");
        let other = Ceilings::new(peaks, 4, ["a card"].into_iter(), false);
        assert!(other.lookups(Shape { batch: 1, keys: 1 }).is_none());
    }
}
