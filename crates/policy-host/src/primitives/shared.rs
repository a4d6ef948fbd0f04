//! Limits that are kept in a store outside of the process: the names of their keys, and what to say of a store's answer.

use blake3::Hasher;

use super::limiter::stand;
use super::rate::{RateSpec, RateState, RateVerdict};
use super::{Algorithm, SpecError};
use crate::clock::NANOS_PER_US;
use crate::limit_store::{LimitAnswer, LimitEntry, LimitState, MAX_SPAN_US, Micros};

/// Of a key's name: what a person reads in the store.
const MAX_READABLE_BYTES: usize = 128;
/// Of the hash that tells callers apart: two do not meet by chance, nor by trying.
const HASH_BYTES: usize = 16;

/// One limiter's name in the store. Gateways that name and specify a limiter alike share it.
pub(crate) struct StoredName {
    readable: String,
    hasher: Hasher,
}

impl StoredName {
    pub(crate) fn new(scope: &str, name: &str, spec: &RateSpec) -> Self {
        let mut hasher = Hasher::new();
        let rule = format!("{spec:?}");
        for part in [scope, name, &rule] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self {
            readable: readable(scope, name),
            hasher,
        }
    }

    /// Whatever a caller is called, its key is short, and does not tell what it is called.
    pub(crate) fn key(&self, caller: &str) -> String {
        let hash = self.hasher.clone().update(caller.as_bytes()).finalize();
        [&self.readable, &hash.to_hex()[..2 * HASH_BYTES]].concat()
    }
}

fn readable(scope: &str, name: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '/' => c,
        _ => '_',
    };
    let parts = scope.chars().map(plain).chain([':']);
    let readable = parts.chain(name.chars().map(plain));
    readable.take(MAX_READABLE_BYTES).chain([':']).collect()
}

impl RateSpec {
    /// How long so many tokens take to come back; a century at most.
    pub fn span(&self, tokens: u64) -> Micros {
        let limit = u128::from(self.limit());
        let parts = u128::from(tokens) * u128::from(self.per_us());
        match u64::try_from(parts / limit) {
            Ok(whole) if whole < MAX_SPAN_US => Micros {
                whole,
                parts: u64::try_from(parts % limit).unwrap_or(0),
            },
            _ => Micros {
                whole: MAX_SPAN_US,
                parts: 0,
            },
        }
    }

    /// Whether a store can count with it.
    pub(crate) fn check_stored(&self) -> Result<(), SpecError> {
        if self.algorithm() == Algorithm::Gcra && self.span(self.capacity()).whole >= MAX_SPAN_US {
            return Err(SpecError(
                "a shared limit must be full again within a century: take a smaller `burst`",
            ));
        }
        Ok(())
    }
}

/// What the entries begin with. None: a kept state is not one of its limit.
pub(crate) fn states(
    entries: &[LimitEntry],
    before: &[Option<LimitState>],
) -> Option<Vec<RateState>> {
    if entries.len() != before.len() {
        return None;
    }
    let each = entries.iter().zip(before);
    each.map(|(entry, state)| match state {
        Some(state) => read(*state, &entry.spec),
        None => Some(RateState::fresh(&entry.spec)),
    })
    .collect()
}

fn read(state: LimitState, spec: &RateSpec) -> Option<RateState> {
    let is_bucket = spec.algorithm() == Algorithm::Gcra;
    match state {
        LimitState::Bucket { full_at } if is_bucket && full_at.parts < spec.limit() => {
            let limit = u128::from(spec.limit());
            let parts = u128::from(full_at.whole) * limit + u128::from(full_at.parts);
            Some(RateState::Bucket {
                full_at: parts * u128::from(NANOS_PER_US),
            })
        }
        LimitState::Window {
            index,
            previous,
            current,
        } if !is_bucket => Some(RateState::Window {
            index,
            previous,
            current,
        }),
        LimitState::Bucket { .. } | LimitState::Window { .. } => None,
    }
}

/// The store's way to write it: exact, since all its times are whole microseconds.
pub(crate) fn stored(state: RateState, spec: &RateSpec) -> LimitState {
    match state {
        RateState::Bucket { full_at } => {
            let limit = u128::from(spec.limit());
            let parts = full_at / u128::from(NANOS_PER_US);
            LimitState::Bucket {
                full_at: Micros {
                    whole: u64::try_from(parts / limit).unwrap_or(u64::MAX),
                    parts: u64::try_from(parts % limit).unwrap_or(0),
                },
            }
        }
        RateState::Window {
            index,
            previous,
            current,
        } => LimitState::Window {
            index,
            previous,
            current,
        },
    }
}

/// What taking comes to.
pub(crate) struct Taken {
    pub(crate) taken: bool,
    /// Of each entry; those of one key all have the last.
    pub(crate) after: Vec<RateState>,
    pub(crate) verdicts: Vec<RateVerdict>,
}

/// All or none, from what the entries begin with.
pub(crate) fn take_each(entries: &[LimitEntry], before: &[RateState], now_ns: u64) -> Taken {
    let key = |at: usize| &entries[at].key;
    let first = |at: usize| (0..at).find(|&other| key(other) == key(at)).unwrap_or(at);
    let mut states = before.to_vec();
    let mut verdicts: Vec<RateVerdict> = Vec::with_capacity(entries.len());
    let mut taken = true;
    for (at, entry) in entries.iter().enumerate() {
        let (after, verdict) = states[first(at)].take(&entry.spec, now_ns, entry.cost);
        states[first(at)] = after;
        verdicts.push(verdict);
        if !verdict.allowed {
            taken = false;
            break;
        }
    }
    if taken {
        let after = (0..entries.len()).map(|at| states[first(at)]).collect();
        return Taken {
            taken,
            after,
            verdicts,
        };
    }
    let stands = |(at, entry): (usize, &LimitEntry)| {
        let state = before[first(at)];
        stand(state, &entry.spec, now_ns, entry.cost, verdicts.get(at))
    };
    Taken {
        taken,
        after: before.to_vec(),
        verdicts: entries.iter().enumerate().map(stands).collect(),
    }
}

/// A correction, which moves a bucket no further ahead than the store can count.
pub(crate) fn settle(state: RateState, spec: &RateSpec, now_us: u64, delta: i64) -> RateState {
    match state.settle(spec, now_us.saturating_mul(NANOS_PER_US), delta) {
        RateState::Bucket { full_at } => {
            let most = u128::from(now_us.saturating_add(MAX_SPAN_US));
            RateState::Bucket {
                full_at: full_at.min(most * u128::from(spec.limit()) * u128::from(NANOS_PER_US)),
            }
        }
        window @ RateState::Window { .. } => window,
    }
}

/// What a store's answer to `Take` means for each entry. None: it makes no sense, or does not follow from what was there.
pub(crate) fn verdicts(entries: &[LimitEntry], answer: &LimitAnswer) -> Option<Vec<RateVerdict>> {
    let states = states(entries, &answer.before)?;
    let now_ns = answer.now_us.checked_mul(NANOS_PER_US)?;
    let outcome = take_each(entries, &states, now_ns);
    (outcome.taken == answer.taken).then_some(outcome.verdicts)
}

/// The same of `Peek`.
pub(crate) fn glance(entry: &LimitEntry, answer: &LimitAnswer) -> Option<RateVerdict> {
    let states = states(std::slice::from_ref(entry), &answer.before)?;
    let now_ns = answer.now_us.checked_mul(NANOS_PER_US)?;
    Some(states.first()?.peek(&entry.spec, now_ns))
}

#[cfg(test)]
mod tests;
