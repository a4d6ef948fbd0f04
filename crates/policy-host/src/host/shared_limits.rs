//! `limits` of a policy whose counts are kept in a store that several gateways share: what takes, gives back or looks waits for the
//! store. All limits of one call are one step there. A policy without such a store has none of this: `limits.rs` links its functions.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};

use super::limits::{Asked, LimiterHandle, check_shares, verdict};
use crate::bindings::veilgate::policy::limits::{Share, Verdict};
use crate::error::HostRefusal;
use crate::limit_store::{LimitAnswer, LimitEntry, LimitStep, WithoutStore};
use crate::primitives::{RateVerdict, shared, take_each, tightest};
use crate::services::Later;
use crate::state::{HostState, unknown_handle};
use crate::waits::spend;

const INTERFACE: &str = "veilgate:policy/limits@0.2.1";
/// When to come back, for a caller whom only the store's absence refused.
const RETRY_MS: u64 = 1000;

type Caller<'a> = StoreContextMut<'a, HostState>;
type Handle = Resource<LimiterHandle>;

/// In place of the functions that never wait.
pub(crate) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let linked = linker.instance(INTERFACE).and_then(link_functions);
    linker.allow_shadowing(false);
    linked
}

fn link_functions(mut limits: LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    limits.func_wrap_async(
        "[method]limiter.take",
        |caller: Caller<'_>, (limiter, key, cost): (Handle, String, u64)| {
            Box::new(async move {
                let share = Share { limiter, key, cost };
                Ok((the_tightest(&take(caller, vec![share]).await?)?,))
            })
        },
    )?;
    limits.func_wrap_async(
        "[method]limiter.peek",
        |caller: Caller<'_>, (limiter, key): (Handle, String)| {
            Box::new(async move { Ok((peek(caller, limiter, key).await?,)) })
        },
    )?;
    limits.func_wrap_async(
        "[method]limiter.settle",
        |caller: Caller<'_>, (limiter, key, delta): (Handle, String, i64)| {
            Box::new(settle(caller, limiter, key, delta))
        },
    )?;
    limits.func_wrap_async(
        "take-all",
        |caller: Caller<'_>, (shares,): (Vec<Share>,)| {
            Box::new(async move { Ok((the_tightest(&take(caller, shares).await?)?,)) })
        },
    )?;
    limits.func_wrap_async(
        "take-each",
        |caller: Caller<'_>, (shares,): (Vec<Share>,)| {
            Box::new(async move { Ok((take(caller, shares).await?,)) })
        },
    )
}

async fn take(mut caller: Caller<'_>, shares: Vec<Share>) -> wasmtime::Result<Vec<Verdict>> {
    check_shares(shares.len())?;
    let state = caller.data_mut();
    let entries = shares.iter().map(|share| state.entry(share));
    let step = LimitStep::Take(entries.collect::<wasmtime::Result<_>>()?);
    let Some(asking) = state.ask(&step)? else {
        return state.take_here(&shares);
    };
    let answer = asking.await;
    let told = answer
        .ok()
        .and_then(|answer| shared::verdicts(step.entries(), &answer));
    match told {
        Some(told) => Ok(told.into_iter().map(verdict).collect()),
        None => caller.data_mut().take_without(&shares, step.entries()),
    }
}

async fn peek(mut caller: Caller<'_>, limiter: Handle, key: String) -> wasmtime::Result<Verdict> {
    let share = Share {
        limiter,
        key,
        cost: 1,
    };
    let state = caller.data_mut();
    let step = LimitStep::Peek(state.entry(&share)?);
    let Some(asking) = state.ask(&step)? else {
        return state.peek_here(&share);
    };
    let answer = asking.await;
    let [entry] = step.entries() else {
        return Err(unknown_handle());
    };
    match answer
        .ok()
        .and_then(|answer| shared::glance(entry, &answer))
    {
        Some(told) => Ok(verdict(told)),
        None => caller.data_mut().peek_without(&share, entry),
    }
}

