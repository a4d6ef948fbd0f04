//! A step as the script wants it, and the script's answer. What the server says is checked like anything from outside.

use policy_host::{
    Algorithm, LimitAnswer, LimitEntry, LimitState, LimitStep, MAX_CORRECTION, MAX_COUNT,
    MAX_SPAN_US, Micros, RateSpec,
};
use redis::{Script, ScriptInvocation, Value};

/// The answer's longest text: three numbers.
const MAX_STATE_BYTES: usize = 64;
/// Of the script's numbers: the largest up to which a double is exact.
const EXACT: u64 = 1 << 53;

pub(super) fn script() -> Script {
    Script::new(include_str!("step.lua"))
}

/// The call of the script for this step.
pub(super) fn invocation<'s>(
    script: &'s Script,
    prefix: &str,
    step: &LimitStep,
) -> ScriptInvocation<'s> {
    let mut call = script.prepare_invoke();
    call.arg(match step {
        LimitStep::Take(_) => "take",
        LimitStep::Peek(_) => "peek",
        LimitStep::Settle(_, delta) if *delta < 0 => "give-back",
        LimitStep::Settle(..) => "add",
    });
    for entry in step.entries() {
        let amount = match step {
            LimitStep::Take(_) | LimitStep::Peek(_) => entry.countable_cost(),
            LimitStep::Settle(_, delta) => delta.unsigned_abs().min(MAX_CORRECTION),
        };
        call.key(format!("{prefix}:{}", entry.key));
        rule(&mut call, entry, amount);
    }
    call
}

fn rule(call: &mut ScriptInvocation<'_>, entry: &LimitEntry, amount: u64) {
    let spec = &entry.spec;
    let kind = match spec.algorithm() {
        Algorithm::Gcra => "b",
        Algorithm::SlidingWindow => "s",
        Algorithm::FixedWindow => "f",
    };
    call.arg(kind).arg(spec.limit());
    if spec.algorithm() == Algorithm::Gcra {
        for span in [spec.span(spec.capacity()), spec.span(amount)] {
            call.arg(span.whole).arg(span.parts);
        }
    } else {
        call.arg(spec.per_us()).arg(amount).arg(0).arg(0);
    }
}

/// A step that shows whether the server does what is needed; what it writes is gone after some milliseconds.
pub(super) fn trial() -> LimitStep {
    let spec = RateSpec::new(Algorithm::Gcra, 1000, 1000, 0);
    let entry = |spec| LimitEntry {
        key: "trial".to_owned(),
        spec,
        cost: 1,
    };
    LimitStep::Take(spec.into_iter().map(entry).collect())
}

/// None: this is no answer of the script's.
pub(super) fn answer(value: Value) -> Option<LimitAnswer> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let (Some(Value::Int(now)), Some(Value::Int(taken))) = (parts.next(), parts.next()) else {
        return None;
    };
    let before = parts.map(|part| match part {
        Value::BulkString(text) if text.is_empty() => Some(None),
        Value::BulkString(text) => state(&text).map(Some),
        _ => None,
    });
    Some(LimitAnswer {
        now_us: u64::try_from(now).ok()?,
        taken: taken == 1,
        before: before.collect::<Option<_>>()?,
    })
}

fn state(text: &[u8]) -> Option<LimitState> {
    if text.len() > MAX_STATE_BYTES {
        return None;
    }
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let kind = words.next()?;
    let mut number = |most: u64| {
        let number: u64 = words.next()?.parse().ok()?;
        (number <= most).then_some(number)
    };
    let state = match kind {
        "b" => LimitState::Bucket {
            full_at: Micros {
                whole: number(EXACT - MAX_SPAN_US)?,
                parts: number(EXACT)?,
            },
        },
        "w" => LimitState::Window {
            index: number(EXACT)?,
            previous: number(MAX_COUNT)?,
            current: number(MAX_COUNT)?,
        },
        _ => return None,
    };
    words.next().is_none().then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn only_what_the_script_says_is_an_answer() {
        let of = |parts: &[Value]| answer(Value::Array(parts.to_vec()));
        let (now, yes) = (Value::Int(1_700_000_000_000_000), Value::Int(1));
        let good = of(&[
            now.clone(),
            yes.clone(),
            text(""),
            text("b 12 3"),
            text("w 1 2 3"),
        ]);
        let good = good.expect("an answer");
        assert!(good.taken);
        let full_at = Micros {
            whole: 12,
            parts: 3,
        };
        let window = LimitState::Window {
            index: 1,
            previous: 2,
            current: 3,
        };
        assert_eq!(
            good.before,
            [None, Some(LimitState::Bucket { full_at }), Some(window)]
        );
        for wrong in [
            "b",
            "b 1",
            "b 1 2 3",
            "b -1 2",
            "b 99999999999999999999 1",
            "b 6000000000000000 0",
            "w 1 2",
            "w 1 2 3 4",
            "w 1 2000000001 0",
            "c 1 2",
            "b 1 x",
            " b 1 2",
            "\u{e9}",
        ] {
            assert_eq!(
                of(&[now.clone(), yes.clone(), text(wrong)]),
                None,
                "{wrong}"
            );
        }
        let long = format!("b 1 {}2", "0".repeat(64));
        assert_eq!(of(&[now.clone(), yes.clone(), text(&long)]), None);
        for wrong in [
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![]),
            Value::Array(vec![now.clone()]),
            Value::Array(vec![Value::Int(-1), yes.clone()]),
            Value::Array(vec![text("1"), yes.clone()]),
            Value::Array(vec![now.clone(), yes.clone(), Value::Nil]),
            Value::Array(vec![now, yes, Value::Int(1)]),
        ] {
            assert_eq!(answer(wrong.clone()), None, "{wrong:?}");
        }
    }
}
