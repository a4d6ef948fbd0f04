//! Where a split's test changes its answer, as an f64: every library's comparison becomes `x > above` with no cast.
//!
//! XGBoost, CatBoost and ONNX round an input to f32 (to nearest, ties to even) before they compare it with an f32 threshold t.
//! Rounding is monotone, so the f64 values that pass are all those beyond one edge. For `round(x) > t` the edge is the middle
//! m between t and the next f32 above it: what is greater than m rounds up and passes. m itself is a tie, and goes to
//! whichever of the two has an even significand; where that is not t, m passes too, and the edge is the f64 just below m.
//! `round(x) >= t` is `round(x) > ` the f32 just below t. A client that compares its f64 value with the edge decides as the
//! library does, and so does one that rounds to f32 first.

/// `x as f32 > t` ⇔ `x > above_f32(t)`, for every x that is not NaN, and t that is not.
pub(crate) fn above_f32(t: f32) -> f64 {
    if t == f32::INFINITY {
        return f64::MAX;
    }
    // Half of each: the sum of the two greatest would be exact too, but this needs no reason.
    let middle = widen(t) / 2.0 + widen(t.next_up()) / 2.0;
    if t.to_bits() & 1 == 0 {
        middle
    } else {
        middle.next_down()
    }
}

/// `x as f32 >= t` ⇔ `x > at_least_f32(t)`.
pub(crate) fn at_least_f32(t: f32) -> f64 {
    above_f32(t.next_down())
}

/// `x >= t` ⇔ `x > at_least_f64(t)`.
pub(crate) fn at_least_f64(t: f64) -> f64 {
    t.next_down()
}

/// An f32 as f64; infinity is where rounding to it would begin if there were one more binade.
fn widen(value: f32) -> f64 {
    const TWO_TO_128: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
    if value.is_infinite() {
        TWO_TO_128.copysign(f64::from(value))
    } else {
        f64::from(value)
    }
}

/// The greatest finite x for which `passes` is still false, for a test that, as x grows, turns from false to true at most once.
/// It is `-f64::MAX` where the test is true of all.
pub(crate) fn last_that_fails(passes: impl Fn(f64) -> bool) -> f64 {
    // Integers in the order of the floats: 64 halvings at most.
    let (mut fails, mut beyond) = (rank(f64::MIN), rank(f64::MAX) + 1);
    while beyond - fails > 1 {
        let middle = fails + (beyond - fails) / 2;
        if passes(unrank(middle)) {
            beyond = middle;
        } else {
            fails = middle;
        }
    }
    unrank(fails)
}

fn rank(value: f64) -> i128 {
    let bits = value.to_bits();
    let magnitude = i128::from(bits & !(1 << 63));
    if bits >> 63 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

fn unrank(rank: i128) -> f64 {
    let magnitude = f64::from_bits(rank.unsigned_abs() as u64);
    if rank < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(t: f32, x: f64) {
        assert_eq!(x as f32 > t, x > above_f32(t), "{x:e} > {t:e}");
        assert_eq!(x as f32 >= t, x > at_least_f32(t), "{x:e} >= {t:e}");
        // Rounding first changes no answer.
        let rounded = f64::from(x as f32);
        assert_eq!(x > above_f32(t), rounded > above_f32(t));
        assert_eq!(x > at_least_f32(t), rounded > at_least_f32(t));
    }

    #[test]
    fn the_edge_of_special_thresholds_is_exact() {
        let specials = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            16_777_216.0,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            -f32::from_bits(1),
        ];
        for t in specials {
            for edge in [above_f32(t), at_least_f32(t), f64::from(t)] {
                for x in [edge, edge.next_up(), edge.next_down(), 0.0, -0.0] {
                    check(t, x);
                }
            }
        }
        assert!(above_f32(f32::MAX).is_finite() && at_least_f32(f32::MIN).is_finite());
    }

    proptest! {
        #[test]
        fn a_comparison_in_f64_with_the_edge_is_the_librarys_in_f32(bits in any::<u32>(), wide in any::<f64>(), near in -4i64..5) {
            let t = f32::from_bits(bits);
            prop_assume!(t.is_finite() && !wide.is_nan());
            check(t, wide);
            for edge in [above_f32(t), at_least_f32(t), f64::from(t)] {
                let x = f64::from_bits(edge.to_bits().wrapping_add_signed(near));
                if !x.is_nan() {
                    check(t, x);
                }
            }
        }

        #[test]
        fn halving_finds_the_same_edge(bits in any::<u32>()) {
            let t = f32::from_bits(bits);
            prop_assume!(t.is_finite());
            prop_assert_eq!(last_that_fails(|x| x as f32 > t), above_f32(t));
            prop_assert_eq!(last_that_fails(|x| x >= f64::from(t)), at_least_f64(f64::from(t)));
        }
    }
}