async fn settle(
    mut caller: Caller<'_>,
    limiter: Handle,
    key: String,
    delta: i64,
) -> wasmtime::Result<()> {
    let share = Share {
        limiter,
        key,
        cost: 0,
    };
    let state = caller.data_mut();
    let step = LimitStep::Settle(state.entry(&share)?, delta);
    let Some(asking) = state.ask(&step)? else {
        return state.settle_here(&share, delta);
    };
    if asking.await.is_ok() {
        return Ok(());
    }
    let state = caller.data_mut();
    match state.count_degraded() {
        WithoutStore::Local => state.settle_here(&share, delta),
        // Nothing was taken of what this would correct.
        WithoutStore::Allow | WithoutStore::Deny => Ok(()),
    }
}

fn the_tightest(verdicts: &[Verdict]) -> wasmtime::Result<Verdict> {
    let found = tightest(verdicts, |verdict| (verdict.allowed, verdict.remaining));
    found
        .copied()
        .ok_or_else(|| HostRefusal("take-all of nothing").into())
}

/// What is told without having asked anyone.
fn unasked(rule: WithoutStore, entry: &LimitEntry) -> Verdict {
    let capacity = entry.spec.capacity();
    let told = match rule {
        WithoutStore::Allow => RateVerdict {
            allowed: true,
            remaining: capacity.saturating_sub(entry.cost),
            limit: capacity,
            retry_after_ms: 0,
            reset_ms: 0,
        },
        WithoutStore::Deny | WithoutStore::Local => RateVerdict {
            allowed: false,
            remaining: 0,
            limit: capacity,
            retry_after_ms: RETRY_MS,
            reset_ms: RETRY_MS,
        },
    };
    degraded(verdict(told))
}

fn degraded(verdict: Verdict) -> Verdict {
    Verdict {
        degraded: true,
        ..verdict
    }
}

impl HostState {
    fn entry(&self, share: &Share) -> wasmtime::Result<LimitEntry> {
        let handle = self
            .handles
            .get(&share.limiter)
            .map_err(|_| unknown_handle())?;
        Ok(LimitEntry {
            key: handle.stored_key(&share.key),
            spec: *handle.limiter().spec(),
            cost: share.cost,
        })
    }

    /// None: there is no store (a check of the config, a trial), or nothing outside can be asked yet; then the counts are this
    /// process's own, as they should be.
    fn ask(&mut self, step: &LimitStep) -> wasmtime::Result<Option<Later<LimitAnswer>>> {
        let Some(limits) = &self.shared.services.limits else {
            return Ok(None);
        };
        let Some(waits) = self.waits.as_deref_mut().filter(|waits| waits.serving) else {
            return Ok(None);
        };
        if !spend(&mut waits.steps_left) {
            return Err(
                HostRefusal("questions to the shared limits: more than 32 in one call").into(),
            );
        }
        Ok(Some(limits.store.step(step, waits.timeout(0))))
    }

    fn count_degraded(&self) -> WithoutStore {
        metrics::counter!("gateway_policy_limits_degraded_total", "policy" => self.shared.policy.to_string())
            .increment(1);
        let limits = self.shared.services.limits.as_ref();
        limits.map_or(WithoutStore::Local, |limits| limits.without)
    }
}

impl HostState {
    fn take_here(&self, shares: &[Share]) -> wasmtime::Result<Vec<Verdict>> {
        let taken = take_each(&self.shares(shares.iter().map(Asked::of))?, self.now_ns());
        Ok(taken.into_iter().map(verdict).collect())
    }

    fn take_without(
        &self,
        shares: &[Share],
        entries: &[LimitEntry],
    ) -> wasmtime::Result<Vec<Verdict>> {
        Ok(match self.count_degraded() {
            WithoutStore::Local => self.take_here(shares)?.into_iter().map(degraded).collect(),
            rule => entries.iter().map(|entry| unasked(rule, entry)).collect(),
        })
    }

    fn peek_here(&self, share: &Share) -> wasmtime::Result<Verdict> {
        let limiter = self.limiter(&share.limiter)?;
        Ok(verdict(limiter.peek(&share.key, self.now_ns())))
    }

    fn peek_without(&self, share: &Share, entry: &LimitEntry) -> wasmtime::Result<Verdict> {
        match self.count_degraded() {
            WithoutStore::Local => self.peek_here(share).map(degraded),
            rule => Ok(unasked(rule, entry)),
        }
    }

    fn settle_here(&self, share: &Share, delta: i64) -> wasmtime::Result<()> {
        let limiter = self.limiter(&share.limiter)?;
        limiter.settle(&share.key, delta, self.now_ns());
        Ok(())
    }
}
