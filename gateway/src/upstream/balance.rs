//! Which endpoint: pure functions of what is known of each, and of a random number that the caller draws.

use crate::config::Balance;

use super::health::Standing;

/// What a pick knows of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    pub id: u32,
    /// 1 at least.
    pub weight: u32,
    pub standing: Standing,
    /// This exchange tried it already.
    pub tried: bool,
    /// The latency to be expected, times the requests in flight and one; lower is better.
    pub cost: f64,
}

/// The picks made so far, for weighted round robin: one number per endpoint.
#[derive(Debug, Default)]
pub struct Rotation(Vec<i64>);

/// The index of the endpoint to use; `None` if every one of them is excluded.
pub fn pick(
    seats: &[Seat],
    balance: Balance,
    hash_key: Option<u64>,
    rotation: &mut Rotation,
    random: u64,
) -> Option<usize> {
    let open = best_class(seats)?;
    let fits = |seat: &Seat| class(seat) == open;
    match (balance, hash_key) {
        (Balance::Hash, Some(key)) => rendezvous(seats, fits, key),
        (Balance::LeastLoaded, _) => better_of_two(seats, fits, random),
        (Balance::RoundRobin | Balance::Hash, _) => rotation.next(seats, fits),
    }
}

/// Fresh endpoints first, then those tried before, then suspects: a retry goes elsewhere while there is an elsewhere.
fn class(seat: &Seat) -> (Standing, bool) {
    (seat.standing, seat.tried)
}

fn best_class(seats: &[Seat]) -> Option<(Standing, bool)> {
    let best = seats.iter().map(class).min()?;
    (best.0 != Standing::Excluded).then_some(best)
}

impl Rotation {
    /// Smooth weighted round robin: everyone gains their weight, the richest pays for all.
    fn next(&mut self, seats: &[Seat], fits: impl Fn(&Seat) -> bool) -> Option<usize> {
        self.0.resize(seats.len(), 0);
        let mut total = 0;
        let mut richest: Option<usize> = None;
        for (index, seat) in seats.iter().enumerate().filter(|(_, seat)| fits(seat)) {
            let gain = i64::from(seat.weight);
            total += gain;
            self.0[index] += gain;
            if richest.is_none_or(|best| self.0[index] > self.0[best]) {
                richest = Some(index);
            }
        }
        self.0[richest?] -= total;
        richest
    }
}

/// Two at random (by weight), and the one that is expected to answer sooner.
fn better_of_two(seats: &[Seat], fits: impl Fn(&Seat) -> bool, random: u64) -> Option<usize> {
    let first = draw(seats, &fits, random & 0xffff_ffff)?;
    let others = |seat: &Seat| fits(seat) && seat.id != seats[first].id;
    let Some(second) = draw(seats, others, random >> 32) else {
        return Some(first);
    };
    Some(if seats[second].cost < seats[first].cost {
        second
    } else {
        first
    })
}

fn draw(seats: &[Seat], fits: impl Fn(&Seat) -> bool, random: u64) -> Option<usize> {
    let open = || seats.iter().enumerate().filter(|(_, seat)| fits(seat));
    let total: u64 = open().map(|(_, seat)| u64::from(seat.weight)).sum();
    let mut left = random.checked_rem(total)?;
    for (index, seat) in open() {
        match left.checked_sub(u64::from(seat.weight)) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}

/// The highest weighted score wins: when an endpoint goes, only its own keys move.
fn rendezvous(seats: &[Seat], fits: impl Fn(&Seat) -> bool, key: u64) -> Option<usize> {
    seats
        .iter()
        .enumerate()
        .filter(|(_, seat)| fits(seat))
        .map(|(index, seat)| (index, score(key, seat)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(index, _)| index)
}

fn score(key: u64, seat: &Seat) -> f64 {
    // 53 bits, so that the quotient is exact; never 0, whose logarithm is none.
    let bits = mix(key ^ mix(u64::from(seat.id) + 1)) >> 11;
    let unit = (bits as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(seat.weight) / unit.ln()
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(weights: &[u32]) -> Vec<Seat> {
        weights
            .iter()
            .zip(0..)
            .map(|(weight, id)| Seat {
                id,
                weight: *weight,
                standing: Standing::Usable,
                tried: false,
                cost: 1.0,
            })
            .collect()
    }

    fn counts(seats: &[Seat], balance: Balance, picks: u64) -> Vec<u64> {
        let mut rotation = Rotation::default();
        let mut counts = vec![0; seats.len()];
        for n in 0..picks {
            let key = Some(mix(n));
            let picked = pick(seats, balance, key, &mut rotation, mix(n)).expect("one is open");
            counts[picked] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_follows_weights_exactly() {
        assert_eq!(
            counts(&seats(&[5, 1, 2]), Balance::RoundRobin, 800),
            [500, 100, 200]
        );
        let mut rotation = Rotation::default();
        let three = seats(&[2, 1, 1]);
        let order: Vec<_> = (0..4)
            .filter_map(|_| pick(&three, Balance::RoundRobin, None, &mut rotation, 0))
            .collect();
        assert_eq!(order, [0, 1, 2, 0], "smooth, not 0 0 1 2");
    }

    #[test]
    fn the_others_follow_weights_roughly() {
        for balance in [Balance::LeastLoaded, Balance::Hash] {
            let [a, b] = counts(&seats(&[3, 1]), balance, 4000)[..] else {
                panic!("two seats");
            };
            assert!(a > b && b > 500, "{balance:?} {a} {b}");
        }
    }

    #[test]
    fn least_loaded_avoids_the_costly_one() {
        let mut three = seats(&[1, 1, 1]);
        three[1].cost = 50.0;
        assert_eq!(counts(&three, Balance::LeastLoaded, 500)[1], 0);
    }

    #[test]
    fn a_lost_endpoint_moves_only_its_own_keys() {
        let full = seats(&[1, 1, 1, 1]);
        let mut without = full.clone();
        without[2].standing = Standing::Excluded;
        let mut rotation = Rotation::default();
        for key in 0..2000 {
            let before = pick(&full, Balance::Hash, Some(key), &mut rotation, 0);
            let after = pick(&without, Balance::Hash, Some(key), &mut rotation, 0);
            assert!(before == Some(2) || before == after, "{key}");
            assert_ne!(after, Some(2));
        }
    }

    #[test]
    fn suspects_and_tried_ones_are_the_last_resort_and_excluded_ones_none() {
        let mut rotation = Rotation::default();
        let mut check = |change: &[(usize, Standing, bool)], expected: Option<usize>| {
            let mut three = seats(&[1, 1, 1]);
            for (index, standing, tried) in change {
                three[*index].standing = *standing;
                three[*index].tried = *tried;
            }
            for balance in [Balance::RoundRobin, Balance::LeastLoaded, Balance::Hash] {
                assert_eq!(
                    pick(&three, balance, Some(7), &mut rotation, 7),
                    expected,
                    "{change:?}"
                );
            }
        };
        use Standing::{Excluded, Suspect, Usable};
        check(&[(0, Suspect, false), (1, Excluded, false)], Some(2));
        check(&[(0, Usable, true), (1, Suspect, false)], Some(2));
        check(
            &[(0, Usable, true), (1, Suspect, false), (2, Suspect, false)],
            Some(0),
        );
        check(
            &[
                (0, Suspect, false),
                (1, Excluded, false),
                (2, Suspect, true),
            ],
            Some(0),
        );
        check(
            &[
                (0, Excluded, false),
                (1, Excluded, false),
                (2, Excluded, false),
            ],
            None,
        );
    }
}
